/**
 * Debian's gdb at the other end of a VM's port: commands in, what it prints out.
 */
import type { VM } from "../../mod.ts";
import { startGdbServer } from "../../tools/gdb/mod.ts";
import { runPeer } from "./peers.ts";

/** The program, for `peerTest`. */
export const GDB = "gdb-multiarch";

/** Commands that come first: gdb gives a packet two seconds otherwise, which a busy host may not keep. */
export const GDB_PATIENCE: readonly string[] = ["set remotetimeout 240"];

/** gdb's commands that let the machine go on, and interrupt it a second after it does. */
export function continueForASecond(): string[] {
  const lines = [
    "import threading, os, signal",
    "def going(event):",
    "  gdb.events.cont.disconnect(going)",
    "  threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()",
    "gdb.events.cont.connect(going)",
  ];
  return [`python exec(${JSON.stringify(lines.join("\n"))}, globals())`, "continue"];
}

/** What gdb may say to be told of no program's file. */
const NO_PROGRAM = /warning: No executable has been specified[^]*?"file" command\.\n/;

/** Lets gdb take hold of a VM that waits for it, and gives what it prints, on both streams. */
export async function gdbOn(vm: VM, commands: readonly string[]): Promise<string> {
  await using server = startGdbServer(await vm.debug(), 0);
  const connect = `target remote 127.0.0.1:${server.port}`;
  const isFile = (command: string) => /^(file|symbol-file|dir) /.test(command);
  const all = [
    ...GDB_PATIENCE,
    "set confirm off",
    "set pagination off",
    "set width 0",
    // Files come before the connection, as on gdb's own command line.
    ...commands.filter(isFile),
    connect,
    ...commands.filter((command) => !isFile(command)),
  ];
  const args = ["-nx", "-batch", ...all.flatMap((command) => ["-ex", command])];
  const { stdout, stderr } = await runPeer(GDB, args);
  return new TextDecoder().decode(stdout) + stderr.replace(NO_PROGRAM, "");
}
