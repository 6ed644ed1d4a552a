/* work.c: an ordinary program with threads, for tests of what surrounds it.
 *
 *   work               prints "done" if every block kept its contents
 *   work fds FILE      opens FILE three times and writes the numbers of the descriptors to it
 *   work secure        prints AT_SECURE, and how many segments there are of this process
 *   work births N M    N threads that allocate for the first time at once, M blocks each of 100 bytes
 *   work fill          allocates until there is no more, twice; prints whether both went well
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

enum { THREADS = 8, BLOCKS = 400, STEPS = 4000 };

static void *work(void *arg)
{
    unsigned char *p[BLOCKS] = { NULL };
    size_t n[BLOCKS] = { 0 };
    uint64_t r = (uintptr_t)arg + 1;
    intptr_t bad = 0;
    for (int step = 0; step < STEPS; step++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        unsigned i = (unsigned)(r >> 33) % BLOCKS;
        if (p[i])
            bad += p[i][0] != (unsigned char)i || p[i][n[i] - 1] != (unsigned char)i;
        free(p[i]);
        n[i] = 1 + (r >> 40) % (step % 100 ? 2000 : 400000);
        p[i] = malloc(n[i]);
        if (!p[i])
            return (void *)(bad + 1);
        p[i][0] = p[i][n[i] - 1] = (unsigned char)i;
    }
    for (int i = 0; i < BLOCKS; i++)
        free(p[i]);
    return (void *)bad;
}

static pthread_barrier_t all_there;

static void *meet(void *arg)
{
    pthread_barrier_wait(&all_there);
    for (intptr_t i = 0; i < (intptr_t)arg; i++) {
        char *volatile p = malloc(100);
        free(p);
    }
    pthread_barrier_wait(&all_there);                   /* so that each has a heap of its own */
    return NULL;
}

static int births(int n, intptr_t blocks)
{
    pthread_t *t = malloc((size_t)n * sizeof *t);

    pthread_barrier_init(&all_there, NULL, (unsigned)n);
    for (int i = 0; i < n; i++)
        if (pthread_create(&t[i], NULL, meet, (void *)blocks))
            return 2;
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    free(t);
    puts("done");
    return 0;
}

/* Blocks that were lost, or that could not be had. */
static intptr_t use_memory(void)
{
    intptr_t bad = 0;
    for (int round = 0; round < 3; round++) {
        pthread_t t[THREADS];
        for (intptr_t i = 0; i < THREADS; i++)
            if (pthread_create(&t[i], NULL, work, (void *)i))
                exit(2);
        for (int i = 0; i < THREADS; i++) {
            void *r;
            pthread_join(t[i], &r);
            bad += (intptr_t)r;
        }
    }
    return bad;
}

static int ordinary(void)
{
    intptr_t bad = use_memory();
    puts(bad ? "blocks were lost" : "done");
    return bad != 0;
}

static int fds(const char *file)
{
    use_memory();
    int a = open(file, O_RDWR | O_CREAT, 0600), b = open(file, O_RDWR), c = open(file, O_RDWR);
    dprintf(a, "%d %d %d\n", a, b, c);
    return 0;
}

static int secure(void)
{
    char pattern[64];
    glob_t g = { 0 };
    ordinary();
    snprintf(pattern, sizeof pattern, "/dev/shm/hakmem.%d.*", (int)getpid());
    glob(pattern, 0, NULL, &g);
    printf("secure %lu, segments %zu\n", getauxval(AT_SECURE), g.gl_pathc);
    return 0;
}

/* Blocks of a size until there is no more; how many bytes that was, -1 on a wrong errno. */
static long fill_once(size_t size)
{
    void **p, **list = NULL;
    long bytes = 0;
    errno = 0;
    while ((p = malloc(size)) != NULL) {
        memset(p, 1, size < 4096 ? size : 4096);
        *p = list;
        list = p;
        bytes += (long)size;
    }
    if (errno != ENOMEM)
        return -1;
    while (list) {
        p = *list;
        free(list);
        list = (void **)p;
    }
    return bytes;
}

static int fill(void)
{
    static const size_t size[] = { 64, 1000, 20000, 100000, 2000000 };
    for (int i = 0; i < 5; i++) {
        long first = fill_once(size[i]), again = fill_once(size[i]);
        if (first < 200 << 20 || again < first / 10 * 9) {
            printf("blocks of %zu: %ld bytes, then %ld\n", size[i], first, again);
            return 1;
        }
    }
    return ordinary();
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "fds"))
        return fds(argv[2]);
    if (argc > 3 && !strcmp(argv[1], "births"))
        return births(atoi(argv[2]), atoi(argv[3]));
    if (argc > 1 && !strcmp(argv[1], "secure"))
        return secure();
    if (argc > 1 && !strcmp(argv[1], "fill"))
        return fill();
    return ordinary();
}
