/* huge.c: the huge tier (huge.h). */
#include "lib/core/huge.h"
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/core/address.h"
#include "lib/core/pool.h"
#include "lib/core/superslab.h"

#include <string.h>

#define OVER_MOST  (SS_SIZE / 2)
#define REST_LEAST (SS_SIZE / 16)          /* what is cut off and kept is at least this long */
#define SCRAPS     8                       /* so many that no block fits in are cached */
#define PARTS_MOST 8                       /* of a block */
#define CUTS_ALL   4096                    /* between the parts of all blocks; a process may have some 65,000 mappings */

enum huge_state { HUGE_UNUSED, HUGE_USED, HUGE_CACHED };

/* One a mapping; never freed, used again.  All of it changes under the lock, but for what a realloc of the block
 * makes of it, and what a signal handler on top of who has the lock does, `locked` false: it maps and unmaps blocks of
 * its own, and leaves the lists `cached` and `unused` alone. */
struct huge {
    char *base;                         /* first, and then its length: abi/call.h */
    size_t bytes;
    _Atomic uint32_t state;
    uint32_t freed_ms;
    bool grown;                         /* by realloc: not cached, since the next one begins small */
    uint8_t cuts;                       /* it has so many parts more than one */
    uint32_t cut[PARTS_MOST - 1];       /* where they begin, in SS_SIZE */
    struct huge *next;                  /* in `cached`, newest first, or in `unused` */
    struct huge *all;                   /* every one ever made */
};

_Static_assert(offsetof(struct huge, base) == 0 && offsetof(struct huge, bytes) == 8, "abi/call.h says so");

static struct lock huge_lock = { .name = "huge" };
static struct huge *cached, *unused, *_Atomic all;
static _Atomic size_t cached_bytes;
static _Atomic uint32_t cuts_all;
static _Atomic bool parts_refused;
static _Atomic size_t cache_limit = 192 * MIB;

void huge_cache_limit(size_t bytes)
{
    atomic_store_explicit(&cache_limit, bytes, memory_order_relaxed);
}

static struct huge *huge_of(const void *p)
{
    uintptr_t unit = address_unit((uintptr_t)p);
    struct huge *g = unit & UNIT_HUGE ? (struct huge *)(unit & ~UNIT_HUGE) : NULL;

    return g && g->base == p ? g : NULL;
}

/* Leads every unit that begins in [from, to) of a mapping to `unit`: an address in its middle is known, too. */
static void set_units(const char *base, size_t from, size_t to, uintptr_t unit)
{
    for (uintptr_t at = round_up((uintptr_t)base + from, SS_SIZE); at < (uintptr_t)base + to; at += SS_SIZE)
        address_set_unit(at, unit);
}

/* ---- parts ----
 *
 * A block may be made of the pages of several cached mappings, and of new ones behind them.  To the kernel each
 * part stays a mapping of its own: it moves or lengthens one at a time.  All but the last are a multiple of SS_SIZE
 * long, so that hugepages stay whole where they go.
 *
 * What is shorter is a scrap, and begins at any page: no block fits in it, but it may be the beginning of a last
 * part.  Few are kept, since blocks may come and go without one that needs parts. */

static size_t last_part(const struct huge *g)
{
    return g->cuts ? g->cut[g->cuts - 1] * SS_SIZE : 0;
}

static void cut_at(struct huge *g, size_t at)
{
    g->cut[g->cuts++] = (uint32_t)(at / SS_SIZE);
    atomic_fetch_add_explicit(&cuts_all, 1, memory_order_relaxed);
}

/* The block ends at `end` now. */
static void forget_cuts(struct huge *g, size_t end)
{
    for (; g->cuts && last_part(g) >= end; g->cuts--)
        atomic_fetch_sub_explicit(&cuts_all, 1, memory_order_relaxed);
}

/* What lies behind `at` is `rest` now. */
static void move_cuts(struct huge *g, struct huge *rest, size_t at)
{
    for (unsigned i = 0; i < g->cuts; i++)
        if (g->cut[i] * SS_SIZE > at)
            cut_at(rest, g->cut[i] * SS_SIZE - at);
    forget_cuts(g, at);
}

static void map_counted(const struct huge *g, uint64_t start, size_t more)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t ns = os_now_ns() - start;

    hak_hist_add(slot->hist.os_map, ns);
    COUNT(slot->thread.os_map, 1);
    hak_trace(HAK_TRACE_OS_MAP, HAK_ROW_HUGE, more);
    usdt_os_map(g->base, more, 1, ns);
    hak_gauge_add(hak_global(mapped), hak_global(mapped_peak), more);
}

