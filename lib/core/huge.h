/* huge.h: blocks above LARGE_MAX, or too much aligned for a SuperSlab: a mapping each.
 *
 * A mapping starts at a multiple of 2 MiB, and the block starts where it does, so that the unit word
 * of its address (address.h) finds it.  Freed mappings wait in a cache until they are too old or too
 * many.  A request is cut off the smallest that is large enough; if none is, it gets an address of its own, to
 * which the pages of several are moved: what pages there are come first, whatever the sizes.  All calls are
 * thread-safe and may run together. */
#ifndef HAK_HUGE_H
#define HAK_HUGE_H

#include "lib/base/hooks.h"

/* *bytes: what the block can hold; *zero: whether it reads as zeroes.  NULL: no memory. */
void *huge_take(size_t n, size_t align, size_t *bytes, bool *zero);

/* What the block at p can hold; 0: p is not the start of a huge block in use. */
size_t huge_bytes(const void *p);

/* Frees the block; what it held.  0: as above, nothing done. */
size_t huge_give(void *p);

/* Makes the block n bytes long; where it has to move, its pages do, not their content (but for a block that was made
 * of several: huge.c).  The block's new address and its *old and *bytes; NULL: it can't, and it is as it was. */
void *huge_resize(void *p, size_t n, size_t *old, size_t *bytes);

void huge_cache_limit(size_t bytes);                    /* os.huge_cache */
size_t huge_purge(uint32_t now_ms, uint32_t age_ms);    /* unmaps what has been cached for so long */

void huge_after_fork(void);

/* Blocks in use, and their bytes; in the child of a fork. */
size_t huge_in_use(void);
size_t huge_bytes_in_use(void);
void huge_count_inherited(void);

#endif
