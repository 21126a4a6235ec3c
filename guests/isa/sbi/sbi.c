// Calls every function of the firmware and prints what each returned: "name error value" a line. Needs
// two harts. The lines hold for any firmware that keeps to the RISC-V SBI specification 2.0, so the same
// guest judges the built-in firmware and a real one.
#include "../../sdk/supervisor.h"

enum {
  BASE = 0x10, IPI = 0x735049, RFENCE = 0x52464e43, HSM = 0x48534d, DEBUG_CONSOLE = 0x4442434e,
  NO_SUCH_HART = 40, STATE_STARTED = 0, STATE_STOPPED = 1, STATE_SUSPENDED = 4, SSIP = 2, STIP = 32,
};

typedef struct { long error; u64 value; } Result;

extern void other_start(void), other_resume(void), trap_entry(void);
static volatile u64 started[4], resumed[3];
static volatile int starts, resumes, may_suspend, may_stop;

static Result call(u64 extension, u64 function, u64 a, u64 b, u64 c, u64 d) {
  register u64 a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d;
  register u64 a4 asm("a4") = 0, a6 asm("a6") = function, a7 asm("a7") = extension;
  asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
  return (Result){(long)a0, a1};
}

static void put(const char *text) {
  while (*text) {
    while (!(*byte_at(UART + 5) & 0x20)) {}
    *byte_at(UART) = *text++;
  }
}

static void put_number(long value) {
  char digits[24];
  int n = 0;
  if (value < 0) put("-");
  u64 rest = value < 0 ? -(u64)value : (u64)value;
  do digits[n++] = '0' + rest % 10; while (rest /= 10);
  while (n) {
    char one[2] = {digits[--n], 0};
    put(one);
  }
}

static void line(const char *name, long error, u64 value) {
  put(name);
  put(" ");
  put_number(error);
  put(" ");
  put_number((long)value);
  put("\n");
}

static void show(const char *name, Result result) { line(name, result.error, result.value); }

// A refused call's value is not specified.
static void show_error(const char *name, Result result) { line(name, result.error, 0); }

void on_trap(u64 cause, u64 pc, u64 value) {
  put("sbi: trap\n");
  line("cause pc", (long)cause, pc);
  line("value", 0, value);
  for (;;) {}
}

void on_start(u64 hart, u64 opaque) {
  started[0] = hart;
  started[1] = opaque;
  started[2] = READ_CSR(satp);
  started[3] = READ_CSR(sstatus) & 2;
  starts++;
  while (!may_suspend) {}
  CLEAR_CSR(sip, SSIP);
  SET_CSR(sie, SSIP);
  call(HSM, 3, 0x80000000, (u64)other_resume, 0x5678, 0);
  for (;;) {}
}

void on_resume(u64 hart, u64 opaque) {
  resumed[0] = hart;
  resumed[1] = opaque;
  resumed[2] = READ_CSR(satp);
  CLEAR_CSR(sip, SSIP);
  resumes++;
  while (!may_stop) {}
  call(HSM, 1, 0, 0, 0, 0);
  for (;;) {}
}

static void base(void) {
  static const u64 extensions[] = {BASE, SBI_TIME, IPI, RFENCE, HSM, SBI_RESET, DEBUG_CONSOLE};
  Result version = call(BASE, 0, 0, 0, 0, 0);
  line("specification, at least 2.0", version.error, version.value >= 2UL << 24);
  for (u64 f = 1; f <= 2; f++) line("implementation", call(BASE, f, 0, 0, 0, 0).error, 0);
  for (u64 f = 4; f <= 6; f++) show_error("machine identity", call(BASE, f, 0, 0, 0, 0));
  for (u64 i = 0; i < sizeof extensions / 8; i++) {
    Result probe = call(BASE, 3, extensions[i], 0, 0, 0);
    line("probe", probe.error, probe.value != 0);
  }
  show("probe of an unknown extension", call(BASE, 3, 0x777777, 0, 0, 0));
  show_error("unknown extension", call(0x777777, 0, 0, 0, 0, 0));
  show_error("unknown function of base", call(BASE, 77, 0, 0, 0, 0));
}

static void timer(void) {
  show_error("timer far away", call(SBI_TIME, 0, -1UL, 0, 0, 0));
  line("pending", 0, READ_CSR(sip) & STIP);
  show_error("timer soon", call(SBI_TIME, 0, READ_CSR(time) + 2000, 0, 0, 0));
  while (!(READ_CSR(sip) & STIP)) {}
  show_error("timer again far away", call(SBI_TIME, 0, -1UL, 0, 0, 0));
  line("pending", 0, READ_CSR(sip) & STIP);
  show_error("unknown function of time", call(SBI_TIME, 9, 0, 0, 0, 0));
}

