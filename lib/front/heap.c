/* heap.c: the life of heaps: birth, ticks, knobs, walks, the end of a thread, and fork. */
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/front/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define FREES_BEFORE_HEAP 16                /* see heap_for_free */
#define L1_START 16                         /* FastCache's first capacity */
#define REARMS 2                            /* rounds of destructors that may still find the heap */
#define LOOK_AT_ENDED 4                     /* heaps looked at for a slab to adopt */

_Static_assert(offsetof(struct heap, slot) == 64 * KIB && offsetof(struct heap, cold) == 128 * KIB, "as drawn");

_Alignas(2 * hak_cacheline) struct heap_none heap_none;
hak_tls struct heap *heap_self = (struct heap *)&heap_none;
static hak_tls uint8_t heap_past_end, heap_frees;

static void nothing(void) {}
static bool no_slot(void *at) { (void)at; return true; }
static void nobody_knows(void *p) { hak_die("free(): not a block in use", p); }
static void arm_nothing(struct heap *h) { (void)h; }

__attribute__((weak)) void (*front_start)(void) = nothing;   /* lib/api has the strong one */
void (*front_forked)(void) = nothing;
bool (*front_slot)(void *at) = no_slot;
void (*front_foreign)(void *p) = nobody_knows;
void (*front_arm)(struct heap *h) = arm_nothing;

/* 1 in a page that a child of a fork finds zeroed. */
static _Atomic uint32_t mark_always = 1;
static _Atomic uint32_t *fork_mark = &mark_always;

/* Guards the lists of heaps. */
static struct lock heaps_lock;
static struct heap *_Atomic heaps;
static struct heap *ended;                  /* the latest first */
static _Atomic unsigned ended_count;

/* The heap of threads past their end. */
static struct lock late_lock;
static struct heap *late;

static struct hak_slot_full *slot_of_self(void)
{
    static struct hak_slot_full nobody;
    struct heap *h = heap_self;

    return heap_is_none(h) ? &nobody : &h->slot;
}

void front_init(void)
{
    sizes_init();
    hak_my_slot_hook = slot_of_self;
    _Atomic uint32_t *mark = os_map(os_page, os_page);
    if (mark && os_wipe_on_fork(mark, os_page)) {
        atomic_store_explicit(mark, 1, memory_order_relaxed);
        fork_mark = mark;
    }
}

struct heap *heap_first(void)
{
    return atomic_load_explicit(&heaps, memory_order_acquire);
}

/* ---- slow paths ---- */

void heap_notice_fork(void)
{
    if (unlikely(atomic_load_explicit(fork_mark, memory_order_relaxed) == 0))
        front_forked();
}

bool heap_try(struct heap *h)
{
    return !atomic_exchange_explicit(&h->cold.held, 1, memory_order_acquire);
}

void heap_drop(struct heap *h)
{
    atomic_store_explicit(&h->cold.held, 0, memory_order_release);
}

/* Another thread is putting blocks back for us; it will not be long, unless it was preempted. */
static hak_cold void heap_wait(struct heap *h)
{
    for (unsigned tries = 0; !heap_try(h); tries++)
        os_pause(tries);
}

void heap_enter(struct heap *h)
{
    heap_notice_fork();
    if (h->cold.depth++ == 0 && unlikely(!heap_try(h)))
        heap_wait(h);
}

void heap_leave(struct heap *h)
{
    if (--h->cold.depth == 0)
        heap_drop(h);
}

/* ---- knobs ---- */

static unsigned refill_count(const union hak_knobs *k, unsigned bin)
{
    const struct bin_info *i = &bin_info[bin];
    uint64_t n = i->cls <= 3 ? k->refill_count_hot : i->cls <= 7 ? k->refill_count_mid : i->fast_cache / 2u;

    if (k->refill_batch && n > k->refill_batch)
        n = k->refill_batch;
    return n < i->fast_cache ? (unsigned)n : i->fast_cache;
}

