/* screen_probes.c: system calls on memory, futexes and page faults, as the kernel counts them. */
#include <inttypes.h>

#include "hakstat/draw.h"
#include "hakstat/kernel.h"
#include "hakstat/screens.h"

enum { CALL, WHOSE, CALLS, ERRORS, BYTES, P50, P99, LONGEST, UNFINISHED };

static const struct column columns[] = {
    [CALL]       = { "call", "CALL", 18, 0, U_TEXT },
    [WHOSE]      = { "whose", "WHOSE", 9, 0, U_TEXT },
    [CALLS]      = { "calls", "CALLS", 9, 0, U_FLOW },
    [ERRORS]     = { "errors", "ERRORS", 9, 1, U_FLOW },
    [BYTES]      = { "bytes", "BYTES", 7, 1, U_FLOW },
    [P50]        = { "p50_below_ns", "P50 <", 7, 0, U_NS },
    [P99]        = { "p99_below_ns", "P99 <", 7, 0, U_NS },
    [LONGEST]    = { "max_below_ns", "MAX <", 7, 1, U_NS },
    [UNFINISHED] = { "unfinished", "UNFINISHED", 10, 2, U_COUNT },
};

/* The ids of rows: calls, then waits by their addresses, which are even, then losses. */
static uint64_t call_id(int call, int whose)
{
    return (uint64_t)(call * HAKPROBE_WHOSE + whose) * 2 + 1;
}
static uint64_t loss_id(int kind) { return UINT64_MAX - (uint64_t)kind * 2; }

static void put_times(struct row *row, const uint64_t histogram[HAKPROBE_BUCKETS])
{
    row->cell[CALLS].number = (double)probes_sum(histogram);
    row->cell[P50].number = hist_below(histogram, 0.5);
    row->cell[P99].number = hist_below(histogram, 0.99);
    row->cell[LONGEST].number = hist_below(histogram, 1);
    row->dim = probes_sum(histogram) == 0;
}

/* Rows stay once they are there, so that they don't jump. */
static void add_call(struct table *table, const struct probes_process *now,
                     const struct probes_process *span, int call, int whose)
{
    const struct hakprobe_counts *c = &span->counts[call][whose];
    struct row *row;

    if (probes_sum(now->counts[call][whose].histogram) == 0 &&
        now->counts[call][whose].unfinished == 0)
        return;
    row = table_add(table, call_id(call, whose));
    row->cell[CALL].text = probes_call_names[call];
    row->cell[WHOSE].text = probes_whose_names[whose];
    row->cell[ERRORS].number = (double)c->errors;
    row->cell[BYTES].number = (double)c->bytes;
    row->cell[UNFINISHED].number = (double)c->unfinished;
    put_times(row, c->histogram);
}

static void add_wait(struct table *table, const struct probes_wait *wait)
{
    struct row *row = table_add(table, wait->address & ~1ull);

    row->cell[CALL].text = wait->waits.lock[0] != '\0'
        ? table_text(table, "lock %s", wait->waits.lock)
        : table_text(table, "at %" PRIx64, wait->address);
    row->cell[WHOSE].text = probes_whose_names[wait->waits.lock[0] != '\0' ? HAKPROBE_ALLOCATOR
                                                                            : HAKPROBE_PROGRAM];
    put_times(row, wait->waits.histogram);
}

static void add_loss(struct table *table, uint64_t lost, int kind)
{
    struct row *row;

    if (lost == 0)
        return;
    row = table_add(table, loss_id(kind));
    row->cell[CALL].text = table_text(table, "LOST %s", probes_lost_names[kind]);
    row->cell[CALLS].number = (double)lost;
}

static void fill(const struct span *span, struct table *table)
{
    const struct probes_reading *now = span->kernel;
    struct probes_reading *since = now != NULL ? probes_since(now, span->kernel_from) : NULL;

    if (since == NULL)
        return;
    for (int call = 0; call < HAKPROBE_CALLS; call++)
        for (int whose = 0; whose < HAKPROBE_WHOSE; whose++)
            add_call(table, &now->processes[0], &since->processes[0], call, whose);
    for (size_t i = 0; i < since->wait_count; i++)
        add_wait(table, &since->waits[i]);
    for (int i = 0; i < HAKPROBE_LOST_KINDS; i++)
        add_loss(table, since->lost[i], i);
    probes_reading_free(since);
}

static const char *empty(const struct span *span)
{
    return span->kernel == NULL ? span->kernel_why : "No call since counting began.";
}

const struct screen screen_probes = {
    .name = "probes", COLUMNS(columns), .fill = fill, .empty = empty, .needs_process = true,
};
