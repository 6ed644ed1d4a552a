/* snap.c: private copies of a segment's figures, and what is worked out from them. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shm/internal.h"

#define STATE_TRIES 200
#define SLOTS_TRIES 5
#define LINE_WORDS  8         /* of a cache line */
#define GAPS_MOST   1024      /* slots without memory below one with it: of threads that are being born at once */

/* In the order of struct shm_sums: ALLOCS that add up to the allocations, then FREES. */
static const char *const call_names[] = {
    "heap_v2_hits", "fast_cache_hits", "slow_allocs",
    "heap_v2_pushes", "fast_cache_pushes", "slow_frees", "remote_frees",
    "realloc_in_place",
};
enum { ALLOCS = 3, FREES = 4, CALLS = ALLOCS + FREES + 1 };
enum { LARGE_ALLOC, HUGE_ALLOC, LARGE_FREE, HUGE_FREE, BYTES };
static const char *const byte_names[BYTES] = {
    "large_alloc_bytes", "huge_alloc_bytes", "large_free_bytes", "huge_free_bytes",
};
enum { ASKED, GIVEN };
static const char *const sample_names[] = { "sampled_request_bytes", "sampled_block_bytes" };
_Static_assert(sizeof call_names / sizeof *call_names == CALLS, "a name each");
_Static_assert(sizeof((struct shm_sums *)0)->calls == CALLS * 8, "a field each");

/* Which of the lists of words a counter's are in. */
static struct shm_words *list_of(struct shm_seg *seg, const struct hak_stat_desc *d)
{
    if (d->scope == HAK_SCOPE_WALK)
        return &seg->walks;
    for (unsigned i = 0; i < CALLS; i++)
        if (d == seg->calls[i])
            return i < ALLOCS ? &seg->allocs : &seg->frees;
    for (unsigned i = 0; i < BYTES; i++)
        if (d == seg->bytes[i])
            return i < LARGE_FREE ? &seg->allocs : &seg->frees;
    return &seg->others;
}

static bool list_words(struct shm_seg *seg, const struct hak_stat_desc *d)
{
    size_t step, at = d->offset;
    unsigned values = shm_values(seg->bin_count, d, &step);
    struct shm_words *words = list_of(seg, d);
    struct shm_row *more = reallocarray(words->row, words->count + (size_t)values, sizeof *more);
    if (!more)
        return false;
    words->row = more;
    for (; values; values--, at += step)
        words->row[words->count++] = (struct shm_row){ (uint32_t)(at / 8), 1 };
    return true;
}

static int by_place(const void *a, const void *b)
{
    uint32_t x = ((const struct shm_row *)a)->at, y = ((const struct shm_row *)b)->at;
    return (x > y) - (x < y);
}

static void join_words(struct shm_words *words)
{
    if (!words->count)
        return;
    qsort(words->row, words->count, sizeof *words->row, by_place);
    struct shm_row *last = words->row;
    for (const struct shm_row *r = last + 1; r < words->row + words->count; r++)
        if (r->at == last->at + last->count && r->at % LINE_WORDS)
            last->count++;
        else
            *++last = *r;
    words->count = (unsigned)(last + 1 - words->row);
}

bool shm_find_known(struct shm_seg *seg)
{
    for (unsigned i = 0; i < CALLS; i++)
        seg->calls[i] = shm_stat(seg, HAK_SCOPE_BIN, call_names[i]);
    for (unsigned i = 0; i < BYTES; i++)
        seg->bytes[i] = shm_stat(seg, HAK_SCOPE_THREAD, byte_names[i]);
    for (unsigned i = 0; i <= GIVEN; i++)
        seg->samples[i] = shm_stat(seg, HAK_SCOPE_BIN, sample_names[i]);
    seg->ticks = shm_stat(seg, HAK_SCOPE_THREAD, "ticks");
    for (unsigned i = 0; i < seg->stat_count; i++)
        if (seg->stats[i].scope != HAK_SCOPE_GLOBAL && !list_words(seg, &seg->stats[i]))
            return false;
    join_words(&seg->walks);
    join_words(&seg->others);
    join_words(&seg->frees);
    join_words(&seg->allocs);
    return true;
}

