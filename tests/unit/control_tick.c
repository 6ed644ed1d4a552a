/* control_tick.c: requests on the control page: accepted, refused, reverted, hostile; how threads
 * learn of them; the trace ring. */
#include "tests/unit/control.h"

#include <pthread.h>

static struct seg s;

static void start(void)
{
    control_init();
    seg_own(&s);
}

/* All of a set but its last store, which makes it one: the generation that it would be. */
static uint64_t write_set(const char *name, uint64_t value, uint64_t revert)
{
    struct hak_control *c = s.control;
    uint64_t g = c->generation;

    memcpy(c->values[~g & 1], s.state->examined == g ? s.state->values : c->values[g & 1],
           sizeof c->values[0]);
    c->values[~g & 1][seg_knob(&s, name)->index] = value;
    c->writer[~g & 1] = (struct hak_writer){ getpid(), 1234, 5678, revert };
    return g + 1;
}

/* Asks for a value, to be put back after `revert` (CLOCK_BOOTTIME). */
static uint64_t ask_until(const char *name, uint64_t value, uint64_t revert)
{
    uint64_t g = write_set(name, value, revert);

    __atomic_store_n(&s.control->generation, g, __ATOMIC_RELEASE);
    return g;
}

static uint64_t ask(const char *name, uint64_t value)
{
    return ask_until(name, value, 0);
}

static struct hak_origin_rec *origin(const char *name)
{
    return &s.state->origin[seg_knob(&s, name)->index];
}

static int accepted(void)
{
    struct hak_orders mine = { 0 }, other = { .epoch = 1 };

    start();
    need(hak_tick(&mine) && mine.epoch == 1 && mine.generation == 0 && !hak_tick(&mine));
    need(ask("tiny.heap_v2.class_mask", 0xE) == 1);
    need(seg_value(&s, "tiny.heap_v2.class_mask") == DEFAULT(heap_v2_class_mask));
    need(s.state->examined == 0);
    need(hak_tick(&mine));
    need(mine.epoch == 2 && mine.generation == 1 && mine.knobs.heap_v2_class_mask == 0xE);
    need(s.state->generation == 1 && s.state->examined == 1 && s.state->epoch == 2);
    need(seg_value(&s, "tiny.heap_v2.class_mask") == 0xE && s.state->seq % 2 == 0);
    need(origin("tiny.heap_v2.class_mask")->from == HAK_FROM_CONTROL);
    need(origin("tiny.heap_v2.class_mask")->pid == getpid());
    need(origin("tiny.heap_v2.class_mask")->uid == 1234);
    need(origin("tiny.heap_v2.class_mask")->ns == 5678);
    need(origin("tiny.front_direct")->from == HAK_FROM_DEFAULT);
    need(!hak_tick(&mine));
    need(hak_tick(&other) && other.epoch == 2 && other.generation == 1);
    need(other.knobs.heap_v2_class_mask == 0xE);
    need(other.knobs.sll_drain_interval == DEFAULT(sll_drain_interval));
    need(!hak_tick(&other));
    /* no change, but a generation to acknowledge */
    need(ask("tiny.heap_v2.class_mask", 0xE) == 2);
    need(hak_tick(&mine) && mine.generation == 2);
    return 0;
}

