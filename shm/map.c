/* map.c: the map of SuperSlabs, copied while it is written. */
#include "shm/internal.h"

/* No more than there are, nor than the file has memory for. */
static size_t superslabs_used(const struct shm_seg *seg)
{
    const struct hak_seg_header *h = &seg->header;
    const struct hak_state *state = (const struct hak_state *)(seg->map + h->state_off);
    uint64_t used, most = h->map_count;

    if (h->map_count == 0 || !shm_copy_out(&used, &state->map_used, sizeof used))
        return 0;
    uint64_t backed = shm_backed(seg, h->map_off) / h->map_size;
    most = most < backed ? most : backed;
    return used < most ? used : most;
}

size_t shm_map_slabs(const struct shm_seg *seg)
{
    size_t slabs = seg->header.map_size / sizeof(uint16_t);

    return slabs < HAK_MAP_SLABS ? slabs : HAK_MAP_SLABS;
}

size_t shm_map(const struct shm_seg *seg, struct shm_superslab *superslabs, size_t most)
{
    size_t used = superslabs_used(seg), bytes = shm_map_slabs(seg) * sizeof(uint16_t), count = 0;

    for (; count < used && count < most; count++) {
        const uint8_t *from = seg->map + seg->header.map_off + count * seg->header.map_size;
        superslabs[count] = (struct shm_superslab){ { 0 } };
        if (!shm_copy_out(&superslabs[count], from, bytes))
            break;
    }
    return count;
}
