/* internal.h: what the files of the core share: SuperSlabs (superslab.c), their runs (pool.c), their pages (purge.c) and
 * what the map says of them (cells.c). */
#ifndef HAK_CORE_INTERNAL_H
#define HAK_CORE_INTERNAL_H

#include "lib/base/lock.h"
#include "lib/core/pool.h"

struct pool;                                            /* pool.c */

hak_inline unsigned index_of(const struct superslab *ss, const struct slab *slab)
{
    return (unsigned)(slab - ss->slab);
}

/* ---- superslab.c ---- */

/* Guards the LRU (a ring around `lru`, newest first), the structs of SuperSlabs that are gone, and every change of
 * superslab.state.  A signal handler on top of who has it leaves the lists alone: what it needs is mapped anew. */
extern struct lock pool_lock;
extern struct superslab lru;

/* Live SuperSlabs whose free_map is ALL_SLABS. */
extern _Atomic int32_t superslabs_empty;

/* A free_map has been changed by compare-exchange from `map`: was it all free? */
hak_inline void superslab_note_taken(slab_map map)
{
    if (unlikely(map == ALL_SLABS))
        atomic_fetch_sub_explicit(&superslabs_empty, 1, memory_order_relaxed);
}

void superslab_init(const union hak_knobs *knobs);

/* One from the LRU, or a new one, with all slabs claimed by the caller.  Under the lock, or, `locked` false, on top of who
 * has it.  NULL: no memory. */
struct superslab *superslab_acquire(struct pool *pool, bool locked);

/* One of which all slabs were free a moment ago goes to the LRU; false: it stays live. */
bool superslab_retire(struct superslab *ss);

/* Unmaps what the LRU holds beyond pool.lru_max.  Under the lock.  Bytes. */
size_t superslab_trim(void);

/* ---- purge.c ---- */

extern struct lock purge_lock;                          /* one purge at a time; nobody waits for it */

/* ---- pool.c ---- */

/* Makes slabs nobody's. */
void pool_release(struct superslab *ss, slab_map mask);

/* ---- cells.c ---- */

/* Writes a cell of abi/segment.h for slabs of a SuperSlab, or all of them, or a run in use. */
void cells_fill(const struct superslab *ss, unsigned first, unsigned run, unsigned cell);
void cells_fill_all(const struct superslab *ss, unsigned cell);
void cells_fill_run(const struct superslab *ss, const struct slab *slab);

#endif
