/**
 * The devices as Debian's own drivers see them, through the whole kernel: disks, entropy, network, clock,
 * terminal, power.
 */
import { assert, assertEquals } from "@std/assert";
import { MiB } from "../../kernel/base/units.ts";
import { type PowerOnOptions, type VM, VMKernel } from "../../mod.ts";
import { debianTest } from "../_support/debian.ts";

/** Powers Debian on, and off again when the body is done. */
async function withDebian(
  options: PowerOnOptions,
  body: (vm: VM) => Promise<void>,
): Promise<void> {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ guest: "debian", memory: "256M", ...options });
  await body(vm);
  await vm.powerOff();
}

/** Runs shell lines that must succeed; gives what they print. */
async function shell(vm: VM, lines: string): Promise<string> {
  const { status, text, stderr } = await vm.exec(["sh", "-ec", lines]);
  assertEquals(status, 0, `${text}${new TextDecoder().decode(stderr)}`);
  return text.trim();
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Image files of so many bytes that are there while the body runs. */
async function withImages(
  sizes: readonly number[],
  body: (paths: string[]) => Promise<void>,
): Promise<void> {
  const paths: string[] = [];
  try {
    for (const size of sizes) {
      const path = await Deno.makeTempFile({ suffix: ".img" });
      paths.push(path);
      await Deno.truncate(path, size);
    }
    await body(paths);
  } finally {
    for (const path of paths) await Deno.remove(path);
  }
}

debianTest("Linux writes, flushes, reads back and discards parts of a virtio disk", async () => {
  await withImages([4 * MiB], async ([path]) => {
    await withDebian({ drives: [{ path: path! }] }, async (vm) => {
      assertEquals(await shell(vm, "cat /sys/block/vda/size"), "8192");
      const sum = await shell(
        vm,
        `dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null
         dd if=/tmp/data of=/dev/vda bs=20k conv=fsync 2>/dev/null
         echo 3 > /proc/sys/vm/drop_caches
         cmp /tmp/data /dev/vda
         sha256sum < /tmp/data`,
      );
      assertEquals(`${await sha256(await Deno.readFile(path!))}  -`, sum);
      await shell(vm, "blkdiscard -o 1048576 -l 65536 /dev/vda; sync");
      // What a discarded range holds is not specified; around it nothing changes.
      await shell(vm, "head -c 1048576 /dev/vda | cmp -n 1048576 - /tmp/data");
    });
  });
});

debianTest(
  "Linux uses a queue for each hart, discards and the cache mode of its disk",
  async () => {
    await withImages([16 * MiB], async ([path]) => {
      await Deno.writeFile(path!, new Uint8Array(16 * MiB).fill(0xa5));
      await withDebian({ drives: [{ path: path! }], harts: 2 }, async (vm) => {
        const limits = await shell(
          vm,
          `cd /sys/block/vda; ls mq | wc -l
         cat queue/discard_granularity queue/discard_max_bytes queue/write_zeroes_max_bytes`,
        );
        assertEquals(limits.split("\n").map(Number), [2, 4096, 0x3f_ffff * 512, 16 * MiB]);
        assertEquals(await shell(vm, "cat /sys/block/vda/queue/write_cache"), "write back");
        // Both harts at once, in different halves of the disk, each checking what it wrote.
        await shell(
          vm,
          `half() {
           dd if=/dev/urandom of=/tmp/half$1 bs=64k count=64 2>/dev/null
           dd if=/tmp/half$1 of=/dev/vda bs=64k seek=$(($1 * 64)) conv=fsync,notrunc oflag=direct 2>/dev/null
           dd if=/dev/vda bs=64k skip=$(($1 * 64)) count=64 iflag=direct 2>/dev/null | cmp - /tmp/half$1
         }
         half 0 & first=$!
         half 1 & wait $first; wait $!`,
        );
        await shell(vm, "blkdiscard -o 8388608 -l 4194304 /dev/vda");
        await shell(
          vm,
          `echo write through > /sys/block/vda/cache_type
         dd if=/tmp/half0 of=/dev/vda bs=64k seek=192 count=8 oflag=direct conv=notrunc 2>/dev/null`,
        );
        assertEquals(await shell(vm, "cat /sys/block/vda/cache_type"), "write through");
        await shell(vm, "mke2fs /dev/vda 4096 > /dev/null; sync");
      });
      const bytes = await Deno.readFile(path!);
      assertEquals([bytes[1080], bytes[1081]], [0x53, 0xef], "the magic of an ext2 file system");
      assert(bytes.subarray(13 * MiB).every((byte) => byte === 0xa5));
    });
  },
);

debianTest("Linux finds a read-only disk read-only, and writes to it fail", async () => {
  await withImages([MiB], async ([path]) => {
    await Deno.writeFile(path!, new TextEncoder().encode("unchanged".padEnd(MiB, ".")));
    await withDebian({ drives: [{ path: path!, readOnly: true }] }, async (vm) => {
      assertEquals(await shell(vm, "cat /sys/block/vda/ro; head -c 9 /dev/vda"), "1\nunchanged");
      const { status } = await vm.exec(["sh", "-c", "echo x > /dev/vda && sync"]);
      assert(status !== 0, "a write is refused");
    });
    assertEquals((await Deno.readTextFile(path!)).slice(0, 9), "unchanged");
  });
});

debianTest("entropy comes from the seed: the same twice, another for another seed", async () => {
  const drawn: string[] = [];
  for (const seed of [7, 7, 8]) {
    await withDebian({ seed, clock: "virtual" }, async (vm) => {
      assertEquals(await shell(vm, "cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0");
      drawn.push(await shell(vm, "head -c 16 /dev/hwrng | hexdump -C | head -1"));
    });
  }
  assertEquals(drawn[0], drawn[1]);
  assert(drawn[0] !== drawn[2], drawn[0]);
});

debianTest("frames come back from a loopback network and vanish without one", async () => {
  const received = async (network: "loopback" | "none", tries: number) => {
    let packets = -1;
    await withDebian({ network }, async (vm) => {
      // A busy host may take longer for a frame's way than the guest waits for its answer.
      const lines = `ip link set eth0 up; ip address add 10.0.0.1/24 dev eth0
        received() { cat /sys/class/net/eth0/statistics/rx_packets; }
        for try in $(seq ${tries}); do
          ping -c 1 -W 1 10.0.0.2 > /dev/null || true
          [ $(received) -gt 0 ] && break
        done
        received`;
      packets = Number(await shell(vm, lines));
    });
    return packets;
  };
  assert(await received("loopback", 100) > 0);
  assertEquals(await received("none", 1), 0);
});

debianTest("the guest's wall clock is the host's", async () => {
  await withDebian({ clock: "host" }, async (vm) => {
    const seconds = Number(await shell(vm, "date +%s"));
    assert(Math.abs(seconds - Date.now() / 1000) < 60, `${seconds}`);
  });
});

debianTest(
  "with an exact clock time goes on as the host's does, but not while paused",
  async () => {
    await withDebian({ clock: "exact" }, async (vm) => {
      const uptime = async () => Number(await shell(vm, "cut -d ' ' -f 1 /proc/uptime"));
      const host = performance.now();
      const guest = await uptime();
      await shell(vm, "sleep 0.5");
      const between = await uptime() - guest;
      assert(between >= 0.5, `${between}`);
      await vm.pause();
      const paused = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const stood = (performance.now() - paused) / 1000;
      await vm.resume();
      const passed = await uptime() - guest;
      const most = (performance.now() - host) / 1000 - stood + 0.05;
      assert(passed >= between && passed <= most, `${passed} seconds passed of at most ${most}`);
      const { nondeterminism } = await vm.stats();
      assertEquals(nondeterminism, { entries: 0, full: 0, refills: 0, flushes: 0 });
    });
  },
);

debianTest("the serial terminal has the size that it is told, also later", async () => {
  await withDebian({}, async (vm) => {
    const size = async (columns: number, rows: number) => {
      await vm.console.resize(columns, rows);
      // The agent takes requests in order.
      return await shell(vm, "stty size < /dev/ttyS0");
    };
    assertEquals(await size(100, 40), "40 100");
    assertEquals(await size(77, 33), "33 77");
  });
});

debianTest("a power-off and a reboot in the guest end the VM and say which it was", async () => {
  await using kernel = await VMKernel.start();
  for (
    const [line, expected] of [
      ["poweroff -f", { code: 0, why: "power-off" }],
      ["reboot -f", { code: 0, why: "reset" }],
    ] as const
  ) {
    const vm = await kernel.powerOn({ guest: "debian", memory: "256M", onReset: "end" });
    await vm.exec(["sh", "-c", line]).catch(() => {});
    assertEquals(await vm.waitForExit(), expected, line);
  }
});
