/* segment.c: the mapping of the segment, and the memory behind it.
 *
 * Where there is no segment, state and control pages are private memory with the same contents, and
 * nothing else in the library knows the difference.
 *
 *   the process                          the file
 *   seg.base  -> | header, descriptors |  0         written at birth
 *   seg.state -> | state               |  at.state  atomic stores, see tick.c
 *   seg.control  | control, read-only  |  at.control
 *   seg.trace -> | trace ring          |  at.trace  hole until trace.ring is first on
 *   seg.map   -> | map of SuperSlabs   |  at.map    hole, but for those there have been
 *                | slots 0 to 31       |  at.slots  holes until given out; see slots.c
 *
 * Everything is mapped MADV_DONTFORK: a child never writes to its parent's counters.  The child
 * maps its own segment at the same address, since fork may have been called by a signal handler on
 * top of code that still holds an address in it. */
#include "lib/control/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/base/os.h"
#include "lib/base/syscall.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define EINTR_MAX 100

/* For a process that never had a segment. */
static struct {
    struct hak_state_full state;
    struct hak_control control;
} nobody_looks;

struct segment seg = { .state = &nobody_looks.state, .control = &nobody_looks.control };

/* ---- Who we are ------------------------------------------------------------------------------ */

/* Reads a small file of /proc, NUL-terminated.  False: it can't be read. */
static bool small_file(const char *path, char *to, size_t room)
{
    int fd = sys_open(path, O_RDONLY, 0);
    ssize_t n = fd >= 0 ? sys_read(fd, to, room - 1) : -1;

    if (fd >= 0)
        sys_close(fd);
    to[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Field 22 of /proc/self/stat; the second, the name, is in brackets and may hold anything. */
static bool start_time(uint64_t *ticks)
{
    char text[1024];
    const char *s = small_file("/proc/self/stat", text, sizeof text) ? strrchr(text, ')') : NULL;

    for (int field = 2; s && field < 22; field++)
        if ((s = strchr(s, ' ')) != NULL)
            s++;
    if (!s || *s < '0' || *s > '9')
        return false;
    for (*ticks = 0; *s >= '0' && *s <= '9'; s++)
        *ticks = *ticks * 10 + (uint64_t)(*s - '0');
    return true;
}

/* A process that sees its parent is in the same pid namespace, which saves a look. */
static bool identify(struct identity *self, int32_t parent)
{
    struct stat st;

    if (!self->boot_id[0] && small_file("/proc/sys/kernel/random/boot_id", self->boot_id,
                                        sizeof self->boot_id))
        self->boot_id[strcspn(self->boot_id, "\n")] = '\0';
    if (!self->boot_id[0] || !start_time(&self->start_time))
        return false;
    if (self->pid_ns && parent > 1 && (int)syscall(SYS_getppid) == parent)
        return true;
    if (fstatat(AT_FDCWD, "/proc/self/ns/pid", &st, 0) != 0)
        return false;
    self->pid_ns = st.st_ino;
    return true;
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

/* A map and as many slots as RLIMIT_FSIZE leaves room for; to exceed it would be death by SIGXFSZ. */
static bool lay_out(struct layout *at)
{
    size_t page = os_page, most = os_limit(RLIMIT_FSIZE);

    at->state = round_up(describe_size(), page);
    at->control = at->state + round_up(sizeof(struct hak_state_full), page);
    at->trace = at->control + round_up(sizeof(struct hak_control), page);
    at->map = at->trace + round_up(HAK_TRACE_RECORDS * sizeof(struct hak_trace_record), page);
    at->superslabs = HAK_MAP_SUPERSLABS;
    while (at->superslabs * sizeof *seg.map > most / 4)
        at->superslabs /= 2;
    at->slots = at->map + round_up(at->superslabs * sizeof *seg.map, page);
    at->stride = round_up(HAK_SLOT_BYTES, page);
    if (most < at->slots + at->stride)
        return false;
    at->slots_max = (most - at->slots) / at->stride;
    if (at->slots_max > SLOTS_MOST)
        at->slots_max = SLOTS_MOST;
    at->total = at->slots + at->slots_max * at->stride;
    at->mapped = at->slots + CHUNK_SLOTS * at->stride;
    if (at->mapped > at->total)
        at->mapped = at->total;
    return true;
}

/* ---- Mapping --------------------------------------------------------------------------------- */

/* At `where`, if that is free (NULL: anywhere), else anywhere. */
static char *map_at(char *where, size_t bytes, int flags, int fd)
{
    char *p = NULL;

    flags |= MAP_NORESERVE;
    if (where)
        p = sys_mmap(where, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd, 0);
    return p ? p : sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
}

static void place(char *base, const struct layout *at, bool shared)
{
    seg.base = base;
    seg.shared = shared;
    seg.at = *at;
    seg.state = (struct hak_state_full *)(base + at->state);
    seg.control = (const struct hak_control *)(base + at->control);
    seg.trace = shared ? (struct hak_trace_record *)(base + at->trace) : NULL;
    seg.map = shared ? (uint16_t (*)[HAK_MAP_SLABS])(base + at->map) : NULL;
    slots_start(base + at->slots);
}

/* Without a segment.  A child whose parent had one may still hold addresses in it. */
static void place_private(void)
{
    char *base = seg.base ? map_at(seg.base, seg.at.mapped, MAP_PRIVATE | MAP_ANONYMOUS, -1) : NULL;

    if (base) {
        place(base, &seg.at, false);
        return;
    }
    memset(&nobody_looks, 0, sizeof nobody_looks);
    seg.base = NULL;
    seg.shared = false;
    seg.state = &nobody_looks.state;
    seg.control = &nobody_looks.control;
    seg.trace = NULL;
    seg.map = NULL;
}

static struct hak_control *control_for_writing(void)
{
    return (struct hak_control *)(uintptr_t)seg.control;
}

static const char *make_shared(const union hak_knobs *knobs, int32_t parent)
{
    const char *why = "no room to map it";
    struct layout at;

    if (!knobs->export)
        return "the knob export is 0";
    if (getauxval(AT_SECURE))
        return "the program runs with another user's rights";
    if (!identify(&seg.self, parent))
        return "/proc can't be read";
    if (!lay_out(&at))
        return "a resource limit is too low for it";

    int fd = birth(&seg.self, at.total, (unsigned)knobs->shm_mode, &why);
    if (fd < 0)
        return why;
    char *base = map_at(seg.base, at.mapped, MAP_SHARED, fd);
    sys_close(fd);
    if (!base || sys_madvise(base, at.mapped, MADV_DONTFORK) != 0
        || !seg_back(base, at.trace, 0)) {
        unlinkat(AT_FDCWD, seg.path, 0);
        if (base)
            sys_munmap(base, at.mapped);
        return base ? "no room for it in /dev/shm" : why;
    }
    place(base, &at, true);
    describe(base, &at, &seg.self);
    sweep(&seg.self);
    return NULL;
}

const char *seg_make(const union hak_knobs *knobs)
{
    int32_t parent = seg.self.pid;      /* 0 at start */

    if (seg.base && !seg.shared)        /* inherited; a segment would not have been */
        sys_munmap(seg.base, seg.at.mapped);
    slots_forget();
    seg.self.pid = sys_getpid();
    const char *why = make_shared(knobs, parent);
    if (why)
        place_private();
    memcpy(control_for_writing()->values[0], knobs->values, sizeof knobs->values);
    if (seg.shared)
        mprotect(control_for_writing(), seg.at.trace - seg.at.control, PROT_READ);
    prctl(PR_GET_NAME, seg.state->state.comm);
    return why;
}

void seg_ready(void)
{
    put(seg.state->state.process_state, (uint32_t)HAK_PROC_RUNNING);
    if (seg.shared)
        put(((struct hak_seg_header *)seg.base)->ready, 1u);
}

bool seg_named(void)
{
    struct stat st;

    return fstatat(AT_FDCWD, seg.path, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == seg.dev
        && st.st_ino == seg.ino;
}

/* ---- Memory behind it ------------------------------------------------------------------------ */

int seg_reopen(void)
{
    struct stat st;
    int fd = sys_open(seg.path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

    if (fd >= 0)
        fd = above_stderr(fd);
    if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_dev != seg.dev || st.st_ino != seg.ino)) {
        sys_close(fd);
        errno = ENOENT;
        fd = -1;
    }
    return fd;
}

static bool allocate(int fd, size_t offset, size_t bytes)
{
    for (int i = 0; i < EINTR_MAX; i++)
        if (syscall(SYS_fallocate, fd, 0, (off_t)offset, (off_t)bytes) == 0)
            return true;
        else if (errno != EINTR)
            break;
    return false;
}

bool seg_back(char *p, size_t bytes, size_t offset)
{
    int why = -EINTR;

    for (int i = 0; i < EINTR_MAX && (why == -EINTR || why == -EAGAIN); i++)
        if ((why = sys_madvise(p, bytes, MADV_POPULATE_WRITE)) == 0)
            return true;
    if (why != -EINVAL && why != -EPERM)        /* an old kernel, a sandbox */
        return false;
    int fd = seg_reopen();
    bool done = fd >= 0 && allocate(fd, offset, bytes);
    if (fd >= 0)
        sys_close(fd);
    for (size_t at = 0; done && at < bytes; at += os_page)      /* until then tools take it for a hole */
        __atomic_fetch_or(p + at, 0, __ATOMIC_RELAXED);
    return done;
}