static void apply_to_bin(struct heap *h, unsigned bin)
{
    const union hak_knobs *k = &h->cold.knobs;
    const struct bin_info *i = &bin_info[bin];
    struct bin_cold *c = &h->cold.bin[bin];
    struct bin *b = &h->hot.bin[bin];
    bool on = k->heap_v2_enable && i->cls < HAK_CLASS_MID && (k->heap_v2_class_mask >> i->cls & 1);

    c->refill = (uint16_t)refill_count(k, bin);
    c->sll_on = !k->front_direct && i->cls < HAK_CLASS_MID;
    c->l0_room = on ? L0_CAP : 0;
    b->l0_cap = on && !k->heap_v2_leftover_mode ? L0_CAP : 0;
    if (!on && b->l0_n)
        l0_flush(h, bin);
    empties_trim(h, bin, (unsigned)k->pool_empty_slabs);
}

static int32_t tick_frees(const struct heap *h)
{
    return h->cold.knobs.sll_drain_interval < TICK_FREES ? (int32_t)h->cold.knobs.sll_drain_interval : TICK_FREES;
}

/* A table becomes capacities.  The acknowledgement comes last: a tool that sees it finds everything
 * after it served by the new table. */
static void apply(struct heap *h, const struct hak_orders *o)
{
    h->cold.knobs = o->knobs;
    core_apply(&o->knobs);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        apply_to_bin(h, bin);
    if (o->knobs.front_direct)
        sll_drain(h);
    h->hot.countdown = tick_frees(h);
    h->cold.drain_left = (int32_t)o->knobs.sll_drain_interval;
    h->cold.epoch = o->epoch;
    __atomic_store_n(&h->slot.head.epoch, o->epoch, __ATOMIC_RELAXED);
    __atomic_store_n(&h->slot.head.applied, o->generation, __ATOMIC_RELEASE);
}

/* ---- walks: the state itself, next to what the counters say it should be ---- */

static uint64_t used_in(const struct slab *s)
{
    uint64_t used = 0;

    for (; s; s = s->next)
        used += s->used;
    return used;
}

static void walk_bin(struct heap *h, unsigned bin, struct hak_walk *w)
{
    const struct hak_row *r = &h->slot.row[bin];
    struct law_base *base = &h->cold.base[bin];

    w->used = used_in(h->cold.bin[bin].avail) + used_in(h->cold.bin[bin].full);
    w->l0 = h->hot.bin[bin].l0_n;
    w->l1 = h->hot.bin[bin].l1_n;
    w->sll = h->cold.bin[bin].sll_n;
    w->l0_law = r->l0_pushes + r->l0_leftover - r->l0_hits - r->l0_flushed;
    w->cached_law = r->refilled + r->l0_pushes + r->l1_pushes + r->slow_frees - r->l0_hits - r->l1_hits -
                    r->slow_allocs - r->returned;
    w->used_law = r->refilled - r->returned - r->drained + r->used_moved;
    if (h->cold.rebase) {
        base->l0 = w->l0 - w->l0_law;
        base->cached = w->l0 + w->l1 + w->sll - w->cached_law;
        base->used = w->used - w->used_law;
    }
    w->l0_law += base->l0;
    w->cached_law += base->cached;
    w->used_law += base->used;
}

static void walk_remote(struct heap *h, struct hak_walk *walk)
{
    for (const struct batch *t = h->cold.batch; t < h->cold.batch + BATCHES; t++)
        for (const struct block *b = t->head; b; b = b->next)
            walk[bin_of_owner(address_owner((uintptr_t)b))].batch++;
    /* Only the holder of the heap takes blocks off the queue, and what hangs on it does not change. */
    uint64_t word = atomic_load_explicit(&h->cold.queue, memory_order_acquire);
    for (const struct block *b = (const struct block *)(uintptr_t)(word << 16 >> 16); b; b = b->next)
        walk[bin_of_owner(address_owner((uintptr_t)b))].queue++;
}