static void unmap_counted(char *base, size_t bytes)
{
    struct hak_slot_full *slot = hak_my_slot();
    uint64_t start = os_now_ns();

    os_unmap(base, bytes);
    uint64_t ns = os_now_ns() - start;
    hak_hist_add(slot->hist.os_unmap, ns);
    COUNT(slot->thread.os_unmap, 1);
    hak_trace(HAK_TRACE_OS_UNMAP, HAK_ROW_HUGE, bytes);
    usdt_os_unmap(base, bytes, 1, ns);
    GLOBAL_ADD(mapped, -bytes);
}

/* Under the lock, else its struct is not used again but in a child. */
static void forget(struct huge *g, bool locked)
{
    g->base = NULL;
    atomic_store_explicit(&g->state, HUGE_UNUSED, memory_order_relaxed);
    forget_cuts(g, 0);
    if (unlikely(!locked))
        return;
    g->next = unused;
    unused = g;
}

/* Unmaps a mapping that is in no list.  It is forgotten first: a child that is forked in between must not take it for
 * one that it can use. */
static void drop(struct huge *g, bool locked)
{
    char *base = g->base;

    forget(g, locked);
    set_units(base, 0, g->bytes, 0);
    unmap_counted(base, g->bytes);
}

static void uncache(struct huge **at)
{
    struct huge *g = *at;

    *at = g->next;
    cached_bytes -= g->bytes;
    GLOBAL_ADD(huge_cached, -g->bytes);
}

static void cache_at(struct huge **at, struct huge *g)
{
    atomic_store_explicit(&g->state, HUGE_CACHED, memory_order_relaxed);
    g->next = *at;
    *at = g;
    cached_bytes += g->bytes;
    GLOBAL_ADD(huge_cached, g->bytes);
}

static void cache(struct huge *g)
{
    cache_at(&cached, g);
}

static struct huge *new_struct(bool locked)
{
    struct huge *g = locked ? unused : NULL;

    if (g) {
        unused = g->next;
    } else if ((g = os_meta(sizeof *g)) != NULL) {
        g->all = atomic_load_explicit(&all, memory_order_relaxed);
        while (!atomic_compare_exchange_strong_explicit(&all, &g->all, g, memory_order_relaxed, memory_order_relaxed))
            ;                                           /* a handler on top of this was here */
    }
    return g;
}

static struct huge *first(void)
{
    return atomic_load_explicit(&all, memory_order_relaxed);
}

static bool is_scrap(const struct huge *g)
{
    return g->bytes < SS_SIZE;
}

/* The oldest scraps go when there are too many. */
static void bound_scraps(void)
{
    unsigned n = 0;

    for (struct huge **at = &cached; *at;) {
        struct huge *g = *at;
        if (!is_scrap(g) || ++n <= SCRAPS) {
            at = &g->next;
            continue;
        }
        uncache(at);
        drop(g, true);
    }
}

/* What lies beyond `at` stays in the cache, if it is worth a mapping of its own; false: it is not.  It is no
 * part of g before it is one: a child that is forked in between loses it, and does not have it twice. */
static bool cut_off(struct huge *g, size_t at)
{
    struct huge *rest;

    if (g->bytes < at + REST_LEAST || !address_reserve((uintptr_t)g->base + at, 1) || !(rest = new_struct(true)))
        return false;
    rest->grown = false;
    rest->bytes = g->bytes - at;
    rest->freed_ms = g->freed_ms;
    move_cuts(g, rest, at);
    g->bytes = at;
    atomic_signal_fence(memory_order_seq_cst);
    rest->base = g->base + at;
    set_units(rest->base, 0, rest->bytes, (uintptr_t)rest | UNIT_HUGE);
    cache(rest);
    return true;
}

/* Of what lies beyond `at`, the cache keeps what is in one part. */
static void shed(struct huge *g, size_t at)
{
    size_t had = g->bytes;

    if (last_part(g) <= at && cut_off(g, at))
        return;
    set_units(g->base, at, had, 0);
    forget_cuts(g, at);
    g->bytes = at;
    unmap_counted(g->base + at, had - at);
}

/* Cuts g to size: the block may have a quarter more than was asked for, or OVER_MOST.  Were it cut closer,
 * blocks of 1 to 2 MiB would be cut by one request and grow by the next. */
