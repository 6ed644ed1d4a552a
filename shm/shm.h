/* shm.h: what the tools share: find processes under libhakmem, attach to a segment, decode it,
 * take snapshots, write requests, check the conservation laws.
 *
 *   shm_find ──> struct shm_proc ──> shm_attach ──> struct shm_seg ──> shm_snapshot
 *                                                        │               └─> sums, values, threads
 *                                                        └─> shm_set, shm_purge, shm_check
 *
 * Nothing in a segment is trusted.  Header and descriptors are copied out once, at attach, and
 * every offset and count in them is checked against the size of the file there; a snapshot is a
 * private copy.  A segment that is truncated under a reader gives an error, not a SIGBUS (this
 * library owns that signal's handler).
 *
 * Not thread-safe: a tool calls it from one thread.  Errors: a function that can fail returns 0 or
 * the exit code that a tool should end with (SHM_E...), and says why in *err; the text names
 * neither tool nor pid, so that a tool prints "hakctl: pid 123: " before it.
 */
#ifndef HAK_SHM_H
#define HAK_SHM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/segment.h"

/* Exit codes of the tools, and the results of these functions. */
enum shm_code {
    SHM_OK,
    SHM_EIO,            /* target or I/O error, broken law */
    SHM_EUSAGE,         /* usage; several candidates */
    SHM_EGONE,          /* no such process, dead, or not under libhakmem */
    SHM_EPERM,          /* permission */
    SHM_EREFUSED,       /* unknown name, bad value, startup knob, refused; nothing changed */
    SHM_EBUSY,          /* a busy thread has not applied it in time */
    SHM_EABI,           /* segment of another ABI */
};

struct shm_error {
    enum shm_code code;
    char text[400];
};

