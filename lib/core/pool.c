/* pool.c: the shared pool (pool.h). */
#include "lib/core/pool.h"
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/base/syscall.h"
#include "lib/base/usdt.h"
#include "lib/core/hint.h"
#include "lib/core/huge.h"

#include <string.h>
#include <sys/resource.h>

#define LEVELS 8                                        /* set L of the hints: a run of 2^L slabs may be free */
#define NONE SS_SLABS
#define KEEP_EMPTY 2                                    /* live SuperSlabs without a slab in use: hysteresis */
_Static_assert(LEVELS <= HINT_SETS && 1 << (LEVELS - 1) == SS_SLABS, "the top level is a whole SuperSlab");

struct pool {
    struct hint hint;
};

static struct pool pool_shared;
static struct pool *_Atomic pool_of_row[HAK_ROWS];      /* pool.per_class: made when first needed */
static bool pool_per_class;
static uint64_t thp_from;                               /* os.thp */

static struct superslab *_Atomic table[HINT_MAX];
static _Atomic uint32_t table_used;
static _Atomic int32_t empty_live;                      /* live SuperSlabs whose free_map is ALL_SLABS */

/* Under the lock: the LRU (a ring around `lru`, newest first), the list of GONE structs, and every
 * change of superslab.state. */
static struct lock pool_lock = { .name = "pool" };
static struct superslab lru;
static uint32_t lru_count;
static struct superslab *gone;
static struct lock purge_lock;                          /* one purge at a time */

_Atomic uint32_t core_now_ms;
static _Atomic uint32_t knob_lru_max, knob_decay_ms;    /* core_apply, before the first use */
static size_t spare_max;                                /* bytes that may stay mapped, of each kind, for reuse */

