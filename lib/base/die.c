/* die.c: the two ways in which the library speaks. */
#include "lib/base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line {
    char text[256];
    size_t len;
};

static void put(struct line *l, const char *s)
{
    while (*s && l->len < sizeof l->text - 1)
        l->text[l->len++] = *s++;
}

static void put_address(struct line *l, const void *p)
{
    char hex[2 * sizeof p + 3], *end = hex + sizeof hex - 1;
    uintptr_t a = (uintptr_t)p;

    *end = '\0';
    do
        *--end = "0123456789abcdef"[a & 15];
    while (a >>= 4);
    *--end = 'x';
    *--end = '0';
    put(l, end);
}

static void emit(struct line *l)
{
    l->text[l->len++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, l->text, l->len);
    (void)ignored;
}

void hak_die(const char *what, const void *address)
{
    struct line l = { .len = 0 };

    put(&l, "hakmem: ");
    put(&l, what);
    if (address) {
        put(&l, ": ");
        put_address(&l, address);
    }
    emit(&l);
    abort();
}

void hak_warn(const char *what, const char *detail)
{
    struct line l = { .len = 0 };
    int saved = errno;

    put(&l, "hakmem: ");
    put(&l, what);
    if (detail) {
        put(&l, ": ");
        put(&l, detail);
    }
    emit(&l);
    errno = saved;
}
