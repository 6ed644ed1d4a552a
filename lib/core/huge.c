/* huge.c: the huge tier (huge.h). */
#include "lib/core/huge.h"
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/core/address.h"
#include "lib/core/pool.h"
#include "lib/core/superslab.h"

#define OVER_MOST  (SS_SIZE / 2)
#define REST_LEAST (SS_SIZE / 4)           /* what is cut off and kept is at least this long */

enum huge_state { HUGE_UNUSED, HUGE_USED, HUGE_CACHED };

/* One a mapping; never freed, used again.  `state` moves USED -> CACHED by compare-exchange of the
 * one who frees the block; all else happens under the lock. */
struct huge {
    char *base;                         /* first, and then its length: abi/call.h */
    size_t bytes;
    _Atomic uint32_t state;
    uint32_t freed_ms;
    bool grown;                         /* by realloc: not cached, since the next one begins small */
    struct huge *next;                  /* in `cached`, newest first, or in `unused` */
    struct huge *all;                   /* every one ever made */
};

_Static_assert(offsetof(struct huge, base) == 0 && offsetof(struct huge, bytes) == 8, "abi/call.h says so");

static struct lock huge_lock = { .name = "huge" };
static struct huge *cached, *unused, *all;
static _Atomic size_t cached_bytes;
static _Atomic size_t cache_limit = 128 * MIB;

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

