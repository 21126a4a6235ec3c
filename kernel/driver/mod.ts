/**
 * Everything that a driver module may import, in one list.
 */
export {
  defineDevice,
  type Device,
  type DeviceDeclaration,
  DRIVER_ABI,
  type GuestIdentity,
} from "./device.ts";
export type { DeviceEnvironment, DiskPort, DiskRequest, DmaPort, Need } from "./environment.ts";
export { equalBytes } from "../base/bytes.ts";
export { DeviceRegistry } from "./registry.ts";
export {
  type ByteQueue,
  type FieldKind,
  type Fields,
  type Layout,
  layout,
  type View,
} from "../state/layout.ts";
export {
  bool,
  byteQueue,
  bytes,
  u16,
  u16s,
  u32,
  u32s,
  u53,
  u53s,
  u64,
  u8,
} from "../state/fields.ts";
