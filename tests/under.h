/* under.h: run a test program under the library that was built, and other things the tests of
 * the allocator share.
 *
 * A test of the malloc family calls the plain names and asks for the library at run time, as a
 * user does, by LD_PRELOAD.  HAK_TEST_MALLOC names another malloc to hold the same test against:
 * a path, or "" for libc's own.
 */
#ifndef TESTS_UNDER_H
#define TESTS_UNDER_H


#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/prefixed.h"
#include "tests/tap.h"

/* Whether malloc is ours; 0 where HAK_TEST_MALLOC asked for another. */
__attribute__((unused)) static int under_hakmem;

__attribute__((unused))
static int served_by_hakmem(void)
{
    Dl_info info;
    void *p = dlsym(RTLD_DEFAULT, "malloc");
    return p && dladdr(p, &info) && strstr(info.dli_fname, "libhakmem");
}

/* Call first in main: comes back with the library serving malloc, or ends the test. */
__attribute__((unused))
static void run_under_hakmem(char **argv)
{
#ifdef HAK_PREFIXED
    (void)argv;
#else
    const char *other = getenv("HAK_TEST_MALLOC"), *build = getenv("HAK_BUILD");
    char exe[PATH_MAX], lib[PATH_MAX];
    if (!other && served_by_hakmem()) {
        under_hakmem = 1;
        return;
    }
    if (getenv("HAK_TEST_AGAIN")) {
        if (!other)
            bail("malloc is not libhakmem's, though LD_PRELOAD is %s", getenv("LD_PRELOAD"));
        return;
    }
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0)
        bail("/proc/self/exe: %m");
    exe[n] = '\0';
    if (other)
        snprintf(lib, sizeof lib, "%s", other);
    else if (build)
        snprintf(lib, sizeof lib, "%s/.libs/libhakmem.so", build);
    else
        snprintf(lib, sizeof lib, "%.*s/../.libs/libhakmem.so",
                 (int)(strrchr(exe, '/') - exe), exe);
    setenv("HAK_TEST_AGAIN", "1", 1);
    setenv("LD_PRELOAD", lib, 1);
    execv(exe, argv);
    bail("%s: %m", exe);
#endif
}

/* Whether the library counts at all (not after configure --disable-stats). */
__attribute__((unused))
static int with_counters(void)
{
    const char *stats = getenv("HAK_STATS");
    return under_hakmem && !(stats && !strcmp(stats, "no"));
}

/* A number that the environment gives, else what a short or a long run (HAK_LONG=1) needs. */
__attribute__((unused))
static long count_of(const char *name, long in_short, long in_long)
{
    const char *s = getenv(name), *l = getenv("HAK_LONG");
    return s ? atol(s) : l && *l == '1' ? in_long : in_short;
}

/* Resident memory of this process in KiB. */
__attribute__((unused))
static long rss_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*s %ld", &pages) != 1)
        bail("/proc/self/statm: %m");
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* A random generator that depends on its seed alone (splitmix64). */
__attribute__((unused))
static uint64_t rnd(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Start n threads of fn with the arguments 0..n-1 and wait for them all; the sum of what they
 * return, which is by custom the number of faults found. */
__attribute__((unused))
static long run_threads(int n, void *(*fn)(void *), const pthread_attr_t *attr)
{
    pthread_t t[n];
    long sum = 0;
    for (int i = 0; i < n; i++) {
        int e = pthread_create(&t[i], attr, fn, (void *)(intptr_t)i);
        if (e)
            bail("pthread_create of thread %d of %d: %s", i, n, strerror(e));
    }
    for (int i = 0; i < n; i++) {
        void *r;
        pthread_join(t[i], &r);
        sum += (intptr_t)r;
    }
    return sum;
}

/* How a child of ours ended, in words: "exit 0", "signal 11". */
__attribute__((unused))
static const char *ending(int status)
{
    static char s[32];
    if (WIFEXITED(status))
        snprintf(s, sizeof s, "exit %d", WEXITSTATUS(status));
    else
        snprintf(s, sizeof s, "signal %d", WTERMSIG(status));
    return s;
}

/* A child that ended without exit() leaves its segment behind. */
__attribute__((unused))
static void remove_segment(pid_t pid)
{
    char pattern[64];
    glob_t g;
    snprintf(pattern, sizeof pattern, "/dev/shm/hakmem.%d.*", (int)pid);
    if (!glob(pattern, 0, NULL, &g))
        for (size_t i = 0; i < g.gl_pathc; i++)
            unlink(g.gl_pathv[i]);
    globfree(&g);
}

/* Run fn in a forked child, which exits with its value; how that ended. */
__attribute__((unused))
static const char *in_child(int (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        bail("fork: %m");
    remove_segment(pid);
    return ending(status);
}

/* Two results: what a child says on standard error when it misuses p, and that it is aborted. */
__attribute__((unused))
static void dies(void (*misuse)(void *), void *p, const char *message, const char *what)
{
    int fd[2], status;
    char want[128], got[512];
    snprintf(want, sizeof want, "hakmem: %s: %p\n", message, p);
    if (pipe(fd))
        bail("pipe: %m");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], 2);
        misuse(p);
        _exit(0);
    }
    close(fd[1]);
    ssize_t n = read(fd[0], got, sizeof got - 1);
    got[n > 0 ? n : 0] = '\0';
    close(fd[0]);
    waitpid(pid, &status, 0);
    remove_segment(pid);
    is_str(got, want, "%s: the message", what);
    is_str(ending(status), "signal 6", "%s: the end", what);
}

#endif
