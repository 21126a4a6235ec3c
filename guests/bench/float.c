// Float kernels: n-body, double matrix, FFT, Monte Carlo with another rounding mode.
#include "kernels.h"

#ifndef __riscv
#include <fenv.h>
#endif

static u64 bits(double value) {
  union { double d; u64 u; } both = {value};
  return both.u;
}

static double root(double value) {
#ifdef __riscv
  double result;
  asm("fsqrt.d %0, %1" : "=f"(result) : "f"(value));
  return result;
#else
  return __builtin_sqrt(value);
#endif
}

u64 bench_nbody(u64 scale) {
  double position[5][3] = {{0, 0, 0}, {4.8, -1.1, -0.1}, {8.3, 4.1, -0.4}, {12.8, -15.1, -0.2}, {15.3, -25.9, 0.1}};
  double speed[5][3] = {{0, 0, 0}, {0.6, 2.8, -0.02}, {-1.0, 1.8, 0.008}, {1.08, 0.8, -0.01}, {0.9, 0.5, -0.03}};
  static const double mass[5] = {39.4, 0.037, 0.011, 0.0017, 0.002};
  for (u64 step = 0; step < scale * 2000; step++) {
    for (int i = 0; i < 5; i++)
      for (int j = i + 1; j < 5; j++) {
        double d[3], square = 0;
        for (int k = 0; k < 3; k++) d[k] = position[i][k] - position[j][k], square += d[k] * d[k];
        double magnitude = 0.001 / (square * root(square));
        for (int k = 0; k < 3; k++) {
          speed[i][k] -= d[k] * mass[j] * magnitude;
          speed[j][k] += d[k] * mass[i] * magnitude;
        }
      }
    for (int i = 0; i < 5; i++)
      for (int k = 0; k < 3; k++) position[i][k] += 0.001 * speed[i][k];
  }
  return bits(position[2][1] + speed[4][0]);
}

u64 bench_dmatrix(u64 scale) {
  enum { N = 40 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = 1.0 / (i + j + 1), b[i][j] = 0.5 * i - 0.25 * j;
  for (u64 round = 0; round < scale * 3; round++)
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum + 0.001 * c[j][i];
      }
  return bits(c[7][11]);
}

u64 bench_fft(u64 scale) {
  enum { N = 1024 };
  static double re[N], im[N], cosine[N / 2], sine[N / 2];
  // The twiddle factors by a rotation, so that no library is needed.
  double c = 0.99998117528260111, s = 0.0061358846491544753;
  cosine[0] = 1, sine[0] = 0;
  for (int i = 1; i < N / 2; i++) {
    cosine[i] = cosine[i - 1] * c - sine[i - 1] * s;
    sine[i] = sine[i - 1] * c + cosine[i - 1] * s;
  }
  for (int i = 0; i < N; i++) re[i] = i % 17, im[i] = i % 5;
  for (u64 round = 0; round < scale * 4; round++) {
    for (int i = 0, j = 0; i < N; i++) {
      if (i < j) {
        double kept = re[i];
        re[i] = re[j], re[j] = kept;
        kept = im[i], im[i] = im[j], im[j] = kept;
      }
      int bit = N >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
    }
    for (int size = 2; size <= N; size *= 2)
      for (int start = 0; start < N; start += size)
        for (int k = 0; k < size / 2; k++) {
          int a = start + k, b = a + size / 2, w = k * (N / size);
          double x = re[b] * cosine[w] + im[b] * sine[w], y = im[b] * cosine[w] - re[b] * sine[w];
          re[b] = re[a] - x, im[b] = im[a] - y;
          re[a] += x, im[a] += y;
        }
    for (int i = 0; i < N; i++) re[i] *= 0.03125, im[i] *= 0.03125;
  }
  return bits(re[3] + im[5]);
}

static void round_down(void) {
#ifdef __riscv
  asm volatile("csrwi frm, 2");
#else
  fesetround(FE_DOWNWARD);
#endif
}

static void round_to_nearest(void) {
#ifdef __riscv
  asm volatile("csrwi frm, 0");
#else
  fesetround(FE_TONEAREST);
#endif
}

u64 bench_montecarlo(u64 scale) {
  u64 x = 0x2545f4914f6cdd1dUL, inside = 0;
  round_down();
  double sum = 0;
  for (u64 i = 0; i < scale * 40000; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    double a = (double)(x >> 40) * 0x1p-24, b = (double)(x & 0xffffff) * 0x1p-24;
    if (a * a + b * b < 1.0) inside++;
    sum += a * b;
  }
  round_to_nearest();
  return inside ^ bits(sum);
}
