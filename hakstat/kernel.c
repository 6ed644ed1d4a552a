/* kernel.c: see kernel.h. */
#include "hakstat/kernel.h"

static void release(struct kernel *k, struct probes_reading *r)
{
    if (r != k->before && r != k->now && r != k->reset)
        probes_reading_free(r);
}

static void forget_readings(struct kernel *k)
{
    struct probes_reading *before = k->before, *now = k->now, *reset = k->reset;

    k->before = k->now = k->reset = NULL;
    if (reset != now && reset != before)
        probes_reading_free(reset);
    if (before != now)
        probes_reading_free(before);
    probes_reading_free(now);
}

void kernel_close(struct kernel *k)
{
    forget_readings(k);
    probes_close(k->probes);
    k->probes = NULL;
}

void kernel_watch(struct kernel *k, const struct shm_proc *proc)
{
    struct probes_scope scope = { .ids = &k->id,
                                  .id_count = 1,
                                  .calls = (1u << HAKPROBE_CALLS) - 1 };
    struct probes_report report;
    struct shm_error err;

    kernel_close(k);
    k->id = (struct hakprobe_id){ .pid_ns = proc->pid_ns, .pid = (uint32_t)proc->ns_pid };
    if (k->ours && probes_open(&scope, &k->probes, &report, &err) != SHM_OK)
        shm_fail(&k->err, err.code, "--probes: %s", err.text);
}

/* A hakprobe may come and go. */
static void find_pinned(struct kernel *k)
{
    struct shm_error err;

    if (k->probes != NULL && !probes_still_pinned(k->probes))
        kernel_close(k);
    if (k->probes == NULL && probes_open_pinned(PROBES_DIRECTORY, &k->probes, &err) != SHM_OK)
        shm_fail(&k->err, err.code, "Nobody counts in the kernel: start hakstat with --probes, "
                 "or hakprobe with --pin (%s)", err.text);
}

void kernel_sample(struct kernel *k)
{
    struct probes_reading *r, *old = k->before;

    if (!k->ours)
        find_pinned(k);
    if (k->probes == NULL)
        return;
    if (probes_read(k->probes, &k->id, &r, &k->err) != SHM_OK)
        return;
    if (r->process_count == 0) {
        probes_reading_free(r);
        forget_readings(k);
        shm_fail(&k->err, SHM_EGONE, "The hakprobe that pins its counts is about other processes");
        return;
    }
    k->before = k->now;
    k->now = r;
    release(k, old);
}

void kernel_reset(struct kernel *k)
{
    struct probes_reading *old = k->reset;

    k->reset = k->now;
    release(k, old);
}
