// A guest with a fault to be found backwards: a pointer leaves its array at a moment that depends on
// timer interrupts and on what is typed, and what it overwrites is only missed later. It is built with
// debug information.
//
//   what is typed: r: the guest resets itself; anything else: one more note
#include "../sdk/supervisor.h"

extern void trap_entry(void);

enum { NOTES = 8, ACCOUNTS = 16, CHECK = 4096, SPARE = 512, INTERVAL = 2000 };

// Notes of when interrupts came; what the accounts are to hold lies behind them.
static struct {
  u64 notes[NOTES];
  u64 owner;
  u64 total;
  u64 spare[SPARE];
} memory;
static u64 *cursor = memory.notes;
static u64 accounts[ACCOUNTS];
static volatile u64 interrupts;

static void put_text(const char *text) {
  for (; *text; text++) {
    while (!(*byte_at(UART + 5) & 0x20)) {}
    *byte_at(UART) = *text;
  }
}

static void put_number(u64 value) {
  char digits[24];
  char *at = digits + sizeof digits;
  *--at = 0;
  do *--at = '0' + value % 10;
  while (value /= 10);
  put_text(at);
}

// The fault: a step of two goes past the end, and the next note is written over the total.
__attribute__((noinline)) static void note(u64 now) {
  *cursor = now;
  cursor += 1 + (now * 0x9e3779b97f4a7c15UL >> 63);
  if (cursor == memory.notes + NOTES) cursor = memory.notes;
}

static void typed(void) {
  while (*byte_at(UART + 5) & 1) {
    u8 c = *byte_at(UART);
    if (c == 'r') sbi(SBI_RESET, 0, 1, 0);
    note(READ_CSR(time));
  }
}

void on_trap(u64 cause, u64 pc, u64 value) {
  (void)pc, (void)value;
  interrupts++;
  if (cause == (1UL << 63 | 5)) {
    u64 now = READ_CSR(time);
    sbi(SBI_TIME, 0, now + INTERVAL + (now & 127), 0);
    note(now);
  } else if (cause == (1UL << 63 | 9)) {
    u32 source = *word_at(PLIC + 0x201004);
    if (source == UART_IRQ) typed();
    if (source) *word_at(PLIC + 0x201004) = source;
  }
}

static u64 sum_of_accounts(void) {
  u64 sum = 0;
  for (u32 i = 0; i < ACCOUNTS; i++) sum += accounts[i];
  return sum;
}

__attribute__((noinline)) static void transfer(u32 from, u32 to, u64 amount) {
  if (accounts[from] < amount) return;
  accounts[from] -= amount;
  accounts[to] += amount;
}

__attribute__((noinline)) void failed(u64 sum) {
  put_text("corrupt: the accounts hold ");
  put_number(sum);
  put_text(", the total is ");
  put_number(memory.total);
  put_text("\n");
  sbi(SBI_RESET, 0, 0, 1);
}

int main(u64 hart, u64 tree) {
  (void)hart, (void)tree;
  WRITE_CSR(stvec, trap_entry);
  for (u32 i = 0; i < ACCOUNTS; i++) accounts[i] = 1000;
  memory.total = sum_of_accounts();
  *word_at(PLIC + 4 * UART_IRQ) = 1;
  *word_at(PLIC + 0x2080) = 1 << UART_IRQ;
  *word_at(PLIC + 0x201000) = 0;
  *byte_at(UART + 1) = 1;
  put_text("corrupt: begins\n");
  sbi(SBI_TIME, 0, READ_CSR(time) + INTERVAL, 0);
  SET_CSR(sie, 1 << 5 | 1 << 9);
  SET_CSR(sstatus, 2);
  u64 chance = 88172645463325252UL;
  for (u32 round = 1;; round++) {
    chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
    transfer(chance % ACCOUNTS, (chance >> 8) % ACCOUNTS, chance >> 16 & 63);
    if (round % CHECK) continue;
    u64 sum = sum_of_accounts();
    if (sum != memory.total) failed(sum);
  }
}
