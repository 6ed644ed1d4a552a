/* map.c: where the cells of a SuperSlab are on the map that tools look at (lib/core/pool.c fills it).
 *
 * Memory comes behind the map page by page, with the first SuperSlab that has its cells there, since to
 * touch a hole of a full tmpfs is death.  Where there is none to be had, the map ends for good. */
#include "lib/control/internal.h"

#include "lib/base/os.h"

static _Atomic uint32_t backed;         /* SuperSlabs whose cells have memory behind them */
static _Atomic uint32_t most = HAK_MAP_SUPERSLABS;

static void raise_to(_Atomic uint32_t *number, uint32_t to)
{
    uint32_t now = atomic_load_explicit(number, memory_order_relaxed);

    while (now < to && !atomic_compare_exchange_weak_explicit(number, &now, to, memory_order_release,
                                                              memory_order_relaxed))
        ;
}

/* By any number of threads at once: what has memory keeps it. */
static hak_cold bool back_until(uint32_t superslab)
{
    size_t from = atomic_load_explicit(&backed, memory_order_acquire) * sizeof *seg.map;
    size_t to = round_up((superslab + 1) * sizeof *seg.map, os_page);

    if (superslab >= atomic_load_explicit(&most, memory_order_relaxed))
        return false;
    if (to <= from || seg_back((char *)seg.map + from, to - from, seg.at.map + from)) {
        raise_to(&backed, (uint32_t)(to / sizeof *seg.map));
        return true;
    }
    atomic_store_explicit(&most, superslab, memory_order_relaxed);
    return false;
}

/* Readers look at SuperSlabs [0, map_used). */
static void show(uint32_t superslab)
{
    uint64_t *used = &seg.state->state.map_used, seen = get(*used);

    while (seen <= superslab && !__atomic_compare_exchange_n(used, &seen, superslab + UINT64_C(1), true,
                                                             __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

uint16_t *map_cells(uint32_t superslab)
{
    if (!seg.map || superslab >= seg.at.superslabs)
        return NULL;
    if (unlikely(superslab >= atomic_load_explicit(&backed, memory_order_acquire)) &&
        !back_until(superslab))
        return NULL;
    show(superslab);
    return seg.map[superslab];
}

void map_child(void)
{
    atomic_store_explicit(&backed, 0, memory_order_relaxed);
    atomic_store_explicit(&most, HAK_MAP_SUPERSLABS, memory_order_relaxed);
}
