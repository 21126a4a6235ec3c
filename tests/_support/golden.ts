/**
 * Text that a person has looked at and accepted (habit 10): generated code, device trees, dumps. A test
 * compares with tests/golden/NAME.txt; UPDATE=1 accepts what came out this time, and the change is then
 * reviewed as text.
 */
import { assertEquals } from "@std/assert";

const GOLDEN = new URL("../golden/", import.meta.url);

/**
 * Compares a text with the accepted one.
 *
 * @param name folder and file without ".txt", lower case: "device_tree/one_hart"
 * @param how where accepted texts are kept, and whether this one is: otherwise only to test this helper
 */
export async function golden(
  name: string,
  actual: string,
  how: { readonly folder?: URL; readonly accepts?: boolean } = {},
): Promise<void> {
  const { folder = GOLDEN, accepts = Deno.env.get("UPDATE") === "1" } = how;
  if (!/^[a-z0-9_]+(?:\/[a-z0-9_]+)*$/.test(name)) {
    throw new Error(`"${name}" names no golden text`);
  }
  const file = new URL(`${name}.txt`, folder);
  const text = actual.endsWith("\n") ? actual : `${actual}\n`;
  if (accepts) {
    await Deno.mkdir(new URL(".", file), { recursive: true });
    await Deno.writeTextFile(file, text);
    return;
  }
  assertEquals(text, await accepted(name, file), `tests/golden/${name}.txt: UPDATE=1 accepts it`);
}

async function accepted(name: string, file: URL): Promise<string> {
  try {
    return await Deno.readTextFile(file);
  } catch (cause) {
    const message = `there is no tests/golden/${name}.txt yet: UPDATE=1 writes it`;
    throw new Error(message, { cause });
  }
}
