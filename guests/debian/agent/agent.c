// The agent in a Debian guest that runs commands for the host, over the virtio-console port
// "org.chronovisor.exec". Protocol: kernel/world/exec_protocol.ts. No libc: raw system calls only.
//
// Invariants: frames are written whole; a command's exit frame is sent after all output that it had
// written when it ended; at most WINDOW bytes of a command's stdin are kept here.

typedef unsigned long u64;
typedef long s64;

enum { COMMANDS = 16, WINDOW = 65536, PAYLOAD = 32768, ARGUMENTS = 256 };
enum { CLOSE = 57, READ = 63, WRITE = 64, OPENAT = 56, PIPE2 = 59, DUP3 = 24, CLONE = 220, EXECVE = 221,
       WAIT4 = 260, PPOLL = 73, GETDENTS64 = 61, KILL = 129, EXIT = 93, SIGNALFD4 = 74,
       RT_SIGPROCMASK = 135, FCNTL = 25, IOCTL = 29, SETSID = 157, CHDIR = 49, SETHOSTNAME = 161,
       CLOCK_SETTIME = 112, SOCKET = 198 };
enum { O_RDWR = 2, O_NONBLOCK = 04000, O_CLOEXEC = 02000000, O_DIRECTORY = 0200000, O_NOCTTY = 0400, AT_FDCWD = -100 };
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, SIGCHLD = 17, SIGPIPE = 13, EAGAIN = 11,
       EBUSY = 16, ENODEV = 19, EINVAL = 22, ENODATA = 61 };

static s64 sys(s64 n, s64 a, s64 b, s64 c, s64 d, s64 e) {
  register s64 a0 asm("a0") = a, a1 asm("a1") = b, a2 asm("a2") = c, a3 asm("a3") = d, a4 asm("a4") = e,
      a7 asm("a7") = n;
  asm volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
  return a0;
}

void *memcpy(void *to, const void *from, u64 n) {
  char *t = to;
  const char *f = from;
  while (n--) *t++ = *f++;
  return to;
}
void *memmove(void *to, const void *from, u64 n) {
  char *t = to;
  const char *f = from;
  if (t < f) return memcpy(to, from, n);
  while (n--) t[n] = f[n];
  return to;
}
void *memset(void *to, int value, u64 n) {
  char *t = to;
  while (n--) *t++ = value;
  return to;
}
static u64 length(const char *s) {
  u64 n = 0;
  while (s[n]) n++;
  return n;
}
static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

struct command {
  int used, id, pid, in, out, err, exited, status, endInput;
  u64 kept;
  char input[WINDOW];
};

static struct command commands[COMMANDS];
static int port;
static char frame[64 + PAYLOAD];
static char incoming[64 + WINDOW + PAYLOAD];
static u64 incomingBytes;

static void writeAll(int fd, const char *bytes, u64 n) {
  while (n) {
    s64 done = sys(WRITE, fd, (s64)bytes, n, 0, 0);
    if (done == -EAGAIN) {
      struct { int fd; short events, revents; } wait = {fd, POLLOUT, 0};
      sys(PPOLL, (s64)&wait, 1, 0, 0, 0);
    } else if (done <= 0) {
      sys(EXIT, 1, 0, 0, 0, 0);
    } else {
      bytes += done;
      n -= done;
    }
  }
}

static u64 decimal(char *to, u64 value) {
  char digits[24];
  u64 n = 0, i;
  do digits[n++] = '0' + value % 10; while (value /= 10);
  for (i = 0; i < n; i++) to[i] = digits[n - 1 - i];
  return n;
}

static void send(char kind, int id, const char *payload, u64 n) {
  u64 at = 0;
  frame[at++] = kind;
  frame[at++] = ' ';
  at += decimal(frame + at, id);
  frame[at++] = ' ';
  at += decimal(frame + at, n);
  frame[at++] = '\n';
  memcpy(frame + at, payload, n);
  writeAll(port, frame, at + n);
}

static void sendNumber(char kind, int id, u64 value) {
  char text[24];
  send(kind, id, text, decimal(text, value));
}

