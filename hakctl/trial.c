/* trial.c: the verb trial: an experiment on a running process, one knob, several values.
 *
 * Each round is a block: every value (arm) for one period, in random order.  What the process does
 * in the first fifth of a period, and until all its threads have applied the value, is left out.
 *
 * Whatever becomes of hakctl, the value from before comes back: every arm is set with a time after
 * which the process itself reverts it.  A change with such a time takes over a revert that is
 * pending, so what comes back is the value from before the trial, not the arm before.  A change that is
 * pending when the trial begins is let into force first, so that it is what comes back. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hakctl/experiment.h"
#include "hakctl/hakctl.h"

enum { ARMS_MAX = 8, ROUNDS_MAX = 10000, TRIES = 3, SETTLE_PART = 5, REVERT_MORE_MS = 3000, LOOK_MS = 20,
       PATIENCE_MS = 200 };

/* What is measured in a period. */
enum { CPU, RATE, HEAP_V2, FAST_CACHE, SLOW, REFILL, METRICS };
static const struct {
    const char *key, *title;
    bool compared;
} metric[METRICS] = {
    [CPU] = { "cpu_ms_per_million", "CPU_MS/M", true },
    [RATE] = { "allocs_per_second", "ALLOCS/S", true },
    [HEAP_V2] = { "heap_v2_percent", "L0%", false },
    [FAST_CACHE] = { "fast_cache_percent", "L1%", false },
    [SLOW] = { "slow_percent", "SLOW%", false },
    [REFILL] = { "refill_ns", "REFILL_NS", false },     /* NaN in a period without any */
};

struct trial {
    struct shm_seg *seg;
    const struct hak_knob_desc *knob;
    unsigned period_ms;
    uint64_t old;                   /* the value before */
    bool     restored;              /* it is in force again */
    bool     said;                  /* that all threads are idle */
    uint64_t arm[ARMS_MAX];
    unsigned arms, rounds;          /* rounds: whole ones */
    clockid_t clock;                /* CPU time of the process */
    double *value[ARMS_MAX][METRICS];
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = number;
}

static void catch_signals(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
    struct sigaction action = { .sa_handler = on_signal };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

/* ---- The command line ---------------------------------------------------------------------- */

/* NAME=A,B[,C...] */
static int parse_arms(const char *text, struct trial *t, struct shm_error *err)
{
    size_t length = strcspn(text, "=");
    char name[2 * HAK_NAME_MAX], value[SHM_VALUE_MAX];
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    int code = find_knob(t->seg->knobs, t->seg->knob_count, name, &t->knob, err);
    if (!code && t->knob->context != HAK_LIVE)
        code = shm_startup_knob(t->knob, err);
    for (const char *p = text + length; !code && *p; ) {
        size_t n = strcspn(++p, ",");
        if (t->arms == ARMS_MAX)
            return shm_fail(err, SHM_EUSAGE, "%s: more than %d values", name, ARMS_MAX);
        snprintf(value, sizeof value, "%.*s", (int)n, p);
        code = shm_value_parse(t->knob, value, &t->arm[t->arms], err);
        for (unsigned i = 0; !code && i < t->arms; i++)
            if (t->arm[i] == t->arm[t->arms])
                code = shm_fail(err, SHM_EUSAGE, "%s: %s given twice", name, value);
        t->arms++;
        p += n;
    }
    if (!code && t->arms < 2)
        code = shm_fail(err, SHM_EUSAGE, "%s: one value is no experiment; give NAME=A,B", name);
    return code;
}

/* ---- Switching ----------------------------------------------------------------------------- */

static int set_value(const struct call *call, const struct trial *t, uint64_t value,
                     unsigned revert_ms, struct shm_ack *ack, struct shm_error *err)
{
    struct shm_change change = { .knob = t->knob, .value = value };
    return shm_set(t->seg, &change, 1, call->wait_ms, revert_ms, ack, err);
}

static void say_idle(struct trial *t)
{
    if (!t->said)
        fprintf(stderr, "hakctl: pid %d: all its threads are idle; waiting for one to be at work\n",
                t->seg->proc.pid);
    t->said = true;
}

/* An idle process accepts nothing until it moves. */
static int switch_to(const struct call *call, struct trial *t, uint64_t value, struct shm_ack *ack,
                     struct shm_error *err)
{
    for (;;) {
        int code = set_value(call, t, value, call->wait_ms + 2 * t->period_ms + REVERT_MORE_MS, ack,
                             err);
        if (code || ack->examined || stopped)
            return code;
        say_idle(t);
    }
}

/* ---- Measuring ----------------------------------------------------------------------------- */

struct reading {
    uint64_t cpu_ns, boot_ns, generation, in_force;
    struct shm_sums sums;
    uint64_t refills[HAK_HIST_BUCKETS];
};

static int take_reading(const struct trial *t, struct reading *r, struct shm_error *err)
{
    struct timespec cpu;
    struct shm_snap *snap;
    if (!shm_alive(t->seg) || clock_gettime(t->clock, &cpu))
        return shm_fail(err, SHM_EGONE, "the process has ended");
    int code = whole_snapshot(t->seg, &snap, err);
    if (code)
        return code;
    r->cpu_ns = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
    r->boot_ns = snap->boot_ns;
    r->generation = snap->state.generation;
    r->in_force = snap->state.values[t->knob->index];
    shm_sum_all(snap, SHM_ALL, &r->sums);
    shm_hist(snap, SHM_ALL, shm_stat(t->seg, HAK_SCOPE_HIST, "refill"), r->refills);
    shm_snap_free(snap);
    return SHM_OK;
}

static void sleep_ms(unsigned ms)
{
    struct timespec left = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&left, NULL);         /* a signal ends it, and the trial */
}

