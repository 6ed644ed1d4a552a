/* sizes.h: requests to bins.  The bins themselves are declared in abi/sizes.def. */
#ifndef HAK_SIZES_H
#define HAK_SIZES_H

#include "abi/layout.h"
#include "lib/base/base.h"

#define TINY_MAX   ((size_t)1024)
#define MID_SHIFT  15
#define MID_MAX    ((size_t)1 << MID_SHIFT)
#define LARGE_MAX  (2 * MIB)                /* above: huge */

#define TINY_STEP  3                        /* a request's slot in tiny_bin: 8-byte steps */
#define MID_STEP   6                        /* in mid_bin: 64-byte steps */

#define L1_START 16                         /* FastCache's first capacity */
#define L1_SIZES 8                          /* it doubles up to 2048 */
enum {                                      /* what those of all bins can hold */
    L1_BLOCKS = 0
#define BIN(size, cls, slabs, fast_cache) + (fast_cache)
#include "abi/sizes.def"
#undef BIN
};

struct bin_info {
    uint32_t size;
    uint16_t fast_cache;                    /* most that L1 can hold, blocks */
    uint8_t  cls;                           /* class number */
    uint8_t  run;                           /* slabs in a whole run (cache.c, next_run) */
};

extern const struct bin_info bin_info[HAK_BINS];

/* Of a row of counters: a bin's, or a tier's without bins. */
hak_inline unsigned class_of_row(unsigned row)
{
    return row < HAK_BINS ? bin_info[row].cls : HAK_CLASS_LARGE + (row - HAK_ROW_LARGE);
}

/* C0 to C7: the row of a bin of up to TINY_MAX bytes. */
hak_inline bool row_is_tiny(unsigned row)
{
    return row < HAK_BINS && bin_info[row].cls < HAK_CLASS_MID;
}

/* Filled by sizes_init; before that all zero, which leads every request to a slow path. */
extern uint8_t tiny_bin[(TINY_MAX >> TINY_STEP) + 1];
extern uint8_t mid_bin[(MID_MAX >> MID_STEP) + 1];
extern uint64_t aligned_bins[MID_SHIFT + 1];    /* bit b of [k]: bin b's size is a multiple of 2^k */
void sizes_init(void);

hak_inline unsigned bin_of_tiny(size_t n)   /* n <= TINY_MAX */
{
    return tiny_bin[(n + 7) >> TINY_STEP];
}

hak_inline unsigned bin_of_mid(size_t n)    /* TINY_MAX < n <= MID_MAX */
{
    return mid_bin[(n + 63) >> MID_STEP];
}

/* The smallest bin of at least n bytes (n <= MID_MAX) whose blocks are all aligned to `align`, a
 * power of two up to MID_MAX: a run starts at a multiple of the greatest power of two in its bin's size, so
 * that a block is as aligned as its size.  There is one: the sizes include MID_MAX.  The bin before the one
 * for n may be for alignments alone, and large enough. */
hak_inline unsigned bin_of_aligned(size_t n, size_t align)
{
    if (n < align)
        n = align;
    unsigned b = n <= TINY_MAX ? bin_of_tiny(n) : bin_of_mid(n);
    b -= n > TINY_MAX && bin_info[b - 1].size >= n;
    return (unsigned)__builtin_ctzll(aligned_bins[__builtin_ctzll(align)] >> b) + b;
}

/* Slabs of a run that holds n bytes: one, or pairs (slab_map.h). */
hak_inline unsigned slabs_of(size_t n)
{
    return n <= SLAB_SIZE ? 1 : 2 * (unsigned)((n + 2 * SLAB_SIZE - 1) >> (SLAB_SHIFT + 1));
}

#endif
