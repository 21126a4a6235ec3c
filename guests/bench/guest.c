// The benchmark guest: supervisor mode, Sv39 with 4 KiB pages. Runs the kernel named in the kernel command
// line (bench=NAME scale=N) and prints name, time in ticks, instructions, and checksum.
#include "../sdk/supervisor.h"

struct kernel { const char *name; u64 (*run)(u64 scale); };
extern const struct kernel kernels[];
extern void trap_entry(void);

static void put(const char *text) {
  while (*text) *byte_at(UART) = *text++;
}

static void put_number(u64 value) {
  char digits[24];
  int n = 0;
  do digits[n++] = '0' + value % 10; while (value /= 10);
  while (n) *byte_at(UART) = digits[--n];
}

void on_trap(u64 cause, u64 pc, u64 value) {
  put("bench: trap ");
  put_number(cause);
  put(" at ");
  put_number(pc);
  put(" value ");
  put_number(value);
  put("\n");
  sbi(SBI_RESET, 0, 0, 1);
}

enum { MEGABYTES = 32 };
static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaves[MEGABYTES / 2][512] __attribute__((aligned(4096)));

// 4 KiB pages for our memory, one gigabyte page for the devices.
static void turn_paging_on(void) {
  enum { V = 1, RWX = 14, RW = 6, A = 64, D = 128 };
  root[0] = V | RW | A | D;
  root[2] = (u64)middle >> 12 << 10 | V;
  for (u64 i = 0; i < MEGABYTES / 2; i++) {
    middle[i] = (u64)leaves[i] >> 12 << 10 | V;
    for (u64 j = 0; j < 512; j++) leaves[i][j] = (0x80000UL + i * 512 + j) << 10 | V | RWX | A | D;
  }
  WRITE_CSR(satp, 8UL << 60 | (u64)root >> 12);
  asm volatile("sfence.vma" ::: "memory");
}

// Finds "KEY=" in the bytes of the device tree: the command line is the only place that has it.
static const char *option(u64 tree, const char *key) {
  const u8 *bytes = (const u8 *)tree;
  u32 size = (u32)bytes[4] << 24 | (u32)bytes[5] << 16 | (u32)bytes[6] << 8 | bytes[7];
  for (u32 i = 0; i + 16 < size; i++) {
    u32 n = 0;
    while (key[n] && bytes[i + n] == (u8)key[n]) n++;
    if (!key[n]) return (const char *)bytes + i + n;
  }
  return 0;
}

static int names(const char *text, const char *name) {
  while (*name && *text == *name) text++, name++;
  return !*name && (*text == ' ' || *text == 0);
}

int main(u64 hart, u64 tree) {
  (void)hart;
  WRITE_CSR(stvec, trap_entry);
  SET_CSR(sstatus, 1 << 13);
  const char *name = option(tree, "bench="), *scale_text = option(tree, "scale=");
  u64 scale = 0;
  for (; scale_text && *scale_text >= '0' && *scale_text <= '9'; scale_text++) scale = scale * 10 + *scale_text - '0';
  for (const struct kernel *kernel = kernels; name && kernel->name; kernel++) {
    if (!names(name, kernel->name)) continue;
    turn_paging_on();
    u64 time = READ_CSR(time), instructions = READ_CSR(instret);
    u64 checksum = kernel->run(scale ? scale : 1);
    instructions = READ_CSR(instret) - instructions;
    time = READ_CSR(time) - time;
    put("bench: ");
    put(kernel->name);
    put(" ticks ");
    put_number(time);
    put(" instructions ");
    put_number(instructions);
    put(" checksum ");
    put_number(checksum);
    put("\n");
    sbi(SBI_RESET, 0, 0, 0);
  }
  put("bench: no kernel is named so\n");
  sbi(SBI_RESET, 0, 0, 1);
  return 0;
}
