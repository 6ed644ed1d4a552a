/* ended.c: the end of a thread, what it leaves, and what others do for a thread that is away. */
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/base/usdt.h"
#include "lib/front/internal.h"

#include <errno.h>

#define REARMS 2                            /* rounds of destructors that may still find the heap */
#define LOOK_AT_ENDED 4                     /* heaps looked at for a slab to adopt */
#define LOOK_AT_IDLE  4                     /* the same of threads that live */
#define LOOK_AT_SLABS 8                     /* of each */
#define LITTLE(slab)  ((slab)->capacity / 4)

/* The heap of threads past their end. */
struct lock late_lock = { .name = "late" };
struct heap *late;

/* ---- the end of a thread ---- */

void heap_thread_exit(void *heap)
{
    struct heap *h = heap;

    heap_notice_fork();
    if (h != heap_self)
        return;
    if (h->cold.rearmed++ < REARMS) {
        front_arm(h);
        return;
    }
    int saved = errno;
    heap_enter(h);
    heap_forget_forks(h);                               /* it may end in a handler of fork */
    heap_give_back_caches(h, heap_has_holes_purged(h) && h->cold.knobs.pool_empty_slabs);
    hak_trace(HAK_TRACE_THREAD_EXIT, 0xFFFF, 0);
    usdt_thread_exit(h);
    h->cold.ended = true;
    h->slot.head.tid = 0;
    __atomic_store_n(&h->slot.head.state, HAK_SLOT_ENDED, __ATOMIC_RELEASE);
    GLOBAL_ADD(threads_ended, 1);
    heap_past_end = 1;
    heap_self = (struct heap *)&heap_none;
    uint64_t signals = lock_take_held(&heaps_lock);
    heap_push_ended(h);
    lock_drop(&heaps_lock);
    os_release_signals(signals);
    if (--h->cold.depth == 0)                           /* else it ends on top of a slow path: left alone for ever */
        heap_drop(h);                                   /* last: in a child, heaps that nobody holds are listed anew */
    errno = saved;
}

/* ---- what ended threads left ---- */

void heap_help(struct heap *to)
{
    if (!heap_try(to))
        return;
    heap_ensure_slot(to);
    queue_drain(to);
    heap_drop(to);
}

/* Only an ended heap can be walked from outside: `hot` is its thread's. */
void heap_visit(struct heap *h)
{
    struct heap *v = h->cold.visit ? h->cold.visit : heap_first();

    h->cold.visit = v->cold.next_all;
    if (v == h || !heap_try(v))
        return;
    bool walks = v->cold.ended && v->cold.walk != h->cold.walk;
    if (walks || queue_length(v)) {
        heap_ensure_slot(v);
        queue_drain(v);
        for (unsigned bin = 0; bin < HAK_BINS && v->cold.ended; bin++)
            empties_trim(v, bin, 0);
        if (walks)
            heap_walk(v, h->cold.walk);
    }
    heap_drop(v);
}

/* From one heap to another, both held.  The blocks of the run that are out stay out, those in the old owner's caches,
 * too; a block of it in the old owner's queue is passed on when that is drained. */
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
    address_set_owner((uintptr_t)slab->base, slab->run, (uintptr_t)&to->hot.bin[bin]);
    atomic_signal_fence(memory_order_release);          /* as in slab_for */
    avail_push(to, slab);
    COUNT(to->slot.thread.slabs_adopted, 1);
}

static struct slab *slab_of_ended(struct heap *h, unsigned bin)
{
    struct slab *slab = NULL;

    if (likely(atomic_load_explicit(&heaps_ended_count, memory_order_relaxed) == 0) ||
        !lock_try(&heaps_lock))
        return NULL;
    struct heap *e = heaps_ended;
    for (int i = 0; e && i < LOOK_AT_ENDED && !slab; e = e->cold.next_ended, i++) {
        if (!heap_try(e))
            continue;
        heap_ensure_slot(e);
        queue_drain(e);
        if ((slab = e->cold.bin[bin].avail) != NULL)
            slab_move(e, h, slab);
        heap_drop(e);
    }
    lock_drop(&heaps_lock);
    return slab;
}

