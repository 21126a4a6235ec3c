// A first process for Linux that measures what an operating system costs: processes made and waited for,
// pipes, mappings, context switches. It names each part on the console when it begins ("@fork") and turns
// the machine off at the end, so that the host can time the parts. No libc: raw system calls only. With
// native.c it is a program of the host.

typedef unsigned long u64;
typedef long s64;

enum { PIPE2 = 59, CLOSE = 57, READ = 63, WRITE = 64, EXIT = 93, REBOOT = 142, MUNMAP = 215, CLONE = 220,
       EXECVE = 221, MMAP = 222, WAIT4 = 260 };
enum { SIGCHLD = 17, PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22 };
enum { FORKS = 400, ROUND_TRIPS = 12000, MAPPINGS = 1200, MAPPING_PAGES = 64, RING = 8, RING_TURNS = 2500 };

#ifdef __riscv
static s64 sys(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f) {
  register s64 a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d, a4 asm("a4") = e,
      a5 asm("a5") = f, a7 asm("a7") = n;
  asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
  return a0;
}
#define SELF "/switch"
#else
s64 sys(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f);
#define SELF "/proc/self/exe"
#endif

static void say(const char *text) {
  u64 n = 0;
  while (text[n]) n++;
  sys(WRITE, 1, (s64)text, n, 0, 0, 0);
}

static void must(s64 result, const char *what) {
  if (result >= 0) return;
  say("@failed ");
  say(what);
  say("\n");
  sys(REBOOT, 0xfee1dead, 672274793, 0x4321fedc, 0, 0, 0);
}

static s64 fork(void) {
  s64 pid = sys(CLONE, SIGCHLD, 0, 0, 0, 0, 0);
  must(pid, "clone");
  return pid;
}

static void leave(void) { sys(EXIT, 0, 0, 0, 0, 0, 0); }

static void waitForChild(void) { must(sys(WAIT4, -1, 0, 0, 0, 0, 0), "wait4"); }

static void makePipe(int *ends) { must(sys(PIPE2, (s64)ends, 0, 0, 0, 0, 0), "pipe2"); }

// One byte from one pipe to another, so many times.
static void pass(int from, int to, int times) {
  char byte = 0;
  for (int i = 0; i < times; i++) {
    must(sys(READ, from, (s64)&byte, 1, 0, 0, 0), "read");
    must(sys(WRITE, to, (s64)&byte, 1, 0, 0, 0), "write");
  }
}

static void forkExecWait(void) {
  static const char *const arguments[] = {"switch", "child", 0};
  static const char *const environment[] = {0};
  for (int i = 0; i < FORKS; i++) {
    if (fork() == 0) {
      must(sys(EXECVE, (s64)SELF, (s64)arguments, (s64)environment, 0, 0, 0), "execve");
      leave();
    }
    waitForChild();
  }
}

static void pingPong(void) {
  int there[2], back[2];
  char byte = 0;
  makePipe(there);
  makePipe(back);
  if (fork() == 0) {
    pass(there[0], back[1], ROUND_TRIPS);
    leave();
  }
  for (int i = 0; i < ROUND_TRIPS; i++) {
    must(sys(WRITE, there[1], (s64)&byte, 1, 0, 0, 0), "write");
    must(sys(READ, back[0], (s64)&byte, 1, 0, 0, 0), "read");
  }
  waitForChild();
}

static void mapStorm(void) {
  for (int i = 0; i < MAPPINGS; i++) {
    s64 at = sys(MMAP, 0, MAPPING_PAGES * 4096, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
    must(at < 0 && at > -4096 ? at : 0, "mmap");
    for (int page = 0; page < MAPPING_PAGES; page++) ((volatile char *)at)[page * 4096] = 1;
    must(sys(MUNMAP, at, MAPPING_PAGES * 4096, 0, 0, 0, 0), "munmap");
  }
}

// A byte goes round a ring of processes.
static void ring(void) {
  int pipes[RING][2];
  char byte = 0;
  for (int i = 0; i < RING; i++) makePipe(pipes[i]);
  for (int i = 1; i < RING; i++) {
    if (fork() == 0) {
      pass(pipes[i - 1][0], pipes[i][1], RING_TURNS);
      leave();
    }
  }
  for (int i = 0; i < RING_TURNS; i++) {
    must(sys(WRITE, pipes[0][1], (s64)&byte, 1, 0, 0, 0), "write");
    must(sys(READ, pipes[RING - 1][0], (s64)&byte, 1, 0, 0, 0), "read");
  }
  for (int i = 1; i < RING; i++) waitForChild();
}

void run(u64 *stack) {
  if (stack[0] == 2) leave();
  say("@fork\n");
  forkExecWait();
  say("@pipe\n");
  pingPong();
  say("@mmap\n");
  mapStorm();
  say("@ring\n");
  ring();
  say("@end\n");
  sys(REBOOT, 0xfee1dead, 672274793, 0x4321fedc, 0, 0, 0);
}

#ifdef __riscv
asm(".globl _start\n_start:\n mv a0, sp\n andi sp, sp, -16\n call run\n");
#endif
