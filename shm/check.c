/* check.c: the conservation laws (abi/stats.def), each with the state itself on one side and
 * counters on the other. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shm/internal.h"

#define POOL_TRIES 20

__attribute__((format(printf, 3, 4)))
static void settle(struct shm_law *law, enum shm_verdict verdict, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    law->verdict = verdict;
    vsnprintf(law->detail, sizeof law->detail, fmt, ap);
    va_end(ap);
}

static const struct hak_stat_desc *walk_stat(const struct shm_snap *snap, const char *name)
{
    return shm_stat(snap->seg, HAK_SCOPE_WALK, name);
}

static uint64_t walked(const struct shm_snap *snap, unsigned slot, const char *name, unsigned bin)
{
    return shm_bin(snap, slot, walk_stat(snap, name), bin);
}

static uint64_t counted(const struct shm_snap *snap, unsigned slot, const char *name, unsigned bin)
{
    return shm_bin(snap, slot, shm_stat(snap->seg, HAK_SCOPE_BIN, name), bin);
}

static bool has_walk(const struct hak_slot *slot)
{
    return slot->walk && !(slot->walk_seq & 1);
}

/* ---- One thread and bin, in one walk ------------------------------------------------------- */

/* state[0] + state[1] + state[2] == side; unused names are NULL. */
static void check_walks(const struct shm_snap *snap, struct shm_law *law,
                        const char *const state[3], const char *side)
{
    if (!walk_stat(snap, side)) {
        settle(law, SHM_NOT_CHECKED, "this version of the library does not work it out");
        return;
    }
    for (unsigned i = 0; i < snap->slot_count; i++) {
        if (!has_walk(shm_slot(snap, i)))
            continue;
        for (unsigned bin = 0; bin < snap->seg->bin_count; bin++) {
            uint64_t left = 0, right = walked(snap, i, side, bin);
            for (int k = 0; k < 3 && state[k]; k++)
                left += walked(snap, i, state[k], bin);
            law->checked++;
            if (left != right && law->verdict != SHM_BROKEN)
                settle(law, SHM_BROKEN, "slot %u, bin of %u bytes: %" PRId64 ", but %" PRId64, i,
                       snap->seg->bins[bin].size, (int64_t)left, (int64_t)right);
        }
    }
    if (!law->checked)
        settle(law, SHM_NOT_CHECKED, "no thread has walked its state: all are idle");
}

/* ---- All threads --------------------------------------------------------------------------- */

/* Why the sums over all threads are not of one moment; NULL when they are. */
static bool remote_quiet(const struct shm_snap *before, const struct shm_snap *after,
                         uint64_t request, struct shm_law *law)
{
    const struct hak_stat_desc *batches =
        shm_stat(after->seg, HAK_SCOPE_THREAD, "remote_batches");
    const struct hak_stat_desc *drains = shm_stat(after->seg, HAK_SCOPE_THREAD, "remote_drains");
    unsigned silent = 0, moved = 0;
    for (unsigned i = 0; i < after->slot_count; i++) {
        const struct hak_slot *slot = shm_slot(after, i);
        silent += slot->state != HAK_SLOT_FREE
            && (!has_walk(slot) || (int64_t)(slot->walk - request) < 0);
        bool same = shm_thread(before, i, batches) == shm_thread(after, i, batches)
            && shm_thread(before, i, drains) == shm_thread(after, i, drains);
        for (unsigned bin = 0; bin < after->seg->bin_count && same; bin++)
            same = counted(before, i, "remote_frees", bin) == counted(after, i, "remote_frees", bin)
                && counted(before, i, "remote_drained", bin)
                   == counted(after, i, "remote_drained", bin);
        moved += !same;
    }
    if (silent)
        settle(law, SHM_NOT_CHECKED, "%u heap%s not walked: idle", silent, shm_s(silent));
    else if (moved)
        settle(law, SHM_NOT_CHECKED, "%u thread%s moved blocks of others meanwhile", moved,
               shm_s(moved));
    return !silent && !moved;
}

