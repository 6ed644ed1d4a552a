/* pool.h: the shared pool: the SuperSlabs of the process and their free slabs.
 *
 *   stage 1  an empty slab, used before            lock-free: compare-exchange of free_map
 *   stage 2  an unused slab of a live SuperSlab    the same
 *   stage 3  a SuperSlab from the LRU or the OS    under the pool's lock
 *
 * Which calls may run together: all of them, from any thread, unless it says otherwise. */
#ifndef HAK_POOL_H
#define HAK_POOL_H

#include "lib/base/hooks.h"
#include "lib/core/superslab.h"

/* Takes a run: one slab, or an even number of slabs, up to 128, at an even place.  The first one's struct comes
 * back with base, run and clean; kind SLAB_BIN or SLAB_LARGE, owner NULL, nothing used, nothing carved.
 * `row`: the bin, or HAK_ROW_LARGE.  NULL: no memory. */
struct slab *pool_take(unsigned row, unsigned run);

/* The same, at a multiple of `align` slabs, a power of two; run + align <= 129. */
struct slab *pool_take_aligned(unsigned row, unsigned run, unsigned align);

/* Gives a run back; nobody may know its blocks any more and its owner words must be 0. */
void pool_give(struct slab *slab);

/* Shortens a run to its first `run` slabs, one or an even number, or makes it longer where the slabs behind it
 * are free.  False (only when growing): they are not. */
bool pool_resize(struct slab *slab, unsigned run);

/* Says on the map (hooks.h) how full a run is.  For its owner, or who acts for it. */
void pool_map_fill(const struct slab *slab);

/* Gives the pages of free slabs back that nobody has used for `age_ms`, and unmaps what the LRU
 * holds beyond pool.lru_max.  Bytes given back.  One thread at a time does it, others return 0. */
size_t pool_purge(uint32_t now_ms, uint32_t age_ms);

/* Gives pages of a run back on which nothing is stored; its owner does that.  Bytes given back: all, or none. */
size_t pool_purge_pages(char *from, size_t bytes);

/* Unmaps all SuperSlabs that are empty.  Bytes. */
size_t pool_unmap_empty(void);

/* Knobs that the core obeys; by any thread that applies a generation, each value idempotent. */
void core_apply(const union hak_knobs *knobs);
uint32_t core_decay_ms(void);

/* The number of SuperSlab structs made, and each of them (NULL: not made yet). */
unsigned pool_superslabs(void);
struct superslab *pool_superslab(unsigned index);

/* In the child of a fork. */
void pool_after_fork(void);

/* There, once the child's counters are in place: adds what it inherited to the gauges and the map. */
void pool_count_inherited(void);

/* There: calls `see` with every run that is cut, large or kept. */
void pool_each_run(void (*see)(const struct slab *slab, void *arg), void *arg);

/* Before the first use: pool.per_class and os.thp are read here. */
void pool_init(const union hak_knobs *knobs);

/* Coarse time for decay: milliseconds, as of the last tick of any thread. */
extern _Atomic uint32_t core_now_ms;

#endif
