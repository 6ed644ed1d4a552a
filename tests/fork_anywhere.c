/* fork_anywhere.c: fork at every instruction of malloc and free, of fork itself, and of what a tool asks for; and malloc
 * at those of fork.
 *
 * A signal handler that forks may interrupt malloc between any two instructions.  Here the processor's
 * trap flag raises SIGTRAP after each one, and the handler forks: whatever half of an update the child
 * finds, no block that is in use is ever handed out again, and nothing hangs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <ucontext.h>
#include "tests/seg.h"

#ifdef __x86_64__

enum { LIVE = 64, FRESH = 600 };
static const size_t size = 64;

static struct { unsigned char *p; size_t n; } live[LIVE];      /* blocks in use, full of their index */
static void *moving[FRESH];             /* blocks that come and go while we step */

static long steps, every;               /* instructions so far; fork at each `every`th of them, 0: never */
static int forks, bad_children, bad_status;     /* of the last bad one */
static void *bad_at;                     /* the instruction that it was forked before */
static pid_t children[4096];
static volatile int goes_on, is_child;  /* children go on with what was interrupted; this is one */

#define TRAP_ON()  __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "cc", "memory")
#define TRAP_OFF() __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "cc", "memory")

/* --- handlers of fork that are not ours, and allocate ------------------------------------------------
 *
 * Those that were registered before the library's run after it in the parent before a fork, and before it in both
 * afterwards.  Steps end with the one and go on with the other: in between libc may block signals. */

enum { HELD = 6 };
static unsigned char *held[HELD];
static volatile enum { NOTHING, PAIR, MUCH } others_allocate;
static volatile int others_are_stepped;         /* through the pair of the first of them, and nothing else is */

static size_t held_size(int i) { return i % 2 ? size : 1000; }

static void others_before(void)
{
    if (!others_allocate)
        return;
    for (int i = 0; i < HELD && others_allocate == MUCH; i++)
        held[i] = memset(malloc(held_size(i)), 0xA0 + i, held_size(i));
    if (others_are_stepped && !is_child)
        TRAP_ON();
    free(malloc(size));
    TRAP_OFF();
}

static int held_is_whole(void)
{
    for (int i = 0; i < HELD; i++)
        for (size_t j = 0; held[i] && j < held_size(i); j++)
            if (held[i][j] != 0xA0 + i)
                return 0;
    return 1;
}

static void others_in_child(void)
{
    if (others_allocate)
        free(malloc(size));
}

static void others_in_parent(void)
{
    if (!others_allocate)
        return;
    if (!is_child && !others_are_stepped)
        TRAP_ON();
    free(malloc(size));
    for (int i = 0; i < HELD; i++) {
        unsigned char *p = held[i];
        held[i] = NULL;
        free(p);
    }
}

static void register_others(void) { pthread_atfork(others_before, others_in_parent, others_in_child); }
__attribute__((section(".preinit_array"), used)) static void (*before_all)(void) = register_others;

/* Of a bin each. */
static const size_t sizes[] = {
    48, 80, 96, 112, 160, 192, 224, 320, 384, 448, 640, 768, 896, 1088, 1280, 1536, 1792, 2624, 3648, 5184,
    6208, 7232, 8256, 10304, 12352, 14400, 20544, 24640, 16, 24, 256, 1000, 3000, 4096
};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* In the child: allocate much, of the bin that was interrupted and of others. */
static int use_memory(void)
{
    static unsigned char *fresh[FRESH];
    for (int i = 0; i < FRESH; i++) {
        size_t n = i % 4 ? size : sizes[i / 4 % SIZES];
        fresh[i] = malloc(n);
        if (!fresh[i])
            return 1;
        memset(fresh[i], 0xEE, n < 100000 ? n : 100000);
    }
    for (int i = 0; i < LIVE; i++)
        for (size_t j = 0; j < live[i].n; j++)
            if (live[i].p[j] != i)
                return 2;                       /* it was handed out again */
    if (!held_is_whole())
        return 4;
    for (int i = 0; i < FRESH; i++)
        fresh[i][0] = (unsigned char)i;
    for (int i = 0; i < FRESH; i++)
        if (fresh[i][0] != (unsigned char)i)
            return 3;                           /* one block twice */
    for (int i = 0; i < FRESH; i++)
        free(fresh[i]);
    for (int i = 0; i < LIVE; i++)
        free(live[i].p);
    return 0;
}