static void check_remote(const struct shm_snap *before, const struct shm_snap *after,
                         uint64_t request, struct shm_law *law)
{
    if (!before) {
        settle(law, SHM_NOT_CHECKED, "needs an answer from every thread");
        return;
    }
    if (!remote_quiet(before, after, request, law))
        return;
    for (unsigned bin = 0; bin < after->seg->bin_count; bin++) {
        uint64_t left = walked(after, SHM_ALL, "batched", bin) + walked(after, SHM_ALL, "queued", bin);
        uint64_t right = counted(after, SHM_ALL, "remote_frees", bin)
                       - counted(after, SHM_ALL, "remote_drained", bin);
        law->checked++;
        if (left != right && law->verdict != SHM_BROKEN)
            settle(law, SHM_BROKEN, "bin of %u bytes: %" PRId64 ", but %" PRId64,
                   after->seg->bins[bin].size, (int64_t)left, (int64_t)right);
    }
}

/* ---- The pool ------------------------------------------------------------------------------ */

static uint64_t global(const struct shm_snap *snap, const char *name)
{
    return shm_global(snap, shm_stat(snap->seg, HAK_SCOPE_GLOBAL, name));
}

/* The four are written one after the other under the pool's lock, so a reader may come in between:
 * one look at which they agree is enough. */
static int check_pool(const struct shm_seg *seg, struct shm_law *law, struct shm_error *err)
{
    int64_t left = 0, right = 0;
    law->checked = 1;
    for (int tries = 0; tries < POOL_TRIES; tries++) {
        struct shm_snap *snap;
        int code = shm_snapshot(seg, &snap, err);
        if (code)
            return code;
        left = (int64_t)(global(snap, "superslabs_live") + global(snap, "superslabs_lru"));
        right = (int64_t)(global(snap, "superslabs_created") - global(snap, "superslabs_unmapped"));
        shm_snap_free(snap);
        if (left == right)
            return SHM_OK;
        shm_nap_us(2000);
    }
    settle(law, SHM_BROKEN, "%" PRId64 ", but %" PRId64, left, right);
    return SHM_OK;
}

/* ---- All of them --------------------------------------------------------------------------- */

int shm_check(struct shm_seg *seg, unsigned wait_ms, struct shm_law laws[SHM_LAWS],
              struct shm_error *err)
{
    static const struct shm_law blank[SHM_LAWS] = {
        { .name = "heap_v2", .text = "heap_v2 == heap_v2_pushes + heap_v2_leftover - heap_v2_hits"
                                     " - heap_v2_flushed" },
        { .name = "cached",  .text = "heap_v2 + fast_cache + sll == refilled + heap_v2_pushes + "
                                     "fast_cache_pushes + slow_frees - heap_v2_hits - "
                                     "fast_cache_hits - slow_allocs - returned" },
        { .name = "used",    .text = "used == refilled - returned - remote_drained + used_adopted" },
        { .name = "remote",  .text = "batched + queued == remote_frees - remote_drained" },
        { .name = "pool",    .text = "superslabs_live + superslabs_lru == superslabs_created - "
                                     "superslabs_unmapped" },
    };
    static const char *const cached[3] = { "heap_v2", "fast_cache", "sll" };
    static const char *const heap_v2[3] = { "heap_v2" }, *const used[3] = { "used" };
    struct shm_snap *before = NULL, *after = NULL;
    uint64_t request = 0;
    int code;
    memcpy(laws, blank, sizeof blank);
    if (seg->header.flags & 1) {
        for (int i = 0; i < SHM_LAWS; i++)
            settle(&laws[i], SHM_NOT_CHECKED, "counters are compiled out");
        return SHM_OK;
    }
    if (seg->writable && shm_alive(seg))
        code = shm_walk(seg, wait_ms, &before, &after, &request, err);
    else
        code = shm_snapshot(seg, &after, err);
    if (!code) {
        check_walks(after, &laws[0], heap_v2, "heap_v2_law");
        check_walks(after, &laws[1], cached, "cached_law");
        check_walks(after, &laws[2], used, "used_law");
        check_remote(before, after, request, &laws[3]);
        code = check_pool(seg, &laws[4], err);
    }
    shm_snap_free(before);
    shm_snap_free(after);
    for (int i = 0; !code && i < SHM_LAWS; i++)
        if (laws[i].verdict == SHM_BROKEN)
            code = shm_fail(err, SHM_EIO, "law %s is broken: %s: %s", laws[i].name, laws[i].text,
                            laws[i].detail);
    return code;
}
