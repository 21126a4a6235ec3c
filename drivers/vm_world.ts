/**
 * The entry of a VM world's worker: the kernel's machine with the built-in drivers. It is started with
 * no permissions at all: what it imports late, it names with literals, so that it may be loaded.
 */
import { DeviceRegistry } from "../kernel/driver/mod.ts";
import { hostCompression } from "../kernel/host/compression.ts";
import { createMachine } from "../kernel/world/machine_adapter.ts";
import { serveVmWorld } from "../kernel/world/vm_world.ts";
import { BUILTIN_DEVICES } from "./mod.ts";

serveVmWorld(
  (config, surroundings) =>
    createMachine(config, new DeviceRegistry(BUILTIN_DEVICES), surroundings),
  hostCompression.unpack,
);