/* About how long they took on average: each is taken for the middle of its bucket. */
static double mean_refill(const struct reading *a, const struct reading *b)
{
    double count = 0, ns = 0;
    for (int i = 0; i < HAK_HIST_BUCKETS; i++) {
        double more = (double)(b->refills[i] - a->refills[i]);
        count += more;
        ns += more * 1.5 * (double)(UINT64_C(1) << i);
    }
    return ns / count;
}

/* What lies between two readings; false where the process did too little to say anything. */
static bool measure(const struct reading *a, const struct reading *b, double value[METRICS])
{
    double allocs = (double)(b->sums.allocs - a->sums.allocs);
    double cpu = (double)(b->cpu_ns - a->cpu_ns), time = (double)(b->boot_ns - a->boot_ns);
    if (b->sums.allocs <= a->sums.allocs || b->cpu_ns <= a->cpu_ns || b->boot_ns <= a->boot_ns)
        return false;
    value[CPU] = cpu / allocs;      /* ns each are ms a million */
    value[RATE] = allocs / time * 1e9;
    value[HEAP_V2] = 100 * (double)(b->sums.heap_v2_hits - a->sums.heap_v2_hits) / allocs;
    value[FAST_CACHE] = 100 * (double)(b->sums.fast_cache_hits - a->sums.fast_cache_hits) / allocs;
    value[SLOW] = 100 * (double)(b->sums.slow_allocs - a->sums.slow_allocs) / allocs;
    value[REFILL] = mean_refill(a, b);
    return true;
}

/* One arm for one period. */
static int run_arm(const struct call *call, struct trial *t, unsigned arm, bool *good,
                   struct shm_error *err)
{
    struct shm_ack ack = { 0 };
    struct reading first, last;
    double value[METRICS];
    unsigned settle = t->period_ms / SETTLE_PART;
    int code = switch_to(call, t, t->arm[arm], &ack, err);
    if (code || stopped)
        return code;
    sleep_ms(settle);
    code = take_reading(t, &first, err);
    if (code || stopped)
        return code;
    sleep_ms(t->period_ms - settle);
    code = take_reading(t, &last, err);
    if (code || stopped)
        return code;
    if (last.generation != ack.generation)
        return shm_fail(err, SHM_EIO, "somebody else has changed its knobs; the trial is over");
    *good = last.in_force == t->arm[arm] && measure(&first, &last, value);
    for (int m = 0; *good && m < METRICS; m++)
        t->value[arm][m][t->rounds] = value[m];
    return SHM_OK;
}

/* A round counts if every arm of it could be measured; a process that got no CPU meanwhile is given
 * others, up to TRIES for each. */
static int run_rounds(const struct call *call, struct trial *t, struct shm_error *err)
{
    uint64_t random = (uint64_t)t->seg->header.born_ns ^ (uint64_t)time(NULL);
    int code = SHM_OK;
    for (unsigned round = 0; !code && !stopped && t->rounds < call->rounds
                             && round < TRIES * call->rounds; round++) {
        unsigned order[ARMS_MAX];
        bool good = true;
        shuffle_arms(order, t->arms, &random);
        for (unsigned i = 0; !code && !stopped && good && i < t->arms; i++)
            code = run_arm(call, t, order[i], &good, err);
        t->rounds += !code && !stopped && good;
    }
    return code;
}

