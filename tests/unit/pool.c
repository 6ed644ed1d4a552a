/* pool.c: the shared pool: no slab is handed out twice, the maps are exact, SuperSlabs are counted to
 * the last one, nothing free is lost; alone, by threads, in interleavings and in children of forks. */
#include "tests/unit/interleave.h"
#include "lib/core/pool.h"

/* Live SuperSlabs that the pool keeps though nothing in them is in use. */
enum { KEPT = 2 };

static union hak_knobs knobs;

static void lru_max(uint64_t n)
{
    knobs.pool_lru_max = n;
    core_apply(&knobs);
}

static unsigned first_of(const struct slab *s)
{
    return (unsigned)(s - superslab_of(s->base)->slab);
}

static size_t purge(void)
{
    return pool_purge(atomic_load(&core_now_ms), 0);
}

/* The counters against each other, and against the structs. */
static void laws(void)
{
    uint64_t in[3] = { 0 };

    for (unsigned i = 0; i < pool_superslabs(); i++)
        in[atomic_load(&pool_superslab(i)->state)]++;
    must(GLOBAL(ss_live) == in[SS_LIVE] && GLOBAL(ss_lru) == in[SS_LRU]);
    must(GLOBAL(ss_created) - GLOBAL(ss_unmapped) == in[SS_LIVE] + in[SS_LRU]);
    must(GLOBAL(mapped) == (in[SS_LIVE] + in[SS_LRU]) * SS_SIZE);
    must(GLOBAL(ss_peak) >= in[SS_LIVE] + in[SS_LRU]);
    must(in[SS_LRU] <= knobs.pool_lru_max);
}

/* ---- one thread ---- */

/* The run after this one by length: 1, 2, 4, 6 and so on. */
static unsigned longer(unsigned run)
{
    return run == 1 ? 2 : run + 2;
}

static void test_run_of_any_length(void)
{
    for (unsigned run = 1; run <= SS_SLABS; run = longer(run)) {
        struct slab *s = pool_take(HAK_ROW_LARGE, run);
        struct superslab *ss = superslab_of(s->base);
        must(s->kind == SLAB_LARGE && s->run == run && s->bin == HAK_ROW_LARGE);
        must(s->base == ss->base + first_of(s) * SLAB_SIZE && first_of(s) + run <= SS_SLABS);
        must(((uintptr_t)ss->base & (SS_SIZE - 1)) == 0);
        must(slab_of(s->base) == s && slab_of(s->base + SLAB_SIZE - 1) == s);
        for (unsigned i = 1; i < run; i++)
            must(s[i].kind == SLAB_FREE);
        must(!s->clean || zeroed(s->base, run * SLAB_SIZE));
        memset(s->base, 0xAA, run * SLAB_SIZE);
        pool_give(s);
    }
    is(faults_taken(), 0, "runs of 1 to %d slabs, each found by its first, whose struct alone says what it is", SS_SLABS);
}

static void test_aligned(void)
{
    static struct slab *s[2 * SS_SLABS];

    for (unsigned align = 1; align <= SS_SLABS; align *= 2)
        for (unsigned run = 1; run + align <= SS_SLABS + 1; run = longer(run)) {
            unsigned n = 0;
            while (n < 10) {
                s[n] = pool_take(HAK_ROW_LARGE, n % 7 ? 2 * (n % 7) : 1);
                s[n + 1] = pool_take_aligned(HAK_ROW_LARGE, run, align);
                must(s[n + 1]->run == run && first_of(s[n + 1]) % align == 0);
                n += 2;
            }
            while (n > 0)
                pool_give(s[--n]);
        }
    is(faults_taken(), 0, "runs of all lengths at all alignments");
    pool_unmap_empty();
    for (unsigned i = 0; i < SS_SLABS; i++)
        must(first_of(s[i] = pool_take_aligned(HAK_ROW_LARGE, 1, 2)) % 2 == 0);
    is(GLOBAL(ss_live), 2, "%d slabs at multiples of two are in two SuperSlabs", SS_SLABS);
    for (unsigned i = 0; i < SS_SLABS; i++)
        must(first_of(s[SS_SLABS + i] = pool_take(HAK_ROW_LARGE, 1)) % 2 == 1);
    is(GLOBAL(ss_live), 2, "which have room between them for as many others");
    is(faults_taken(), 0, "and for no more than that");
    for (unsigned i = 0; i < 2 * SS_SLABS; i++)
        pool_give(s[i]);
}

