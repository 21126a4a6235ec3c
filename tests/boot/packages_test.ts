/**
 * Claims about the Debian packages that a guest is made of (tools/guests/apt.ts).
 */
import { assert, assertEquals } from "@std/assert";
import { Apt } from "../../tools/guests/apt.ts";
import { cacheFolder } from "../../tools/guests/cache.ts";
import { debianTest } from "../_support/debian.ts";

// apt does not name what its archives hold already: a second guest once came without it.
debianTest("packages that were downloaded before are part of a later guest", async () => {
  const apt = await Apt.open(`${cacheFolder()}/apt`, () => {});
  const first = await apt.download(["gzip"], () => {});
  assert(first.some((file) => /\/gzip_/.test(file)) && first.some((file) => /\/libc6_/.test(file)));
  assertEquals(await apt.download(["gzip"], () => {}), first);
});