static hak_cold void heap_walk(struct heap *h, uint64_t request)
{
    struct hak_slot *head = &h->slot.head;
    struct hak_walk *walk = h->slot.walk;

    __atomic_store_n(&head->walk_seq, head->walk_seq + 1, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    memset(walk, 0, sizeof h->slot.walk);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        walk_bin(h, bin, &walk[bin]);
    walk_remote(h, walk);
    h->cold.rebase = false;
    h->cold.walk = request;
    __atomic_store_n(&head->walk, request, __ATOMIC_RELAXED);
    __atomic_store_n(&head->walk_seq, head->walk_seq + 1, __ATOMIC_RELEASE);
}

/* ---- purging ---- */

static void ensure_slot(struct heap *h)
{
    if (h->cold.has_slot)
        return;
    os_map_at(&h->slot, sizeof h->slot_pages);
    h->cold.has_slot = true;
    front_slot(&h->slot);
    GLOBAL_ADD(heaps, 1);
}

static size_t l1_bytes(void)
{
    size_t blocks = 0;

    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        blocks += bin_info[bin].fast_cache;
    return blocks * sizeof(void *);
}

static void give_back_caches(struct heap *h)
{
    sll_drain(h);
    batches_flush(h);
    queue_drain(h);
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        l0_flush(h, bin);
        l1_trim(h, bin, h->hot.bin[bin].l1_n);
        empties_trim(h, bin, 0);
    }
}

/* What can be had of another thread's heap without its thread. */
static void give_back_for(struct heap *h)
{
    sll_drain(h);
    queue_drain(h);
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        empties_trim(h, bin, 0);
    if (h->cold.state == HEAP_ENDED) {                  /* L1 is empty */
        char *from = (char *)round_up((uintptr_t)h->cold.l1, os_page);
        os_purge(from, (size_t)((char *)h->cold.l1 + l1_bytes() - from));
    }
}

size_t heap_purge(void)
{
    struct heap *h = heap_mine();
    uint32_t now = (uint32_t)(os_now_ns() / 1000000);

    if (h) {
        heap_enter(h);
        give_back_caches(h);
        heap_leave(h);
    }
    for (struct heap *e = heap_first(); e; e = e->cold.next_all) {
        if (e == h || e->cold.state == HEAP_LOST || !heap_try(e))
            continue;
        ensure_slot(e);
        give_back_for(e);
        heap_drop(e);
    }
    return pool_purge(now, 0) + huge_purge(now, 0);
}

/* Every quarter of the decay time, one thread gives old pages back. */
static void decay(void)
{
    static _Atomic uint32_t last;
    uint32_t now = (uint32_t)(os_now_ns() / 1000000), age = core_decay_ms();
    uint32_t then = atomic_load_explicit(&last, memory_order_relaxed);

    atomic_store_explicit(&core_now_ms, now, memory_order_relaxed);
    if (now - then < age / 4 + 1 ||
        !atomic_compare_exchange_strong_explicit(&last, &then, now, memory_order_relaxed, memory_order_relaxed))
        return;
    pool_purge(now, age);
    huge_purge(now, age);
}

/* ---- ticks ---- */

void heap_look(struct heap *h)
{
    struct hak_orders o = { .epoch = h->cold.epoch, .purge = h->cold.purge, .walk = h->cold.walk };

    COUNT(h->slot.thread.ticks, 1);
    if (unlikely(hak_tick(&o)))
        apply(h, &o);
    if (unlikely(o.purge != h->cold.purge)) {
        h->cold.purge = o.purge;
        hak_purged(o.purge, heap_purge());
    }
    if (unlikely(o.walk != h->cold.walk))
        heap_walk(h, o.walk);
}

/* A bin whose L1 stands as it stood a drain ago is not in use: half of it goes back. */
static void idle_trim(struct heap *h)
{
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        struct bin_cold *c = &h->cold.bin[bin];
        unsigned n = h->hot.bin[bin].l1_n;
        if (n && n == c->l1_seen)
            l1_trim(h, bin, (n + 1) / 2);
        c->l1_seen = (uint16_t)h->hot.bin[bin].l1_n;
    }
}

static void drain(struct heap *h)
{
    uint64_t start = os_now_ns();

    h->cold.drain_left = (int32_t)h->cold.knobs.sll_drain_interval;
    sll_drain(h);
    batches_flush(h);
    queue_drain(h);
    idle_trim(h);
    COUNT(h->slot.thread.drains, 1);
    hak_hist_add(h->slot.hist.drain, os_now_ns() - start);
}

void heap_tick(struct heap *h)
{
    int saved = errno;

    heap_enter(h);
    h->cold.drain_left -= tick_frees(h);
    h->hot.countdown = tick_frees(h);
    heap_look(h);
    if (h->cold.drain_left <= 0)
        drain(h);
    heap_visit(h);
    decay();
    heap_leave(h);
    errno = saved;
}

/* ---- birth ---- */

