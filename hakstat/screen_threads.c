/* screen_threads.c: what each thread does, and by which generation it works. */
#include <stdio.h>
#include <string.h>

#include "hakstat/screens.h"

enum {
    TID, NAME, STATE, ALLOCS, FREES, L0_PART, FAST_PART, SLOW_PART, CACHED_BYTES, GENERATION,
    REFILLS, DRAINS, REMOTE_FREES, DRAINED, TICKS, LOCK_WAITS,
};

static const struct column columns[] = {
    [TID]          = { "tid", "TID", 7, 0, U_TEXT },
    [NAME]         = { "name", "NAME", 10, 1, U_TEXT },
    [STATE]        = { "state", "STATE", 6, 0, U_TEXT },
    [ALLOCS]       = { "allocs", "ALLOCS", 9, 0, U_FLOW },
    [FREES]        = { "frees", "FREES", 9, 1, U_FLOW },
    [L0_PART]      = { "heap_v2_part", "L0 %", 6, 0, U_PART },
    [FAST_PART]    = { "fast_cache_part", "FAST %", 6, 1, U_PART },
    [SLOW_PART]    = { "slow_part", "SLOW %", 6, 0, U_PART },
    [CACHED_BYTES] = { "cached_bytes", "CACHED", 6, 0, U_BYTES },
    [GENERATION]   = { "applied", "GEN", 6, 0, U_COUNT },
    [REFILLS]      = { "refills", "REFILLS", 9, 3, U_FLOW },
    [DRAINS]       = { "drains", "DRAINS", 8, 3, U_FLOW },
    [REMOTE_FREES] = { "remote_frees", "REMOTE", 8, 3, U_FLOW },
    [DRAINED]      = { "remote_drained", "DRAINED", 9, 3, U_FLOW },
    [TICKS]        = { "ticks", "TICKS", 7, 4, U_FLOW },
    [LOCK_WAITS]   = { "lock_waits", "WAITS", 7, 4, U_FLOW },
};

/* The kernel's name of a thread, "" where it can't be had. */
static void thread_name(int pid, int tid, char name[17])
{
    char path[64];
    FILE *file;

    name[0] = '\0';
    if (pid == 0 || tid == 0)
        return;
    snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, tid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(name, 17, file) == NULL)
        name[0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    fclose(file);
}

static bool moved(const struct span *span, unsigned slot)
{
    return span->from == NULL || slot >= span->from->slot_count ||
           shm_moves(span->to, slot) != shm_moves(span->from, slot);
}

static void add(const struct span *span, struct table *table, unsigned slot)
{
    const struct hak_slot *head = shm_slot(span->to, slot);
    struct row *row = table_add(table, slot);
    struct shm_sums s;
    char name[17];

    thread_name(span->proc_pid, head->state == HAK_SLOT_LIVE ? head->tid : 0, name);
    span_sums(span, slot, ALL_BINS, &s);
    row->cell[TID].text = head->tid != 0 ? table_text(table, "%d", head->tid) : "-";
    row->cell[NAME].text = name[0] != '\0' ? table_text(table, "%s", name) : "-";
    row->cell[STATE].text = head->state != HAK_SLOT_LIVE ? "ended" : moved(span, slot) ? "busy"
                                                                                       : "idle";
    row->dim = head->state != HAK_SLOT_LIVE;
    row->cell[ALLOCS].number = (double)s.allocs;
    row->cell[FREES].number = (double)s.frees;
    row->cell[L0_PART].number = part_of((double)s.heap_v2_hits, (double)s.allocs);
    row->cell[FAST_PART].number = part_of((double)s.fast_cache_hits, (double)s.allocs);
    row->cell[SLOW_PART].number = part_of((double)s.slow_allocs, (double)s.allocs);
    row->cell[CACHED_BYTES].number = (double)span_cached_bytes(span, slot, ALL_BINS);
    row->cell[GENERATION].number = (double)head->applied;
    row->cell[REFILLS].number = (double)span_thread(span, slot, "refills");
    row->cell[DRAINS].number = (double)span_thread(span, slot, "drains");
    row->cell[REMOTE_FREES].number = (double)s.remote_frees;
    row->cell[DRAINED].number = (double)span_bins(span, slot, ALL_BINS, "remote_drained");
    row->cell[TICKS].number = (double)span_thread(span, slot, "ticks");
    row->cell[LOCK_WAITS].number = (double)span_thread(span, slot, "lock_waits");
}

/* Live threads first: the slots of ended ones wait for the next thread. */
static void fill(const struct span *span, struct table *table)
{
    for (int live = 1; live >= 0; live--)
        for (unsigned slot = 0; slot < span->to->slot_count; slot++) {
            uint32_t state = shm_slot(span->to, slot)->state;

            if (state != HAK_SLOT_FREE && (state == HAK_SLOT_LIVE) == live)
                add(span, table, slot);
        }
}

const struct screen screen_threads = {
    .name = "threads", COLUMNS(columns), .fill = fill, .needs_process = true,
};
