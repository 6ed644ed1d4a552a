/* superslab.c: the SuperSlabs of the process: made, kept in the LRU while they are empty, unmapped, and listed anew in the
 * child of a fork. */
#include "lib/base/os.h"
#include "lib/base/syscall.h"
#include "lib/base/usdt.h"
#include "lib/core/hint.h"
#include "lib/core/huge.h"
#include "lib/core/internal.h"

#include <sys/resource.h>

struct lock pool_lock = { .name = "pool" };
struct superslab lru;
_Atomic int32_t superslabs_empty;

static struct superslab *_Atomic table[HINT_MAX];
static _Atomic uint32_t table_used;
static uint32_t lru_count;
static struct superslab *gone;
static uint64_t thp_from;                               /* os.thp */
static _Atomic uint32_t knob_lru_max, knob_decay_ms;    /* core_apply, before the first use */
static size_t spare_max;                                /* bytes that may stay mapped, of each kind, for reuse */

void superslab_init(const union hak_knobs *knobs)
{
    thp_from = knobs->os_thp;
    spare_max = os_limit(RLIMIT_AS) / 8;
    lru.next = lru.prev = &lru;
    sys_where = &address_table;
    atomic_store_explicit(&core_now_ms, (uint32_t)(os_now_ns() / 1000000), memory_order_relaxed);
}

void core_apply(const union hak_knobs *knobs)
{
    size_t lru_most = spare_max / SS_SIZE, huge = knobs->os_huge_cache * MIB;

    atomic_store_explicit(&knob_lru_max,
                          (uint32_t)(knobs->pool_lru_max < lru_most ? knobs->pool_lru_max : lru_most),
                          memory_order_relaxed);
    atomic_store_explicit(&knob_decay_ms, (uint32_t)knobs->os_decay_ms, memory_order_relaxed);
    huge_cache_limit(huge < spare_max ? huge : spare_max);
}

uint32_t core_decay_ms(void)
{
    return atomic_load_explicit(&knob_decay_ms, memory_order_relaxed);
}

unsigned pool_superslabs(void)
{
    return atomic_load_explicit(&table_used, memory_order_acquire);
}

struct superslab *pool_superslab(unsigned index)
{
    return atomic_load_explicit(&table[index], memory_order_acquire);
}

/* ---- live ---- */

static void lru_link(struct superslab *ss)
{
    ss->next = lru.next;
    ss->prev = &lru;
    ss->next->prev = ss;
    lru.next = ss;
    lru_count++;
}

static void lru_push(struct superslab *ss)
{
    lru_link(ss);
    atomic_store_explicit(&ss->state, SS_LRU, memory_order_relaxed);
    cells_fill_all(ss, HAK_CELL_LRU);
    GLOBAL_ADD(ss_lru, 1);
    GLOBAL_ADD(ss_live, -1);
}

static void lru_remove(struct superslab *ss)
{
    ss->prev->next = ss->next;
    ss->next->prev = ss->prev;
    lru_count--;
    GLOBAL_ADD(ss_lru, -1);
}

static bool enter(struct superslab *ss)
{
    struct superslab *nobody = NULL;

    return atomic_compare_exchange_strong_explicit(&table[ss->index], &nobody, ss, memory_order_release,
                                                   memory_order_relaxed);
}

static struct superslab *new_struct(bool locked)
{
    struct superslab *ss = locked ? gone : NULL;

    if (ss) {
        gone = ss->next;
        return ss;
    }
    uint32_t used = atomic_load_explicit(&table_used, memory_order_relaxed);
    if (used == HINT_MAX || !(ss = os_meta(sizeof *ss)))
        return NULL;
    ss->index = used;
    while (!enter(ss))                                  /* a handler on top of this has had the number */
        if (++ss->index == HINT_MAX)
            return NULL;
    while (used <= ss->index &&
           !atomic_compare_exchange_strong_explicit(&table_used, &used, ss->index + 1, memory_order_release,
                                                    memory_order_relaxed))
        ;
    return ss;
}

static struct superslab *map_superslab(bool locked)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();
    char *base = os_map(SS_SIZE, SS_SIZE);
    struct superslab *ss = base && address_reserve((uintptr_t)base, SS_SIZE) ? new_struct(locked) : NULL;

    if (!ss) {
        if (base)
            os_unmap(base, SS_SIZE);
        return NULL;
    }
    uint64_t ns = os_now_ns() - start;
    hak_hist_add(slot->hist.os_map, ns);
    COUNT(slot->thread.os_map, 1);
    hak_trace(HAK_TRACE_OS_MAP, 0xFFFF, SS_SIZE);
    usdt_os_map(base, SS_SIZE, 0, ns);
    ss->base = base;
    map_clear(&ss->dirty_map, ALL_SLABS);
    GLOBAL_ADD(ss_created, 1);
    hak_gauge_add(hak_global(mapped), hak_global(mapped_peak), SS_SIZE);

    uint64_t mapped = atomic_load_explicit(hak_global(ss_live), memory_order_relaxed) + lru_count + 1;
    uint64_t peak = atomic_load_explicit(hak_global(ss_peak), memory_order_relaxed);
    if (mapped > peak)
        GLOBAL_ADD(ss_peak, mapped - peak);
    if (thp_from && mapped >= thp_from)
        os_hugepages(base, SS_SIZE);
    return ss;
}

struct superslab *superslab_acquire(struct pool *pool, bool locked)
{
    struct superslab *ss = locked ? lru.next : &lru;

