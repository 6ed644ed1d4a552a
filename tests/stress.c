/* stress.c: random calls of every entry point by threads that hand blocks to each other, with
 * the contents of every block checked at every step.
 *
 * stress [OPERATIONS]: 1,000,000 by default, 10,000,000 with HAK_LONG=1.  HAK_SEED repeats a run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include "tests/under.h"

enum { THREADS = 4, BLOCKS = 256, POST = 64, LIFE = 20000, MAX_SIZE = 8 << 20, MAX_ALIGN = 1 << 20 };

struct block {
    unsigned char *p;
    size_t size, align;         /* as asked for; align 0: by a call that has none */
    uint64_t seed;
};

/* Where threads leave blocks for each other. */
static struct { pthread_mutex_t lock; struct block b; } post[POST];

/* What a thread has.  It outlives the thread: every LIFE operations a new one takes over. */
struct worker {
    struct block b[BLOCKS];
    uint64_t seed;
    long ops, faults;
};
static struct worker workers[THREADS];

static void (*call_free_sized)(void *, size_t);
static void (*call_free_aligned_sized)(void *, size_t, size_t);

/* --- contents: 8-byte words that depend on seed and place ------------------------------------ */

static unsigned char byte_at(const struct block *b, size_t i)
{
    return (unsigned char)((b->seed ^ i * 0x9E3779B97F4A7C15u) >> 32);
}

/* Places of a block that are written and checked: all of a small one; of a larger one both ends
 * and a byte a page, fewer above 1 MiB.  The next place after i. */
static size_t next_place(size_t size, size_t i)
{
    if (size <= 4096 || i < 128 || i + 128 >= size)
        return i + 1;
    size_t step = size <= 1 << 20 ? 4096 : size / 16;
    return i + step < size - 128 ? i + step : size - 128;
}

static void fill(const struct block *b)
{
    for (size_t i = 0; i < b->size; i = next_place(b->size, i))
        b->p[i] = byte_at(b, i);
}

/* Faults in the first n bytes of a block that was filled at b->size. */
static int wrong(const struct block *b, size_t n)
{
    for (size_t i = 0; i < b->size; i = next_place(b->size, i))
        if (i < n && b->p[i] != byte_at(b, i))
            return 1;
    return 0;
}

static int nonzero(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i = next_place(size, i))
        if (p[i])
            return 1;
    return 0;
}

/* --- the operations ---------------------------------------------------------------------------- */

/* Mostly small; of every tier up to 8 MiB. */
static size_t random_size(uint64_t *seed)
{
    uint64_t r = rnd(seed) % 1000;
    uint64_t bits = r < 700 ? rnd(seed) % 11 : r < 900 ? 15 - rnd(seed) % 5
                  : r < 980 ? 20 - rnd(seed) % 5 : 23 - rnd(seed) % 3;
    return rnd(seed) % ((1u << bits) + 1);
}

static size_t random_align(uint64_t *seed)
{
    return (size_t)1 << (rnd(seed) % 64 ? rnd(seed) % 13 : rnd(seed) % 21);
}

static int bad_pointer(const struct block *b)
{
    size_t align = b->align ? b->align : b->size >= 16 ? 16 : b->size >= 8 ? 8 : 1;
    return !b->p || (uintptr_t)b->p % align || malloc_usable_size(b->p) < b->size;
}

static int get(struct block *b, uint64_t *seed)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), parts;
    int zeroed = 0;
    b->size = random_size(seed);
    b->align = 0;
    b->seed = rnd(seed);
    switch (rnd(seed) % 16) {
    default:
        b->p = malloc(b->size);
        break;
    case 0: case 1:
        parts = 1 + rnd(seed) % 8;
        b->size = b->size / parts * parts;
        b->p = calloc(parts, b->size / parts);
        zeroed = 1;
        break;
    case 2:
        b->p = realloc(NULL, b->size);
        break;
    case 3:
        b->p = reallocarray(NULL, 1, b->size);
        break;
    case 4: case 5:
        b->align = random_align(seed);
        b->p = aligned_alloc(b->align, b->size);
        break;
    case 6:
        b->align = random_align(seed);
        b->p = memalign(b->align, b->size);
        break;
    case 7: case 8:
        b->align = random_align(seed);
        if (b->align < sizeof(void *))
            b->align = sizeof(void *);
        if (posix_memalign((void **)&b->p, b->align, b->size))
            b->p = NULL;
        break;
    case 9:
        b->align = page;
        if (rnd(seed) % 2) {
            b->p = valloc(b->size);
        } else {
            b->p = pvalloc(b->size);
            b->size = (b->size + page - 1) / page * page;
        }
        break;
    }
    if (bad_pointer(b) || (zeroed && nonzero(b->p, b->size))) {
        diag("bad block: %p size %zu align %zu zeroed %d", (void *)b->p, b->size, b->align, zeroed);
        return 1;
    }
    fill(b);
    return 0;
}

