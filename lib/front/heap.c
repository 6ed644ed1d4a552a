/* heap.c: heaps: how they are made, held and listed. */
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/front/internal.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define FREES_BEFORE_HEAP 16                /* see heap_for_free */
#define YIELDS   2                          /* see let_others_end */
#define ALONE_NS 2000000                    /* after the last heap was made */

_Static_assert(offsetof(struct heap, slot) == 64 * KIB && offsetof(struct heap, cold) == 128 * KIB, "as drawn");

_Alignas(2 * hak_cacheline) struct heap_none heap_none;
hak_tls struct heap *heap_self = (struct heap *)&heap_none;
hak_tls uint8_t heap_past_end;
uint16_t heap_size_at[sizeof(struct heap_hot) / hak_cacheline];
static hak_tls uint8_t heap_frees;          /* by this thread while it had no heap */

static void nothing(void) {}
static bool no_slot(void *at) { return os_map_at(at, sizeof heap_self->slot_pages), false; }
static void nobody_knows(void *p) { hak_die("free(): not a block in use", p); }
static void arm_nothing(struct heap *h) { (void)h; }

__attribute__((weak)) void (*front_start)(void) = nothing;   /* lib/api has the strong one */
void (*front_forked)(void) = nothing;
bool (*front_slot)(void *at) = no_slot;
void (*front_foreign)(void *p) = nobody_knows;
void (*front_arm)(struct heap *h) = arm_nothing;

/* 1 in a page that a child of a fork finds zeroed. */
static _Atomic uint32_t mark_always = 1;
_Atomic uint32_t *heap_fork_mark = &mark_always;

struct lock heaps_lock = { .name = "heaps" };
static struct heap *_Atomic heaps;
struct heap *heaps_ended;                  /* the latest first */
_Atomic unsigned heaps_ended_count;
static _Atomic uint64_t heap_made_ns;       /* when the last heap was made */

static struct hak_slot_full *slot_of_self(void)
{
    static struct hak_slot_full nobody;
    struct heap *h = heap_self;

    return heap_is_none(h) ? &nobody : &h->slot;
}

void front_init(void)
{
    sizes_init();
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        heap_size_at[offsetof(struct heap_hot, bin[bin]) / hak_cacheline] = (uint16_t)bin_info[bin].size;
    hak_my_slot_hook = slot_of_self;
    char *page = os_map(os_page, os_page);
    if (page && os_wipe_on_fork(page, os_page)) {
        _Atomic uint32_t *mark = (_Atomic uint32_t *)(page + os_page / 2);  /* as in struct heap_hot */
        atomic_store_explicit(mark, 1, memory_order_relaxed);
        heap_fork_mark = mark;
    }
}

struct heap *heap_first(void)
{
    return atomic_load_explicit(&heaps, memory_order_acquire);
}

/* ---- slow paths ---- */

bool front_is_forked(void)
{
    return heap_fork_mark == &mark_always || atomic_load_explicit(heap_fork_mark, memory_order_relaxed) == 0;
}

void heap_fork_noticed(void)
{
    atomic_store_explicit(heap_fork_mark, 1, memory_order_relaxed);
}

/* Another thread is putting blocks back for us; it will not be long, unless it was preempted.  A signal handler on top
 * of this may get the heap for us. */
void heap_wait(struct heap *h, uint32_t as, unsigned tries_max)
{
    atomic_store_explicit(&h->cold.wanted, 1, memory_order_relaxed);
    for (unsigned tries = 0; !heap_held_by_own(h) && !heap_try_as(h, as) && tries < tries_max; tries++)
        os_pause(tries);
    atomic_store_explicit(&h->cold.wanted, 0, memory_order_relaxed);
}

/* ---- birth ---- */

void heap_ensure_slot(struct heap *h)
{
    if (likely(h->cold.has_slot))
        return;
    uint64_t signals = os_hold_signals();
    if (!h->cold.has_slot) {
        h->cold.has_slot = true;
        GLOBAL_ADD(heaps, 1);
        h->cold.in_segment = true;                      /* before there is a gap in a child */
        h->cold.in_segment = front_slot(&h->slot);
    }
    os_release_signals(signals);
}

/* Where pages are large, a fork wipes these with `hot`. */
void heap_fill_offsets(struct heap *h)
{
    for (size_t n = 0; n <= TINY_MAX; n++)
        h->offsets.tiny[n] = (uint16_t)offsetof(struct heap, hot.bin[bin_of_tiny(n)]);
    for (size_t i = (TINY_MAX >> MID_STEP) + 1; i <= MID_MAX >> MID_STEP; i++)
        h->offsets.mid[i] = (uint16_t)offsetof(struct heap, hot.bin[mid_bin[i]]);
}

void heap_forget_l1(struct heap *h)
{
    memset(h->cold.l1_free, 0, sizeof h->cold.l1_free);
    h->cold.l1_lists_busy = false;
    h->cold.l1_used = 0;
    h->cold.hot_bins = 0;
}

