/* Makes writes, syncs and opens fail for files whose path contains a text, as the file $FAULT says: "CALL ERRNO TEXT". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The error for a call on a path, or 0. Asks the kernel itself, since the calls of this library are replaced. */
static int fault(const char *call, const char *path) {
  const char *file = getenv("FAULT");
  if (!file) return 0;
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char rule[256], wanted[64], text[128];
  int error;
  ssize_t length = syscall(SYS_read, fd, rule, sizeof rule - 1);
  syscall(SYS_close, fd);
  if (length <= 0) return 0;
  rule[length] = 0;
  if (sscanf(rule, "%63s %d %127s", wanted, &error, text) != 3) return 0;
  return !strcmp(wanted, call) && strstr(path, text) ? error : 0;
}

static int fault_of(const char *call, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fault(call, path);
}

#define REPLACE(type, name, call, parameters, arguments)             \
  type name parameters {                                             \
    static type(*real) parameters;                                   \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);   \
    int saved = errno, error = fault_of(call, fd);                   \
    errno = error ? error : saved;                                   \
    return error ? -1 : real arguments;                              \
  }

REPLACE(ssize_t, write, "write", (int fd, const void *from, size_t count), (fd, from, count))
REPLACE(ssize_t, writev, "write", (int fd, const struct iovec *from, int count), (fd, from, count))
REPLACE(ssize_t, pwrite, "write", (int fd, const void *from, size_t count, off_t at), (fd, from, count, at))
REPLACE(ssize_t, pwrite64, "write", (int fd, const void *from, size_t count, off64_t at), (fd, from, count, at))
REPLACE(int, fsync, "sync", (int fd), (fd))
REPLACE(int, fdatasync, "sync", (int fd), (fd))
REPLACE(int, ftruncate64, "truncate", (int fd, off64_t length), (fd, length))
