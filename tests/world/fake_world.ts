/** Worker entry of a VM world with the fake machine. */
import { serveVmWorld } from "../../kernel/world/vm_world.ts";
import { FakeMachine } from "./fake_machine.ts";

serveVmWorld((config) => {
  if (config.append !== "die") return Promise.resolve(new FakeMachine(config));
  // Dies in a way that no `catch` of the VM world sees.
  return new Promise(() =>
    queueMicrotask(() => {
      throw new Error("out of nowhere");
    })
  );
});