/* Until what was accepted before the trial is in force; *wanted is that. */
static int await_pending(struct trial *t, struct shm_wanted *wanted, struct shm_error *err)
{
    for (unsigned waited = 0; ; waited += LOOK_MS) {
        int code = shm_alive(t->seg) ? shm_wanted(t->seg, wanted, err)
                                     : shm_fail(err, SHM_EGONE, "the process has ended");
        if (code || !wanted->pending || stopped)
            return code;
        if (waited >= PATIENCE_MS)
            say_idle(t);
        sleep_ms(LOOK_MS);
    }
}

/* The value from before, unless somebody else has given the knob one of theirs. */
static int put_back(const struct call *call, struct trial *t, struct shm_error *err)
{
    struct shm_ack ack = { 0 };
    struct shm_wanted wanted;
    int code = shm_wanted(t->seg, &wanted, err);
    uint64_t now = code ? 0 : wanted.values[t->knob->index];
    bool ours = !code && now == t->old;
    for (unsigned arm = 0; !code && arm < t->arms; arm++)
        ours = ours || now == t->arm[arm];
    if (ours)
        code = set_value(call, t, t->old, 0, &ack, err);
    t->restored = ours && ack.generation;
    return code;
}

/* ---- The result ---------------------------------------------------------------------------- */

static const char *finding_name(enum finding finding)
{
    static const char *const name[] = {
        [TOO_FEW] = "too few rounds", [NO_DIFFERENCE] = "no difference", [LESS] = "less",
        [MORE] = "more",
    };
    return name[finding];
}

/* A bound that isn't finite is null. */
static json_t *interval_object(struct interval i)
{
    json_t *object = json_object();
    const struct { const char *key; double value; } member[] = {
        { "mean", i.mean }, { "low", i.low }, { "high", i.high },
    };
    for (int k = 0; k < 3; k++) {
        json_t *number = json_real(member[k].value);
        json_object_set_new(object, member[k].key, number ? number : json_null());
    }
    return object;
}

/* Over the rounds in which there was something to measure. */
static struct interval interval_over(const double *value, unsigned rounds)
{
    static double known[ROUNDS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < rounds; i++)
        if (!isnan(value[i]))
            known[n++] = value[i];
    return interval_of(known, n, EXPERIMENT_CONFIDENCE);
}

static json_t *arm_object(const struct trial *t, unsigned arm)
{
    unsigned compared = 2 * (t->arms - 1);
    json_t *object = json_pack("{s:o}", "value", json_u64(t->arm[arm]));
    for (int m = 0; m < METRICS; m++)
        json_object_set_new(object, metric[m].key,
                            interval_object(interval_over(t->value[arm][m], t->rounds)));
    for (int m = 0; arm && m < METRICS; m++) {
        if (!metric[m].compared)
            continue;
        struct comparison c = compare(t->value[0][m], t->value[arm][m], t->rounds, compared);
        char key[48];
        json_t *change = interval_object(c.percent);
        json_object_set_new(change, "finding", json_string(finding_name(c.finding)));
        snprintf(key, sizeof key, "%s_change_percent", metric[m].key);
        json_object_set_new(object, key, change);
    }
    return object;
}

static void put_result(const struct trial *t, json_t *out)
{
    json_t *arms = json_array();
    for (unsigned arm = 0; arm < t->arms; arm++)
        json_array_append_new(arms, arm_object(t, arm));
    json_object_set_new(out, "name", json_string(t->knob->name));
    json_object_set_new(out, "value", json_u64(t->old));
    json_object_set_new(out, "restored", json_boolean(t->restored));
    json_object_set_new(out, "rounds", json_integer(t->rounds));
    json_object_set_new(out, "period_ms", json_integer(t->period_ms));
    json_object_set_new(out, "confidence", json_real(EXPERIMENT_CONFIDENCE));
    json_object_set_new(out, "arms", arms);
}

static double real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void print_change(const char *what, const char *arm, const char *first, const json_t *change)
{
    const char *finding = str(change, "finding");
    printf("%s against %s, %s: %s", arm, first, what, finding);
    if (strcmp(finding, finding_name(TOO_FEW)))
        printf(" (%+.2f %%, between %+.2f and %+.2f)", real(change, "mean"), real(change, "low"),
               real(change, "high"));
    putchar('\n');
}

