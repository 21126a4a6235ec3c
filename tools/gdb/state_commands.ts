/**
 * Packets that read and write registers and memory, and plant points (GDB manual, "Packets"). All are
 * decoded whole before anything is done.
 */
import { type Connection, errorReply, MALFORMED, reasonOf, type Reply } from "./connection.ts";
import {
  hexBytes,
  hexValue,
  parseAddress,
  parseCount,
  parseHexBytes,
  parseValue,
} from "./numbers.ts";
import { asciiBytes, PACKET_BYTES } from "./packets.ts";
import { parsePoint } from "./points.ts";
import { GENERAL_REGISTERS, registerOf } from "./registers.ts";

const ADDRESS_SPACE = 1n << 64n;
const VALUE_DIGITS = 16;

/** "g". */
export async function readRegisters({ target, hart }: Connection): Promise<Reply> {
  return (await target.registers(hart, GENERAL_REGISTERS)).map(hexValue).join("");
}

/** "G": registers from the first on, as many as there are; "xx…" leaves one as it is. */
export async function writeRegisters(connection: Connection, text: string): Promise<Reply> {
  const count = text.length / VALUE_DIGITS;
  if (!Number.isInteger(count) || count < 1 || count > GENERAL_REGISTERS.length) return MALFORMED;
  const values: (bigint | undefined)[] = [];
  for (let i = 0; i < count; i++) {
    const digits = text.slice(VALUE_DIGITS * i, VALUE_DIGITS * (i + 1));
    const value = /^x+$/.test(digits) ? undefined : parseValue(digits);
    if (value === undefined && !digits.startsWith("x")) return MALFORMED;
    values.push(value);
  }
  for (const [i, value] of values.entries()) {
    // x0 is nothing that could be written.
    if (i === 0 || value === undefined) continue;
    await connection.target.setRegister(connection.hart, GENERAL_REGISTERS[i]!, value);
  }
  return "OK";
}

/** "p". */
export async function readRegister({ target, hart }: Connection, text: string): Promise<Reply> {
  const number = parseCount(text);
  if (number === undefined) return MALFORMED;
  const register = registerOf(number);
  if (register === undefined) return errorReply(`there is no register ${number}`);
  return hexValue((await target.registers(hart, [register]))[0]);
}

/** "P". */
export async function writeRegister({ target, hart }: Connection, text: string): Promise<Reply> {
  const [number, value] = text.split("=");
  const register = registerOf(parseCount(number) ?? -1);
  const bits = parseValue(value ?? "");
  if (bits === undefined) return MALFORMED;
  if (register === undefined) return errorReply(`there is no register ${number}`);
  if (register.file !== "x" || register.number !== 0) {
    await target.setRegister(hart, register, bits);
  }
  return "OK";
}

/** An address and a length that stay in the address space, or undefined. */
function parseRange(text: string): { address: bigint; length: number } | undefined {
  const [first, second, ...rest] = text.split(",");
  const [address, length] = [parseAddress(first), parseCount(second)];
  if (address === undefined || length === undefined || rest.length > 0) return undefined;
  const room = ADDRESS_SPACE - address;
  return { address, length: BigInt(length) > room ? Number(room) : length };
}

/** "m". The protocol allows fewer bytes than were asked for, but not none. */
export async function readMemory(connection: Connection, text: string): Promise<Reply> {
  const range = parseRange(text);
  if (range === undefined) return MALFORMED;
  const length = Math.min(range.length, PACKET_BYTES / 2);
  if (length === 0) return "";
  try {
    const bytes = await connection.target.memory(connection.hart, range.address, length);
    if (bytes.length > 0) return hexBytes(bytes.subarray(0, length));
    return memoryError(connection, `no memory at 0x${range.address.toString(16)}`);
  } catch (error) {
    return memoryError(connection, reasonOf(error));
  }
}

/** gdb before 16 takes only a number for an error of "m"; "E." would be hexadecimal to it. */
function memoryError({ announced }: Connection, reason: string): string {
  return announced.has("error-message") ? errorReply(reason) : MALFORMED;
}

/** "M" with pairs of digits, and "X" with the bytes themselves. */
export async function writeMemory(
  connection: Connection,
  text: string,
  encoding: "hexadecimal" | "binary",
): Promise<Reply> {
  const colon = text.indexOf(":");
  const range = parseRange(text.slice(0, Math.max(colon, 0)));
  const content = text.slice(colon + 1);
  const bytes = encoding === "binary" ? asciiBytes(content) : parseHexBytes(content);
  if (colon < 0 || range === undefined || bytes?.length !== range.length) return MALFORMED;
  // gdb tries out whether "X" is known by writing nothing.
  if (bytes.length === 0) return "OK";
  const { target, hart } = connection;
  try {
    await target.setMemory(hart, range.address, bytes);
    return "OK";
  } catch (error) {
    const reason = reasonOf(error);
    connection.refusal = `0x${range.address.toString(16)} was not written: ${reason}`;
    return errorReply(reason);
  }
}

/** "Z" and "z". */
export async function plant(connection: Connection, text: string, add: boolean): Promise<Reply> {
  const request = parsePoint(text);
  if (request === undefined) return MALFORMED;
  if (add) await connection.points.add(request);
  else await connection.points.remove(request);
  return "OK";
}
