# Ends through tohost (HTIF) in machine mode with what the build says: 1 is success, another odd value v
# is failure with exit code v >> 1.
        .globl _start
_start:
        csrr    t0, mhartid
        bnez    t0, 1f
        la      t0, tohost
        li      t1, VALUE
        sd      t1, 0(t0)
1:      wfi
        j       1b

        .section .tohost, "aw", @progbits
        .balign 64
        .globl tohost
tohost: .dword 0
        .globl fromhost
fromhost: .dword 0
