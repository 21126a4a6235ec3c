// Replay-only code of every kind: a core that rewrites memory and prints, one in a hot loop, one that calls
// another, one that never ends, one that faults, one whose marker lies on two pages (start.S). None of them
// may be seen by the program: it ends with 1, or with 3 when anything it relies on has changed.
#include "../sdk/replay.h"

typedef unsigned char u8;
typedef unsigned long u64;

enum { WORDS = 16, ROUNDS = 2000 };

u64 straddling(u64 kept);

static volatile u8 *const uart = (volatile u8 *)0x10000000;
static volatile u64 data[WORDS];
static volatile u64 *volatile nowhere = (volatile u64 *)8;

static void print(const char *text) {
  while (*text) *uart = (u8)*text++;
}

static u64 sum(void) {
  u64 total = 0;
  for (int i = 0; i < WORDS; i++) total = total * 31 + data[i];
  return total;
}

__attribute__((noinline)) static void rewrite(void) {
  REPLAY_ONLY_BEGIN
    for (int i = 0; i < WORDS; i++) data[i] = ~data[i];
    replay_print("rewrite\n", 8);
    print("ordinary output of a core\n");
  REPLAY_ONLY_END;
}

__attribute__((noinline)) static u64 hot(u64 value) {
  for (u64 i = 0; i < ROUNDS; i++) {
    value = value * 6364136223846793005ul + i;
    REPLAY_ONLY_BEGIN
      if (i % 1000 == 0) replay_print("hot\n", 4);
      data[0] = value;
    REPLAY_ONLY_END;
    data[1 + i % (WORDS - 1)] += value;
  }
  return value;
}

__attribute__((noinline)) static void nested(void) {
  REPLAY_ONLY_BEGIN
    replay_print("outer\n", 6);
    rewrite();
    data[1] = 0;
    replay_print("outer again\n", 12);
  REPLAY_ONLY_END;
}

__attribute__((noinline)) static void endless(void) {
  REPLAY_ONLY_BEGIN
    replay_print("endless\n", 8);
    for (;;) data[2]++;
  REPLAY_ONLY_END;
}

__attribute__((noinline)) static void faulting(void) {
  REPLAY_ONLY_BEGIN
    replay_print("faulting\n", 9);
    data[3] = *nowhere;
  REPLAY_ONLY_END;
}

u64 main(void) {
  for (int i = 0; i < WORDS; i++) data[i] = (u64)i * 0x9e3779b97f4a7c15ul;
  u64 seed = hot(1);
  u64 before = sum();
  print("a");
  rewrite();
  print("b");
  nested();
  print("c");
  endless();
  print("d");
  faulting();
  print("e");
  u64 kept = straddling(seed);
  print("f\n");
  return kept == seed && sum() == before ? 1 : 3;
}