static struct command *find(int id) {
  for (int i = 0; i < COMMANDS; i++)
    if (commands[i].used && commands[i].id == id) return &commands[i];
  return 0;
}

static void shut(int *fd) {
  if (*fd >= 0) sys(CLOSE, *fd, 0, 0, 0, 0);
  *fd = -1;
}

static const char *const environment[] = {
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=linux",
    "LANG=C.UTF-8", "USER=root", 0};
static const char *const folders[] = {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/",
                                      "/sbin/", "/bin/", 0};

// In the child: runs the program, looking for it in the folders of PATH; ends with 126 or 127.
static void execute(char **arguments) {
  static char path[4096];
  int found = 0;
  for (const char *c = arguments[0]; *c; c++)
    if (*c == '/') {
      s64 error = sys(EXECVE, (s64)arguments[0], (s64)arguments, (s64)environment, 0, 0);
      found = error != -2;
      goto failed;
    }
  for (int i = 0; folders[i]; i++) {
    u64 n = length(folders[i]), m = length(arguments[0]);
    if (n + m + 1 > sizeof path) continue;
    memcpy(path, folders[i], n);
    memcpy(path + n, arguments[0], m + 1);
    if (sys(EXECVE, (s64)path, (s64)arguments, (s64)environment, 0, 0) != -2) found = 1;
  }
failed:
  writeAll(2, arguments[0], length(arguments[0]));
  if (found) writeAll(2, ": cannot be executed\n", 21);
  else writeAll(2, ": not found\n", 12);
  sys(EXIT, found ? 126 : 127, 0, 0, 0, 0);
}

static void start(int id, char *payload, u64 n) {
  static char *arguments[ARGUMENTS + 1];
  struct command *c = 0;
  int in[2], out[2], err[2], count = 0;
  for (int i = 0; i < COMMANDS && !c; i++)
    if (!commands[i].used) c = &commands[i];
  if (!c) return send('F', id, "too many commands at once", 25);
  payload[n] = 0;
  for (u64 at = 0; at <= n && count < ARGUMENTS; at += length(payload + at) + 1) arguments[count++] = payload + at;
  arguments[count] = 0;
  if (sys(PIPE2, (s64)in, O_CLOEXEC, 0, 0, 0) < 0 || sys(PIPE2, (s64)out, O_CLOEXEC, 0, 0, 0) < 0 ||
      sys(PIPE2, (s64)err, O_CLOEXEC, 0, 0, 0) < 0)
    return send('F', id, "no pipe can be made", 19);
  s64 pid = sys(CLONE, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) {
    u64 none = 0;
    sys(RT_SIGPROCMASK, 2, (s64)&none, 0, 8, 0);
    sys(SETSID, 0, 0, 0, 0, 0);
    sys(DUP3, in[0], 0, 0, 0, 0);
    sys(DUP3, out[1], 1, 0, 0, 0);
    sys(DUP3, err[1], 2, 0, 0, 0);
    sys(CHDIR, (s64) "/root", 0, 0, 0, 0);
    execute(arguments);
  }
  sys(CLOSE, in[0], 0, 0, 0, 0);
  sys(CLOSE, out[1], 0, 0, 0, 0);
  sys(CLOSE, err[1], 0, 0, 0, 0);
  if (pid < 0) return send('F', id, "no process can be made", 22);
  c->used = 1, c->id = id, c->pid = pid, c->in = in[1], c->out = out[0], c->err = err[0];
  c->exited = c->status = c->endInput = 0, c->kept = 0;
  sys(FCNTL, in[1], 4, O_NONBLOCK, 0, 0);
  sys(FCNTL, out[0], 4, O_NONBLOCK, 0, 0);
  sys(FCNTL, err[0], 4, O_NONBLOCK, 0, 0);
}

// Passes kept stdin on; says how much went.
static void feed(struct command *c) {
  u64 gone = 0;
  while (c->in >= 0 && c->kept) {
    s64 done = sys(WRITE, c->in, (s64)c->input, c->kept, 0, 0);
    if (done == -EAGAIN) break;
    if (done <= 0) {
      gone += c->kept, c->kept = 0;
      shut(&c->in);
    } else {
      memmove(c->input, c->input + done, c->kept - done);
      c->kept -= done, gone += done;
    }
  }
  if (c->in < 0) gone += c->kept, c->kept = 0;
  if (gone) sendNumber('T', c->id, gone);
  if (c->endInput && !c->kept) shut(&c->in);
}

