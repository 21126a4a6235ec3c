/** The mailbox between the kernel world and a VM world: who sleeps when, and who is never kept from work. */
import { assertEquals } from "@std/assert";
import { createMailbox, KernelMailbox, VmMailbox } from "../../kernel/world/mailbox.ts";
import { message, TO_VM } from "../../kernel/world/protocol.ts";

Deno.test("many messages are taken in parts, and a VM world does not sleep before it has all", () => {
  const shared = createMailbox();
  const [kernel, vm] = [new KernelMailbox(shared), new VmMailbox(shared)];
  for (let i = 0; i < 100; i++) kernel.trySend(TO_VM.frame, message("net0", [i]));
  kernel.ringPeer();
  const got: number[] = [];
  const looks: number[] = [];
  while (got.length < 100) {
    const bell = vm.bell();
    vm.takeMessages(({ numbers }) => got.push(numbers[0]!));
    looks.push(got.length);
    // Nobody rings again: without the rest in mind this would never return.
    if (got.length < 100) vm.sleep(bell);
  }
  assertEquals(got, Array.from({ length: 100 }, (_, i) => i));
  assertEquals(looks, [64, 100]);
});
