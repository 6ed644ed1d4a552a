/* report.c: the statistics at exit (tiny.heap_v2.stats), a table with a row per class.  No malloc
 * and no stdio: text is put together on the stack and leaves in one write. */
#include "lib/control/internal.h"

#include <errno.h>
#include <string.h>

/* The columns: counters of a bin, summed over its class and all threads. */
static const struct {
    const char *name;
    size_t offset;                      /* in struct hak_row */
} columns[] = {
    { "heap_v2_hits",      offsetof(struct hak_row, l0_hits) },
    { "fast_cache_hits",   offsetof(struct hak_row, l1_hits) },
    { "slow_allocs",       offsetof(struct hak_row, slow_allocs) },
    { "heap_v2_pushes",    offsetof(struct hak_row, l0_pushes) },
    { "fast_cache_pushes", offsetof(struct hak_row, l1_pushes) },
    { "slow_frees",        offsetof(struct hak_row, slow_frees) },
    { "remote_frees",      offsetof(struct hak_row, remote_frees) },
};
#define COLUMNS (sizeof columns / sizeof columns[0])
#define ALLOC_COLUMNS 3                 /* the first of them sum up to the calls */

static const char *const class_name[HAK_CLASSES] = {
    "C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "mid", "large", "huge"
};

static const uint8_t class_of[HAK_ROWS] = {
#define BIN(size, cls, slabs, fc) cls,
#include "abi/sizes.def"
#undef BIN
    HAK_CLASS_LARGE, HAK_CLASS_HUGE
};

static void add_slot(const struct hak_slot_full *slot, void *arg)
{
    uint64_t (*sum)[COLUMNS] = arg;

    for (unsigned bin = 0; bin < HAK_ROWS; bin++)
        for (unsigned c = 0; c < COLUMNS; c++)
            sum[class_of[bin]][c] +=
                get(*(const uint64_t *)((const char *)&slot->row[bin] + columns[c].offset));
}

struct text {
    char bytes[4096];
    size_t len;
};

static void put_padded(struct text *t, const char *s, size_t len, size_t width)
{
    if (t->len + width + len >= sizeof t->bytes)
        return;
    for (; width > len; width--)
        t->bytes[t->len++] = ' ';
    memcpy(t->bytes + t->len, s, len);
    t->len += len;
}

static void put_text(struct text *t, const char *s, size_t width)
{
    put_padded(t, s, strlen(s), width);
}

static void put_left(struct text *t, const char *s, size_t width)
{
    put_text(t, s, 0);
    put_text(t, "", width - strlen(s));
}

static void put_number(struct text *t, uint64_t n, size_t width)
{
    char digits[20], *d = digits + sizeof digits;

    do
        *--d = (char)('0' + n % 10);
    while (n /= 10);
    put_padded(t, d, (size_t)(digits + sizeof digits - d), width);
}

#define FIRST  7                        /* column widths: the class, the calls, the rest */
#define CALLS 14
#define GAP    2

static void put_class(struct text *t, unsigned cls, const uint64_t *sum)
{
    uint64_t calls = 0;

    for (unsigned c = 0; c < ALLOC_COLUMNS; c++)
        calls += sum[c];
    put_left(t, class_name[cls], FIRST);
    put_number(t, calls, CALLS);
    for (unsigned c = 0; c < COLUMNS; c++)
        put_number(t, sum[c], strlen(columns[c].name) + GAP);
    put_text(t, "\n", 1);
}

static bool all_zero(const uint64_t *sum)
{
    for (unsigned c = 0; c < COLUMNS; c++)
        if (sum[c])
            return false;
    return true;
}

void report_print(void)
{
    const char *comm = seg.state->state.comm;
    uint64_t sum[HAK_CLASSES][COLUMNS] = { { 0 } };
    struct text t = { .len = 0 };

    slots_each(add_slot, sum);
    put_text(&t, "hakmem: statistics of ", 0);
    put_padded(&t, comm, strnlen(comm, sizeof seg.state->state.comm), 0);
    put_text(&t, " (pid ", 0);
    put_number(&t, (uint64_t)sys_getpid(), 0);
    put_text(&t, ")\n", 0);
    put_left(&t, "class", FIRST);
    put_text(&t, "alloc_calls", CALLS);
    for (unsigned c = 0; c < COLUMNS; c++)
        put_text(&t, columns[c].name, strlen(columns[c].name) + GAP);
    put_text(&t, "\n", 1);
    for (unsigned cls = 0; cls < HAK_CLASSES; cls++)
        if (!all_zero(sum[cls]))
            put_class(&t, cls, sum[cls]);
    syscall(SYS_write, STDERR_FILENO, t.bytes, t.len);
}
