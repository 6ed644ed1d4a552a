/* superslab.h: SuperSlabs and slabs: the structs and what always holds of them.
 *
 *   SuperSlab, 2 MiB, aligned                        its metadata, elsewhere
 *   +------+------+---------------------+-----       struct superslab
 *   |slab 0|slab 1| run of 2 slabs (mid)| ...          free_map   1 bit a slab: nobody's
 *   +------+------+---------------------+-----         slab[128]  one struct a slab; the first of
 *    16 KiB                                                       a run stands for the run
 *
 * Metadata is never inside the span and never freed (type-stable): a stale pointer to it reads a
 * struct of the same type, and an unmapped SuperSlab's struct is used again for the next one.
 *
 * A bit of free_map moves 1 -> 0 and back by compare-exchange of the whole map: whoever takes it to 0 owns
 * the slab, and nobody else takes it back to 1.  Everything in struct slab belongs to the owner of the slab:
 *
 *   run of a bin   the heap of its owner word: only who holds that touches map, used, carved, links
 *   large          nobody: the block's user, who is the only one to name it, frees it
 *   kept           the heap that keeps it for its next large block (lib/front/large.c); its free_map bit stays 0
 *   free           whoever wins the free_map bit
 *
 * Which blocks of a run are free is a bitmap, not a list through them: giving a block back does not
 * touch it, taking blocks goes by address, and a block that comes back twice is seen.
 *
 * In a run of a bin, with C = capacity:
 *   bits set in map + (C - carved) + used = C,   used <= carved <= C
 *   used = blocks in user hands + in caches, SLL, remote batches and remote queues, whoever's; in a child also those lost
 */
#ifndef HAK_SUPERSLAB_H
#define HAK_SUPERSLAB_H

#include "lib/base/base.h"
#include "lib/core/address.h"
#include "lib/core/sizes.h"
#include "lib/core/slab_map.h"

struct block {                          /* in an SLL, or alone in a queue, a block holds the next one */
    struct block *next;
};

enum slab_kind { SLAB_FREE, SLAB_BIN, SLAB_LARGE, SLAB_KEPT };
enum slab_list { ON_NONE, ON_AVAIL, ON_FULL };

/* The number of a block, and whether there is one, by one multiplication (D. Lemire, O. Kaser, N. Kurz, "Faster
 * Remainder by Direct Computation", 2019).  With magic = (2^64 + e) / size, e < size, and an offset from the
 * base of k * size + r, r < size,
 *   offset * magic = k * 2^64 + k * e + r * magic
 * For an offset in a run (k + 1) * e < 2^16 * 2^16 < magic, so that the upper half is k, and the lower half is below
 * magic if and only if r = 0; the upper half of any other offset is no block of the run. */
struct slab {
    _Alignas(hak_cacheline)
    char *base;                         /* first byte of the run */
    uint64_t *map;                      /* bit i: block i was given back; from `carved` on all 0 */
    struct slab *next, *prev;           /* in one of the owner's lists */
    uint64_t magic;                     /* 2^64 / size, rounded up */
    uint16_t size;                      /* bytes of a block */
    uint16_t capacity;                  /* blocks in the run */
    uint16_t carved;                    /* blocks ever handed out, from the start of the run on */
    uint16_t used;                      /* blocks out of the slab */
    uint8_t bin;
    uint8_t run;                        /* slabs in the run */
    uint8_t kind;                       /* enum slab_kind; of a run's first slab alone other than SLAB_FREE */
    uint8_t list;                       /* enum slab_list */
    uint8_t clean;                      /* the run was never touched when it was taken: all zeroes; of a bin: and beyond
                                         * `carved` still is */
    uint8_t outgrown;                   /* large: realloc had no room to grow it: its length is not asked for again soon */
    uint16_t still_used : 13;           /* of a bin: `used` when it was last looked at for holes (lib/front/holes.c) */
    uint16_t still : 3;                 /* looks since then that found it so; SLAB_STILL: its holes have no pages */
};
#define SLAB_STILL 4
_Static_assert(sizeof(struct slab) == hak_cacheline, "a slab's struct is one cache line");

hak_inline uint64_t magic_of(unsigned size)
{
    return UINT64_MAX / size + 1;
}

#define MAP_BITS_SMALL (SLAB_SIZE / 64)         /* of a slab; those of a run lie one behind the other */
#define MAP_BITS_MAX   (SLAB_SIZE / 8)
#define MAP_WORDS(bits) ((bits) / 64)

enum ss_state { SS_GONE, SS_LIVE, SS_LRU };

struct superslab {
    char *base;
    uint32_t index;                     /* in the table and the hints; for life */
    union slab_map_shared free_map;     /* 1: the slab is nobody's */
    union slab_map_shared dirty_map;    /* 1: the slab may have pages; cleared by a purge */
    _Atomic uint32_t freed_ms;          /* when a slab was last given back */
    _Atomic uint32_t state;             /* enum ss_state; changed under the pool's lock */
    struct pool *_Atomic pool;          /* the shared one, or the bin's own (pool.per_class) */
    struct superslab *next, *prev;      /* in the LRU, or `next` in the list of GONE ones */
    _Alignas(hak_cacheline) struct slab slab[SS_SLABS];
    uint64_t map[SS_SLABS][MAP_WORDS(MAP_BITS_SMALL)];
    uint64_t map_wide[SS_SLABS][MAP_WORDS(MAP_BITS_MAX)];  /* for bins below 64 bytes */
};

/* The SuperSlab or huge mapping of an address, told apart by the low bit. */
#define UNIT_HUGE ((uintptr_t)1)

/* For a p that is, or was, in a SuperSlab. */
hak_inline struct superslab *superslab_with(const void *p)
{
    uintptr_t unit = address_unit_possible((uintptr_t)p);

    return unit & UNIT_HUGE ? NULL : (struct superslab *)unit;
}

hak_inline struct superslab *superslab_of(const void *p)
{
    return likely(address_possible((uintptr_t)p)) ? superslab_with(p) : NULL;
}

/* The first slab of the run that p, which is or was in a SuperSlab, lies or last lay in; NULL: in none ever.  For
 * large blocks only their first slab says it: elsewhere in one p leads to some slab that isn't its block's. */
hak_inline struct slab *slab_of(const void *p)
{
    return (struct slab *)address_slab((uintptr_t)p);
}

#endif
