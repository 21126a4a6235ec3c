# Where the second hart starts and resumes: a stack of its own, then on_start or on_resume with a0, a1 as
# the firmware gave them.
        .section .text
        .globl other_start
other_start:
        la      sp, other_stack_end
        tail    on_start

        .globl other_resume
other_resume:
        la      sp, other_stack_end
        tail    on_resume

        .bss
        .balign 16
        .space  4096
other_stack_end:
