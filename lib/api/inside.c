/* inside.c: the process looks at itself: its knobs and counters, by the names that tools know. */
#include "lib/api/api.h"
#include "lib/api/hakmem.h"
#include "lib/control/control.h"
#include "lib/front/heap.h"

#include <errno.h>
#include <string.h>

hak_export const struct hak_knob *hak_knob(size_t i);
hak_export int hak_get(const char *name, uint64_t *value);
hak_export int hak_set(const char *name, uint64_t value);
hak_export int hak_set_all(const struct hak_setting *settings, size_t count);
hak_export size_t hak_counters(struct hak_counter *counters, size_t room);

/* ---- Knobs ---- */

static const struct hak_knob knobs[HAK_KNOBS] = {
#define KNOB(id, name_, type, context, unit_, min_, max_, def, alias, help_)                       \
    [HAK_KNOB_##id] = { .name = name_, .unit = unit_, .help = help_, .min = min_, .max = max_,     \
                        .initial = def, .live = HAK_##context == HAK_LIVE,                         \
                        .bits = HAK_##type == HAK_MASK || HAK_##type == HAK_OCTAL },
#include "abi/knobs.def"
#undef KNOB
};

const struct hak_knob *hak_knob(size_t i)
{
    return i < HAK_KNOBS ? &knobs[i] : NULL;
}

/* HAK_KNOBS: there is none of that name. */
static unsigned find(const char *name)
{
    unsigned i = 0;

    while (i < HAK_KNOBS && strcmp(knobs[i].name, name) != 0)
        i++;
    return i;
}

int hak_get(const char *name, uint64_t *value)
{
    union hak_knobs now;
    unsigned i = find(name);

    if (i == HAK_KNOBS)
        return ENOENT;
    hak_ready();
    control_knobs(&now);
    *value = now.values[i];
    return 0;
}

/* No more than one of each knob: there are no more to be changed. */
int hak_set_all(const struct hak_setting *settings, size_t count)
{
    struct control_change changes[HAK_KNOBS];
    size_t n = 0;

    hak_ready();
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        unsigned knob = find(settings[i].name);
        if (knob == HAK_KNOBS)
            return ENOENT;
        while (at < n && changes[at].knob != knob)
            at++;
        changes[at] = (struct control_change){ knob, settings[i].value };
        n += at == n;
    }
    int why = n ? control_set(changes, n) : 0;
    if (!why)
        heap_catch_up();
    return why;
}

int hak_set(const char *name, uint64_t value)
{
    return hak_set_all(&(struct hak_setting){ name, value }, 1);
}

/* ---- Counters ---- */

/* Where a counter is: in the globals where it has no slot; in a slot's rows where it has a stride. */
static const struct stat {
    const char *name;
    bool in_slot;
    size_t offset, stride;
} stats[] = {
#define IN_SLOT(name, member, stride) { name, true, offsetof(struct hak_slot_full, member), stride },
#define BIN_STAT(id, name, help)          IN_SLOT(name, row[0].id, sizeof(struct hak_row))
#define SAMPLE_STAT(id, name, help)       IN_SLOT(name, row[0].sample.id, sizeof(struct hak_row))
#define THREAD_STAT(id, name, unit, help) IN_SLOT(name, thread.id, 0)
#define GLOBAL_STAT(id, name, kind, unit, help) \
    { name, false, offsetof(struct hak_globals, id), 0 },
#include "abi/stats.def"
#undef IN_SLOT
#undef BIN_STAT
#undef SAMPLE_STAT
#undef THREAD_STAT
#undef GLOBAL_STAT
};
#define STATS (sizeof stats / sizeof stats[0])
_Static_assert(HAK_SIZE_CLASSES == HAK_CLASSES, "a part for each class");

static uint64_t read_word(const void *base, size_t offset)
{
    return __atomic_load_n((const uint64_t *)((const char *)base + offset), __ATOMIC_ACQUIRE);
}

static void add_slot(struct hak_counter *c, const struct stat *s, const struct hak_slot_full *slot)
{
    if (!s->stride)
        c->value += read_word(slot, s->offset);
    for (unsigned row = 0; s->stride && row < HAK_ROWS; row++)
        c->by_class[class_of_row(row)] += read_word(slot, s->offset + row * s->stride);
}

static void read_counter(struct hak_counter *c, const struct stat *s)
{
    *c = (struct hak_counter){ .name = s->name };
    if (!s->in_slot)
        c->value = read_word(atomic_load_explicit(&hak_globals, memory_order_acquire), s->offset);
    for (struct heap *h = s->in_slot ? heap_first() : NULL; h; h = h->cold.next_all)
        if (h->cold.has_slot)
            add_slot(c, s, &h->slot);
    for (unsigned cls = 0; cls < HAK_CLASSES; cls++)
        c->value += c->by_class[cls];
}

/* The table has allocations before the frees of the same scope, so it is read from its end. */
size_t hak_counters(struct hak_counter *counters, size_t room)
{
    hak_ready();
    for (size_t i = room < STATS ? room : STATS; i-- > 0; )
        read_counter(&counters[i], &stats[i]);
    return STATS;
}
