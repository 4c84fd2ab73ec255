/* Makes calls on files below one directory fail or wait.
 *
 * Everything is said by environment variables:
 *   SHIM_DIR       the directory; files elsewhere are left alone
 *   SHIM_SWITCH    a file: while it exists the faults are on; without the variable they always are
 *   SHIM_SEED      the seed of the random numbers
 *   SHIM_WRITES    one in so many of write, pwrite, fsync, fdatasync, sync_file_range, ftruncate fails; 0: none
 *   SHIM_READS     one in so many of read, pread, open fails with EIO; 0: none
 *   SHIM_NTH       the n-th call below the directory fails with EIO, reads and opens too; 0: none
 *   SHIM_SYNC_MS   each fsync, fdatasync and sync_file_range first waits so long
 *   SHIM_COUNT     a file that the number of calls below the directory is written to at the end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t state;
static long calls;

static long number(const char *name) {
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int on(void) {
    const char *path = getenv("SHIM_SWITCH");
    return !path || syscall(SYS_access, path, F_OK) == 0;
}

static int inside_path(const char *path) {
    const char *dir = getenv("SHIM_DIR");
    return dir && strncmp(path, dir, strlen(dir)) == 0;
}

static int inside(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return inside_path(path);
}

static uint64_t next(void) {
    if (!state) state = (uint64_t)number("SHIM_SEED") * 2654435761u + 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* 0: goes on; else the errno with which it fails. */
static int fault(const char *rate_name, int may_be_full) {
    if (!on()) return 0;
    long rate = number(rate_name), nth = number("SHIM_NTH");
    pthread_mutex_lock(&lock);
    long call = ++calls;
    uint64_t drawn = next();
    pthread_mutex_unlock(&lock);
    if (nth && call == nth) return EIO;
    if (!rate || drawn % (uint64_t)rate) return 0;
    return may_be_full && (drawn >> 32) % 2 ? ENOSPC : EIO;
}

static void slowly(void) {
    long ms = number("SHIM_SYNC_MS");
    if (ms && on()) {
        struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
        while (nanosleep(&wait, &wait)) {}
    }
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("SHIM_COUNT");
    if (!path) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char text[32];
    int length = snprintf(text, sizeof text, "%ld", calls);
    if (fd >= 0) {
        if (syscall(SYS_write, fd, text, length) != length) {}
        syscall(SYS_close, fd);
    }
}

#define FAIL_IF(error) do { int e = (error); if (e) { errno = e; return -1; } } while (0)
/* every other write that would fail is cut short instead, if it can be */
#define CUT(size) do { \
    int e = fault("SHIM_WRITES", 1); \
    if (e && size > 1 && calls % 2 && number("SHIM_NTH") == 0) size /= 2; \
    else if (e) { errno = e; return -1; } \
} while (0)

ssize_t write(int fd, const void *bytes, size_t size) {
    if (inside(fd)) CUT(size);
    return syscall(SYS_write, fd, bytes, size);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    if (inside(fd)) CUT(size);
    return syscall(SYS_pwrite64, fd, bytes, size, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }
ssize_t read(int fd, void *bytes, size_t size) {
    if (inside(fd)) FAIL_IF(fault("SHIM_READS", 0));
    return syscall(SYS_read, fd, bytes, size);
}
ssize_t pread64(int fd, void *bytes, size_t size, off64_t at) {
    if (inside(fd)) FAIL_IF(fault("SHIM_READS", 0));
    return syscall(SYS_pread64, fd, bytes, size, at);
}
ssize_t pread(int fd, void *bytes, size_t size, off_t at) { return pread64(fd, bytes, size, at); }
int fsync(int fd) {
    if (inside(fd)) { slowly(); FAIL_IF(fault("SHIM_WRITES", 1)); }
    return syscall(SYS_fsync, fd);
}
int fdatasync(int fd) {
    if (inside(fd)) { slowly(); FAIL_IF(fault("SHIM_WRITES", 1)); }
    return syscall(SYS_fdatasync, fd);
}
int sync_file_range(int fd, off64_t at, off64_t size, unsigned flags) {
    if (inside(fd)) { slowly(); FAIL_IF(fault("SHIM_WRITES", 1)); }
    return syscall(SYS_sync_file_range, fd, at, size, flags);
}
int ftruncate64(int fd, off64_t size) {
    if (inside(fd)) FAIL_IF(fault("SHIM_WRITES", 0));
    return syscall(SYS_ftruncate, fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
static int open_any(const char *path, int flags, mode_t mode) {
    if (inside_path(path)) FAIL_IF(fault("SHIM_READS", 0));
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_any(path, flags, mode);
}
int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_any(path, flags, mode);
}
