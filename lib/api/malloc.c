/* malloc.c: the malloc family.  The hot paths are heap_alloc and heap_free in lib/front/heap.h. */
#include "lib/api/api.h"
#include "lib/api/hakmem.h"
#include "lib/base/os.h"
#include "lib/front/heap.h"

#include <errno.h>
#include <string.h>

#define MIN_ALIGN 16

hak_export hak_hot void *HAK_API(malloc)(size_t n);
hak_export void *HAK_API(calloc)(size_t count, size_t size);
hak_export void *HAK_API(realloc)(void *p, size_t n);
hak_export void *HAK_API(reallocarray)(void *p, size_t count, size_t size);
hak_export hak_hot void HAK_API(free)(void *p);
hak_export void HAK_API(free_sized)(void *p, size_t size);
hak_export void HAK_API(free_aligned_sized)(void *p, size_t alignment, size_t size);
hak_export int HAK_API(posix_memalign)(void **out, size_t align, size_t n);
hak_export void *HAK_API(aligned_alloc)(size_t align, size_t n);
hak_export void *HAK_API(memalign)(size_t align, size_t n);
hak_export void *HAK_API(valloc)(size_t n);
hak_export void *HAK_API(pvalloc)(size_t n);
hak_export size_t HAK_API(malloc_usable_size)(void *p);

void *HAK_API(malloc)(size_t n)
{
    return heap_alloc(n);
}

void HAK_API(free)(void *p)
{
    heap_free(p);
}

void HAK_API(free_sized)(void *p, size_t size)
{
    (void)size;
    heap_free(p);
}

void HAK_API(free_aligned_sized)(void *p, size_t alignment, size_t size)
{
    (void)alignment, (void)size;
    heap_free(p);
}

void *HAK_API(calloc)(size_t count, size_t size)
{
    bool zero = false;
    size_t n;
    void *p;

    if (unlikely(__builtin_mul_overflow(count, size, &n)))
        return heap_no_memory();
    if (likely(n <= MID_MAX))
        p = heap_alloc(n);
    else
        p = heap_alloc_large(n, 1, &zero);
    return p && !zero ? memset(p, 0, n) : p;
}

/* ---- realloc ---- */

static void *move(void *p, size_t n, size_t keep)
{
    void *q = heap_alloc(n);

    if (unlikely(!q))
        return NULL;
    memcpy(q, p, n < keep ? n : keep);
    heap_free(p);
    return q;
}

/* A block stays where it is while what is asked for fills at least half of it. */
static bool fits(size_t n, size_t size)
{
    return n <= size && (n >= size / 2 || size <= MIN_ALIGN);
}

/* One that grows by less than a quarter is likely to grow on: it gets a quarter (as in tcmalloc), so that a buffer
 * which grows by little each time is not copied each time. */
static size_t grown(size_t n, size_t size)
{
    size_t more = size + size / 4;

    return n > size && n < more && more <= MID_MAX ? more : n;
}

static hak_cold void *realloc_large(void *p, size_t n)
{
    size_t size = heap_usable_large(p);

    if (size == 0)
        return foreign_realloc(p, n);
    void *q = (n > MID_MAX / 2 || n == size) && n <= PTRDIFF_MAX ? heap_resize_large(p, n) : NULL;
    return q ? q : move(p, n, size);
}

void *HAK_API(realloc)(void *p, size_t n)
{
    if (!p)
        return heap_alloc(n);
    if (n == 0) {
        heap_free(p);
        return NULL;
    }
    uintptr_t owner = address_owner((uintptr_t)p);
    if (unlikely(!owner))
        return realloc_large(p, n);
    size_t size = size_of_owner(owner);
    if (!fits(n, size))
        return move(p, grown(n, size), size);
    struct heap *h = heap_self;
    if (likely(h->hot.countdown != 0))                  /* 0: no heap, or a child in which no call has noticed the fork */
        COUNT(row_of(bin_like(h, owner))->realloc_in_place, 1);
    else
        heap_count(offsetof(struct hak_slot_full, row[bin_of_owner(owner)].realloc_in_place));
    return p;
}

void *HAK_API(reallocarray)(void *p, size_t count, size_t size)
{
    size_t n;

    if (unlikely(__builtin_mul_overflow(count, size, &n)))
        return heap_no_memory();
    return HAK_API(realloc)(p, n);
}

/* ---- alignment ---- */

static bool power_of_two(size_t n)
{
    return n && (n & (n - 1)) == 0;
}

static bool has_bin(size_t align, size_t n)
{
    return likely(n <= MID_MAX && align <= MID_MAX);
}

static void *alloc_aligned(size_t align, size_t n)
{
    if (unlikely(heap_is_none(heap_self)))
        hak_start();                                    /* the tables are looked at here already */
    return has_bin(align, n) ? heap_alloc_bin(n, bin_of_aligned(n, align)) : heap_alloc_large(n, align, NULL);
}

static hak_cold int posix_memalign_slow(void **out, size_t align, size_t n)
{
    int saved = errno;
    void *p = alloc_aligned(align, n);

    errno = saved;
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

int HAK_API(posix_memalign)(void **out, size_t align, size_t n)
{
    if (!power_of_two(align) || align % sizeof(void *))
        return EINVAL;
    if (likely(has_bin(align, n) && !heap_is_none(heap_self)) &&
        likely(bin_pop(&heap_self->hot.bin[bin_of_aligned(n, align)], out)))
        return 0;
    return posix_memalign_slow(out, align, n);
}

void *HAK_API(memalign)(size_t align, size_t n)
{
    if (!power_of_two(align)) {
        errno = EINVAL;
        return NULL;
    }
    return alloc_aligned(align, n);
}

void *HAK_API(aligned_alloc)(size_t align, size_t n)
{
    return HAK_API(memalign)(align, n);
}

void *HAK_API(valloc)(size_t n)
{
    hak_start();
    return alloc_aligned(os_page, n);
}

void *HAK_API(pvalloc)(size_t n)
{
    hak_start();
    if (n > PTRDIFF_MAX)
        return heap_no_memory();
    return alloc_aligned(os_page, n ? round_up(n, os_page) : os_page);
}

size_t HAK_API(malloc_usable_size)(void *p)
{
    return heap_usable(p);
}

hak_export size_t hak_purge(void)
{
    hak_ready();
    return heap_purge();
}

hak_export const char *hak_version(void)
{
    return PACKAGE_VERSION;
}