static void empty_bins(struct heap *h)
{
    uint64_t bins = h->cold.hot_bins;

    for (unsigned bin; next_bin(&bins, &bin);)
        memset(&h->hot.bin[bin], 0, sizeof h->hot.bin[bin]);
}

void heap_reset_hot(struct heap *h)
{
    empty_bins(h);
    heap_forget_l1(h);
    h->hot.countdown = 1;
    heap_fill_offsets(h);
}

static struct heap *map_heap(void)
{
    struct heap *h = os_map(sizeof *h, HEAP_ALIGN);
    if (!h)
        return NULL;
    os_meta_note(sizeof *h);
    os_wipe_on_fork(h, round_up(sizeof h->hot, os_page));
    h->hot.countdown = 1;
    heap_fill_offsets(h);
    h->cold.epoch = UINT64_MAX;                         /* of no table: the first look applies one */
    h->cold.knobs.sll_drain_interval = TICK_FREES;
    h->cold.knobs.bump_chunk = 1;
    h->cold.forks = NO_FORKS;
    return h;
}

static uint64_t now_boot_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void heap_begin_slot(struct heap *h)
{
    h->slot.head.tid = os_tid();
    h->slot.head.started_ns = now_boot_ns();
    __atomic_store_n(&h->slot.head.state, HAK_SLOT_LIVE, __ATOMIC_RELEASE);
    GLOBAL_ADD(threads, 1);
}

void heap_push_ended(struct heap *h)
{
    h->cold.next_ended = heaps_ended;
    heaps_ended = h;
    atomic_fetch_add_explicit(&heaps_ended_count, 1, memory_order_relaxed);
}

/* The latest that nobody is helping; NULL: there is none.  It is held first, and then taken off: all heaps that nobody
 * holds are in a child's list. */
static struct heap *take_ended(void)
{
    struct heap *h = heaps_ended;
    while (h && !heap_try_as(h, HELD_BY_OWN))
        h = h->cold.next_ended;
    for (struct heap **at = &heaps_ended; *at; at = &(*at)->cold.next_ended)
        if (*at == h) {
            *at = h->cold.next_ended;
            atomic_fetch_sub_explicit(&heaps_ended_count, 1, memory_order_relaxed);
            break;
        }
    return h;
}

static struct heap *take_new(void)
{
    struct heap *h = map_heap();

    if (!h)
        return NULL;
    atomic_store_explicit(&h->cold.held, HELD_BY_OWN, memory_order_relaxed);
    h->cold.next_all = atomic_load_explicit(&heaps, memory_order_relaxed);
    atomic_store_explicit(&heaps, h, memory_order_release);
    atomic_store_explicit(&heap_made_ns, os_now_ns(), memory_order_relaxed);
    return h;
}

/* One thread at a time maps memory for a heap.  Those that are born together would else wait for each other in the
 * kernel, asleep, each until the one before it gets a CPU; who waits for this lock lets the others run. */
struct heap *heap_take(bool *busy)
{
    if (!lock_try(&heaps_lock)) {
        *busy = true;
        return NULL;
    }
    struct heap *h = take_ended();
    if (!h)
        h = take_new();
    lock_drop(&heaps_lock);
    if (!h)
        return NULL;
    heap_ensure_slot(h);
    heap_begin_slot(h);
    if (h->cold.bare)
        heap_fill_offsets(h);
    h->cold.ended = h->cold.bare = false;
    h->cold.rearmed = 0;
    for (unsigned bin = 0; bin < HAK_BINS; bin++)
        h->cold.fill[bin] = L1_START;
    h->hot.countdown = heap_tick_frees(h);
    heap_seen(h);
    return h;
}

/* Where threads are born one after the other, some are about to end and to leave their heaps: they run first.  Twice at
 * most, since other processes may want the CPU as well, and never for a thread that is born alone. */
static void let_others_end(void)
{
    for (int i = 0; i < YIELDS && atomic_load_explicit(&heaps_ended_count, memory_order_relaxed) == 0
                    && os_now_ns() - atomic_load_explicit(&heap_made_ns, memory_order_relaxed) < ALONE_NS; i++)
        os_yield();
}

/* NULL: no memory, or it has one already: from a handler, or made while the process was made ready. */
static struct heap *take_for_self(void)
{
    let_others_end();
    for (unsigned tries = 0;; os_pause(tries++)) {
        bool busy = false;
        uint64_t signals = os_hold_signals();
        heap_notice_fork();
        struct heap *h = heap_is_none(heap_self) ? heap_take(&busy) : NULL;
        if (h)
            heap_self = h;
        os_release_signals(signals);
        if (!busy)
            return h;
    }
}

static hak_cold struct heap *heap_birth(void)
{
    if (heap_past_end)
        return NULL;
    front_start();
    struct heap *h = take_for_self();
    if (!h)
        return heap_is_none(heap_self) ? NULL : heap_self;
    heap_enter(h);
    heap_look(h);
    heap_leave(h);
    hak_trace(HAK_TRACE_THREAD_START, 0xFFFF, 0);
    usdt_thread_start(h);
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
