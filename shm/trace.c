/* trace.c: the trace ring, read while it is written. */
#include <string.h>

#include "shm/internal.h"

/* Record `i`, if it is still there and was not overwritten while it was read. */
static bool copy_record(const struct shm_seg *seg, uint64_t i, struct hak_trace_record *record)
{
    const uint8_t *from = seg->map + seg->header.trace_off +
                          i % HAK_TRACE_RECORDS * sizeof *record;
    uint64_t again;

    return shm_copy_out(record, from, sizeof *record) && shm_copy_out(&again, from, 8) &&
           record->order == i + 1 && again == i + 1;
}

/* The ring has memory from the first record on; before, a look at it would be at a hole. */
static uint64_t records_written(const struct shm_seg *seg)
{
    const struct hak_seg_header *h = &seg->header;
    const struct hak_state *state = (const struct hak_state *)(seg->map + h->state_off);
    uint64_t next;

    if (h->trace_off % 8 != 0 || h->trace_off > h->total_size ||
        HAK_TRACE_RECORDS * sizeof(struct hak_trace_record) > h->trace_size ||
        h->trace_size > h->total_size - h->trace_off ||
        !shm_copy_out(&next, &state->trace_next, sizeof next))
        return 0;
    return next;
}

size_t shm_trace(const struct shm_seg *seg, struct hak_trace_record *records, size_t most)
{
    uint64_t next = records_written(seg);
    uint64_t first = next > HAK_TRACE_RECORDS ? next - HAK_TRACE_RECORDS : 0;
    size_t count = 0;

    if (next - first > most)
        first = next - most;
    for (uint64_t i = first; i < next; i++)
        count += copy_record(seg, i, &records[count]);
    return count;
}

const char *shm_trace_name(unsigned kind)
{
    static const char *const names[] = {
        [HAK_TRACE_REFILL] = "refill", [HAK_TRACE_SLL_PUSH] = "sll push",
        [HAK_TRACE_SLL_DRAIN] = "sll drain", [HAK_TRACE_REMOTE_DRAIN] = "remote drain",
        [HAK_TRACE_SS_ACQUIRE] = "superslab acquire", [HAK_TRACE_SS_RELEASE] = "superslab release",
        [HAK_TRACE_OS_MAP] = "os map", [HAK_TRACE_OS_UNMAP] = "os unmap",
        [HAK_TRACE_OS_PURGE] = "os purge", [HAK_TRACE_KNOB_APPLY] = "knob apply",
        [HAK_TRACE_THREAD_START] = "thread start", [HAK_TRACE_THREAD_EXIT] = "thread exit",
        [HAK_TRACE_LOCK_WAIT] = "lock wait",
    };
    _Static_assert(sizeof names / sizeof *names == HAK_TRACE_KINDS, "a name each");

    return kind < HAK_TRACE_KINDS && names[kind] ? names[kind] : "?";
}