/* Where pages are large, a fork wipes these with `hot`. */
static void offsets_fill(struct heap *h)
{
    for (size_t n = 0; n <= TINY_MAX; n++)
        h->offsets.tiny[n] = (uint16_t)offsetof(struct heap, hot.bin[bin_of_tiny(n)]);
    for (size_t i = (TINY_MAX >> MID_STEP) + 1; i <= MID_MAX >> MID_STEP; i++)
        h->offsets.mid[i] = (uint16_t)offsetof(struct heap, hot.bin[mid_bin[i]]);
}

static void hot_reset(struct heap *h)
{
    void **at = h->cold.l1;

    memset(&h->hot, 0, sizeof h->hot);
    for (unsigned bin = 0; bin < HAK_BINS; bin++) {
        h->hot.bin[bin].l1 = at;
        h->hot.bin[bin].l1_cap = L1_START < bin_info[bin].fast_cache ? L1_START : bin_info[bin].fast_cache;
        at += bin_info[bin].fast_cache;
    }
    h->hot.countdown = 1;
    offsets_fill(h);
}

static struct heap *map_heap(void)
{
    struct heap *h = os_map(sizeof *h + l1_bytes(), HEAP_ALIGN);
    if (!h)
        return NULL;
    os_wipe_on_fork(h, round_up(sizeof h->hot, os_page));
    hot_reset(h);
    h->cold.epoch = UINT64_MAX;                         /* of no table: the first look applies one */
    h->cold.knobs.sll_drain_interval = TICK_FREES;
    h->cold.knobs.bump_chunk = 1;
    h->cold.has_slot = true;
    front_slot(&h->slot);
    GLOBAL_ADD(heaps, 1);
    return h;
}

static uint64_t now_boot_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void slot_begin(struct heap *h)
{
    h->slot.head.tid = os_tid();
    h->slot.head.started_ns = now_boot_ns();
    __atomic_store_n(&h->slot.head.state, HAK_SLOT_LIVE, __ATOMIC_RELEASE);
    GLOBAL_ADD(threads, 1);
}

static struct heap *pop_ended(void)
{
    struct heap *h = ended;

    if (h) {
        ended = h->cold.next_ended;
        atomic_fetch_sub_explicit(&ended_count, 1, memory_order_relaxed);
    }
    return h;
}

static void push_ended(struct heap *h)
{
    h->cold.next_ended = ended;
    ended = h;
    atomic_fetch_add_explicit(&ended_count, 1, memory_order_relaxed);
}

/* A heap for the calling thread: an ended thread's, or a new one. */
static struct heap *heap_take(void)
{
    lock_take(&heaps_lock, hak_my_slot());
    struct heap *h = pop_ended();
    if (!h && (h = map_heap()) != NULL) {
        h->cold.next_all = atomic_load_explicit(&heaps, memory_order_relaxed);
        atomic_store_explicit(&heaps, h, memory_order_release);
    }
    if (h) {
        h->cold.state = HEAP_LIVE;
        h->cold.rearmed = 0;
    }
    lock_drop(&heaps_lock);
    if (!h)
        return NULL;
    ensure_slot(h);
    slot_begin(h);
    h->hot.countdown = tick_frees(h);
    return h;
}

static hak_cold struct heap *heap_birth(void)
{
    if (heap_past_end)
        return NULL;
    front_start();
    if (!heap_is_none(heap_self))                       /* made while the process was made ready */
        return heap_self;
    struct heap *h = heap_take();
    if (!h)
        return NULL;
    heap_self = h;
    heap_enter(h);
    heap_look(h);
    heap_leave(h);
    hak_trace(HAK_TRACE_THREAD_START, 0xFFFF, 0);
    front_arm(h);                                       /* may allocate */
    return h;
}

struct heap *heap_mine(void)
{
    struct heap *h = heap_self;

    return likely(!heap_is_none(h)) ? h : heap_birth();
}

struct heap *heap_for_free(void)
{
    return heap_frees >= FREES_BEFORE_HEAP || heap_past_end ? heap_mine() : (heap_frees++, NULL);
}

/* ---- the end of a thread ---- */