void pool_init(const union hak_knobs *knobs)
{
    pool_per_class = knobs->pool_per_class;
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

/* ---- what tools see of it ---- */

static void show(const struct superslab *ss, unsigned first, unsigned run, unsigned cell)
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

static void show_all(const struct superslab *ss, unsigned cell)
{
    show(ss, 0, SS_SLABS, cell);
}

/* How full a run in use is, out of 255; what holds one block is full. */
static unsigned fullness(const struct slab *slab)
{
    return slab->kind == SLAB_BIN ? 1 + slab->used * 254u / slab->capacity : 255;
}

static unsigned cell_of(const struct slab *slab, unsigned full)
{
    return HAK_CELL_BIN + slab->bin + (full << 8);
}

static unsigned level_of(unsigned run)                  /* the smallest L with 2^L >= run */
{
    return run == 1 ? 0 : log2_floor(run - 1) + 1;
}

static struct pool *pool_for(unsigned row)
{
    if (likely(!pool_per_class))
        return &pool_shared;
    struct pool *pool = atomic_load_explicit(&pool_of_row[row], memory_order_acquire), *fresh;
    if (pool || !(fresh = os_meta(sizeof *fresh)))
        return pool;
    return atomic_compare_exchange_strong_explicit(&pool_of_row[row], &pool, fresh, memory_order_acq_rel,
                                                   memory_order_acquire) ? fresh : pool;    /* who was faster has it */
}

/* Of the places those in the smallest gap, the uppermost if several are; a gap of n free pairs shows in `fits` as
 * as many bits in a row as there are places in it. */
static uint64_t tightest(uint64_t fits, uint64_t places)
{
    uint64_t best = 0;
    unsigned least = PAIRS + 1;

    while (fits) {
        unsigned first = (unsigned)__builtin_ctzll(fits), n = bits_ones(fits >> first);
        uint64_t gap = bits_of(first, n);
        if (n <= least && (gap & places)) {
            least = n;
            best = gap & places;
        }
        fits &= ~gap;
    }
    return best;
}

/* Which slab of a map to take alone.  Those that have pages already come first, then halves of pairs, the lowest. */
static unsigned choose_slab(struct superslab *ss, slab_map map, unsigned align, bool *reused)
{
    slab_map places = align == 1 ? map : map & pairs_multiples(align / 2);
    slab_map dirty = places & map_read(&ss->dirty_map);

    *reused = dirty != 0;
    return dirty ? map_single(dirty) : places ? map_single(places) : NONE;
}

/* Which run of a map to take: where it begins, or NONE.  Those that have pages already come first.  Tiny bins take
 * the lowest, so that a heap that grows goes up through memory; others take from the smallest gap that holds
 * them, and the top of it, so that runs find room. */
static unsigned choose(struct superslab *ss, slab_map map, unsigned row, unsigned run, unsigned align, bool *reused)
{
    if (run == 1)
        return choose_slab(ss, map, align, reused);
    uint64_t fits = pairs_in_row(map_pairs(map), run / 2), places = fits & pairs_multiples((align + 1) / 2);
    uint64_t dirty = places & pairs_in_row(map_pairs(map_read(&ss->dirty_map)), run / 2);

    *reused = dirty != 0;
    if (dirty)
        places = dirty;
    if (!places)
        return NONE;
    return 2 * (row_is_tiny(row) ? (unsigned)__builtin_ctzll(places) : log2_floor(tightest(fits, places)));
}

static unsigned index_of(const struct superslab *ss, const struct slab *slab)
{
    return (unsigned)(slab - ss->slab);
}

/* The run is to be cut into blocks.  Its map is all 0 already: it was when the slab was last empty. */
static void cut(struct superslab *ss, struct slab *slab, const struct bin_info *bin)
{
    unsigned i = index_of(ss, slab);

    slab->map = bin->size < 64 ? ss->map_wide[i] : ss->map[i];
    slab->size = (uint16_t)bin->size;
    slab->magic = magic_of(bin->size);
    slab->capacity = (uint16_t)(slab->run * SLAB_SIZE / bin->size);
    slab->used = slab->carved = 0;
    slab->still_used = slab->still = 0;
}

static struct slab *hand_out(struct superslab *ss, unsigned first, unsigned row, unsigned run)
{
    struct slab *slab = &ss->slab[first];
    slab_map mask = map_of(first, run);
    slab_map was_dirty = map_set(&ss->dirty_map, mask) & mask;

    slab->base = ss->base + first * SLAB_SIZE;
    address_set_slab((uintptr_t)slab->base, row < HAK_BINS ? run : 1, (uintptr_t)slab);
    slab->bin = (uint8_t)row;
    slab->run = (uint8_t)run;
    slab->list = ON_NONE;
    slab->clean = was_dirty == 0;
    if (row < HAK_BINS)
        cut(ss, slab, &bin_info[row]);
    atomic_store_explicit(&slab->owner, NULL, memory_order_relaxed);
    slab->kind = row < HAK_BINS ? SLAB_BIN : SLAB_LARGE;
    show(ss, first, run, cell_of(slab, row < HAK_BINS ? 0 : 255));
    return slab;
}

/* A free_map has been changed by compare-exchange from `map`: was it all free? */
static void note_taken(slab_map map)
{
    if (unlikely(map == ALL_SLABS))
        atomic_fetch_sub_explicit(&empty_live, 1, memory_order_relaxed);
}

/* Stages 1 and 2 on one SuperSlab.  What the last owner wrote to the slabs and their structs comes before what
 * the next one does: both change the map, which is a full barrier. */
static struct slab *claim(struct superslab *ss, unsigned row, unsigned run, unsigned align)
{
    slab_map map = map_read(&ss->free_map);

    for (;;) {
        bool reused;
        unsigned first = choose(ss, map, row, run, align, &reused);
        if (first == NONE)
            return NULL;
        if (!map_exchange(&ss->free_map, &map, map & ~map_of(first, run)))
            continue;
        note_taken(map);
        struct hak_slot_full *slot = hak_my_slot();
        if (reused)
            COUNT(slot->thread.pool_reuse, 1);
        else
            COUNT(slot->thread.pool_claim, 1);
        return hand_out(ss, first, row, run);
    }
}

/* A stale hint may lead to a SuperSlab that is becoming another pool's. */
static struct pool *pool_of(struct superslab *ss)
{
    return atomic_load_explicit(&ss->pool, memory_order_relaxed);
}

/* Whether a run of 2^level slabs is free. */
static bool has_level(slab_map map, unsigned level)
{
    return level == 0 ? map != 0 : pairs_in_row(map_pairs(map), 1u << (level - 1)) != 0;
}

/* Nothing of what a hint promises was found: it goes, unless there is some by now (hint.h). */
static void disbelieve(struct pool *pool, unsigned level, struct superslab *ss)
{
    hint_clear(&pool->hint, level, ss->index);
    if (pool_of(ss) == pool && has_level(map_read(&ss->free_map), level))
        hint_set(&pool->hint, level, ss->index);
}

/* A run between two powers of two may fit where there is room for the lower one: at most 64 SuperSlabs that have
 * it are looked at.  NULL: none of them has more. */
static struct slab *take_tight(struct pool *pool, unsigned level, unsigned row, unsigned run, unsigned align)
{
    bool room = false;
    uint64_t some;
    uint32_t first;

    while (!room && (some = hint_some(&pool->hint, level, &first)) != 0)
        for (; some; some &= some - 1) {
            struct superslab *ss = pool_superslab(first + (unsigned)__builtin_ctzll(some));
            struct slab *slab = pool_of(ss) == pool ? claim(ss, row, run, align) : NULL;
            if (slab)
                return slab;
            if (pool_of(ss) == pool && has_level(map_read(&ss->free_map), level))
                room = true;
            else
                disbelieve(pool, level, ss);
        }
    return NULL;
}

/* So many free slabs in a row hold the run wherever they begin. */
static unsigned slabs_that_hold(unsigned run, unsigned align)
{
    return align <= 2 ? (run > align ? run : align) : (run == 1 ? 2 : run) + align - 2;
}

static struct slab *take_live(struct pool *pool, unsigned row, unsigned run, unsigned align)
{
    unsigned most = slabs_that_hold(run, align), level = level_of(most);
    struct slab *tight = most & (most - 1) ? take_tight(pool, level - 1, row, run, align) : NULL;
    uint32_t i;

    if (tight)
        return tight;
    while ((i = hint_first(&pool->hint, level)) != HINT_NONE) {
        struct superslab *ss = pool_superslab(i);
        struct slab *slab = pool_of(ss) == pool ? claim(ss, row, run, align) : NULL;
        if (slab)
            return slab;
        disbelieve(pool, level, ss);
    }
    return NULL;
}

static void set_hints(struct superslab *ss, slab_map map)
{
    uint64_t pairs = map_pairs(map);

    if (map)
        hint_set(&pool_of(ss)->hint, 0, ss->index);
    for (unsigned level = 1, n = 1; pairs; level++, n *= 2) {
        hint_set(&pool_of(ss)->hint, level, ss->index);
        pairs = n < PAIRS ? pairs & pairs >> n : 0;     /* where twice as many are */
    }
}

/* ---- stage 3: under the pool's lock ----
 *
 * A signal handler on top of who has it, `locked` false, leaves the lists alone: what it needs it maps anew. */

static void lru_push(struct superslab *ss)
{
    ss->next = lru.next;
    ss->prev = &lru;
    ss->next->prev = ss;
    lru.next = ss;
    lru_count++;
    atomic_store_explicit(&ss->state, SS_LRU, memory_order_relaxed);
    show_all(ss, HAK_CELL_LRU);
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

/* A SuperSlab with all slabs claimed by the caller. */
static struct superslab *acquire(struct pool *pool, bool locked)
{
    struct superslab *ss = locked ? lru.next : &lru;

    if (ss != &lru)
        lru_remove(ss);
    else if (!(ss = map_superslab(locked)))
        return NULL;
    atomic_store_explicit(&ss->pool, pool, memory_order_relaxed);
    atomic_store_explicit(&ss->state, SS_LIVE, memory_order_relaxed);
    show_all(ss, HAK_CELL_FREE);
    GLOBAL_ADD(ss_live, 1);
    address_set_unit((uintptr_t)ss->base, (uintptr_t)ss);
    return ss;
}

static hak_cold struct slab *take_new(struct pool *pool, unsigned row, unsigned run, unsigned align)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();
    bool reused;

    bool locked = lock_take(&pool_lock);
    struct slab *slab = take_live(pool, row, run, align);    /* somebody may have been faster */
    struct superslab *ss = slab ? NULL : acquire(pool, locked);
    if (ss) {
        unsigned first = choose(ss, ALL_SLABS, row, run, align, &reused);
        slab = hand_out(ss, first, row, run);
        map_set(&ss->free_map, ~map_of(first, run));   /* it was 0 */
        set_hints(ss, ~map_of(first, run));
        COUNT(slot->thread.pool_acquire, 1);
    }
    if (likely(locked))
        lock_drop(&pool_lock);
    uint64_t ns = os_now_ns() - start;
    hak_hist_add(slot->hist.ss_acquire, ns);
    hak_trace(HAK_TRACE_SS_ACQUIRE, row, run);
    if (ss)
        usdt_superslab_acquire(ss->base, row, run, ns);
    return slab;
}

struct slab *pool_take_aligned(unsigned row, unsigned run, unsigned align)
{
    struct pool *pool = pool_for(row);

    if (unlikely(!pool))
        return NULL;
    struct slab *slab = take_live(pool, row, run, align);
    return likely(slab != NULL) ? slab : take_new(pool, row, run, align);
}

struct slab *pool_take(unsigned row, unsigned run)
{
    return pool_take_aligned(row, run, 1);
}

/* ---- giving back ---- */

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
    show_all(ss, HAK_CELL_NONE);
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

/* If all slabs of it are free: claims them all and puts it into the LRU.  Whoever is faster with a claim of a slab
 * wins, and it stays live: false. */
static bool move_to_lru(struct superslab *ss)
{
    slab_map all = ALL_SLABS;

    if (atomic_load_explicit(&ss->state, memory_order_relaxed) != SS_LIVE || !map_exchange(&ss->free_map, &all, 0))
        return false;
    note_taken(ALL_SLABS);
    lru_push(ss);
    usdt_superslab_release(ss->base);
    return true;
}

/* Does not wait: the caller may hold the heap of the thread that has the lock, and a handler on top of that thread may
 * wait for the heap.  What stays live is as good as in the LRU. */
static hak_cold bool retire(struct superslab *ss)
{
    if (!lock_try(&pool_lock))
        return false;
    bool mine = move_to_lru(ss);
    if (mine)
        lru_trim(atomic_load_explicit(&knob_lru_max, memory_order_relaxed));
    lock_drop(&pool_lock);
    hak_trace(HAK_TRACE_SS_RELEASE, 0xFFFF, SS_SIZE);
    return mine;
}

/* Makes slabs nobody's. */
static void release_slabs(struct superslab *ss, slab_map mask)
{
    atomic_store_explicit(&ss->freed_ms, atomic_load_explicit(&core_now_ms, memory_order_relaxed),
                          memory_order_relaxed);
    slab_map map = map_set(&ss->free_map, mask) | mask;
    if (unlikely(map == ALL_SLABS) &&
        atomic_fetch_add_explicit(&empty_live, 1, memory_order_relaxed) >= KEEP_EMPTY && retire(ss))
        return;
    set_hints(ss, map);
}

void pool_give(struct slab *slab)
{
    struct superslab *ss = superslab_of(slab->base);
    unsigned first = index_of(ss, slab);

    slab->kind = SLAB_FREE;
    COUNT(hak_my_slot()->thread.pool_release, 1);
    show(ss, first, slab->run, HAK_CELL_FREE);          /* while they are the caller's */
    release_slabs(ss, map_of(first, slab->run));
}

static bool grow(struct superslab *ss, struct slab *slab, unsigned run)
{
    unsigned first = index_of(ss, slab);

    if (first % 2 || first + run > SS_SLABS)
        return false;
    slab_map more = map_of(first, run) & ~map_of(first, slab->run), map = map_read(&ss->free_map);
    do {
        if ((map & more) != more)
            return false;
    } while (!map_exchange(&ss->free_map, &map, map & ~more));
    map_set(&ss->dirty_map, more);
    slab->run = (uint8_t)run;
    show(ss, first, run, cell_of(slab, fullness(slab)));
    return true;
}

bool pool_resize(struct slab *slab, unsigned run)
{
    struct superslab *ss = superslab_of(slab->base);
    unsigned first = index_of(ss, slab), had = slab->run;

    if (run > had)
        return grow(ss, slab, run);
    if (run < had) {
        slab->run = (uint8_t)run;
        show(ss, first + run, had - run, HAK_CELL_FREE);
        release_slabs(ss, map_of(first, had) & ~map_of(first, run));
    }
    return true;
}

void pool_map_fill(const struct slab *slab)
{
    struct superslab *ss = superslab_of(slab->base);

    show(ss, index_of(ss, slab), slab->run, cell_of(slab, fullness(slab)));
}

/* ---- purging ---- */

/* Of the slabs in `map`, those in pages of the kernel's all of whose slabs are: one may be longer than a slab. */
static slab_map whole_pages(slab_map map)
{
    unsigned n = (unsigned)(os_page / (2 * SLAB_SIZE));

    return n == 0 ? map : map_of_pairs((pairs_in_row(map_pairs(map), n) & pairs_multiples(n)) * bits_of(0, n));
}

/* All slabs of those pages that may be there. */
static slab_map dirty_pages(const struct superslab *ss)
{
    return ~whole_pages(~map_read(&ss->dirty_map));
}

size_t pool_purge_pages(char *from, size_t bytes)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();
    size_t done = os_purge(from, bytes) ? bytes : 0;
    uint64_t ns = os_now_ns() - start;

    hak_hist_add(slot->hist.os_unmap, ns);
    COUNT(slot->thread.os_purge, 1);
    COUNT(slot->thread.os_purge_bytes, done);
    usdt_os_purge(from, bytes, ns);
    return done;
}