static int refused(void)
{
    struct hak_orders o = { 0 };

    start();
    hak_tick(&o);
    uint64_t g = ask("tiny.heap_v2.class_mask", 0x100);
    /* legal, and must not get through */
    s.control->values[g & 1][HAK_KNOB_front_direct] ^= 1;
    need(!hak_tick(&o) && s.state->generation == 0 && s.state->examined == g);
    need(s.state->epoch == 1);
    need(s.state->refused == g && s.state->refused_reason == HAK_REFUSED_RANGE);
    need(s.state->refused_knob == HAK_KNOB_heap_v2_class_mask && s.state->refused_value == 0x100);
    need(seg_value(&s, "tiny.front_direct") == DEFAULT(front_direct));
    need(seg_global(&s, "generations_refused") == 1);
    need(!hak_tick(&o) && seg_global(&s, "generations_refused") == 1);

    g = ask("shm.mode", 0640);
    need(!hak_tick(&o) && s.state->refused == g && s.state->refused_reason == HAK_REFUSED_STARTUP);
    need(s.state->refused_knob == HAK_KNOB_shm_mode && seg_value(&s, "shm.mode") == 0600);
    need(seg_global(&s, "generations_refused") == 2);

    g = ask("tiny.sll.drain_interval", 0);
    need(!hak_tick(&o) && s.state->refused == g && s.state->refused_value == 0);
    g = ask("tiny.sll.drain_interval", UINT64_MAX);
    need(!hak_tick(&o) && s.state->refused == g && s.state->refused_value == UINT64_MAX);

    g = ask("tiny.front_direct", !DEFAULT(front_direct));
    for (unsigned i = HAK_KNOBS; i < HAK_VALUES_MAX; i++)       /* knobs of a later version */
        s.control->values[g & 1][i] = UINT64_MAX;
    need(hak_tick(&o) && o.generation == g && o.knobs.front_direct == !DEFAULT(front_direct));
    need(o.knobs.heap_v2_class_mask == DEFAULT(heap_v2_class_mask));
    need(o.knobs.sll_drain_interval == DEFAULT(sll_drain_interval));
    return 0;
}

/* A tool that dies before its last store has changed nothing of the request before it. */
static int writer_dies(void)
{
    struct hak_orders o = { 0 };

    start();
    uint64_t g = ask("tiny.front_direct", !DEFAULT(front_direct));
    write_set("tiny.bump_chunk", 9, 1);
    s.control->writer[~g & 1].pid = 99;
    need(hak_tick(&o) && o.generation == g && o.knobs.front_direct == !DEFAULT(front_direct));
    need(o.knobs.bump_chunk == DEFAULT(bump_chunk) && s.state->revert_ns == 0);
    need(origin("tiny.front_direct")->pid == getpid() && s.state->epoch == 2);
    return 0;
}

/* Generations are compared with !=. */
static int backwards(void)
{
    struct hak_orders o = { 0 };

    start();
    s.control->generation = UINT64_MAX - 1;
    memcpy(s.control->values[0], s.state->values, sizeof s.state->values);
    need(hak_tick(&o) && o.generation == UINT64_MAX - 1);
    need(ask("tiny.front_direct", !DEFAULT(front_direct)) == UINT64_MAX);
    need(hak_tick(&o) && o.generation == UINT64_MAX);
    need(o.knobs.front_direct == !DEFAULT(front_direct));
    need(ask("tiny.front_direct", DEFAULT(front_direct)) == 0);
    need(hak_tick(&o) && o.generation == 0 && o.knobs.front_direct == DEFAULT(front_direct));
    return 0;
}

static int purge_and_walk(void)
{
    struct hak_orders o = { 0 };

    start();
    hak_tick(&o);
    need(o.purge == 0 && o.walk == 0);
    s.control->purge = 7;
    s.control->walk = UINT64_MAX;
    need(!hak_tick(&o) && o.purge == 7 && o.walk == UINT64_MAX);
    need(s.state->purge_done == 0);
    hak_purged(7, 1000);
    need(s.state->purge_done == 7 && s.state->purged_bytes == 1000 && s.state->seq % 2 == 0);
    hak_purged(7, 24);                                  /* by another thread */
    need(s.state->purge_done == 7 && s.state->purged_bytes == 1024);
    hak_purged(8, 3);
    need(s.state->purge_done == 8 && s.state->purged_bytes == 3);
    return 0;
}

/* ---- reverts ---- */

