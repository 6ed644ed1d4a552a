/* seg.h: a test's own look into a segment, by abi/segment.h alone.
 *
 * It is deliberately apart from shm/, so that the tools and this are two readers of one format.
 * It allocates nothing, so a process can watch its own counters exactly.
 */
#ifndef TESTS_SEG_H
#define TESTS_SEG_H

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "abi/segment.h"
#include "tests/under.h"

struct seg {
    char *base;
    size_t size;
    const struct hak_seg_header *h;
    struct hak_state *state;
    struct hak_control *control;
};

/* Its name in /dev/shm: pid and field 22 of /proc/<pid>/stat. */
__attribute__((unused))
static void seg_name(pid_t pid, char *name, size_t size)
{
    char path[64], stat[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    if (n <= 0)
        bail("%s: %m", path);
    close(fd);
    stat[n] = '\0';
    const char *s = strrchr(stat, ')') + 1;
    for (int field = 2; field < 21; field++)
        s = strchr(s + 1, ' ');
    snprintf(name, size, "/dev/shm/" HAK_SEG_PREFIX "%d.%lld", (int)pid, strtoll(s, NULL, 10));
}

/* Map a process's segment; 0, or errno. */
__attribute__((unused))
static int seg_open(struct seg *s, pid_t pid)
{
    char name[128];
    struct stat st;
    seg_name(pid, name, sizeof name);
    int fd = open(name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno;
    if (fstat(fd, &st))
        bail("%s: %m", name);
    s->size = (size_t)st.st_size;
    s->base = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (s->base == MAP_FAILED)
        bail("%s: %m", name);
    s->h = (void *)s->base;
    s->state = (void *)(s->base + s->h->state_off);
    s->control = (void *)(s->base + s->h->control_off);
    return 0;
}

/* This process's own, which must be there. */
__attribute__((unused))
static void seg_own(struct seg *s)
{
    int e = seg_open(s, getpid());
    if (e || memcmp(s->h->magic, HAK_SEG_MAGIC, 8) || s->h->ready != 1)
        bail("no segment of this process: %s", e ? strerror(e) : "not ready");
}

__attribute__((unused))
static struct hak_slot *seg_slot(const struct seg *s, unsigned i)
{
    return (void *)(s->base + s->h->slots_off + (size_t)i * s->h->slot_stride);
}

/* The slot of a live thread. */
__attribute__((unused))
static struct hak_slot *seg_slot_of(const struct seg *s, pid_t tid)
{
    for (unsigned i = 0; i < s->state->slots_used; i++)
        if (seg_slot(s, i)->tid == tid && seg_slot(s, i)->state == HAK_SLOT_LIVE)
            return seg_slot(s, i);
    bail("no slot of thread %d", (int)tid);
}

static const struct hak_stat_desc *seg_stat(const struct seg *s, const char *name, unsigned scope)
{
    for (unsigned i = 0; i < s->h->stat_count; i++) {
        const struct hak_stat_desc *d =
            (void *)(s->base + s->h->stat_off + (size_t)i * s->h->stat_size);
        if (d->scope == scope && !strcmp(d->name, name))
            return d;
    }
    bail("no counter %s", name);
}

static uint64_t seg_read(const void *p)
{
    return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
}

/* A BIN counter of one slot, summed over the bins of a class. */
__attribute__((unused))
static uint64_t slot_class(const struct seg *s, const struct hak_slot *slot, const char *name, unsigned cls)
{
    const struct hak_stat_desc *d = seg_stat(s, name, HAK_SCOPE_BIN);
    const struct hak_bin_desc *bin = (void *)(s->base + s->h->bin_off);
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->h->bin_count; i++)
        if (bin[i].cls == cls)
            sum += seg_read((const char *)slot + d->offset + (size_t)i * d->stride);
    return sum;
}

/* The same over all slots. */
__attribute__((unused))
static uint64_t seg_class(const struct seg *s, const char *name, unsigned cls)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->state->slots_used; i++)
        sum += slot_class(s, seg_slot(s, i), name, cls);
    return sum;
}

/* A THREAD counter, over all slots. */
__attribute__((unused))
static uint64_t seg_thread(const struct seg *s, const char *name)
{
    const struct hak_stat_desc *d = seg_stat(s, name, HAK_SCOPE_THREAD);
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->state->slots_used; i++)
        sum += seg_read((const char *)seg_slot(s, i) + d->offset);
    return sum;
}

__attribute__((unused))
static uint64_t seg_global(const struct seg *s, const char *name)
{
    return seg_read(s->base + s->h->state_off + seg_stat(s, name, HAK_SCOPE_GLOBAL)->offset);
}

static const struct hak_knob_desc *seg_knob(const struct seg *s, const char *name)
{
    for (unsigned i = 0; i < s->h->knob_count; i++) {
        const struct hak_knob_desc *d =
            (void *)(s->base + s->h->knob_off + (size_t)i * s->h->knob_size);
        if (!strcmp(d->name, name))
            return d;
    }
    bail("no knob %s", name);
}

/* The value of a knob that is in force. */
__attribute__((unused))
static uint64_t seg_value(const struct seg *s, const char *name)
{
    return seg_read(&s->state->values[seg_knob(s, name)->index]);
}

/* Ask for a value, as segment.h says a tool does; the new generation.  One writer at a time. */
__attribute__((unused))
static uint64_t seg_set(const struct seg *s, const char *name, uint64_t value)
{
    struct hak_control *c = s->control;
    uint64_t g = seg_read(&c->generation);
    const uint64_t *base = seg_read(&s->state->examined) == g ? s->state->values : c->values[g & 1];
    uint64_t *next = c->values[~g & 1];
    memcpy(next, base, sizeof c->values[0]);
    next[seg_knob(s, name)->index] = value;
    c->writer[~g & 1] = (struct hak_writer){ getpid(), getuid(), 0, 0 };
    __atomic_store_n(&c->generation, g + 1, __ATOMIC_RELEASE);
    return g + 1;
}

#endif