/* A child's end; what it left would be swept by the threads that we step through. */
static void leave(int status)
{
    remove_segment(getpid());
    _exit(status);
}

/* --- children that use large blocks in the handler, and go on with what was interrupted ------------------ */

enum { LARGE = 40000, NESTED = 3 };
static unsigned char *nested[NESTED], *spare;
static volatile enum { NONE, LARGE_BLOCKS, NEW_BINS } nests;

static void nest_large(void)
{
    for (int i = 0; i < NESTED; i++) {
        if (i == NESTED - 1)
            free(spare);
        nested[i] = malloc(LARGE);
        nested[i][0] = nested[i][LARGE - 1] = (unsigned char)(0xB0 + i);
    }
    free(nested[0]);
    nested[0] = NULL;
}

/* --- or bins that nobody has used, while another is used for the first time -------------------------------- */

enum { MANY = 150 };                            /* FastCache outgrows its first array */
static const size_t nest_bins[] = { 2100, 3100 }, new_bins[] = { 4600, 16400, 28700 };

static void new_bin(void)
{
    static int next;
    free(malloc(new_bins[next++]));
}

/* Each block of the bins is whole, and in use once. */
static int are_whole(const size_t *bin, int bins)
{
    static size_t *p[3 * MANY];
    int bad = 0;
    for (int i = 0; i < bins * MANY; i++)
        if ((p[i] = malloc(bin[i % bins])))
            p[i][0] = p[i][bin[i % bins] / sizeof *p[i] - 1] = (size_t)i;
    for (int i = 0; i < bins * MANY; i++)
        bad += !p[i] || p[i][0] != (size_t)i || p[i][bin[i % bins] / sizeof *p[i] - 1] != (size_t)i;
    for (int i = 0; i < bins * MANY; i++)
        free(p[i]);
    return !bad;
}

static int nested_are_whole(void)
{
    if (nests == NEW_BINS && !(are_whole(nest_bins, 2) && are_whole(new_bins, 3)))
        return 0;
    for (int i = 0; i < NESTED; i++)
        if (nested[i] && (nested[i][0] != 0xB0 + i || nested[i][LARGE - 1] != 0xB0 + i))
            return 0;
    return 1;
}

/* --- handlers that interrupt fork, and allocate --------------------------------------------------------- */

enum { KEPT = 3 };
static const size_t kept_size[KEPT] = { 200, 300, 1000 };
static unsigned char *kept[KEPT];
static volatile long keep_at;                   /* at this instruction; 0: never */

static void keep(void)
{
    for (int i = 0; i < KEPT; i++)
        if ((kept[i] = malloc(kept_size[i])))
            memset(kept[i], 0xC0 + i, kept_size[i]);
}

/* Nothing else is given their memory. */
static int kept_are_whole(void)
{
    enum { N = 200 };
    static unsigned char *p[KEPT][N];
    int bad = 0;
    for (int i = 0; i < KEPT; i++)
        for (int j = 0; j < N; j++)
            if ((p[i][j] = malloc(kept_size[i])))
                memset(p[i][j], 0xEE, kept_size[i]);
    for (int i = 0; i < KEPT; i++) {
        for (size_t j = 0; kept[i] && j < kept_size[i]; j++)
            bad |= kept[i][j] != 0xC0 + i;
        for (int j = 0; j < N; j++)
            free(p[i][j]);
    }
    return !bad;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
    ucontext_t *c = context;
    int status, e = errno;
    (void)sig;
    (void)info;
    if ((uintptr_t)c->uc_mcontext.gregs[REG_RIP] - getauxval(AT_SYSINFO_EHDR) < 64 * 1024)
        return;                                 /* the vDSO asks again if the kernel's clock has ticked: for ever here */
    if (sigismember(&c->uc_sigmask, SIGUSR1) == 1)
        return;                                 /* no other signal would come here: the library holds them */
    if (keep_at) {
        if (++steps == keep_at)
            keep();
        return;
    }
    if (!every || ++steps % every || forks == 4096) {
        steps += !every;
        return;
    }
    int others = others_allocate;
    others_allocate = NOTHING;                  /* we may have interrupted malloc */
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        if (!goes_on)
            leave(use_memory());
        others_allocate = others;
        is_child = 1;
        bad_children = 0;
        c->uc_mcontext.gregs[REG_EFL] &= ~0x100;
        if (nests == LARGE_BLOCKS)
            nest_large();
        if (nests == NEW_BINS && !are_whole(nest_bins, 2))
            leave(9);
        return;
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
        bad_children++;
        bad_status = status;
        bad_at = (void *)c->uc_mcontext.gregs[REG_RIP];
    }
    children[forks++] = pid;
    others_allocate = others;
    errno = e;
}

