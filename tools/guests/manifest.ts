/**
 * The shape of guests/NAME/guest.json: how a guest is started. The JSON Schema beside the guests is made
 * from the same description.
 */
import { z } from "zod";
import { ConfigError } from "../../kernel/base/errors.ts";

/** The description of a guest. */
export const manifestSchema = z.strictObject({
  $schema: z.string().optional(),
  name: z.string().regex(/^[a-z][a-z0-9-]*$/).describe("Name of the guest and of its folder"),
  description: z.string().describe("One line for people"),
  provider: z.enum(["committed", "debian"]).describe("Where its images come from"),
  kernel: z.string().optional().describe("Image to start, relative to the folder"),
  initrd: z.string().optional().describe("Initial RAM disk, relative to the folder"),
  bios: z.enum(["builtin", "none"]).optional().describe("Firmware"),
  append: z.string().optional().describe("Kernel command line"),
  memory: z.string().optional().describe("Guest memory, such as 128M"),
  harts: z.int().min(1).max(8).optional().describe("Number of harts"),
  drives: z.array(z.strictObject({
    path: z.string().describe("Image, relative to the folder"),
    readOnly: z.boolean().optional(),
  })).optional().describe("Disks"),
  readyText: z.string().optional().describe("What the console shows when the guest is ready"),
});

/** A guest's description. */
export type GuestManifest = z.infer<typeof manifestSchema>;

/** Reads a description. Throws ConfigError that names the file and says what is wrong. */
export function parseManifest(text: string, file: string): GuestManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${file} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const result = manifestSchema.safeParse(value);
  if (!result.success) {
    throw new ConfigError(`${file} describes no guest:\n${z.prettifyError(result.error)}`);
  }
  return result.data;
}

/** Where the schema lies for editors; `guests build` writes it. */
export const SCHEMA_FILE = new URL("../../guests/guest.schema.json", import.meta.url);

/** The JSON Schema of a description, as text. */
export function manifestJsonSchema(): string {
  return `${JSON.stringify(z.toJSONSchema(manifestSchema), undefined, 2)}\n`;
}
