/* fork.c: a child may allocate at once, whatever the parent's threads were doing: after fork, in
 * atfork handlers, after fork in a signal handler that interrupted malloc, after _Fork and a raw
 * clone, which call no handlers, and after exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include "tests/seg.h"

enum { THREADS = 3, OWN = 64 };

/* Blocks that the parent's threads hold; children check and free what they inherit. */
static unsigned char *held[THREADS + 1][OWN];
static atomic_bool stop;

static size_t size_of(int i) { return ((size_t)24 << i % 13) + (size_t)i; }

/* A block is filled before it is in sight: the fork may come at any time. */
static void hold(int who)
{
    for (int i = 0; i < OWN; i++)
        if (!held[who][i]) {
            unsigned char *p = malloc(size_of(i));
            memset(p, who * 50 + i, size_of(i));
            __atomic_store_n(&held[who][i], p, __ATOMIC_RELEASE);
        }
}

/* What a child does with memory; the number of faults.  No stdio: it may be a signal handler's. */
static int use_memory(void)
{
    int bad = 0;
    for (int who = 0; who <= THREADS; who++)
        for (int i = 0; i < OWN; i++) {
            if (!held[who][i])
                continue;
            bad += held[who][i][size_of(i) - 1] != (unsigned char)(who * 50 + i);
            free(held[who][i]);
            held[who][i] = NULL;
        }
    for (int round = 0; round < 2; round++) {
        hold(0);
        for (int i = 0; i < OWN; i++) {
            bad += held[0][i][0] != (unsigned char)i;
            free(realloc(held[0][i], size_of(i + 1)));
            held[0][i] = NULL;
        }
    }
    return bad;
}

static void *busy(void *arg)
{
    uint64_t seed = (uint64_t)(intptr_t)arg;
    void *p[100] = { NULL };
    hold((int)(intptr_t)arg);
    while (!atomic_load(&stop)) {
        int i = (int)(rnd(&seed) % 100);
        free(p[i]);
        p[i] = malloc(rnd(&seed) % 64 ? rnd(&seed) % 2000 : rnd(&seed) % 300000);
    }
    for (int i = 0; i < 100; i++)
        free(p[i]);
    return NULL;
}

/* Threads whose only purpose is to be in the middle of malloc or free when another forks. */
static pthread_t busy_thread[THREADS];
static void start_busy(void)
{
    atomic_store(&stop, 0);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&busy_thread[i], NULL, busy, (void *)(intptr_t)(i + 1)))
            bail("pthread_create: %m");
}
static void end_busy(void)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(busy_thread[i], NULL);
}

/* How a child ended: 0 as it should. */
static int wait_for(pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        bail("fork or waitpid: %m");
    if (status)
        diag("child %d: %s", (int)pid, ending(status));
    return status;
}

/* --- fork -------------------------------------------------------------------------------------- */

static void *nothing(void *arg) { free(malloc(100)); return arg; }

static void child_uses_all(int n)
{
    pthread_t t;
    alarm(60);                                  /* a child that hangs is a signal 14 */
    int bad = use_memory();
    if (n % 10 == 0)
        bad += pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL);
    if (n % 100 == 0) {
        pid_t pid = fork();
        if (pid == 0)
            exit(use_memory() != 0);
        bad += wait_for(pid) != 0;
    }
    exit(bad != 0);
}

static void test_forks(void)
{
    long n = count_of("HAK_FORKS", 1000, 1000);
    int bad = 0;
    start_busy();
    for (int i = 0; i < n && bad < 5; i++) {
        pid_t pid = fork();
        if (pid == 0)
            child_uses_all(i);
        bad += wait_for(pid) != 0;
    }
    end_busy();
    is(bad, 0, "%ld forks while %d threads allocate: each child uses memory", n, THREADS);
}

static void *fork_often(void *arg)
{
    int bad = 0;
    (void)arg;
    for (int i = 0; i < 25; i++) {
        void *p = malloc((size_t)i * 100 + 1);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(60);
            free(p);
            exit(use_memory() != 0);
        }
        bad += wait_for(pid) != 0;
        free(p);
    }
    return (void *)(intptr_t)bad;
}

static void test_forks_by_all(void)
{
    start_busy();
    is(run_threads(4, fork_often, NULL), 0, "a hundred forks by four threads at once");
    end_busy();
}

/* --- stdio's locks: tst-malloc-fork-deadlock of glibc -------------------------------------------- */

static void *use_stdio(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        FILE *f = fopen("/dev/null", "w");
        if (!f)
            return (void *)1;
        fprintf(f, "%d\n", 1);
        fflush(NULL);
        fclose(f);
    }
    return NULL;
}

