/*
 * Copyright: (c) 2026, the encompass.images authors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A failing disk: loaded before the C library (LD_PRELOAD), it counts the calls that write below one directory, of all
 * processes together, and fails the one that it is told to. For tests alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* What the test and all processes share; faults.py knows it too. */
struct state {
    uint64_t count;   /* calls so far */
    uint64_t target;  /* the number of the call to fail; 0: none */
    uint64_t error;   /* errno then */
    uint64_t lasting; /* whether all calls after it fail too */
    uint64_t length;  /* of the directory's name; 0: count nothing */
    char directory[1024];
    char failed[2048]; /* "<call> <path>" of the first that failed */
};

static struct state *state;

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("ENCOMPASS_TEST_FAULTS");
    int (*really_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int descriptor = path ? really_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0)
        return;
    void *memory = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    state = memory == MAP_FAILED ? NULL : memory;
    close(descriptor);
}

static int hits(const char *call, const char *path)
{
    uint64_t length = state->length;
    /* A full disk tells at the write that finds no room; what was written is written, and deleting needs none. */
    if (state->error == ENOSPC && (strcmp(call, "fsync") == 0 || strcmp(call, "delete") == 0))
        return 0;
    if (strncmp(path, state->directory, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return 0;
    uint64_t number = __atomic_add_fetch(&state->count, 1, __ATOMIC_SEQ_CST);
    if (state->target == 0 || number < state->target || (number > state->target && !state->lasting))
        return 0;
    /* What was begun could never be cleared away if nothing could be deleted from then on. */
    if (number > state->target && strcmp(call, "delete") == 0)
        return 0;
    if (number == state->target)
        snprintf(state->failed, sizeof state->failed, "%s %s", call, path);
    errno = (int)state->error;
    return 1;
}

static int fails_file(const char *call, int descriptor)
{
    char link[64], path[4096];
    if (!state || !state->length)
        return 0;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = '\0';
    return hits(call, path);
}

static int fails_path(const char *call, int directory, const char *name)
{
    char link[64], path[8192];
    if (!state || !state->length || !name)
        return 0;
    if (name[0] == '/')
        return hits(call, name);
    int before = errno;
    snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, path, 4096);
    errno = before;
    if (length < 0)
        return 0;
    snprintf(path + length, sizeof path - length, "/%s", name);
    return hits(call, path);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define BY_FILE(type, name, call, descriptor, parameters, arguments) \
    type name parameters { REAL(name); return fails_file(call, descriptor) ? -1 : real arguments; }
#define BY_PATH(type, name, call, directory, path, parameters, arguments) \
    type name parameters { REAL(name); return fails_path(call, directory, path) ? -1 : real arguments; }
#define OPENS(name, directory, parameters, arguments) \
    int name parameters \
    { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        return (flags & O_CREAT) && fails_path("open", directory, path) ? -1 : real arguments; \
    }

OPENS(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPENS(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))

BY_FILE(ssize_t, write, "write", to, (int to, const void *from, size_t size), (to, from, size))
BY_FILE(ssize_t, pwrite, "write", to, (int to, const void *from, size_t size, off_t at), (to, from, size, at))
BY_FILE(ssize_t, pwrite64, "write", to, (int to, const void *from, size_t size, off64_t at), (to, from, size, at))
BY_FILE(ssize_t, writev, "write", to, (int to, const struct iovec *from, int count), (to, from, count))
BY_FILE(ssize_t, pwritev, "write", to, (int to, const struct iovec *from, int count, off_t at), (to, from, count, at))
BY_FILE(ssize_t, pwritev64, "write", to, (int to, const struct iovec *from, int count, off64_t at),
        (to, from, count, at))
BY_FILE(ssize_t, copy_file_range, "write", to,
        (int from, off64_t *at, int to, off64_t *target, size_t size, unsigned int flags),
        (from, at, to, target, size, flags))
BY_FILE(ssize_t, sendfile, "write", to, (int to, int from, off_t *at, size_t size), (to, from, at, size))
BY_FILE(ssize_t, sendfile64, "write", to, (int to, int from, off64_t *at, size_t size), (to, from, at, size))
BY_FILE(int, fsync, "fsync", to, (int to), (to))
BY_FILE(int, fdatasync, "fsync", to, (int to), (to))
BY_FILE(int, fallocate, "fallocate", to, (int to, int mode, off_t at, off_t size), (to, mode, at, size))
BY_FILE(int, fallocate64, "fallocate", to, (int to, int mode, off64_t at, off64_t size), (to, mode, at, size))
BY_FILE(int, ftruncate, "ftruncate", to, (int to, off_t size), (to, size))
BY_FILE(int, ftruncate64, "ftruncate", to, (int to, off64_t size), (to, size))
BY_PATH(int, rename, "rename", AT_FDCWD, to, (const char *from, const char *to), (from, to))
BY_PATH(int, renameat, "rename", at, to, (int of, const char *from, int at, const char *to), (of, from, at, to))
BY_PATH(int, link, "link", AT_FDCWD, to, (const char *from, const char *to), (from, to))
BY_PATH(int, linkat, "link", at, to, (int of, const char *from, int at, const char *to, int flags),
        (of, from, at, to, flags))
BY_PATH(int, symlink, "symlink", AT_FDCWD, to, (const char *target, const char *to), (target, to))
BY_PATH(int, mkdir, "mkdir", AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
BY_PATH(int, mkdirat, "mkdir", at, path, (int at, const char *path, mode_t mode), (at, path, mode))
BY_PATH(int, unlink, "delete", AT_FDCWD, path, (const char *path), (path))
BY_PATH(int, unlinkat, "delete", at, path, (int at, const char *path, int flags), (at, path, flags))
BY_PATH(int, rmdir, "delete", AT_FDCWD, path, (const char *path), (path))
BY_PATH(int, chmod, "chmod", AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
BY_FILE(int, fchmod, "chmod", to, (int to, mode_t mode), (to, mode))

/* These return the error instead of setting errno. */
int posix_fallocate(int to, off_t at, off_t size)
{
    REAL(posix_fallocate);
    return fails_file("fallocate", to) ? (int)state->error : real(to, at, size);
}

int posix_fallocate64(int to, off64_t at, off64_t size)
{
    REAL(posix_fallocate64);
    return fails_file("fallocate", to) ? (int)state->error : real(to, at, size);
}