/* --- what is stepped through --------------------------------------------------------------------- */

static void pair(void)
{
    free(malloc(size));
}

/* TinyHeapV2 fills up and FastCache takes the rest; then both are used up again. */
static void some(void)
{
    for (int i = 0; i < 40; i++)
        moving[i] = malloc(size);
    for (int i = 0; i < 40; i++)
        free(moving[i]);
}

/* Refills, and FastCache overflowing. */
static void many(void)
{
    for (int i = 0; i < FRESH; i++)
        moving[i] = malloc(1000);
    for (int i = 0; i < FRESH; i++)
        free(moving[i]);
}

static void tiers(void)
{
    void *p = malloc(3000), *q = malloc(200000), *r = malloc(3000000), *s = aligned_alloc(4096, 100);
    p = realloc(p, 40000);
    r = realloc(r, 6000000);
    q = realloc(q, 100);
    free(p);
    free(q);
    free(r);
    free(s);
}

/* What a thread keeps of large blocks is taken, found too short, and has to make room. */
static void large(void)
{
    unsigned char *p[6];
    for (int i = 0; i < 6; i++) {
        p[i] = malloc(i % 3 ? LARGE : 90000);
        p[i][0] = p[i][LARGE - 1] = (unsigned char)i;
    }
    for (int i = 0; i < 6; i++) {
        bad_children += p[i][0] != i || p[i][LARGE - 1] != i;
        free(p[i]);
    }
}

/* The first use of a bin, of another each of the four times; then of six more. */
static void first_use(void)
{
    static int next;
    free(malloc(sizes[next++ % 4]));
}

static void first_uses(void)
{
    static int next;
    for (int i = 0; i < 6; i++)
        free(malloc(sizes[4 + next++ % 24]));
}

/* A child that others' handlers have allocated for, and their parent's blocks. */
static void fork_once(void)
{
    int status = -1;
    others_allocate = others_are_stepped ? PAIR : MUCH;
    pid_t pid = fork();
    TRAP_OFF();
    others_allocate = NOTHING;
    if (pid == 0) {
        alarm(60);
        leave(use_memory());
    }
    if (pid < 0 || (waitpid(pid, &status, 0) == pid ? status : errno != ECHILD)) {  /* a child that goes on: ECHILD */
        bad_children++;
        bad_status = status;
    }
    remove_segment(pid);
}

static void fork_stepping_others(void)
{
    TRAP_OFF();
    others_are_stepped = 1;
    fork_once();
    others_are_stepped = 0;
}

static void *allocate_for_other(void *arg)
{
    for (int i = 0; i < 200; i++)
        moving[i] = malloc(size);
    return arg;
}
static void free_of_other(void)
{
    for (int i = 0; i < 200; i++)
        free(moving[i]);
}

static void stepped(void (*fn)(void), int another)
{
    if (another)
        run_threads(1, allocate_for_other, NULL);
    for (int i = 0; i < 5000 && nests == LARGE_BLOCKS; i++)     /* often enough for runs to be kept */
        free(malloc(LARGE));
    steps = 0;
    TRAP_ON();
    fn();
    TRAP_OFF();
}

/* Fork at so many instructions of fn, spread evenly.  The children use memory, and leave what was interrupted; or
 * they go on with it, and then do. */
static void test_children(const char *what, void (*fn)(void), int another, long all, long at_most)
{
    every = all / at_most + 1;
    forks = bad_children = 0;
    stepped(fn, another);
    if (is_child)
        leave(bad_children ? 5 : !nested_are_whole() ? 6 : use_memory());
    /* What is done now and then may have come into the count, and not into this. */
    ok(steps >= all / 16 && forks >= steps / every / 2, "%s: %d forks among %ld instructions", what, forks, all);
    if (!is(bad_children, 0, "every child%s has the memory it needs, and nobody else's",
            goes_on ? " that goes on" : "")) {
        Dl_info at = { 0 };
        dladdr(bad_at, &at);
        diag("the last of them, at %s+0x%lx (%s): %s", at.dli_fname,
             (unsigned long)((char *)bad_at - (char *)at.dli_fbase), at.dli_sname, ending(bad_status));
    }
    for (int i = 0; i < forks; i++)
        remove_segment(children[i]);
}