/* Where block k begins, and that nothing else is a block. */
static void test_bins(void)
{
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        struct slab *s = pool_take(bin, bin_info[bin].run);
        uint64_t bytes = s->run * SLAB_SIZE;
        must(s->kind == SLAB_BIN && s->bin == bin && s->size == bin_info[bin].size && !s->used && !s->carved);
        must(s->capacity == bytes / s->size && s->capacity >= 15);
        for (uint64_t at = 0; at < bytes; at++) {
            __extension__ unsigned __int128 product = (unsigned __int128)at * s->magic;
            uint64_t k = (uint64_t)(product >> 64);
            must(k == at / s->size && ((uint64_t)product < s->magic) == (at % s->size == 0));
            must(slab_of(s->base + at) == s);
            must(k / 64 < s->run * (s->size < 64 ? MAP_WORDS(MAP_BITS_MAX) : MAP_WORDS(MAP_BITS_SMALL)));
        }
        for (unsigned w = 0; w < (s->capacity + 63u) / 64; w++)
            must(s->map[w] == 0);
        pool_give(s);
    }
    is(faults_taken(), 0, "a run of every bin is found from each of its bytes; its reciprocal gives each block's number and no other");
}

static void test_reuse(void)
{
    struct slab *a = pool_take(0, 1), *b = pool_take(0, 1), *c = pool_take(0, 1);

    purge();
    memset(b->base, 1, SLAB_SIZE);
    pool_give(b);
    is_str(pool_take(1, 1) == b ? "the same" : "another", "the same", "a slab that has pages is taken again first");
    ok(!b->clean, "and isn't said to be clean");
    pool_give(b);
    is(purge(), SLAB_SIZE, "a purge gives its pages back,");
    ok(pool_take(1, 1) == b && b->clean && zeroed(b->base, SLAB_SIZE), "and it is clean then");
    pool_give(a);
    pool_give(b);
    pool_give(c);
}

/* The kernel gives back no half of a page. */
static void test_long_pages(void)
{
    struct slab *all = pool_take(HAK_ROW_LARGE, SS_SLABS), *s[4];
    size_t page = os_page;

    pool_resize(all, SS_SLABS - 4);
    for (int i = 0; i < 4; i++)
        memset((s[i] = pool_take(0, 1))->base, 1, SLAB_SIZE);
    must(superslab_of(s[0]->base) == superslab_of(all->base) && first_of(s[0]) == SS_SLABS - 4);
    os_page = 2 * SLAB_SIZE;
    purge();
    pool_give(s[0]);
    pool_give(s[3]);
    is(purge(), 0, "pages of two slabs: none goes back while one slab of it is in use,");
    ok(s[1]->base[0] == 1 && s[2]->base[SLAB_SIZE - 1] == 1, "which stays as it was");
    must(pool_take(0, 1) == s[0] && pool_take(0, 1) == s[3]);
    pool_give(s[0]);
    pool_give(s[1]);
    is(purge(), 2 * SLAB_SIZE, "with both free it does");
    ok(pool_take(0, 1) == s[0] && s[0]->clean && zeroed(s[0]->base, SLAB_SIZE), "and what is taken of it is clean");
    memset(s[0]->base, 1, SLAB_SIZE);
    pool_give(s[0]);
    is(purge(), 2 * SLAB_SIZE, "half of a page that was used since is a page");
    os_page = page;
    pool_give(s[2]);
    pool_give(s[3]);
    pool_give(all);
    purge();
    is(faults_taken(), 0, "all of it in one SuperSlab");
}

static void test_resize(void)
{
    struct slab *s = pool_take(HAK_ROW_LARGE, 8), *behind;
    struct superslab *ss = superslab_of(s->base);
    unsigned at = first_of(s);

    is(at, SS_SLABS - 8, "runs come from the end of a SuperSlab");
    ok(!pool_resize(s, 10), "where there is nothing to grow into");
    ok(pool_resize(s, 8) && s->run == 8, "the same length is no change");
    ok(pool_resize(s, 1) && s->run == 1, "shortened to one slab");
    ok(map_read(&ss->free_map) == ~map_of_slab(at), "the others are free");
    behind = pool_take(HAK_ROW_LARGE, 4);
    ok(behind && superslab_of(behind->base) == ss && first_of(behind) == at + 4, "four of them are taken");
    ok(!pool_resize(s, 6) && s->run == 1, "it can't grow over them,");
    ok(pool_resize(s, 4) && s->run == 4, "but up to them");
    pool_give(behind);
    ok(pool_resize(s, 8) && map_read(&ss->free_map) == ~map_of(at, 8), "and over them when they are free");
    pool_give(s);
}

/* Gaps of 5, 2, 4, 3 and 2 free pairs, then a SuperSlab with more room: who asks gets the tightest. */
static void test_tight(void)
{
    static const unsigned taken[] = { 24, 18, 18, 18, 18 }, gap[] = { 10, 4, 8, 6, 4 };
    struct slab *all = pool_take(HAK_ROW_LARGE, SS_SLABS), *s[2 * 5], *got[6];
    struct superslab *ss = superslab_of(all->base);
    unsigned n = 0, at[5], first = SS_SLABS;

    pool_give(all);
    for (unsigned i = 0; i < 5; i++) {                  /* they come from the top down */
        must(superslab_of((s[n++] = pool_take(HAK_ROW_LARGE, taken[i]))->base) == ss);
        must(superslab_of((s[n++] = pool_take(HAK_ROW_LARGE, gap[i]))->base) == ss);
        at[i] = first -= taken[i] + gap[i];
    }
    is(first, 0, "a SuperSlab is cut from its end, without a hole");
    for (unsigned i = 0; i < 5; i++)
        pool_give(s[2 * i + 1]);
    is(first_of(got[0] = pool_take(HAK_ROW_LARGE, 6)), at[3], "three pairs where three are free");
    is(first_of(got[1] = pool_take(HAK_ROW_LARGE, 4)), at[1], "two where two are, the upper ones");
    is(first_of(got[2] = pool_take(HAK_ROW_LARGE, 4)), at[4], "then the lower ones");
    is(first_of(got[3] = pool_take(HAK_ROW_LARGE, 6)), at[2] + 2, "three more from the top of four");
    is(first_of(got[4] = pool_take(HAK_ROW_LARGE, 6)), at[0] + 4, "then of five");
    got[5] = pool_take(HAK_ROW_LARGE, 6);
    ok(superslab_of(got[5]->base) != ss, "and the next in another SuperSlab");
    for (unsigned i = 0; i < 5; i++)
        pool_give(s[2 * i]);
    for (unsigned i = 0; i < 6; i++)
        pool_give(got[i]);
}

static void test_lru(void)
{
    enum { ALL = KEPT + 5 };
    struct slab *s[ALL];
    char *base[ALL];

    lru_max(0);
    purge();
    is(GLOBAL(ss_lru), 0, "with pool.lru_max 0 a purge empties the LRU");
    uint64_t unmapped = GLOBAL(ss_unmapped);
    lru_max(2);
    for (int i = 0; i < ALL; i++) {
        s[i] = pool_take(HAK_ROW_LARGE, SS_SLABS);
        memset(base[i] = s[i]->base, 1, SS_SIZE);
    }
    is(GLOBAL(ss_live), ALL, "%d whole SuperSlabs are live", ALL);
    uint64_t created = GLOBAL(ss_created);
    for (int i = 0; i < ALL; i++)
        pool_give(s[i]);
    is(GLOBAL(ss_live), KEPT, "given back, %d of them stay so,", KEPT);
    is(GLOBAL(ss_lru), 2, "the LRU keeps two,");
    is(GLOBAL(ss_unmapped) - unmapped, 3, "and three are unmapped");
    laws();
    for (int i = 0; i < KEPT; i++)
        s[i] = pool_take(HAK_ROW_LARGE, SS_SLABS);
    is(GLOBAL(ss_lru), 2, "those that are live are used first,");
    s[KEPT] = pool_take(0, 1);
    ok(s[KEPT]->base == base[ALL - 1], "then the latest of the LRU,");
    s[KEPT + 1] = pool_take(HAK_ROW_LARGE, SS_SLABS);
    ok(s[KEPT + 1]->base == base[ALL - 2] && !s[KEPT + 1]->clean, "then the other");
    is(GLOBAL(ss_created), created, "before another one is made");
    s[KEPT + 2] = pool_take(HAK_ROW_LARGE, SS_SLABS);
    is(GLOBAL(ss_created), created + 1, "which is clean: %s", s[KEPT + 2]->clean ? "yes" : "no");
    is(pool_superslabs(), ALL, "and has the struct of one that is gone");
    for (int i = 0; i < KEPT + 3; i++)
        pool_give(s[i]);
    laws();
    pool_unmap_empty();
    is(GLOBAL(ss_live) + GLOBAL(ss_lru), 0, "for want of memory all that are empty are unmapped");
    laws();
    is(faults_taken(), 0, "created - unmapped = live + LRU");
}

static void test_age(void)
{
    struct slab *a, *b;

    lru_max(2);
    purge();
    atomic_store(&core_now_ms, 1000);
    a = pool_take(HAK_ROW_LARGE, 2);
    b = pool_take(HAK_ROW_LARGE, 2);
    memset(a->base, 1, 2 * SLAB_SIZE);
    memset(b->base, 1, 2 * SLAB_SIZE);
    atomic_store(&core_now_ms, 2000);
    pool_give(a);
    is(pool_purge(2099, 100), 0, "nothing is purged before its time,");
    is(pool_purge(2100, 100), 2 * SLAB_SIZE, "all that is free at it,");
    is(pool_purge(2100, 100), 0, "once");
    ok(b->base[0] == 1 && b->base[2 * SLAB_SIZE - 1] == 1, "what is in use stays");
    atomic_store(&core_now_ms, UINT32_MAX - 10);
    pool_give(b);
    is(pool_purge(88, 100), 0, "the clock may wrap: 99 ms,");
    ok(pool_purge(89, 100) >= 2 * SLAB_SIZE, "100 ms");
    ok(GLOBAL(ss_live) <= KEPT, "no more SuperSlabs are live now than are kept");
}

/* Seven runs of nine pairs leave one in each SuperSlab. */
static void test_gap_behind_full(void)
{
    enum { RUN = 18, FULL = 70, RUNS = FULL * (SS_SLABS / RUN), LAST = RUNS - 1 };
    static struct slab *s[RUNS];

    for (unsigned i = 0; i < RUNS; i++)
        must((s[i] = pool_take(HAK_ROW_LARGE, RUN)) != NULL);
    struct slab *gap = s[LAST], *other = pool_take(HAK_ROW_LARGE, RUN);
    pool_give(gap);
    s[LAST] = pool_take(HAK_ROW_LARGE, RUN);
    ok(s[LAST] == gap, "the tightest gap is found behind %d full SuperSlabs", FULL - 1);
    pool_give(other);
    for (unsigned i = 0; i < RUNS; i++)
        pool_give(s[i]);
}

/* ---- many ---- */

enum { MANY = 4, HELD = 6, SS_MOST = 64 };

static _Atomic uint8_t taken[SS_MOST][SS_SLABS];
static struct slab *held[MANY][HELD];
static uint64_t seeds[MANY];