// Sends one piece of output; 0 when nothing was there now.
static int drain(struct command *c, int *fd, char kind) {
  static char bytes[PAYLOAD];
  if (*fd < 0) return 0;
  s64 n = sys(READ, *fd, (s64)bytes, PAYLOAD, 0, 0);
  if (n > 0) send(kind, c->id, bytes, n);
  else if (n != -EAGAIN) shut(fd);
  return n > 0;
}

static void finish(struct command *c) {
  while (drain(c, &c->out, 'O') || drain(c, &c->err, 'R')) {}
  shut(&c->in), shut(&c->out), shut(&c->err);
  sendNumber('Q', c->id, c->status);
  c->used = 0;
}

static void reap(void) {
  int status;
  s64 pid;
  while ((pid = sys(WAIT4, -1, (s64)&status, 1, 0, 0)) > 0)
    for (int i = 0; i < COMMANDS; i++) {
      struct command *c = &commands[i];
      if (!c->used || c->pid != pid) continue;
      c->status = (status & 127) ? 128 + (status & 127) : (status >> 8 & 255);
      finish(c);
    }
}

static u64 number(const char *text, u64 n) {
  u64 value = 0;
  for (u64 i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++) value = value * 10 + text[i] - '0';
  return value;
}

// Tells the serial terminal its size, "COLUMNS ROWS"; its foreground programs get SIGWINCH.
static void resize(const char *size, u64 n) {
  enum { TIOCSWINSZ = 0x5414 };
  u64 space = 0;
  while (space < n && size[space] != ' ') space++;
  if (space == n) return;
  unsigned short window[4] = {number(size + space + 1, n - space - 1), number(size, space), 0, 0};
  s64 terminal = sys(OPENAT, AT_FDCWD, (s64) "/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, 0, 0);
  if (terminal < 0) return;
  sys(IOCTL, terminal, TIOCSWINSZ, (s64)window, 0, 0);
  sys(CLOSE, terminal, 0, 0, 0, 0);
}

// Takes the line at *at off the payload; gives its length.
static u64 takeLine(const char *payload, u64 n, u64 *at, const char **line) {
  u64 start = *at;
  while (*at < n && payload[*at] != '\n') ++*at;
  *line = payload + start;
  return (*at < n ? (*at)++ : *at) - start;
}

// The six bytes of "02:00:00:00:00:00"; 0 when the text is something else.
static int parseAddress(const char *text, u64 n, unsigned char *address) {
  if (n != 17) return 0;
  for (int i = 0; i < 17; i++) {
    char c = text[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (i % 3 == 2 ? c != ':' : digit < 0) return 0;
    if (i % 3 == 0) address[i / 3] = digit << 4;
    if (i % 3 == 1) address[i / 3] |= digit;
  }
  return 1;
}

// Gives eth0 another hardware address. An interface that is up keeps running where its driver can do that, and is
// taken down and up again where it cannot. A guest without eth0 has nothing to change.
static s64 setAddress(const char *text, u64 n) {
  enum { AF_INET = 2, SOCK_DGRAM = 2, GET_FLAGS = 0x8913, SET_FLAGS = 0x8914, SET_ADDRESS = 0x8924, UP = 1,
         ETHERNET = 1 };
  struct { char name[16]; short word; unsigned char bytes[22]; } with = {"eth0", ETHERNET, {0}}, flags = {"eth0", 0, {0}};
  if (!parseAddress(text, n, with.bytes)) return -EINVAL;
  s64 socket = sys(SOCKET, AF_INET, SOCK_DGRAM | O_CLOEXEC, 0, 0, 0);
  if (socket < 0) return socket;
  s64 error = sys(IOCTL, socket, SET_ADDRESS, (s64)&with, 0, 0);
  if (error == -EBUSY && sys(IOCTL, socket, GET_FLAGS, (s64)&flags, 0, 0) == 0) {
    flags.word &= ~UP;
    sys(IOCTL, socket, SET_FLAGS, (s64)&flags, 0, 0);
    error = sys(IOCTL, socket, SET_ADDRESS, (s64)&with, 0, 0);
    flags.word |= UP;
    sys(IOCTL, socket, SET_FLAGS, (s64)&flags, 0, 0);
  }
  sys(CLOSE, socket, 0, 0, 0, 0);
  return error == -ENODEV ? 0 : error;
}

// Adds bytes to what the kernel draws random numbers from, and has it draw from them at once.
static s64 addEntropy(const char *bytes, u64 n) {
  enum { ADD = 0x40085203, RESEED = 0x5207, MOST = 256 };
  static struct { int bits, size; char bytes[MOST]; } pool;
  if (n > MOST) n = MOST;
  pool.bits = n * 8, pool.size = n;
  memcpy(pool.bytes, bytes, n);
  s64 random = sys(OPENAT, AT_FDCWD, (s64) "/dev/urandom", O_RDWR | O_CLOEXEC, 0, 0);
  if (random < 0) return random;
  s64 error = sys(IOCTL, random, ADD, (s64)&pool, 0, 0);
  // A guest that has not drawn yet has nothing to forget.
  if (error >= 0) error = sys(IOCTL, random, RESEED, 0, 0, 0);
  if (error == -ENODATA) error = 0;
  sys(CLOSE, random, 0, 0, 0, 0);
  return error;
}

static s64 setClock(u64 nanoseconds) {
  struct { s64 seconds, nanoseconds; } time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  return sys(CLOCK_SETTIME, 0, (s64)&time, 0, 0, 0);
}

// The guest is a copy, or was away for a while: who it is now, and what time. Says what the kernel refused.
static void identify(const char *payload, u64 n) {
  const char *name, *address, *clock;
  char refused[64];
  u64 at = 0, m = 0;
  u64 nameBytes = takeLine(payload, n, &at, &name);
  u64 addressBytes = takeLine(payload, n, &at, &address);
  u64 clockBytes = takeLine(payload, n, &at, &clock);
  // First, so that nobody draws what its copy draws.
  if (at < n && addEntropy(payload + at, n - at) < 0) memcpy(refused + m, "entropy ", 8), m += 8;
  if (nameBytes && sys(SETHOSTNAME, (s64)name, nameBytes, 0, 0, 0) < 0) memcpy(refused + m, "hostname ", 9), m += 9;
  if (addressBytes && setAddress(address, addressBytes) < 0) memcpy(refused + m, "mac ", 4), m += 4;
  if (clockBytes && setClock(number(clock, clockBytes)) < 0) memcpy(refused + m, "clock ", 6), m += 6;
  send('A', 0, refused, m);
}

static void handle(char kind, int id, char *payload, u64 n) {
  struct command *c = find(id);
  if (kind == 'W') return resize(payload, n);
  if (kind == 'N') return identify(payload, n);
  if (kind == 'X') {
    if (!c) start(id, payload, n);
    return;
  }
  if (!c) {
    if (kind == 'I') sendNumber('T', id, n);
    return;
  }
  if (kind == 'I' && c->kept + n <= WINDOW) {
    memcpy(c->input + c->kept, payload, n);
    c->kept += n;
    feed(c);
  } else if (kind == 'E') {
    c->endInput = 1;
    feed(c);
  } else if (kind == 'K') {
    sys(KILL, -c->pid, number(payload, n), 0, 0, 0);
  }
}

// Handles every whole frame that has arrived; a line that is no header is skipped.
static void parse(void) {
  for (;;) {
    u64 line = 0, at = 0, fields[2] = {0, 0};
    while (line < incomingBytes && incoming[line] != '\n') line++;
    if (line == incomingBytes) return;
    int good = line > 4 && incoming[1] == ' ';
    for (int field = 0, i = 2; good && field < 2; field++, i++) {
      while (i < (int)line && incoming[i] != ' ') fields[field] = fields[field] * 10 + incoming[i++] - '0';
    }
    at = line + 1;
    if (good && fields[1] <= PAYLOAD) {
      if (incomingBytes < at + fields[1]) return;
      char kept = incoming[at + fields[1]];
      handle(incoming[0], fields[0], incoming + at, fields[1]);
      incoming[at + fields[1]] = kept;
      at += fields[1];
    }
    memmove(incoming, incoming + at, incomingBytes - at);
    incomingBytes -= at;
  }
}

// Finds the port by its name under /sys; waits until it is there.
static int openPort(void) {
  static char entries[4096], path[512], name[64];
  s64 folder = sys(OPENAT, AT_FDCWD, (s64) "/sys/class/virtio-ports", O_DIRECTORY, 0, 0);
  if (folder < 0) return -1;
  s64 n = sys(GETDENTS64, folder, (s64)entries, sizeof entries, 0, 0);
  sys(CLOSE, folder, 0, 0, 0, 0);
  for (s64 at = 0; at < n; at += *(unsigned short *)(entries + at + 16)) {
    char *entry = entries + at + 19;
    u64 m = length(entry);
    if (m > 100 || entry[0] == '.') continue;
    memcpy(path, "/sys/class/virtio-ports/", 24);
    memcpy(path + 24, entry, m);
    memcpy(path + 24 + m, "/name", 6);
    s64 fd = sys(OPENAT, AT_FDCWD, (s64)path, 0, 0, 0);
    if (fd < 0) continue;
    s64 got = sys(READ, fd, (s64)name, sizeof name - 1, 0, 0);
    sys(CLOSE, fd, 0, 0, 0, 0);
    if (got <= 0) continue;
    name[got] = 0;
    if (name[got - 1] == '\n') name[got - 1] = 0;
    if (!same(name, "org.chronovisor.exec")) continue;
    memcpy(path, "/dev/", 5);
    memcpy(path + 5, entry, m + 1);
    return sys(OPENAT, AT_FDCWD, (s64)path, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0, 0);
  }
  return -1;
}

struct poll { int fd; short events, revents; };

static u64 addPoll(struct poll *list, u64 n, int fd, short events) {
  if (fd < 0) return n;
  list[n].fd = fd, list[n].events = events, list[n].revents = 0;
  return n + 1;
}

static void waitForWork(int signals) {
  static struct poll list[2 + 3 * COMMANDS];
  static char info[128];
  u64 n = addPoll(list, addPoll(list, 0, port, POLLIN), signals, POLLIN);
  for (int i = 0; i < COMMANDS; i++) {
    struct command *c = &commands[i];
    if (!c->used) continue;
    n = addPoll(list, n, c->out, POLLIN);
    n = addPoll(list, n, c->err, POLLIN);
    if (c->kept) n = addPoll(list, n, c->in, POLLOUT);
  }
  sys(PPOLL, (s64)list, n, 0, 0, 0);
  while (sys(READ, signals, (s64)info, sizeof info, 0, 0) > 0) {}
}

void _start(void) {
  u64 mask = 1UL << (SIGCHLD - 1) | 1UL << (SIGPIPE - 1);
  sys(RT_SIGPROCMASK, 0, (s64)&mask, 0, 8, 0);
  s64 signals = sys(SIGNALFD4, -1, (s64)&mask, 8, O_CLOEXEC | O_NONBLOCK, 0);
  struct { s64 seconds, nanoseconds; } pause = {0, 5000000};
  while ((port = openPort()) < 0) sys(PPOLL, 0, 0, (s64)&pause, 0, 0);
  send('H', 0, "2", 1);
  for (;;) {
    for (;;) {
      s64 n = sys(READ, port, (s64)(incoming + incomingBytes), sizeof incoming - 1 - incomingBytes, 0, 0);
      if (n <= 0) break;
      incomingBytes += n;
      parse();
    }
    for (int i = 0; i < COMMANDS; i++) {
      struct command *c = &commands[i];
      if (!c->used) continue;
      drain(c, &c->out, 'O');
      drain(c, &c->err, 'R');
      feed(c);
    }
    reap();
    waitForWork(signals);
  }
}
