// A guest whose course depends on the moment of everything that comes in: console bytes, frames, disk
// completions, timers, entropy, time and, on several harts, on who runs when. All of it goes into one
// sum, which is printed at the end; so two runs that print the same sum were the same run.
#include "../sdk/supervisor.h"

extern void trap_entry(void);
extern void other_start(void);

enum { HARTS = 8, QUEUE = 16, POOL = 1 << 18, STACK = 16384, SECTORS = 64, ROUNDS = 1500 };
enum { SBI_IPI = 0x735049, SBI_HSM = 0x48534d };
enum { NETWORK = 1, DISK = 2, ENTROPY = 4 };

static u64 pool[POOL / 8] __attribute__((aligned(4096)));
static u8 stacks[HARTS][STACK] __attribute__((aligned(4096)));
static volatile u64 sums[HARTS];
static volatile u32 finished, quit;

static u64 hart_number(void) {
  u64 sp;
  asm volatile("mv %0, sp" : "=r"(sp));
  u64 first = (u64)stacks;
  return sp < first || sp > first + sizeof stacks ? 0 : (sp - 1 - first) / STACK;
}

static void mix(u64 value) {
  volatile u64 *sum = &sums[hart_number()];
  u64 s = (*sum ^ value) * 0x9e3779b97f4a7c15UL;
  *sum = s ^ s >> 29;
}

static void put(char c) {
  while (!(*byte_at(UART + 5) & 0x20)) {}
  *byte_at(UART) = c;
}

static void put_text(const char *text) {
  while (*text) put(*text++);
}

static void put_hex(u64 value) {
  for (int i = 60; i >= 0; i -= 4) put("0123456789abcdef"[value >> i & 15]);
}

// Virtio devices with one queue in use each.
struct queue {
  struct { u64 address; u32 length; u16 flags, next; } descriptors[QUEUE];
  struct { u16 flags, index, ring[QUEUE], event; } available;
  volatile struct { u16 flags, index; struct { u32 id, length; } ring[QUEUE]; u16 event; } used
      __attribute__((aligned(8)));
};

struct device {
  u64 base;
  u32 irq;
  u16 seen;
  struct queue queue;
  struct queue second;
  u16 seen_second;
};

static struct device network __attribute__((aligned(4096)));
static struct device disk __attribute__((aligned(4096)));
static struct device entropy __attribute__((aligned(4096)));
static struct { u32 type, reserved; u64 sector; } requests[4];
static volatile u8 statuses[4];
static u8 data[4][4096] __attribute__((aligned(4096)));
static u8 frames_in[QUEUE][1536] __attribute__((aligned(4096)));
static u8 frame_out[1536];
static u8 bytes[64];
static volatile u32 disk_busy, frame_busy, entropy_busy;

static void area(u64 base, u32 offset, volatile void *where) {
  *word_at(base + offset) = (u32)(u64)where;
  *word_at(base + offset + 4) = (u64)where >> 32;
}

static void start_queue(u64 base, u32 number, struct queue *q) {
  *word_at(base + 0x30) = number;
  *word_at(base + 0x38) = QUEUE;
  area(base, 0x80, q->descriptors);
  area(base, 0x90, &q->available);
  area(base, 0xa0, &q->used);
  *word_at(base + 0x44) = 1;
}

static void start(struct device *d, u32 id, int queues) {
  for (int i = 0; i < 8; i++) {
    u64 base = VIRTIO + i * VIRTIO_STRIDE;
    if (*word_at(base) != 0x74726976 || *word_at(base + 8) != id) continue;
    d->base = base;
    d->irq = 1 + i;
    *word_at(base + 0x70) = 0;
    *word_at(base + 0x70) = 3;
    *word_at(base + 0x24) = 1;
    *word_at(base + 0x20) = 1;
    *word_at(base + 0x24) = 0;
    *word_at(base + 0x20) = 0;
    *word_at(base + 0x70) = 11;
    start_queue(base, 0, &d->queue);
    if (queues > 1) start_queue(base, 1, &d->second);
    *word_at(base + 0x70) = 15;
    *word_at(PLIC + 4 * d->irq) = 1;
    return;
  }
}

