/* knob_effects.c: what the other live knobs say happens, by the counters (the masks and modes of
 * TinyHeapV2 are in live_knobs.c).
 */
#define _GNU_SOURCE
#include "tests/worker.h"

enum { C3 = 3, C6 = 6 };
#define MiB ((size_t)1 << 20)

static struct worker *const w = &workers[0], *const other = &workers[1];

/* --- the SLL -------------------------------------------------------------------------------------- */

static void test_drain_interval(void)
{
    static const uint64_t intervals[] = { 100, 500, 2000 };
    for (int i = 0; i < 3; i++) {
        set_everywhere("tiny.sll.drain_interval", intervals[i]);
        uint64_t before = counter(w, "drains");
        pairs(w, 64, (int)intervals[i] * 10);
        is(counter(w, "drains") - before, 10, "ten intervals of %llu frees, ten drains",
           (unsigned long long)intervals[i]);
    }
    set_everywhere("tiny.sll.drain_interval", 2048);
}

static void allocate_only(struct worker *worker)
{
    for (int i = 0; i < worker->pairs; i++)
        worker->blocks[i] = malloc(worker->size);
}
static void free_only(struct worker *worker)
{
    for (int i = 0; i < worker->pairs; i++)
        free(worker->blocks[i]);
}

/* So many allocations of the size with caches that are as good as empty; refills that they took. */
static uint64_t refills_for(int n, size_t size)
{
    w->size = size;
    w->pairs = BURST;
    tell(w, allocate_only);             /* whatever the caches hold is in use now */
    uint64_t before = counter(w, "refills");
    static void *extra[BURST];
    memcpy(extra, w->blocks, sizeof extra);
    w->pairs = n;
    tell(w, allocate_only);
    uint64_t refills = counter(w, "refills") - before;
    tell(w, free_only);
    memcpy(w->blocks, extra, sizeof extra);
    w->pairs = BURST;
    tell(w, free_only);
    return refills;
}

static void test_refill(void)
{
    uint64_t many = refills_for(2000, 64);
    ok(many <= 200, "2,000 blocks of 64 bytes take few refills (%llu)", (unsigned long long)many);
    set_everywhere("tiny.refill.batch", 1);
    is(refills_for(2000, 64), 2000, "with batches of one block as many as blocks");
    is(refills_for(2000, 500), 2000, "of C6 as well");
    set_everywhere("tiny.refill.batch", 10);
    uint64_t tens = refills_for(2000, 64);
    ok(tens >= 199 && tens <= 210, "with batches of ten a tenth (%llu)", (unsigned long long)tens);
    set_everywhere("tiny.refill.batch", 0);

    set_everywhere("tiny.refill.count_hot", 2);
    uint64_t hot = refills_for(2000, 64), mid = refills_for(2000, 500);
    ok(hot >= 999 && hot <= 1010, "count_hot=2: C3 has a refill every other block (%llu)",
       (unsigned long long)hot);
    ok(mid < 500, "and C6 not (%llu)", (unsigned long long)mid);
    set_everywhere("tiny.refill.count_hot", 256);
    set_everywhere("tiny.refill.count_mid", 2);
    hot = refills_for(2000, 64), mid = refills_for(2000, 500);
    ok(mid >= 999 && mid <= 1010, "count_mid=2: C6 has a refill every other block (%llu)",
       (unsigned long long)mid);
    ok(hot <= 200, "and C3 not (%llu)", (unsigned long long)hot);
    set_everywhere("tiny.refill.count_mid", 96);
}

/* Blocks that were never carved come one at a time where the chunk is one block. */
static void test_bump_chunk(void)
{
    set_everywhere("tiny.bump_chunk", 1);
    w->size = 192;
    w->pairs = 1000;
    uint64_t before = counter(w, "refills");
    tell(w, allocate_only);
    ok(counter(w, "refills") - before >= 900, "bump_chunk=1: a refill carves one block (%llu for 1,000)",
       (unsigned long long)(counter(w, "refills") - before));
    tell(w, free_only);
    set_everywhere("tiny.bump_chunk", 256);
}

