/* worker.h: threads that do one piece of work at a time when they are told to, so that a test knows
 * how many calls each of them made.
 */
#ifndef TESTS_WORKER_H
#define TESTS_WORKER_H

#include <semaphore.h>
#include <sys/syscall.h>
#include "tests/seg.h"

static struct seg s;                    /* this process's own segment */

/* More blocks than FastCache ever holds. */
enum { WORKERS = 4, BURST = 10000 };

static struct worker {
    pthread_t thread;
    struct hak_slot *slot;
    sem_t go, done;
    void (*work)(struct worker *);
    int pairs;
    size_t size;
    void *blocks[BURST];            /* what the worker has allocated, or is to free */
} workers[WORKERS];

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    free(malloc(1));
    w->slot = seg_slot_of(&s, (pid_t)syscall(SYS_gettid));
    sem_post(&w->done);
    for (;;) {
        sem_wait(&w->go);
        if (!w->work)
            return NULL;
        w->work(w);
        sem_post(&w->done);
    }
}

static void tell(struct worker *w, void (*work)(struct worker *))
{
    w->work = work;
    sem_post(&w->go);
    sem_wait(&w->done);
}

static void do_pairs(struct worker *w)
{
    for (int i = 0; i < w->pairs; i++)
        free(malloc(w->size));
}

static void pairs(struct worker *w, size_t size, int n)
{
    w->size = size;
    w->pairs = n;
    tell(w, do_pairs);
}

static void do_free_foreign(struct worker *w)
{
    for (int i = 0; i < w->pairs; i++)
        free(w->blocks[i]);
}

__attribute__((unused))
static void free_foreign(struct worker *w, size_t size, int n)
{
    for (int i = 0; i < n; i++)
        w->blocks[i] = malloc(size);
    w->pairs = n;
    tell(w, do_free_foreign);
}

static uint64_t applied(const struct worker *w) { return seg_read(&w->slot->applied); }

/* The change in a class's counter while a worker does something. */
static uint64_t hits(struct worker *w, const char *name, unsigned cls)
{
    return slot_class(&s, w->slot, name, cls);
}

/* A counter of the thread as a whole. */
__attribute__((unused))
static uint64_t counter(struct worker *w, const char *name)
{
    return seg_read((const char *)w->slot + seg_stat(&s, name, HAK_SCOPE_THREAD)->offset);
}

/* Allocate a lot, then free a lot: more than FastCache has room for. */
static void do_burst(struct worker *w)
{
    for (int i = 0; i < w->pairs; i++)
        w->blocks[i] = malloc(w->size);
    for (int i = 0; i < w->pairs; i++)
        free(w->blocks[i]);
}

static void burst(struct worker *w, size_t size, int n)
{
    w->size = size;
    w->pairs = n;
    tell(w, do_burst);
}

/* Set a knob and bring every worker to apply it. */
__attribute__((unused))
static void set_everywhere(const char *name, uint64_t value)
{
    uint64_t g = seg_set(&s, name, value);
    int behind = 0;
    for (int j = 0; j < WORKERS; j++) {
        pairs(&workers[j], 64, 2048);
        behind += applied(&workers[j]) != g;
    }
    is(behind, 0, "%s=0x%llx is applied by all", name, (unsigned long long)value);
}

/* Make them, each with a slot of its own. */
static void start_workers(void)
{
    seg_own(&s);
    for (int i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        sem_init(&w->go, 0, 0);
        sem_init(&w->done, 0, 0);
        pthread_create(&w->thread, NULL, worker_main, w);
        sem_wait(&w->done);
    }
}

static void end_workers(void)
{
    for (int i = 0; i < WORKERS; i++) {
        workers[i].work = NULL;
        sem_post(&workers[i].go);
        pthread_join(workers[i].thread, NULL);
    }
}

#endif