static int revert_on_time(void)
{
    struct hak_orders o = { 0 };
    uint64_t at, early = 0;

    start();
    hak_tick(&o);
    ask("tiny.bump_chunk", 9);
    need(hak_tick(&o) && o.generation == 1);
    at = now_ns(CLOCK_BOOTTIME) + 50000000;
    ask_until("tiny.bump_chunk", 8, at);
    need(hak_tick(&o) && o.generation == 2 && o.knobs.bump_chunk == 8 && s.state->revert_ns == at);
    while (!hak_tick(&o)) {
        need(seg_value(&s, "tiny.bump_chunk") == 8);
        early += now_ns(CLOCK_BOOTTIME) < at;
        need(now_ns(CLOCK_BOOTTIME) < at + 1000000000);
    }
    need(early && now_ns(CLOCK_BOOTTIME) >= at);
    need(o.epoch == 4 && o.generation == 2 && o.knobs.bump_chunk == 9);
    need(s.state->revert_ns == 0 && s.state->generation == 2 && s.state->epoch == 4);
    need(seg_value(&s, "tiny.bump_chunk") == 9);
    need(origin("tiny.bump_chunk")->from == HAK_FROM_REVERT);
    need(origin("tiny.bump_chunk")->pid == getpid() && origin("tiny.bump_chunk")->ns > 5678);
    /* based on the values put back */
    need(ask("tiny.front_direct", !DEFAULT(front_direct)) == 3);
    need(hak_tick(&o) && o.knobs.bump_chunk == 9 && o.knobs.front_direct == !DEFAULT(front_direct));
    return 0;
}

/* A process that was idle until after the time. */
static int revert_too_late(void)
{
    struct hak_orders o = { 0 };

    start();
    hak_tick(&o);
    ask_until("tiny.bump_chunk", 8, 1);
    need(hak_tick(&o) && o.generation == 1 && o.knobs.bump_chunk == DEFAULT(bump_chunk));
    need(o.epoch == 3);
    need(s.state->generation == 1 && s.state->examined == 1 && s.state->revert_ns == 0);
    return 0;
}

static int revert_cancelled(void)
{
    struct hak_orders o = { 0 };
    uint64_t at;

    start();
    hak_tick(&o);
    ask_until("tiny.bump_chunk", 8, at = now_ns(CLOCK_BOOTTIME) + 20000000);
    need(hak_tick(&o) && o.knobs.bump_chunk == 8);
    ask("tiny.front_direct", !DEFAULT(front_direct));
    need(hak_tick(&o) && s.state->revert_ns == 0);
    while (now_ns(CLOCK_BOOTTIME) <= at)
        ;
    need(!hak_tick(&o) && seg_value(&s, "tiny.bump_chunk") == 8);
    return 0;
}

/* A trial that sets one value after the other: a crash puts back what was there before it. */
static int revert_taken_over(void)
{
    struct hak_orders o = { 0 };
    uint64_t at;

    start();
    hak_tick(&o);
    ask_until("tiny.bump_chunk", 8, now_ns(CLOCK_BOOTTIME) + 60000000000);
    need(hak_tick(&o) && o.knobs.bump_chunk == 8);
    ask_until("tiny.bump_chunk", 9, at = now_ns(CLOCK_BOOTTIME) + 20000000);
    need(hak_tick(&o) && o.knobs.bump_chunk == 9 && s.state->revert_ns == at);
    uint64_t g = ask("tiny.bump_chunk", 0);             /* refused: cancels nothing */
    need(!hak_tick(&o) && s.state->refused == g);
    while (now_ns(CLOCK_BOOTTIME) <= at)
        ;
    need(hak_tick(&o) && o.knobs.bump_chunk == DEFAULT(bump_chunk));
    return 0;
}

/* ---- a hostile control page ---- */

