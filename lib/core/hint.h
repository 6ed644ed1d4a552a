/* hint.h: sets of SuperSlab numbers that threads change and search without a lock; eight of them side by
 * side, so that what they say of one SuperSlab is in one cache line a level.
 *
 * Three levels of 64-bit words: a bit of an upper word says that the word below it may be other than
 * 0.  A bit that is set may be stale; a number that belongs in the set is never missing for good,
 * because whoever clears a bit looks again at what the bit stands for, and sets it again if needed:
 *
 *   setter                                 clearer
 *     makes slabs free         (S1)          clears the bit            (C1)
 *     bit set? done; else sets (S2)          no free slabs? done; else sets again  (C2)
 *
 * All four are sequentially consistent.  If S2 finds the bit set before C1 clears it, then S1 comes
 * before C2 in the total order, so that C2 sees the free slabs.  The same argument holds between a
 * word and the bit above it.  tests/model/hint.pml goes through all orders of these steps. */
#ifndef HAK_HINT_H
#define HAK_HINT_H

#include "lib/base/base.h"

#define HINT_BITS 6
#define HINT_MAX  (1u << (3 * HINT_BITS))           /* 262,144 SuperSlabs: 512 GiB */
#define HINT_NONE UINT32_MAX

#define HINT_SETS 8

struct hint_words {
    _Alignas(hak_cacheline) _Atomic uint64_t set[HINT_SETS];
};

struct hint {
    struct hint_words top, mid[1u << HINT_BITS], low[1u << (2 * HINT_BITS)];
};

void hint_set(struct hint *h, unsigned set, uint32_t i);
void hint_clear(struct hint *h, unsigned set, uint32_t i);      /* the caller then looks again: C2 */
uint32_t hint_first(struct hint *h, unsigned set);              /* the lowest, or HINT_NONE */

/* The lowest and its neighbours: bit i of what comes back is *first + i. */
uint64_t hint_some(struct hint *h, unsigned set, uint32_t *first);

#endif
