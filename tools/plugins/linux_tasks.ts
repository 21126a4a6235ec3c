/**
 * Processes of a riscv64 Linux guest, seen from outside: the current task of a hart, its pid and its name.
 *
 * Where these lie in task_struct differs from kernel to kernel, so it is found out, from a task at hand:
 *
 *     … pid, tgid, [stack canary], real_parent, parent, children, sibling, group_leader … comm …
 *
 * real_parent leads from task to task up to init_task, which is its own parent and leader and is called
 * "swapper". A layout under which all of this holds is the kernel's.
 *
 * Invariant: nothing is taken for a task before that chain was followed to its end.
 */
import type { ReplayView } from "../../mod.ts";

/** A process or thread. */
export interface Task {
  /** Address of its task_struct. */
  readonly address: bigint;
  readonly pid: number;
  readonly name: string;
}

interface Layout {
  readonly pid: bigint;
  readonly comm: bigint;
}

const TASK_BYTES = 16_384;
const COMM_BYTES = 16;
/** From real_parent: parent, and group_leader behind two list heads. */
const [PARENT, LEADER] = [8, 48];
/** Longest way from a task to init_task that is followed. */
const ANCESTORS_MAXIMUM = 64;
const TP = 4;
const [USER, SUPERVISOR] = [0, 1];
const SWAPPER = new TextEncoder().encode("swapper");
/** Tries after which a guest is taken for something else than Linux. */
const TRIES_MAXIMUM = 2000;

const isKernelPointer = (value: bigint) => value >> 56n === 0xffn && (value & 7n) === 0n;

/** Knows the tasks of one guest. */
export class LinuxTasks {
  readonly #view: ReplayView;
  #layout: Layout | undefined;
  #tries = 0;

  constructor(view: ReplayView) {
    this.#view = view;
  }

  /** The guest started again: another kernel may run now. */
  reset(): void {
    this.#layout = undefined;
    this.#tries = 0;
  }

  /** The task that a hart executes; undefined where none can be told. */
  current(hart = this.#view.hart): Task | undefined {
    const view = this.#view;
    const privilege = view.privilege(hart);
    // In user mode the kernel keeps its task in sscratch; there, tp is the program's own.
    const address = privilege === USER
      ? view.csr("sscratch", hart)
      : privilege === SUPERVISOR
      ? view.x(TP, hart)
      : 0n;
    if (!isKernelPointer(address)) return undefined;
    const layout = this.#layout ??= this.#findLayout(address);
    if (layout === undefined) return undefined;
    const pid = view.integer(address + layout.pid, 4, hart);
    const name = view.text(address + layout.comm, COMM_BYTES, hart);
    if (pid === undefined || name === undefined) return undefined;
    return { address, pid: Number(BigInt.asIntN(32, pid)), name };
  }

  #findLayout(address: bigint): Layout | undefined {
    if (this.#tries++ >= TRIES_MAXIMUM) return undefined;
    const init = this.#view.symbols.find("init_task")?.address;
    return (init !== undefined ? this.#layoutAt(init) : undefined) ?? this.#layoutAt(address);
  }

  #layoutAt(address: bigint): Layout | undefined {
    const task = this.#view.memory(address, TASK_BYTES);
    for (let at = 0; at + LEADER + 8 <= task.length; at += 8) {
      if (!isFamily(task, at, address)) continue;
      const init = this.#initTask(address, at);
      const layout = init && this.#layoutOfInit(init, at);
      if (layout !== undefined) return layout;
    }
    return undefined;
  }

  /** Follows the parents to the task that is its own. */
  #initTask(address: bigint, at: number): Uint8Array | undefined {
    let task = address;
    for (let i = 0; i < ANCESTORS_MAXIMUM; i++) {
      const bytes = this.#view.memory(task, TASK_BYTES);
      if (bytes.length < at + LEADER + 8) return undefined;
      const parent = word(bytes, at);
      if (!isKernelPointer(parent)) return undefined;
      if (parent === task) {
        return word(bytes, at + PARENT) === task && word(bytes, at + LEADER) === task
          ? bytes
          : undefined;
      }
      task = parent;
    }
    return undefined;
  }

  #layoutOfInit(init: Uint8Array, realParent: number): Layout | undefined {
    const comm = indexOf(init, SWAPPER);
    if (comm < 0 || realParent < 16) return undefined;
    // Between the two ids, which are 0 here, and real_parent there may be a stack canary, which is not.
    const hasCanary = word(init, realParent - 8) !== 0n;
    return { pid: BigInt(realParent - (hasCanary ? 16 : 8)), comm: BigInt(comm) };
  }
}

/** Whether real_parent may lie there: two parents, and a leader, in the kernel's memory. */
function isFamily(task: Uint8Array, at: number, address: bigint): boolean {
  const [real, parent, leader] = [word(task, at), word(task, at + PARENT), word(task, at + LEADER)];
  return isKernelPointer(real) && isKernelPointer(parent) && isKernelPointer(leader) &&
    (real !== address || leader === address);
}

function word(bytes: Uint8Array, at: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  return bytes.findIndex((_, at) => wanted.every((byte, i) => bytes[at + i] === byte));
}
