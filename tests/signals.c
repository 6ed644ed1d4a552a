/* signals.c: handlers that allocate, on top of who has one of the allocator's locks. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include "tests/seg.h"

enum { BLOCKS = 4000, HUGE_BLOCKS = 8, HUGE_ROUNDS = 20000 };

static volatile sig_atomic_t handled;

/* More large blocks than a heap keeps, and a huge one. */
static void allocates(int sig)
{
    const size_t sizes[] = { 200000, 300000, 400000, 500000, 600000, 700000, 800000, 3u << 20 };
    char *volatile p[8];

    (void)sig;
    for (int i = 0; i < 8; i++)
        if ((p[i] = malloc(sizes[i])))
            p[i][0] = 1;
    for (int i = 0; i < 8; i++)
        free(p[i]);
    handled++;
}

/* Each SuperSlab comes and goes under the pool's lock. */
static int large_blocks(void)
{
    static char *block[BLOCKS];

    for (int i = 0; i < BLOCKS; i++)
        if (!(block[i] = malloc((size_t)(100 + i % 8 * 100) << 10)))
            return 0;
        else
            block[i][0] = 1;
    for (int i = 0; i < BLOCKS; i++)
        free(block[i]);
    return 1;
}

static int huge_blocks(void)
{
    char *block[HUGE_BLOCKS] = { 0 };

    for (int i = 0; i < HUGE_ROUNDS; i++) {
        char **at = &block[i % HUGE_BLOCKS];
        free(*at);
        if (!(*at = malloc((size_t)(2 + i % 5) << 20)))
            return 0;
        **at = 1;
    }
    for (int i = 0; i < HUGE_BLOCKS; i++)
        free(block[i]);
    return 1;
}

/* In a child of its own, which an alarm ends if it waits for itself. */
static void under_a_storm(int (*work)(void), const char *what)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
        struct itimerspec often = { { 0, 50000 }, { 0, 50000 } };
        int timer;
        alarm(60);
        signal(SIGUSR1, allocates);
        if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) ||  /* libc's allocates */
            syscall(SYS_timer_settime, timer, 0, &often, NULL))
            _exit(2);
        for (int i = 0; i < 5; i++)
            if (!work())
                _exit(3);
        signal(SIGUSR1, SIG_IGN);
        _exit(handled < 50);
    }
    waitpid(pid, &status, 0);
    remove_segment(pid);
    is(status, 0, "%s, while handlers allocate", what);
}

int main(int argc, char **argv)
{
    (void)argc;
    run_under_hakmem(argv);
    under_a_storm(large_blocks, "large blocks");
    under_a_storm(huge_blocks, "huge blocks");
    return tap_done();
}
