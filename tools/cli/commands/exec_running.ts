/**
 * `exec` in a VM that runs in another process (issue 5, section 6).
 *
 * Invariant: this command ends with its command's status, and takes its command along when it is ended
 * itself.
 */
import { ConfigError, HostError } from "../../../mod.ts";
import { InputCredit } from "../control/input_window.ts";
import type { OpenRequest } from "../control/client.ts";
import { base64Pieces } from "../control/protocol.ts";
import { connectIfRunning } from "../control/sockets.ts";
import { Ending } from "../ending.ts";
import type { MachineOptions } from "../machine_options.ts";
import { writeError, writeOut } from "../streams.ts";

/** Options that say nothing about the machine. */
const HERE = new Set(["timeout", "translationCache", "checkpoints"]);

/** Runs a command; undefined when no VM that runs has the name. */
export async function execRunning(
  name: string,
  words: readonly string[],
  options: MachineOptions,
): Promise<number | undefined> {
  using client = await connectIfRunning(name, { starts: true });
  if (client === undefined) return undefined;
  if (Object.keys(options).some((option) => !HERE.has(option))) {
    throw new ConfigError(`The VM "${name}" runs already: expected no option for its machine`);
  }
  using ending = new Ending(options.timeout);
  const credit = new InputCredit();
  const request = client.open("exec", { vm: name, words: [...words] }, (event) => {
    if (event.kind === "taken") return credit.give(event.bytes);
    (event.kind === "stdout" ? writeOut : writeError)(Uint8Array.fromBase64(event.data));
  });
  feedInput(request, credit).catch((error) => {
    // A connection that broke is known by the request's result.
    if (!(error instanceof HostError)) ending.fail(error);
  });
  const { status } = await Promise.race([request.result, ending.happens]);
  return status;
}

async function feedInput(request: OpenRequest<"exec">, credit: InputCredit): Promise<void> {
  const chunk = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await Deno.stdin.read(chunk);
    if (count === null) return await request.send({ kind: "end" });
    for (let at = 0; at < count;) {
      const allowed = await credit.take(count - at);
      for (const data of base64Pieces(chunk.subarray(at, at + allowed))) {
        await request.send({ kind: "input", data });
      }
      at += allowed;
    }
  }
}
