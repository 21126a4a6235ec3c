// A Linux program that writes memory hard, for measurements of checkpoints (S17, S19): maps so many MiB,
// says "ready" when all of it was written once, then goes on for ever. It runs in any riscv64 Linux guest;
// no libc, raw system calls only.
//
//     writer MIB [touch]      touch: one word of each page in each round, instead of all of it
typedef unsigned long u64;
typedef long s64;

enum { WRITE = 64, EXIT = 93, MMAP = 222, PAGE_WORDS = 512, MIB_PAGES = 256 };
enum { READ_WRITE = 3, PRIVATE_ANONYMOUS = 0x22 };

static s64 sys(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f) {
  register s64 a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d, a4 asm("a4") = e,
      a5 asm("a5") = f, a7 asm("a7") = n;
  asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
  return a0;
}

static void fill(volatile u64 *page, u64 words, u64 value) {
  for (u64 i = 0; i < words; i++) page[i] = value += 0x9e3779b97f4a7c15;
}

static __attribute__((noreturn, used)) void begin(u64 *stack) {
  u64 count = stack[0];
  const char *text = count > 1 ? (const char *)stack[2] : "";
  u64 mib = 0;
  while (*text >= '0' && *text <= '9') mib = mib * 10 + (*text++ - '0');
  u64 pages = mib * MIB_PAGES, words = count > 2 ? 1 : PAGE_WORDS;
  s64 memory = sys(MMAP, 0, pages * PAGE_WORDS * 8, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
  if (mib == 0 || (memory < 0 && memory > -4096)) {
    sys(WRITE, 2, (s64) "writer: expected a number of MiB that fits\n", 43, 0, 0, 0);
    sys(EXIT, 1, 0, 0, 0, 0, 0);
  }
  for (u64 round = 0;; round++) {
    for (u64 page = 0; page < pages; page++) {
      fill((u64 *)memory + page * PAGE_WORDS, round == 0 ? PAGE_WORDS : words, round << 32 | page);
    }
    if (round == 0) sys(WRITE, 1, (s64) "ready\n", 6, 0, 0, 0);
  }
}

__attribute__((naked)) void _start(void) { asm volatile("mv a0, sp\n\tj begin"); }
