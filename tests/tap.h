/* tap.h: test results in the Test Anything Protocol, for C tests.
 *
 * Include it in the one file of a test program that has main().  It neither allocates nor uses
 * stdio, so that it moves no counter of the allocator under test.  Call it from one thread only,
 * and from no forked child.
 *
 *      ok(fd >= 0, "the segment is there");
 *      is(hits, 3, "three hits in C%d", cls);
 *      is_str(name, "redis", "the name");
 *      skip("no hugepages: %s", strerror(errno));
 *      return tap_done();
 *
 * Each of these is one result; ok, is and is_str return whether it was good.
 */
#ifndef HAK_TESTS_TAP_H
#define HAK_TESTS_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tap_count, tap_failed;

/* One line of at most 511 bytes: head, then fmt; written at once. */
__attribute__((format(printf, 2, 0)))
static void tap_vline(const char *head, const char *fmt, va_list ap)
{
    char line[512];
    size_t n = strlen(head);
    memcpy(line, head, n);
    int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
    n += m < 0 ? 0 : (size_t)m < sizeof line - n - 1 ? (size_t)m : sizeof line - n - 2;
    line[n++] = '\n';
    if (write(1, line, n) != (ssize_t)n)
        _exit(99);
}

/* A comment in the output, for who reads a failure. */
__attribute__((format(printf, 1, 2), unused))
static void diag(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tap_vline("# ", fmt, ap);
    va_end(ap);
}

__attribute__((format(printf, 2, 0)))
static int tap_vresult(int good, const char *fmt, va_list ap)
{
    char head[32];
    snprintf(head, sizeof head, "%s %d - ", good ? "ok" : "not ok", ++tap_count);
    tap_failed += !good;
    tap_vline(head, fmt, ap);
    return good;
}

__attribute__((format(printf, 5, 6), unused))
static int tap_ok(int good, const char *file, int line, const char *what, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tap_vresult(good, fmt, ap);
    va_end(ap);
    if (!good)
        diag("%s:%d: %s", file, line, what);
    return good;
}
#define ok(good, ...) tap_ok(!!(good), __FILE__, __LINE__, #good, __VA_ARGS__)

__attribute__((format(printf, 6, 7), unused))
static int tap_is(long long got, long long want, const char *file, int line, const char *what,
                  const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tap_vresult(got == want, fmt, ap);
    va_end(ap);
    if (got != want)
        diag("%s:%d: %s is %lld (0x%llx), not %lld (0x%llx)", file, line, what, got, got, want, want);
    return got == want;
}
/* Integers are equal. */
#define is(got, want, ...) \
    tap_is((long long)(got), (long long)(want), __FILE__, __LINE__, #got, __VA_ARGS__)

__attribute__((format(printf, 6, 7), unused))
static int tap_is_str(const char *got, const char *want, const char *file, int line,
                      const char *what, const char *fmt, ...)
{
    int good = got && want ? !strcmp(got, want) : got == want;
    va_list ap;
    va_start(ap, fmt);
    tap_vresult(good, fmt, ap);
    va_end(ap);
    if (!good) {
        diag("%s:%d: %s", file, line, what);
        diag("     got: %s", got ? got : "(null)");
        diag("expected: %s", want ? want : "(null)");
    }
    return good;
}
/* Strings are equal; NULL equals NULL alone. */
#define is_str(got, want, ...) tap_is_str(got, want, __FILE__, __LINE__, #got, __VA_ARGS__)

/* One result that could not be had on this machine, and why. */
__attribute__((format(printf, 1, 2), unused))
static void skip(const char *fmt, ...)
{
    char head[32];
    snprintf(head, sizeof head, "ok %d # SKIP ", ++tap_count);
    va_list ap;
    va_start(ap, fmt);
    tap_vline(head, fmt, ap);
    va_end(ap);
}

/* Nothing further can be tested: end the program, as a failure. */
__attribute__((format(printf, 1, 2), noreturn, unused))
static void bail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tap_vline("Bail out! ", fmt, ap);
    va_end(ap);
    exit(99);
}

/* Print the plan; the value is main's. */
static int tap_done(void)
{
    char plan[24];
    int n = snprintf(plan, sizeof plan, "1..%d\n", tap_count);
    return write(1, plan, (size_t)n) != n || tap_failed || !tap_count;
}

#endif
