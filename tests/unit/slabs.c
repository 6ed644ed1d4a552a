/* slabs.c: slabs and their bitmaps, held against a plain record of which blocks are out. */
#include "tests/unit/front.h"

enum { SS_MOST = 64, OUT_MOST = 1 << 17, BYTES_MOST = 96 << 20 };

static struct heap *h;
static uint8_t is_out[SS_MOST][SS_SIZE / 8];            /* by address, in steps of the smallest block */
static void *out[OUT_MOST];
static unsigned n_out;
static uint64_t seed = 5;

static uint8_t *record_of(void *p)
{
    struct superslab *ss = superslab_of(p);

    if (ss->index >= SS_MOST)
        bail("more than %d SuperSlabs", SS_MOST);
    return &is_out[ss->index][((uintptr_t)p - (uintptr_t)ss->base) / 8];
}

/* What slabs_take brings are blocks of the bin that were not out, the lowest of a slab last. */
static void take(unsigned bin)
{
    static void *got[300];
    unsigned want = 1 + (unsigned)(rnd(&seed) % 300), n;

    if (want > OUT_MOST - n_out)
        want = OUT_MOST - n_out;
    if (n_out * bin_info[bin].size > BYTES_MOST)
        want = 0;
    n = slabs_take(h, bin, got, want);
    must(n <= want && (n > 0 || !want));
    for (unsigned i = 0; i < n; i++) {
        struct slab *s = slab_of(got[i]);
        size_t offset = (size_t)((char *)got[i] - s->base);
        must(s->bin == bin && address_owner((uintptr_t)s->base) == (uintptr_t)&h->hot.bin[bin] && s->kind == SLAB_BIN);
        must(offset % s->size == 0 && offset / s->size < s->carved);
        must(address_owner((uintptr_t)got[i]) == (uintptr_t)&h->hot.bin[bin]);
        must(i == 0 || slab_of(got[i - 1]) != s || got[i - 1] > got[i]);
        must(!*record_of(got[i]));
        *record_of(got[i]) = 1;
        out[n_out++] = got[i];
    }
}

static void *pick(void)
{
    unsigned i = (unsigned)(rnd(&seed) % n_out);
    void *p = out[i];

    out[i] = out[--n_out];
    must(*record_of(p));
    *record_of(p) = 0;
    return p;
}

static uint64_t used_of(unsigned bin)
{
    uint64_t used = 0;

    for (struct slab *s = h->cold.bin[bin].avail; s; s = s->next)
        used += s->used;
    for (struct slab *s = h->cold.bin[bin].full; s; s = s->next)
        used += s->used;
    return used;
}

static void put_one(void *p) { slabs_put(h, slab_of(p), p); }

static void put(unsigned n)
{
    for (; n > 0 && n_out > 0; n--)
        put_one(pick());
}

/* Many at a time by way of L1, which gives back runs of neighbours. */
static void put_by_l1(unsigned bin)
{
    struct bin *b = &h->hot.bin[bin];
    unsigned most = (unsigned)(rnd(&seed) % bin_info[bin].fast_cache) % 300, n = 0;

    b->l1.base = h->cold.l1;                            /* no bin of this heap has an L1 */
    for (; n < most && n_out > 0; n++)
        b->l1.base[n] = pick();
    b->l1.top = b->l1.base + n;
    l1_trim(h, bin, n);
    must(b->l1.top == b->l1.base);
    memset(b, 0, sizeof *b);                            /* not used, as before */
}

static void test_bin(unsigned bin)
{
    long steps = count_of("HAK_STEPS", 600, 10000);
    uint64_t most = 0;

    for (long i = 0; i < steps; i++) {
        uint64_t what = rnd(&seed) % 16;
        if (what < 8)
            take(bin);
        else if (what < 14)
            put((unsigned)(rnd(&seed) % 250));
        else if (what < 15)
            put_by_l1(bin);
        else
            empties_trim(h, bin, (unsigned)(rnd(&seed) % 3));
        must(used_of(bin) == n_out);
        must(heap_is_sound(h));
        most = n_out > most ? n_out : most;
    }
    put(n_out);
    must(used_of(bin) == 0 && heap_is_sound(h));
    must(most > bin_info[bin].run * SLAB_SIZE / bin_info[bin].size);
    must(h->cold.bin[bin].empties <= table[0].pool_empty_slabs);
    empties_trim(h, bin, 0);
    must(!h->cold.bin[bin].avail && !h->cold.bin[bin].full);
}

static void test_bins(void)
{
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        test_bin(bin);
    is(faults_taken(), 0, "every bin: random blocks out and back, each where it belongs, none out twice");
    for (unsigned i = 0; i < pool_superslabs(); i++)
        must(pool_superslab(i)->state != SS_LIVE || map_read(&pool_superslab(i)->free_map) == ~(slab_map)0);
    is(faults_taken(), 0, "in the end every slab is the pool's again");
}

