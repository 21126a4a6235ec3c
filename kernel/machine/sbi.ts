/**
 * The built-in firmware: supervisor ecalls (RISC-V Supervisor Binary Interface Specification 2.0): base,
 * TIME, IPI, RFENCE, HSM, SRST, DBCN and the legacy console, timer, IPI, fence and shutdown calls.
 *
 * Invariants: every argument is hostile until checked; a call that is refused has changed nothing.
 */

/** Error codes (section 3, "Binary Encoding"). */
export const SBI_ERROR = {
  success: 0,
  failed: -1,
  notSupported: -2,
  invalidParameter: -3,
  denied: -4,
  invalidAddress: -5,
  alreadyAvailable: -6,
  alreadyStarted: -7,
  alreadyStopped: -8,
} as const;

/** Extension identifiers. */
export const SBI_EXTENSION = {
  base: 0x10,
  time: 0x54494d45,
  ipi: 0x735049,
  rfence: 0x52464e43,
  hsm: 0x48534d,
  reset: 0x53525354,
  debugConsole: 0x4442434e,
} as const;

/** HSM hart states. */
export const HART_STATE = { started: 0, stopped: 1, suspended: 4 } as const;

/** What the firmware needs of the machine. Harts are numbered from 0; the caller is `hart`. */
export interface SbiHost {
  readonly harts: number;
  /** The calling hart. */
  readonly hart: number;
  argument(index: number): bigint;
  setTimer(hart: number, ticks: bigint): void;
  setSoftwareInterrupt(hart: number, level: boolean): void;
  hartState(hart: number): number;
  /** Starts a hart in supervisor mode with a0 = its number, a1 = opaque. */
  startHart(hart: number, pc: bigint, opaque: bigint): void;
  stopHart(hart: number): void;
  /** Lets the caller sleep until an interrupt is pending; non-retentive when `resume` is given. */
  suspendHart(hart: number, resume?: { pc: bigint; opaque: bigint }): void;
  read(gpa: number, into: Uint8Array): boolean;
  write(gpa: number, from: Uint8Array): boolean;
  consoleWrite(bytes: Uint8Array): void;
  /** Takes input that is waiting, at most `length` bytes. */
  consoleRead(length: number): Uint8Array;
  power(kind: "off" | "reset", code: number): void;
}

/** What a call returns in a0 and a1; legacy calls return only a0. */
export interface SbiResult {
  readonly error: number;
  readonly value: bigint;
  readonly legacy?: boolean;
  /** The caller's registers are set already: it goes on somewhere else. */
  readonly resumesElsewhere?: boolean;
}

/** Specification version 2.0. */
const SPECIFICATION = 2n << 24n;
/** Implementation identifier, unassigned by the specification's list. */
const IMPLEMENTATION = 0x4348n;
const IMPLEMENTATION_VERSION = 1n;
const ALL_ONES = (1n << 64n) - 1n;
/** Most bytes of one debug-console call that are moved; the caller repeats for more. */
const CONSOLE_BYTES_MAXIMUM = 4096n;

const ok = (value = 0n): SbiResult => ({ error: SBI_ERROR.success, value });
const error = (code: number): SbiResult => ({ error: code, value: 0n });
const legacy = (value: number): SbiResult => ({ error: value, value: 0n, legacy: true });

/** Runs one call. */
export function sbiCall(host: SbiHost): SbiResult {
  const extension = host.argument(7);
  const call = Number(host.argument(6) & 0xffff_ffffn);
  if (extension <= 8n) return legacyCall(host, Number(extension));
  switch (Number(extension & 0xffff_ffffn)) {
    case SBI_EXTENSION.base:
      return baseCall(host, call);
    case SBI_EXTENSION.time:
      if (call !== 0) return error(SBI_ERROR.notSupported);
      host.setTimer(host.hart, host.argument(0));
      return ok();
    case SBI_EXTENSION.ipi:
      if (call !== 0) return error(SBI_ERROR.notSupported);
      return forHarts(host, host.argument(0), host.argument(1), (hart) => {
        host.setSoftwareInterrupt(hart, true);
      });
    case SBI_EXTENSION.rfence:
      // Caches never hold stale translations: a remote fence has only its arguments to check.
      if (call > 6) return error(SBI_ERROR.notSupported);
      return call > 2
        ? error(SBI_ERROR.notSupported)
        : forHarts(host, host.argument(0), host.argument(1), () => {});
    case SBI_EXTENSION.hsm:
      return hsmCall(host, call);
    case SBI_EXTENSION.reset:
      return resetCall(host, call);
    case SBI_EXTENSION.debugConsole:
      return consoleCall(host, call);
    default:
      return error(SBI_ERROR.notSupported);
  }
}

function baseCall(host: SbiHost, call: number): SbiResult {
  switch (call) {
    case 0:
      return ok(SPECIFICATION);
    case 1:
      return ok(IMPLEMENTATION);
    case 2:
      return ok(IMPLEMENTATION_VERSION);
    case 3: {
      const asked = host.argument(0);
      const known = asked <= 8n ||
        (Object.values(SBI_EXTENSION) as number[]).some((id) => BigInt(id) === asked);
      return ok(known ? 1n : 0n);
    }
    case 4:
    case 5:
    case 6:
      return ok(0n);
    default:
      return error(SBI_ERROR.notSupported);
  }
}

/** Applies an action to the harts of a mask; refuses a mask that names one that does not exist. */
function forHarts(
  host: SbiHost,
  mask: bigint,
  base: bigint,
  action: (hart: number) => void,
): SbiResult {
  if (base === ALL_ONES) {
    for (let hart = 0; hart < host.harts; hart++) action(hart);
    return ok();
  }
  const existing = base >= BigInt(host.harts) ? 0n : (1n << BigInt(host.harts) - base) - 1n;
  if ((mask & ~existing) !== 0n || (mask !== 0n && existing === 0n)) {
    return error(SBI_ERROR.invalidParameter);
  }
  for (let i = 0; i < 64; i++) {
    if ((mask >> BigInt(i) & 1n) === 1n) action(Number(base) + i);
  }
  return ok();
}

function hsmCall(host: SbiHost, call: number): SbiResult {
  const target = host.argument(0);
  switch (call) {
    case 0:
      if (target >= BigInt(host.harts)) return error(SBI_ERROR.invalidParameter);
      if (host.hartState(Number(target)) !== HART_STATE.stopped) {
        return error(SBI_ERROR.alreadyAvailable);
      }
      if (!canStartAt(host, host.argument(1))) return error(SBI_ERROR.invalidAddress);
      host.startHart(Number(target), host.argument(1), host.argument(2));
      return ok();
    case 1:
      host.stopHart(host.hart);
      return ok();
    case 2:
      if (target >= BigInt(host.harts)) return error(SBI_ERROR.invalidParameter);
      return ok(BigInt(host.hartState(Number(target))));
    case 3:
      return suspend(host, Number(target & 0xffff_ffffn));
    default:
      return error(SBI_ERROR.notSupported);
  }
}

/** Whether there is memory for an instruction, at an even address. */
function canStartAt(host: SbiHost, pc: bigint): boolean {
  return (pc & 1n) === 0n && pc < 1n << 53n && host.read(Number(pc), new Uint8Array(2));
}

function suspend(host: SbiHost, type: number): SbiResult {
  if (type === 0) {
    host.suspendHart(host.hart);
    return ok();
  }
  if (type !== 0x8000_0000) return error(SBI_ERROR.invalidParameter);
  const pc = host.argument(1);
  if (!canStartAt(host, pc)) return error(SBI_ERROR.invalidAddress);
  host.suspendHart(host.hart, { pc, opaque: host.argument(2) });
  return { ...ok(), resumesElsewhere: true };
}

function resetCall(host: SbiHost, call: number): SbiResult {
  if (call !== 0) return error(SBI_ERROR.notSupported);
  const type = host.argument(0);
  const reason = host.argument(1);
  if (type > 2n || (reason > 1n && reason < 0xe000_0000n) || reason > 0xffff_ffffn) {
    return error(SBI_ERROR.invalidParameter);
  }
  // Reason 1 is a system failure: the exit status says so.
  host.power(type === 0n ? "off" : "reset", reason === 1n ? 1 : 0);
  return ok();
}

function consoleCall(host: SbiHost, call: number): SbiResult {
  if (call === 2) {
    host.consoleWrite(Uint8Array.of(Number(host.argument(0) & 0xffn)));
    return ok();
  }
  if (call > 2) return error(SBI_ERROR.notSupported);
  const wanted = host.argument(0);
  const length = Number(wanted < CONSOLE_BYTES_MAXIMUM ? wanted : CONSOLE_BYTES_MAXIMUM);
  if (host.argument(2) !== 0n || host.argument(1) > 0xff_ffff_ffffn) {
    return error(SBI_ERROR.invalidParameter);
  }
  const gpa = Number(host.argument(1));
  const bytes = new Uint8Array(length);
  if (!host.read(gpa, bytes)) return error(SBI_ERROR.invalidParameter);
  if (call === 0) {
    host.consoleWrite(bytes);
    return ok(BigInt(length));
  }
  const input = host.consoleRead(length);
  host.write(gpa, input);
  return ok(BigInt(input.length));
}

/** Legacy calls (section 5): one result, and hart masks by pointer, which count as "all harts". */
function legacyCall(host: SbiHost, call: number): SbiResult {
  const all = (action: (hart: number) => void) => {
    for (let hart = 0; hart < host.harts; hart++) action(hart);
  };
  switch (call) {
    case 0:
      host.setTimer(host.hart, host.argument(0));
      return legacy(0);
    case 1:
      host.consoleWrite(Uint8Array.of(Number(host.argument(0) & 0xffn)));
      return legacy(0);
    case 2:
      return legacy(host.consoleRead(1)[0] ?? -1);
    case 3:
      host.setSoftwareInterrupt(host.hart, false);
      return legacy(0);
    case 4:
      all((hart) => host.setSoftwareInterrupt(hart, true));
      return legacy(0);
    case 8:
      host.power("off", 0);
      return legacy(0);
    default:
      return legacy(0);
  }
}