void shm_forget_known(struct shm_seg *seg)
{
    free(seg->walks.row);
    free(seg->others.row);
    free(seg->frees.row);
    free(seg->allocs.row);
}

bool shm_read_state(const struct shm_seg *seg, uint8_t *area, bool *torn)
{
    const uint8_t *src = seg->map + seg->header.state_off;
    const struct hak_state *state = (const struct hak_state *)area;
    for (int tries = 0; tries < STATE_TRIES; tries++) {
        uint64_t again;
        if (!shm_copy_out(area, src, seg->header.state_size) || !shm_copy_out(&again, src, 8))
            return false;
        *torn = (state->seq & 1) || state->seq != (uint32_t)again;
        if (!*torn)
            return true;
        shm_nap_us(tries < 20 ? 1 : 500);       /* the writer may have been put off the CPU */
    }
    return true;
}

/* ---- Slots --------------------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool add_run(struct shm_snap *snap, uint64_t from, uint64_t to)
{
    struct shm_run *more = reallocarray(snap->runs, snap->run_count + 1u, sizeof *more);
    if (!more)
        return false;
    snap->runs = more;
    snap->runs[snap->run_count++] = (struct shm_run){ (unsigned)from, (unsigned)to };
    snap->slot_count = (unsigned)to;
    snap->slots_found += (unsigned)(to - from);
    return true;
}

/* Slots that may be read: no more than there are, and of these those that the file has memory for.  Who reads them
 * takes as much memory as up to the last one, so that may not be far beyond what others took. */
static bool find_slots(struct shm_snap *snap)
{
    const struct hak_seg_header *h = &snap->seg->header;
    uint64_t used = least(h->slots_max, snap->state.slots_used);
    off_t first = (off_t)h->slots_off, end = first + (off_t)(used * h->slot_stride), data, hole = first;
    snap->run_count = snap->slots_found = snap->slot_count = 0;
    while ((data = lseek(snap->seg->fd, hole, SEEK_DATA)) >= 0 && data < end
           && (hole = lseek(snap->seg->fd, data, SEEK_HOLE)) > data) {
        uint64_t from = ((uint64_t)(data - first) + h->slot_stride - 1) / h->slot_stride;
        uint64_t to = least((uint64_t)(hole - first) / h->slot_stride, used);
        if (from > snap->slots_found + GAPS_MOST)
            break;
        if (from < to && !add_run(snap, from, to))
            return false;
    }
    return true;
}

static const uint8_t *slot_source(const struct shm_seg *seg, unsigned slot)
{
    return seg->map + seg->header.slots_off + (size_t)slot * seg->header.slot_stride;
}

static uint8_t *slot_copy(const struct shm_snap *snap, unsigned slot)
{
    return snap->slot_bytes + (size_t)slot * snap->slot_step;
}

/* Reads these words of a slot: onto the sums, and into the slot's copy where there is one.  With many threads
 * each cache line comes from memory, so that of the next slot is asked for meanwhile. */
static void read_words(const struct shm_snap *snap, unsigned slot, const struct shm_words *words)
{
    const uint64_t *from = (const uint64_t *)slot_source(snap->seg, slot);
    const uint64_t *next = slot + 1 < snap->slot_count ? (const uint64_t *)slot_source(snap->seg, slot + 1) : from;
    uint64_t *to = snap->sums_only ? NULL : (uint64_t *)slot_copy(snap, slot), *sums = snap->slot_sums;
    for (const struct shm_row *r = words->row, *end = r + words->count; r < end; r++) {
        __builtin_prefetch(next + r->at);
        for (uint32_t at = r->at; at < r->at + r->count; at++) {
            uint64_t value = shm_word(from + at);
            sums[at] += value;
            if (to)
                to[at] = value;
        }
    }
}

/* A slot's head and walk.  Where the walk changed meanwhile, the copy's walk_seq says so by being odd. */
static void read_head(const struct shm_snap *snap, unsigned slot)
{
    const struct hak_slot *from = (const struct hak_slot *)slot_source(snap->seg, slot);
    struct hak_slot *head = (struct hak_slot *)slot_copy(snap, slot);
    for (size_t i = 0; i < sizeof *head / 8; i++)
        ((uint64_t *)head)[i] = shm_word((const uint64_t *)from + i);
    if (snap->sums_only)
        return;
    read_words(snap, slot, &snap->seg->walks);
    if (__atomic_load_n(&from->walk_seq, __ATOMIC_ACQUIRE) != head->walk_seq)
        head->walk_seq |= 1;
}