static void test(const char *what, void (*fn)(void), int another, long at_most)
{
    every = bad_children = 0;
    stepped(fn, another);                       /* what is done once, is done */
    stepped(fn, another);
    long all = steps;
    for (goes_on = 0; goes_on < 2; goes_on++)
        test_children(what, fn, another, all, at_most);
    goes_on = 0;
}

/* A handler keeps blocks at an instruction of fork, of the library's part of it or of others' handlers; each time at a
 * later one.  Its blocks are its own in the parent, and, if they were there before, in the child. */
static void test_keepers(long at_most)
{
    long all = 0, n = 0, by = 1, null = 0, shared = 0, in_child = 0;
    for (keep_at = LONG_MAX; all == 0 || keep_at < all; keep_at += by) {
        int status = -1;
        memset(kept, 0, sizeof kept);
        steps = 0;
        others_allocate = PAIR;
        TRAP_ON();
        pid_t pid = fork();
        TRAP_OFF();
        others_allocate = NOTHING;
        if (pid == 0)
            leave(!kept_are_whole());
        waitpid(pid, &status, 0);
        in_child += status != 0;
        if (all == 0) {                         /* so many instructions it takes */
            all = steps;
            by = all / at_most + 1;
            keep_at = 1 - by;
            continue;
        }
        if (steps < keep_at)                    /* it was shorter this time */
            continue;
        shared += !kept_are_whole();
        for (int i = 0; i < KEPT; i++) {
            null += !kept[i];
            free(kept[i]);
        }
        n++;
    }
    keep_at = 0;
    ok(n >= at_most / 2, "a handler that allocates at %ld of the %ld instructions of fork", n, all);
    is(null, 0, "it is given blocks,");
    is(shared, 0, "its own,");
    is(in_child, 0, "in the child, too");
}

/* The last of the new bins is the one for the forks: it is new only once. */
static void test_new_bin(long at_most)
{
    nests = NEW_BINS;
    goes_on = 1;
    every = 0;
    stepped(new_bin, 0);
    stepped(new_bin, 0);
    test_children("a bin used for the first time, while others are", new_bin, 0, steps, at_most);
    goes_on = 0;
    nests = NONE;
}

/* --- in a thread's first call, at its end, and past it -------------------------------------------------
 *
 * A child that goes on uses more heaps at a time than there were: each is one thread's. */

enum { ENDED = 3, USERS = 20 };
static pthread_barrier_t together;

static void *uses_heap(void *arg)
{
    unsigned char *p[100];
    intptr_t me = (intptr_t)arg + 1, bad = 0;
    for (int i = 0; i < 100; i++)
        p[i] = memset(malloc(size), (int)me, size);
    pthread_barrier_wait(&together);
    for (int i = 0; i < 100; i++)
        bad += p[i][0] != me || p[i][size - 1] != me;
    pthread_barrier_wait(&together);
    for (int i = 0; i < 100; i++)
        free(p[i]);
    return (void *)bad;
}

/* As many, and this thread's. */
static long use_heaps(int n)
{
    pthread_t t[n];
    void *bad;
    pthread_barrier_init(&together, NULL, (unsigned)n + 1);
    for (intptr_t i = 0; i < n; i++)
        if (pthread_create(&t[i], NULL, uses_heap, (void *)i))
            bail("no thread");
    long all = (intptr_t)uses_heap((void *)(intptr_t)n);
    for (int i = 0; i < n; i++) {
        pthread_join(t[i], &bad);
        all += (intptr_t)bad;
    }
    return all;
}

static void child_ends(void)
{
    if (is_child)
        leave(use_heaps(USERS) ? 7 : use_memory());
}

static pthread_barrier_t called;

static void *first_call(void *stays)
{
    if (!is_child)                              /* it goes on from a step before this one */
        TRAP_ON();
    free(malloc(size));
    TRAP_OFF();
    struct seg s;
    if (is_child && seg_open(&s, getpid()))
        leave(8);
    if (is_child)
        seg_slot_of(&s, gettid());              /* bails out where it has none */
    child_ends();
    if (!stays)
        return NULL;
    pthread_barrier_wait(&called);
    for (;;)
        pause();
}

static void takes_heap_over(void)
{
    TRAP_OFF();
    run_threads(1, first_call, NULL);
}

static void gets_new_heap(void)
{
    pthread_t t;
    TRAP_OFF();
    pthread_barrier_init(&called, NULL, 2);
    if (pthread_create(&t, NULL, first_call, &called))
        bail("no thread");
    pthread_barrier_wait(&called);
}