static void trim(struct huge *g, size_t bytes)
{
    size_t over;

    cut_off(g, round_up(bytes, SS_SIZE));
    over = g->bytes - bytes;
    if (over > bytes / 4 && over > OVER_MOST)
        shed(g, bytes);
    bound_scraps();
}

/* The smallest cached mapping that is large enough, cut to size; NULL: there is none. */
static struct huge *take_cached(size_t bytes, size_t align)
{
    struct huge **best = NULL;

    for (struct huge **at = &cached; *at; at = &(*at)->next)
        if (((uintptr_t)(*at)->base & (align - 1)) == 0 && (*at)->bytes >= bytes &&
            (!best || (*at)->bytes < (*best)->bytes))
            best = at;
    if (!best)
        return NULL;
    struct huge *g = *best;
    uncache(best);
    atomic_store_explicit(&g->state, HUGE_USED, memory_order_relaxed);
    trim(g, bytes);
    return g;
}

struct parts {
    struct part { char *from; size_t bytes; } part[PARTS_MOST];
    unsigned n;
    size_t bytes;                       /* of all */
};

/* Takes [start, end), in the last part or nothing, out of a cached mapping; what is behind it becomes a scrap.  It is
 * in no list: a child that is forked loses it. */
static void take_part(struct huge **at, struct parts *parts, size_t start, size_t end)
{
    struct huge *g = *at;
    char *base = g->base;

    uncache(at);
    if (end < g->bytes)
        shed(g, end);
    forget_cuts(g, start);
    if (start == 0)
        forget(g, true);
    g->bytes = start;
    atomic_signal_fence(memory_order_seq_cst);
    if (start)
        cache_at(at, g);
    set_units(base, start, end, 0);
    if (start < end)
        parts->part[parts->n++] = (struct part){ base + start, end - start };
    parts->bytes += end - start;
}

/* Takes up to `most` bytes, a multiple of SS_SIZE, off the end of a cached mapping, no more than its last part, of
 * which there may be none; false: it is too short for that. */
static bool take_end(struct huge **at, struct parts *parts, size_t most)
{
    size_t last = last_part(*at), end = (*at)->bytes & ~(SS_SIZE - 1);

    if (end == 0)
        return false;
    take_part(at, parts, end - last > most ? end - most : last, end);
    return true;
}

/* The last part begins with a scrap: the shortest of at least `most` bytes, or the longest. */
static void take_scrap(struct parts *parts, size_t most)
{
    struct huge **best = NULL;

    for (struct huge **at = &cached; *at; at = &(*at)->next)
        if (is_scrap(*at) && (!best || ((*best)->bytes < most ? (*at)->bytes > (*best)->bytes :
                                        (*at)->bytes >= most && (*at)->bytes < (*best)->bytes)))
            best = at;
    if (best)
        take_part(best, parts, 0, (*best)->bytes < most ? (*best)->bytes : most);
}

/* What pages the cache has for a block; under the lock. */
static void take_parts(struct parts *parts, size_t bytes)
{
    struct huge **at = &cached;
    size_t whole = bytes & ~(SS_SIZE - 1);

    if (atomic_load_explicit(&parts_refused, memory_order_relaxed))
        return;
    while (*at && parts->bytes < whole && parts->n < PARTS_MOST - 1 &&
           atomic_load_explicit(&cuts_all, memory_order_relaxed) + parts->n < CUTS_ALL)
        if (!take_end(at, parts, whole - parts->bytes))
            at = &(*at)->next;
    if (parts->bytes < bytes)
        take_scrap(parts, bytes - parts->bytes);
    bound_scraps();
}

/* Moves the parts to the beginning of a mapping that no block is in yet.  Where the kernel refuses one, it may have
 * unmapped what was in its place, and another may have mapped something there since: all else of it is unmapped, and
 * nothing is tried again. */
static bool put_together(char *base, size_t bytes, const struct parts *parts)
{
    size_t at = 0, behind;

    for (unsigned i = 0; i < parts->n; at = behind, i++) {
        size_t part = parts->part[i].bytes;
        behind = part % SS_SIZE ? bytes : at + part;    /* a scrap is made as long as the last part is */
        if (os_move(parts->part[i].from, part, base + at, behind - at))
            continue;
        atomic_store_explicit(&parts_refused, true, memory_order_relaxed);
        if (at)
            os_unmap(base, at);
        if (behind < bytes)
            os_unmap(base + behind, bytes - behind);
        for (; i < parts->n; i++)
            os_unmap(parts->part[i].from, parts->part[i].bytes);
        GLOBAL_ADD(mapped, -parts->bytes);
        return false;
    }
    return true;
}

