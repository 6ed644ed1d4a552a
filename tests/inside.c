/* inside.c: the process's own view of its knobs and counters (lib/api/hakmem.h), against what its
 * segment says; linked with the library, as a program that calls these is.
 *
 *   inside          the tests
 *   inside race     two threads set knobs until SIGUSR1 comes (tests/hakctl_inside.sh)
 */
#define _GNU_SOURCE
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "lib/api/hakmem.h"
#include "tests/seg.h"

#define MASK "tiny.heap_v2.class_mask"
enum { C1 = 1 };

static struct seg s;                    /* this process's own segment */

static void *keep(void *p) { __asm__ volatile("" : "+r"(p) : : "memory"); return p; }

static void pairs(size_t size, int n)
{
    for (int i = 0; i < n; i++)
        free(keep(malloc(size)));
}

static uint64_t value_of(const char *name)
{
    uint64_t value = UINT64_MAX;
    return hak_get(name, &value) ? UINT64_MAX : value;
}

/* Whether something was changed: how many tables of values there have been. */
static uint64_t changes(void) { return seg_read(&s.state->epoch); }

/* --- knobs ------------------------------------------------------------------------------------- */

static void test_list(void)
{
    unsigned n = 0, wrong = 0;
    for (const struct hak_knob *k; (k = hak_knob(n)); n++) {
        const struct hak_knob_desc *d = seg_knob(&s, k->name);
        wrong += strcmp(k->unit, d->unit) || strcmp(k->help, d->help) || k->min != d->min
            || k->max != d->max || k->initial != d->def || k->live != (d->context == HAK_LIVE)
            || k->bits != (d->type == HAK_MASK || d->type == HAK_OCTAL);
        wrong += value_of(k->name) != seg_value(&s, k->name);
    }
    is(n, s.h->knob_count, "hak_knob: every knob");
    is(wrong, 0, "and all of each, with hak_get, as the segment has it");
    ok(!hak_knob(n + 1) && !hak_knob(SIZE_MAX), "there is none beyond the last");
    uint64_t untouched = 77;
    is(hak_get("tiny.no.such", &untouched), ENOENT, "hak_get: no such knob");
    is(untouched, 77, "and no value");
}

static void test_set(void)
{
    uint64_t g = seg_read(&s.state->generation);
    struct hak_slot *slot = seg_slot_of(&s, (pid_t)syscall(SYS_gettid));
    is(hak_set(MASK, 0), 0, "hak_set");
    is(value_of(MASK), 0, "it is in force");
    is(seg_value(&s, MASK), 0, "and outside they see it");
    is(seg_read(&s.state->generation), g + 1, "it is a generation");
    is(seg_read(&s.control->generation), g + 1, "a request in the control page");
    is(seg_read(&s.state->examined), g + 1, "that needs no look");
    is(seg_read(&slot->applied), g + 1, "and the calling thread works by it");
    const struct hak_origin_rec *from = &s.state->origin[seg_knob(&s, MASK)->index];
    ok(from->from == HAK_FROM_API && from->pid == getpid() && from->uid == geteuid() && from->ns,
       "its origin says who, and when");
    if (with_counters()) {
        uint64_t before = seg_class(&s, "heap_v2_hits", C1);
        pairs(16, 1000);
        is(seg_class(&s, "heap_v2_hits", C1) - before, 0, "masked off: TinyHeapV2 serves nothing");
    }
    is(hak_set(MASK, 0xFF), 0, "and back");
    const struct hak_setting two[] = { { "tiny.bump_chunk", 9 }, { MASK, 0xE }, { MASK, 0xF } };
    is(hak_set_all(two, 3), 0, "hak_set_all");
    is(seg_read(&s.state->generation), g + 3, "is one generation");
    ok(value_of("tiny.bump_chunk") == 9 && value_of(MASK) == 0xF, "of two values for one knob the later counts");
    uint64_t epoch = changes();
    is(hak_set_all(NULL, 0), 0, "nothing at all");
    is(changes(), epoch, "changes nothing");
}

