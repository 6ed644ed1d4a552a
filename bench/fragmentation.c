/* fragmentation: waves of blocks, each of another range of sizes; most of a wave is freed at its
 * end in random places, the rest lives on for some waves.  A heap that cannot use the holes of one
 * wave for the next one grows.
 *
 * Reports, besides the time of the waves: waste, the mean of resident set over live bytes after
 * each wave (1.00 is perfect); and settled_kib, what is still resident when everything has been
 * freed and SETTLE_MS of light work have passed. */
#include "bench.h"

#define USAGE     "WAVES MIB KEEP_PERCENT SETTLE_MS"
#define LIFE      4             /* waves that a survivor sees */
#define RANGES    6             /* sizes of wave w: from 24 << (w % RANGES) to three times that */
#define SMALLEST  24

struct wave {
    void **block;
    uint32_t *size;
    size_t n;
};

static size_t live;             /* bytes asked for and not yet freed */

static void drop(struct wave *w, size_t i)
{
    if (w->block[i])
        live -= w->size[i];
    free(w->block[i]);
    w->block[i] = NULL;
}

static void wave_up(struct wave *w, size_t bytes, unsigned number, uint64_t *rng)
{
    size_t min = (size_t)SMALLEST << (number % RANGES), sum = 0;
    for (w->n = 0; sum < bytes; w->n++) {
        size_t size = bench_between(rng, min, 3 * min);
        w->block[w->n] = bench_touch(malloc(size), size);
        w->size[w->n] = (uint32_t)size;
        sum += size;
    }
    live += sum;
}

static void wave_down(struct wave *w, size_t keep_percent, uint64_t *rng)
{
    for (size_t i = 0; i < w->n; i++)
        if (bench_below(rng, 100) >= keep_percent)
            drop(w, i);
}

/* Allocates and frees a little, as an idle server does. */
static void settle(uint64_t ms, uint64_t *rng)
{
    double end = bench_clock(CLOCK_MONOTONIC) + 1e-3 * (double)ms;
    void *slot[64] = { NULL };
    while (bench_clock(CLOCK_MONOTONIC) < end) {
        for (int i = 0; i < 1000; i++) {
            size_t k = bench_below(rng, 64), size = bench_between(rng, 16, 1040);
            free(slot[k]);
            slot[k] = bench_touch(malloc(size), size);
        }
        usleep(1000);
    }
    for (int i = 0; i < 64; i++)
        free(slot[i]);
}

int main(int argc, char **argv)
{
    unsigned waves = (unsigned)bench_arg(argc, argv, 1, USAGE);
    size_t bytes = bench_arg(argc, argv, 2, USAGE) << 20;
    size_t keep = bench_arg(argc, argv, 3, USAGE);
    uint64_t settle_ms = bench_arg(argc, argv, 4, USAGE), ops = 0;
    struct wave wave[LIFE];
    uint64_t rng = BENCH_SEED;
    double waste = 0;
    for (int i = 0; i < LIFE; i++)
        wave[i] = (struct wave){ bench_map(bytes / SMALLEST * sizeof(void *)),
                                 bench_map(bytes / SMALLEST * sizeof(uint32_t)), 0 };
    size_t own_kib = bench_rss_kib();

    struct bench_time start = bench_time();
    for (unsigned w = 0; w < waves; w++) {
        struct wave *now = &wave[w % LIFE];
        wave_down(now, 0, &rng);
        wave_up(now, bytes, w, &rng);
        ops += now->n;
        wave_down(now, keep, &rng);
        waste += (double)(bench_rss_kib() - own_kib) * 1024 / (double)live / waves;
    }
    struct bench_time t = bench_since(start);

    for (unsigned w = 0; w < LIFE; w++)
        wave_down(&wave[w], 0, &rng);
    settle(settle_ms, &rng);
    bench_report_as("fragmentation", ops, t, " waste=%.3f settled_kib=%ld", waste,
                    (long)bench_rss_kib() - (long)own_kib);
}
