/* internal.h: what the files of the control layer share.
 *
 *   knobs.c     the table of knobs; their values at start, from HAKMEM_CONF and the ENV
 *   birth.c     makes the segment's file: name, lock, size, memory behind it
 *   segment.c   the mapping, and where everything in it is
 *   slots.c     gives out the slots
 *   sweep.c     removes dead segments
 *   describe.c  header and descriptors
 *   tick.c      the table of values in force: requests, validation, reverts, the state page
 *   inside.c    requests of the process itself
 *   trace.c     the trace ring
 *   map.c       the map of SuperSlabs
 *   report.c    the statistics at exit
 *   control.c   start, fork and exit: the above in their order
 */
#ifndef HAK_CONTROL_INTERNAL_H
#define HAK_CONTROL_INTERNAL_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/hooks.h"
#include "lib/control/control.h"

/* ---- The kernel, without libc's wrappers: those of open, read, write and close are cancellation
 * points, and programs interpose them. ---- */

hak_inline int sys_open(const char *path, int flags, int mode)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

hak_inline ssize_t sys_read(int fd, void *to, size_t bytes)
{
    return (ssize_t)syscall(SYS_read, fd, to, bytes);
}

hak_inline void sys_close(int fd)
{
    syscall(SYS_close, fd);
}

hak_inline int sys_getpid(void)
{
    return (int)syscall(SYS_getpid);
}

hak_inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec t = { 0 };

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Words that another thread or process reads or writes at any time.  TSan knows nothing of
 * fences, so order is in the accesses: `get`s see `put`s in the order they were made. ---- */

#define get(word)        __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define put(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

/* ---- knobs.c ---- */

extern const struct hak_knob_desc knob_table[HAK_KNOBS];     /* `env` is left empty */

/* ENV name of a knob: "HAKMEM_TINY_HEAP_V2_ENABLE". */
void knob_env(unsigned knob, char name[HAK_ENV_MAX]);
bool knob_valid(unsigned knob, uint64_t value);

/* Values and origins at start.  Returns how many given values were refused. */
unsigned knobs_at_start(union hak_knobs *knobs, struct hak_origin_rec *origin);

/* ---- segment.c, birth.c, sweep.c ---- */

struct layout {
    size_t state, control, trace, map, superslabs, slots, stride, slots_max;
    size_t total, mapped;               /* the file; the part of it that is always mapped */
};

/* Who the process is; part of the segment's name and header. */
struct identity {
    int32_t  pid;
    uint64_t start_time, pid_ns;
    char     boot_id[40];
};

struct segment {
    char *base;                         /* NULL: private since the start */
    bool shared;                        /* false: `base` is private memory, or NULL */
    struct layout at;
    struct hak_state_full *state;       /* never NULL, wherever they are */
    const struct hak_control *control;
    struct hak_trace_record *trace;     /* NULL while there is no segment; so is: */
    uint16_t (*map)[HAK_MAP_SLABS];
    struct identity self;
    uint64_t dev, ino;
    char path[64];
};
extern struct segment seg;

/* Makes the segment, or private pages in its place: at start, and in the child of a fork, where the
 * parent's mapping is gone and its address is used again.  Returns NULL, or why there is no
 * segment. */
const char *seg_make(const union hak_knobs *knobs);
void seg_ready(void);                   /* the state page is filled in: tools may look */

/* Puts memory behind a part of the segment that is mapped at p.  False: there is none to be had. */
bool seg_back(char *p, size_t bytes, size_t offset);

/* Whether seg.path still is the name of our file. */
bool seg_named(void);

/* The file again, by its name; -1 with errno: it can't be opened, or the name is another file's. */
int seg_reopen(void);

/* A new file of so many bytes, a hole; locked, and above descriptor 2.  Fills in seg.path, dev and
 * ino.  -1: *why. */
int birth(const struct identity *self, size_t bytes, unsigned mode, const char **why);

/* The same file behind a descriptor above 2: those up to it may be closed, and the program may mean
 * them to stay so.  -1: there is none. */
int above_stderr(int fd);

/* Removes dead segments, now and then. */
void sweep(const struct identity *self);

/* ---- slots.c ---- */

#define SLOTS_MOST  16384
#define CHUNK_SLOTS 32                  /* mapped together; the first of them with the rest of the segment */

void slots_forget(void);                /* all of them: before seg_make makes another segment */
void slots_start(char *first);          /* where the first chunk is mapped */

/* Every slot there is, also those that nobody outside can see. */
void slots_each(void (*look)(const struct hak_slot_full *slot, void *arg), void *arg);

/* ---- describe.c ---- */

size_t describe_size(void);             /* of header and descriptors */
void describe(char *base, const struct layout *at, const struct identity *self);

/* ---- tick.c ---- */

unsigned tick_start(void);              /* values at start; returns those refused */
void tick_child(void);
void tick_publish_all(void);            /* the whole state page, before anybody reads it */
const union hak_knobs *tick_knobs(void);/* at start and in a fork's child only */
bool tick(struct hak_orders *orders);
void tick_purged(uint64_t request, uint64_t bytes);

/* Puts changes in force, all or none, as control_set does, and where `page` is not NULL as the next
 * request in it: the control page, for whose writers the caller holds the lock. */
int tick_set(const struct control_change *changes, size_t count, struct hak_control *page);
#define BUSY_TRIES 3000                 /* os_pause between them: a quarter of a second or so */

/* ---- map.c, trace.c, report.c ---- */

hak_map_fn map_cells;
void map_child(void);

void trace_switch(bool on);
void trace_child(void);
void report_print(void);

#endif
