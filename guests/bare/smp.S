# Four harts in machine mode: each adds to a shared counter with amoadd and with lr/sc, then wakes the next
# by a software interrupt; the last checks the sum and ends through tohost.
        .equ CLINT, 0x02000000
        .equ ROUNDS, 1000
        .equ HARTS, 4
        .globl _start
_start:
        csrr    s0, mhartid
        li      t0, 8
        csrw    mie, t0
        la      s1, counter
        beqz    s0, work
wait:   wfi
        csrr    t0, mip
        andi    t0, t0, 8
        beqz    t0, wait
        li      t0, CLINT
        slli    t1, s0, 2
        add     t0, t0, t1
        sw      zero, 0(t0)
work:   li      t0, ROUNDS
        li      t1, 1
1:      amoadd.d zero, t1, (s1)
2:      lr.d    t2, (s1)
        addi    t2, t2, 1
        sc.d    t3, t2, (s1)
        bnez    t3, 2b
        addi    t0, t0, -1
        bnez    t0, 1b
        addi    t0, s0, 1
        li      t1, HARTS
        beq     t0, t1, last
        li      t1, CLINT
        slli    t0, t0, 2
        add     t1, t1, t0
        li      t0, 1
        sw      t0, 0(t1)
park:   wfi
        j       park
last:   ld      t0, 0(s1)
        li      t1, 2 * ROUNDS * HARTS
        li      t2, 1
        beq     t0, t1, 3f
        li      t2, 3
3:      la      t0, tohost
        sd      t2, 0(t0)
        j       park

        .section .tohost, "aw", @progbits
        .balign 64
        .globl tohost
tohost: .dword 0
        .globl fromhost
fromhost: .dword 0
counter: .dword 0