/* ---- what threads that sleep don't use ----
 *
 * A thread that has not ticked for some time waits for work or for a CPU, and its slabs for it.  One of which little
 * is in use, mostly by its caches, goes to who would take a new one.  The thread may be at work again at any
 * moment: its hot paths then find the owner word as it was, and put blocks of the slab into its caches, or as it is,
 * and free them as any other thread.  Either is right: a block from a cache is its user's whoever owns the slab,
 * and on the way back to the slab put_all asks whose it is, under the hold of the heap that had to be held to
 * move it. */

void heaps_trim_idle(void)
{
    for (struct heap *e = heap_first(); e; e = e->cold.next_all)
        if (heap_is_idle(e))
            large_trim(e);
}

static struct slab *slab_little_used(const struct heap *h, unsigned bin)
{
    struct slab *slab = h->cold.bin[bin].avail;

    for (unsigned i = 0; slab && i < LOOK_AT_SLABS; i++, slab = slab->next)
        if (slab->used <= LITTLE(slab))
            return slab;
    return NULL;
}

static struct slab *slab_of_idle(struct heap *h, unsigned bin)
{
    struct slab *slab = NULL;

    for (int i = 0; i < LOOK_AT_IDLE && !slab; i++) {
        struct heap *v = h->cold.lender ? h->cold.lender : heap_first();
        h->cold.lender = v->cold.next_all;
        if (v == h || !heap_is_idle(v) || !heap_try(v))
            continue;
        heap_ensure_slot(v);
        queue_drain(v);
        if ((slab = slab_little_used(v, bin)) != NULL)
            slab_move(v, h, slab);
        heap_drop(v);
    }
    return slab;
}

struct slab *heap_adopt_slab(struct heap *h, unsigned bin)
{
    struct slab *slab = slab_of_ended(h, bin);

    return slab ? slab : slab_of_idle(h, bin);
}

/* ---- threads past their end ---- */

static struct heap *try_late(bool *busy)
{
    if (!lock_try(&late_lock)) {
        *busy = true;
        return NULL;
    }
    if (!late && !(late = heap_take(busy))) {
        lock_drop(&late_lock);
        return NULL;
    }
    heap_ensure_slot(late);
    late->slot.head.tid = 0;                            /* of no thread in particular */
    __atomic_store_n(&late->slot.head.state, HAK_SLOT_ENDED, __ATOMIC_RELEASE);
    return heap_self = late;
}

/* A signal handler that comes before late_end, and allocates, finds its thread with a heap. */
static struct heap *late_begin(void)
{
    for (unsigned tries = 0;; os_pause(tries++)) {
        bool busy = false;
        uint64_t signals = os_hold_signals();
        heap_notice_fork();
        struct heap *h = try_late(&busy);
        os_release_signals(signals);
        if (!busy)
            return h;
    }
}

static void late_end(void)
{
    heap_enter(late);
    batches_flush(late);
    heap_leave(late);
    uint64_t signals = os_hold_signals();
    heap_self = (struct heap *)&heap_none;
    lock_drop(&late_lock);
    os_release_signals(signals);
}

void *late_alloc(size_t n, unsigned bin)
{
    void *p = NULL;

    front_start();
    if (late_begin()) {
        p = heap_alloc_bin(n, bin);
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

/* Without any memory for a heap it is not counted. */
void heap_count(size_t counter)
{
    int saved = errno;

    heap_notice_fork();
    const bool of_late = !heap_mine();
    if (!of_late || late_begin()) {
        COUNT(*(uint64_t *)((char *)hak_my_slot() + counter), 1);
        if (of_late)
            late_end();
    }
    errno = saved;
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