void heap_thread_exit(void *heap)
{
    struct heap *h = heap;

    if (h != heap_self)
        return;
    if (h->cold.rearmed++ < REARMS) {
        front_arm(h);
        return;
    }
    int saved = errno;
    heap_enter(h);
    give_back_caches(h);
    hak_trace(HAK_TRACE_THREAD_EXIT, 0xFFFF, 0);
    heap_leave(h);
    h->slot.head.tid = 0;
    __atomic_store_n(&h->slot.head.state, HAK_SLOT_ENDED, __ATOMIC_RELEASE);
    GLOBAL_ADD(threads_ended, 1);
    heap_past_end = 1;
    heap_self = (struct heap *)&heap_none;
    lock_take(&heaps_lock, &h->slot);
    h->cold.state = HEAP_ENDED;
    push_ended(h);
    lock_drop(&heaps_lock);
    errno = saved;
}

/* ---- what ended threads left ---- */

void heap_help(struct heap *to)
{
    if (to->cold.state == HEAP_LOST || !heap_try(to))
        return;
    ensure_slot(to);
    queue_drain(to);
    heap_drop(to);
}

/* Only an ended heap can be walked from outside: `hot` is its thread's. */
void heap_visit(struct heap *h)
{
    struct heap *v = h->cold.visit ? h->cold.visit : heap_first();

    h->cold.visit = v->cold.next_all;
    if (v == h || v->cold.state == HEAP_LOST)
        return;
    bool walks = v->cold.state == HEAP_ENDED && v->cold.walk != h->cold.walk;
    if ((!queue_length(v) && !walks) || !heap_try(v))
        return;
    ensure_slot(v);
    queue_drain(v);
    if (walks && v->cold.state == HEAP_ENDED)
        heap_walk(v, h->cold.walk);
    heap_drop(v);
}

/* From one heap to another, both held.  The blocks of the run that are out stay out; a block of it
 * in the old owner's queue is passed on when that is drained. */
static void slab_move(struct heap *from, struct heap *to, struct slab *slab)
{
    unsigned bin = slab->bin;

    if (slab->used == 0) {
        from->cold.bin[bin].empties--;
        to->cold.bin[bin].empties++;
    }
    avail_remove(from, slab);
    COUNT(from->slot.row[bin].used_moved, -(uint64_t)slab->used);
    COUNT(to->slot.row[bin].used_moved, slab->used);
    atomic_store_explicit(&slab->owner, to, memory_order_relaxed);
    avail_push(to, slab);
    address_set_owner((uintptr_t)slab->base, slab->run, (uintptr_t)&to->hot.bin[bin]);
    COUNT(to->slot.thread.slabs_adopted, 1);
}

struct slab *heap_adopt_slab(struct heap *h, unsigned bin)
{
    struct slab *slab = NULL;

    if (likely(atomic_load_explicit(&ended_count, memory_order_relaxed) == 0) ||
        !lock_try(&heaps_lock, &h->slot))
        return NULL;
    struct heap *e = ended;
    for (int i = 0; e && i < LOOK_AT_ENDED && !slab; e = e->cold.next_ended, i++) {
        if (!heap_try(e))
            continue;
        ensure_slot(e);
        queue_drain(e);
        if ((slab = e->cold.bin[bin].avail) != NULL)
            slab_move(e, h, slab);
        heap_drop(e);
    }
    lock_drop(&heaps_lock);
    return slab;
}

/* ---- threads past their end ---- */

static struct heap *late_begin(void)
{
    lock_take(&late_lock, &late_lock);
    if (!late)
        late = heap_take();
    if (!late) {
        lock_drop(&late_lock);
        return NULL;
    }
    ensure_slot(late);
    late->slot.head.tid = 0;                            /* of no thread in particular */
    __atomic_store_n(&late->slot.head.state, HAK_SLOT_ENDED, __ATOMIC_RELEASE);
    heap_self = late;
    return late;
}

static void late_end(void)
{
    heap_enter(late);
    batches_flush(late);
    heap_leave(late);
    heap_self = (struct heap *)&heap_none;
    lock_drop(&late_lock);
}

void *late_alloc(size_t n)
{
    void *p = NULL;

    front_start();
    if (late_begin()) {
        p = heap_alloc(n);
        late_end();
    } else {
        errno = ENOMEM;
    }
    return p;
}

void *late_alloc_large(size_t n, size_t align, bool *zero)
{
    void *p = NULL;

    front_start();
    if (late_begin()) {
        p = heap_alloc_large(n, align, zero);
        late_end();
    } else {
        errno = ENOMEM;
    }
    return p;
}

