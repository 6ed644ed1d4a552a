/* cells.c: the map that tools see: a cell for each slab (hooks.h). */
#include "lib/core/internal.h"

void cells_fill(const struct superslab *ss, unsigned first, unsigned run, unsigned cell)
{
    uint16_t *cells = hak_map(ss->index), *end;

    if (!cells)
        return;
    for (end = (cells += first) + run; cells < end && (uintptr_t)cells % 8; cells++)
        __atomic_store_n(cells, (uint16_t)cell, __ATOMIC_RELAXED);
    for (; cells + 4 <= end; cells += 4)                /* four at a time */
        __atomic_store_n((uint64_t *)(void *)cells, cell * UINT64_C(0x0001000100010001), __ATOMIC_RELAXED);
    for (; cells < end; cells++)
        __atomic_store_n(cells, (uint16_t)cell, __ATOMIC_RELAXED);
}

void cells_fill_all(const struct superslab *ss, unsigned cell)
{
    cells_fill(ss, 0, SS_SLABS, cell);
}

/* How full a run in use is, out of 255; what holds one block is full. */
static unsigned fullness(const struct slab *slab)
{
    return slab->kind == SLAB_BIN ? 1 + slab->used * 254u / slab->capacity : 255;
}

void cells_fill_run(const struct superslab *ss, const struct slab *slab)
{
    cells_fill(ss, index_of(ss, slab), slab->run, HAK_CELL_BIN + slab->bin + (fullness(slab) << 8));
}

void pool_map_fill(const struct slab *slab)
{
    cells_fill_run(superslab_of(slab->base), slab);
}
