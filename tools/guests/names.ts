/** Which names are those of this repository's guests, without reading what they are. */

const GUESTS = new URL("../../guests/", import.meta.url);

/** Whether a guest of this repository has this name. */
export async function isGuest(name: string): Promise<boolean> {
  if (!/^[a-z0-9-]+$/.test(name)) return false;
  try {
    return (await Deno.stat(new URL(`${name}/guest.json`, GUESTS))).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
