/* floor: a free list without any check, as a limit that correct ones come near to.
 *
 * Free lists by size, one set a thread; fresh blocks are cut from a mapping.  Nothing is ever given
 * back or joined, a block belongs to whoever freed it, a thread's lists die with it; after every
 * HAND_OVER frees of a class the whole list goes to a shared stack, from which others take.  It is
 * right enough for the rows of rows.conf, and for nothing else.
 *
 *     base                p - 16                p
 *     | for alignment     | class   | base      | block ...
 */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define HEADER   16
#define SMALL    64                     /* classes of 16 … 1024 bytes, 16 apart; then four a doubling */
#define CLASSES  (SMALL + 4 * 38)
#define CHUNK    ((size_t)4 << 20)      /* bytes mapped at a time */
#define HAND_OVER 512                   /* frees */

struct header {
    uint64_t class;
    void *base;                         /* the start of the first header, if alignment moved p */
};

struct block {
    struct block *next;
    struct block *next_list;            /* in the first block of a list on the shared stack */
};

/* The shared stacks of lists. */
static struct {
    atomic_flag lock;
    struct block *_Atomic lists;
} shared[CLASSES];

#define LOCAL static __thread __attribute__((tls_model("initial-exec")))
LOCAL struct block *list[CLASSES];
LOCAL unsigned short frees[CLASSES];    /* since this class last went to the shared stack */
LOCAL char *fresh, *fresh_end;

static inline size_t class_of(size_t size)
{
    if (size <= 1024)
        return size ? (size - 1) / 16 : 0;
    unsigned log = 63 - (unsigned)__builtin_clzll(size - 1);
    return SMALL + (log - 10) * 4 + ((size - 1) >> (log - 2) & 3);
}

static inline size_t class_size(size_t class)
{
    if (class < SMALL)
        return (class + 1) * 16;
    return (size_t)(5 + (class - SMALL) % 4) << (8 + (class - SMALL) / 4);
}

static void *cut(size_t class)
{
    size_t bytes = HEADER + class_size(class);
    if ((size_t)(fresh_end - fresh) < bytes) {
        size_t map = bytes > CHUNK / 8 ? bytes : CHUNK;
        char *p = mmap(NULL, map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        if (map != CHUNK) {
            *(struct header *)p = (struct header){ class, p };
            return p + HEADER;
        }
        fresh = p;
        fresh_end = p + map;
    }
    char *p = fresh;
    fresh += bytes;
    *(struct header *)p = (struct header){ class, p };
    return p + HEADER;
}

static void lock(size_t class)
{
    while (atomic_flag_test_and_set_explicit(&shared[class].lock, memory_order_acquire))
        ;
}

static void unlock(size_t class)
{
    atomic_flag_clear_explicit(&shared[class].lock, memory_order_release);
}

__attribute__((noinline, cold)) static void hand_over(size_t class)
{
    struct block *b = list[class];
    lock(class);
    b->next_list = shared[class].lists;
    shared[class].lists = b;
    unlock(class);
    list[class] = NULL;
    frees[class] = 0;
}

__attribute__((noinline, cold)) static void *refill(size_t class)
{
    struct block *b = NULL;
    if (atomic_load_explicit(&shared[class].lists, memory_order_relaxed)) {
        lock(class);
        b = shared[class].lists;
        if (b)
            shared[class].lists = b->next_list;
        unlock(class);
    }
    if (!b)
        return cut(class);
    list[class] = b->next;
    return b;
}

void *malloc(size_t size)
{
    if (__builtin_expect(size > PTRDIFF_MAX / 2, 0)) {
        errno = ENOMEM;
        return NULL;
    }
    size_t class = class_of(size);
    struct block *b = list[class];
    if (__builtin_expect(!b, 0))
        return refill(class);
    list[class] = b->next;
    return b;
}

static inline struct header *header_of(void *p)
{
    return (struct header *)((char *)p - HEADER);
}

void free(void *p)
{
    if (!p)
        return;
    struct block *b = (struct block *)((char *)header_of(p)->base + HEADER);
    size_t class = header_of(p)->class;
    b->next = list[class];
    list[class] = b;
    if (__builtin_expect(++frees[class] == HAND_OVER, 0))
        hand_over(class);
}

size_t malloc_usable_size(void *p)
{
    if (!p)
        return 0;
    return class_size(header_of(p)->class) - (size_t)((char *)header_of(p) - (char *)header_of(p)->base);
}

void *calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *p = malloc(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

void *realloc(void *p, size_t size)
{
    size_t old = malloc_usable_size(p);
    if (p && size <= old)
        return p;
    void *q = malloc(size);
    if (p && q) {
        memcpy(q, p, old);
        free(p);
    }
    return q;
}

void *memalign(size_t align, size_t size)
{
    if (align <= HEADER)
        return malloc(size);
    char *p = malloc(size + align);
    if (!p)
        return NULL;
    char *q = (char *)(((uintptr_t)p + align - 1) & ~(uintptr_t)(align - 1));
    if (q != p)
        *header_of(q) = *header_of(p);
    return q;
}

int posix_memalign(void **out, size_t align, size_t size)
{
    void *p = memalign(align, size);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}
