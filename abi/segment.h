/* segment.h: the shared-memory segment, as bytes that cross a process boundary.
 *
 * One segment a process, POSIX shared memory "/hakmem.<pid>.<starttime>".  All positions in it
 * are offsets from its first byte; there is no address in it.  It describes itself: the header
 * locates tables of descriptors, and a descriptor names, explains and locates one value.  A tool
 * decodes descriptors and never these structs' knob or counter order, so that a tool of one
 * version reads a library of another; what a tool may rely on for a given abi_major is the layout
 * of struct hak_seg_header, the descriptors, struct hak_control, struct hak_state and the fixed
 * head of struct hak_slot.
 *
 *      +--------------------+ 0
 *      | header             | written once; `ready` is stored last (release)
 *      | descriptors        |
 *      +--------------------+ state_off      (page aligned)
 *      | state page(s)      | the truth: written by the library alone
 *      +--------------------+ control_off    (page aligned)
 *      | control page       | requests, of tools and of hak_set; the library maps it read-only
 *      +--------------------+ trace_off      (page aligned)
 *      | trace ring         | made when trace.ring is first on
 *      +--------------------+ map_off        (page aligned)
 *      | map of SuperSlabs  | a cell a slab; below state.map_used there is memory behind it
 *      +--------------------+ slots_off      (page aligned)
 *      | slot 0, slot 1 ... | one a thread heap; below state.slots_used some may be holes: lseek tells
 *      +--------------------+ total_size
 *
 * Nothing read from here is ever trusted by the library, and nothing should be by a tool: check
 * every offset and count against the size of the file.
 *
 * Who writes what, and how it is read:
 *   counters      owner thread, plain aligned 8-byte stores; read relaxed, each exact by itself
 *   map           a slab's owner, plain aligned 2-byte stores, each cell by itself
 *   state values  library under its own lock, inside state.seq (odd while writing); retry, bounded
 *   control       one writer at a time, under an fcntl OFD write lock on the whole file
 */
#ifndef HAK_ABI_SEGMENT_H
#define HAK_ABI_SEGMENT_H

#include <stdint.h>

#define HAK_SEG_MAGIC      "HAKMEMSG"       /* 8 bytes, no NUL */
#define HAK_ABI_MAJOR      1                /* a reader refuses another one */
#define HAK_ABI_MINOR      3
#define HAK_SEG_PREFIX     "hakmem."        /* file name in /dev/shm: hakmem.<pid>.<starttime>[.<n>] */

#define HAK_NAME_MAX       40
#define HAK_ENV_MAX        48
#define HAK_UNIT_MAX       16
#define HAK_HELP_MAX       224
#define HAK_VALUES_MAX     96               /* room for knobs in the value arrays */
#define HAK_HIST_BUCKETS   32               /* bucket i: 2^i <= ns < 2^(i+1); 0 counts 0 and 1; last open */
#define HAK_TRACE_RECORDS  4096
#define HAK_MAP_SLABS      128              /* most slabs of a SuperSlab; today that many */
#define HAK_MAP_SUPERSLABS 4096             /* most that have cells */
#define HAK_TICK_FREES     2048             /* a thread looks for requests at least once in so many frees */

/* What the tables say, as enums.  In the struct these are uint32_t. */
enum hak_knob_type    { HAK_BOOL, HAK_UINT, HAK_MASK, HAK_OCTAL };
enum hak_knob_context { HAK_LIVE, HAK_STARTUP };
enum hak_stat_kind    { HAK_COUNTER, HAK_GAUGE, HAK_PEAK };

/* Where a counter is: the base that its offset is added to.
 *   GLOBAL  header.state_off
 *   THREAD  the slot
 *   BIN     the slot, + bin * stride
 *   HIST    the slot; HAK_HIST_BUCKETS counters of 8 bytes
 *   WALK    the slot, + bin * stride; valid where slot.walk_seq says so */
enum hak_stat_scope   { HAK_SCOPE_GLOBAL, HAK_SCOPE_THREAD, HAK_SCOPE_BIN, HAK_SCOPE_HIST, HAK_SCOPE_WALK };

/* State of a process (state.process_state) and of a slot (slot.state). */
enum hak_process_state { HAK_PROC_STARTING, HAK_PROC_RUNNING, HAK_PROC_EXITED };
enum hak_slot_state    { HAK_SLOT_FREE, HAK_SLOT_LIVE, HAK_SLOT_ENDED };