/* libc runs the destructors of keys four times, ours before those here, and the heap goes in the third. */
static pthread_key_t end_key;
static int rounds;
static long past_end_at_most;           /* 0: the third is stepped through */

static void destructor(void *arg)
{
    if (++rounds == 3 && !past_end_at_most) {
        TRAP_OFF();
        child_ends();
    } else if (rounds == 4) {
        test("a thread past its end", pair, 0, past_end_at_most);
    } else {
        pthread_setspecific(end_key, arg);
        if (rounds == 2 && !past_end_at_most && !is_child)
            TRAP_ON();
    }
}

static void *has_destructor(void *arg)
{
    for (int i = 0; i < 100; i++)
        free(malloc(size));
    pthread_setspecific(end_key, &rounds);
    return arg;
}

static void ends(void)
{
    TRAP_OFF();
    rounds = 0;
    run_threads(1, has_destructor, NULL);
}

static void test_threads(long at_most)
{
    if (pthread_key_create(&end_key, destructor))
        bail("no key");
    for (int i = 0; i < ENDED; i++)             /* whatever heaps wait for a thread have one */
        gets_new_heap();
    test("the first call of a thread, with a new heap", gets_new_heap, 0, at_most);
    use_heaps(ENDED);
    test("the first call of a thread, with an old heap", takes_heap_over, 0, 2 * at_most);
    test("the end of a thread", ends, 0, 2 * at_most);
    past_end_at_most = at_most;
    ends();
}

/* --- in the middle of what a tool asked for ------------------------------------------------------- */

/* Asks, and carries it out: a call that needs the pool looks for requests. */
static void ask(const struct seg *s)
{
    s->control->purge++;
    s->control->walk++;
    free(malloc(1500000));
}

static int obeys(void)
{
    struct seg s;
    if (seg_open(&s, getpid()))
        return 1;
    ask(&s);
    const struct hak_slot *slot = seg_slot_of(&s, getpid());
    return s.state->purge_done != 1 ? 2 : slot->walk != 1 ? 3 : slot->walk_seq % 2 ? 4 : 0;
}

static void test_requests(long at_most)
{
    struct seg s;
    long all = 0;
    seg_own(&s);
    for (int round = 0; round < 2; round++) {           /* how many steps it takes; then with forks */
        every = all / at_most + 1;
        goes_on = round;
        forks = round ? 0 : 4096;
        steps = bad_children = bad_status = 0;
        TRAP_ON();
        ask(&s);
        TRAP_OFF();
        if (is_child)
            leave(obeys());
        all = steps;
    }
    ok(forks >= 10, "a purge and a walk: %d forks among %ld instructions", forks, all);
    is(bad_children, 0, "every child goes on, and carries out the first purge and walk asked of it (%s)",
       ending(bad_status));
    for (int i = 0; i < forks; i++)
        remove_segment(children[i]);
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    long at_most = count_of("HAK_FORKS", 300, 4000);
    for (int i = 0; i < LIVE; i++) {
        live[i].n = i % 4 ? size : (size_t)16 << i % 12;
        live[i].p = malloc(live[i].n);
        memset(live[i].p, i, live[i].n);
    }
    struct sigaction trap = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
    sigaction(SIGTRAP, &trap, NULL);
    test_keepers(at_most / 3);
    test_new_bin(4000);
    test("a bin used for the first time, at each instruction", first_use, 0, 2000);
    test("six bins used for the first time", first_uses, 0, at_most);
    for (int i = 0; i < 100; i++)
        some();
    test("fork, with handlers that allocate", fork_once, 0, at_most);
    test("a pair of calls in another's handler of fork", fork_stepping_others, 0, 2000);
    test("a pair of calls that TinyHeapV2 serves", pair, 0, at_most);
    test("forty blocks, out of FastCache and into it", some, 0, at_most);
    test("refills and overflows", many, 0, at_most);
    test("the other tiers, realloc and aligned_alloc", tiers, 0, at_most);
    spare = malloc(LARGE);
    nests = LARGE_BLOCKS;
    test("large blocks, of which a child uses some before it goes on", large, 0, at_most);
    nests = NONE;
    test("another thread's blocks", free_of_other, 1, at_most);
    if (with_counters())
        test_requests(at_most);
    test_threads(at_most);
    return tap_done();
}

#else

int main(void)
{
    skip("stepping by the trap flag: this is no x86-64");
    return tap_done();
}

#endif
