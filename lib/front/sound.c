/* sound.c: what superslab.h and heap.h say always holds of a heap's bins and slabs, looked at one by one.  A
 * debug build asks at every walk and purge, tests whenever they like. */
#include "lib/front/internal.h"

#include <string.h>

/* Every block of the run is out, or in the map, or not carved yet, and in no two of these. */
static bool slab_is_sound(const struct slab *s)
{
    unsigned words = (s->capacity + 63u) / 64, free = 0;

    for (unsigned w = 0; w < words; w++) {
        unsigned carved = s->carved > w * 64 ? s->carved - w * 64 : 0;
        uint64_t may = carved < 64 ? ((uint64_t)1 << carved) - 1 : UINT64_MAX;
        if (s->map[w] & ~may)
            return false;
        free += (unsigned)__builtin_popcountll(s->map[w]);
    }
    return s->kind == SLAB_BIN && s->carved <= s->capacity && free + s->used == s->carved;
}

static bool list_is_sound(const struct heap *h, unsigned bin, const struct slab *s, unsigned list, unsigned *empties)
{
    for (const struct slab *prev = NULL; s; prev = s, s = s->next) {
        uintptr_t owner = (uintptr_t)&h->hot.bin[bin];
        if (s->list != list || s->prev != prev || s->bin != bin || !slab_is_sound(s) ||
            address_owner((uintptr_t)s->base) != owner ||
            address_owner((uintptr_t)s->base + s->run * SLAB_SIZE - 1) != owner ||
            (s->used == s->capacity) != (list == ON_FULL))
            return false;
        *empties += s->used == 0;
    }
    return true;
}

bool heap_is_sound(const struct heap *h)
{
    static const struct bin unused;
    const bool hot = h == heap_self || h->cold.ended;   /* else it is another thread's */
    const struct slab *hole = h->cold.hole_at;

    if (hole && (hole->list != ON_AVAIL || heap_of_owner(address_owner((uintptr_t)hole->base)) != h))
        return false;

    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        const struct bin_cold *c = &h->cold.bin[bin];
        unsigned empties = 0;
        if (hot && !(h->cold.hot_bins >> bin & 1) && memcmp(&h->hot.bin[bin], &unused, sizeof unused) != 0)
            return false;
        if (!list_is_sound(h, bin, c->avail, ON_AVAIL, &empties) ||
            !list_is_sound(h, bin, c->full, ON_FULL, &empties) || empties != c->empties)
            return false;
    }
    return true;
}