static void test_inline_sll(void)
{
    set_everywhere("tiny.front_direct", 0);
    set_everywhere("tiny.sll.drain_interval", 65536);
    uint64_t refills[2];
    for (int on = 0; on < 2; on++) {
        set_everywhere("tiny.inline_sll", (uint64_t)on);
        burst(w, 64, BURST);            /* the SLL is long now */
        uint64_t popped = hits(w, "sll_pops", C3), before = counter(w, "refills");
        w->pairs = BURST;
        tell(w, allocate_only);
        ok(hits(w, "sll_pops", C3) - popped > 1000, "malloc takes blocks from the SLL (%llu)",
           (unsigned long long)(hits(w, "sll_pops", C3) - popped));
        refills[on] = counter(w, "refills") - before;
        tell(w, free_only);
    }
    ok(refills[1] > refills[0] * 10, "inline_sll: one a time instead of a batch (%llu refills, not %llu)",
       (unsigned long long)refills[1], (unsigned long long)refills[0]);
    set_everywhere("tiny.inline_sll", 0);
    set_everywhere("tiny.sll.drain_interval", 2048);
    set_everywhere("tiny.front_direct", 1);
}

/* --- remote queues ---------------------------------------------------------------------------------- */

/* Another thread frees blocks of w, which then allocates but frees nothing, so that no tick of its
 * own comes; how many of them it took from its queue. */
static uint64_t drained_by_refills(void)
{
    static void *mine[BURST];
    w->size = 64;
    w->pairs = 1000;
    tell(w, allocate_only);
    memcpy(other->blocks, w->blocks, sizeof other->blocks);
    other->pairs = 1000;
    tell(other, free_only);
    uint64_t before = hits(w, "remote_drained", C3);
    w->pairs = BURST;
    tell(w, allocate_only);
    memcpy(mine, w->blocks, sizeof mine);
    uint64_t drained = hits(w, "remote_drained", C3) - before;
    tell(w, free_only);
    return drained;
}

static void test_no_drain(void)
{
    uint64_t n = drained_by_refills();
    ok(n >= 900, "a refill drains the remote queue first (%llu of 1,000)", (unsigned long long)n);
    set_everywhere("tiny.p0.no_drain", 1);
    is(drained_by_refills(), 0, "no_drain: it leaves the queue alone");
    set_everywhere("tiny.p0.no_drain", 0);
    set_everywhere("tiny.p0.drain_thresh", 65535);
    is(drained_by_refills(), 0, "drain_thresh: so it does while the queue is shorter");
    set_everywhere("tiny.p0.drain_thresh", 1);
}

/* --- memory ------------------------------------------------------------------------------------------- */

static void test_huge_cache(void)
{
    set_everywhere("os.huge_cache", 64);
    pairs(w, 5 * MiB, 1);
    ok(seg_global(&s, "huge_cached_bytes") >= 5 * MiB, "a freed huge mapping is kept");
    uint64_t maps = counter(w, "os_map");
    pairs(w, 5 * MiB, 100);
    is(counter(w, "os_map"), maps, "and serves the next hundred");
    set_everywhere("os.huge_cache", 0);
    pairs(w, 5 * MiB, 3);
    is(seg_global(&s, "huge_cached_bytes"), 0, "huge_cache=0: none is kept");
    set_everywhere("os.huge_cache", 64);
}

static void test_large_cache(void)
{
    pairs(w, 200000, 5000);
    uint64_t before = counter(w, "large_cache_hits"), claimed = counter(w, "pool_claim") + counter(w, "pool_reuse");
    pairs(w, 200000, 100);
    is(counter(w, "large_cache_hits") - before, 100, "a freed large block serves the next hundred");
    is(counter(w, "pool_claim") + counter(w, "pool_reuse"), claimed, "without the pool");
    set_everywhere("large.cache", 0);
    before = counter(w, "large_cache_hits");
    pairs(w, 200000, 100);
    is(counter(w, "large_cache_hits"), before, "large.cache=0: none is kept");
    set_everywhere("large.cache", 2);
}

static void test_lru(void)
{
    set_everywhere("pool.lru_max", 4);
    burst(w, 16000, 8000);
    ok(seg_global(&s, "superslabs_lru") <= 4, "at most lru_max empty SuperSlabs are kept (%llu)",
       (unsigned long long)seg_global(&s, "superslabs_lru"));
    set_everywhere("pool.lru_max", 1000);
    uint64_t unmapped = seg_global(&s, "superslabs_unmapped");
    burst(w, 16000, 8000);
    is(seg_global(&s, "superslabs_unmapped"), unmapped, "with room for all, none is unmapped");
    uint64_t created = seg_global(&s, "superslabs_created");
    burst(w, 16000, 8000);
    is(seg_global(&s, "superslabs_created"), created, "and none has to be made again");
    set_everywhere("pool.lru_max", 0);
    burst(w, 16000, 8000);
    is(seg_global(&s, "superslabs_lru"), 0, "lru_max=0: none is kept");
    ok(seg_global(&s, "superslabs_unmapped") > unmapped + 30, "they are unmapped");
    set_everywhere("pool.lru_max", 16);
}

