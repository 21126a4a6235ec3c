/*
 * Computes every operation of the F and D extensions over streams of operands and prints a checksum
 * of results and flags for each operation and rounding mode. Run by tests/isa/float_qemu_test.ts on
 * our machine and on QEMU: the same lines mean the same bits.
 *
 * Operands are often at the edges of their formats, or nearly cancel each other. Every second
 * operation starts with the inexact flag set, the others with none.
 */

typedef unsigned long u64;

#define UART_DATA ((volatile unsigned char *)0x10000000)
#define UART_STATUS ((volatile unsigned char *)0x10000005)
#define UART_EMPTY 0x20
#define MODE_COUNT 5

struct format {
  int fraction_bits;
  int exponent_bits;
};

static const struct format SINGLE = {23, 8};
static const struct format DOUBLE = {52, 11};

/* One stream of operands and the checksums of what was made of them. */
struct stream {
  u64 state;
  u64 sums[MODE_COUNT];
};

static void put(char c) {
  while (!(*UART_STATUS & UART_EMPTY)) {
  }
  *UART_DATA = c;
}

static void put_text(const char *text) {
  while (*text) put(*text++);
}

static void put_hex(u64 value) {
  for (int shift = 60; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}

/* xorshift64*, Vigna. */
static u64 next(struct stream *s) {
  s->state ^= s->state >> 12;
  s->state ^= s->state << 25;
  s->state ^= s->state >> 27;
  return s->state * 0x2545f4914f6cdd1dul;
}

static u64 ones(int bits) { return ~0ul >> (64 - bits); }

/* Digits of one of eight patterns: none, all, one set, one clear, runs, or anything. */
static u64 digits(struct stream *s, int bits) {
  u64 choice = next(s);
  u64 any = next(s) & ones(bits);
  int at = (choice >> 8) % bits;
  switch (choice & 7) {
    case 0: return 0;
    case 1: return ones(bits);
    case 2: return 1ul << at;
    case 3: return ones(bits) ^ 1ul << at;
    case 4: return any >> at << at;
    case 5: return ones(bits) >> at << at;
    case 6: return ones(bits) >> at;
    default: return any;
  }
}

/* A number in its format's own width. */
static u64 number(struct stream *s, struct format format) {
  u64 choice = next(s);
  u64 top = ones(format.exponent_bits);
  u64 bias = top >> 1;
  u64 span = 2 * format.fraction_bits + 8;
  u64 field;
  switch (choice & 15) {
    case 0: field = 0; break;
    case 1: field = 1; break;
    case 2: field = 2; break;
    case 3: field = top; break;
    case 4: field = top - 1; break;
    case 5: field = top - 2; break;
    case 6: field = bias; break;
    case 7:
    case 8:
    case 9: field = choice >> 8 & top; break;
    default: field = bias + (choice >> 8) % span - span / 2;
  }
  u64 sign = choice >> 63;
  u64 fraction = digits(s, format.fraction_bits);
  return (sign << format.exponent_bits | field) << format.fraction_bits | fraction;
}

/* A few units in the last place away, perhaps of the other sign. */
static u64 neighbour(struct stream *s, struct format format, u64 bits) {
  u64 choice = next(s);
  u64 sign = (choice & 1) << (format.fraction_bits + format.exponent_bits);
  return ((bits + (choice >> 8) % 9 - 4) ^ sign) &
         ones(format.fraction_bits + format.exponent_bits + 1);
}

static double from_bits(u64 bits) {
  double value;
  asm volatile("fmv.d.x %0, %1" : "=f"(value) : "r"(bits));
  return value;
}

static u64 to_bits(double value) {
  u64 bits;
  asm volatile("fmv.x.d %0, %1" : "=r"(bits) : "f"(value));
  return bits;
}

/* A register with a single: nearly always boxed as it must be. */
static double boxed(struct stream *s, u64 bits) {
  u64 choice = next(s);
  u64 upper = (choice & 63) == 0 ? choice >> 32 : 0xffffffff;
  return from_bits(upper << 32 | bits);
}

static u64 product_single(double a, double b) {
  double result;
  asm volatile("fmul.s %0, %1, %2, rne" : "=f"(result) : "f"(a), "f"(b));
  return to_bits(result) & 0xffffffff;
}

static u64 product_double(double a, double b) {
  double result;
  asm volatile("fmul.d %0, %1, %2, rne" : "=f"(result) : "f"(a), "f"(b));
  return to_bits(result);
}

/* Three operands: the second is sometimes close to the first, the third to their product. */
static void draw_double(struct stream *s, double *a, double *b, double *c) {
  u64 choice = next(s);
  u64 first = number(s, DOUBLE);
  *a = from_bits(first);
  *b = from_bits(choice & 7 ? number(s, DOUBLE) : neighbour(s, DOUBLE, first));
  *c = from_bits(choice & 16 ? number(s, DOUBLE) : neighbour(s, DOUBLE, product_double(*a, *b)));
}

static void draw_single(struct stream *s, double *a, double *b, double *c) {
  u64 choice = next(s);
  u64 first = number(s, SINGLE);
  *a = boxed(s, first);
  *b = boxed(s, choice & 7 ? number(s, SINGLE) : neighbour(s, SINGLE, first));
  *c = boxed(s, choice & 16 ? number(s, SINGLE) : neighbour(s, SINGLE, product_single(*a, *b)));
}

/* An integer with any number of digits. */
static u64 draw_integer(struct stream *s) {
  u64 choice = next(s);
  u64 value = digits(s, 64) >> (choice >> 8 & 63);
  return choice & 1 ? value : -value;
}

static void mix(u64 *sum, u64 result, u64 flags) {
  u64 h = (*sum ^ result) * 0x9e3779b97f4a7c15ul + flags * 0xff51afd7ed558ccdul;
  *sum = h ^ h >> 29;
}

/* Presets flags, does the operation, reads the flags. OUT is the result's kind of register. */
#define EVALUATE(MODE, OUT, TO_BITS, TEXT)                                               \
  {                                                                                      \
    OUT(result);                                                                         \
    u64 flags;                                                                           \
    asm volatile("csrw fflags, %[preset]\n\t" TEXT "\n\tcsrr %[flags], fflags"           \
                 : [out] OUT##_CONSTRAINT(result), [flags] "=&r"(flags)                  \
                 : [a] "f"(a), [b] "f"(b), [c] "f"(c), [i] "r"(i), [preset] "r"(i_preset)); \
    mix(&s->sums[MODE], TO_BITS(result), flags);                                         \
  }
#define FLOAT(name) double name
#define FLOAT_CONSTRAINT(name) "=&f"(name)
#define WHOLE(name) u64 name
#define WHOLE_CONSTRAINT(name) "=&r"(name)
#define SAME(value) (value)

#define ONCE(OUT, TO_BITS, TEXT) EVALUATE(0, OUT, TO_BITS, TEXT)
#define EACH(OUT, TO_BITS, TEXT)             \
  EVALUATE(0, OUT, TO_BITS, TEXT ", rne")    \
  EVALUATE(1, OUT, TO_BITS, TEXT ", rtz")    \
  EVALUATE(2, OUT, TO_BITS, TEXT ", rdn")    \
  EVALUATE(3, OUT, TO_BITS, TEXT ", rup")    \
  EVALUATE(4, OUT, TO_BITS, TEXT ", rmm")

/* A function that evaluates one operation over a stream. */
#define OPERATION(NAME, DRAW, MODES, OUT, TO_BITS, TEXT)          \
  static void NAME(struct stream *s, u64 tuples) {                \
    for (u64 n = 0; n < tuples; n++) {                            \
      double a, b, c;                                             \
      DRAW(s, &a, &b, &c);                                        \
      u64 i = draw_integer(s);                                    \
      u64 i_preset = n & 1;                                       \
      MODES(OUT, TO_BITS, TEXT)                                   \
    }                                                             \
  }

#define ARITHMETIC(P, S, DRAW)                                                             \
  OPERATION(add_##P, DRAW, EACH, FLOAT, to_bits, "fadd." S " %[out], %[a], %[b]")          \
  OPERATION(sub_##P, DRAW, EACH, FLOAT, to_bits, "fsub." S " %[out], %[a], %[b]")          \
  OPERATION(mul_##P, DRAW, EACH, FLOAT, to_bits, "fmul." S " %[out], %[a], %[b]")          \
  OPERATION(div_##P, DRAW, EACH, FLOAT, to_bits, "fdiv." S " %[out], %[a], %[b]")          \
  OPERATION(sqrt_##P, DRAW, EACH, FLOAT, to_bits, "fsqrt." S " %[out], %[a]")              \
  OPERATION(madd_##P, DRAW, EACH, FLOAT, to_bits, "fmadd." S " %[out], %[a], %[b], %[c]")  \
  OPERATION(msub_##P, DRAW, EACH, FLOAT, to_bits, "fmsub." S " %[out], %[a], %[b], %[c]")  \
  OPERATION(nmsub_##P, DRAW, EACH, FLOAT, to_bits, "fnmsub." S " %[out], %[a], %[b], %[c]") \
  OPERATION(nmadd_##P, DRAW, EACH, FLOAT, to_bits, "fnmadd." S " %[out], %[a], %[b], %[c]") \
  OPERATION(min_##P, DRAW, ONCE, FLOAT, to_bits, "fmin." S " %[out], %[a], %[b]")          \
  OPERATION(max_##P, DRAW, ONCE, FLOAT, to_bits, "fmax." S " %[out], %[a], %[b]")          \
  OPERATION(eq_##P, DRAW, ONCE, WHOLE, SAME, "feq." S " %[out], %[a], %[b]")               \
  OPERATION(lt_##P, DRAW, ONCE, WHOLE, SAME, "flt." S " %[out], %[a], %[b]")               \
  OPERATION(le_##P, DRAW, ONCE, WHOLE, SAME, "fle." S " %[out], %[a], %[b]")               \
  OPERATION(class_##P, DRAW, ONCE, WHOLE, SAME, "fclass." S " %[out], %[a]")               \
  OPERATION(to_w_##P, DRAW, EACH, WHOLE, SAME, "fcvt.w." S " %[out], %[a]")                \
  OPERATION(to_wu_##P, DRAW, EACH, WHOLE, SAME, "fcvt.wu." S " %[out], %[a]")              \
  OPERATION(to_l_##P, DRAW, EACH, WHOLE, SAME, "fcvt.l." S " %[out], %[a]")                \
  OPERATION(to_lu_##P, DRAW, EACH, WHOLE, SAME, "fcvt.lu." S " %[out], %[a]")              \
  OPERATION(from_l_##P, DRAW, EACH, FLOAT, to_bits, "fcvt." S ".l %[out], %[i]")           \
  OPERATION(from_lu_##P, DRAW, EACH, FLOAT, to_bits, "fcvt." S ".lu %[out], %[i]")

ARITHMETIC(s, "s", draw_single)
ARITHMETIC(d, "d", draw_double)
OPERATION(from_w_s, draw_single, EACH, FLOAT, to_bits, "fcvt.s.w %[out], %[i]")
OPERATION(from_wu_s, draw_single, EACH, FLOAT, to_bits, "fcvt.s.wu %[out], %[i]")
OPERATION(from_w_d, draw_double, ONCE, FLOAT, to_bits, "fcvt.d.w %[out], %[i]")
OPERATION(from_wu_d, draw_double, ONCE, FLOAT, to_bits, "fcvt.d.wu %[out], %[i]")
OPERATION(narrow, draw_double, EACH, FLOAT, to_bits, "fcvt.s.d %[out], %[a]")
OPERATION(widen, draw_single, ONCE, FLOAT, to_bits, "fcvt.d.s %[out], %[a]")

/* Each operation draws from a stream of its own, so that its line does not depend on the others. */
static void test(const char *name, void (*operation)(struct stream *, u64), u64 seed, u64 tuples) {
  struct stream s = {.state = seed};
  for (int mode = 0; mode < MODE_COUNT; mode++) s.sums[mode] = 0;
  for (const char *c = name; *c; c++) s.state = (s.state ^ *c) * 0x100000001b3ul;
  if (s.state == 0) s.state = 1;
  operation(&s, tuples);
  put_text(name);
  for (int mode = 0; mode < MODE_COUNT; mode++) {
    put(' ');
    put_hex(s.sums[mode]);
  }
  put('\n');
}

#define RUN(NAME) test(#NAME, NAME, seed, tuples);
#define RUN_FORMAT(P)                                                                    \
  RUN(add_##P) RUN(sub_##P) RUN(mul_##P) RUN(div_##P) RUN(sqrt_##P) RUN(madd_##P)        \
  RUN(msub_##P) RUN(nmsub_##P) RUN(nmadd_##P) RUN(min_##P) RUN(max_##P) RUN(eq_##P)      \
  RUN(lt_##P) RUN(le_##P) RUN(class_##P) RUN(to_w_##P) RUN(to_wu_##P) RUN(to_l_##P)      \
  RUN(to_lu_##P) RUN(from_l_##P) RUN(from_lu_##P) RUN(from_w_##P) RUN(from_wu_##P)

void test_all(u64 seed, u64 tuples) {
  RUN_FORMAT(s)
  RUN_FORMAT(d)
  RUN(narrow)
  RUN(widen)
}