static void mark(struct slab *s, unsigned from, unsigned to, int me)
{
    struct superslab *ss = superslab_of(s->base);
    uint64_t stamp = (uintptr_t)s ^ (unsigned)me;

    if (ss->index >= SS_MOST)
        bail("more than %d SuperSlabs", SS_MOST);
    for (unsigned i = from; i < to; i++) {
        must(atomic_exchange(&taken[ss->index][first_of(s) + i], 1) == 0);
        *(uint64_t *)(void *)(s->base + i * SLAB_SIZE) = stamp;
        *(uint64_t *)(void *)(s->base + (i + 1) * SLAB_SIZE - 8) = stamp;
    }
}

static void unmark(struct slab *s, unsigned from, unsigned to, int me)
{
    struct superslab *ss = superslab_of(s->base);
    uint64_t stamp = (uintptr_t)s ^ (unsigned)me;

    for (unsigned i = from; i < to; i++) {
        must(*(uint64_t *)(void *)(s->base + i * SLAB_SIZE) == stamp);
        must(*(uint64_t *)(void *)(s->base + (i + 1) * SLAB_SIZE - 8) == stamp);
        must(atomic_exchange(&taken[ss->index][first_of(s) + i], 0) == 1);
    }
}

/* Often one slab or a power of two, at times any number of pairs. */
static struct slab *take_some(int me)
{
    unsigned run = rnd(&seeds[me]) % 8 ? 1u << rnd(&seeds[me]) % 4 : 2 + 2 * (unsigned)(rnd(&seeds[me]) % PAIRS);
    unsigned row = HAK_ROW_LARGE;

    for (unsigned bin = 0; bin < HAK_BINS && rnd(&seeds[me]) % 2; bin++)
        if (bin_info[bin].run == run)
            row = bin;
    struct slab *s = pool_take(row, run);
    if (!s)
        bail("no memory for %u slabs", run);
    must(s->run == run && s->bin == row && s->kind == (row == HAK_ROW_LARGE ? SLAB_LARGE : SLAB_BIN));
    must(!s->clean || zeroed(s->base, run * SLAB_SIZE));
    mark(s, 0, run, me);
    return s;
}

static void resize_some(struct slab *s, int me)
{
    unsigned had = s->run, pairs = (unsigned)(rnd(&seeds[me]) % (PAIRS + 1)), run = pairs ? 2 * pairs : 1;

    if (run < had)
        unmark(s, run, had, me);
    must(pool_resize(s, run) ? s->run == run : run > had && s->run == had);
    if (s->run > had)
        mark(s, had, run, me);
}

static void give(struct slab **s, int me)
{
    unmark(*s, 0, (*s)->run, me);
    pool_give(*s);
    *s = NULL;
}

static void step(int me)
{
    struct slab **s = &held[me][rnd(&seeds[me]) % HELD];

    if (rnd(&seeds[me]) % 16 == 0)
        purge();
    else if (!*s)
        *s = take_some(me);
    else if ((*s)->kind == SLAB_LARGE && rnd(&seeds[me]) % 3 == 0)
        resize_some(*s, me);
    else
        give(s, me);
}

static slab_map taken_map(unsigned ss)
{
    slab_map map = 0;

    for (unsigned i = 0; i < SS_SLABS; i++)
        map |= taken[ss][i] ? map_of_slab(i) : 0;
    return map;
}

/* Nobody is at work: every map says what is held and what not. */
static void maps_are_exact(void)
{
    unsigned empty = 0;

    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        slab_map map = taken_map(i), free = map_read(&ss->free_map);
        must(ss->state == SS_LIVE ? free == ~map : !map && !free);
        must((map_read(&ss->dirty_map) & map) == map);
        empty += ss->state == SS_LIVE && !map;
    }
    must(empty <= KEPT);
    purge();
    for (unsigned i = 0; i < pool_superslabs(); i++)
        must(pool_superslab(i)->state == SS_GONE || map_read(&pool_superslab(i)->dirty_map) == taken_map(i));
    laws();
}