static const struct {
    uint64_t min, max;
    bool startup, bits;
} range[] = {
#define KNOB(id, nm, ty, ctx, unit, mi, ma, def, alias, help) \
    { mi, ma, HAK_##ctx == HAK_STARTUP, HAK_##ty == HAK_MASK || HAK_##ty == HAK_OCTAL },
#include "abi/knobs.def"
#undef KNOB
};

static union hak_knobs at_start;

static bool legal(const uint64_t *values)
{
    for (unsigned i = 0; i < HAK_KNOBS; i++) {
        uint64_t v = values[i];
        if (v < range[i].min || v > range[i].max || (range[i].bits && (v & ~range[i].max))
            || (range[i].startup && v != at_start.values[i]))
            return false;
    }
    return true;
}

/* Random bytes all over the page; in every fourth round values that are mostly legal. */
static void scribble(uint64_t *seed, unsigned round)
{
    struct hak_control *c = s.control;

    for (size_t i = 0; i < s.h->page_size / 8; i++)
        __atomic_store_n((uint64_t *)c + i, rnd(seed), __ATOMIC_RELAXED);
    if (round % 4)
        return;
    for (unsigned i = 0; i < HAK_KNOBS; i++)
        for (unsigned a = 0; a < 2; a++) {
            uint64_t v = range[i].min + rnd(seed) % (range[i].max - range[i].min + 1);
            if (range[i].startup)
                v = at_start.values[i];
            if (rnd(seed) % 200 == 0)
                v = range[i].max + 1;
            __atomic_store_n(&c->values[a][i], v, __ATOMIC_RELAXED);
        }
    for (unsigned a = 0; a < 2; a++) {
        uint64_t revert = rnd(seed) % 3 ? now_ns(CLOCK_BOOTTIME) + rnd(seed) % 1000000 : 0;
        __atomic_store_n(&c->writer[a].revert_ns, revert, __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&c->generation, 1, __ATOMIC_RELAXED);
}

#define ROUNDS 100000

static int hostile_bytes(void)
{
    struct hak_orders o = { 0 };
    union hak_knobs k;
    uint64_t seed = 1, accepted_before, taken = 0;

    start();
    control_knobs(&at_start);
    need(hak_tick(&o) && legal(at_start.values));
    for (unsigned round = 0; round < ROUNDS; round++) {
        scribble(&seed, round);
        accepted_before = s.state->generation;
        if (hak_tick(&o))
            need(legal(o.knobs.values));
        taken += s.state->generation != accepted_before;
        control_knobs(&k);
        need(legal(k.values) && legal(s.state->values));
    }
    need(taken > ROUNDS / 100 && taken + seg_global(&s, "generations_refused") > ROUNDS / 2);
    need(seg_global(&s, "generations_refused") > ROUNDS / 2 && s.state->refused_knob < HAK_KNOBS);
    return 0;
}

static _Atomic int stop;

static void *scribbler(void *arg)
{
    uint64_t seed = 2;

    (void)arg;
    for (unsigned round = 0; !stop; round++)
        scribble(&seed, round);
    return NULL;
}

static int hostile_all_the_time(void)
{
    struct hak_orders o = { 0 };
    union hak_knobs k;
    pthread_t t;

    start();
    control_knobs(&at_start);
    need(pthread_create(&t, NULL, scribbler, NULL) == 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (hak_tick(&o))
            need(legal(o.knobs.values));
        control_knobs(&k);
        need(legal(k.values));
    }
    stop = 1;
    pthread_join(t, NULL);
    return 0;
}

/* A generation that never stands still is refused after a while, not waited for.  To be sure that
 * it changes while it is read, the reader goes in single steps, and there is a new one at each. */
#define TORN_TICKS 100

static int reader(void)
{
    struct hak_orders o = { 0 };
    int ticks = 0;

    start();
    hak_tick(&o);
    memcpy(s.control->values[1], s.state->values, sizeof s.state->values);
    stop_here();
    while (s.state->refused_reason != HAK_REFUSED_TORN && ticks < 2 * TORN_TICKS) {
        need(!hak_tick(&o) && s.state->generation == 0);
        ticks++;
    }
    need(ticks == TORN_TICKS && s.state->refused == s.state->examined && s.state->refused != 0);
    need(s.state->refused_knob == 0 && s.state->refused_value == 0);
    need(seg_global(&s, "generations_refused") == 1);
    control_exit();
    return 0;
}

static int never_still(void)
{
    int status, line = 0, p[2];

    need(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(77);
        line = reader();
        _exit(write(p[1], &line, sizeof line) != sizeof line);
    }
    need(waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return cannot("ptrace is not allowed here");
    need(WIFSTOPPED(status) && seg_open(&s, pid) == 0);
    while (WIFSTOPPED(status)) {
        s.control->generation++;
        need(ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == 0 && waitpid(pid, &status, 0) == pid);
    }
    need(status == 0 && read(p[0], &line, sizeof line) == sizeof line);
    return line;
}

/* ---- threads ---- */

#define SETS 3000

/* Every set gives two knobs one value, which follows from its generation. */
static bool fits(const struct hak_orders *o)
{
    const union hak_knobs *k = &o->knobs;
    return o->generation == 0 || (k->refill_count_hot == 1 + o->generation % 200
                                  && k->refill_count_mid == k->refill_count_hot);
}

static void *learner(void *arg)
{
    struct hak_orders o = { 0 };
    intptr_t wrong = 0;
    uint64_t before = 0;

    (void)arg;
    while (o.generation != SETS) {
        if (!hak_tick(&o))
            continue;
        wrong += !fits(&o) || o.epoch <= before;
        before = o.epoch;
    }
    return (void *)wrong;
}

static int threads_learn(void)
{
    pthread_t t[2];
    void *wrong;
    struct hak_control *c;

    start();
    c = s.control;
    for (int i = 0; i < 2; i++)
        need(pthread_create(&t[i], NULL, learner, NULL) == 0);
    for (uint64_t g = 1; g <= SETS; g++) {
        memcpy(c->values[g & 1], s.state->values, sizeof c->values[0]);
        c->values[g & 1][HAK_KNOB_refill_count_hot] = 1 + g % 200;
        c->values[g & 1][HAK_KNOB_refill_count_mid] = 1 + g % 200;
        __atomic_store_n(&c->generation, g, __ATOMIC_RELEASE);
        while (__atomic_load_n(&s.state->examined, __ATOMIC_ACQUIRE) != g)
            sched_yield();
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], &wrong);
        need(!wrong);
    }
    need(s.state->generation == SETS && seg_global(&s, "generations_refused") == 0);
    return 0;
}

/* The process sets two knobs to one value, from two threads, while another learns of it. */
#define OWN_SETS 300
static _Atomic int setting;

static void *setter(void *arg)
{
    intptr_t wrong = 0;

    for (uint64_t i = 1; i <= OWN_SETS; i++) {
        uint64_t value = 1 + (i + (uint64_t)(intptr_t)arg * 77) % 200;
        struct control_change both[] = { { HAK_KNOB_refill_count_hot, value },
                                         { HAK_KNOB_refill_count_mid, value } };
        int why;
        while ((why = control_set(both, 2)) == EBUSY)
            ;
        wrong += why != 0;
    }
    setting--;
    return (void *)wrong;
}

static int sets_from_inside(void)
{
    struct hak_orders o = { 0 };
    pthread_t t[2];
    void *wrong;

    start();
    setting = 2;
    for (intptr_t i = 0; i < 2; i++)
        need(pthread_create(&t[i], NULL, setter, (void *)i) == 0);
    while (setting || o.generation != 2 * OWN_SETS)
        if (hak_tick(&o) && o.generation)
            need(o.knobs.refill_count_hot == o.knobs.refill_count_mid);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], &wrong);
        need(!wrong);
    }
    need(s.state->generation == 2 * OWN_SETS && s.control->generation == 2 * OWN_SETS);
    need(origin("tiny.refill.count_hot")->from == HAK_FROM_API);
    need(seg_global(&s, "generations_refused") == 0);
    return 0;
}

/* The state page, read as tools do, is never half of one generation and half of another. */
static void *tool(void *arg)
{
    intptr_t wrong = 0;

    (void)arg;
    while (!stop) {
        uint32_t seq = __atomic_load_n(&s.state->seq, __ATOMIC_ACQUIRE);
        uint64_t g = __atomic_load_n(&s.state->generation, __ATOMIC_ACQUIRE);
        const uint64_t *values = s.state->values;
        uint64_t hot = __atomic_load_n(&values[HAK_KNOB_refill_count_hot], __ATOMIC_ACQUIRE);
        uint64_t mid = __atomic_load_n(&values[HAK_KNOB_refill_count_mid], __ATOMIC_ACQUIRE);
        if (seq % 2 || __atomic_load_n(&s.state->seq, __ATOMIC_RELAXED) != seq)
            continue;
        wrong += g != 0 && (hot != 1 + g % 200 || mid != hot);
    }
    return (void *)wrong;
}

static int tools_read(void)
{
    struct hak_orders o = { 0 };
    pthread_t t;
    void *wrong;

    start();
    need(pthread_create(&t, NULL, tool, NULL) == 0);
    for (uint64_t g = 1; g <= SETS; g++) {
        struct hak_control *c = s.control;
        memcpy(c->values[g & 1], s.state->values, sizeof c->values[0]);
        c->values[g & 1][HAK_KNOB_refill_count_hot] = 1 + g % 200;
        c->values[g & 1][HAK_KNOB_refill_count_mid] = 1 + g % 200;
        __atomic_store_n(&c->generation, g, __ATOMIC_RELEASE);
        need(hak_tick(&o) && o.generation == g);
    }
    stop = 1;
    pthread_join(t, &wrong);
    need(!wrong);
    return 0;
}