static void test_errors(void)
{
    static const struct { struct hak_setting bad; int why; } cases[] = {
        { { "tiny.no.such", 1 }, ENOENT }, { { "", 1 }, ENOENT }, { { MASK, 0x100 }, EINVAL },
        { { "tiny.bump_chunk", 0 }, EINVAL }, { { "tiny.bump_chunk", UINT64_MAX }, EINVAL },
        { { "pool.per_class", 1 }, EPERM }, { { "shm.mode", 0600 }, EPERM },
    };
    uint64_t epoch = changes(), g = seg_read(&s.control->generation);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hak_setting both[] = { { "tiny.refill.batch", 7 }, cases[i].bad };
        errno = 4321;
        is(hak_set_all(both, 2), cases[i].why, "%s = %llu is refused", both[1].name,
           (unsigned long long)both[1].value);
        is(errno, 4321, "errno is left alone");
    }
    is(changes(), epoch, "nothing was changed by any of these");
    is(seg_read(&s.control->generation), g, "or asked for");
    is(value_of("tiny.refill.batch"), 0, "nor by what was right beside them");
}

/* --- among others ------------------------------------------------------------------------------ */

static void test_pending(void)
{
    uint64_t g = seg_set(&s, "tiny.refill.count_hot", 33);
    is(hak_set("tiny.refill.count_mid", 44), 0, "a set while another's request is pending");
    is(seg_read(&s.state->generation), g + 1, "comes after it");
    ok(value_of("tiny.refill.count_hot") == 33 && value_of("tiny.refill.count_mid") == 44, "both are in force");
    is(seg_value(&s, "tiny.refill.count_hot"), 33, "outside, too");
}

/* A tool's request with a revert, which is due at once but looked at only by the next tick. */
static void ask_for_a_while(const char *name, uint64_t value, uint64_t revert_ns)
{
    struct hak_control *c = s.control;
    uint64_t g = seg_read(&c->generation) + 1;
    memcpy(c->values[g & 1], s.state->values, sizeof c->values[0]);
    c->values[g & 1][seg_knob(&s, name)->index] = value;
    c->writer[g & 1] = (struct hak_writer){ getpid(), getuid(), 0, revert_ns };
    __atomic_store_n(&c->generation, g, __ATOMIC_RELEASE);
}

static uint64_t boot_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Long enough for a loaded machine to take the request before its time is over. */
#define A_WHILE_NS UINT64_C(1500000000)

static void sleep_until(uint64_t ns)
{
    struct timespec at = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
    while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &at, NULL))
        ;
}

static void test_revert(void)
{
    uint64_t due = boot_ns() + A_WHILE_NS;
    hak_set_all((struct hak_setting[]){ { "os.decay_ms", 100 }, { "pool.lru_max", 10 } }, 2);
    ask_for_a_while("os.decay_ms", 200, due);
    pairs(64, 2048);
    is(value_of("os.decay_ms"), 200, "a tool sets a knob for a while");
    is(hak_set("pool.lru_max", 20), 0, "meanwhile the process sets another one");
    ok(seg_read(&s.state->revert_ns), "the revert stays pending");
    sleep_until(due);
    pairs(64, 2048);
    is(value_of("os.decay_ms"), 100, "it comes");
    is(value_of("pool.lru_max"), 20, "and leaves alone what the process has set");
    due = boot_ns() + A_WHILE_NS;
    ask_for_a_while("os.decay_ms", 200, due);
    pairs(64, 2048);
    is(hak_set("os.decay_ms", 300), 0, "the process sets the very knob that is to be reverted");
    sleep_until(due);
    pairs(64, 2048);
    ok(value_of("os.decay_ms") == 300 && !seg_read(&s.state->revert_ns), "and keeps what it has set");
}

/* A tool that holds the lock of all writers. */
static int holder(void)
{
    char name[128];
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    seg_name(getpid(), name, sizeof name);
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fcntl(fd, F_OFD_SETLKW, &lock))
        bail("%s: %m", name);
    return fd;
}