static bool run_is_free(unsigned run)
{
    for (unsigned i = 0; i < pool_superslabs(); i++) {
        slab_map map = map_read(&pool_superslab(i)->free_map);
        for (unsigned first = 0; first + run <= SS_SLABS; first += run == 1 ? 1 : 2)
            if ((map & map_of(first, run)) == map_of(first, run))
                return true;
    }
    return false;
}

/* What is free in live SuperSlabs is taken before another one comes to be: runs of one power of two
 * here, each time another, since giving them back brings to light what other lengths have lost. */
static void nothing_is_lost(void)
{
    static struct slab *all[SS_MOST * SS_SLABS];
    static unsigned run = 1;
    uint64_t live = GLOBAL(ss_live);
    unsigned n = 0;

    while (run_is_free(run) && GLOBAL(ss_live) == live)
        mark(all[n++] = pool_take(HAK_ROW_LARGE, run), 0, run, 0);
    must(GLOBAL(ss_live) == live);
    while (n > 0)
        give(&all[--n], 0);
    run = run == SS_SLABS ? 1 : 2 * run;
}

/* In this order: a purge gives slabs back, which might bring back what was lost. */
static void check(void)
{
    nothing_is_lost();
    maps_are_exact();
}

static void give_all(void)
{
    for (int i = 0; i < MANY * HELD; i++)
        if (held[i / HELD][i % HELD])
            give(&held[i / HELD][i % HELD], i / HELD);
    must(GLOBAL(ss_live) <= KEPT);
    check();
}

static pthread_barrier_t together;
static long rounds, steps;

static void *rounds_of_thread(void *arg)
{
    int me = (int)(intptr_t)arg;

    for (long r = 0; r < rounds; r++) {
        for (long i = 0; i < steps; i++)
            step(me);
        if (pthread_barrier_wait(&together) == PTHREAD_BARRIER_SERIAL_THREAD) {
            check();
            lru_max((uint64_t)r % 4);
            purge();
        }
        pthread_barrier_wait(&together);
    }
    return NULL;
}

static void part(int me)
{
    for (int i = 0; i < 6; i++)
        step(me);
}

static void test_many(void)
{
    lru_max(1);
    rounds = 20;
    steps = count_of("HAK_STEPS", 400, 4000);
    stress(MANY, rounds_of_thread);
    give_all();
    is(faults_taken(), 0, "%d threads take, give, resize and purge: maps and counts are exact, nothing is lost",
       MANY);
    if (INTERLEAVES) {
        lru_max(1);
        rounds = count_of("HAK_INTERLEAVINGS", 2000, 50000);
        for (long r = 0; r < rounds; r++) {
            interleave(3, part, (uint64_t)r);
            check();
        }
        give_all();
        is(faults_taken(), 0, "and in %ld interleavings", rounds);
    }
}

/* Two meet at one SuperSlab: one gives a run of it back, the other takes a slab. */
static struct slab *given, *single;

static void give_or_take(int me)
{
    if (me == 0)
        pool_give(given);
    else
        single = pool_take(0, 1);
}

/* The whole of a SuperSlab whose number is lower than those of KEPT others, all free. */
static struct slab *lowest(void)
{
    struct slab *s[KEPT + 1], *low;

    for (int i = 0; i <= KEPT; i++)
        s[i] = pool_take(HAK_ROW_LARGE, SS_SLABS);
    for (int i = 1; i <= KEPT; i++)
        if (superslab_of(s[i]->base)->index < superslab_of(s[0]->base)->index)
            low = s[i], s[i] = s[0], s[0] = low;
    for (int i = 1; i <= KEPT; i++)
        pool_give(s[i]);
    return s[0];
}

/* What is given back is the last: the SuperSlab must not go to the LRU, nor its slabs be lost. */
static void test_last_slab(void)
{
    long n = count_of("HAK_INTERLEAVINGS", 500, 15000), stayed = 0;

    for (long r = 0; r < n; r++) {
        given = lowest();
        for (unsigned run = 1; run < SS_SLABS; run *= 2)    /* no stale hint leads to it then */
            pool_give(pool_take(HAK_ROW_LARGE, run));
        pool_resize(given, SS_SLABS - 2);
        interleave(2, give_or_take, (uint64_t)r);
        stayed += GLOBAL(ss_live) > KEPT;
        mark(single, 0, 1, 0);
        check();
        give(&single, 0);
    }
    is(faults_taken(), 0, "one takes a slab, one gives the last run back: nothing is lost in %ld interleavings", n);
    ok(stayed > 0 && stayed < n, "the SuperSlab stays in %ld of them", stayed);
}

