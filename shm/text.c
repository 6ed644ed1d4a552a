/* text.c: values, sizes, names and errors as people read and write them. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/shm.h"

int shm_fail(struct shm_error *err, enum shm_code code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        err->code = code;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

const char *shm_value_text(const struct hak_knob_desc *knob, uint64_t value,
                           char buf[SHM_VALUE_MAX])
{
    const char *fmt = knob->type == HAK_MASK ? "0x%" PRIX64
                    : knob->type == HAK_OCTAL ? "%#" PRIo64 : "%" PRIu64;
    snprintf(buf, SHM_VALUE_MAX, fmt, value);
    return buf;
}

/* Decimal or 0x hexadecimal; octal where the knob is shown that way.  strtoull alone would take
 * signs, blanks, and "010" for eight. */
static bool parse_number(const char *text, bool octal, uint64_t *value)
{
    int base = octal ? 8 : 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        text += 2;
        base = 16;
    }
    if (!isxdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    *value = strtoull(text, &end, base);
    return !errno && !*end;
}

int shm_value_parse(const struct hak_knob_desc *knob, const char *text, uint64_t *value,
                    struct shm_error *err)
{
    char min[SHM_VALUE_MAX], max[SHM_VALUE_MAX];
    if (!parse_number(text, knob->type == HAK_OCTAL, value))
        return shm_fail(err, SHM_EREFUSED, "%s: %s is %s", knob->name, *text ? text : "an empty value",
                        knob->type == HAK_BOOL ? "neither 0 nor 1" : "not a number");
    if (*value < knob->min || *value > knob->max)
        return shm_fail(err, SHM_EREFUSED, "%s: %s out of range [%s, %s]", knob->name, text,
                        shm_value_text(knob, knob->min, min), shm_value_text(knob, knob->max, max));
    bool bits = knob->type == HAK_MASK || knob->type == HAK_OCTAL;
    if (bits && (*value & ~knob->max))
        return shm_fail(err, SHM_EREFUSED, "%s: %s has bits that %s has not", knob->name, text,
                        shm_value_text(knob, knob->max, max));
    return SHM_OK;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    return a < b ? a < c ? a : c : b < c ? b : c;
}

/* Levenshtein's distance; names are at most HAK_NAME_MAX long, what is longer is far from all. */
static size_t distance(const char *a, const char *b)
{
    enum { MOST = 64 };
    size_t row[MOST + 1], la = strlen(a), lb = strlen(b);
    if (la > MOST || lb > MOST)
        return SIZE_MAX;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];
            row[j] = min3(row[j - 1] + 1, above + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[lb];
}

/* The last part of a dotted name, which is what people remember. */
static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

const char *shm_nearest(const char *typed, const char *(*name)(size_t i, const void *ctx),
                        const void *ctx)
{
    const char *best = NULL, *candidate;
    size_t least = SIZE_MAX;
    for (size_t i = 0; (candidate = name(i, ctx)); i++) {
        size_t d = distance(typed, candidate);
        if (!strcmp(last_part(typed), last_part(candidate)) && d > 1)
            d = 1;      /* as near as a slip of the finger */
        if (d < least) {
            least = d;
            best = candidate;
        }
    }
    size_t near = strlen(typed) / 3 + 1;
    return least <= near ? best : NULL;
}

const char *shm_s(uint64_t n)
{
    return n == 1 ? "" : "s";
}

const char *shm_bytes_text(uint64_t bytes, char buf[24])
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned u = 0;
    double d = (double)bytes;
    for (; d >= 1024 && u < 6; u++)
        d /= 1024;
    snprintf(buf, 24, u ? "%.1f %s" : "%.0f %s", d, unit[u]);
    return buf;
}

const char *shm_origin_name(uint32_t from)
{
    static const char *const name[] = {
        [HAK_FROM_DEFAULT] = "default", [HAK_FROM_CONF] = "file", [HAK_FROM_ENV] = "env",
        [HAK_FROM_CONTROL] = "hakctl", [HAK_FROM_API] = "api", [HAK_FROM_REVERT] = "revert",
    };

    return from < sizeof name / sizeof *name ? name[from] : "?";
}
