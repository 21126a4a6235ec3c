// Replay-only code: runs when the machine's recording is replayed with it, and is jumped over everywhere
// else, while recording and on any other RISC-V machine, where the markers are no operation.
//
//     REPLAY_ONLY_BEGIN
//       replay_print("queue length is odd\n", 20);
//     REPLAY_ONLY_END
//
// What the code between does to registers and memory is undone behind it; what it prints goes to the
// replay's side channel. It must not be left by goto, break or return, and it may not hold more than 1 MiB
// of code. In assembler: replay_only_begin LABEL, code, replay_only_end, LABEL:.
#ifndef CHRONOVISOR_REPLAY_H
#define CHRONOVISOR_REPLAY_H

// `lui x0, imm20`. Begin is followed by one jump of four bytes over the code; write has the address of
// bytes in a0 and how many they are in a1.
#define REPLAY_MARKER_BEGIN 0xc4701
#define REPLAY_MARKER_END 0xc4702
#define REPLAY_MARKER_WRITE 0xc4703

#ifdef __ASSEMBLER__

.macro replay_only_begin end
        .option push
        .option norvc
        lui     x0, REPLAY_MARKER_BEGIN
        j       \end
        .option pop
.endm

.macro replay_only_end
        lui     x0, REPLAY_MARKER_END
.endm

.macro replay_write
        lui     x0, REPLAY_MARKER_WRITE
.endm

#else

#define REPLAY_TEXT_(text) #text
#define REPLAY_TEXT(text) REPLAY_TEXT_(text)
#define REPLAY_MARKER(name) "lui x0, " REPLAY_TEXT(name)

#define REPLAY_ONLY_BEGIN                                                              \
  do {                                                                                 \
    __label__ replay_only_behind;                                                      \
    __asm__ goto(".option push\n\t.option norvc\n\t" REPLAY_MARKER(REPLAY_MARKER_BEGIN) \
                 "\n\tj %l[replay_only_behind]\n\t.option pop"                         \
                 :                                                                     \
                 :                                                                     \
                 : "memory"                                                            \
                 : replay_only_behind);                                                \
    {

#define REPLAY_ONLY_END                                                                \
  }                                                                                    \
  __asm__ volatile(REPLAY_MARKER(REPLAY_MARKER_END) : : : "memory");                   \
  replay_only_behind:;                                                                 \
  }                                                                                    \
  while (0)

// Prints to the side channel of the replay; does nothing elsewhere.
static inline void replay_print(const char *text, unsigned long length) {
  register const char *a0 __asm__("a0") = text;
  register unsigned long a1 __asm__("a1") = length;
  __asm__ volatile(REPLAY_MARKER(REPLAY_MARKER_WRITE) : : "r"(a0), "r"(a1) : "memory");
}

#endif
#endif
