/* reading.c: what can be done with counts wherever they come from (probes.h). */
#include <stdlib.h>
#include <string.h>

#include "probes/probes.h"

_Static_assert(HAKPROBE_BUCKETS == HAK_HIST_BUCKETS, "the histograms are those of the library");

const char *const probes_call_names[HAKPROBE_CALLS] = {
    [HAKPROBE_MMAP] = "mmap", [HAKPROBE_MUNMAP] = "munmap", [HAKPROBE_MADVISE] = "madvise",
    [HAKPROBE_MREMAP] = "mremap", [HAKPROBE_BRK] = "brk", [HAKPROBE_FUTEX] = "futex",
    [HAKPROBE_FAULT] = "page-fault",
};
const char *const probes_whose_names[HAKPROBE_WHOSE] = {
    [HAKPROBE_PROGRAM] = "program",
    [HAKPROBE_ALLOCATOR] = "allocator",
    [HAKPROBE_NOT_KNOWN] = "unknown",
};
const char *const probes_lost_names[HAKPROBE_LOST_KINDS] = {
    [HAKPROBE_LOST_FLIGHT] = "in-flight", [HAKPROBE_LOST_PROCESS] = "process",
    [HAKPROBE_LOST_COUNTS] = "counts", [HAKPROBE_LOST_WAITS] = "waits",
    [HAKPROBE_LOST_MISSED] = "missed",
};
const char *const probes_part_names[PROBES_PARTS] = {
    [PROBES_TYPES] = "kernel types", [PROBES_PROGRAMS] = "BPF programs",
    [PROBES_SYSCALLS] = "system calls", [PROBES_FAULTS] = "page faults",
};

void probes_reading_free(struct probes_reading *r)
{
    if (r) {
        free(r->processes);
        free(r->waits);
        free(r);
    }
}

uint64_t probes_sum(const uint64_t histogram[HAKPROBE_BUCKETS])
{
    uint64_t sum = 0;

    for (int i = 0; i < HAKPROBE_BUCKETS; i++)
        sum += histogram[i];
    return sum;
}

static bool same(const struct hakprobe_id *a, const struct hakprobe_id *b)
{
    return a->pid_ns == b->pid_ns && a->pid == b->pid;
}

/* The structures of counts are all numbers. */
static void subtract(uint64_t *from, const uint64_t *what, size_t count)
{
    for (size_t i = 0; i < count; i++)
        from[i] -= what[i];
}

static void process_since(struct probes_process *now, const struct probes_reading *before)
{
    for (size_t i = 0; i < before->process_count; i++)
        if (same(&now->id, &before->processes[i].id))
            subtract((uint64_t *)now->counts, (const uint64_t *)before->processes[i].counts,
                     sizeof now->counts / sizeof(uint64_t));
}

static void wait_since(struct probes_wait *now, const struct probes_reading *before)
{
    for (size_t i = 0; i < before->wait_count; i++) {
        const struct probes_wait *was = &before->waits[i];
        if (now->address != was->address || !same(&now->id, &was->id))
            continue;
        subtract(now->waits.histogram, was->waits.histogram, HAKPROBE_BUCKETS);
        now->waits.ns -= was->waits.ns;
    }
}

static struct probes_reading *copy(const struct probes_reading *r)
{
    struct probes_reading *c = malloc(sizeof *c);

    if (!c)
        return NULL;
    *c = *r;
    c->processes = malloc(r->process_count * sizeof *r->processes + 1);
    c->waits = malloc(r->wait_count * sizeof *r->waits + 1);
    if (!c->processes || !c->waits) {
        probes_reading_free(c);
        return NULL;
    }
    if (r->process_count)
        memcpy(c->processes, r->processes, r->process_count * sizeof *r->processes);
    if (r->wait_count)
        memcpy(c->waits, r->waits, r->wait_count * sizeof *r->waits);
    return c;
}

struct probes_reading *probes_since(const struct probes_reading *now,
                                    const struct probes_reading *before)
{
    struct probes_reading *r = copy(now);

    if (!r || !before)
        return r;
    for (size_t i = 0; i < r->process_count; i++)
        process_since(&r->processes[i], before);
    for (size_t i = 0; i < r->wait_count; i++)
        wait_since(&r->waits[i], before);
    subtract(r->lost, before->lost, HAKPROBE_LOST_KINDS);
    return r;
}
