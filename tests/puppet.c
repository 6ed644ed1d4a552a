/* puppet.c: a process whose every call of malloc and free is ordered from outside, so that a test
 * knows what its counters must say.  It reads orders from standard input and answers each one with
 * a line when it has been carried out.  It makes no call of its own in between.
 *
 *   threads N          start N threads, numbered on from the last; thread 0 is the main one
 *   pairs T SIZE N     thread T: N times malloc(SIZE) and free
 *   alloc T SIZE N     thread T: N blocks, on top of its pile
 *   free T N           thread T: frees the N topmost of its pile
 *   freeof T U N       thread T: frees the N topmost of thread U's pile
 *   calloc, aligned    like alloc, by calloc(1, SIZE) and aligned_alloc(64, SIZE)
 *   realloc T SIZE     thread T: the topmost of its pile; answers "same" or "moved"
 *   usable T           answers what the topmost block of the pile can hold
 *   null T N           thread T: free(NULL) N times
 *   fail T N           thread T: N calls that can't be served
 *   end T              thread T returns and is joined
 *   exec               the same program again, in this process
 *   quit               exit
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <malloc.h>

#include "tests/orders.h"

enum { THREADS = 256, PILE = 100000 };

static struct puppet {
    pthread_t thread;
    sem_t go, done;
    void **pile;
    long height;
} puppets[THREADS];
static void *piles[THREADS][PILE];
static int threads = 1;

/* The order being carried out, by one thread at a time. */
static struct { char verb[16]; int who; long a, b; const char *answer; } order;

/* No compiler may take a pair of calls for nothing. */
static void *keep(void *p) { __asm__ volatile("" : "+r"(p) : : "memory"); return p; }

static void push(struct puppet *p, void *block)
{
    if (!block || p->height == PILE)
        abort();
    p->pile[p->height++] = block;
}

static void free_top(struct puppet *p, long n)
{
    for (; n > 0 && p->height > 0; n--)
        free(p->pile[--p->height]);
    if (n)
        abort();
}

static void resize(struct puppet *p, size_t size)
{
    void **top = &p->pile[p->height - 1], *old = *top;
    uintptr_t was = (uintptr_t)old;
    *top = realloc(old, size);
    order.answer = (uintptr_t)*top == was ? "same" : "moved";
}

static void carry_out(struct puppet *p)
{
    static char number[24];
    volatile size_t size = (size_t)order.a, too_large = (size_t)-1;
    order.answer = "ok";
    if (!strcmp(order.verb, "pairs"))
        for (long i = 0; i < order.b; i++)
            free(keep(malloc(size)));
    else if (!strcmp(order.verb, "alloc"))
        for (long i = 0; i < order.b; i++)
            push(p, malloc(size));
    else if (!strcmp(order.verb, "calloc"))
        for (long i = 0; i < order.b; i++)
            push(p, calloc(1, size));
    else if (!strcmp(order.verb, "aligned"))
        for (long i = 0; i < order.b; i++)
            push(p, aligned_alloc(64, size));
    else if (!strcmp(order.verb, "free"))
        free_top(p, order.a);
    else if (!strcmp(order.verb, "freeof"))
        free_top(&puppets[order.a], order.b);
    else if (!strcmp(order.verb, "realloc"))
        resize(p, size);
    else if (!strcmp(order.verb, "null"))
        for (long i = 0; i < order.a; i++)
            free(keep(NULL));
    else if (!strcmp(order.verb, "fail"))
        for (long i = 0; i < order.a; i++)
            free(keep(malloc(too_large)));
    else if (!strcmp(order.verb, "usable")) {
        snprintf(number, sizeof number, "%zu", malloc_usable_size(p->pile[p->height - 1]));
        order.answer = number;
    } else
        order.answer = "unknown order";
}

static void *puppet_main(void *arg)
{
    struct puppet *p = arg;
    for (;;) {
        sem_wait(&p->go);
        if (!strcmp(order.verb, "end"))
            return NULL;
        carry_out(p);
        sem_post(&p->done);
    }
}

static void start_threads(long n)
{
    for (; n > 0 && threads < THREADS; n--, threads++) {
        struct puppet *p = &puppets[threads];
        p->pile = piles[threads];
        sem_init(&p->go, 0, 0);
        sem_init(&p->done, 0, 0);
        if (pthread_create(&p->thread, NULL, puppet_main, p))
            abort();
    }
}

static void obey(char **argv)
{
    struct puppet *p = &puppets[order.who];
    order.answer = "ok";
    if (!strcmp(order.verb, "threads")) {
        start_threads(order.who);
    } else if (!strcmp(order.verb, "exec")) {
        execv("/proc/self/exe", argv);
    } else if (!strcmp(order.verb, "quit")) {
        exit(0);
    } else if (order.who == 0) {
        carry_out(p);
    } else if (order.who > 0 && order.who < threads) {
        sem_post(&p->go);
        if (!strcmp(order.verb, "end"))
            pthread_join(p->thread, NULL);
        else
            sem_wait(&p->done);
    } else {
        order.answer = "no such thread";
    }
}

static void say(const char *answer)
{
    char line[64];
    int n = snprintf(line, sizeof line, "%s\n", answer);
    if (write(1, line, (size_t)n) != n)
        _exit(1);
}

int main(int argc, char **argv)
{
    char line[128];
    (void)argc;
    puppets[0].pile = piles[0];
    say("ready");
    while (read_line(line, sizeof line)) {
        order.who = 0;
        order.a = order.b = 0;
        if (sscanf(line, "%15s %d %ld %ld", order.verb, &order.who, &order.a, &order.b) < 1)
            continue;
        obey(argv);
        say(order.answer);
    }
    return 0;
}
