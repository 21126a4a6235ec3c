/**
 * TABLE of Linux system calls of riscv64: asm-generic/unistd.h with what this architecture adds. In brackets
 * the sorts of the arguments, as far as they are known:
 *
 *     a  directory, a file descriptor or AT_FDCWD    p  path    s  other string    v  list of strings
 *     d  signed integer    u  unsigned integer    o  octal mode    x  anything else
 */

const TABLE = `
0 io_setup, 1 io_destroy, 2 io_submit, 3 io_cancel, 4 io_getevents, 5 setxattr(psxux),
6 lsetxattr, 7 fsetxattr, 8 getxattr(psxu), 9 lgetxattr(psxu), 10 fgetxattr, 11 listxattr,
12 llistxattr, 13 flistxattr, 14 removexattr, 15 lremovexattr, 16 fremovexattr, 17 getcwd(xu),
18 lookup_dcookie, 19 event${"fd2"}, 20 epoll_create1(x), 21 epoll_ctl(dddx),
22 epoll_pwait(dxddxu), 23 dup(d), 24 dup3(ddx), 25 fcntl(ddx), 26 inotify_init1,
27 inotify_add_watch(dpx), 28 inotify_rm_watch, 29 ioctl(dxx), 30 ioprio_set, 31 ioprio_get,
32 flock(dx), 33 mknodat(apox), 34 mkdirat(apo), 35 unlinkat(apx), 36 symlinkat(pap),
37 linkat(apapx), 38 renameat(apap), 39 umount2(px), 40 mount(ppsx), 41 pivot_root(pp),
42 nfsservctl, 43 statfs(px), 44 fstatfs(dx), 45 truncate(pu), 46 ftruncate(du),
47 fallocate(dxuu), 48 faccessat(apx), 49 chdir(p), 50 fchdir(d), 51 chroot(p), 52 fchmod(do),
53 fchmodat(apo), 54 fchownat(apuux), 55 fchown(duu), 56 openat(apxo), 57 close(d),
58 vhangup(), 59 pipe2(xx), 60 quotactl, 61 getdents64(dxu), 62 lseek(ddd), 63 read(dxu),
64 write(dxu), 65 readv(dxu), 66 writev(dxu), 67 pread64(dxuu), 68 pwrite64(dxuu), 69 preadv,
70 pwritev, 71 sendfile(ddxu), 72 pselect6(dxxxxx), 73 ppoll(xuxxu), 74 signalfd4, 75 vmsplice,
76 splice, 77 tee, 78 readlinkat(apxu), 79 newfstatat(apxx), 80 fstat(dx), 81 sync(),
82 fsync(d), 83 fdatasync(d), 84 sync_file_range2, 85 timerfd_create, 86 timerfd_settime,
87 timerfd_gettime, 88 utimensat(apxx), 89 acct(p), 90 capget, 91 capset, 92 personality,
93 exit(d), 94 exit_group(d), 95 waitid(ddxxx), 96 set_tid_address(x), 97 unshare,
98 futex(xdxxxx), 99 set_robust_list(xu), 100 get_robust_list, 101 nanosleep(xx),
102 getitimer, 103 setitimer, 104 kexec_load, 105 init_module, 106 delete_module(sx),
107 timer_create, 108 timer_gettime, 109 timer_getoverrun, 110 timer_settime, 111 timer_delete,
112 clock_settime, 113 clock_gettime(dx), 114 clock_getres, 115 clock_nanosleep(dxxx),
116 syslog, 117 ptrace, 118 sched_setparam, 119 sched_setscheduler, 120 sched_getscheduler,
121 sched_getparam, 122 sched_setaffinity, 123 sched_getaffinity, 124 sched_yield(),
125 sched_get_priority_max, 126 sched_get_priority_min, 127 sched_rr_get_interval,
128 restart_syscall, 129 kill(dd), 130 tkill(dd), 131 tgkill(ddd), 132 sigaltstack,
133 rt_sigsuspend, 134 rt_sigaction(dxxu), 135 rt_sigprocmask(dxxu), 136 rt_sigpending,
137 rt_sigtimedwait, 138 rt_sigqueueinfo, 139 rt_sigreturn(), 140 setpriority,
141 getpriority(dd), 142 reboot(xxxx), 143 setregid, 144 setgid(u), 145 setreuid,
146 setuid(u), 147 setresuid, 148 getresuid, 149 setresgid, 150 getresgid, 151 setfsuid,
152 setfsgid, 153 times, 154 setpgid(dd), 155 getpgid(d), 156 getsid(d), 157 setsid(),
158 getgroups, 159 setgroups, 160 uname(x), 161 sethostname(su), 162 setdomainname,
163 getrlimit, 164 setrlimit, 165 getrusage, 166 umask(o), 167 prctl(dxxxx), 168 getcpu,
169 gettimeofday(xx), 170 settimeofday, 171 adjtimex, 172 getpid(), 173 getppid(),
174 getuid(), 175 geteuid(), 176 getgid(), 177 getegid(), 178 gettid(), 179 sysinfo(x),
180 mq_open, 181 mq_unlink, 182 mq_timedsend, 183 mq_timedreceive, 184 mq_notify,
185 mq_getsetattr, 186 msgget, 187 msgctl, 188 msgrcv, 189 msgsnd, 190 semget, 191 semctl,
192 semtimedop, 193 semop, 194 shmget, 195 shmctl, 196 shmat, 197 shmdt, 198 socket(ddd),
199 socketpair, 200 bind(dxu), 201 listen(dd), 202 accept(dxx), 203 connect(dxu),
204 getsockname, 205 getpeername, 206 sendto(dxuxxu), 207 recvfrom(dxuxxx),
208 setsockopt(dddxu), 209 getsockopt(dddxx), 210 shutdown(dd), 211 sendmsg(dxx),
212 recvmsg(dxx), 213 readahead, 214 brk(x), 215 munmap(xu), 216 mremap, 217 add_key,
218 request_key, 219 keyctl, 220 clone(xxxxx), 221 execve(pv), 222 mmap(xuxxdx), 223 fadvise64,
224 swapon(px), 225 swapoff, 226 mprotect(xux), 227 msync, 228 mlock, 229 munlock,
230 mlockall, 231 munlockall, 232 mincore, 233 madvise(xud), 234 remap_file_pages, 235 mbind,
236 get_mempolicy, 237 set_mempolicy, 238 migrate_pages, 239 move_pages, 240 rt_tgsigqueueinfo,
241 perf_event_open, 242 accept4(dxxx), 243 recvmmsg, 258 riscv_hwprobe(xuuxx),
259 riscv_flush_icache(xxx), 260 wait4(dxxx), 261 prlimit64(ddxx), 262 fanotify_init,
263 fanotify_mark, 266 clock_adjtime, 267 syncfs, 268 setns, 269 sendmmsg,
270 process_vm_readv, 271 process_vm_writev, 272 kcmp, 273 finit_module(dsx),
274 sched_setattr, 275 sched_getattr, 276 renameat2(apapx), 277 seccomp, 278 getrandom(xux),
279 memfd_create(sx), 280 bpf, 281 execveat(apvxx), 282 userfaultfd, 283 membarrier,
284 mlock2, 285 copy_file_range, 286 preadv2, 287 pwritev2, 288 pkey_mprotect, 289 pkey_alloc,
290 pkey_free, 291 statx(apxxx), 292 io_pgetevents, 293 rseq(xuxx), 294 kexec_file_load,
424 pidfd_send_signal, 425 io_uring_setup, 426 io_uring_enter, 427 io_uring_register,
428 open_tree, 429 move_mount, 430 fsopen, 431 fsconfig, 432 fsmount, 433 fspick,
434 pidfd_open(dx), 435 clone3(xu), 436 close_range(uux), 437 openat2(apxu), 438 pidfd_getfd,
439 faccessat2(apxx), 440 process_madvise, 441 epoll_pwait2, 442 mount_setattr,
443 quotactl_fd, 444 landlock_create_ruleset, 445 landlock_add_rule,
446 landlock_restrict_self, 447 memfd_secret, 448 process_mrelease, 449 futex_waitv,
450 set_mempolicy_home_node
`;

/** Names of errors from 1 on (asm-generic/errno.h). */
const ERRORS = (
  "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT " +
  "ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG " +
  "ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY " +
  "ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR " +
  "EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE " +
  "ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD " +
  "EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK " +
  "EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP " +
  "EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET " +
  "ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT " +
  "ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL " +
  "EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED " +
  "EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON"
).split(" ");

/** A system call that is known. */
export interface KnownCall {
  readonly name: string;
  /** Sorts of its arguments; undefined: not known. */
  readonly sorts: string | undefined;
}

const CALLS: ReadonlyMap<number, KnownCall> = new Map(
  Array.from(
    TABLE.matchAll(/(\d+) (\w+)(?:\((\w*)\))?/g),
    ([, number, name, sorts]) => [Number(number), { name: name!, sorts }],
  ),
);

/** The call of a number; one that is not known has its number as name. */
export function callOf(number: bigint): KnownCall {
  return CALLS.get(Number(number)) ?? { name: `syscall_${number}`, sorts: undefined };
}

/** "ENOENT" for 2, say; undefined for what is no error. */
export function errorName(error: number): string | undefined {
  const name = ERRORS[error - 1];
  return name === "-" ? undefined : name;
}
