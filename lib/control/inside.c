/* inside.c: changes of knobs by the process itself.
 *
 * They are requests like those of a tool: written to the control page under the lock that all its
 * writers take, so that none of two that are composed at one time is lost.  The library maps the
 * page read-only; a request has a mapping of its own for as long as it is written.  In
 * tests/model/generation.pml this is Inside.
 *
 * No signal comes in between: a handler that calls fork would leave the lock to a child that has
 * neither the mapping nor its rest of the request. */
#include "lib/control/internal.h"

#include <errno.h>
#include <sys/mman.h>

#include "lib/base/os.h"
#include "lib/base/syscall.h"

/* One lock a file, and one an open file description: threads exclude each other as well. */
static bool lock_pages(int fd, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

    return syscall(SYS_fcntl, fd, F_OFD_SETLK, &lock) == 0;
}

static int set_through(int fd, const struct control_change *changes, size_t count)
{
    size_t bytes = seg.at.trace - seg.at.control;
    unsigned tried = 0;

    while (!lock_pages(fd, F_WRLCK)) {
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            return tick_set(changes, count, NULL);      /* a sandbox */
        if (tried == BUSY_TRIES)
            return EBUSY;
        os_pause(tried++);
    }
    int why = EBUSY;
    struct hak_control *page = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                        (off_t)seg.at.control);
    if (page) {
        sys_madvise(page, bytes, MADV_DONTFORK);
        why = tick_set(changes, count, page);
        sys_munmap(page, bytes);
    }
    lock_pages(fd, F_UNLCK);            /* a child made meanwhile has the descriptor, too */
    return why;
}

static bool for_a_while(int why)
{
    return why == EMFILE || why == ENFILE || why == ENOMEM || why == EINTR;
}

static int set(const struct control_change *changes, size_t count)
{
    if (!seg.shared)
        return tick_set(changes, count, NULL);
    int fd = seg_reopen();
    if (fd < 0)
        return for_a_while(errno) ? EBUSY : tick_set(changes, count, NULL);
    int why = set_through(fd, changes, count);
    sys_close(fd);
    return why;
}

int control_set(const struct control_change *changes, size_t count)
{
    int saved = errno;
    uint64_t before = os_hold_signals();
    int why = set(changes, count);

    os_release_signals(before);
    errno = saved;
    return why;
}