static void print_trial(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)call;
    size_t i;
    json_t *arm, *arms = json_object_get(out, "arms");
    char first[SHM_VALUE_MAX], text[SHM_VALUE_MAX];
    const struct hak_knob_desc *knob = shm_knob(seg, str(out, "name"));
    printf("%s: %" PRIu64 " round%s of %g s a value; %g %% intervals; %s %s\n\n%-12s",
           knob->name, num(out, "rounds"), shm_s(num(out, "rounds")),
           (double)num(out, "period_ms") / 1000,
           100 * EXPERIMENT_CONFIDENCE, shm_value_text(knob, num(out, "value"), text),
           json_is_true(json_object_get(out, "restored")) ? "is back" : "was the value before",
           "VALUE");
    for (int m = 0; m < METRICS; m++)
        printf(" %14s %10s", metric[m].title, "+-");
    putchar('\n');
    json_array_foreach(arms, i, arm) {
        printf("%-12s", shm_value_text(knob, num(arm, "value"), text));
        for (int m = 0; m < METRICS; m++) {
            const json_t *v = json_object_get(arm, metric[m].key);
            if (!json_is_number(json_object_get(v, "low")))
                printf(" %14s %10s", "-", "-");
            else
                printf(" %14.*f %10.*f", m == RATE ? 0 : 2, real(v, "mean"), m == RATE ? 0 : 2,
                       real(v, "high") - real(v, "mean"));
        }
        putchar('\n');
    }
    putchar('\n');
    shm_value_text(knob, num(json_array_get(arms, 0), "value"), first);
    json_array_foreach(arms, i, arm) {
        if (!i)
            continue;
        shm_value_text(knob, num(arm, "value"), text);
        print_change("CPU time per allocation", text, first,
                     json_object_get(arm, "cpu_ms_per_million_change_percent"));
        print_change("allocations a second", text, first,
                     json_object_get(arm, "allocs_per_second_change_percent"));
    }
}

/* ---- The verb ------------------------------------------------------------------------------ */

static int prepare(const struct call *call, struct trial *t, struct shm_error *err)
{
    if (t->seg->header.flags & 1)
        return shm_fail(err, SHM_EIO, "its counters are compiled out: there is nothing to measure");
    int failed = t->seg->proc.pid ? clock_getcpuclockid(t->seg->proc.pid, &t->clock) : ESRCH;
    if (failed)
        return shm_fail(err, SHM_EGONE, "its CPU time can't be read: %s", strerror(failed));
    int code = SHM_OK;
    for (unsigned arm = 0; !code && arm < t->arms; arm++)
        for (int m = 0; m < METRICS; m++)
            if (!(t->value[arm][m] = calloc(call->rounds, sizeof(double))))
                code = shm_fail(err, SHM_EIO, "out of memory");
    return code;
}

static int trial(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct trial t = { .seg = seg, .period_ms = call->period_ms };
    struct shm_error late;
    int code = parse_arms(call->argv[0], &t, err);
    if (!code && call->rounds > ROUNDS_MAX)
        code = shm_fail(err, SHM_EUSAGE, "--rounds: more than %d", ROUNDS_MAX);
    if (!code)
        code = prepare(call, &t, err);
    if (code)
        nothing_changed(err);
    else {
        struct shm_wanted before = { 0 };
        catch_signals();
        code = await_pending(&t, &before, err);
        t.old = before.values[t.knob->index];
        bool begun = !code && !stopped;
        if (begun)
            code = run_rounds(call, &t, err);
        int back = begun ? put_back(call, &t, &late) : SHM_OK;
        put_result(&t, out);
        if (!code && back)
            *err = late;
        code = code ? code : back;
        if (!code && stopped)
            code = shm_fail(err, SHM_EIO, "stopped by a signal after %u round%s", t.rounds,
                            shm_s(t.rounds));
    }
    for (unsigned arm = 0; arm < t.arms && arm < ARMS_MAX; arm++)
        for (int m = 0; m < METRICS; m++)
            free(t.value[arm][m]);
    return code;
}

const struct command cmd_trial = {
    .name = "trial", .operands = "NAME=A,B[,C...]", .options = "TBW",
    .help = "compare values of a knob on the running process", .least = 1, .most = 1,
    .just_one = true, .each = trial, .print = print_trial,
};