static void offer(struct device *d, struct queue *q, u32 number, u16 head) {
  q->available.ring[q->available.index % QUEUE] = head;
  asm volatile("fence" ::: "memory");
  q->available.index++;
  asm volatile("fence" ::: "memory");
  *word_at(d->base + 0x50) = number;
}

static void start_disk_request(u64 chance) {
  if (!disk.base || disk_busy) return;
  u32 write = chance & 1, sectors = 1 + (chance >> 1 & 7);
  u64 sector = (chance >> 8) % (SECTORS - 8);
  requests[0].type = write;
  requests[0].sector = sector;
  statuses[0] = 0xff;
  if (write) for (u32 i = 0; i < sectors * 64; i++) ((u64 *)data[0])[i] = chance * (i + 1);
  struct queue *q = &disk.queue;
  q->descriptors[0].address = (u64)&requests[0], q->descriptors[0].length = 16;
  q->descriptors[0].flags = 1, q->descriptors[0].next = 1;
  q->descriptors[1].address = (u64)data[0], q->descriptors[1].length = sectors * 512;
  q->descriptors[1].flags = write ? 1 : 3, q->descriptors[1].next = 2;
  q->descriptors[2].address = (u64)&statuses[0], q->descriptors[2].length = 1;
  q->descriptors[2].flags = 2;
  disk_busy = sectors;
  offer(&disk, q, 0, 0);
}

static void send_frame(u64 chance) {
  if (!network.base || frame_busy) return;
  u32 length = 12 + 14 + (chance & 0xff);
  for (u32 i = 12; i < length; i++) frame_out[i] = chance >> (i & 31);
  struct queue *q = &network.second;
  q->descriptors[0].address = (u64)frame_out, q->descriptors[0].length = length;
  q->descriptors[0].flags = 0;
  frame_busy = 1;
  offer(&network, q, 1, 0);
}

static void ask_entropy(void) {
  if (!entropy.base || entropy_busy) return;
  struct queue *q = &entropy.queue;
  q->descriptors[0].address = (u64)bytes, q->descriptors[0].length = sizeof bytes;
  q->descriptors[0].flags = 2;
  entropy_busy = 1;
  offer(&entropy, q, 0, 0);
}

static void mix_bytes(const volatile u8 *from, u32 length) {
  for (u32 i = 0; i < length; i++) mix(from[i]);
}

static void served(struct device *d) {
  *word_at(d->base + 0x64) = *word_at(d->base + 0x60);
  while (d->seen != d->queue.used.index) {
    u32 id = d->queue.used.ring[d->seen % QUEUE].id, length = d->queue.used.ring[d->seen % QUEUE].length;
    d->seen++;
    mix(length);
    if (d == &disk) {
      mix(statuses[0]);
      mix_bytes(data[0], disk_busy * 512);
      disk_busy = 0;
    } else if (d == &entropy) {
      mix_bytes(bytes, sizeof bytes);
      entropy_busy = 0;
    } else {
      mix_bytes(frames_in[id], length < 1536 ? length : 1536);
      offer(d, &d->queue, 0, id);
    }
  }
  while (d == &network && d->seen_second != d->second.used.index) {
    d->seen_second++;
    frame_busy = 0;
  }
}

static void typed(void) {
  while (*byte_at(UART + 5) & 1) {
    u8 c = *byte_at(UART);
    mix(c);
    put(c ^ (sums[0] & 7));
    if (c == 0x1b) quit = 1;
  }
}

void on_trap(u64 cause, u64 pc, u64 value) {
  mix(cause);
  mix(READ_CSR(time));
  if (cause == (1UL << 63 | 5)) {
    sbi(SBI_TIME, 0, -1UL, 0);
  } else if (cause == 5) {
    // A virtio slot without a device: its register keeps what it held, which is no magic number.
    WRITE_CSR(sepc, pc + ((*(u16 *)pc & 3) == 3 ? 4 : 2));
  } else if (cause == (1UL << 63 | 1)) {
    CLEAR_CSR(sip, 2);
  } else if (cause == (1UL << 63 | 9)) {
    for (u32 source = *word_at(PLIC + 0x201004); source; source = *word_at(PLIC + 0x201004)) {
      if (source == UART_IRQ) typed();
      if (source == disk.irq) served(&disk);
      if (source == network.irq) served(&network);
      if (source == entropy.irq) served(&entropy);
      *word_at(PLIC + 0x201004) = source;
    }
  } else {
    put_text("storm: unexpected trap ");
    put_hex(cause), put(' '), put_hex(pc), put(' '), put_hex(value), put('\n');
    sbi(SBI_RESET, 0, 0, 1);
  }
}