static int left_open(void)
{
    int n = 0;
    for (int fd = 0; fd < 1000; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static int left_mapped(void)
{
    char line[512];
    int n = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "/dev/shm/hakmem.") && strstr(line, "rw-s");
    if (f)
        fclose(f);
    return n;
}

static void test_busy(void)
{
    uint64_t epoch = changes(), g = seg_read(&s.control->generation);
    int fds = left_open(), maps = left_mapped(), fd = holder();
    is(hak_set("pool.lru_max", 30), EBUSY, "another writer holds the lock for ever");
    is(changes(), epoch, "nothing is changed");
    is(seg_read(&s.control->generation), g, "or asked for");
    close(fd);
    is(hak_set("pool.lru_max", 30), 0, "once it is gone");
    is(left_open(), fds, "no descriptor is left open");
    is(left_mapped(), maps, "nor a mapping that can be written to");

    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    is(hak_set("pool.lru_max", 31), EBUSY, "no descriptor is to be had");
    setrlimit(RLIMIT_NOFILE, &before);
    is(value_of("pool.lru_max"), 30, "nothing is changed");
    close(fd = holder());
}

static volatile int result = -1;

static void *set_while_busy(void *arg)
{
    result = hak_set("pool.lru_max", 31);
    pause();
    return arg;
}

/* A thread that is cancelled while it waits for the lock comes back from there, having changed
 * nothing and left nothing behind. */
static void test_cancel(void)
{
    pthread_t t;
    void *end;
    int fds = left_open(), fd = holder();
    if (pthread_create(&t, NULL, set_while_busy, NULL) || pthread_cancel(t))
        bail("no thread to cancel");
    pthread_join(t, &end);
    close(fd);
    is(result, EBUSY, "a thread that is cancelled while it waits for the lock");
    ok(end == PTHREAD_CANCELED, "ends after hak_set has returned");
    is(left_open(), fds, "and leaves no descriptor open");
}

static void test_standard_files(void)
{
    int kept = dup(0);
    close(0);
    is(hak_set("pool.lru_max", 32), 0, "a set while descriptor 0 is closed");
    ok(fcntl(0, F_GETFD) < 0, "it stays so");
    dup2(kept, 0);
    close(kept);
}

/* --- processes --------------------------------------------------------------------------------- */

static int child_sets(void)
{
    struct seg own;
    if (seg_open(&own, getpid()) || hak_set("pool.lru_max", 40))
        return 1;
    return own.state->generation == 1 && seg_value(&own, "pool.lru_max") == 40 ? 0 : 2;
}

/* Neither the handlers of fork nor a slow path has run in it. */
static int bare_child(void)
{
    static struct hak_counter counters[200];
    pid_t pid = (pid_t)syscall(SYS_fork);
    int status;
    if (pid == 0) {
        size_t n = hak_counters(counters, 200);
        hak_purge();
        _exit(n && value_of("pool.lru_max") == 32 && !hak_set("pool.lru_max", 41)
              && value_of("pool.lru_max") == 41 ? 0 : 1);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 99;
    remove_segment(pid);
    return status;
}

static int other_user(void)
{
    if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
        return 77;
    if (hak_set("pool.lru_max", 42) || value_of("pool.lru_max") != 42)
        return 1;
    return 0;
}

static int other_root(void)
{
    if (chroot("/proc/self/fdinfo"))
        return 77;
    return hak_set("pool.lru_max", 43) || value_of("pool.lru_max") != 43;
}

/* No lock is to be had, ever. */
static int sandboxed(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { 4, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        return 77;
    return hak_set("pool.lru_max", 44) || value_of("pool.lru_max") != 44;
}

static void test_processes(void)
{
    uint64_t epoch = changes();
    is_str(in_child(child_sets), "exit 0", "a child sets its own knobs, in its own segment");
    is(bare_child(), 0, "so does one that skipped the handlers of fork");
    is(changes(), epoch, "not its parent's");
    is_str(in_child(sandboxed), "exit 0", "where a sandbox forbids the lock, it does without");
    if (geteuid() == 0) {
        is_str(in_child(other_user), "exit 0", "a process that has become another user");
        is_str(in_child(other_root), "exit 0", "and one that has another root can set, too");
    }
}

/* In a process of its own without a segment. */
static int without_segment(void)
{
    uint64_t lru;
    struct hak_setting two[] = { { MASK, 0x2 }, { "pool.lru_max", 5 } };
    static struct hak_counter c[200];
    if (!seg_open(&s, getpid()))
        return 2;
    if (hak_set_all(two, 2) || value_of(MASK) != 0x2 || hak_get("pool.lru_max", &lru) || lru != 5)
        return 3;
    if (hak_set("export", 1) != EPERM || hak_set(MASK, 0x100) != EINVAL || value_of(MASK) != 0x2)
        return 4;
    pairs(16, 100);
    size_t n = hak_counters(c, 200), hits = 0;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(c[i].name, "heap_v2_hits"))
            hits = c[i].by_class[C1];
    return with_counters() && hits < 98 ? 5 : 0;
}

static int run_without_segment(void)
{
    setenv("HAKMEM_EXPORT", "0", 1);
    remove_segment(getpid());           /* the one that it has had as a child of fork */
    execl("/proc/self/exe", "inside", "private", NULL);
    return 99;
}

/* --- threads and signals ----------------------------------------------------------------------- */

enum { SETTERS = 4 };
static const char *const own[SETTERS] = {
    "tiny.refill.count_hot", "tiny.refill.count_mid", "tiny.bump_chunk", "os.huge_cache",
};
static long rounds;

/* What a tool does, in a loop that is as tight. */
static void *tool(void *arg)
{
    intptr_t lost = 0;
    (void)arg;
    for (long n = 1; n <= rounds; n++) {
        uint64_t value = 1 + (uint64_t)n % 200;
        int fd = holder();
        uint64_t g = seg_set(&s, "pool.lru_max", value);
        close(fd);
        while ((int64_t)(seg_read(&s.state->examined) - g) < 0)
            pairs(64, 100);
        lost += value_of("pool.lru_max") != value;
    }
    return (void *)lost;
}

static void *setter(void *arg)
{
    intptr_t i = (intptr_t)arg, lost = 0;
    if (i == SETTERS)
        return tool(NULL);
    for (long n = 1; n <= rounds; n++) {
        uint64_t value = 1 + (uint64_t)n % 200;
        int why;
        while ((why = hak_set(own[i], value)) == EBUSY)
            ;
        lost += why != 0 || value_of(own[i]) != value;
        if (n % 16 == 0)
            pairs(64, 100);
    }
    return (void *)lost;
}

static void test_threads(void)
{
    rounds = count_of("HAK_ROUNDS", 500, 5000);
    uint64_t g = seg_read(&s.state->generation);
    is(run_threads(SETTERS + 1, setter, NULL), 0,
       "%d threads and a tool, %ld sets each of a knob of its own: none is lost", SETTERS, rounds);
    is(seg_read(&s.state->generation) - g, (SETTERS + 1) * (uint64_t)rounds, "each was a generation");
    is(seg_global(&s, "generations_refused"), 0, "none was refused");
}

static volatile sig_atomic_t handled, wrong_in_handler;

/* What may be called here looks at tables that the interrupted code may be writing. */
static void on_signal(int sig)
{
    static struct hak_counter c[200];
    (void)sig;
    uint64_t value = value_of("tiny.bump_chunk");
    size_t n = hak_counters(c, 200);
    wrong_in_handler += value < 1 || value > 256 || n == 0 || n > 200 || !hak_knob(0) || !hak_version();
    handled++;
}

static void test_handler(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    struct itimerspec often = { { 0, 100000 }, { 0, 100000 } };
    sigaction(SIGUSR1, &action, NULL);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &often, NULL))
        bail("timer: %m");
    int lost = 0;
    for (uint64_t n = 0; handled < 200 || n < 200; n++) {
        lost += hak_set("tiny.bump_chunk", 1 + n % 256) || value_of("tiny.bump_chunk") != 1 + n % 256;
        pairs(64, 100);
    }
    timer_delete(timer);
    is(wrong_in_handler, 0, "hak_get and hak_counters in a signal handler, 200 times");
    is(lost, 0, "and no set was lost");
}