static void cut_between(struct huge *g, const struct parts *parts)
{
    size_t at = 0;

    for (unsigned i = 0; i < parts->n && (at += parts->part[i].bytes) < g->bytes && at % SS_SIZE == 0; i++)
        cut_at(g, at);
}

/* Makes the block known; NULL: no memory for that. */
static struct huge *enter(char *base, size_t bytes, const struct parts *parts)
{
    bool locked = lock_take(&huge_lock);
    struct huge *g = new_struct(locked);
    if (g) {
        g->bytes = bytes;
        g->base = base;
        g->grown = false;
        cut_between(g, parts);
        atomic_store_explicit(&g->state, HUGE_USED, memory_order_relaxed);
        set_units(base, 0, bytes, (uintptr_t)g | UNIT_HUGE);
    }
    lock_end(&huge_lock, locked);
    return g;
}

/* A mapping of its own, with what pages the cache has; *zero: it had none. */
static struct huge *map_new(size_t bytes, size_t align, bool *zero)
{
    uint64_t start = os_now_ns();
    char *base = os_map(bytes, align);
    struct parts parts = { .n = 0 };

    if (!base)
        return NULL;
    if (!address_reserve((uintptr_t)base, bytes)) {
        os_unmap(base, bytes);
        return NULL;
    }
    if (likely(lock_take(&huge_lock))) {
        take_parts(&parts, bytes);
        lock_drop(&huge_lock);
    }
    if (!put_together(base, bytes, &parts))
        return map_new(bytes, align, zero);             /* without parts, now */
    struct huge *g = enter(base, bytes, &parts);
    if (!g) {
        os_unmap(base, bytes);
        GLOBAL_ADD(mapped, -parts.bytes);
        return NULL;
    }
    *zero = parts.n == 0;
    map_counted(g, start, bytes - parts.bytes);
    return g;
}

size_t huge_bytes(const void *p)
{
    struct huge *g = huge_of(p);

    return g && atomic_load_explicit(&g->state, memory_order_relaxed) == HUGE_USED ? g->bytes : 0;
}

size_t huge_give(void *p)
{
    struct huge *g = huge_of(p);
    size_t limit = atomic_load_explicit(&cache_limit, memory_order_relaxed), bytes;

    if (!g)
        return 0;
    bool locked = lock_take(&huge_lock);
    if (g->base != p || atomic_load_explicit(&g->state, memory_order_relaxed) != HUGE_USED) {
        if (locked)
            lock_drop(&huge_lock);
        return 0;
    }
    bytes = g->bytes;
    g->freed_ms = atomic_load_explicit(&core_now_ms, memory_order_relaxed);
    if (bytes > limit || g->grown || !locked)
        drop(g, locked);
    else
        cache(g);
    while (locked && cached_bytes > limit) {            /* the oldest goes */
        struct huge **at = &cached;
        while ((*at)->next)
            at = &(*at)->next;
        struct huge *old = *at;
        uncache(at);
        drop(old, true);
    }
    lock_end(&huge_lock, locked);
    return bytes;
}

static void resized(struct huge *g, size_t need, uint64_t start)
{
    if (need > g->bytes)
        map_counted(g, start, need - g->bytes);
    else
        GLOBAL_ADD(mapped, -(g->bytes - need));
    g->bytes = need;
    g->grown = true;
}

/* What it gives up may be another's as soon as the kernel has it: its units go first. */
static void shorten(struct huge *g, size_t need)
{
    set_units(g->base, need, g->bytes, 0);
    forget_cuts(g, need);
    os_unmap(g->base + need, g->bytes - need);
}

/* Of what the kernel refuses, nothing needs to be known. */
static bool lengthen(struct huge *g, size_t need)
{
    size_t had = g->bytes, last = last_part(g);

    if (!os_resize(g->base + last, had - last, need - last))
        return false;
    if (!address_reserve((uintptr_t)g->base, need)) {
        os_resize(g->base + last, need - last, had - last);
        return false;
    }
    set_units(g->base, had, need, (uintptr_t)g | UNIT_HUGE);
    return true;
}

/* All but the last part, which the kernel moves as one: it might refuse the next one then.  They are no longer than
 * the cache was. */