static int put(struct block *b, uint64_t *seed)
{
    int bad = wrong(b, b->size);
    if (bad)
        diag("contents lost: %p size %zu align %zu", (void *)b->p, b->size, b->align);
    if (rnd(seed) % 4 || !b->p)
        free(b->p);
    else if (b->align && call_free_aligned_sized)
        call_free_aligned_sized(b->p, b->align, b->size);
    else if (!b->align && call_free_sized)
        call_free_sized(b->p, b->size);
    else
        free(b->p);
    b->p = NULL;
    return bad;
}

static int change(struct block *b, uint64_t *seed)
{
    struct block old = *b;
    size_t usable = malloc_usable_size(b->p);
    b->size = rnd(seed) % 3 ? random_size(seed) : rnd(seed) % (usable + 1);
    if (!b->size)
        b->size = 1;
    b->align = 0;
    b->p = rnd(seed) % 4 ? realloc(old.p, b->size) : reallocarray(old.p, b->size, 1);
    if (bad_pointer(b)) {
        diag("bad block from realloc: %p size %zu", (void *)b->p, b->size);
        return 1;
    }
    old.p = b->p;
    int bad = wrong(&old, b->size);
    if (bad)
        diag("contents lost by realloc from %zu to %zu", old.size, b->size);
    b->seed = rnd(seed);
    fill(b);
    return bad;
}

static void hand_over(struct block *b, uint64_t *seed)
{
    int i = (int)(rnd(seed) % POST);
    struct block other;
    pthread_mutex_lock(&post[i].lock);
    other = post[i].b;
    post[i].b = *b;
    pthread_mutex_unlock(&post[i].lock);
    *b = other;
}

static void *life(void *arg)
{
    struct worker *w = &workers[(intptr_t)arg];
    for (long n = w->ops < LIFE ? w->ops : LIFE; n > 0; n--, w->ops--) {
        struct block *b = &w->b[rnd(&w->seed) % BLOCKS];
        if (!b->p)
            w->faults += get(b, &w->seed);
        else switch (rnd(&w->seed) % 4) {
            case 0:  w->faults += change(b, &w->seed); break;
            case 1:  hand_over(b, &w->seed); break;
            default: w->faults += put(b, &w->seed);
        }
        if (w->faults > 10)
            break;
    }
    return NULL;
}

static void *all_lives(void *arg)
{
    struct worker *w = &workers[(intptr_t)arg];
    while (w->ops > 0 && w->faults <= 10) {
        pthread_t t;
        if (pthread_create(&t, NULL, life, arg))
            return (void *)1;
        pthread_join(t, NULL);
    }
    return (void *)w->faults;
}

int main(int argc, char **argv)
{
    run_under_hakmem(argv);
#ifdef HAK_PREFIXED
    call_free_sized = hak_free_sized;
    call_free_aligned_sized = hak_free_aligned_sized;
#else
    call_free_sized = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    call_free_aligned_sized =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
#endif
    long ops = argc > 1 ? atol(argv[1]) : count_of("HAK_STRESS_OPS", 1000000, 10000000);
    uint64_t seed = (uint64_t)count_of("HAK_SEED", (long)getpid(), (long)getpid());
    diag("%ld operations, HAK_SEED=%llu", ops, (unsigned long long)seed);
    for (int i = 0; i < POST; i++)
        pthread_mutex_init(&post[i].lock, NULL);
    for (int i = 0; i < THREADS; i++) {
        workers[i].ops = ops / THREADS;
        workers[i].seed = rnd(&seed);
    }
    is(run_threads(THREADS, all_lives, NULL), 0, "%ld random operations by %d threads", ops, THREADS);

    int bad = 0, n = 0;
    for (int i = 0; i < POST; i++)
        n++, bad += put(&post[i].b, &seed);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < BLOCKS; j++)
            n++, bad += workers[i].b[j].p && put(&workers[i].b[j], &seed);
    is(bad, 0, "the %d blocks left hold what was written", n);
    return tap_done();
}