static void test_stdio(void)
{
    pthread_t t;
    int bad = 0;
    start_busy();
    pthread_create(&t, NULL, use_stdio, NULL);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(60);
            FILE *f = fopen("/dev/null", "w");
            exit(!f || fclose(f));
        }
        bad += wait_for(pid) != 0;
    }
    end_busy();
    void *r;
    pthread_join(t, &r);
    is(bad + (int)(intptr_t)r, 0, "a hundred forks while another thread is in stdio and malloc");
}

/* --- atfork handlers that allocate ------------------------------------------------------------- */

static int handlers_allocate, handler_calls, handler_faults;

static void handler(void)
{
    if (!handlers_allocate)
        return;
    for (int i = 0; i < 20; i++) {
        unsigned char *p = malloc(size_of(i));
        if (p)
            memset(p, 1, size_of(i));
        else
            handler_faults++;
        free(p);
    }
    handler_calls++;
}

/* Before any constructor, the library's among them, so that its child handler runs before ours. */
static void register_first(void)
{
    pthread_atfork(handler, handler, handler);
}
__attribute__((section(".preinit_array"), used))
static void (*const first[])(void) = { register_first };

static void test_handlers(void)
{
    int bad = 0;
    pthread_atfork(handler, handler, handler);
    start_busy();
    handlers_allocate = 1;
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(60);
            exit(handler_faults || use_memory());
        }
        bad += wait_for(pid) != 0;
    }
    handlers_allocate = 0;
    end_busy();
    is(bad + handler_faults, 0, "atfork handlers allocate, registered before ours and after");
    is(handler_calls, 400, "all of them were called");
}

/* --- children that _exit, and so leave their segment ------------------------------------------- */

enum { QUICK = 300 };
static pid_t quick[QUICK];
static volatile sig_atomic_t quick_made, quick_bad;

static _Noreturn void quick_child(void)
{
    alarm(60);
    _exit(use_memory() != 0);
}

/* Safe in a signal handler: what it notes is looked at later. */
static void note_quick(pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        quick_bad++;
    quick[quick_made++] = pid;
}

static void remove_segments(void)
{
    for (int i = 0; i < quick_made; i++)
        remove_segment(quick[i]);
    quick_made = quick_bad = 0;
}

static void on_timer(int sig)
{
    int e = errno;
    (void)sig;
    if (quick_made < QUICK) {
        pid_t pid = fork();
        if (pid == 0)
            quick_child();
        note_quick(pid);
    }
    errno = e;
}

static void test_signal_handler(void)
{
    struct itimerval often = { { 0, 700 }, { 0, 700 } }, never = { { 0, 0 }, { 0, 0 } };
    signal(SIGALRM, on_timer);
    setitimer(ITIMER_REAL, &often, NULL);
    for (unsigned i = 0; quick_made < QUICK; i++) {
        void *p = malloc(i % 3000), *q = malloc(i % 70000);
        p = realloc(p, i % 5000);
        free(q);
        free(p);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    is(quick_bad, 0, "%d forks in a signal handler that interrupted malloc", QUICK);
    remove_segments();
}

static pid_t raw_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void test_without_handlers(pid_t (*start)(void), const char *name)
{
    start_busy();
    for (int i = 0; i < 100; i++) {
        pid_t pid = start();
        if (pid == 0)
            quick_child();
        note_quick(pid);
    }
    end_busy();
    is(quick_bad, 0, "a hundred children of %s while threads allocate", name);
    remove_segments();
}

/* --- mappings ---------------------------------------------------------------------------------- */

enum { SLEEPERS = 20, MAPPINGS = 300 };
static unsigned char *sleepers_block[SLEEPERS];
static pthread_barrier_t all_there, go_on;

static void *sleeper(void *arg)
{
    sleepers_block[(intptr_t)arg] = malloc(5000);
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&go_on);
    return NULL;
}

static void *frees_sleepers(void *arg)
{
    for (int i = 0; i < SLEEPERS; i++)
        free(sleepers_block[i]);
    return arg;
}

/* Of the parent's heaps some memory is not inherited.  What a child maps may lie there, and must stay as it is,
 * whichever of the heaps are used.  The number of faults. */
static int use_mappings(void)
{
    static unsigned char *mapped[MAPPINGS];
    pthread_t thread[SLEEPERS];
    int bad = 0;
    for (int i = 0; i < MAPPINGS; i++) {
        size_t bytes = (size_t)4096 << i % 4;
        mapped[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(mapped[i], i, bytes);
    }
    frees_sleepers(NULL);
    bad += use_memory();
    for (int i = 0; i < SLEEPERS; i++)
        bad += pthread_create(&thread[i], NULL, nothing, NULL) != 0;
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < MAPPINGS; i++)
        for (size_t k = 0; k < (size_t)4096 << i % 4; k += 64)
            bad += mapped[i][k] != (unsigned char)i;
    return bad;
}