/* Leads every unit of [from, to) of a mapping to `unit`, so that an address in its middle is known too. */
static void set_units(const char *base, size_t from, size_t to, uintptr_t unit)
{
    for (size_t at = round_up(from, SS_SIZE); at < to; at += SS_SIZE)
        address_set_unit((uintptr_t)base + at, unit);
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

/* Unmaps and forgets a mapping that is in no list.  Under the lock.  Forgets first: a child that is
 * forked in between must not take it for one that it can use. */
static void drop(struct huge *g)
{
    char *base = g->base;

    g->base = NULL;
    atomic_store_explicit(&g->state, HUGE_UNUSED, memory_order_relaxed);
    address_set_unit((uintptr_t)base, 0);
    unmap_counted(base, g->bytes);
    g->next = unused;
    unused = g;
}

static void uncache(struct huge **at)
{
    struct huge *g = *at;

    *at = g->next;
    cached_bytes -= g->bytes;
    GLOBAL_ADD(huge_cached, -g->bytes);
}

static void cache(struct huge *g)
{
    g->next = cached;
    cached = g;
    cached_bytes += g->bytes;
    GLOBAL_ADD(huge_cached, g->bytes);
}

static struct huge *new_struct(void)
{
    struct huge *g = unused;

    if (g) {
        unused = g->next;
    } else if ((g = os_meta(sizeof *g)) != NULL) {
        g->all = all;
        all = g;
    }
    return g;
}

/* Of two cached mappings, whether the first is the better one to take: the smallest that is large enough,
 * or else the largest. */
static bool better(const struct huge *g, const struct huge *than, size_t bytes)
{
    if (!than || (g->bytes >= bytes) != (than->bytes >= bytes))
        return !than || g->bytes >= bytes;
    return g->bytes >= bytes ? g->bytes < than->bytes : g->bytes > than->bytes;
}

/* What lies beyond the first `bytes` stays in the cache, if it is worth a mapping of its own.  It is no
 * part of g before it is one: a child that is forked in between loses it, and does not have it twice. */
static void split(struct huge *g, size_t bytes)
{
    size_t keep = round_up(bytes, SS_SIZE);
    struct huge *rest;

    if (g->bytes < keep + REST_LEAST || !address_reserve((uintptr_t)g->base + keep, 1) || !(rest = new_struct()))
        return;
    rest->grown = false;
    rest->bytes = g->bytes - keep;
    rest->freed_ms = g->freed_ms;
    g->bytes = keep;
    atomic_signal_fence(memory_order_seq_cst);
    rest->base = g->base + keep;
    atomic_store_explicit(&rest->state, HUGE_CACHED, memory_order_relaxed);
    set_units(rest->base, 0, rest->bytes, (uintptr_t)rest | UNIT_HUGE);
    cache(rest);
}

/* Cuts g to size: the block may have a quarter more than was asked for, or OVER_MOST.  Were it cut closer,
 * blocks of 1 to 2 MiB would be cut by one request and grow by the next. */
static void trim(struct huge *g, size_t bytes)
{
    size_t over = g->bytes - bytes;

    if (over <= bytes / 4 || over <= OVER_MOST)
        return;
    set_units(g->base, bytes, g->bytes, 0);
    g->bytes = bytes;
    unmap_counted(g->base + bytes, over);
}

/* A cached mapping, whose pages need not come from the kernel again: one that is large enough, cut to
 * size, or one that is to grow.  NULL: there is none. */
static struct huge *take_cached(size_t bytes, size_t align)
{
    struct huge **best = NULL;

    for (struct huge **at = &cached; *at; at = &(*at)->next)
        if (((uintptr_t)(*at)->base & (align - 1)) == 0 && better(*at, best ? *best : NULL, bytes))
            best = at;
    if (!best || ((*best)->bytes < bytes && align > SS_SIZE))
        return NULL;
    struct huge *g = *best;
    uncache(best);
    atomic_store_explicit(&g->state, HUGE_USED, memory_order_relaxed);
    if (g->bytes >= bytes) {
        split(g, bytes);
        trim(g, bytes);
    }
    return g;
}

static struct huge *map_new(size_t bytes, size_t align)
{
    uint64_t start = os_now_ns();
    char *base = os_map(bytes, align);

    if (!base)
        return NULL;
    lock_take(&huge_lock, hak_my_slot());
    struct huge *g = address_reserve((uintptr_t)base, bytes) ? new_struct() : NULL;
    if (g) {
        g->bytes = bytes;
        g->base = base;
        g->grown = false;
        atomic_store_explicit(&g->state, HUGE_USED, memory_order_relaxed);
        set_units(base, 0, bytes, (uintptr_t)g | UNIT_HUGE);
    }
    lock_drop(&huge_lock);
    if (!g)
        os_unmap(base, bytes);
    else
        map_counted(g, start, bytes);
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
    uint32_t used = HUGE_USED;

    if (!g || !atomic_compare_exchange_strong_explicit(&g->state, &used, HUGE_CACHED, memory_order_relaxed,
                                                       memory_order_relaxed))
        return 0;
    size_t bytes = g->bytes, limit = atomic_load_explicit(&cache_limit, memory_order_relaxed);

    lock_take(&huge_lock, hak_my_slot());
    g->freed_ms = atomic_load_explicit(&core_now_ms, memory_order_relaxed);
    if (bytes > limit || g->grown)
        drop(g);
    else
        cache(g);
    while (cached_bytes > limit) {                      /* the oldest goes */
        struct huge **at = &cached;
        while ((*at)->next)
            at = &(*at)->next;
        struct huge *old = *at;
        uncache(at);
        drop(old);
    }
    lock_drop(&huge_lock);
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
static bool resize_in_place(struct huge *g, size_t need)
{
    uintptr_t unit = (uintptr_t)g | UNIT_HUGE;
    size_t had = g->bytes;

    set_units(g->base, need, had, 0);
    if (!os_resize(g->base, had, need)) {
        set_units(g->base, need, had, unit);
        return false;
    }
    /* Not before: of what the kernel refuses, nothing needs to be known. */
    if (!address_reserve((uintptr_t)g->base, need)) {
        os_resize(g->base, need, had);
        return false;
    }
    set_units(g->base, had, need, unit);
    return true;
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
    if (resize_in_place(g, need)) {
        resized(g, need, start);
        return p;
    }
    char *to = os_map(need, SS_SIZE);                   /* the pages move over this range */
    if (!to)
        return NULL;
    if (!address_reserve((uintptr_t)to, need)) {
        os_unmap(to, need);
        return NULL;
    }
    set_units(p, 0, g->bytes, 0);
    if (!os_move(p, g->bytes, to, need)) {
        /* The kernel may have unmapped `to` before it failed, and another may have mapped something there:
         * if it is still ours it stays so, without a page in it. */
        set_units(p, 0, g->bytes, (uintptr_t)g | UNIT_HUGE);
        return NULL;
    }
    lock_take(&huge_lock, hak_my_slot());
    g->base = to;
    set_units(to, 0, need, (uintptr_t)g | UNIT_HUGE);
    lock_drop(&huge_lock);
    resized(g, need, start);
    return to;
}

/* Makes a mapping that was cached as long as need be; NULL: it is gone. */
static struct huge *grow(struct huge *g, size_t need)
{
    size_t old, bytes;

    if (huge_resize(g->base, need, &old, &bytes)) {
        g->grown = false;
        return g;
    }
    lock_take(&huge_lock, hak_my_slot());
    drop(g);
    lock_drop(&huge_lock);
    return NULL;
}

void *huge_take(size_t n, size_t align, size_t *bytes, bool *zero)
{
    size_t need = round_up(n ? n : 1, os_page);

    if (align < SS_SIZE)
        align = SS_SIZE;
    lock_take(&huge_lock, hak_my_slot());
    struct huge *g = take_cached(need, align);
    lock_drop(&huge_lock);
    if (g && g->bytes < need)
        g = grow(g, need);
    *zero = !g;
    if (!g && !(g = map_new(need, align))) {
        huge_purge(0, 0);                               /* what is cached may be all there is */
        if (!(g = map_new(need, align)))
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
    lock_take(&huge_lock, hak_my_slot());
    for (struct huge **at = &cached; *at;) {
        struct huge *g = *at;
        if (age_ms && (int32_t)(now_ms - g->freed_ms) < (int32_t)age_ms) {
            at = &g->next;
            continue;
        }
        uncache(at);
        bytes += g->bytes;
        drop(g);
    }
    lock_drop(&huge_lock);
    return bytes;
}

/* The lists are made again from the states; a mapping in CACHED whose free had not come as far as
 * the list is found as well. */
void huge_after_fork(const void *self)
{
    if (!lock_after_fork(&huge_lock, self))
        return;
    cached = unused = NULL;
    cached_bytes = 0;
    for (struct huge *g = all; g; g = g->all) {
        uint32_t state = atomic_load_explicit(&g->state, memory_order_relaxed);
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

    for (struct huge *g = all; g; g = g->all)
        if (g->base)
            bytes += g->bytes;
    hak_gauge_add(hak_global(mapped), hak_global(mapped_peak), bytes);
    GLOBAL_ADD(huge_cached, cached_bytes);
}

size_t huge_in_use(void)
{
    size_t n = 0;

    for (struct huge *g = all; g; g = g->all)
        n += atomic_load_explicit(&g->state, memory_order_relaxed) == HUGE_USED;
    return n;
}

size_t huge_bytes_in_use(void)
{
    size_t bytes = 0;

    for (struct huge *g = all; g; g = g->all)
        if (atomic_load_explicit(&g->state, memory_order_relaxed) == HUGE_USED)
            bytes += g->bytes;
    return bytes;
}
