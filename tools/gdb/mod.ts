/**
 * gdb for a machine: the remote serial protocol over the interface of kernel/debug (S13). README.md says
 * how the parts fit.
 */
export { type GdbServer, startGdbServer } from "./server.ts";