// With interrupts off, so that one that comes early wakes the hart all the same.
static void sleep_for(u64 ticks) {
  CLEAR_CSR(sstatus, 2);
  sbi(SBI_TIME, 0, READ_CSR(time) + ticks, 0);
  asm volatile("wfi");
  SET_CSR(sstatus, 2);
}

static void work(u64 hart, u64 harts) {
  u64 chance = 88172645463325252UL + hart;
  SET_CSR(sie, 1 << 1 | 1 << 5 | (hart == 0 ? 1 << 9 : 0));
  SET_CSR(sstatus, 2);
  for (u32 round = 0; round < ROUNDS && !quit; round++) {
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    chance += sums[hart];
    u64 n = chance & 0x3ff;
    for (u64 i = 0; i < n; i++) {
      u64 *word = &pool[(chance * (i + 1) >> 20) % (POOL / 8)];
      if (i & 15) *word += chance ^ i;
      else __atomic_fetch_add(word, chance, __ATOMIC_RELAXED);
    }
    mix(pool[(chance >> 30) % (POOL / 8)]);
    switch (chance >> 40 & 31) {
      case 0: sleep_for(chance >> 48 & 0xfff); break;
      case 1: case 2: mix(READ_CSR(time)); break;
      case 3: if (harts > 1) sbi(SBI_IPI, 0, 1UL << (chance >> 50) % harts, 0); break;
      case 4: case 5: if (hart == 0) start_disk_request(chance); break;
      case 6: case 7: if (hart == 0) send_frame(chance); break;
      case 8: if (hart == 0) ask_entropy(); break;
      case 9: sbi(SBI_TIME, 0, READ_CSR(time) + (chance >> 52), 0); break;
    }
  }
  __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

static u64 harts_there = 1;

void other_main(u64 hart) {
  WRITE_CSR(stvec, trap_entry);
  work(hart, harts_there);
}

int main(u64 hart, u64 tree) {
  (void)hart, (void)tree;
  WRITE_CSR(stvec, trap_entry);
  start(&network, NETWORK, 2);
  start(&disk, DISK, 1);
  start(&entropy, ENTROPY, 1);
  if (network.base) {
    for (u16 i = 0; i < QUEUE; i++) {
      struct queue *q = &network.queue;
      q->descriptors[i].address = (u64)frames_in[i], q->descriptors[i].length = 1536;
      q->descriptors[i].flags = 2;
      offer(&network, q, 0, i);
    }
  }
  *word_at(PLIC + 4 * UART_IRQ) = 1;
  *word_at(PLIC + 0x2080) = 0x5fe;
  *word_at(PLIC + 0x201000) = 0;
  *byte_at(UART + 2) = 1;
  *byte_at(UART + 4) = 8;
  *byte_at(UART + 1) = 1;
  put_text("storm: begins\n");
  // A hart that is not there cannot be started.
  for (u64 other = 1; other < HARTS; other++) {
    register u64 a0 asm("a0") = other, a1 asm("a1") = (u64)other_start;
    register u64 a2 asm("a2") = (u64)stacks[other] + STACK, a6 asm("a6") = 0, a7 asm("a7") = SBI_HSM;
    harts_there = other + 1;
    asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    if (a0) {
      harts_there = other;
      break;
    }
  }
  work(0, harts_there);
  while (finished < harts_there && !quit) sleep_for(1000);
  CLEAR_CSR(sstatus, 2);
  u64 all = 0;
  for (int i = 0; i < HARTS; i++) all = all * 31 + sums[i];
  for (u32 i = 0; i < POOL / 8; i++) all = (all ^ pool[i]) * 0x9e3779b97f4a7c15UL;
  put_text("\nstorm: sum ");
  put_hex(all);
  put('\n');
  sbi(SBI_RESET, 0, 0, 0);
  return 0;
}
