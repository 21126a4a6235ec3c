/** Versions: ours (from deno.json, its one place) and the runtime's. */
import configuration from "../../deno.json" with { type: "json" };

/** Version of Chronovisor. */
export const VERSION: string = configuration.version;

/** Text of `version`. */
export function versionText(): string {
  const { deno, v8 } = Deno.version;
  return `chronovisor ${VERSION} (deno ${deno}, v8 ${v8}, ${Deno.build.target})\n`;
}
