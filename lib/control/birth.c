/* birth.c: makes the segment's file in /dev/shm.
 *
 * The file is locked by flock for as long as somebody maps it, which tells tools and other
 * processes that its owner lives.  A name may be taken: exec keeps pid and start time, and
 * containers may share /dev/shm.  Every failure is a soft one. */
#include "lib/control/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define NAMES     8                     /* the plain one, then suffixes .1 to .7 */
#define TRIES     4                     /* for one name, when others remove it under our hands */
#define LOCK_TRIES 200                  /* a tool that probes holds the lock for a moment */

static void name_file(const struct identity *self, unsigned suffix)
{
    char *p = seg.path, digits[24];
    uint64_t numbers[3] = { (uint64_t)self->pid, self->start_time, suffix };

    p = stpcpy(p, "/dev/shm/" HAK_SEG_PREFIX);
    for (unsigned i = 0; i < (suffix ? 3u : 2u); i++) {
        char *d = digits + sizeof digits;
        uint64_t n = numbers[i];
        *--d = '\0';
        do
            *--d = (char)('0' + n % 10);
        while (n /= 10);
        if (i)
            *p++ = '.';
        p = stpcpy(p, d);
    }
}

static bool lock_file(int fd)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return false;
        syscall(SYS_sched_yield);
    }
    return false;
}

/* Whether seg.path is still the name of the file behind fd, which is noted. */
static bool still_named(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return false;
    seg.dev = st.st_dev;
    seg.ino = st.st_ino;
    return seg_named();
}

/* The name is taken.  True: by a dead process, or by an earlier image of this one (its lock may be
 * held by a child that has not unmapped it); it has been removed. */
static bool remove_old(const struct identity *self)
{
    struct hak_seg_header h;
    struct stat st;
    bool ours = false;
    int fd = sys_open(seg.path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

    if (fd < 0)
        return errno == ENOENT;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
        ours = flock(fd, LOCK_EX | LOCK_NB) == 0
            || (syscall(SYS_pread64, fd, &h, sizeof h, (off_t)0) == sizeof h
                && memcmp(h.magic, HAK_SEG_MAGIC, sizeof h.magic) == 0
                && h.pid_ns == self->pid_ns);
    if (ours && still_named(fd))
        ours = unlinkat(AT_FDCWD, seg.path, 0) == 0 || errno == ENOENT;
    sys_close(fd);
    return ours;
}

int above_stderr(int fd)
{
    if (fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    sys_close(fd);
    return moved;
}

enum outcome { MADE, TAKEN, AGAIN, FAILED };

static enum outcome make_file(unsigned mode, int *fd_out, const char **why)
{
    int fd = sys_open(seg.path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);

    if (fd < 0) {
        *why = errno == ENOSPC ? "/dev/shm is full" : "no file can be made in /dev/shm";
        return errno == EEXIST ? TAKEN : FAILED;
    }
    fd = above_stderr(fd);
    if (fd < 0 || !lock_file(fd)) {
        *why = "its file can't be locked";
        unlinkat(AT_FDCWD, seg.path, 0);
        if (fd >= 0)
            sys_close(fd);
        return FAILED;
    }
    /* Between open and flock it looked dead, and `hakctl gc` may have removed it. */
    if (!still_named(fd)) {
        sys_close(fd);
        *why = "its file is removed again and again";
        return AGAIN;
    }
    if (mode != 0600)
        fchmod(fd, mode);
    *fd_out = fd;
    return MADE;
}

static int open_new(const struct identity *self, unsigned mode, const char **why)
{
    int fd = -1;

    for (unsigned suffix = 0; suffix < NAMES; suffix++) {
        name_file(self, suffix);
        for (int i = 0; i < TRIES; i++) {
            enum outcome o = make_file(mode, &fd, why);
            if (o == MADE)
                return fd;
            if (o == FAILED)
                return -1;
            if (o == TAKEN && !remove_old(self))
                break;
        }
    }
    *why = "all its names are taken";
    return -1;
}

int birth(const struct identity *self, size_t bytes, unsigned mode, const char **why)
{
    int fd = open_new(self, mode, why);

    if (fd < 0 || ftruncate(fd, (off_t)bytes) == 0)
        return fd;
    *why = "its file can't be made long enough";
    unlinkat(AT_FDCWD, seg.path, 0);
    sys_close(fd);
    return -1;
}
