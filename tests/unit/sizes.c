/* sizes.c: requests to bins, held against the rows of abi/sizes.def themselves. */
#include "lib/core/sizes.h"
#include "tests/unit/core.h"

static const struct { size_t size; unsigned cls, run, cache; bool aligned_only; } rows[] = {
#define BIN(size, cls, slabs, cache) { size, cls, slabs, cache, false },
#define BIN_ALIGNED(size, cls, slabs, cache) { size, cls, slabs, cache, true },
#include "abi/sizes.def"
#undef BIN
};

/* The smallest bin of n bytes or more that is a multiple of align; malloc's are not those that are there
 * for alignments. */
static unsigned smallest(size_t n, size_t align)
{
    unsigned b = 0;
    while (b < HAK_BINS && (rows[b].size < n || rows[b].size % align || (align == 1 && rows[b].aligned_only)))
        b++;
    return b;
}

static unsigned bin_of(size_t n)
{
    return n <= TINY_MAX ? bin_of_tiny(n) : bin_of_mid(n);
}

static void test_requests(void)
{
    for (size_t n = 0; n <= MID_MAX; n++)
        must(bin_of(n) == smallest(n, 1));
    is(faults_taken(), 0, "every request of 0 to %zu bytes is served by the smallest bin", MID_MAX);
    for (size_t n = 16; n <= MID_MAX; n++)
        must(bin_info[bin_of(n)].size % 16 == 0);
    is(faults_taken(), 0, "from 16 bytes on by one that is aligned to 16");
    for (size_t n = 65; n <= MID_MAX; n++)
        must((bin_info[bin_of(n)].size - n) * 5 <= bin_info[bin_of(n)].size);
    is(faults_taken(), 0, "from 65 on with a fifth of the block unused, at most");
}

static void test_alignments(void)
{
    for (size_t align = 1; align <= MID_MAX; align *= 2)
        for (size_t n = 0; n <= MID_MAX; n += n < 2048 || n > MID_MAX - 64 ? 1 : 31)
            must(bin_of_aligned(n, align) == smallest(n < align ? align : n, align > 1 ? align : 2));
    is(faults_taken(), 0, "and every alignment by the smallest bin of that alignment");
    is(bin_info[bin_of_aligned(1, MID_MAX)].size, MID_MAX, "%zu bytes have a bin that is aligned to %zu",
       MID_MAX, MID_MAX);
    is(bin_info[bin_of_aligned(MID_MAX - 4096, 16 * KIB)].size, MID_MAX, "28 KiB at 16 KiB are of 32 KiB");
}

static void test_table(void)
{
    for (unsigned b = 0; b < HAK_BINS; b++) {
        must(bin_info[b].size == rows[b].size && bin_info[b].cls == rows[b].cls);
        must(bin_info[b].run == rows[b].run && bin_info[b].fast_cache == rows[b].cache);
        must(b == 0 || rows[b].size > rows[b - 1].size);
        must(b == 0 || rows[b].cls == rows[b - 1].cls || rows[b].cls == rows[b - 1].cls + 1);
    }
    is(faults_taken(), 0, "the table is that of abi/sizes.def, and in order");
    is(bin_info[bin_of_mid(MID_MAX)].size, rows[HAK_BINS - 1].size, "it ends where the large tier begins");
    is(slabs_of(SLAB_SIZE), 1, "a run is one slab,");
    is(slabs_of(SLAB_SIZE + 1), 2, "or pairs of them: two,");
    is(slabs_of(64 * KIB), 4, "four up to 64 KiB,");
    is(slabs_of(64 * KIB + 1), 6, "six from there on,");
    is(slabs_of(LARGE_MAX), SS_SLABS, "and a whole SuperSlab at its end");
}

int main(void)
{
    sizes_init();
    test_table();
    test_requests();
    test_alignments();
    return tap_done();
}
