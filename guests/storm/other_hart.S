# Start of the harts behind the first: a1 is the top of the hart's own stack.
        .section .text
        .globl other_start
other_start:
        mv      sp, a1
        call    other_main
1:      wfi
        j       1b
