/**
 * Ends a VM for somebody outside: the guest is asked where there is a way, and switched off where there
 * is none or when it takes too long (issue 5, section 6).
 *
 * Invariant: when it resolves, the VM has ended.
 */
import { HostError } from "../../../mod.ts";
import type { ControlledVm } from "./verb.ts";

/** What a guest gets for its power-off, unless told otherwise. */
export const STOP_SECONDS = 30;

/** How a VM was ended: by its guest, because its guest took too long, or without asking it. */
export type StopOutcome = "guest" | "late" | "switched-off";

/**
 * Ends everything in a Linux guest as its own power-off does. A service manager knows best; without one,
 * programs are asked to end, files are written back, and the machine goes off.
 */
const POWER_OFF = [
  "/bin/sh",
  "-c",
  `trap '' TERM HUP PIPE
[ -d /run/systemd/system ] && exec systemctl poweroff
kill -TERM -1
sleep 1
sync
umount -a -r
poweroff -f`,
];

/** Ends a VM; a guest gets so many seconds, or is not asked when there are none. */
export async function stopVm(
  vm: Pick<ControlledVm, "state" | "hasAgent" | "resume" | "spawn" | "waitForExit" | "powerOff">,
  seconds: number | undefined,
): Promise<StopOutcome> {
  if (seconds === undefined || !vm.hasAgent) {
    await vm.powerOff();
    return "switched-off";
  }
  // However it ended, it did.
  const ended = vm.waitForExit().then(() => true, () => true);
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), seconds * 1000);
  try {
    const asking = ask(vm);
    asking.catch((error) => {
      if (!(error instanceof HostError)) throw error;
    });
    if (await Promise.race([ended, late])) return "guest";
  } finally {
    clearTimeout(timer);
  }
  await vm.powerOff();
  return "late";
}

async function ask(vm: Pick<ControlledVm, "state" | "resume" | "spawn">): Promise<void> {
  // A guest that stands still cannot do what it is asked to.
  if (vm.state === "paused") await vm.resume();
  const process = await vm.spawn(POWER_OFF);
  await Promise.all([process.stdout.cancel(), process.stderr.cancel(), process.stdin.close()]);
}