static void test_mappings(pid_t (*start)(void), const char *name)
{
    pthread_t thread[SLEEPERS];
    pthread_barrier_init(&all_there, NULL, SLEEPERS + 1);
    pthread_barrier_init(&go_on, NULL, SLEEPERS + 1);
    for (int i = 0; i < SLEEPERS; i++)
        if (pthread_create(&thread[i], NULL, sleeper, (void *)(intptr_t)i))
            bail("pthread_create: %m");
    pthread_barrier_wait(&all_there);
    pid_t pid = start();
    if (pid == 0) {
        alarm(60);
        _exit(use_mappings() != 0);
    }
    is(wait_for(pid), 0, "what a child of %s maps is its own", name);
    pthread_barrier_wait(&go_on);
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(thread[i], NULL);
    frees_sleepers(NULL);
    remove_segment(pid);
}

/* Whatever call of the allocator comes first in a child that no handler has prepared.  0: it does what it should. */
static int first_call(int which, void *small, void *large)
{
    static volatile size_t too_much = SIZE_MAX / 2 + 1;
    switch (which) {
    case 0:  return realloc(small, 101) != small;
    case 1:  return (large = realloc(large, 299990)) == NULL;
    case 2:  return malloc_usable_size(small) < 100 || malloc_usable_size(large) < 300000;
    case 3:  return malloc(too_much) != NULL || errno != ENOMEM;
    case 4:  return calloc(too_much, 16) != NULL;
    case 5:  return reallocarray(small, too_much, 16) != NULL;
    case 6:  return aligned_alloc(4096, 8192) == NULL;
    case 7:  return posix_memalign(&small, 64, 64);
    case 8:  free(small); return 0;
    case 9:  free(large); return 0;
    case 10: return realloc(small, 5000) == NULL;
    case 11: return malloc(100) == NULL;
    default: return -1;
    }
}

static void test_first_calls(pid_t (*start)(void), const char *name)
{
    void *small = malloc(100), *large = malloc(300000);
    for (int which = 0; which < 12; which++) {
        pid_t pid = start();
        if (pid == 0) {
            alarm(60);
            _exit(first_call(which, small, large) || use_memory());
        }
        note_quick(pid);
    }
    is(quick_bad, 0, "whatever a child of %s calls first", name);
    free(small);
    free(large);
    remove_segments();
}

/* --- counters of parent and child -------------------------------------------------------------- */

enum { C3 = 3, C7 = 7, MINE = 10 };

static uint64_t total(const struct seg *s, const char *name)
{
    uint64_t sum = 0;
    for (unsigned c = 0; c < HAK_CLASSES; c++)
        sum += seg_class(s, name, c);
    return sum;
}

static uint64_t allocs(const struct seg *s, unsigned c)
{
    return seg_class(s, "heap_v2_hits", c) + seg_class(s, "fast_cache_hits", c)
         + seg_class(s, "slow_allocs", c);
}

static uint64_t frees(const struct seg *s, unsigned c)
{
    return seg_class(s, "heap_v2_pushes", c) + seg_class(s, "fast_cache_pushes", c)
         + seg_class(s, "slow_frees", c) + seg_class(s, "remote_frees", c);
}

static uint64_t inherited(const struct seg *s, unsigned c)
{
    const struct hak_bin_desc *bin = (void *)(s->base + s->h->bin_off);
    const uint64_t *row = (void *)(s->base + s->h->state_off + s->h->inherited_off);
    uint64_t sum = 0;
    for (unsigned i = 0; i < s->h->bin_count; i++)
        if (bin[i].cls == c)
            sum += row[i];
    return sum;
}

static int child_counts(uint64_t live_in_parent)
{
    struct seg s;
    if (seg_open(&s, getpid()))
        return 1;
    if (allocs(&s, C7) || frees(&s, C7))
        return 2;
    if (inherited(&s, C7) != live_in_parent)
        return 3;
    for (int i = 0; i < MINE; i++)
        memset(malloc(1000), 1, 1000);
    if (allocs(&s, C7) != MINE || frees(&s, C7) != 0)
        return 4;
    for (int i = 0; i < 10000; i++)                     /* ticks: what was on its way comes home */
        free(malloc(64));
    /* Its caches may hold blocks of a slab that another thread of the parent has taken over: these it frees remotely. */
    return total(&s, "remote_drained") <= total(&s, "remote_frees") ? 0 : 5;
}

static void *of_other[300];

static void *allocate_for_other(void *arg)
{
    for (int i = 0; i < 300; i++)
        of_other[i] = malloc(1000);
    return arg;
}

