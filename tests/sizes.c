/* sizes.c: no size falls between the tiers, and no block has a header (faults 3 and 4 of the
 * research prototype: 1-8 KiB went to mmap on every call; a byte before the block had to be
 * restored for some classes and not for others). */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>
#include "tests/seg.h"

#define KiB ((size_t)1 << 10)
#define MiB ((size_t)1 << 20)

static const size_t bins[] = {
#define BIN(size, cls, slabs, fast_cache) size,
#define BIN_ALIGNED(...)
#include "abi/sizes.def"
#undef BIN
};
enum { BINS = sizeof bins / sizeof *bins };

static size_t bin_of(size_t n)
{
    for (int i = 0; i < BINS; i++)
        if (n <= bins[i])
            return bins[i];
    return 0;
}

/* Every size, with 64 others alive around it. */
static void test_every_size(void)
{
    enum { LIVE = 64 };
    unsigned char *p[LIVE] = { NULL };
    size_t n[LIVE] = { 0 };
    int none = 0, lost = 0, misaligned = 0, not_its_bin = 0;
    long count = 0;
    for (size_t size = 0; size <= 2 * MiB + 4 * KiB; size += size < 33 * KiB ? 1 : 61, count++) {
        int i = (int)(count % LIVE);
        if (p[i])
            lost += p[i][0] != (unsigned char)n[i] || p[i][n[i] - 1] != (unsigned char)(n[i] >> 8);
        free(p[i]);
        p[i] = malloc(size);
        n[i] = malloc_usable_size(p[i]);
        none += !p[i] || n[i] < size || !n[i];
        misaligned += size >= 16 && (uintptr_t)p[i] % 16;
        not_its_bin += size <= 32 * KiB && n[i] != bin_of(size);
        p[i][0] = (unsigned char)n[i];
        p[i][n[i] - 1] = (unsigned char)(n[i] >> 8);
    }
    for (int i = 0; i < LIVE; i++)
        free(p[i]);
    is(none, 0, "%ld sizes from 0 to 2 MiB, each with a block that holds it", count);
    is(lost, 0, "the first and the last byte of each stay");
    is(misaligned, 0, "each from 16 bytes on is aligned to 16");
    if (under_hakmem)
        is(not_its_bin, 0, "up to 32 KiB each has the bin that abi/sizes.def says");
}

static long faults(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

/* Use a size over and over: memory that is mapped by the call faults each time. */
static void test_no_mapping_per_call(void)
{
    enum { TIMES = 100 };
    struct seg s;
    uint64_t maps = 0;
    int guilty = 0, sizes = 0;
    if (under_hakmem)
        seg_own(&s);
    for (size_t size = 1; size <= 2 * MiB; size += size / 8 + 1, sizes++) {
        if (size > MiB && !under_hakmem)
            break;
        volatile char *p = malloc(size);
        p[0] = 1;
        free((void *)p);
        if (under_hakmem)
            maps = seg_thread(&s, "os_map");
        long before = faults();
        for (int i = 0; i < TIMES; i++) {
            p = malloc(size);
            p[0] = p[size - 1] = 1;
            free((void *)p);
        }
        long per_100 = faults() - before;
        if (under_hakmem)
            maps = seg_thread(&s, "os_map") - maps;
        if (per_100 >= TIMES / 2 || maps > 2) {
            diag("size %zu: %ld faults and %llu mappings for %d calls", size, per_100,
                 (unsigned long long)maps, TIMES);
            guilty++;
        }
    }
    is(guilty, 0, "none of %d sizes up to %s makes a mapping a call", sizes,
       under_hakmem ? "2 MiB" : "1 MiB");
}

/* A thousand blocks of a size at once: blocks lie side by side, none overlaps, none is spoiled by
 * its neighbours being written full, freed and allocated again. */
static void test_no_header(void)
{
    enum { N = 1000 };
    static unsigned char *p[N];
    int overlap = 0, lost = 0, apart = 0;
    for (int b = 0; b < BINS && bins[b] <= 4096; b++) {
        size_t size = bins[b];
        uintptr_t low = UINTPTR_MAX;
        for (int i = 0; i < N; i++) {
            p[i] = malloc(size);
            memset(p[i], i, size);
            low = (uintptr_t)p[i] < low ? (uintptr_t)p[i] : low;
        }
        for (int round = 0; round < 4; round++) {
            for (int i = round % 2; i < N; i += 2)
                free(p[i]);
            for (int i = round % 2; i < N; i += 2) {
                p[i] = malloc(size);
                memset(p[i], i, size);
            }
            for (int i = 0; i < N; i++)
                for (size_t j = 0; j < size; j++)
                    lost += p[i][j] != (unsigned char)i;
        }
        int beside = 0;
        for (int i = 0; i < N; i++)
            for (int j = i + 1; j < N; j++) {
                size_t d = p[i] < p[j] ? (size_t)(p[j] - p[i]) : (size_t)(p[i] - p[j]);
                overlap += d < size;
                beside += d == size;
            }
        apart += beside < N / 2;
        for (int i = 0; i < N; i++)
            free(p[i]);
    }
    is(overlap, 0, "blocks of a size never overlap");
    is(lost, 0, "and keep every byte while their neighbours come and go");
    if (under_hakmem)
        is(apart, 0, "they lie side by side: there is no header");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    test_every_size();
    test_no_mapping_per_call();
    test_no_header();
    return tap_done();
}
