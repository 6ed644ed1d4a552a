/* calls.c: a process that makes a known number of system calls on memory and futexes, and of page
 * faults, in each round; for tests of who counts them.  It reads orders from standard input,
 * answers each one with a line when it has been carried out, and makes no such call in between.
 *
 *   round      ROUND times each of the calls below; answers "ok FAULTS": how many the kernel says
 * it had large      a huge block of malloc, PAGES pages in its middle touched, and freed; answers
 * as round hold N     N threads that wait at one futex each, until the end contend N  N threads
 * that allocate and free blocks of 3 MiB, all at once, for a while quit
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/orders.h"

enum { ROUND = 40, PAGES = 100, THREADS = 32, PAIRS = 2000, MIB = 1 << 20, LARGE = 80 * MIB };

static uint32_t words[THREADS + 1];

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *most)
{
    return syscall(SYS_futex, word, op, value, most, NULL, 0);
}

static void must(int good)
{
    if (!good)
        abort();
}

static void touch(char *p, int pages)
{
    for (int i = 0; i < pages; i++)
        *(volatile char *)(p + 4096 * i) = 1;
}

/* 3 calls of mmap that succeed and 1 that fails, and so on. */
static void once(char *end)
{
    static const struct timespec soon = { 0, 1000 };
    char *a = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *b = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *c = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(a != MAP_FAILED && b != MAP_FAILED && c != MAP_FAILED);
    must(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    must(!madvise(a, MIB, MADV_NOHUGEPAGE));
    touch(a, 3);
    must(madvise(a + 1, 4096, MADV_DONTNEED) == -1);
    must((b = mremap(b, MIB, 2 * MIB, MREMAP_MAYMOVE)) != MAP_FAILED);
    must(!munmap(a, MIB) && !munmap(b, 2 * MIB) && !munmap(c, 4096));
    must(munmap(a + 1, 4096) == -1);
    must(syscall(SYS_brk, end + 65536) == (long)end + 65536 && syscall(SYS_brk, end) == (long)end);
    must(futex(&words[THREADS], FUTEX_WAIT_PRIVATE, 1, NULL) == -1);
    must(futex(&words[THREADS], FUTEX_WAIT_PRIVATE, 0, &soon) == -1);
    must(futex(&words[THREADS], FUTEX_WAKE_PRIVATE, 1, NULL) == 0);
}

static void make_round(void)
{
    char *end = sbrk(0);

    for (int i = 0; i < ROUND; i++)
        once(end);
}

static void make_large(void)
{
    char *p = malloc(LARGE);

    must(p != NULL);
    char *middle = p + LARGE / 2 - (uintptr_t)p % 4096;     /* whoever's malloc it is */
    must(!madvise(middle, LARGE / 4, MADV_NOHUGEPAGE));
    touch(middle, PAGES);
    free(p);
}

static long faults(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return use.ru_minflt + use.ru_majflt;
}

static void *hold(void *word)
{
    for (;;)
        futex(word, FUTEX_WAIT_PRIVATE, 0, NULL);
    return NULL;
}

static void *contend(void *barrier)
{
    pthread_barrier_wait(barrier);
    for (int i = 0; i < PAIRS; i++) {
        char *p = malloc(3 * MIB);
        must(p != NULL);
        __asm__ volatile("" : : "r"(p) : "memory");
        free(p);
    }
    return NULL;
}

static void make_threads(long n, int holding)
{
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;

    must(n > 0 && n <= THREADS);
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    for (long i = 0; i < n; i++)
        must(!pthread_create(&threads[i], NULL, holding ? hold : contend,
                             holding ? (void *)&words[i] : &barrier));
    for (long i = 0; !holding && i < n; i++)
        pthread_join(threads[i], NULL);
}

static void say(long number)
{
    char line[64];
    int n = snprintf(line, sizeof line, "ok %ld\n", number);

    must(write(1, line, (size_t)n) == n);
}

int main(void)
{
    char line[64], verb[16];

    make_round();                       /* so that the code is there */
    make_large();
    say(faults());
    while (read_line(line, sizeof line)) {
        long n = 0, before = faults();
        if (sscanf(line, "%15s %ld", verb, &n) < 1)
            continue;
        if (!strcmp(verb, "round"))
            make_round();
        else if (!strcmp(verb, "large"))
            make_large();
        else if (!strcmp(verb, "hold") || !strcmp(verb, "contend"))
            make_threads(n, !strcmp(verb, "hold"));
        else
            return strcmp(verb, "quit") != 0;
        say(faults() - before);
    }
    return 0;
}
