// Integer kernels: ALU with an unpredictable branch, table CRC, copy, matrix, sieve, pointer chase,
// recursion, bytecode switch, sort. The same source is built for the guest and natively.
#include "kernels.h"

static u64 state = 88172645463325252UL;

static u64 next_random(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

u64 bench_alu(u64 scale) {
  u64 sum = 0;
  for (u64 i = 0; i < scale * 100000; i++) {
    u64 r = next_random();
    if (r & 1) sum += r >> 3;
    else sum ^= r;
  }
  return sum;
}

static u32 crc_table[256];

u64 bench_crc(u64 scale) {
  static u8 data[65536];
  for (u32 i = 0; i < 256; i++) {
    u32 c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
    crc_table[i] = c;
  }
  for (u32 i = 0; i < sizeof data; i++) data[i] = i * 7 + (i >> 8);
  u32 crc = 0xffffffff;
  for (u64 round = 0; round < scale * 4; round++)
    for (u32 i = 0; i < sizeof data; i++) crc = crc_table[(crc ^ data[i]) & 255] ^ crc >> 8;
  return crc;
}

u64 bench_copy(u64 scale) {
  static u64 from[16384], to[16384];
  for (u64 i = 0; i < 16384; i++) from[i] = i * 0x9e3779b97f4a7c15UL;
  u64 sum = 0;
  for (u64 round = 0; round < scale * 16; round++) {
    for (u64 i = 0; i < 16384; i++) to[i] = from[i];
    from[round & 16383] = to[(round * 31) & 16383] + round;
    sum += to[round & 16383];
  }
  return sum;
}

enum { N = 48 };

u64 bench_matrix(u64 scale) {
  static long a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = i * 3 + j, b[i][j] = i - 2 * j;
  for (u64 round = 0; round < scale * 3; round++) {
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        long sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    a[round % N][(round * 7) % N] += c[3][5] & 255;
  }
  u64 sum = 0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) sum = sum * 31 + c[i][j];
  return sum;
}

u64 bench_sieve(u64 scale) {
  enum { LIMIT = 131072 };
  static u8 composite[LIMIT];
  u64 count = 0;
  for (u64 round = 0; round < scale; round++) {
    for (u32 i = 0; i < LIMIT; i++) composite[i] = 0;
    for (u32 i = 2; i < LIMIT; i++) {
      if (composite[i]) continue;
      count++;
      for (u32 j = i * 2; j < LIMIT; j += i) composite[j] = 1;
    }
  }
  return count;
}

u64 bench_chase(u64 scale) {
  enum { NODES = 1024, STRIDE = 512 };
  static u64 nodes[NODES * STRIDE];
  static u32 order[NODES];
  for (u32 i = 0; i < NODES; i++) order[i] = i;
  for (u32 i = NODES - 1; i > 0; i--) {
    u32 j = next_random() % (i + 1), kept = order[i];
    order[i] = order[j], order[j] = kept;
  }
  for (u32 i = 0; i < NODES; i++)
    nodes[order[i] * STRIDE + order[i] % 64 * 8] =
        order[(i + 1) % NODES] * STRIDE + order[(i + 1) % NODES] % 64 * 8;
  u64 at = order[0] * STRIDE + order[0] % 64 * 8;
  for (u64 i = 0; i < scale * 100000; i++) at = nodes[at];
  return at;
}

static u64 fibonacci(u64 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

u64 bench_recursion(u64 scale) {
  u64 sum = 0;
  for (u64 i = 0; i < scale; i++) sum += fibonacci(21 + (i & 1));
  return sum;
}

u64 bench_bytecode(u64 scale) {
  static const u8 program[] = {0, 5, 1, 3, 2, 1, 4, 6, 3, 2, 1, 0, 5, 6, 4, 3, 7};
  u64 a = 1, b = 2, sum = 0;
  for (u64 i = 0; i < scale * 10000; i++)
    for (u64 pc = 0;; pc++) {
      switch (program[pc]) {
        case 0: a += b; continue;
        case 1: b ^= a >> 3; continue;
        case 2: a = a << 1 | a >> 63; continue;
        case 3: sum += a; continue;
        case 4: b = b * 5 + 1; continue;
        case 5: a -= sum; continue;
        case 6: if (b & 1) b++; continue;
      }
      break;
    }
  return sum ^ a ^ b;
}

static int compare(u64 a, u64 b) { return a < b ? -1 : a > b; }

static void quick_sort(u64 *items, long low, long high, int (*order)(u64, u64)) {
  while (low < high) {
    u64 pivot = items[(low + high) / 2];
    long i = low, j = high;
    while (i <= j) {
      while (order(items[i], pivot) < 0) i++;
      while (order(items[j], pivot) > 0) j--;
      if (i <= j) {
        u64 kept = items[i];
        items[i++] = items[j], items[j--] = kept;
      }
    }
    if (j - low < high - i) {
      quick_sort(items, low, j, order);
      low = i;
    } else {
      quick_sort(items, i, high, order);
      high = j;
    }
  }
}

u64 bench_sort(u64 scale) {
  static u64 items[8192];
  u64 sum = 0;
  for (u64 round = 0; round < scale; round++) {
    for (u64 i = 0; i < 8192; i++) items[i] = next_random();
    quick_sort(items, 0, 8191, compare);
    sum += items[round & 8191];
  }
  return sum;
}