static void test_counters(void)
{
    struct seg s;
    seg_own(&s);
    hold(0);
    run_threads(1, allocate_for_other, NULL);
    for (int i = 0; i < 200; i++)                       /* some on their way back when the process forks */
        free(of_other[i]);
    uint64_t a = allocs(&s, C7), f = frees(&s, C7), all = total(&s, "slow_allocs");
    char name[128], childs[128];
    seg_name(getpid(), name, sizeof name);
    pid_t pid = fork();
    if (pid == 0)
        exit(child_counts(a - f));
    int status;
    siginfo_t info;
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    seg_name(pid, childs, sizeof childs);
    waitpid(pid, &status, 0);
    is_str(ending(status), "exit 0",
           "a child has a segment of its own: counters from 0, what lives there, then its calls");
    is(access(childs, F_OK), -1, "its name goes when it exits");
    is(access(name, F_OK), 0, "the parent's stays");

    pid_t (*const start[])(void) = { fork, _Fork, raw_clone };
    for (int i = 0; i < 3; i++) {
        pid = start[i]();
        if (pid == 0)
            quick_child();
        note_quick(pid);
    }
    is(quick_bad, 0, "children of fork, _Fork and clone use memory");
    ok(allocs(&s, C7) == a && frees(&s, C7) == f && total(&s, "slow_allocs") == all,
       "and no counter of the parent moves by that");
    remove_segments();
}

/* A child obeys requests of its own, whatever was asked of its parent, and no others. */
static void use_a_while(void)
{
    for (int i = 0; i < 5000; i++)
        free(malloc(64));
}

static void ask(const struct seg *s)
{
    s->control->purge++;
    s->control->walk++;
    use_a_while();
}

static int child_asked(void)
{
    struct seg s;
    if (seg_open(&s, getpid()))
        return 1;
    ask(&s);
    if (s.state->purge_done != 1 || seg_slot_of(&s, getpid())->walk != 1)
        return 2;
    return seg_class(&s, "heap_v2_flushed", C3) ? 0 : 3;
}

static int child_not_asked(void)
{
    struct seg s;
    if (seg_open(&s, getpid()))
        return 1;
    use_a_while();
    return seg_class(&s, "heap_v2_flushed", C3) == 0 ? 0 : 2;
}

static void test_requests(void)
{
    struct seg s;
    seg_own(&s);
    ask(&s);
    is(s.state->purge_done, 1, "a purge is done");
    is_str(in_child(child_asked), "exit 0", "a child carries out the first purge and walk asked of it");
    is_str(in_child(child_not_asked), "exit 0", "and not again what its parent was asked for");
}

/* --- exec -------------------------------------------------------------------------------------- */

/* In the program that replaced another one: pid and start time are those of the old one's segment. */
static int after_exec(void)
{
    struct seg s;
    if (seg_open(&s, getpid()) || s.h->ready != 1 || s.h->pid != getpid())
        return 1;
    uint64_t before = allocs(&s, C7);
    if (before >= 1000)
        return 2;                               /* the old program's counters */
    void *p = malloc(1000);
    return (allocs(&s, C7) == before + 1 || !with_counters()) && p ? 0 : 3;
}

static void test_exec(char **argv)
{
    char *again[] = { argv[0], "after-exec", NULL };
    int bad = 0;
    start_busy();
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (int j = 0; j < 1000; j++)
                memset(malloc(1000), 1, 1000);
            execv("/proc/self/exe", again);
            _exit(99);
        }
        bad += wait_for(pid) != 0;
    }
    is(bad, 0, "the segment after exec is the new program's");
    extern char **environ;
    for (int i = 0; i < 20; i++) {
        pid_t pid;
        bad += posix_spawn(&pid, "/proc/self/exe", NULL, NULL, again, environ) || wait_for(pid);
    }
    end_busy();
    is(bad, 0, "posix_spawn while threads allocate");
}

int main(int argc, char **argv)
{
    run_under_hakmem(argv);
    if (argc > 1 && !strcmp(argv[1], "after-exec"))
        return under_hakmem ? after_exec() : 0;
    hold(0);
    test_forks();
    test_forks_by_all();
    test_stdio();
    test_handlers();
    test_mappings(fork, "fork");
    if (under_hakmem) {                         /* glibc and jemalloc dead-lock in these */
        test_signal_handler();
        test_without_handlers(_Fork, "_Fork");
        test_without_handlers(raw_clone, "a raw clone");
        test_mappings(_Fork, "_Fork");
        test_mappings(raw_clone, "a raw clone");
        test_first_calls(_Fork, "_Fork");
        test_first_calls(raw_clone, "a raw clone");
    }
    if (with_counters()) {
        test_counters();
        test_requests();
    }
    test_exec(argv);
    return tap_done();
}
