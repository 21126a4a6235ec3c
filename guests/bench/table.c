// The table of kernels.
#include "kernels.h"

u64 bench_alu(u64), bench_crc(u64), bench_copy(u64), bench_matrix(u64), bench_sieve(u64), bench_chase(u64),
    bench_recursion(u64), bench_bytecode(u64), bench_sort(u64), bench_nbody(u64), bench_dmatrix(u64),
    bench_fft(u64), bench_montecarlo(u64);

const struct kernel kernels[] = {
    {"alu", bench_alu},           {"crc", bench_crc},           {"copy", bench_copy},
    {"matrix", bench_matrix},     {"sieve", bench_sieve},       {"chase", bench_chase},
    {"recursion", bench_recursion}, {"bytecode", bench_bytecode}, {"sort", bench_sort},
    {"nbody", bench_nbody},       {"dmatrix", bench_dmatrix},   {"fft", bench_fft},
    {"montecarlo", bench_montecarlo}, {0, 0},
};