/* At once, since a fault for each page takes as long as to read it.  Where that can't be done the faults do it. */
static void map_slots(const struct shm_snap *snap)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (const struct shm_run *r = snap->runs, *end = r + snap->run_count; r < end; r++) {
        uintptr_t from = (uintptr_t)slot_source(snap->seg, r->from) & ~(page - 1);
        madvise((void *)from, (uintptr_t)slot_source(snap->seg, r->to) - from, MADV_POPULATE_READ);
    }
}

/* Slot by slot, since what a slot has lies together. */
static void read_others(void *arg)
{
    const struct shm_snap *snap = arg;
    for (const struct shm_run *r = snap->runs, *end = r + snap->run_count; r < end; r++)
        for (unsigned slot = r->from; slot < r->to; slot++) {
            read_head(snap, slot);
            read_words(snap, slot, &snap->seg->others);
        }
}

/* These words of all slots, and nothing else. */
static void read_all(const struct shm_snap *snap, const struct shm_words *words)
{
    for (const struct shm_row *r = words->row, *end = r + words->count; r < end; r++)
        memset(snap->slot_sums + r->at, 0, r->count * sizeof *snap->slot_sums);
    for (const struct shm_run *r = snap->runs, *end = r + snap->run_count; r < end; r++)
        for (unsigned slot = r->from; slot < r->to; slot++)
            read_words(snap, slot, words);
}

/* What is live are the allocations less the frees.  Both are read right after one another and the allocations
 * last, so that little comes in between. */
static void read_calls(void *arg)
{
    const struct shm_snap *snap = arg;
    read_all(snap, &snap->seg->frees);
    read_all(snap, &snap->seg->allocs);
}

static long times_put_off_cpu(void)
{
    struct rusage u;
    return getrusage(RUSAGE_THREAD, &u) ? 0 : u.ru_nivcsw;
}

/* What is allocated while the calls are read shows as live: once more where another ran on our CPU meanwhile.  A
 * process with very many threads on a busy machine may need all tries. */
static bool copy_slots(struct shm_snap *snap)
{
    memset(snap->slot_sums, 0, snap->seg->header.slot_stride);
    map_slots(snap);
    if (!shm_guarded(read_others, snap))
        return false;
    for (int tries = 1;; tries++) {
        long before = times_put_off_cpu();
        if (!shm_guarded(read_calls, snap))
            return false;
        if (times_put_off_cpu() == before || tries == SLOTS_TRIES)
            return true;
    }
}

/* ---- The whole ----------------------------------------------------------------------------- */

int shm_cut_off(struct shm_error *err)
{
    return shm_fail(err, SHM_EIO, "its segment was cut off");
}

/* Whether no thread took a new slot since the slots were found. */
static bool found_all(const struct shm_snap *snap)
{
    return snap->slots_found == snap->slot_count && snap->state.slots_used <= snap->slot_count;
}

/* State, then slots; again where a thread took a new slot meanwhile, since what it allocated may
 * have been freed in a slot that was read. */
static int fill(struct shm_snap *snap, struct shm_error *err)
{
    const struct shm_seg *seg = snap->seg;
    for (int tries = 0; tries < 5; tries++) {
        if (!shm_read_state(seg, snap->state_bytes, &snap->torn))
            return shm_cut_off(err);
        memcpy(&snap->state, snap->state_bytes, sizeof snap->state);
        unsigned found = snap->slots_found, count = snap->slot_count;
        if (snap->slot_bytes && found_all(snap))
            break;
        if (!find_slots(snap))
            return shm_fail(err, SHM_EIO, "out of memory");
        if (snap->slot_bytes && snap->slots_found == found && snap->slot_count == count)
            break;
        free(snap->slot_bytes);
        snap->slot_bytes = calloc(snap->slot_count + 1u, snap->slot_step);
        if (!snap->slot_bytes)
            return shm_fail(err, SHM_EIO, "out of memory");
        if (!copy_slots(snap))
            return shm_cut_off(err);
    }
    for (unsigned i = 0; i < snap->slot_count; i++)
        snap->threads += shm_slot(snap, i)->state == HAK_SLOT_LIVE;
    snap->state.comm[sizeof snap->state.comm - 1] = 0;
    snap->exact = !snap->torn && !(seg->header.flags & 1)
        && !shm_global(snap, shm_stat(seg, HAK_SCOPE_GLOBAL, "threads_uncounted"));
    return SHM_OK;
}

