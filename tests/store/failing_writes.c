/* Preloaded: lets the n-th write below a folder fail, once or from then on, or kills the process before it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char place[PATH_MAX];
static long left = -1; /* writes until the fault; negative for none */
static int how;        /* 0: once, 1: from then on, 2: kill */

void arm(const char *folder, long count, int kind) {
    snprintf(place, sizeof place, "%s", folder);
    left = count;
    how = kind;
}

long writes_left(void) { return left; }

static int fails(int file) {
    char link[64], path[PATH_MAX];
    if (left < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    if (strncmp(path, place, strlen(place)) != 0) return 0;
    if (left > 0) {
        left--;
        return 0;
    }
    if (how == 2) kill(getpid(), SIGKILL);
    if (how == 0) left = -1;
    errno = ENOSPC;
    return 1;
}

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t size) {
    return fails(file) ? -1 : REAL(ssize_t, write, int, const void *, size_t)(file, data, size);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    return fails(file) ? -1 : REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(file, data, size, offset);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
    return fails(file) ? -1 : REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(file, data, size, offset);
}
/* Nothing here loses power, so nobody waits for the disk. */
int fsync(int file) { return fails(file) ? -1 : 0; }
int fdatasync(int file) { return fails(file) ? -1 : 0; }
int ftruncate(int file, off_t size) { return fails(file) ? -1 : REAL(int, ftruncate, int, off_t)(file, size); }
int ftruncate64(int file, off64_t size) { return fails(file) ? -1 : REAL(int, ftruncate64, int, off64_t)(file, size); }
