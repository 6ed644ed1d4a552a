/* describe.c: the segment describes itself: its header and the tables of descriptors. */
#include "lib/control/internal.h"

#include <string.h>

#include "lib/base/os.h"
#include "lib/core/sizes.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0.1.0"
#endif

#define STATE_AT(id)  offsetof(struct hak_state_full, global.id)
#define SLOT_AT(part) offsetof(struct hak_slot_full, part)

/* One table of all counters; each kind of row of stats.def fills in what it has. */
#define GLOBAL_STAT(id, name_, kind_, unit_, help_) \
    { name_, unit_, help_, HAK_SCOPE_GLOBAL, HAK_##kind_, STATE_AT(id), 0 },
#define THREAD_STAT(id, name_, unit_, help_) \
    { name_, unit_, help_, HAK_SCOPE_THREAD, HAK_COUNTER, SLOT_AT(thread.id), 0 },
#define BIN_STAT(id, name_, help_) \
    { name_, "", help_, HAK_SCOPE_BIN, HAK_COUNTER, SLOT_AT(row[0].id), sizeof(struct hak_row) },
#define SAMPLE_STAT(id, name_, help_) \
    { name_, "bytes", help_, HAK_SCOPE_BIN, HAK_COUNTER, SLOT_AT(row[0].sample.id), sizeof(struct hak_row) },
#define HIST(id, name_, help_) \
    { name_, "ns", help_, HAK_SCOPE_HIST, HAK_COUNTER, SLOT_AT(hist.id), 0 },
#define WALK_STAT(id, name_, help_) \
    { name_, "", help_, HAK_SCOPE_WALK, HAK_GAUGE, SLOT_AT(row[0].walk.id), sizeof(struct hak_row) },
static const struct hak_stat_desc stat_table[] = {
#include "abi/stats.def"
};
#undef GLOBAL_STAT
#undef THREAD_STAT
#undef BIN_STAT
#undef SAMPLE_STAT
#undef HIST
#undef WALK_STAT

#define FITS(name, unit, help)                                                            \
    _Static_assert(sizeof(name) <= HAK_NAME_MAX && sizeof(unit) <= HAK_UNIT_MAX           \
                   && sizeof(help) <= HAK_HELP_MAX, name ": a string is too long");
#define GLOBAL_STAT(id, name, kind, unit, help) FITS(name, unit, help)
#define THREAD_STAT(id, name, unit, help)       FITS(name, unit, help)
#define BIN_STAT(id, name, help)                FITS(name, "", help)
#define SAMPLE_STAT(id, name, help)             FITS(name, "bytes", help)
#define HIST(id, name, help)                    FITS(name, "ns", help)
#define WALK_STAT(id, name, help)               FITS(name, "", help)
#include "abi/stats.def"
#undef GLOBAL_STAT
#undef THREAD_STAT
#undef BIN_STAT
#undef SAMPLE_STAT
#undef HIST
#undef WALK_STAT

static const struct hak_bin_desc bin_table[HAK_ROWS] = {
#define BIN(size_, cls_, slabs, fc) { size_, cls_ },
#include "abi/sizes.def"
#undef BIN
    { 0, HAK_CLASS_LARGE }, { 0, HAK_CLASS_HUGE }
};

/* size_max of C0 to C7 is that of the largest bin; filled in when copied. */
static const struct hak_class_desc class_table[HAK_CLASSES] = {
    { "C0", 0 }, { "C1", 0 }, { "C2", 0 }, { "C3", 0 }, { "C4", 0 }, { "C5", 0 }, { "C6", 0 },
    { "C7", 0 }, { "mid", MID_MAX }, { "large", LARGE_MAX }, { "huge", 0 }
};

struct tables {
    struct hak_seg_header header;
    struct hak_knob_desc  knobs[HAK_KNOBS];
    struct hak_stat_desc  stats[sizeof stat_table / sizeof stat_table[0]];
    struct hak_bin_desc   bins[HAK_ROWS];
    struct hak_class_desc classes[HAK_CLASSES];
};

size_t describe_size(void)
{
    return sizeof(struct tables);
}

#define LOCATE(h, prefix, field)                                          \
    ((h)->prefix##_off = offsetof(struct tables, field),                  \
     (h)->prefix##_count = sizeof ((struct tables *)0)->field             \
                         / sizeof ((struct tables *)0)->field[0],         \
     (h)->prefix##_size = sizeof ((struct tables *)0)->field[0])

static void fill_header(struct hak_seg_header *h, const struct layout *at,
                        const struct identity *self)
{
    memcpy(h->magic, HAK_SEG_MAGIC, sizeof h->magic);
    h->abi_major = HAK_ABI_MAJOR;
    h->abi_minor = HAK_ABI_MINOR;
    h->header_size = sizeof *h;
    h->total_size = at->total;
#ifdef HAK_NO_STATS
    h->flags = 1;
#endif
    h->pid = self->pid;
    h->page_size = (uint32_t)os_page;
    h->pid_ns = self->pid_ns;
    h->start_time = self->start_time;
    h->born_ns = clock_ns(CLOCK_BOOTTIME);
    memcpy(h->boot_id, self->boot_id, sizeof h->boot_id);
    memcpy(h->version, PACKAGE_VERSION, sizeof PACKAGE_VERSION);
    LOCATE(h, knob, knobs);
    LOCATE(h, stat, stats);
    LOCATE(h, bin, bins);
    LOCATE(h, class, classes);
    h->state_off = (uint32_t)at->state;
    h->state_size = sizeof(struct hak_state_full);
    h->control_off = (uint32_t)at->control;
    h->control_size = sizeof(struct hak_control);
    h->trace_off = (uint32_t)at->trace;
    h->trace_size = HAK_TRACE_RECORDS * sizeof(struct hak_trace_record);
    h->map_off = (uint32_t)at->map;
    h->map_count = (uint32_t)at->superslabs;
    h->map_size = sizeof *seg.map;
    h->slots_off = (uint32_t)at->slots;
    h->slot_stride = (uint32_t)at->stride;
    h->slots_max = (uint32_t)at->slots_max;
    h->inherited_off = offsetof(struct hak_state_full, inherited);
}

void describe(char *base, const struct layout *at, const struct identity *self)
{
    struct tables *t = (struct tables *)base;

    memcpy(t->knobs, knob_table, sizeof t->knobs);
    for (unsigned i = 0; i < HAK_KNOBS; i++)
        knob_env(i, t->knobs[i].env);
    memcpy(t->stats, stat_table, sizeof t->stats);
    memcpy(t->bins, bin_table, sizeof t->bins);
    memcpy(t->classes, class_table, sizeof t->classes);
    for (unsigned i = 0; i < HAK_BINS; i++)
        if (bin_table[i].cls < HAK_CLASS_MID)
            t->classes[bin_table[i].cls].size_max = bin_table[i].size;
    fill_header(&t->header, at, self);
}
