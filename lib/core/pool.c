/* pool.c: the shared pool (pool.h): which runs are taken from which SuperSlab, and given back. */
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/core/hint.h"
#include "lib/core/internal.h"

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

void pool_init(const union hak_knobs *knobs)
{
    pool_per_class = knobs->pool_per_class;
    superslab_init(knobs);
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

/* A stale hint may lead to a SuperSlab that is becoming another pool's. */
static struct pool *pool_of(struct superslab *ss)
{
    return atomic_load_explicit(&ss->pool, memory_order_relaxed);
}

/* ---- hints ---- */

static unsigned level_of(unsigned run)                  /* the smallest L with 2^L >= run */
{
    return run == 1 ? 0 : log2_floor(run - 1) + 1;
}

/* Whether a run of 2^level slabs is free. */
static bool has_level(slab_map map, unsigned level)
{
    return level == 0 ? map != 0 : pairs_in_row(map_pairs(map), 1u << (level - 1)) != 0;
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

/* Nothing of what a hint promises was found: it goes, unless there is some by now (hint.h). */
static void disbelieve(struct pool *pool, unsigned level, struct superslab *ss)
{
    hint_clear(&pool->hint, level, ss->index);
    if (pool_of(ss) == pool && has_level(map_read(&ss->free_map), level))
        hint_set(&pool->hint, level, ss->index);
}

/* ---- where in a SuperSlab ---- */

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

/* ---- taking ---- */

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
    slab->kind = row < HAK_BINS ? SLAB_BIN : SLAB_LARGE;
    cells_fill(ss, first, run, HAK_CELL_BIN + row + (row < HAK_BINS ? 0 : 255 << 8));
    return slab;
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
        superslab_note_taken(map);
        struct hak_slot_full *slot = hak_my_slot();
        if (reused)
            COUNT(slot->thread.pool_reuse, 1);
        else
            COUNT(slot->thread.pool_claim, 1);
        return hand_out(ss, first, row, run);
    }
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

static hak_cold struct slab *take_new(struct pool *pool, unsigned row, unsigned run, unsigned align)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();
    bool reused;

    bool locked = lock_take(&pool_lock);
    struct slab *slab = take_live(pool, row, run, align);    /* somebody may have been faster */
    struct superslab *ss = slab ? NULL : superslab_acquire(pool, locked);
    if (ss) {
        unsigned first = choose(ss, ALL_SLABS, row, run, align, &reused);
        slab = hand_out(ss, first, row, run);
        map_set(&ss->free_map, ~map_of(first, run));   /* it was 0 */
        set_hints(ss, ~map_of(first, run));
        COUNT(slot->thread.pool_acquire, 1);
    }
    lock_end(&pool_lock, locked);
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

/* Makes slabs nobody's. */
void pool_release(struct superslab *ss, slab_map mask)
{
    atomic_store_explicit(&ss->freed_ms, atomic_load_explicit(&core_now_ms, memory_order_relaxed),
                          memory_order_relaxed);
    slab_map map = map_set(&ss->free_map, mask) | mask;
    if (unlikely(map == ALL_SLABS) &&
        atomic_fetch_add_explicit(&superslabs_empty, 1, memory_order_relaxed) >= KEEP_EMPTY && superslab_retire(ss))
        return;
    set_hints(ss, map);
}

void pool_give(struct slab *slab)
{
    struct superslab *ss = superslab_of(slab->base);
    unsigned first = index_of(ss, slab);

    slab->kind = SLAB_FREE;
    COUNT(hak_my_slot()->thread.pool_release, 1);
    cells_fill(ss, first, slab->run, HAK_CELL_FREE);    /* while they are the caller's */
    pool_release(ss, map_of(first, slab->run));
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
    cells_fill_run(ss, slab);
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
        cells_fill(ss, first + run, had - run, HAK_CELL_FREE);
        pool_release(ss, map_of(first, had) & ~map_of(first, run));
    }
    return true;
}