static size_t purge_slabs(struct superslab *ss, slab_map map)
{
    size_t bytes = 0;

    for (unsigned first = 0, end; first < SS_SLABS; first = end + 1) {
        slab_map row = 0;
        for (end = first; end < SS_SLABS && map_has(map, end); end++)
            row |= map_of_slab(end);
        size_t purged = row ? pool_purge_pages(ss->base + first * SLAB_SIZE, (end - first) * SLAB_SIZE) : 0;
        if (purged)
            map_clear(&ss->dirty_map, row);
        bytes += purged;
    }
    hak_trace(HAK_TRACE_OS_PURGE, 0xFFFF, bytes);
    return bytes;
}

/* The free slabs of a live SuperSlab: claimed like any others, purged, given back. */
static size_t purge_live(struct superslab *ss)
{
    slab_map map = map_read(&ss->free_map), mask;

    do {
        mask = whole_pages(map) & dirty_pages(ss);
        if (!mask)
            return 0;
    } while (!map_exchange(&ss->free_map, &map, map & ~mask));
    note_taken(map);
    size_t bytes = purge_slabs(ss, mask);
    release_slabs(ss, mask);
    return bytes;
}

static bool aged(struct superslab *ss, uint32_t now_ms, uint32_t age_ms)
{
    return (int32_t)(now_ms - atomic_load_explicit(&ss->freed_ms, memory_order_relaxed)) >= (int32_t)age_ms;
}

