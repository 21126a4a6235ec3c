/**
 * The monitor: a prompt on the VM's terminal that looks at and steers the VM, with a line editor just
 * big enough for it.
 */
import { formatHart, HostError, type VM } from "../../../mod.ts";
import { nearMatch } from "../near_match.ts";

const PROMPT = "(monitor) ";

interface MonitorCommand {
  readonly help: string;
  run(monitor: MonitorTarget, argument: string): Promise<string> | string;
}

/** What the monitor works on. */
export interface MonitorTarget {
  /** The VM. */
  readonly vm: Pick<
    VM,
    "name" | "state" | "icount" | "harts" | "registers" | "memoryTree" | "pause" | "resume"
  >;
  /** Ends it and leaves. */
  quit(): void;
}

/** TABLE of the monitor's commands. */
const COMMANDS: Readonly<Record<string, MonitorCommand>> = {
  "help": { help: "this list", run: () => helpText() },
  "info registers": { help: "registers of all harts, or of hart N", run: registers },
  "info mtree": { help: "address map of the board", run: ({ vm }) => vm.memoryTree() },
  "info status": {
    help: "state and retired instructions",
    run: ({ vm }) => `${vm.name}: ${vm.state}, ${vm.icount} instructions retired`,
  },
  "stop": { help: "pause the VM", run: ({ vm }) => vm.pause().then(() => "") },
  "cont": { help: "let the VM go on", run: ({ vm }) => vm.resume().then(() => "") },
  "quit": {
    help: "end the VM and leave",
    run: (target) => {
      target.quit();
      return "";
    },
  },
};

/** The monitor's prompt on a terminal. */
export class Monitor {
  readonly #run: (line: string) => Promise<string>;
  readonly #write: (text: string) => void;
  #line = "";
  #open = false;
  #turn: Promise<void> = Promise.resolve();

  /** A closed monitor; `run` executes a line, `write` puts text on the raw terminal. */
  constructor(run: (line: string) => Promise<string>, write: (text: string) => void) {
    this.#run = run;
    this.#write = (text) => write(text.replaceAll("\n", "\r\n"));
  }

  /** Whether typed bytes are for the monitor. */
  get open(): boolean {
    return this.#open;
  }

  /** Opens or closes it. */
  toggle(): void {
    this.#open = !this.#open;
    this.#line = "";
    this.#write(this.#open ? `\n${PROMPT}` : "\n");
  }

  /** Resolves when all commands typed so far have been executed. */
  settled(): Promise<void> {
    return this.#turn;
  }

  /** Typed bytes. */
  type(bytes: Uint8Array): void {
    for (const character of new TextDecoder().decode(bytes)) this.#typeOne(character);
  }

  #typeOne(character: string): void {
    switch (character) {
      case "\r":
      case "\n": {
        const line = this.#line.trim();
        this.#line = "";
        this.#write("\n");
        this.#turn = this.#turn.then(() => this.#execute(line));
        break;
      }
      case "\x7f":
      case "\b":
        if (this.#line !== "") this.#write("\b \b");
        this.#line = this.#line.slice(0, -1);
        break;
      case "\x15": // Ctrl-U
        this.#write("\b \b".repeat(this.#line.length));
        this.#line = "";
        break;
      default:
        if (character < " ") break;
        this.#line += character;
        this.#write(character);
    }
  }

  async #execute(line: string): Promise<void> {
    const answer = await this.#run(line);
    if (answer !== "") this.#write(answer.endsWith("\n") ? answer : `${answer}\n`);
    if (this.#open) this.#write(PROMPT);
  }
}

/** Executes one line; gives what to show. */
export async function runMonitorCommand(target: MonitorTarget, line: string): Promise<string> {
  if (line === "") return "";
  const words = line.split(/\s+/);
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(" ");
    const command = COMMANDS[name];
    if (command === undefined) continue;
    try {
      return await command.run(target, words.slice(length).join(" "));
    } catch (error) {
      if (error instanceof HostError) return error.message;
      throw error;
    }
  }
  const near = nearMatch(line, Object.keys(COMMANDS));
  const hint = near === undefined ? "" : ` Did you mean "${near}"?`;
  return `There is no command "${line}".${hint} "help" lists all.`;
}

async function registers({ vm }: MonitorTarget, argument: string): Promise<string> {
  if (argument !== "" && !/^[0-7]$/.test(argument)) {
    return `Expected a hart's number, not "${argument}"`;
  }
  if (argument !== "") return formatHart(await vm.registers(Number(argument)));
  const dumps: string[] = [];
  for (let hart = 0; hart < vm.harts; hart++) dumps.push(formatHart(await vm.registers(hart)));
  return dumps.join("\n");
}

function helpText(): string {
  return Object.entries(COMMANDS).map(([name, { help }]) => `${name.padEnd(16)}${help}\n`).join("");
}
