# Start of a supervisor guest of ours: the boot hart gets a stack and goes to main(hart, device tree).
        .section .text.start
        .globl _start
_start:
        la      sp, stack_end
        la      t0, bss_start
        la      t1, bss_end
1:      bgeu    t0, t1, 2f
        sd      zero, 0(t0)
        addi    t0, t0, 8
        j       1b
2:      call    main
3:      wfi
        j       3b

# Saves what a C function may change, and calls on_trap(scause, sepc, stval).
        .balign 4
        .globl trap_entry
trap_entry:
        addi    sp, sp, -256
        .irp    n, 1, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30, 31
        sd      x\n, 8*\n(sp)
        .endr
        csrr    a0, scause
        csrr    a1, sepc
        csrr    a2, stval
        call    on_trap
        .irp    n, 1, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30, 31
        ld      x\n, 8*\n(sp)
        .endr
        addi    sp, sp, 256
        sret
