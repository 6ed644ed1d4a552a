/* sweep.c: dead segments do not pile up where nobody runs a tool.
 *
 * A child that ends by _exit, a signal or an exec of something that is not under libhakmem leaves
 * its segment's file behind, some 64 KiB; a server that makes such children would fill /dev/shm.
 * So one process in 2^SWEEP_SHIFT looks through it at its birth and removes its own user's dead
 * segments but for the KEEP that started last, which is what the tools do when they start.
 *
 * Whether a segment is dead is for its lock to say (birth.c): a pid says little, it may be another
 * namespace's. */
#include "lib/control/internal.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/base/os.h"

#define SWEEP_SHIFT  4
#define KEEP         16
#define LISTING      (64 * KIB)         /* of /dev/shm; what is beyond waits for another sweep */

struct dead {
    const char *name;                   /* in the listing */
    uint64_t start_time;
};

static const char *number(const char *s, uint64_t *n)
{
    if (!s || *s < '0' || *s > '9')
        return NULL;
    for (*n = 0; *s >= '0' && *s <= '9'; s++)
        *n = *n * 10 + (uint64_t)(*s - '0');
    return s;
}

/* hakmem.<pid>.<starttime>[.<n>] */
static bool parse(const char *name, uint64_t *pid, uint64_t *start_time)
{
    const char *s = name + sizeof HAK_SEG_PREFIX - 1;
    uint64_t suffix;

    if (strncmp(name, HAK_SEG_PREFIX, sizeof HAK_SEG_PREFIX - 1) != 0 || !(s = number(s, pid))
        || *s++ != '.' || !(s = number(s, start_time)))
        return false;
    return *s == '\0' || (*s == '.' && (s = number(s + 1, &suffix)) && *s == '\0');
}

/* A descriptor of the segment, locked, if it is our user's and dead; else -1. */
static int open_dead(int dir, const char *name)
{
    struct stat st;
    int fd = (int)syscall(SYS_openat, dir, name,
                          O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid()
                    || flock(fd, LOCK_EX | LOCK_NB) != 0)) {
        sys_close(fd);
        fd = -1;
    }
    return fd;
}

static void remove_dead(int dir, const char *name)
{
    struct stat by_fd, by_name;
    int fd = open_dead(dir, name);

    if (fd < 0)
        return;
    if (fstat(fd, &by_fd) == 0 && fstatat(dir, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0
        && by_fd.st_dev == by_name.st_dev && by_fd.st_ino == by_name.st_ino)
        unlinkat(dir, name, 0);
    sys_close(fd);
}

/* Puts a dead segment among the newest, or removes it, or the one whose place it takes. */
static void keep_newest(int dir, struct dead *newest, const char *name, uint64_t start_time)
{
    struct dead *oldest = newest;

    for (unsigned i = 1; i < KEEP; i++)
        if (newest[i].start_time < oldest->start_time)
            oldest = &newest[i];
    if (start_time <= oldest->start_time) {
        remove_dead(dir, name);
        return;
    }
    if (oldest->name)
        remove_dead(dir, oldest->name);
    *oldest = (struct dead){ name, start_time };
}

static void consider(int dir, struct dead *newest, const char *name)
{
    uint64_t pid, start_time;

    if (!parse(name, &pid, &start_time) || pid > INT_MAX || syscall(SYS_kill, (int)pid, 0) == 0)
        return;
    int fd = open_dead(dir, name);
    if (fd < 0)
        return;
    sys_close(fd);
    keep_newest(dir, newest, name, start_time);
}

static void sweep_dir(int dir, char *listing)
{
    struct dead newest[KEEP] = { { 0 } };
    ssize_t n, len = 0;

    while (len < (ssize_t)LISTING
           && (n = (ssize_t)syscall(SYS_getdents64, dir, listing + len, LISTING - (size_t)len)) > 0)
        len += n;
    for (char *p = listing; p < listing + len; p += ((struct dirent64 *)p)->d_reclen)
        consider(dir, newest, ((struct dirent64 *)p)->d_name);
}

/* Multiples of the golden ratio spread evenly, whatever the distance from one pid to the next
 * (D. Knuth, "The Art of Computer Programming", 6.4). */
static bool is_sweeper(int32_t pid)
{
    return (uint64_t)pid * 0x9E3779B97F4A7C15u >> (64 - SWEEP_SHIFT) == 0;
}

void sweep(const struct identity *self)
{
    if (!is_sweeper(self->pid))
        return;
    char *listing = os_map(LISTING, 1);
    int dir = listing ? sys_open("/dev/shm", O_RDONLY | O_DIRECTORY, 0) : -1;
    if (dir >= 0) {
        sweep_dir(dir, listing);
        sys_close(dir);
    }
    if (listing)
        os_unmap(listing, LISTING);
}
