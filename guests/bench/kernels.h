// The kernels of the benchmark guest; each returns a checksum and does `scale` units of work.
#ifndef CHRONOVISOR_BENCH_KERNELS_H
#define CHRONOVISOR_BENCH_KERNELS_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

struct kernel { const char *name; u64 (*run)(u64 scale); };
extern const struct kernel kernels[];

#endif