/* Whether resident memory falls below so much while a thread goes on with small work. */
static int falls_below(long kib)
{
    for (int i = 0; i < 3000 && rss_kib() >= kib; i++) {
        pairs(w, 64, 2048);
        usleep(10000);
    }
    return rss_kib() < kib;
}

static void touch_burst(struct worker *worker)
{
    for (int i = 0; i < worker->pairs; i++)
        memset(worker->blocks[i] = malloc(worker->size), 1, worker->size);
    free_only(worker);
}

static void test_decay(void)
{
    set_everywhere("pool.lru_max", 1000);
    set_everywhere("os.decay_ms", 3600000);
    long before = rss_kib();
    w->size = 30000;
    w->pairs = 3000;
    tell(w, touch_burst);
    pairs(w, 64, 100000);
    ok(rss_kib() > before + 40 * 1024, "an hour of decay time: freed memory stays");
    set_everywhere("os.decay_ms", 10);
    ok(falls_below(before + 16 * 1024), "ten milliseconds: it goes back to the kernel");
    set_everywhere("os.decay_ms", 500);
}

static void thin_burst(struct worker *worker)
{
    for (int i = 0; i < worker->pairs; i++)
        memset(worker->blocks[i] = malloc(worker->size), i + 1, worker->size);
    for (int i = 0; i < worker->pairs; i++)
        if (i % 16)
            free(worker->blocks[i]);
}

static void test_purge_holes(void)
{
    enum { SIZE = 3000, BLOCKS = 8000 };
    int wrong = 0;

    set_everywhere("os.purge_holes", 0);
    set_everywhere("os.decay_ms", 10);
    uint64_t purged = counter(w, "os_purge_holes");
    w->size = SIZE;
    w->pairs = BLOCKS;
    tell(w, thin_burst);
    for (int i = 0; i < 20; i++) {
        pairs(w, 64, 2048);
        usleep(5000);
    }
    is(counter(w, "os_purge_holes") - purged, 0, "os.purge_holes=0: one block in 16 keeps the pages of them all");
    long before = rss_kib();
    set_everywhere("os.purge_holes", 1);
    ok(falls_below(before - 15 * 1024), "1: those without a block go back");
    for (int i = 0; i < BLOCKS; i += 16) {
        const unsigned char *p = w->blocks[i];
        for (int k = 0; k < SIZE; k++)
            wrong += p[k] != (unsigned char)(i + 1);
        free(w->blocks[i]);
    }
    is(wrong, 0, "and what is in use stays");
    set_everywhere("os.decay_ms", 500);
}

static void thousand(struct worker *me)
{
    for (int i = 0; i < 1000; i++)
        me->blocks[i] = malloc(me->size);
    for (int i = 0; i < 1000; i++)
        free(me->blocks[i]);
}

/* Blocks that wait where nobody asks for them keep their slabs from others. */
static void test_idle(void)
{
    w->size = 64;
    tell(w, thousand);
    pairs(w, 512, 1);
    uint64_t idle = hits(w, "heap_v2_flushed", C3), used = hits(w, "heap_v2_flushed", C6);
    uint64_t back = hits(w, "returned", C3);
    pairs(w, 512, 20 * 2048);
    ok(hits(w, "heap_v2_flushed", C3) > idle, "TinyHeapV2 of a bin that is not used empties");
    is(hits(w, "heap_v2_flushed", C6), used, "that of one whose every block is taken again at once doesn't");
    ok(hits(w, "returned", C3) >= back + 900, "and FastCache gives back what nobody takes");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    if (!under_hakmem)
        bail("this test is about hakmem alone");
    start_workers();
    test_drain_interval();
    test_refill();
    test_bump_chunk();
    test_inline_sll();
    test_no_drain();
    test_huge_cache();
    test_large_cache();
    test_lru();
    test_decay();
    test_purge_holes();
    test_idle();
    end_workers();
    return tap_done();
}