/* A handler sets twice and ticks, at many places of a tick that takes a set, or that learns of one
 * that another thread took: neither waits for the other, and neither gets half of one table and
 * half of another. */
static uint64_t set_both(void)
{
    struct hak_control *c = s.control;
    uint64_t g = c->generation + 1;

    memcpy(c->values[g & 1], s.state->values, sizeof c->values[0]);
    c->values[g & 1][HAK_KNOB_refill_count_hot] = 1 + g % 200;
    c->values[g & 1][HAK_KNOB_refill_count_mid] = 1 + g % 200;
    __atomic_store_n(&c->generation, g, __ATOMIC_RELEASE);
    return g;
}

static void on_signal(int sig)
{
    struct hak_orders o = { 0 };

    (void)sig;
    for (int i = 0; i < 2; i++) {
        set_both();
        if (hak_tick(&o) && !fits(&o))
            _exit(1);
    }
    stop_here();
}

static void tick_and_tick(void)
{
    struct hak_orders o = { 0 };

    start();
    signal(SIGUSR1, on_signal);
    for (int round = 0; ; round++) {
        set_both();
        if (round % 2) {
            hak_tick(&o);
            o.epoch = 0;
        }
        stop_here();
        interruptible = 1;
        bool new = hak_tick(&o);
        interruptible = 0;
        stop_here();
        if (new && !fits(&o))
            _exit(2);
        for (int i = 0; o.generation != s.control->generation; i++)
            if ((hak_tick(&o) && !fits(&o)) || i == 2)
                _exit(3);
        if (s.state->seq % 2 || s.state->generation != o.generation)
            _exit(4);
    }
}

static int signals_tick(void)
{
    const char *why;
    long interrupted = 0;
    int status = interrupt_everywhere(tick_and_tick, 128, &interrupted, &why);

    if (status == -1)
        return cannot("%s", why);
    diag("interrupted %ld times", interrupted);
    if (status)
        diag("%s", ending(status));
    need(status == 0 && interrupted > 100);
    return 0;
}

/* ---- the trace ring ---- */

static const struct hak_trace_record *record(uint64_t i)
{
    return (const struct hak_trace_record *)(s.base + s.h->trace_off) + i % HAK_TRACE_RECORDS;
}