    if (ss != &lru)
        lru_remove(ss);
    else if (!(ss = map_superslab(locked)))
        return NULL;
    atomic_store_explicit(&ss->pool, pool, memory_order_relaxed);
    atomic_store_explicit(&ss->state, SS_LIVE, memory_order_relaxed);
    cells_fill_all(ss, HAK_CELL_FREE);
    GLOBAL_ADD(ss_live, 1);
    address_set_unit((uintptr_t)ss->base, (uintptr_t)ss);
    return ss;
}

/* ---- empty ---- */

/* Out of the LRU and back to the kernel, unless it has no room to split the mapping.  It is GONE first:
 * a child that is forked in between must not find it in its LRU. */
static bool unmap_superslab(struct superslab *ss)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();

    address_set_unit((uintptr_t)ss->base, 0);
    atomic_store_explicit(&ss->state, SS_GONE, memory_order_relaxed);
    if (!os_unmap(ss->base, SS_SIZE)) {
        atomic_store_explicit(&ss->state, SS_LRU, memory_order_relaxed);
        return false;
    }
    uint64_t ns = os_now_ns() - start;
    hak_hist_add(slot->hist.os_unmap, ns);
    COUNT(slot->thread.os_unmap, 1);
    hak_trace(HAK_TRACE_OS_UNMAP, 0xFFFF, SS_SIZE);
    usdt_os_unmap(ss->base, SS_SIZE, 0, ns);
    lru_remove(ss);
    cells_fill_all(ss, HAK_CELL_NONE);
    ss->base = NULL;
    ss->next = gone;
    gone = ss;
    GLOBAL_ADD(ss_unmapped, 1);
    GLOBAL_ADD(mapped, -SS_SIZE);
    return true;
}

/* Returns the bytes given back. */
static size_t lru_trim(uint32_t keep)
{
    size_t bytes = 0;

    while (lru_count > keep && unmap_superslab(lru.prev))
        bytes += SS_SIZE;
    return bytes;
}

size_t superslab_trim(void)
{
    return lru_trim(atomic_load_explicit(&knob_lru_max, memory_order_relaxed));
}

/* If all slabs of it are free: claims them all and puts it into the LRU.  Whoever is faster with a claim of a slab
 * wins, and it stays live: false. */
static bool move_to_lru(struct superslab *ss)
{
    slab_map all = ALL_SLABS;

    if (atomic_load_explicit(&ss->state, memory_order_relaxed) != SS_LIVE || !map_exchange(&ss->free_map, &all, 0))
        return false;
    superslab_note_taken(ALL_SLABS);
    lru_push(ss);
    usdt_superslab_release(ss->base);
    return true;
}

/* Does not wait: the caller may hold the heap of the thread that has the lock, and a handler on top of that thread may
 * wait for the heap.  What stays live is as good as in the LRU. */
hak_cold bool superslab_retire(struct superslab *ss)
{
    if (!lock_try(&pool_lock))
        return false;
    bool mine = move_to_lru(ss);
    if (mine)
        superslab_trim();
    lock_drop(&pool_lock);
    if (mine)
        hak_trace(HAK_TRACE_SS_RELEASE, 0xFFFF, SS_SIZE);
    return mine;
}

size_t pool_unmap_empty(void)
{
    if (!lock_take(&pool_lock))
        return 0;
    for (unsigned i = 0; i < pool_superslabs(); i++)
        move_to_lru(pool_superslab(i));
    size_t bytes = lru_trim(0);
    lock_drop(&pool_lock);
    return bytes;
}

/* ---- fork ---- */

/* What a thread of the parent had claimed and not yet cut is in no run, or in one whose length is not to be seen. */
void pool_each_run(void (*see)(const struct slab *slab, void *arg), void *arg)
{
    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        slab_map map = map_read(&ss->free_map);
        if (atomic_load_explicit(&ss->state, memory_order_relaxed) != SS_LIVE)
            continue;
        for (unsigned s = 0; s < SS_SLABS;) {
            const struct slab *slab = &ss->slab[s];
            if (map_has(map, s) || slab->kind == SLAB_FREE) {
                s++;
            } else {
                see(slab, arg);
                s += slab->run ? slab->run : 1;
            }
        }
    }
}

/* The lists are made again from the states of the structs.  What another thread had claimed when
 * the process forked stays claimed: it is lost to the child, and harms nobody. */
static void rebuild_lists(void)
{
    lru.next = lru.prev = &lru;
    lru_count = 0;
    gone = NULL;
    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        switch (atomic_load_explicit(&ss->state, memory_order_relaxed)) {
        case SS_LRU:
            lru_link(ss);
            break;
        case SS_GONE:
            ss->next = gone;
            gone = ss;
            break;
        }
    }
}

void pool_after_fork(void)
{
    lock_after_fork(&purge_lock);
    if (lock_after_fork(&pool_lock))
        rebuild_lists();
}

static void put_on_map(const struct slab *slab, void *arg)
{
    (void)arg;
    pool_map_fill(slab);
}

void pool_count_inherited(void)
{
    unsigned live = 0;

    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        uint32_t state = atomic_load_explicit(&ss->state, memory_order_relaxed);
        live += state == SS_LIVE;
        if (state != SS_GONE)
            cells_fill_all(ss, state == SS_LIVE ? HAK_CELL_FREE : HAK_CELL_LRU);
    }
    pool_each_run(put_on_map, NULL);
    GLOBAL_ADD(ss_live, live);
    GLOBAL_ADD(ss_lru, lru_count);
    GLOBAL_ADD(ss_created, live + lru_count);
    GLOBAL_ADD(ss_peak, live + lru_count);
    hak_gauge_add(hak_global(mapped), hak_global(mapped_peak), (live + lru_count) * SS_SIZE);
    GLOBAL_ADD(meta_bytes, os_meta_mapped());
}
