/* interleave.h: pieces of a program that run together, and chance that says how.
 *
 * interleave() runs its parts as coroutines of one thread.  At every atomic operation of the library
 * (tests/unit/jitter.h) chance decides which of them goes on, so that any order of the operations may
 * come about, a million steps a second, and the same one again from the same seed.  What a machine's
 * caches and reorderings add to that is left to real threads: stress(). */
#ifndef TESTS_UNIT_INTERLEAVE_H
#define TESTS_UNIT_INTERLEAVE_H

#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>
#include "lib/base/lock.h"
#include "tests/unit/jitter.h"
#include "tests/unit/core.h"

/* The sanitizers must be told of every change of stacks: there only threads run. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define INTERLEAVES 0
#else
#define INTERLEAVES 1
#endif

enum { PARTS_MAX = 4, PART_STACK = 64 * 1024 };

static struct {
    ucontext_t home, part[PARTS_MAX];
    _Alignas(16) char stack[PARTS_MAX][PART_STACK];
    void (*fn)(int);
    unsigned left;                      /* bit i: part i has not ended */
    uint64_t seed;
    uint32_t number[PARTS_MAX];         /* as if they were threads (lock.h) */
    void (*moved)(int from, int to);    /* called at every change, if set */
} il;
static __thread int il_running = -1;
static _Atomic bool il_threads;                 /* they are at work */

static int il_choose(void)
{
    unsigned pick = (unsigned)(rnd(&il.seed) % (unsigned)__builtin_popcount(il.left)), i = 0;

    for (;; i++)
        if (il.left >> i & 1 && pick-- == 0)
            return (int)i;
}

static void il_go(int to)
{
    int from = il_running;

    if (to == from)
        return;
    if (il.moved)
        il.moved(from, to);
    il.number[from] = lock_number;
    lock_number = il.number[to];
    il_running = to;
    swapcontext(&il.part[from], &il.part[to]);
}

void jitter(void)
{
    static __thread uint64_t seed;

    if (il_running >= 0) {
        if (rnd(&il.seed) % 2)
            il_go(il_choose());
    } else if (__atomic_load_n(&il_threads, __ATOMIC_RELAXED) && rnd(&seed) % 16 == 0) {
        sched_yield();
    }
}

/* Threads that give way to each other at the same places. */
__attribute__((unused))
static void stress(int n, void *(*fn)(void *))
{
    __atomic_store_n(&il_threads, true, __ATOMIC_RELAXED);
    run_threads(n, fn, NULL);
    __atomic_store_n(&il_threads, false, __ATOMIC_RELAXED);
}

static void il_part(int i)
{
    il.fn(i);
    il.left &= ~(1u << i);
    if (il.left)
        il_go(il_choose());             /* and never back */
}

/* A part that waits for a lock sleeps in the kernel, and all with it: wakes it up, as any signal may. */
static void il_wake(int signal)
{
    (void)signal;
}

static void il_tick(suseconds_t us)
{
    struct sigaction wake = { .sa_handler = il_wake };
    struct itimerval every = { { 0, us }, { 0, us } };

    sigaction(SIGALRM, &wake, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

/* Runs fn(0) to fn(parts - 1) in the interleaving of this seed, up to the end of all. */
__attribute__((unused))
static void interleave(int parts, void (*fn)(int), uint64_t seed)
{
    il.fn = fn;
    il.left = (1u << parts) - 1;
    il.seed = seed;
    for (int i = 0; i < parts; i++) {
        getcontext(&il.part[i]);
        il.part[i].uc_stack = (stack_t){ .ss_sp = il.stack[i], .ss_size = PART_STACK };
        il.part[i].uc_link = &il.home;
        makecontext(&il.part[i], (void (*)(void))il_part, 1, i);
    }
    uint32_t number = lock_number;
    memset(il.number, 0, sizeof il.number);
    il_running = il_choose();
    lock_number = 0;
    if (il.moved)
        il.moved(-1, il_running);
    il_tick(500);
    swapcontext(&il.home, &il.part[il_running]);
    il_tick(0);
    il_running = -1;
    lock_number = number;
}

#endif
