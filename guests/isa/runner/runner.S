# Runs a generated program and prints everything it could have changed (differential tests).
#
# A raw image at 0x80000000 in machine mode. Fixed places, filled in by the test:
#   0x80001000  header: iterations, satp, privilege (0, 1, 3), entry address, mstatus bits to set
#   0x80001100  x1..x31, 0x80001200 f0..f31, 0x80001300 fcsr
#   0x80010000  the program; its last instruction is ecall
#   0x80100000  64 KiB of data            0x80200000  256 KiB of page tables
# A trap other than ecall is counted, hashed (mcause, mepc, mtval) and resumed at the next 4-byte slot.

        .equ HEADER, 0x80001000
        .equ SAVE, 0x80001400
        .equ HASH, 0x80001800
        .equ DATA, 0x80100000
        .equ TABLES, 0x80200000
        .equ UART, 0x10000000
        .equ TEST, 0x00100000

        .option norvc
        .globl _start
_start:
        csrr    t0, mhartid
        bnez    t0, park
        la      t0, trap
        csrw    mtvec, t0
        # For machine mode too: the program cannot be written, and outside RAM there is nothing but the
        # serial port's and the power switch's first words, because boards differ elsewhere.
        li      t0, 0x20005fff
        csrw    pmpaddr0, t0
        li      t0, 0x201fffff
        csrw    pmpaddr1, t0
        li      t0, 0x04000000
        csrw    pmpaddr2, t0
        li      t0, 0x00040000
        csrw    pmpaddr3, t0
        li      t0, -1
        csrw    pmpaddr4, t0
        li      t0, 0x989b9b9f9d
        csrw    pmpcfg0, t0
        li      t0, 7
        csrw    mcounteren, t0
        csrw    scounteren, t0
        li      t0, 0x6000
        csrs    mstatus, t0
        li      s0, HEADER
        ld      t0, 8(s0)
        csrw    satp, t0
        sfence.vma
        ld      t0, 32(s0)
        csrs    mstatus, t0
        ld      t0, 0x300(s0)
        csrw    fcsr, t0
        addi    t0, s0, 0x200
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        fld     f\n, 8*\n(t0)
        .endr
        # Registers of the program start from the header, then live in SAVE between iterations.
        li      t0, HEADER + 0x100
        li      t1, SAVE
        li      t2, 31
1:      ld      t3, 0(t0)
        sd      t3, 8(t1)
        addi    t0, t0, 8
        addi    t1, t1, 8
        addi    t2, t2, -1
        bnez    t2, 1b
        j       enter

# Starts one iteration.
enter:
        li      s0, HEADER
        ld      t0, 24(s0)
        csrw    mepc, t0
        li      t0, 0x1800
        csrc    mstatus, t0
        ld      t0, 16(s0)
        slli    t0, t0, 11
        csrs    mstatus, t0
restore:
        li      x31, SAVE
        csrw    mscratch, x31
        .irp    n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        ld      x\n, 8*\n(x31)
        .endr
        ld      x31, 8*31(x31)
        mret

        .balign 4
trap:
        csrrw   x31, mscratch, x31
        .irp    n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        sd      x\n, 8*\n(x31)
        .endr
        csrr    t0, mscratch
        sd      t0, 8*31(x31)
        csrr    t0, mcause
        li      t1, 8
        beq     t0, t1, ended
        li      t1, 9
        beq     t0, t1, ended
        li      t1, 11
        beq     t0, t1, ended
        li      s1, HASH
        ld      s2, 0(s1)
        li      s3, 0x100000001b3
        xor     s2, s2, t0
        mul     s2, s2, s3
        csrr    t1, mepc
        xor     s2, s2, t1
        mul     s2, s2, s3
        csrr    t2, mtval
        li      t3, 3
        bne     t0, t3, 2f
        li      t2, 0           # what ebreak puts into mtval is the implementation's choice
2:      xor     s2, s2, t2
        mul     s2, s2, s3
        sd      s2, 0(s1)
        ld      t3, 8(s1)
        addi    t3, t3, 1
        sd      t3, 8(s1)
        andi    t1, t1, -4
        addi    t1, t1, 4
        csrw    mepc, t1
        j       restore

ended:
        li      s0, HEADER
        ld      t0, 0(s0)
        addi    t0, t0, -1
        sd      t0, 0(s0)
        bnez    t0, enter
        # Print: trap hash, trap count, x1..x31, fcsr, f0..f31, hash of data, hash of tables.
        li      s1, HASH
        ld      a0, 0(s1)
        call    print
        ld      a0, 8(s1)
        call    print
        li      s2, SAVE + 8
        li      s3, 31
3:      ld      a0, 0(s2)
        call    print
        addi    s2, s2, 8
        addi    s3, s3, -1
        bnez    s3, 3b
        csrr    a0, fcsr
        call    print
        li      s2, SAVE
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        fsd     f\n, 8*\n(s2)
        .endr
        li      s3, 32
4:      ld      a0, 0(s2)
        call    print
        addi    s2, s2, 8
        addi    s3, s3, -1
        bnez    s3, 4b
        li      a1, DATA
        li      a2, 0x10000
        call    hash
        call    print
        li      a1, TABLES
        li      a2, 0x40000
        call    hash
        call    print
        li      t0, TEST
        li      t1, 0x5555
        sw      t1, 0(t0)
park:
        wfi
        j       park

# a0 = hash of a2 bytes at a1
hash:
        li      a0, 0
        li      t0, 0x100000001b3
1:      ld      t1, 0(a1)
        xor     a0, a0, t1
        mul     a0, a0, t0
        srli    t1, a0, 29
        xor     a0, a0, t1
        addi    a1, a1, 8
        addi    a2, a2, -8
        bnez    a2, 1b
        ret

# prints a0 as 16 hexadecimal digits and a line feed
print:
        li      t0, UART
        li      t1, 60
1:      srl     t2, a0, t1
        andi    t2, t2, 15
        li      t3, 10
        blt     t2, t3, 2f
        addi    t2, t2, 39
2:      addi    t2, t2, 48
        sb      t2, 0(t0)
        addi    t1, t1, -4
        bgez    t1, 1b
        li      t2, 10
        sb      t2, 0(t0)
        ret