/* What is given back is the first, and stale hints lead to the SuperSlab. */
static void test_stale_hint(void)
{
    long n = count_of("HAK_INTERLEAVINGS", 500, 15000);

    for (long r = 0; r < n; r++) {
        struct slab *half = lowest();
        pool_resize(half, SS_SLABS / 2);
        given = pool_take(HAK_ROW_LARGE, SS_SLABS / 2);
        must(superslab_of(given->base) == superslab_of(half->base));
        mark(half, 0, SS_SLABS / 2, 0);
        interleave(2, give_or_take, (uint64_t)r);
        mark(single, 0, 1, 0);
        check();
        give(&single, 0);
        give(&half, 0);
    }
    is(faults_taken(), 0, "one takes a slab, one gives the first run back: nothing is lost in %ld interleavings", n);
}

/* ---- fork ---- */

static _Atomic bool stop;

/* Is in stage 3 nearly all the time: SuperSlabs come, go to the LRU and are unmapped. */
static void *comes_and_goes(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        struct slab *s[KEPT + 3];
        for (int i = 0; i < KEPT + 3; i++)
            s[i] = pool_take(HAK_ROW_LARGE, SS_SLABS);
        for (int i = 0; i < KEPT + 3; i++)
            pool_give(s[i]);
    }
    return NULL;
}

/* All that the child finds free is its own: it can be written to. */
static int child(void)
{
    struct slab *s[6];

    pool_after_fork();
    for (int i = 0; i < 6; i++)
        if (!(s[i] = pool_take(HAK_ROW_LARGE, SS_SLABS)))
            return 1;
    for (int i = 0; i < 6; i++)
        for (unsigned k = 0; k < SS_SLABS; k++)
            s[i]->base[k * SLAB_SIZE] = (char)(i + 1);
    for (int i = 0; i < 6; i++)
        for (unsigned k = 0; k < SS_SLABS; k++)
            if (s[i]->base[k * SLAB_SIZE] != i + 1 || slab_of(s[i]->base) != s[i])
                return 2;
    for (int i = 0; i < 6; i++)
        pool_give(s[i]);
    return GLOBAL(ss_lru) <= 2 ? 0 : 3;
}

static void test_fork(void)
{
    long forks = count_of("HAK_FORKS", 200, 1000), bad = 0;
    pthread_t t;

#ifdef __SANITIZE_THREAD__
    skip("forks while others claim slabs: in TSan a 16-byte exchange takes a lock, which stays taken in a child");
    return;
#endif
    lru_max(1);
    il_threads = true;
    pthread_create(&t, NULL, comes_and_goes, NULL);
    for (long i = 0; i < forks; i++) {
        const char *end = in_child(child);
        if (strcmp(end, "exit 0") != 0 && bad++ == 0)
            diag("a child ended with %s", end);
    }
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    is(bad, 0, "%ld children of a process that is mapping and unmapping: each finds a pool in order", forks);
    check();
    is(faults_taken(), 0, "and so does the parent");
}

int main(void)
{
    knobs = default_knobs();
    hak_my_slot_hook = slot_of_thread;
    os_init();
    sizes_init();
    pool_init(&knobs);
    test_run_of_any_length();
    test_aligned();
    test_bins();
    test_reuse();
    test_long_pages();
    test_resize();
    test_tight();
    test_lru();
    test_age();
    pthread_barrier_init(&together, NULL, MANY);
    test_many();
    if (INTERLEAVES) {
        test_last_slab();
        test_stale_hint();
    }
    test_fork();
    test_gap_behind_full();
    return tap_done();
}
