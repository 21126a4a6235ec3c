// What supervisor guests of ours share: SBI calls, control registers, the board's addresses.
#ifndef CHRONOVISOR_SUPERVISOR_H
#define CHRONOVISOR_SUPERVISOR_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

// The board (QEMU virt).
enum { UART = 0x10000000, PLIC = 0x0c000000, VIRTIO = 0x10001000, VIRTIO_STRIDE = 0x1000, UART_IRQ = 10 };

#define READ_CSR(name) ({ u64 value_; asm volatile("csrr %0, " #name : "=r"(value_)); value_; })
#define WRITE_CSR(name, value) asm volatile("csrw " #name ", %0" ::"r"((u64)(value)) : "memory")
#define SET_CSR(name, bits) asm volatile("csrs " #name ", %0" ::"r"((u64)(bits)) : "memory")
#define CLEAR_CSR(name, bits) asm volatile("csrc " #name ", %0" ::"r"((u64)(bits)) : "memory")

static inline u64 sbi(u64 extension, u64 function, u64 a, u64 b) {
  register u64 a0 asm("a0") = a, a1 asm("a1") = b, a6 asm("a6") = function, a7 asm("a7") = extension;
  asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a6), "r"(a7) : "memory");
  return a1;
}

enum { SBI_TIME = 0x54494d45, SBI_RESET = 0x53525354, SBI_LEGACY_PUTCHAR = 1 };

static inline volatile u8 *byte_at(u64 address) { return (volatile u8 *)address; }
static inline volatile u32 *word_at(u64 address) { return (volatile u32 *)address; }

#endif