/* --- counters ---------------------------------------------------------------------------------- */

static const struct hak_counter *find(const struct hak_counter *c, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(c[i].name, name))
            return &c[i];
    bail("no counter %s", name);
}

/* Of each counter that tools total, by the segment: how many differ. */
static int against_segment(const struct hak_counter *c, size_t n)
{
    int wrong = 0;
    unsigned found = 0;
    for (unsigned i = 0; i < s.h->stat_count; i++) {
        const struct hak_stat_desc *d = (void *)(s.base + s.h->stat_off + (size_t)i * s.h->stat_size);
        if (d->scope > HAK_SCOPE_BIN)
            continue;
        found++;
        const struct hak_counter *mine = find(c, n, d->name);
        uint64_t sum = 0;
        for (unsigned cls = 0; d->scope == HAK_SCOPE_BIN && cls < HAK_SIZE_CLASSES; cls++) {
            wrong += mine->by_class[cls] != seg_class(&s, d->name, cls);
            sum += mine->by_class[cls];
        }
        if (d->scope == HAK_SCOPE_THREAD)
            sum = seg_thread(&s, d->name);
        else if (d->scope == HAK_SCOPE_GLOBAL)
            sum = seg_global(&s, d->name);
        if (mine->value != sum)
            diag("%s: %llu, not %llu", d->name, (unsigned long long)mine->value, (unsigned long long)sum);
        wrong += mine->value != sum;
    }
    is(n, found, "every counter that tools total");
    return wrong;
}

