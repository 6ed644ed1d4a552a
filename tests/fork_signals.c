/* fork_signals.c: signals that come while a child, a thread's heap, or a call of a thread past its end is in the
 * making, and whose handlers allocate, or fork. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include "tests/seg.h"

enum { CHILDREN = 600, ROUNDS = 400, BORN = 4, LATE_CALLS = 200000 };

static void allocates(int sig)
{
    (void)sig;
    void *volatile p = malloc(100);
    free(p);
}

/* Sends SIGUSR1 to our process group again and again, for as long as we live. */
static pid_t storm(void)
{
    pid_t main_pid = getpid(), pid = fork();
    if (pid == 0) {
        signal(SIGUSR1, SIG_IGN);
        while (getppid() == main_pid && !kill(-getpgrp(), SIGUSR1))
            usleep(100);
        _exit(0);
    }
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
        ;
    remove_segment(pid);
}

/* Whether it ended well. */
static int well(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        ;
    remove_segment(pid);
    if (status)
        diag("a child's status is %#x", (unsigned)status);
    return status == 0;
}

static void test_children(void)
{
    unsigned bad = 0;
    signal(SIGUSR1, allocates);
    pid_t sender = storm();
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid;
        do
            pid = fork();
        while (pid < 0 && errno == EINTR);
        if (pid == 0) {
            alarm(60);
            allocates(0);
            _exit(0);
        }
        bad += !well(pid);
    }
    end(sender);
    is(bad, 0, "%d children, each under a storm of signals whose handler allocates", CHILDREN);
}

/* --- births ------------------------------------------------------------------------------------ */

static struct { unsigned went_on, bad; } *shared;
static __thread volatile sig_atomic_t being_born, is_child, child;

static void forks(int sig)
{
    int saved = errno;
    (void)sig;
    if (being_born && !child && !is_child) {
        pid_t pid = fork();
        is_child = pid == 0;
        child = pid;
    }
    errno = saved;
}

/* A child that goes on with the birth has one thread, and that one slot that is live. */
static int has_one_slot(void)
{
    struct seg s = { 0 };
    int live = 0;
    if (seg_open(&s, getpid()))
        return 0;
    for (unsigned i = 0; i < s.state->slots_used; i++)
        live += seg_slot(&s, i)->state == HAK_SLOT_LIVE;
    return live == 1 && seg_slot_of(&s, gettid()) && (s.h->flags & 1 || seg_global(&s, "threads_started") == 1);
}

/* The first call, at some moment of which a signal comes. */
static void is_born_under_a_timer(long ns)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
    struct itimerspec once = { .it_value.tv_nsec = ns };
    int timer;
    event._sigev_un._tid = gettid();
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer))     /* libc's allocates */
        bail("no timer");
    being_born = 1;
    syscall(SYS_timer_settime, timer, 0, &once, NULL);
    allocates(0);
    being_born = 0;
    if (!is_child)
        syscall(SYS_timer_delete, timer);
}

static void *is_born(void *number)
{
    is_born_under_a_timer(1000 + (intptr_t)number * 500 % 100000);
    if (is_child) {
        alarm(60);
        __atomic_fetch_add(&shared->went_on, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < 100; i++)
            free(malloc((size_t)i * 10));
        int one = has_one_slot();
        remove_segment(getpid());
        _exit(!one);
    }
    if (child > 0)
        __atomic_fetch_add(&shared->bad, !well((pid_t)child), __ATOMIC_RELAXED);
    return number;
}

static void test_births(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGUSR1, forks);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t t[BORN];
        for (int k = 0; k < BORN; k++)
            if (pthread_create(&t[k], NULL, is_born, (void *)(intptr_t)(i * BORN + k)))
                bail("no thread");
        for (int k = 0; k < BORN; k++)
            pthread_join(t[k], NULL);
    }
    ok(shared->went_on > 0, "threads whose first call a handler forks in: %u children go on with it", shared->went_on);
    is(shared->bad, 0, "each has one thread, with a slot");
}

/* --- past the end ------------------------------------------------------------------------------ */

static pthread_key_t key;
static volatile int late;

/* libc runs the destructors four times, and the heap goes in the third. */
static void destructor(void *rounds)
{
    if ((intptr_t)rounds < 4) {
        pthread_setspecific(key, (void *)((intptr_t)rounds + 1));
        return;
    }
    late = 1;
    for (int i = 0; i < LATE_CALLS; i++)
        free(malloc(64));
    late = 2;
}

static void *ends(void *arg)
{
    free(malloc(64));
    pthread_setspecific(key, (void *)1);
    return arg;
}

static int storm_over_late(void)
{
    pthread_t t;
    unsigned sent = 0;
    signal(SIGUSR1, allocates);
    if (pthread_key_create(&key, destructor) || pthread_create(&t, NULL, ends, NULL))
        return 0;
    for (; late < 2; usleep(20)) {
        pthread_kill(t, SIGUSR1);
        sent += late;
    }
    return !pthread_join(t, NULL) && sent > 100;
}

static void test_late(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        _exit(!storm_over_late());
    }
    ok(well(pid), "a thread past its end, whose handlers allocate, too");
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    setpgid(0, 0);
    test_children();
    test_births();
    test_late();
    return tap_done();
}