/* Fills *err (NULL is fine) and returns code. */
int shm_fail(struct shm_error *err, enum shm_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Where a SIGBUS has nothing to do with a segment, this is called, as a signal handler, before it ends
 * the process: for who has a terminal to restore.  NULL: nothing to do. */
extern void (*shm_fault)(int sig);

/* ---- Finding ------------------------------------------------------------------------------- */

/* A segment found on this machine. */
struct shm_proc {
    int      pid;           /* in the reader's pid namespace; 0: it runs and has none there; of the
                             * dead, the one they had in theirs */
    int      ns_pid;        /* as the process itself sees it */
    bool     live;          /* its process runs (lock held, pid and start time fit) */
    uid_t    uid;           /* owner of the file */
    uint64_t pid_ns;
    uint64_t start_time;    /* clock ticks since boot */
    uint64_t born_ns;       /* CLOCK_BOOTTIME */
    char     comm[16];      /* printable; of the process, or as the segment last knew it */
    int      via_pid;       /* the file is in this process's /dev/shm; 0: in our own */
    char     file[64];      /* its name there */
    dev_t    dev;           /* the file as it was found: attach refuses another one */
    ino_t    ino;
    struct shm_error err;   /* err.code != 0: found, but it can't be read (permission, ABI, damage) */
};

/* Every segment of our own /dev/shm and of those of processes in other mount namespaces, live ones
 * first, then by pid.  *list is from malloc (NULL when there are none); the caller frees it. */
int shm_find(struct shm_proc **list, size_t *count, struct shm_error *err);

/* The same of our own /dev/shm alone, without a look at processes that have no segment there: live ones of other
 * pid namespaces have no pid. */
int shm_find_own(struct shm_proc **list, size_t *count, struct shm_error *err);

/* Whether a process sees our /dev/shm; false also where that is not ours to know.  Without /proc: true. */
bool shm_sees_ours(int pid);

/* How a running process knows itself: its innermost pid namespace, and its pid there.  False: it isn't
 * there, or not ours to know. */
bool shm_innermost(int pid, uint64_t *pid_ns, int *ns_pid);

/* Which processes a tool is to work on. */
struct shm_target {
    int         pid;        /* 0: any */
    const char *comm;       /* glob on the process name; NULL: any */
    bool        all;        /* several are welcome */
    bool        dead_too;   /* with a pid: its dead segment will do where it doesn't run */
};

/* The processes that *target names: at least one, and exactly one unless target->all.  Those that
 * the caller may not read are left out where there are others, and those without a pid always.
 * SHM_EGONE: there is none, and how to start one; SHM_EUSAGE: there are several, which the text lists.
 * *list is from malloc. */
int shm_targets(const struct shm_target *target, struct shm_proc **list, size_t *count,
                struct shm_error *err);

/* Removes dead segments that the caller may remove (its own; all for root), but for the `keep`
 * newest.  Re-checks lock, inode and pid of each before it unlinks.  dry_run: removes nothing.
 * Calls removed(proc, ctx) for each (may be NULL).  Returns how many. */
size_t shm_gc(size_t keep, bool dry_run,
              void (*removed)(const struct shm_proc *, void *ctx), void *ctx);

/* What every tool does at its start: drops its own uid's dead segments in /dev/shm beyond the
 * newest 16. */
void shm_gc_at_start(void);

/* ---- Attaching and descriptors ------------------------------------------------------------- */

/* Words of a slot, in rows of neighbours that lie in one cache line; a place is its offset in bytes over 8. */
struct shm_words {
    struct shm_row { uint32_t at, count; } *row;        /* ascending */
    unsigned count;
};

struct shm_seg {
    struct shm_proc        proc;
    struct hak_seg_header  header;                      /* our copy, checked; map_count 0: no map */
    struct hak_knob_desc  *knobs;    unsigned knob_count;    /* copies; all strings end */
    struct hak_stat_desc  *stats;    unsigned stat_count;    /* only those that can be used */
    struct hak_bin_desc   *bins;     unsigned bin_count;     /* at most 1024 */
    struct hak_class_desc *classes;  unsigned class_count;   /* at most 64 */
    /* For the sums, looked up once: the call counters in the order of struct shm_sums, the bytes of
     * the tiers without a block size, and those of sampled requests and their blocks.  NULL: this
     * library version has none. */
    const struct hak_stat_desc *calls[8], *bytes[4], *samples[2], *ticks;
    /* Every word of a slot that has a name, in the order in which they are read. */
    struct shm_words walks, others, frees, allocs;
    int      fd;
    bool     writable;          /* its file may be opened for writing */
    const uint8_t *map;         /* the whole file, read-only; only shm/ looks at it */
    size_t   map_size;
    struct hak_control *control;/* mapped for writing by the first request */
};

/* Opens what shm_find found.  On success *seg is the caller's, until shm_detach. */
int  shm_attach(const struct shm_proc *proc, struct shm_seg **seg, struct shm_error *err);

/* The same for a copy of a segment that a tool has made itself (a recording): the descriptor of
 * a file, which belongs to the segment from here on, also on an error. */
int  shm_attach_copy(const struct shm_proc *proc, int fd, struct shm_seg **seg,
                     struct shm_error *err);

void shm_detach(struct shm_seg *seg);   /* NULL is fine */

/* Whether the process still runs: a system call or two, for tools that look repeatedly. */
bool shm_alive(const struct shm_seg *seg);

/* By name; NULL where the segment has none of that name.  A knob is found by its canonical name
 * alone. */
const struct hak_knob_desc *shm_knob(const struct shm_seg *seg, const char *name);
const struct hak_stat_desc *shm_stat(const struct shm_seg *seg, enum hak_stat_scope scope,
                                     const char *name);

/* A knob's value as people write it: 0x1F for a mask, 0640 for octal.  Returns buf. */
#define SHM_VALUE_MAX 24
const char *shm_value_text(const struct hak_knob_desc *knob, uint64_t value,
                           char buf[SHM_VALUE_MAX]);

/* Reads a value and checks it against the knob's range: SHM_OK or SHM_EREFUSED with the text
 * "NAME: VALUE out of range [MIN, MAX]", "... is not a number" (for a bool "... is neither 0 nor 1") or "... has bits that MAX has not"
 * (a mode between 0600 and 0640). */
int shm_value_parse(const struct hak_knob_desc *knob, const char *text, uint64_t *value,
                    struct shm_error *err);

/* Where a knob's value came from (enum hak_origin), in the word that all tools use; "?" for one that a later
 * library has. */
const char *shm_origin_name(uint32_t from);

/* The name nearest to a mistyped one, or NULL where none is near; name(i, ctx) gives the i-th
 * candidate, NULL after the last. */
const char *shm_nearest(const char *typed, const char *(*name)(size_t i, const void *ctx),
                        const void *ctx);

/* ---- Snapshots ----------------------------------------------------------------------------- */

#define SHM_ALL UINT32_MAX      /* in place of a slot: all slots together */

struct shm_run { unsigned from, to; };      /* slots [from, to) */

/* A private copy of state and slots, taken at one time.  Frees were read before allocations, so
 * that blocks live never come out negative. */
struct shm_snap {
    const struct shm_seg *seg;
    uint64_t time_ns;           /* CLOCK_REALTIME when taken */
    uint64_t boot_ns;           /* CLOCK_BOOTTIME when taken */
    bool     exact;             /* false: threads_uncounted, counters compiled out, or a torn read */
    bool     torn;              /* the state page kept changing, or its writer died in the middle */
    unsigned slot_count;        /* slots ever used; each is one thread after another, or 0 all over if it has no
                                 * memory (yet) */
    unsigned threads;           /* slots that belong to a live thread */
    struct hak_state state;     /* process_state, generation, values[], origin[], ... */
    uint8_t *state_bytes;       /* whole state area */
    uint8_t *slot_bytes;        /* the head of each slot and what `stats` has of it, 0 elsewhere; sums_only: heads */
    uint64_t *slot_sums;        /* a slot's words, each the sum of all slots */
    struct shm_run *runs;       /* those slots that have memory, */
    unsigned run_count, slots_found;    /* runs and slots */
    size_t   slot_step;         /* from one slot to the next in slot_bytes */
    bool     sums_only;
};

int  shm_snapshot(const struct shm_seg *seg, struct shm_snap **snap, struct shm_error *err);

/* The same for those who want SHM_ALL only, and no walk: of a single slot it has the head, whose walk_seq
 * says nothing, and its counters are 0, as are all figures of scope HAK_SCOPE_WALK.  With many threads that is
 * much less to read. */
int  shm_snapshot_sums(const struct shm_seg *seg, struct shm_snap **snap, struct shm_error *err);
void shm_snap_free(struct shm_snap *snap);      /* NULL is fine */

const struct hak_slot *shm_slot(const struct shm_snap *snap, unsigned slot);

/* One value.  `slot` may be SHM_ALL: the sum.  stat == NULL (a counter that this library version
 * does not have) and a wrong scope give 0. */
uint64_t shm_global(const struct shm_snap *snap, const struct hak_stat_desc *stat);
uint64_t shm_thread(const struct shm_snap *snap, unsigned slot, const struct hak_stat_desc *stat);
uint64_t shm_bin(const struct shm_snap *snap, unsigned slot, const struct hak_stat_desc *stat,
                 unsigned bin);         /* BIN and WALK */
void     shm_hist(const struct shm_snap *snap, unsigned slot, const struct hak_stat_desc *stat,
                  uint64_t buckets[HAK_HIST_BUCKETS]);

/* Any counter of scope GLOBAL, THREAD or BIN summed over everything: what `stats` lists. */
uint64_t shm_total(const struct shm_snap *snap, const struct hak_stat_desc *stat);

/* Calls counted in one bin, class or everything.  allocs and frees are the sums of their parts, so
 * no part is ever larger than its whole. */
struct shm_sums {
    uint64_t allocs;            /* heap_v2_hits + fast_cache_hits + slow_allocs */
    uint64_t frees;             /* heap_v2_pushes + fast_cache_pushes + slow_frees + remote_frees */
    union {
        struct {
            uint64_t heap_v2_hits, fast_cache_hits, slow_allocs;
            uint64_t heap_v2_pushes, fast_cache_pushes, slow_frees, remote_frees;
            uint64_t realloc_in_place;
        };
        uint64_t calls[8];      /* the same, to go through */
    };
    uint64_t inherited;         /* blocks live at fork; 0 for a single slot */
    uint64_t live;              /* inherited + allocs - frees, at least 0; for a single slot it
                                 * means little: other threads may free what it allocated */
    uint64_t live_bytes;        /* in blocks' sizes */
    uint64_t waste_bytes;       /* of these, what nobody asked for: an estimate from sampled requests */
    uint64_t sampled_bytes;     /* bytes of the blocks those got; 0: none, nothing is known */
};
void shm_sum_bin(const struct shm_snap *snap, unsigned slot, unsigned bin, struct shm_sums *sums);
void shm_sum_class(const struct shm_snap *snap, unsigned slot, unsigned cls, struct shm_sums *sums);
void shm_sum_all(const struct shm_snap *snap, unsigned slot, struct shm_sums *sums);

/* Calls the thread of a slot has made so far (and ticks): a figure that differs from an earlier
 * one where the thread has moved. */
uint64_t shm_moves(const struct shm_snap *snap, unsigned slot);

/* Copies the newest records of the trace ring, at most `most`, oldest first; leaves out those that
 * were overwritten meanwhile.  Returns how many. */
size_t shm_trace(const struct shm_seg *seg, struct hak_trace_record *records, size_t most);

/* What a kind of record (enum hak_trace_kind) is called; "?" for one of another version. */
const char *shm_trace_name(unsigned kind);

/* What each slab of a SuperSlab is: a cell (enum hak_cell).  Libraries differ in how many slabs they cut one into
 * (shm_map_slabs, 0: there is no map); the cells beyond are HAK_CELL_NONE. */
struct shm_superslab {
    _Alignas(8) uint16_t cell[HAK_MAP_SLABS];
};

size_t shm_map_slabs(const struct shm_seg *seg);

/* Copies the map of SuperSlabs, at most `most` of them.  Returns how many; 0: it has no map.  Those
 * that have been unmapped are empty, and SuperSlabs beyond header.map_count are not on it. */
size_t shm_map(const struct shm_seg *seg, struct shm_superslab *superslabs, size_t most);

/* ---- Requests ------------------------------------------------------------------------------ */

struct shm_change {
    const struct hak_knob_desc *knob;
    uint64_t value;             /* wanted */
    uint64_t old;               /* out: what would be in force without it: a pending request counts */
};

/* How far a request has come. */
struct shm_ack {
    uint64_t generation;
    bool     examined;          /* a thread has looked at it and accepted it */
    unsigned moved;             /* T: live threads that have moved since the request */
    unsigned applied;           /* A: those of T that work by it */
    unsigned idle;              /* live threads that have not moved */
    unsigned frees_left;        /* of a thread that moved and has not applied it: after so many more
                                 * of its frees it has, at the latest; 0: it is late */
};

/* Writes all changes as one generation and waits until every thread that moves has applied it, at
 * most wait_ms (0: does not wait; ack says how it stands).  revert_ms: the library puts the old
 * values back after this time (0: never).
 * ack->generation stays 0 where nothing was written.
 * SHM_EREFUSED: a startup knob or a value the library refused; SHM_EBUSY: written, but a thread
 * that moved has not applied it yet; SHM_EPERM, SHM_EGONE, SHM_EIO (the lock is held for longer
 * than two seconds): nothing written. */
int shm_set(struct shm_seg *seg, struct shm_change *changes, size_t count, unsigned wait_ms,
            unsigned revert_ms, struct shm_ack *ack, struct shm_error *err);
#define SHM_WAIT_MS 2000        /* what the tools wait by default */

/* The values that will be in force when a thread has come to its tick. */
struct shm_wanted {
    uint64_t pending;           /* the generation that no thread has looked at yet; 0: none, all is in force */
    uint64_t values[HAK_VALUES_MAX];
};
int shm_wanted(const struct shm_seg *seg, struct shm_wanted *wanted, struct shm_error *err);

/* The error for a knob that can't be set on a live process. */
int shm_startup_knob(const struct hak_knob_desc *knob, struct shm_error *err);

/* Asks for a purge and waits for it, at most wait_ms.  *done false: every thread was idle, so it is
 * pending until one moves.  *bytes: what it gave back. */
int shm_purge(struct shm_seg *seg, unsigned wait_ms, bool *done, uint64_t *bytes,
              struct shm_error *err);

/* Asks every thread to walk its state, which says how full slabs are on the map, and waits for
 * nothing: neither for the answers nor, where another tool holds it, for the lock. */
int shm_ask_walk(struct shm_seg *seg, struct shm_error *err);

/* ---- Conservation laws --------------------------------------------------------------------- */

enum shm_verdict { SHM_HOLDS, SHM_BROKEN, SHM_NOT_CHECKED };
struct shm_law {
    const char      *name;
    const char      *text;      /* the equation */
    enum shm_verdict verdict;
    unsigned         checked;   /* rows (thread and bin, or bin, or 1) that were compared */
    char             detail[160];   /* of the first broken row, or why it was not checked */
};
#define SHM_LAWS 5

/* Asks every thread of a live process to walk its state, waits for those that move, at most
 * wait_ms, and compares.  Of a dead process, the walks that are there.  Without permission to
 * write, likewise.  0, or SHM_EIO where a law is broken. */
int shm_check(struct shm_seg *seg, unsigned wait_ms, struct shm_law laws[SHM_LAWS],
              struct shm_error *err);

/* ---- Odds and ends ------------------------------------------------------------------------- */

/* The end of a noun after a number: "" after 1, else "s". */
const char *shm_s(uint64_t n);

/* "1.5 MiB" and the like; returns buf. */
const char *shm_bytes_text(uint64_t bytes, char buf[24]);

#endif
