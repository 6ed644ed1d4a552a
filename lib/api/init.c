/* init.c: how a process becomes ready, and what fork and exit do.  The order of things is here and
 * nowhere else. */
#include "lib/api/api.h"
#include "lib/base/lock.h"
#include "lib/base/os.h"
#include "lib/control/control.h"
#include "lib/core/huge.h"
#include "lib/core/pool.h"
#include "lib/front/heap.h"

#include <errno.h>
#include <pthread.h>

static _Atomic bool started;
static struct lock start_lock = { .name = "start" };
static pthread_key_t exit_key;
static _Atomic bool exit_key_made;

/* Runs the thread's exit once its other destructors are done, or nearly (heap_thread_exit). */
static void arm(struct heap *h)
{
    if (atomic_load_explicit(&exit_key_made, memory_order_acquire))
        pthread_setspecific(exit_key, h);
}

/* By the first call of the allocator, from wherever: the dynamic loader, a constructor, a thread.
 * Nothing here allocates or takes a lock of libc's. */
void hak_start(void)
{
    union hak_knobs knobs;

    if (likely(atomic_load_explicit(&started, memory_order_acquire)))
        return;
    uint64_t signals = lock_take_held(&start_lock);
    if (!atomic_load_explicit(&started, memory_order_relaxed)) {
        os_init();
        front_init();
        control_init();
        control_knobs(&knobs);
        pool_init(&knobs);
        core_apply(&knobs);
        front_slot = control_slot;
        front_arm = arm;
        front_forked = hak_after_fork;
        front_foreign = foreign_free;
        foreign_init();
        dlopen_init(knobs.safe_dlopen);
        if (pthread_key_create(&exit_key, heap_thread_exit) == 0)
            atomic_store_explicit(&exit_key_made, true, memory_order_release);
        atomic_store_explicit(&started, true, memory_order_release);
    }
    lock_drop(&start_lock);
    os_release_signals(signals);
}

void hak_ready(void)
{
    hak_start();
    heap_notice_fork();
}

/* In place before any code runs, so that the very first call finds it. */
void (*front_start)(void) = hak_start;

static void prepare(void) { front_fork_prepare(); }
static void parent(void)  { front_fork_parent(); }

/* From the inside out: what needs no counters, then this thread's own heap, then the segment, then
 * all that is counted in it. */
static void after_fork(void)
{
    uint64_t inherited[HAK_ROWS];

    hak_globals_after_fork();
    lock_after_fork(&start_lock);
    os_meta_after_fork();
    pool_after_fork();
    huge_after_fork();
    front_fork_child();
    front_inherited(inherited);
    control_fork_child(inherited);
    pool_count_inherited();
    huge_count_inherited();
    front_fork_sort();
}

/* A handler that allocates finds the child as it was after fork, or ready. */
void hak_after_fork(void)
{
    int saved = errno;                                  /* free may be the first call */

    if (!front_is_forked())
        return;
    uint64_t signals = os_hold_signals();
    if (front_is_forked())
        after_fork();
    os_release_signals(signals);
    errno = saved;
}

__attribute__((constructor(101))) static void start_early(void)
{
    hak_start();
    pthread_atfork(prepare, parent, hak_after_fork);
    if (!heap_is_none(heap_self))
        arm(heap_self);
}

__attribute__((destructor)) static void finish(void)
{
    control_exit();
}
