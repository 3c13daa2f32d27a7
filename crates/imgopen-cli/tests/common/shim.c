/* A machine with faults. Each line of the file $FAULT is a rule: "CALL NUMBER TEXT". For files whose path contains TEXT,
 *
 *   write, sync, truncate ERRNO   calls of that kind fail
 *   slow MILLISECONDS             writes take longer
 *
 * and for everything, whatever TEXT says,
 *
 *   socket, accept ERRNO          no socket is made, no connection is accepted
 *   clock SECONDS                 the machine's clock is ahead, or behind
 *   resolve 0                     the name TEXT belongs to 127.0.0.1
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Reads the rules. Asks the kernel itself, since the calls of this library are replaced. Returns whether they were read,
 * which they cannot be without a descriptor; without a file there are none. */
static int read_rules(char *rules, size_t size) {
  const char *file = getenv("FAULT");
  rules[0] = 0;
  if (!file) return 1;
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT;
  ssize_t length = syscall(SYS_read, fd, rules, size - 1);
  syscall(SYS_close, fd);
  rules[length > 0 ? length : 0] = 0;
  return length >= 0;
}

/* The number of the first rule for a call on a path, or 0. */
static long rule(const char *rules, const char *call, const char *path) {
  for (const char *line = rules; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : line) {
    char wanted[32], text[128];
    long number;
    if (sscanf(line, "%31s %ld %127s", wanted, &number, text) != 3) continue;
    if (!strcmp(wanted, call) && (!path || strstr(path, text))) return number;
  }
  return 0;
}

static void path_of(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  path[length > 0 ? length : 0] = 0;
}

/* The error for a call on a descriptor, or 0. */
static int fault(const char *call, int fd) {
  char rules[1024], path[4096];
  int saved = errno;
  read_rules(rules, sizeof rules);
  errno = saved;
  if (!rules[0]) return 0;
  path_of(fd, path, sizeof path);
  long pause = strcmp(call, "write") ? 0 : rule(rules, "slow", path);
  if (pause) usleep(pause * 1000);
  errno = saved;
  return rule(rules, call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define REPLACE(type, name, call, parameters, arguments)             \
  type name parameters {                                             \
    static __typeof__(&name) real;                                   \
    if (!real) real = REAL(name);                                    \
    int error = fault(call, fd);                                     \
    if (!error) return real arguments;                               \
    errno = error;                                                   \
    return -1;                                                       \
  }

REPLACE(ssize_t, write, "write", (int fd, const void *from, size_t count), (fd, from, count))
REPLACE(ssize_t, writev, "write", (int fd, const struct iovec *from, int count), (fd, from, count))
REPLACE(ssize_t, pwrite, "write", (int fd, const void *from, size_t count, off_t at), (fd, from, count, at))
REPLACE(ssize_t, pwrite64, "write", (int fd, const void *from, size_t count, off64_t at), (fd, from, count, at))
REPLACE(int, fsync, "sync", (int fd), (fd))
REPLACE(int, fdatasync, "sync", (int fd), (fd))
REPLACE(int, ftruncate64, "truncate", (int fd, off64_t length), (fd, length))

/* The same for calls that have no path. */
#define REPLACE_ANY(name, number, call, parameters, ...)             \
  int name parameters {                                              \
    char rules[1024];                                                \
    read_rules(rules, sizeof rules);                                 \
    int error = rule(rules, call, NULL);                             \
    if (!error) return syscall(number, __VA_ARGS__);                 \
    errno = error;                                                   \
    return -1;                                                       \
  }

REPLACE_ANY(socket, SYS_socket, "socket", (int domain, int type, int protocol), domain, type, protocol)
REPLACE_ANY(accept4, SYS_accept4, "accept", (int fd, struct sockaddr *from, socklen_t *length, int flags), fd, from, length, flags)

/* How far the clock is ahead. It does not jump back for lack of a descriptor. */
static long ahead(void) {
  static long last;
  char rules[1024];
  int saved = errno;
  if (read_rules(rules, sizeof rules)) last = rule(rules, "clock", NULL);
  errno = saved;
  return last;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = syscall(SYS_clock_gettime, clock, time);
  if (!result && clock == CLOCK_REALTIME) time->tv_sec += ahead();
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  struct timespec now;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict found) {
  static __typeof__(&getaddrinfo) real;
  if (!real) real = REAL(getaddrinfo);
  char rules[1024], wanted[256];
  read_rules(rules, sizeof rules);
  if (name && rules[0]) {
    snprintf(wanted, sizeof wanted, "resolve 0 %s", name);
    char *line = strstr(rules, wanted);
    if (line && strchr("\n", line[strlen(wanted)])) name = "127.0.0.1";
  }
  return real(name, service, hints, found);
}