/* Where a knob's value in force came from (state.origin). */
enum hak_origin        { HAK_FROM_DEFAULT, HAK_FROM_CONF, HAK_FROM_ENV, HAK_FROM_CONTROL, HAK_FROM_API,
                         HAK_FROM_REVERT };
/* Why a generation was refused (state.refused_reason). */
enum hak_refusal       { HAK_REFUSED_NOT, HAK_REFUSED_RANGE, HAK_REFUSED_STARTUP, HAK_REFUSED_TORN };

/* A cell of the map: what a slab is in its low byte, in its high byte how full it is.  In use by bin b:
 * HAK_CELL_BIN + b; every slab of a run says the same.  Full: 0, where it has not been looked at since
 * the run was taken, to 255; a thread looks at its own runs when it walks its state. */
enum hak_cell          { HAK_CELL_NONE, HAK_CELL_FREE, HAK_CELL_LRU, HAK_CELL_BIN = 16 };

/* Class numbers: 0..7 are C0..C7. */
enum { HAK_CLASS_MID = 8, HAK_CLASS_LARGE, HAK_CLASS_HUGE, HAK_CLASSES };

struct hak_knob_desc {
    char     name[HAK_NAME_MAX];            /* all strings NUL-terminated */
    char     env[HAK_ENV_MAX];
    char     alias[HAK_ENV_MAX];            /* "" where there is none */
    char     unit[HAK_UNIT_MAX];
    char     help[HAK_HELP_MAX];
    uint32_t type, context;                 /* enum hak_knob_type, enum hak_knob_context */
    uint32_t index;                         /* in control.values[] and state.values[]; < HAK_VALUES_MAX */
    uint32_t pad;
    uint64_t min, max, def;
};

struct hak_stat_desc {
    char     name[HAK_NAME_MAX];
    char     unit[HAK_UNIT_MAX];
    char     help[HAK_HELP_MAX];
    uint32_t scope, kind;                   /* enum hak_stat_scope, enum hak_stat_kind */
    uint32_t offset;                        /* from the scope's base */
    uint32_t stride;                        /* BIN and WALK: bytes from one bin to the next; else 0 */
};

/* One a bin; the last two are the large and the huge tier as a whole. */
struct hak_bin_desc {
    uint32_t size;                          /* bytes of a block; 0 for large and huge */
    uint32_t cls;                           /* class number */
};

struct hak_class_desc {
    char     name[8];                       /* "C0".."C7", "mid", "large", "huge" */
    uint64_t size_max;                      /* largest request; 0 for huge: no bound */
};

struct hak_seg_header {
    char     magic[8];
    uint16_t abi_major, abi_minor;
    uint32_t header_size;                   /* bytes of this struct */
    uint64_t total_size;                    /* of the file */
    uint32_t ready;                         /* 1 once all of the above and below is there (release) */
    uint32_t flags;                         /* 1: counters compiled out (--disable-stats) */
    int32_t  pid;                           /* in its own pid namespace */
    uint32_t page_size;
    uint64_t pid_ns;                        /* inode of /proc/self/ns/pid */
    uint64_t start_time;                    /* field 22 of /proc/self/stat, clock ticks since boot */
    uint64_t born_ns;                       /* CLOCK_BOOTTIME when the segment was made */
    char     boot_id[40];
    char     version[24];                   /* of the library */
    uint32_t knob_off,  knob_count,  knob_size;     /* tables: offset, rows, bytes of a row */
    uint32_t stat_off,  stat_count,  stat_size;
    uint32_t bin_off,   bin_count,   bin_size;
    uint32_t class_off, class_count, class_size;
    uint32_t state_off,   state_size;
    uint32_t control_off, control_size;
    uint32_t trace_off,   trace_size;
    uint32_t slots_off, slot_stride, slots_max;
    uint32_t inherited_off;                 /* from state_off: uint64_t[bin_count], blocks live at fork */
    /* From minor 1 on; where header_size ends before, there is no map. */
    uint32_t map_off, map_count, map_size;  /* SuperSlabs there is room for, bytes of the cells of one: two a slab */
    uint32_t pad;
};

/* Who wrote a request.
 *
 * revert_ns: CLOCK_BOOTTIME after which the library puts back, by itself and at its first tick, the
 * values that this generation replaced; 0: never.  A later generation without one cancels it; one
 * that has its own takes it over: what is put back then is what the first of them replaced.  One of
 * the process itself (hak_set) leaves it pending, and what that set stays. */
struct hak_writer {
    int32_t  pid;  uint32_t uid;
    uint64_t ns;                            /* CLOCK_REALTIME */
    uint64_t revert_ns;
};

