/**
 * Which VMs of this process ended because they were suspended: whoever shows a VM's end says so, instead of
 * calling it switched off (issue 5, section 6).
 */
import type { CheckpointHead } from "../../../mod.ts";

const under = new WeakMap<object, Promise<CheckpointHead | undefined>>();

/** Notes that a VM is being suspended; gives the same promise. */
export function noteSuspending(
  vm: object,
  suspending: Promise<CheckpointHead>,
): Promise<CheckpointHead> {
  const settled = suspending.catch(() => undefined);
  // A second one waits for the first: what it ended in counts.
  const before = under.get(vm);
  under.set(vm, before === undefined ? settled : before.then((head) => head ?? settled));
  return suspending;
}

/** The state that a VM which ended was suspended to; undefined when it ended otherwise. */
export async function suspendedTo(vm: object): Promise<CheckpointHead | undefined> {
  return await under.get(vm);
}

/** How people are told. */
export function suspendedText(name: string, { id }: Pick<CheckpointHead, "id">): string {
  return `the VM "${name}" was suspended to checkpoint ${id}; \`resume ${
    id.slice(0, 8)
  }\` lets it go on`;
}
