# Start of the float guest: a raw image at 0x80000000 in machine mode (see float.c).
#
# The test fills in the two words behind the first jump: 0x80000008 seed (not zero), 0x80000010
# tuples of each operation.

        .equ STACK, 0x80100000
        .equ TEST, 0x00100000
        .equ POWER_OFF, 0x5555
        .equ FLOAT_ON, 0x2000

        .option norvc
        .globl _start
_start:
        j       begin
        .balign 8
seed:   .dword  1
tuples: .dword  100

begin:
        csrr    t0, mhartid
        bnez    t0, park
        li      t0, FLOAT_ON
        csrs    mstatus, t0
        li      sp, STACK
        ld      a0, seed
        ld      a1, tuples
        call    test_all
        li      t0, TEST
        li      t1, POWER_OFF
        sw      t1, 0(t0)
park:
        wfi
        j       park