static int take(const struct shm_seg *seg, bool sums_only, struct shm_snap **result, struct shm_error *err)
{
    struct shm_snap *snap = calloc(1, sizeof *snap);
    if (!snap || !(snap->state_bytes = calloc(1, seg->header.state_size))
        || !(snap->slot_sums = calloc(1, seg->header.slot_stride))) {
        shm_snap_free(snap);
        return shm_fail(err, SHM_EIO, "out of memory");
    }
    snap->seg = seg;
    snap->sums_only = sums_only;
    snap->slot_step = sums_only ? sizeof(struct hak_slot) : seg->header.slot_stride;
    snap->time_ns = shm_clock_ns(CLOCK_REALTIME);
    snap->boot_ns = shm_clock_ns(CLOCK_BOOTTIME);
    int code = fill(snap, err);
    if (code) {
        shm_snap_free(snap);
        return code;
    }
    *result = snap;
    return SHM_OK;
}

int shm_snapshot(const struct shm_seg *seg, struct shm_snap **snap, struct shm_error *err)
{
    return take(seg, false, snap, err);
}

int shm_snapshot_sums(const struct shm_seg *seg, struct shm_snap **snap, struct shm_error *err)
{
    return take(seg, true, snap, err);
}

void shm_snap_free(struct shm_snap *snap)
{
    if (!snap)
        return;
    free(snap->state_bytes);
    free(snap->runs);
    free(snap->slot_bytes);
    free(snap->slot_sums);
    free(snap);
}

const struct hak_slot *shm_slot(const struct shm_snap *snap, unsigned slot)
{
    return (const struct hak_slot *)slot_copy(snap, slot);
}

/* ---- Single figures ------------------------------------------------------------------------ */

