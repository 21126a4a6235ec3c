/**
 * The folder of the control sockets, for what needs no more of them than their names: it loads nothing
 * (docs/control.md, "Where the socket is").
 */
import { cacheFolder } from "../../guests/cache.ts";

/** What the name of a socket looks like: PROCESS-RANDOM.sock. */
export const SOCKET_NAME = /^\d+-[0-9a-f]{4}\.sock$/;

/** The folder of the sockets. Throws HostError when the user has no folder of that sort. */
export function controlFolder(): string {
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  return runtime ? `${runtime}/chronovisor` : `${cacheFolder()}/run`;
}

/** Whether there may be kernels of this user: one socket is enough. Throws HostError. */
export function hasSockets(): boolean {
  try {
    for (const { name } of Deno.readDirSync(controlFolder())) {
      if (SOCKET_NAME.test(name)) return true;
    }
    return false;
  } catch (error) {
    // Whatever else is wrong with the folder, whoever opens a socket in it says so.
    return !(error instanceof Deno.errors.NotFound);
  }
}