/* Without any memory for a heap the block is handed over uncounted. */
void late_free(void *p)
{
    uintptr_t owner = address_owner((uintptr_t)p);

    front_start();
    if (late_begin()) {
        heap_free(p);
        late_end();
    } else if (owner) {
        remote_free_now(owner, p);
    }
}

/* ---- fork ---- */

void front_fork_prepare(void)
{
    struct heap *h = heap_self;

    if (heap_is_none(h))
        return;
    h->cold.saved = h->hot;
    h->cold.saved_valid = true;
}

void front_fork_parent(void)
{
    if (!heap_is_none(heap_self))
        heap_self->cold.saved_valid = false;
}

bool front_is_forked(void)
{
    return fork_mark == &mark_always || atomic_load_explicit(fork_mark, memory_order_relaxed) == 0;
}

/* A child of raw clone has no saved copy: what the caches held is lost to it. */
void front_fork_child(void)
{
    struct heap *h = heap_self;

    atomic_store_explicit(fork_mark, 1, memory_order_relaxed);
    if (heap_is_none(h))
        return;
    if (h->cold.depth == 0 && atomic_load_explicit(&h->cold.held, memory_order_relaxed)) {
        heap_self = (struct heap *)&heap_none;          /* another thread was in the middle of helping */
        return;
    }
    os_map_at(&h->slot, sizeof h->slot_pages);          /* the parent's is not inherited */
    hot_reset(h);
    if (h->cold.saved_valid)
        h->hot = h->cold.saved;
    h->cold.saved_valid = false;
    h->cold.epoch = UINT64_MAX;                         /* the next look applies the child's table */
}

/* Other threads do not exist here.  A heap that somebody held may be
 * in the middle of anything, and is left alone for ever; any other waits for a thread, less what
 * its caches held: their counts were wiped. */
static void sort_heap(struct heap *h)
{
    h->cold.has_slot = false;
    h->cold.rebase = true;
    if (atomic_load_explicit(&h->cold.held, memory_order_relaxed))
        h->cold.state = HEAP_LOST;
    if (h->cold.state == HEAP_LOST)
        return;
    hot_reset(h);
    h->cold.saved_valid = false;
    h->cold.epoch = UINT64_MAX;
    if (h != late) {
        h->cold.state = HEAP_ENDED;
        push_ended(h);
    }
}

void front_fork_sort(void)
{
    struct heap *mine = heap_self;
    const void *self = heap_is_none(mine) ? NULL : &mine->slot;

    lock_after_fork(&heaps_lock, self);
    if (lock_after_fork(&late_lock, NULL))
        late = NULL;
    ended = NULL;
    atomic_store_explicit(&ended_count, 0, memory_order_relaxed);
    for (struct heap *h = heap_first(); h; h = h->cold.next_all)
        if (h != mine)
            sort_heap(h);
    if (heap_is_none(mine))
        return;
    mine->cold.rebase = true;
    mine->cold.has_slot = false;
    ensure_slot(mine);
    slot_begin(mine);
}

/* What lives in the child: what is out of the slabs, less what this thread's caches hold. */
void front_inherited(uint64_t *inherited)
{
    struct heap *h = heap_self;

    memset(inherited, 0, HAK_ROWS * sizeof *inherited);
    for (unsigned i = 0; i < pool_superslabs(); i++) {
        struct superslab *ss = pool_superslab(i);
        uint32_t map = atomic_load_explicit(&ss->free_map, memory_order_relaxed);
        if (atomic_load_explicit(&ss->state, memory_order_relaxed) != SS_LIVE)
            continue;
        for (unsigned s = 0; s < SS_SLABS; s++)
            if (!(map >> s & 1) && ss->slab[s].lead == 0 && ss->slab[s].kind != SLAB_FREE)
                inherited[ss->slab[s].bin] += ss->slab[s].kind == SLAB_BIN ? ss->slab[s].used : 1;
    }
    inherited[HAK_ROW_HUGE] = huge_in_use();
    if (heap_is_none(h))
        return;
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        inherited[bin] -= h->hot.bin[bin].l0_n + h->hot.bin[bin].l1_n + h->cold.bin[bin].sll_n;
}
