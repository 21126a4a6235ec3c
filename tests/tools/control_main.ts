/**
 * Entry of the command line over fake machines, for control_test.ts. A fake machine cannot be recorded:
 * here a recording is a file in its folder that says how it was asked for.
 */
import { HostError, VM } from "../../kernel/mod.ts";
import { main } from "../../tools/cli/main.ts";
import { fakeKernel } from "../world/support.ts";

const folders = new WeakMap<VM, string>();

Object.defineProperty(VM.prototype, "recordingFolder", {
  get(this: VM) {
    return folders.get(this);
  },
});

VM.prototype.startRecording = async function (this: VM, options) {
  if (folders.has(this)) throw new HostError(`"${this.name}" is being recorded`);
  await Deno.mkdir(options.folder);
  await Deno.writeTextFile(`${options.folder}/options.json`, JSON.stringify(options));
  folders.set(this, options.folder);
};

VM.prototype.stopRecording = function (this: VM) {
  if (!folders.delete(this)) return Promise.reject(new HostError(`"${this.name}" is not recorded`));
  return Promise.resolve();
};

Deno.exit(await main(Deno.args, { startKernel: () => Promise.resolve(fakeKernel()) }));
