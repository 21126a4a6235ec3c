// A small guest of ours, in supervisor mode under SBI: prints, turns Sv39 on, takes a timer and a UART
// interrupt, reads its disk and powers off. It runs unchanged on QEMU's virt board.
#include "../sdk/supervisor.h"

extern void trap_entry(void);

static u64 root[512] __attribute__((aligned(4096)));
static volatile int timer_interrupts, uart_interrupts;
static volatile u8 uart_byte;

static void put(const char *text) {
  while (*text) {
    while (!(*byte_at(UART + 5) & 0x20)) {}
    *byte_at(UART) = *text++;
  }
}

static void put_number(u64 value) {
  char digits[24];
  int n = 0;
  do digits[n++] = '0' + value % 10; while (value /= 10);
  while (n) {
    char one[2] = {digits[--n], 0};
    put(one);
  }
}

static void power_off(int failed) {
  sbi(SBI_RESET, 0, 0, failed);
  for (;;) {}
}

static void fail(const char *what) {
  put("hello: FAILED: ");
  put(what);
  put("\n");
  power_off(1);
}

// One gigabyte pages: devices and memory where they are, and memory once more at 4 GiB.
static void turn_paging_on(void) {
  enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128 };
  root[0] = (0UL << 28) | V | R | W | A | D;
  root[2] = (2UL << 28) | V | R | W | X | A | D;
  root[4] = (2UL << 28) | V | R | A;
  WRITE_CSR(satp, 8UL << 60 | (u64)root >> 12);
  asm volatile("sfence.vma" ::: "memory");
}

void on_trap(u64 cause, u64 pc, u64 value) {
  if (cause == (1UL << 63 | 5)) {
    timer_interrupts++;
    sbi(SBI_TIME, 0, -1UL, 0);
  } else if (cause == (1UL << 63 | 9)) {
    u32 source = *word_at(PLIC + 0x201004);
    if (source == UART_IRQ) {
      uart_byte = *byte_at(UART);
      uart_interrupts++;
    }
    *word_at(PLIC + 0x201004) = source;
  } else {
    put("hello: unexpected trap ");
    put_number(cause);
    put(" at ");
    put_number(pc);
    put(" value ");
    put_number(value);
    put("\n");
    power_off(1);
  }
}

static void take_timer_interrupt(void) {
  SET_CSR(sie, 1 << 5);
  sbi(SBI_TIME, 0, READ_CSR(time) + 10000, 0);
  SET_CSR(sstatus, 2);
  while (!timer_interrupts) asm volatile("wfi");
  CLEAR_CSR(sstatus, 2);
}

// The port's loopback gives a byte back, so that nobody needs to type.
static void take_uart_interrupt(void) {
  *word_at(PLIC + 4 * UART_IRQ) = 1;
  *word_at(PLIC + 0x2080) = 1 << UART_IRQ;
  *word_at(PLIC + 0x201000) = 0;
  *byte_at(UART + 2) = 1;
  *byte_at(UART + 4) = 0x10 | 8;
  *byte_at(UART + 1) = 1;
  *byte_at(UART) = 'k';
  SET_CSR(sie, 1 << 9);
  SET_CSR(sstatus, 2);
  while (!uart_interrupts) asm volatile("wfi");
  CLEAR_CSR(sstatus, 2);
  *byte_at(UART + 1) = 0;
  *byte_at(UART + 4) = 8;
  if (uart_byte != 'k') fail("the UART gave another byte back");
}

// A virtio block device with one request at a time.
enum { QUEUE = 8 };
static struct { u64 address; u32 length; u16 flags, next; } descriptors[QUEUE] __attribute__((aligned(4096)));
static struct { u16 flags, index, ring[QUEUE]; } available __attribute__((aligned(4096)));
static volatile struct { u16 flags, index; struct { u32 id, length; } ring[QUEUE]; } used __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } request;
static volatile u8 status;
static u8 sector[512];

static u64 find_disk(void) {
  for (int i = 0; i < 8; i++) {
    u64 base = VIRTIO + i * VIRTIO_STRIDE;
    if (*word_at(base) == 0x74726976 && *word_at(base + 4) == 2 && *word_at(base + 8) == 2) return base;
  }
  return 0;
}

static void area(u64 base, u32 offset, volatile void *where) {
  *word_at(base + offset) = (u32)(u64)where;
  *word_at(base + offset + 4) = (u64)where >> 32;
}

static void start_disk(u64 base) {
  *word_at(base + 0x70) = 0;
  *word_at(base + 0x70) = 1 | 2;
  *word_at(base + 0x24) = 1;
  *word_at(base + 0x20) = 1;
  *word_at(base + 0x24) = 0;
  *word_at(base + 0x20) = 0;
  *word_at(base + 0x70) = 1 | 2 | 8;
  if (!(*word_at(base + 0x70) & 8)) fail("the disk refused our features");
  *word_at(base + 0x30) = 0;
  *word_at(base + 0x38) = QUEUE;
  area(base, 0x80, descriptors);
  area(base, 0x90, &available);
  area(base, 0xa0, &used);
  *word_at(base + 0x44) = 1;
  *word_at(base + 0x70) = 1 | 2 | 8 | 4;
}

static void read_sector(u64 base, u64 number) {
  request.type = 0;
  request.sector = number;
  status = 0xff;
  descriptors[0].address = (u64)&request, descriptors[0].length = 16;
  descriptors[0].flags = 1, descriptors[0].next = 1;
  descriptors[1].address = (u64)sector, descriptors[1].length = 512;
  descriptors[1].flags = 1 | 2, descriptors[1].next = 2;
  descriptors[2].address = (u64)&status, descriptors[2].length = 1, descriptors[2].flags = 2;
  u16 before = used.index;
  available.ring[available.index % QUEUE] = 0;
  asm volatile("fence" ::: "memory");
  available.index++;
  asm volatile("fence" ::: "memory");
  *word_at(base + 0x50) = 0;
  while (used.index == before) asm volatile("fence" ::: "memory");
  if (status != 0) fail("the disk reported an error");
}

int main(u64 hart, u64 tree) {
  (void)tree;
  put("hello: hart ");
  put_number(hart);
  put(" in supervisor mode\n");
  WRITE_CSR(stvec, trap_entry);
  turn_paging_on();
  static const char word[] = "Sv39";
  const char *alias = word + 0x80000000UL;
  put("hello: translation on, reading through an alias: ");
  put(alias);
  put("\n");
  take_timer_interrupt();
  put("hello: timer interrupt taken\n");
  take_uart_interrupt();
  put("hello: UART interrupt taken\n");
  u64 disk = find_disk();
  if (disk) {
    start_disk(disk);
    read_sector(disk, 0);
    put("hello: disk says: ");
    sector[511] = 0;
    put((const char *)sector);
  } else {
    put("hello: no disk\n");
  }
  put("hello: good bye\n");
  power_off(0);
  return 0;
}