/* One of the two value arrays is in force or was last asked for; the low bit of the generation
 * selects it.  To set: take the OFD lock; copy the base to values[~g & 1]; edit that; fill in
 * writer[~g & 1]; store generation g + 1 (release).  The base is state.values where
 * state.examined == g (what was refused or has been reverted is gone), else values[g & 1], a
 * request that no thread has looked at yet.  In generation 0, values[0] holds the values at start.
 * Only what differs from the values in force is a change.  tests/model/generation.pml shows that
 * nobody takes a mixture of two requests, whenever a tool dies. */
struct hak_control {
    uint64_t generation;
    uint64_t values[2][HAK_VALUES_MAX];
    struct hak_writer writer[2];            /* as values: a pending request keeps its own */
    uint64_t purge;                         /* a change asks for a purge; done by the next tick */
    uint64_t walk;                          /* a change asks every thread to walk its state */
};

struct hak_origin_rec {
    uint32_t from;                          /* enum hak_origin */
    int32_t  pid;  uint32_t uid;  uint32_t pad;
    uint64_t ns;                            /* CLOCK_REALTIME of the change; 0 for default, conf, ENV */
};

struct hak_state {
    uint32_t seq;                           /* odd while the library writes from here to `global` */
    uint32_t process_state;                 /* enum hak_process_state */
    char     comm[16];
    uint64_t generation;                    /* the last accepted */
    uint64_t examined;                      /* the last looked at: accepted or refused */
    uint64_t epoch;                         /* number of the value table in force: grows with every
                                             * accepted generation, and with reverts */
    uint64_t refused;                       /* the last refused generation; 0: none ever */
    uint32_t refused_reason, refused_knob;  /* enum hak_refusal; index of the offending knob */
    uint64_t refused_value;
    uint64_t purge_done;                    /* control.purge as of the last purge carried out */
    uint64_t purged_bytes;                  /* what that purge gave back */
    uint64_t revert_ns;                     /* pending revert, as in control; 0: none */
    uint32_t slots_used;                    /* only slots [0, slots_used) need a look, and of these only those
                                             * with memory behind them: the others are being made, or there
                                             * was none to be had */
    uint32_t trace_on;
    uint64_t trace_next;                    /* records ever written; record i is at i % HAK_TRACE_RECORDS */
    uint64_t values[HAK_VALUES_MAX];
    struct hak_origin_rec origin[HAK_VALUES_MAX];
    uint64_t map_used;                      /* SuperSlabs ever on the map: only [0, map_used) need a look;
                                             * from minor 1 on */
    /* then the GLOBAL counters and the inherited row, located by descriptors */
};

/* Fixed head of a slot.  The rest is located by descriptors of scope THREAD, BIN, HIST and WALK. */
struct hak_slot {
    uint32_t state;                         /* enum hak_slot_state */
    int32_t  tid;                           /* in the process's own pid namespace; 0 once ended */
    uint64_t applied;                       /* generation this thread works by (release) */
    uint64_t started_ns;                    /* CLOCK_BOOTTIME when this thread took the slot */
    uint32_t walk_seq;                      /* odd while a walk is being written */
    uint32_t pad;
    uint64_t walk;                          /* control.walk that the walk below answers */
    uint64_t epoch;                         /* state.epoch this thread works by */
    uint64_t pad2[2];
};

/* What happened, when: a record of the trace ring.  Written whole; `order` last (release), as
 * 1 + its number, so that a reader tells a record overwritten while it read. */
enum hak_trace_kind {
    HAK_TRACE_NONE, HAK_TRACE_REFILL, HAK_TRACE_SLL_PUSH, HAK_TRACE_SLL_DRAIN, HAK_TRACE_REMOTE_DRAIN,
    HAK_TRACE_SS_ACQUIRE, HAK_TRACE_SS_RELEASE, HAK_TRACE_OS_MAP, HAK_TRACE_OS_UNMAP, HAK_TRACE_OS_PURGE,
    HAK_TRACE_KNOB_APPLY, HAK_TRACE_THREAD_START, HAK_TRACE_THREAD_EXIT, HAK_TRACE_LOCK_WAIT,
    HAK_TRACE_KINDS
};
struct hak_trace_record {
    uint64_t order;
    uint64_t ns;                            /* CLOCK_MONOTONIC */
    int32_t  tid;
    uint16_t kind;                          /* enum hak_trace_kind */
    uint16_t bin;                           /* or 0xFFFF */
    uint64_t arg;                           /* blocks or bytes */
};

#endif
