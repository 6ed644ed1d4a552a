/* bench.h: what the bench programs share: arguments, random numbers, clocks, the report line.
 *
 * A program's own tables come from mmap, never from the allocator under test.  It prints one line:
 *
 *     NAME ops=N seconds=S cpu=S ops_per_s=R [more=...]
 *
 * where seconds (wall) and cpu (all threads) cover its measured section, without start-up.
 * The random numbers are the same in every run, so that each allocator is given the same work.
 */
#ifndef HAK_BENCH_H
#define HAK_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BENCH_SEED  UINT64_C(0x9E3779B97F4A7C15)
#define BENCH_PAGE  4096

struct bench_time { double wall, cpu; };

__attribute__((noreturn, cold)) static void bench_die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(2);
}

/* Argument i as a number, with K, M or G for powers of 1024; dies with the usage if it is none. */
static inline uint64_t bench_arg(int argc, char **argv, int i, const char *usage)
{
    static const char suffix[] = "KMG";
    char *end;
    if (i < argc && argv[i][0] >= '0' && argv[i][0] <= '9') {
        uint64_t v = strtoull(argv[i], &end, 10);
        const char *s = *end ? strchr(suffix, *end) : NULL;
        if (!*end)
            return v;
        if (s && !end[1])
            return v << (10 * (s - suffix + 1));
    }
    fprintf(stderr, "usage: %s %s\n", argv[0], usage);
    exit(2);
}

/* xorshift64*: good enough to scatter, cheap enough to leave the allocator the larger share. */
static inline uint32_t bench_rand(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return (uint32_t)(*s * UINT64_C(0x2545F4914F6CDD1D) >> 32);
}

/* Uniform in 0 … n-1. */
static inline size_t bench_below(uint64_t *s, size_t n)
{
    return (size_t)((uint64_t)bench_rand(s) * n >> 32);
}

/* Uniform in min … max. */
static inline size_t bench_between(uint64_t *s, size_t min, size_t max)
{
    return min + bench_below(s, max - min + 1);
}

/* A seed of its own for thread i. */
static inline uint64_t bench_seed(uint64_t i)
{
    return BENCH_SEED * (2 * i + 1);
}

/* Zeroed memory that the allocator under test knows nothing about; resident from the start. */
static inline void *bench_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (p == MAP_FAILED)
        bench_die("mmap failed");
    return p;
}

/* Writes to the block as its user would: its first byte, and one in each further page. */
static inline void *bench_touch(void *p, size_t size)
{
    if (!p)
        bench_die("out of memory");
    for (size_t at = 0; at < size; at += BENCH_PAGE)
        ((volatile char *)p)[at] = 1;
    __asm__ volatile("" : : "r"(p) : "memory");     /* no pair of malloc and free is optimised away */
    return p;
}

static inline double bench_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline struct bench_time bench_time(void)
{
    return (struct bench_time){ bench_clock(CLOCK_MONOTONIC), bench_clock(CLOCK_PROCESS_CPUTIME_ID) };
}

static inline struct bench_time bench_since(struct bench_time start)
{
    struct bench_time now = bench_time();
    return (struct bench_time){ now.wall - start.wall, now.cpu - start.cpu };
}

/* Prints the line for a section that took `t`; `more` is a printf format, "" for nothing. */
__attribute__((format(printf, 4, 5)))
static inline void bench_report_as(const char *name, uint64_t ops, struct bench_time t,
                                   const char *more, ...)
{
    va_list ap;
    printf("%s ops=%" PRIu64 " seconds=%.6f cpu=%.6f ops_per_s=%.0f", name, ops, t.wall, t.cpu,
           (double)ops / t.wall);
    va_start(ap, more);
    vprintf(more, ap);
    va_end(ap);
    putchar('\n');
}

/* The section that began at `start` ends now. */
static inline void bench_report(const char *name, uint64_t ops, struct bench_time start)
{
    struct bench_time t = bench_since(start);
    bench_report_as(name, ops, t, "%s", "");
}

struct bench_thread {
    pthread_t id;
    int cpu;
    void *(*fn)(void *);
    void *arg;
};

/* The calling thread, and those it starts, stay on one CPU. */
static inline void bench_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        bench_die("sched_setaffinity failed");
}

static inline void *bench_thread_main(void *arg)
{
    struct bench_thread *t = arg;
    bench_pin(t->cpu);
    return t->fn(t->arg);
}

/* The first CPU above `cpu` that the process may use, or the first of all; -1 begins. */
static inline int bench_next_cpu(int cpu)
{
    cpu_set_t set;
    if (sched_getaffinity(getpid(), sizeof set, &set))
        bench_die("sched_getaffinity failed");
    do
        cpu = (cpu + 1) % CPU_SETSIZE;
    while (!CPU_ISSET(cpu, &set));
    return cpu;
}

/* Runs fn(args + i * size) in n threads at once, dealt out to the CPUs, and waits for them all.  They
 * are pinned so that threads that should run at the same time do, in every run. */
static inline void bench_threads(size_t n, void *(*fn)(void *), void *args, size_t size)
{
    struct bench_thread *thread = bench_map(n * sizeof *thread);
    int cpu = -1;
    for (size_t i = 0; i < n; i++) {
        cpu = bench_next_cpu(cpu);
        thread[i] = (struct bench_thread){ 0, cpu, fn, (char *)args + i * size };
        if (pthread_create(&thread[i].id, NULL, bench_thread_main, &thread[i]))
            bench_die("pthread_create failed");
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(thread[i].id, NULL);
    munmap(thread, n * sizeof *thread);
}

/* Resident set now, in KiB; allocates nothing. */
static inline size_t bench_rss_kib(void)
{
    char buf[128] = "";
    size_t pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, buf, sizeof buf - 1) <= 0 || sscanf(buf, "%*u %zu", &pages) != 1)
        bench_die("/proc/self/statm can't be read");
    close(fd);
    return pages * ((size_t)sysconf(_SC_PAGESIZE) / 1024);
}

#endif