static uint64_t allocations(const struct hak_counter *c, size_t n, unsigned cls)
{
    return find(c, n, "heap_v2_hits")->by_class[cls] + find(c, n, "fast_cache_hits")->by_class[cls]
        + find(c, n, "slow_allocs")->by_class[cls];
}

static void test_counters(void)
{
    static struct hak_counter a[200], b[200];
    size_t n = hak_counters(NULL, 0);
    ok(n > 20 && n <= 200, "hak_counters says how many there are: %zu", n);
    is(hak_counters(a, 200), n, "and fills them in");
    is(against_segment(a, n), 0, "each as the segment has it");
    b[3].name = "untouched";
    hak_counters(b, 3);
    ok(!strcmp(b[2].name, a[2].name) && !strcmp(b[3].name, "untouched"), "no more than there is room for");
    hak_counters(a, n);
    pairs(16, 1000);
    hak_counters(b, n);
    is(allocations(b, n, C1) - allocations(a, n, C1), with_counters() ? 1000 : 0, "1,000 calls of malloc(16)");
}

/* --- race -------------------------------------------------------------------------------------- */

static volatile sig_atomic_t over;
static struct racer { const char *first, *second; uint64_t top, sets, value; } racers[] = {
    { "tiny.refill.count_mid", "tiny.bump_chunk", 64, 0, 0 },
    { "pool.lru_max", "pool.empty_slabs", 64, 0, 0 },
};

static void *racer(void *arg)
{
    struct racer *r = &racers[(intptr_t)arg];
    while (!over) {
        uint64_t value = 1 + (r->sets + 1) % r->top;
        int why = hak_set_all((struct hak_setting[]){ { r->first, value }, { r->second, value } }, 2);
        if (why && why != EBUSY)
            return (void *)1;
        if (!why) {
            r->sets++;
            r->value = value;
        }
        pairs(64, 500);
        usleep(200);
    }
    return NULL;
}

static void end_race(int sig)
{
    (void)sig;
    over = 1;
}

static int race(void)
{
    signal(SIGUSR1, end_race);
    if (run_threads(2, racer, NULL))
        return 2;
    for (int i = 0; i < 2; i++)
        printf("%llu %llu %s %s\n", (unsigned long long)racers[i].sets,
               (unsigned long long)racers[i].value, racers[i].first, racers[i].second);
    fflush(stdout);
    pause();                            /* the segment stays for who asked */
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "race"))
        return race();
    run_under_hakmem(argv);
    if (argc > 1 && !strcmp(argv[1], "private"))
        return without_segment();
    seg_own(&s);
    pairs(16, 1);
    test_list();
    test_set();
    test_errors();
    test_pending();
    test_revert();
    test_busy();
    test_cancel();
    test_standard_files();
    test_processes();
    is_str(in_child(run_without_segment), "exit 0", "without a segment it changes the private table");
    test_threads();
    test_handler();
    test_counters();
    return tap_done();
}