static size_t purge_lru(uint32_t now_ms, uint32_t age_ms)
{
    size_t bytes = 0;

    if (!lock_take(&pool_lock))
        return 0;
    for (struct superslab *ss = lru.next; ss != &lru; ss = ss->next) {
        slab_map dirty = dirty_pages(ss);
        if (dirty && aged(ss, now_ms, age_ms))
            bytes += purge_slabs(ss, dirty);
    }
    bytes += lru_trim(atomic_load_explicit(&knob_lru_max, memory_order_relaxed));
    lock_drop(&pool_lock);
    return bytes;
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

size_t pool_purge(uint32_t now_ms, uint32_t age_ms)
{
    size_t bytes = 0;

    if (!lock_try(&purge_lock))
        return 0;
    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        if (atomic_load_explicit(&ss->state, memory_order_relaxed) == SS_LIVE && aged(ss, now_ms, age_ms))
            bytes += purge_live(ss);
    }
    bytes += purge_lru(now_ms, age_ms);
    lock_drop(&purge_lock);
    return bytes;
}

/* ---- fork ---- */

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
            ss->next = lru.next;
            ss->prev = &lru;
            ss->next->prev = ss;
            lru.next = ss;
            lru_count++;
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
            show_all(ss, state == SS_LIVE ? HAK_CELL_FREE : HAK_CELL_LRU);
    }
    pool_each_run(put_on_map, NULL);
    GLOBAL_ADD(ss_live, live);
    GLOBAL_ADD(ss_lru, lru_count);
    GLOBAL_ADD(ss_created, live + lru_count);
    GLOBAL_ADD(ss_peak, live + lru_count);
    hak_gauge_add(hak_global(mapped), hak_global(mapped_peak), (live + lru_count) * SS_SIZE);
    GLOBAL_ADD(meta_bytes, os_meta_mapped());
}
