/* knob_latency: sets a knob of a live process again and again, and measures from outside how long
 * every busy thread takes to work by the new value.
 *
 *     knob_latency PID SETS INTERVAL_US
 *
 * A thread is busy when it frees at least 100,000 blocks a second.  The knob alternates between two
 * values that make no difference to speed.  Prints one line: knob_latency threads=T sets=N p50_us=…
 * p99_us=… max_us=… */
#include "bench.h"

#include "shm/shm.h"

#define USAGE       "PID SETS INTERVAL_US"
#define KNOB        "tiny.refill.batch"
#define BUSY_FREES  100000      /* a second */
#define WATCH_US    200000      /* how long it is watched to see who is busy */
#define SLOTS_MAX   256
#define LOOK_US     200         /* between two looks whether they have applied it; each takes a CPU from a thread, so
                                 * that with more of them (50: 5 ms instead of 1 to 4) they are what is measured */
#define GIVE_UP     10.0        /* seconds */

static struct shm_seg *seg;
static bool busy[SLOTS_MAX];

__attribute__((noreturn)) static void fail(const struct shm_error *err)
{
    bench_die(err->text);
}

static struct shm_snap *look(void)
{
    struct shm_snap *snap;
    struct shm_error err;
    if (shm_snapshot(seg, &snap, &err))
        fail(&err);
    return snap;
}

static void attach(int pid)
{
    struct shm_target target = { .pid = pid };
    struct shm_proc *list;
    struct shm_error err;
    size_t n;
    if (shm_targets(&target, &list, &n, &err) || shm_attach(list, &seg, &err))
        fail(&err);
    free(list);
}

static uint64_t frees(const struct shm_snap *snap, unsigned slot)
{
    struct shm_sums sums;
    shm_sum_all(snap, slot, &sums);
    return sums.frees;
}

/* Marks the busy slots; returns how many there are. */
static unsigned find_busy(void)
{
    unsigned n = 0;
    struct shm_snap *before = look();
    usleep(WATCH_US);
    struct shm_snap *after = look();
    for (unsigned i = 0; i < before->slot_count && i < SLOTS_MAX; i++) {
        double rate = (double)(frees(after, i) - frees(before, i)) / (WATCH_US * 1e-6);
        busy[i] = shm_slot(after, i)->state == HAK_SLOT_LIVE && rate >= BUSY_FREES;
        n += busy[i];
    }
    shm_snap_free(before);
    shm_snap_free(after);
    return n;
}

static bool all_applied(uint64_t generation)
{
    struct shm_snap *snap;
    struct shm_error err;
    bool all = true;
    if (shm_snapshot_sums(seg, &snap, &err))
        fail(&err);
    for (unsigned i = 0; i < snap->slot_count && i < SLOTS_MAX; i++)
        all &= !busy[i] || shm_slot(snap, i)->applied == generation;
    shm_snap_free(snap);
    return all;
}

/* Seconds from the moment before the request until every busy thread has applied it. */
static double set_once(const struct hak_knob_desc *knob, uint64_t value)
{
    struct shm_change change = { .knob = knob, .value = value };
    struct shm_ack ack;
    struct shm_error err;
    double start = bench_clock(CLOCK_MONOTONIC), now;
    if (shm_set(seg, &change, 1, 0, 0, &ack, &err))
        fail(&err);
    bool done;
    while (!(done = all_applied(ack.generation)) && (now = bench_clock(CLOCK_MONOTONIC)) < start + GIVE_UP)
        usleep(LOOK_US);                /* or a busy thread would wait for this one to give up its CPU */
    now = bench_clock(CLOCK_MONOTONIC);
    if (!done)
        bench_die("a busy thread does not apply the knob");
    return now - start;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int pid = (int)bench_arg(argc, argv, 1, USAGE);
    size_t sets = bench_arg(argc, argv, 2, USAGE);
    useconds_t interval = (useconds_t)bench_arg(argc, argv, 3, USAGE);
    attach(pid);
    const struct hak_knob_desc *knob = shm_knob(seg, KNOB);
    unsigned threads = find_busy();
    if (!knob || !threads)
        bench_die("no such knob, or no busy thread");

    double *taken = bench_map(sets * sizeof *taken);
    for (size_t i = 0; i < sets; i++) {
        taken[i] = set_once(knob, knob->max - i % 2);
        usleep(interval);
    }
    qsort(taken, sets, sizeof *taken, by_size);
    printf("knob_latency threads=%u sets=%zu p50_us=%.0f p99_us=%.0f max_us=%.0f\n", threads, sets,
           taken[sets / 2] * 1e6, taken[sets - 1 - sets / 100] * 1e6, taken[sets - 1] * 1e6);
    shm_detach(seg);
}
