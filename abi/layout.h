/* layout.h: the tables of abi/ turned into numbers and structs that the library compiles in.
 * Tools do not use this file: they decode the descriptors (segment.h). */
#ifndef HAK_ABI_LAYOUT_H
#define HAK_ABI_LAYOUT_H

#include <stddef.h>
#include "segment.h"

/* Bins: HAK_BINS of blocks, then a row each for the large and the huge tier. */
enum {
#define BIN(size, cls, slabs, fc) HAK_BIN_##size,
#include "sizes.def"
#undef BIN
    HAK_BINS,
    HAK_ROW_LARGE = HAK_BINS,
    HAK_ROW_HUGE,
    HAK_ROWS
};

enum {
#define KNOB(id, ...) HAK_KNOB_##id,
#include "knobs.def"
#undef KNOB
    HAK_KNOBS
};

/* Knob values as a plain struct, in the order of the table: values[i] is knob i. */
union hak_knobs {
    struct {
#define KNOB(id, ...) uint64_t id;
#include "knobs.def"
#undef KNOB
    };
    uint64_t values[HAK_KNOBS];
};

struct hak_sample {
#define SAMPLE_STAT(id, ...) uint64_t id;
#include "stats.def"
#undef SAMPLE_STAT
};

struct hak_walk {
#define WALK_STAT(id, ...) uint64_t id;
#include "stats.def"
#undef WALK_STAT
};

/* What a thread counts of a bin: the first cache line is for the hot paths.  Rows are as far apart as the
 * bins of a heap, and further than they are long; what is free is for more counters. */
#define HAK_ROW_BYTES 448
struct hak_row {
    union {
        struct {
#define BIN_STAT(id, ...) uint64_t id;
#include "stats.def"
#undef BIN_STAT
            struct hak_sample sample;
            struct hak_walk walk;
        };
        char stride[HAK_ROW_BYTES];
    };
} __attribute__((aligned(64)));

struct hak_thread_stats {
#define THREAD_STAT(id, ...) uint64_t id;
#include "stats.def"
#undef THREAD_STAT
};

struct hak_hists {
#define HIST(id, ...) uint64_t id[HAK_HIST_BUCKETS];
#include "stats.def"
#undef HIST
};
enum {
#define HIST(id, ...) HAK_HIST_##id,
#include "stats.def"
#undef HIST
    HAK_HISTS
};

struct hak_globals {
#define GLOBAL_STAT(id, ...) uint64_t id;
#include "stats.def"
#undef GLOBAL_STAT
};

/* A whole slot.  The row of a bin is at a constant distance from the bin's caches (lib/front/heap.h). */
struct hak_slot_full {
    struct hak_slot         head;
    struct hak_thread_stats thread;
    struct hak_hists        hist;
    struct hak_row          row[HAK_ROWS];
};

struct hak_state_full {
    struct hak_state   state;
    struct hak_globals global;
    uint64_t           inherited[HAK_ROWS];
};

_Static_assert(HAK_KNOBS <= HAK_VALUES_MAX, "more knobs than the value arrays hold");
_Static_assert(sizeof(struct hak_row) == HAK_ROW_BYTES, "a row has a fixed stride");
_Static_assert(sizeof(struct hak_slot) == 64, "the slot's head is a cache line");

#endif