static uint64_t word(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* At `off` in one slot, or in all of them together. */
static uint64_t slot_word(const struct shm_snap *snap, unsigned slot, size_t off)
{
    if (slot == SHM_ALL)
        return snap->slot_sums[off / 8];
    return slot < snap->slot_count && !snap->sums_only ? word(slot_copy(snap, slot) + off) : 0;
}

uint64_t shm_global(const struct shm_snap *snap, const struct hak_stat_desc *stat)
{
    return stat && stat->scope == HAK_SCOPE_GLOBAL ? word(snap->state_bytes + stat->offset) : 0;
}

uint64_t shm_thread(const struct shm_snap *snap, unsigned slot, const struct hak_stat_desc *stat)
{
    return stat && stat->scope == HAK_SCOPE_THREAD ? slot_word(snap, slot, stat->offset) : 0;
}

uint64_t shm_bin(const struct shm_snap *snap, unsigned slot, const struct hak_stat_desc *stat,
                 unsigned bin)
{
    if (!stat || (stat->scope != HAK_SCOPE_BIN && stat->scope != HAK_SCOPE_WALK)
        || bin >= snap->seg->bin_count)
        return 0;
    return slot_word(snap, slot, stat->offset + (size_t)bin * stat->stride);
}

void shm_hist(const struct shm_snap *snap, unsigned slot, const struct hak_stat_desc *stat,
              uint64_t buckets[HAK_HIST_BUCKETS])
{
    for (unsigned i = 0; i < HAK_HIST_BUCKETS; i++)
        buckets[i] = stat && stat->scope == HAK_SCOPE_HIST
                   ? slot_word(snap, slot, stat->offset + (size_t)i * 8) : 0;
}

uint64_t shm_total(const struct shm_snap *snap, const struct hak_stat_desc *stat)
{
    if (!stat || stat->scope != HAK_SCOPE_BIN)
        return shm_global(snap, stat) + shm_thread(snap, SHM_ALL, stat);
    uint64_t sum = 0;
    for (unsigned bin = 0; bin < snap->seg->bin_count; bin++)
        sum += shm_bin(snap, SHM_ALL, stat, bin);
    return sum;
}

/* ---- Sums ---------------------------------------------------------------------------------- */

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The tiers without a block size count bytes instead. */
static uint64_t tier_bytes(const struct shm_snap *snap, unsigned slot, unsigned cls)
{
    if (cls != HAK_CLASS_LARGE && cls != HAK_CLASS_HUGE)
        return 0;
    bool huge = cls == HAK_CLASS_HUGE;
    return minus(shm_thread(snap, slot, snap->seg->bytes[huge ? HUGE_ALLOC : LARGE_ALLOC]),
                 shm_thread(snap, slot, snap->seg->bytes[huge ? HUGE_FREE : LARGE_FREE]));
}

/* Live blocks waste as the sampled ones do. */
static void estimate_waste(const struct shm_snap *snap, unsigned slot, unsigned bin, struct shm_sums *s)
{
    uint64_t asked = shm_bin(snap, slot, snap->seg->samples[ASKED], bin);
    s->sampled_bytes = shm_bin(snap, slot, snap->seg->samples[GIVEN], bin);
    if (s->sampled_bytes)
        s->waste_bytes = (uint64_t)((double)s->live_bytes * (double)minus(s->sampled_bytes, asked)
                                    / (double)s->sampled_bytes);
}

void shm_sum_bin(const struct shm_snap *snap, unsigned slot, unsigned bin, struct shm_sums *s)
{
    *s = (struct shm_sums){ 0 };
    if (bin >= snap->seg->bin_count)
        return;
    for (unsigned i = 0; i < CALLS; i++)
        s->calls[i] = shm_bin(snap, slot, snap->seg->calls[i], bin);
    for (unsigned i = 0; i < ALLOCS; i++)
        s->allocs += s->calls[i];
    for (unsigned i = ALLOCS; i < ALLOCS + FREES; i++)
        s->frees += s->calls[i];
    if (slot == SHM_ALL)
        s->inherited = word(snap->state_bytes + snap->seg->header.inherited_off + 8 * (size_t)bin);
    s->live = minus(s->inherited + s->allocs, s->frees);
    const struct hak_bin_desc *desc = &snap->seg->bins[bin];
    s->live_bytes = desc->size ? s->live * desc->size : tier_bytes(snap, slot, desc->cls);
    estimate_waste(snap, slot, bin, s);
}

static void add(struct shm_sums *to, const struct shm_sums *s)
{
    for (unsigned i = 0; i < CALLS; i++)
        to->calls[i] += s->calls[i];
    to->allocs += s->allocs;
    to->frees += s->frees;
    to->inherited += s->inherited;
    to->live += s->live;
    to->live_bytes += s->live_bytes;
    to->waste_bytes += s->waste_bytes;
    to->sampled_bytes += s->sampled_bytes;
}

/* Every bin, or those of one class. */
static void sum_bins(const struct shm_snap *snap, unsigned slot, bool every, unsigned cls,
                     struct shm_sums *sums)
{
    *sums = (struct shm_sums){ 0 };
    for (unsigned bin = 0; bin < snap->seg->bin_count; bin++) {
        struct shm_sums one;
        if (!every && snap->seg->bins[bin].cls != cls)
            continue;
        shm_sum_bin(snap, slot, bin, &one);
        add(sums, &one);
    }
}

void shm_sum_class(const struct shm_snap *snap, unsigned slot, unsigned cls, struct shm_sums *sums)
{
    sum_bins(snap, slot, false, cls, sums);
}

void shm_sum_all(const struct shm_snap *snap, unsigned slot, struct shm_sums *sums)
{
    sum_bins(snap, slot, true, 0, sums);
}

uint64_t shm_moves(const struct shm_snap *snap, unsigned slot)
{
    struct shm_sums sums;
    shm_sum_all(snap, slot, &sums);
    return sums.allocs + sums.frees + sums.realloc_in_place
        + shm_thread(snap, slot, snap->seg->ticks);
}