static void copy_parts(struct huge *g, char *to)
{
    size_t last = last_part(g), at = 0;

    for (unsigned i = 0; i < g->cuts; i++) {
        size_t end = g->cut[i] * SS_SIZE;
        memcpy(to + at, g->base + at, end - at);
        os_unmap(g->base + at, end - at);
        at = end;
    }
    forget_cuts(g, 0);
    if (last)
        cut_at(g, last);
}

static void *move(struct huge *g, size_t need, uint64_t start)
{
    char *p = g->base, *to = os_map(need, SS_SIZE);     /* the pages move over this range */
    size_t last = last_part(g);

    if (!to)
        return NULL;
    if (!address_reserve((uintptr_t)to, need)) {
        os_unmap(to, need);
        return NULL;
    }
    set_units(p, 0, g->bytes, 0);
    if (!os_move(p + last, g->bytes - last, to + last, need - last)) {
        /* The kernel may have unmapped that range before it failed, and another may have mapped something there: if
         * it is still ours it stays so, without a page in it. */
        if (last)
            os_unmap(to, last);
        set_units(p, 0, g->bytes, (uintptr_t)g | UNIT_HUGE);
        return NULL;
    }
    copy_parts(g, to);
    bool locked = lock_take(&huge_lock);
    g->base = to;
    set_units(to, 0, need, (uintptr_t)g | UNIT_HUGE);
    lock_end(&huge_lock, locked);
    resized(g, need, start);
    return to;
}

void *huge_resize(void *p, size_t n, size_t *old, size_t *bytes)
{
    struct huge *g = huge_of(p);
    size_t need = round_up(n, os_page);
    uint64_t start = os_now_ns();

    *old = g->bytes;
    *bytes = need;
    if (need == g->bytes)
        return p;
    if (need < g->bytes)
        shorten(g, need);
    else if (!lengthen(g, need))
        return move(g, need, start);
    resized(g, need, start);
    return p;
}

void *huge_take(size_t n, size_t align, size_t *bytes, bool *zero)
{
    size_t need = round_up(n ? n : 1, os_page);

    if (align < SS_SIZE)
        align = SS_SIZE;
    struct huge *g = NULL;
    if (likely(lock_take(&huge_lock))) {
        g = take_cached(need, align);
        lock_drop(&huge_lock);
    }
    *zero = false;
    if (!g && !(g = map_new(need, align, zero))) {
        huge_purge(0, 0);                               /* what is cached may be all there is */
        if (!(g = map_new(need, align, zero)))
            return NULL;
    }
    *bytes = g->bytes;
    return g->base;
}

size_t huge_purge(uint32_t now_ms, uint32_t age_ms)
{
    size_t bytes = 0;

    if (!cached_bytes)                                  /* a racy look: the next purge sees it */
        return 0;
    if (!lock_take(&huge_lock))
        return 0;
    for (struct huge **at = &cached; *at;) {
        struct huge *g = *at;
        if (age_ms && (int32_t)(now_ms - g->freed_ms) < (int32_t)age_ms) {
            at = &g->next;
            continue;
        }
        uncache(at);
        bytes += g->bytes;
        drop(g, true);
    }
    lock_drop(&huge_lock);
    return bytes;
}

/* The lists are made again from the states. */
void huge_after_fork(void)
{
    if (!lock_after_fork(&huge_lock))
        return;
    cached = unused = NULL;
    cached_bytes = 0;
    cuts_all = 0;
    for (struct huge *g = first(); g; g = g->all) {
        uint32_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
        cuts_all += g->base ? g->cuts : 0;
        if (state == HUGE_CACHED && g->base) {
            g->next = cached;
            cached = g;
            cached_bytes += g->bytes;
        } else if (state == HUGE_UNUSED) {
            g->next = unused;
            unused = g;
        }
    }
}

void huge_count_inherited(void)
{
    size_t bytes = 0;

    for (struct huge *g = first(); g; g = g->all)
        if (g->base)
            bytes += g->bytes;
    hak_gauge_add(hak_global(mapped), hak_global(mapped_peak), bytes);
    GLOBAL_ADD(huge_cached, cached_bytes);
}

size_t huge_in_use(void)
{
    size_t n = 0;

    for (struct huge *g = first(); g; g = g->all)
        n += atomic_load_explicit(&g->state, memory_order_relaxed) == HUGE_USED;
    return n;
}

size_t huge_bytes_in_use(void)
{
    size_t bytes = 0;

    for (struct huge *g = first(); g; g = g->all)
        if (atomic_load_explicit(&g->state, memory_order_relaxed) == HUGE_USED)
            bytes += g->bytes;
    return bytes;
}