static void interrupts(u64 me) {
  show_error("interrupt to nobody", call(IPI, 0, 0, 0, 0, 0));
  line("pending", 0, READ_CSR(sip) & SSIP);
  show_error("interrupt to this hart", call(IPI, 0, 1UL << me, 0, 0, 0));
  while (!(READ_CSR(sip) & SSIP)) {}
  CLEAR_CSR(sip, SSIP);
  line("pending after clear", 0, READ_CSR(sip) & SSIP);
  show_error("interrupt to this hart by base", call(IPI, 0, 1, me, 0, 0));
  while (!(READ_CSR(sip) & SSIP)) {}
  CLEAR_CSR(sip, SSIP);
}

static void fences(void) {
  show_error("remote fence.i", call(RFENCE, 0, 3, 0, 0, 0));
  show_error("remote sfence.vma", call(RFENCE, 1, 0, -1UL, 0, -1UL));
  show_error("remote sfence.vma of a range", call(RFENCE, 1, 0, -1UL, 0x80200000, 4096));
  show_error("remote sfence.vma with ASID", call(RFENCE, 2, 3, 0, 0x80200000, 4096));
  show_error("remote hypervisor fence", call(RFENCE, 3, 3, 0, 0, 4096));
}

static void wait_for_state(u64 hart, u64 state) {
  while (call(HSM, 2, hart, 0, 0, 0).value != state) {}
}

static void harts(u64 me, u64 other) {
  u64 start = (u64)other_start;
  show("state of this hart", call(HSM, 2, me, 0, 0, 0));
  show("state of the other hart", call(HSM, 2, other, 0, 0, 0));
  show_error("state of a hart that is not", call(HSM, 2, NO_SUCH_HART, 0, 0, 0));
  show_error("start of a hart that is not", call(HSM, 0, NO_SUCH_HART, start, 0, 0));
  show_error("start", call(HSM, 0, other, start, 0x1234, 0));
  while (!starts) {}
  line("started with its number and", started[0] == other, started[1]);
  line("started with satp and interrupts off", 0, started[2] | started[3]);
  show_error("start of a started hart", call(HSM, 0, other, start, 0, 0));
  show_error("suspend of an unknown kind", call(HSM, 3, 0x1234567, 0, 0, 0));
  may_suspend = 1;
  wait_for_state(other, STATE_SUSPENDED);
  show_error("interrupt to the suspended hart", call(IPI, 0, 1UL << other, 0, 0, 0));
  while (!resumes) {}
  line("resumed with its number and", resumed[0] == other, resumed[1]);
  line("resumed with satp off", 0, resumed[2]);
  may_stop = 1;
  wait_for_state(other, STATE_STOPPED);
  starts = 0;
  show_error("start once more", call(HSM, 0, other, start, 0x4321, 0));
  while (!starts) {}
  line("started with its number and", started[0] == other, started[1]);
}

static void consoles(void) {
  static const char text[] = "through the debug console\n";
  show("debug console write", call(DEBUG_CONSOLE, 0, sizeof text - 1, (u64)text, 0, 0));
  show_error("debug console byte", call(DEBUG_CONSOLE, 2, '\n', 0, 0, 0));
  static u8 input[8];
  show("debug console read of nothing", call(DEBUG_CONSOLE, 1, sizeof input, (u64)input, 0, 0));
  show_error("unknown function of the debug console", call(DEBUG_CONSOLE, 9, 0, 0, 0, 0));
  line("legacy putchar", call(SBI_LEGACY_PUTCHAR, 0, '\n', 0, 0, 0).error, 0);
  line("legacy getchar of nothing", call(2, 0, 0, 0, 0, 0).error, 0);
  line("legacy timer", call(0, 0, -1UL, 0, 0, 0).error, 0);
}

int main(u64 me) {
  u64 other = 1 - me;
  WRITE_CSR(stvec, trap_entry);
  base();
  timer();
  interrupts(me);
  fences();
  harts(me, other);
  consoles();
  show_error("reset of an unknown kind", call(SBI_RESET, 0, 7, 0, 0, 0));
  show_error("unknown function of reset", call(SBI_RESET, 9, 0, 0, 0, 0));
  put("power off\n");
  call(SBI_RESET, 0, 0, 0, 0, 0);
  put("still on\n");
  for (;;) {}
}
