/* screen_events.c: the trace ring, newest first. */
#include <inttypes.h>

#include "hakstat/screens.h"

enum { TIME, TID, KIND, CLASS, SIZE, ARG };

static const struct column columns[] = {
    [TIME]  = { "monotonic_s", "TIME, S", 16, 0, U_TEXT },
    [TID]   = { "tid", "TID", 8, 0, U_TEXT },
    [KIND]  = { "kind", "EVENT", 18, 0, U_TEXT },
    [CLASS] = { "class", "CLASS", 5, 0, U_TEXT },
    [SIZE]  = { "size", "SIZE", 7, 0, U_BYTES },
    [ARG]   = { "arg", "BLOCKS OR BYTES", 15, 0, U_COUNT },
};

static void add(const struct span *span, struct table *table, const struct hak_trace_record *event)
{
    struct row *row = table_add(table, event->order);
    const struct shm_seg *seg = span->seg;

    row->cell[TIME].text = table_text(table, "%" PRIu64 ".%06u", event->ns / 1000000000,
                                      (unsigned)(event->ns / 1000 % 1000000));
    row->cell[TID].text = table_text(table, "%" PRId32, event->tid);
    row->cell[KIND].text = shm_trace_name(event->kind);
    if (event->bin < seg->bin_count) {
        const struct hak_bin_desc *bin = &seg->bins[event->bin];

        row->cell[SIZE].number = bin->size;
        if (bin->cls < seg->class_count)
            row->cell[CLASS].text = seg->classes[bin->cls].name;
    }
    row->cell[ARG].number = (double)event->arg;
}

static void fill(const struct span *span, struct table *table)
{
    for (size_t i = span->event_count; i-- > 0;)
        add(span, table, &span->events[i]);
}

static const char *empty(const struct span *span)
{
    return span->to->state.trace_on != 0
        ? "No slow-path event yet."
        : "The trace ring is off. Set trace.ring to 1 on the knobs screen (4) to record events.";
}

const struct screen screen_events = {
    .name = "events", COLUMNS(columns), .fill = fill, .empty = empty, .needs_process = true,
    .newest_first = true,
};
