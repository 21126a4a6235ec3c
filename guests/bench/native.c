// The kernels as a program of the host, for the benchmark suites: `native NAME SCALE` prints the line that
// the guest prints, with the host's clock in the guest's ticks and no count of instructions.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "kernels.h"

static u64 ticks(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (u64)now.tv_sec * 10000000 + (u64)now.tv_nsec / 100;
}

int main(int count, char **words) {
  if (count != 3) return 2;
  for (const struct kernel *kernel = kernels; kernel->name; kernel++) {
    if (strcmp(words[1], kernel->name)) continue;
    u64 start = ticks(), checksum = kernel->run(strtoul(words[2], 0, 10));
    u64 time = ticks() - start;
    printf("bench: %s ticks %lu instructions 0 checksum %lu\n", kernel->name, time, checksum);
    return 0;
  }
  return 1;
}
