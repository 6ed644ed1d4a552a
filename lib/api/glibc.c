/* glibc.c: glibc's own functions about malloc.  Left out, a call of one would start glibc's arenas
 * behind our back. */
#include "lib/api/api.h"
#include "lib/front/heap.h"

#include <malloc.h>
#include <stdio.h>

hak_export int HAK_API(malloc_trim)(size_t pad);
hak_export struct mallinfo2 HAK_API(mallinfo2)(void);
hak_export struct mallinfo HAK_API(mallinfo)(void);
hak_export int HAK_API(mallopt)(int param, int value);
hak_export void HAK_API(malloc_stats)(void);
hak_export int HAK_API(malloc_info)(int options, FILE *out);

struct totals {
    uint64_t allocs[HAK_ROWS], frees[HAK_ROWS];
    uint64_t live_bytes[HAK_CLASSES], live[HAK_CLASSES];
    uint64_t live_total, mapped, huge_live;
};

static uint64_t read_counter(const uint64_t *c)
{
    return __atomic_load_n(c, __ATOMIC_RELAXED);
}

static void add_heap(struct totals *t, struct heap *h)
{
    for (unsigned i = 0; i < HAK_ROWS; i++) {
        const struct hak_row *r = &h->slot.row[i];
        t->frees[i] += read_counter(&r->l0_pushes) + read_counter(&r->l1_pushes) +
                       read_counter(&r->slow_frees) + read_counter(&r->remote_frees);
        t->allocs[i] += read_counter(&r->l0_hits) + read_counter(&r->l1_hits) + read_counter(&r->slow_allocs);
    }
    const struct hak_thread_stats *s = &h->slot.thread;
    t->live_bytes[HAK_CLASS_LARGE] += read_counter(&s->large_alloc_bytes) - read_counter(&s->large_free_bytes);
    t->live_bytes[HAK_CLASS_HUGE] += read_counter(&s->huge_alloc_bytes) - read_counter(&s->huge_free_bytes);
}

static void sum(struct totals *t)
{
    hak_ready();
    for (struct heap *h = heap_first(); h; h = h->cold.next_all)
        if (h->cold.has_slot)
            add_heap(t, h);
    for (unsigned i = 0; i < HAK_ROWS; i++) {
        unsigned cls = class_of_row(i);
        t->live[cls] += t->allocs[i] - t->frees[i];
        if (i < HAK_BINS)
            t->live_bytes[cls] += (t->allocs[i] - t->frees[i]) * bin_info[i].size;
    }
    for (unsigned c = 0; c < HAK_CLASSES; c++)
        t->live_total += t->live_bytes[c];
    t->mapped = atomic_load_explicit(hak_global(mapped), memory_order_relaxed);
}

int HAK_API(malloc_trim)(size_t pad)
{
    (void)pad;
    hak_ready();
    return heap_purge() > 0;
}

/* arena: mapped for blocks, huge apart; hblks, hblkhd: huge blocks in use; uordblks: in use, not huge. */
struct mallinfo2 HAK_API(mallinfo2)(void)
{
    struct totals t = { 0 };
    struct mallinfo2 m = { 0 };

    sum(&t);
    m.hblks = t.live[HAK_CLASS_HUGE];
    m.hblkhd = t.live_bytes[HAK_CLASS_HUGE];
    m.arena = t.mapped > m.hblkhd ? t.mapped - m.hblkhd : 0;
    m.uordblks = t.live_total - m.hblkhd;
    m.fordblks = m.arena > m.uordblks ? m.arena - m.uordblks : 0;
    return m;
}

static int clamp(size_t n)
{
    return n > INT_MAX ? INT_MAX : (int)n;
}

struct mallinfo HAK_API(mallinfo)(void)
{
    struct mallinfo2 m = HAK_API(mallinfo2)();

    return (struct mallinfo) {
        .arena = clamp(m.arena), .hblks = clamp(m.hblks), .hblkhd = clamp(m.hblkhd),
        .uordblks = clamp(m.uordblks), .fordblks = clamp(m.fordblks),
    };
}

/* glibc's parameters have no meaning here and are accepted; what it does not know is refused. */
int HAK_API(mallopt)(int param, int value)
{
    (void)value;
    switch (param) {
    case M_MXFAST: case M_TRIM_THRESHOLD: case M_TOP_PAD: case M_MMAP_THRESHOLD: case M_MMAP_MAX:
    case M_CHECK_ACTION: case M_PERTURB: case M_ARENA_TEST: case M_ARENA_MAX:
        return 1;
    default:
        return 0;
    }
}

static const char *class_name(unsigned c)
{
    static const char *const names[HAK_CLASSES] = {
        "C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "mid", "large", "huge",
    };
    return names[c];
}

void HAK_API(malloc_stats)(void)
{
    struct totals t = { 0 };

    sum(&t);
    fprintf(stderr, "hakmem: %llu bytes in use, %llu mapped\n", (unsigned long long)t.live_total,
            (unsigned long long)t.mapped);
    for (unsigned c = 0; c < HAK_CLASSES; c++)
        fprintf(stderr, "hakmem: %-5s %llu blocks, %llu bytes\n", class_name(c),
                (unsigned long long)t.live[c], (unsigned long long)t.live_bytes[c]);
}

int HAK_API(malloc_info)(int options, FILE *out)
{
    struct totals t = { 0 };

    if (options != 0)
        return 22;                                      /* EINVAL, as glibc returns it */
    sum(&t);
    fprintf(out, "<malloc version=\"hakmem-1\">\n<heap nr=\"0\">\n");
    for (unsigned c = 0; c < HAK_CLASSES; c++)
        fprintf(out, "<class name=\"%s\" count=\"%llu\" size=\"%llu\"/>\n", class_name(c),
                (unsigned long long)t.live[c], (unsigned long long)t.live_bytes[c]);
    fprintf(out, "</heap>\n<system type=\"current\" size=\"%llu\"/>\n</malloc>\n", (unsigned long long)t.mapped);
    return 0;
}