static int traces(void)
{
    struct hak_orders o = { 0 };

    start();
    hak_tick(&o);
    hak_trace(HAK_TRACE_REFILL, 3, 99);
    need(s.state->trace_next == 0 && s.state->trace_on == 0 && !hak_trace_hook);
    ask("trace.ring", 1);
    need(hak_tick(&o) && s.state->trace_on == 1);
    uint64_t before = now_ns(CLOCK_MONOTONIC);
    hak_trace(HAK_TRACE_REFILL, 3, 99);
    hak_trace(HAK_TRACE_OS_MAP, 0xFFFF, 1 << 21);
    need(s.state->trace_next == 2 && record(0)->order == 1 && record(1)->order == 2);
    need(record(0)->kind == HAK_TRACE_REFILL && record(0)->bin == 3 && record(0)->arg == 99);
    need(record(0)->ns >= before && record(1)->ns >= record(0)->ns);
    need(record(1)->kind == HAK_TRACE_OS_MAP && record(1)->bin == 0xFFFF);
    need(record(1)->arg == 1 << 21);
    for (uint64_t i = 2; i < HAK_TRACE_RECORDS + 2; i++)
        hak_trace(HAK_TRACE_SLL_PUSH, 0, i);
    need(s.state->trace_next == HAK_TRACE_RECORDS + 2);
    for (uint64_t i = 2; i < HAK_TRACE_RECORDS + 2; i++)
        need(record(i)->order == i + 1 && record(i)->arg == i);
    ask("trace.ring", 0);
    need(hak_tick(&o) && s.state->trace_on == 0);
    hak_trace(HAK_TRACE_REFILL, 3, 99);
    need(s.state->trace_next == HAK_TRACE_RECORDS + 2);
    return 0;
}

static int traces_from_start(void)
{
    start();
    need(s.state->trace_on == 1);
    hak_trace(HAK_TRACE_REFILL, 3, 99);
    need(s.state->trace_next == 1 && record(0)->arg == 99);
    return 0;
}

static int no_room_to_trace(void)
{
    struct hak_orders o = { 0 };
    const char *why = own_mounts();

    if (why)
        return cannot("%s", why);
    need(mount("t", "/dev/shm", "tmpfs", 0, "size=96k") == 0);
    start();
    ask("trace.ring", 1);
    need(hak_tick(&o) && o.knobs.trace_ring == 1 && s.state->trace_on == 0 && !hak_trace_hook);
    hak_trace(HAK_TRACE_REFILL, 3, 99);
    need(s.state->trace_next == 0);
    return 0;
}

int main(void)
{
    CASE("a set is accepted, published and learned, with its origin", accepted);
    CASE("bad sets are refused as a whole, with the reason", refused);
    CASE("a tool that dies before its last store", writer_dies);
    CASE("generations that wrap and jump", backwards);
    CASE("purge and walk requests are passed on; a purge is reported", purge_and_walk);
    CASE("a revert comes at the first tick after its time", revert_on_time);
    CASE("a request that comes too late for its own revert changes nothing", revert_too_late);
    CASE("a later generation cancels a revert", revert_cancelled);
    CASE("a later generation with a revert takes it over; a refused one does not matter",
         revert_taken_over);
    CASE("random bytes, 100,000 times: no illegal value in force", hostile_bytes);
    CASE("random bytes while they are read: no illegal value in force", hostile_all_the_time);
    CASE("a request that never stands still is refused as torn", never_still);
    CASE("two threads learn of every change whole", threads_learn);
    CASE("the process sets knobs from two threads, and a third learns of every change whole",
         sets_from_inside);
    CASE("tools read a whole state page", tools_read);
    if (getenv("HAK_LONG"))                 /* some ten thousand single steps, each two switches */
        CASE("ticks and sets in a signal handler that interrupts a tick anywhere", signals_tick);
    CASE("the trace ring records while it is on", traces);
    CASE("the trace ring, on from the start", traces_from_start, "HAKMEM_TRACE_RING=1");
    CASE("no room for the trace ring: it stays off", no_room_to_trace);
    return tap_done();
}
