/**
 * `--gdb PORT`: lets gdb take hold of a VM that waits for it (issue 4, "gdb").
 */
import type { VM } from "../../mod.ts";
import { writeError } from "./streams.ts";
import { importLate } from "../../kernel/host/late_import.ts";

/** Serves gdb until it is disposed of; says where. Does nothing without a port. */
export async function serveGdb(vm: VM, port: number | undefined): Promise<AsyncDisposable> {
  if (port === undefined) return { [Symbol.asyncDispose]: () => Promise.resolve() };
  const target = await vm.debug();
  // Not before it is wanted: the tables behind it are large.
  const { startGdbServer } = await importLate<typeof import("../gdb/mod.ts")>(
    "../gdb/mod.ts",
    import.meta.url,
  );
  const server = startGdbServer(target, port);
  writeError(`chronovisor: waiting for gdb: target remote 127.0.0.1:${server.port}\n`);
  return server;
}
