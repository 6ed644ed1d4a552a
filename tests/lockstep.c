/* lockstep.c: preloaded into hakctl (tests/lockstep.sh), so that what it says of the fixtures that it
 * looks at (tests/fixture_segment.c) does not depend on who gets a CPU and when.
 *
 * Its time goes on only while it naps, and a nap ends when each fixture that it has mapped has gone
 * once more through all its threads.  So those that are busy have moved and ticked by the time that
 * hakctl takes a thread for idle or late, and no others have. */
#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "tests/fixture.h"

enum { MOST = 16 };
static struct { struct fixture *fixture; int fd; } seen[MOST];
static uint64_t napped_ns;

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *map = (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    if (map == MAP_FAILED || fd < 0 || size != sizeof(struct fixture))
        return map;
    for (int i = 0; i < MOST; i++)
        if (!seen[i].fixture) {
            seen[i].fixture = map;
            seen[i].fd = fd;
            return map;
        }
    abort();
}

int munmap(void *at, size_t size)
{
    for (int i = 0; i < MOST; i++)
        if (seen[i].fixture == at)
            seen[i].fixture = NULL;
    return (int)syscall(SYS_munmap, at, size);
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
    static struct timespec begun;
    int result = (int)syscall(SYS_clock_gettime, clock, t);
    if (clock != CLOCK_MONOTONIC)
        return result;
    if (!begun.tv_sec)
        begun = *t;
    uint64_t ns = (uint64_t)begun.tv_nsec + napped_ns;
    *t = (struct timespec){ begun.tv_sec + (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
    return result;
}

/* As the tools do it. */
static bool is_live(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB))
        return true;
    flock(fd, LOCK_UN);
    return false;
}

/* One round may have begun before. */
static void two_rounds(void)
{
    static const struct timespec while_ = { 0, 200000 };
    for (int i = 0; i < MOST; i++) {
        uint64_t *rounds = seen[i].fixture ? &seen[i].fixture->rounds : NULL;
        uint64_t first = rounds ? __atomic_load_n(rounds, __ATOMIC_ACQUIRE) : 0;
        while (rounds && __atomic_load_n(rounds, __ATOMIC_ACQUIRE) - first < 2 && is_live(seen[i].fd))
            syscall(SYS_nanosleep, &while_, NULL);
    }
}

int nanosleep(const struct timespec *t, struct timespec *left)
{
    int result = (int)syscall(SYS_nanosleep, t, left);
    napped_ns += (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
    two_rounds();
    return result;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
    int result = syscall(SYS_clock_nanosleep, clock, flags, t, left) ? errno : 0;
    two_rounds();
    return result;
}
