/* sizes.c: the tables of sizes.h, from abi/sizes.def. */
#include "lib/core/sizes.h"

const struct bin_info bin_info[HAK_BINS] = {
#define BIN(bytes, klass, slabs, fc)                                                              \
    { .size = bytes, .fast_cache = fc, .cls = klass, .run = slabs },
#include "abi/sizes.def"
#undef BIN
};

#define BIN(bytes, klass, slabs, fc)                                                              \
    _Static_assert((bytes) == 8 || (bytes) % 16 == 0, "blocks of 16 bytes and more are aligned to 16");  \
    _Static_assert((fc) >= L1_START && (fc) <= L1_START << (L1_SIZES - 1), "L1 starts with its first capacity");  \
    _Static_assert((slabs) * SLAB_SIZE / (bytes) >= 15, "a whole run holds at least 15 blocks");  \
    _Static_assert(((slabs) + 3) / 4 * SLAB_SIZE / (bytes) >= 3, "the shortest one at least 3");  \
    _Static_assert((bytes) <= TINY_MAX ? (bytes) % 8 == 0 : (bytes) % 64 == 0, "whole cache lines");
#include "abi/sizes.def"
#undef BIN

static const bool aligned_only[HAK_BINS] = {
#define BIN(...) false,
#define BIN_ALIGNED(...) true,
#include "abi/sizes.def"
#undef BIN
};

uint8_t tiny_bin[(TINY_MAX >> TINY_STEP) + 1];
uint8_t mid_bin[(MID_MAX >> MID_STEP) + 1];
uint64_t aligned_bins[MID_SHIFT + 1];
_Static_assert(HAK_BINS <= 64, "a word has a bit for every bin");

void sizes_init(void)
{
    unsigned b = 0;

    for (size_t i = 0; i <= TINY_MAX >> TINY_STEP; i++) {
        while (bin_info[b].size < i << TINY_STEP)
            b++;
        tiny_bin[i] = (uint8_t)b;
    }
    for (size_t i = (TINY_MAX >> MID_STEP) + 1; i <= MID_MAX >> MID_STEP; i++) {
        while (bin_info[b].size < i << MID_STEP || aligned_only[b])
            b++;
        mid_bin[i] = (uint8_t)b;
    }
    for (unsigned k = 0; k <= MID_SHIFT; k++)
        for (b = 0; b < HAK_BINS; b++)
            if (bin_info[b].size % (1u << k) == 0)
                aligned_bins[k] |= (uint64_t)1 << b;
}
