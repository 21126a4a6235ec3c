# Start of the guest with replay-only code, in machine mode, and a core whose begin marker lies on two pages.
#include "../sdk/replay.h"
        .section .start, "ax"
        .globl _start
_start:
        csrr    t0, mhartid
        bnez    t0, park
        la      t0, trapped
        csrw    mtvec, t0
        la      sp, stack_end
        call    main
        la      t0, tohost
        sd      a0, 0(t0)
park:   wfi
        j       park

# Only the core that faults comes here, and stays.
        .balign 4
trapped:
        j       trapped

        .section .text.straddle, "ax"
        .balign 4096
        .skip   4092
# The marker begins in the last two bytes of a page.
        .globl  straddling
straddling:
        .option push
        .option rvc
        c.nop
        .option pop
        replay_only_begin 1f
        la      a0, straddled
        li      a1, 9
        replay_write
        li      a0, -1
        replay_only_end
1:      ret
straddled:
        .ascii  "straddle\n"

        .section .tohost, "aw", @progbits
        .balign 64
        .globl tohost
tohost: .dword 0
        .globl fromhost
fromhost: .dword 0
        .section .bss
        .balign 16
        .skip   4096
stack_end:
