/**
 * What a VM world sends to the kernel world, whether its machine runs or is replayed: the machine's
 * outputs, and answers to questions about it.
 */
import { unreachable } from "../base/assert.ts";
import type { MachineOutput, MachinePort, MachineStats } from "./machine_port.ts";
import type { Received, VmMailbox } from "./mailbox.ts";
import { DISK_KINDS, jsonMessage, message, messageText, parts, TO_KERNEL } from "./protocol.ts";
import { dumpHart } from "./reports.ts";

/** Answers a question about the machine; one that cannot be answered is refused with the reason. */
export function answerQuestion(
  machine: MachinePort,
  mailbox: VmMailbox,
  { numbers: [id = 0, argument = 0], bytes }: Received,
  stats: () => MachineStats,
): void {
  try {
    const value = lookUp(machine, messageText(bytes), argument, stats);
    mailbox.send(TO_KERNEL.answer, jsonMessage([id, 1], value));
  } catch (error) {
    mailbox.send(TO_KERNEL.answer, jsonMessage([id, 0], String(error)));
  }
}

function lookUp(
  machine: MachinePort,
  question: string,
  argument: number,
  stats: () => MachineStats,
): unknown {
  switch (question) {
    case "stats":
      return stats();
    case "registers":
      return dumpHart(machine.hart(argument));
    case "digest":
      return { icount: machine.icount, digest: machine.digest() };
    case "memory-tree":
      return machine.memoryTree();
    case "touched-bytes":
      return machine.touchedBytes();
    default:
      return unreachable(`question "${question}" is unknown to a VM world`);
  }
}

/** Sends what left the machine on its way. */
export function sendOutput(mailbox: VmMailbox, output: MachineOutput): void {
  switch (output.kind) {
    case "console":
      for (const part of parts(output.bytes)) {
        mailbox.send(TO_KERNEL.console, message(output.device, [output.port], part));
      }
      break;
    case "trace":
      for (const part of parts(output.bytes)) {
        mailbox.send(TO_KERNEL.trace, message("", [], part));
      }
      break;
    case "frame":
      mailbox.send(TO_KERNEL.frame, message(output.device, [], output.bytes));
      break;
    case "disk": {
      const { tag, kind, sector, length, data } = output.request;
      for (const part of parts(data ?? new Uint8Array(0))) {
        mailbox.send(TO_KERNEL.diskData, message(output.device, [tag], part));
      }
      const numbers = [tag, DISK_KINDS.indexOf(kind), sector, length];
      mailbox.send(TO_KERNEL.diskRequest, message(output.device, numbers));
      break;
    }
    default:
      unreachable();
  }
}