/* How long the run is that a bin takes when all that it has are full. */
static unsigned run_after(unsigned bin, unsigned *blocks)
{
    struct bin_cold *c = &h->cold.bin[bin];

    while (c->avail)
        *blocks += slabs_take(h, bin, out + *blocks, 1);
    *blocks += slabs_take(h, bin, out + *blocks, 1);
    return slab_of(out[*blocks - 1])->run;
}

static void test_runs(void)
{
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        static const struct { unsigned run, times; } tiny[] = { { 1, 16 }, { 2, 8 }, { 4, 2 } },
                                                     mid[] = { { 1, 2 }, { 2, 1 }, { 4, 2 } };
        unsigned most = bin_info[bin].run, least = most < 4 ? 1 : most / 4, blocks = 0;
        bool is_tiny = bin_info[bin].size <= TINY_MAX;
        for (unsigned i = 0; i < 3; i++) {
            unsigned run = least * (is_tiny ? tiny[i].run : mid[i].run);
            for (unsigned n = is_tiny ? tiny[i].times : mid[i].times; n > 0; n--)
                must(run_after(bin, &blocks) == (run < most ? run : most));
        }
        must(blocks <= OUT_MOST);
        while (blocks > 0)
            put_one(out[--blocks]);
        empties_trim(h, bin, 0);
    }
    is(faults_taken(), 0, "the first runs of a bin are a quarter of a whole one, later ones a half, then whole");
}

/* ---- misuse ---- */

#define TWICE "free(): block freed twice, or not the start of a block"

static void put_twice(void *p) { put_one(p); put_one(p); }

/* By free: it is seen when the caches give back what they hold. */
static void free_and_purge(void *p) { heap_free(p); heap_purge(); }
static void free_twice_and_purge(void *p) { heap_free(p); free_and_purge(p); }


static void test_misuse(void)
{
    static const size_t sizes[] = { 8, 16, 48, 64, 112, 1024, 1280, 32768 };

    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned bin = sizes[i] <= TINY_MAX ? bin_of_tiny(sizes[i]) : bin_of_mid(sizes[i]);
        void *got[8];
        char what[64];
        for (unsigned n = 0, more; n < 8; n += more)
            if ((more = slabs_take(h, bin, got + n, 8 - n)) == 0)
                bail("no memory");
        char *p = got[3];
        struct slab *s = slab_of(p);
#define CASE(fn, at, text) \
        (snprintf(what, sizeof what, "%zu bytes, " text, sizes[i]), dies(fn, at, TWICE, what))
        CASE(put_twice, p, "given back twice");
        CASE(put_one, p + sizes[i] / 2, "the middle");
        CASE(put_one, p + 1, "its second byte");
        CASE(put_one, p + sizes[i] - 1, "its last");
        CASE(put_one, s->base + (size_t)s->carved * s->size, "one that was never handed out");
        CASE(put_one, s->base + s->run * SLAB_SIZE - 1, "the run's last byte");
        CASE(free_twice_and_purge, p, "freed twice");
        CASE(free_and_purge, p + sizes[i] / 2, "the middle freed");
#undef CASE
        for (unsigned k = 0; k < 8; k++)
            put_one(got[k]);
        ok(heap_is_sound(h), "%zu bytes: the parent's are as they should be", sizes[i]);
    }
}

/* For the next cell of a bin's L1. */
static void *number(const struct bin *b, unsigned bin)
{
    return (void *)(uintptr_t)(stack_count(&b->l1) << 8 | bin);
}

/* Every bin grows its L1 to the most, in between the others: each has its own array at any time, and those that
 * were outgrown are used again.  The blocks are numbers here. */
static void test_l1_arrays(void)
{
    uint64_t left = 0;
    unsigned alone = 0;
    void *p;

    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        left += bin_info[bin].fast_cache;
        alone += L1_START;
        for (unsigned n = L1_START; n < bin_info[bin].fast_cache; n *= 2)
            alone += 2 * n;
    }
    while (left > 0) {
        unsigned bin = (unsigned)(rnd(&seed) % HAK_BINS);
        struct bin *b = &h->hot.bin[bin];
        for (uint64_t n = rnd(&seed) % 64; n > 0 && l1_keep(b, bin, number(b, bin)); n--)
            left--;
        must(stack_count(&b->l1) <= stack_room(&b->l1) && stack_room(&b->l1) <= bin_info[bin].fast_cache);
    }
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        struct bin *b = &h->hot.bin[bin];
        must(stack_count(&b->l1) == bin_info[bin].fast_cache && !l1_keep(b, bin, NULL));
        while (stack_pop(&b->l1, &p, &row_of(b)->l1_hits))
            must(p == number(b, bin));
    }
    is(faults_taken(), 0, "every bin fills its FastCache to the most, and finds in it what it put there");
    ok(alone <= 2 * L1_BLOCKS, "there is room for the arrays, were none of them used again,");
    ok(h->cold.l1_used < alone, "but they are: %u words instead of %u", h->cold.l1_used, alone);
}

int main(void)
{
    start_front();
    if (!(h = heap_mine()))
        bail("no heap");
    heap_enter(h);
    test_bins();
    test_runs();
    test_misuse();
    test_l1_arrays();
    heap_leave(h);
    return tap_done();
}
