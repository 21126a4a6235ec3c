/**
 * Benchmark suite `userland`: Debian's own programs at work in a Linux guest, here and under QEMU, and on
 * the host itself where it has them.
 */
import { linuxSuite, type NativeParts, timeParts } from "./support/linux_contest.ts";

/** What the guest has to do before the parts. */
const SET_UP = `#!/usr/bin/busybox sh
bb=/usr/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs tmpfs /tmp
cd /tmp
export PATH=/usr/bin:/usr/sbin LC_ALL=C
$bb --install -s /usr/local/bin
PATH=$PATH:/usr/local/bin
[ -e /bin/sh ] || $bb ln -s busybox /bin/sh
`;
const TURN_OFF = "$bb poweroff -f\n";

/**
 * The ciphers are measured as `openssl speed` does, by much data and few starts of the program. A part is
 * left out where its program is missing. Full names keep the guest's shell from taking its own
 * gzip and xz.
 */
const PARTS = `
part() { command -v "$1" >/dev/null && echo "@$2"; }
echo @prepare
seq 1 400000 >numbers
for i in 1 2 3 4 5 6 7 8; do cat numbers; done >data
part openssl sha256 && for i in 1 2; do openssl dgst -sha256 data >/dev/null; done
part openssl aes && for i in 1 2; do
  openssl enc -aes-128-cbc -K 00112233445566778899aabbccddeeff -iv 00112233445566778899aabbccddeeff \\
    -in data -out encrypted
done
part /usr/bin/gzip gzip && /usr/bin/gzip -6 <numbers >numbers.gz
part /usr/bin/xz xz && /usr/bin/xz -0 -c numbers >numbers.xz
part python3 python && python3 -S -c '
total = 0
words = {}
for i in range(300000):
    total += i * i % 7
    words[i % 1000] = words.get(i % 1000, 0) + len(str(i))
print(total, len(words))'
part sqlite3 sqlite && sqlite3 :memory: '
create table t (a integer primary key, b text);
with recursive n (i) as (select 1 union all select i + 1 from n where i < 60000)
insert into t select i, hex(i * 7919) from n;
select count(*) from t where b like "%39%";'
part perl perl && perl -e '
open my $in, "<", "numbers"; my $n = 0;
while (<$in>) { $n++ if /^(\\d)\\d*?(\\d\\d)\\1/; tr/1-8/2-9/; $n++ if /98?7/ }
print "$n\\n"'
echo @end
`;

/** What the guest runs. */
export const SCRIPT = SET_UP + PARTS + TURN_OFF;
/** Debian packages that it needs. */
export const USERLAND_PACKAGES: readonly string[] = [
  "openssl",
  "gzip",
  "xz-utils",
  "python3-minimal",
  "sqlite3",
  "perl-base",
];

async function native(): Promise<NativeParts> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-native-" });
  await Deno.writeTextFile(`${folder}/script`, PARTS);
  return {
    run: () => timeParts("sh", ["script"], { cwd: folder }),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

export default linuxSuite({
  description: "Debian's programs in a Linux guest, against QEMU",
  packages: USERLAND_PACKAGES,
  program: {
    name: "userland",
    bytes: () => Promise.resolve(new TextEncoder().encode(SCRIPT)),
  },
  apart: ["prepare"],
  native,
  keeps: true,
  leastMean: 1.2,
});
