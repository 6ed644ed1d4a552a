/* knobs.c: the table of knobs, and their values at start: default, then the file that HAKMEM_CONF
 * names, then the ENV; in the ENV an alias, then the canonical name.  What is no number or out of
 * range is as if it had not been there, but for being counted. */
#include "lib/control/internal.h"

#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "lib/base/os.h"

#define CONF_MAX (64 * KIB)

#define KNOB(id, name_, type_, context_, unit_, min_, max_, def_, alias_, help_)         \
    [HAK_KNOB_##id] = { .name = name_, .alias = alias_, .unit = unit_, .help = help_,    \
                        .type = HAK_##type_, .context = HAK_##context_,                  \
                        .index = HAK_KNOB_##id, .min = min_, .max = max_, .def = def_ },
const struct hak_knob_desc knob_table[HAK_KNOBS] = {
#include "abi/knobs.def"
};
#undef KNOB

#define KNOB(id, name, type, context, unit, min, max, def, alias, help)                  \
    _Static_assert(sizeof(name) <= HAK_NAME_MAX && sizeof("HAKMEM_" name) <= HAK_ENV_MAX \
                   && sizeof(alias) <= HAK_ENV_MAX && sizeof(unit) <= HAK_UNIT_MAX       \
                   && sizeof(help) <= HAK_HELP_MAX, name ": a string is too long");      \
    _Static_assert((min) + 0ull <= (def) && (def) <= (max) + 0ull,                       \
                   name ": its default is not in its range");
#include "abi/knobs.def"
#undef KNOB

void knob_env(unsigned knob, char name[HAK_ENV_MAX])
{
    size_t n = sizeof "HAKMEM_" - 1;

    memcpy(name, "HAKMEM_", n);
    for (const char *s = knob_table[knob].name; *s; s++)
        name[n++] = *s == '.' ? '_' : *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
    name[n] = '\0';
}

/* Masks and modes are sets of bits: between 0600 and 0640 is 0620, which is not meant. */
bool knob_valid(unsigned knob, uint64_t value)
{
    const struct hak_knob_desc *k = &knob_table[knob];
    bool bits = k->type == HAK_MASK || k->type == HAK_OCTAL;

    return value >= k->min && value <= k->max && (!bits || (value & ~k->max) == 0);
}

/* Decimal, 0x hexadecimal, or octal for a mode; nothing before or after it. */
static bool parse_number(const char *s, size_t len, bool octal, uint64_t *value)
{
    unsigned base = octal ? 8 : 10;
    uint64_t n = 0;

    if (len > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
        base = 16, s += 2, len -= 2;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                       : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                       : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10) : 16;
        if (digit >= base || __builtin_mul_overflow(n, base, &n)
            || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *value = n;
    return len > 0;
}

struct start {
    union hak_knobs *knobs;
    struct hak_origin_rec *origin;
    unsigned refused;
    bool say;                           /* say what was refused, too */
};

static void refuse(struct start *start, const char *what, const char *name)
{
    start->refused++;
    if (start->say)
        hak_warn(what, name);
}

/* What is said of a value, without stdio; what has no room is left out. */
struct detail {
    char text[200];
    size_t len;
};

static void add_text(struct detail *d, const char *s, size_t len)
{
    for (size_t i = 0; i < len && d->len < sizeof d->text - 1; i++)
        d->text[d->len++] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
    d->text[d->len] = '\0';
}

static void add(struct detail *d, const char *s)
{
    add_text(d, s, strlen(s));
}

/* As the tools write it: hexadecimal for a mask, octal for a mode. */
static void add_value(struct detail *d, uint32_t type, uint64_t value)
{
    unsigned base = type == HAK_MASK ? 16 : type == HAK_OCTAL ? 8 : 10;
    char digits[24], *p = digits + sizeof digits;

    do
        *--p = "0123456789ABCDEF"[value % base];
    while (value /= base);
    add(d, type == HAK_MASK ? "0x" : type == HAK_OCTAL ? "0" : "");
    add_text(d, p, (size_t)(digits + sizeof digits - p));
}

/* "NAME=VALUE (knob: MIN..MAX)"; of a value that is long, its beginning. */
static void refuse_value(struct start *start, const char *what, unsigned knob, const char *name,
                         const char *text, size_t len)
{
    const struct hak_knob_desc *k = &knob_table[knob];
    struct detail d = { .len = 0 };

    add(&d, name);
    add(&d, "=");
    add_text(&d, text, len < 32 ? len : 32);
    add(&d, len > 32 ? "... (" : " (");
    add(&d, k->name);
    add(&d, ": ");
    add_value(&d, k->type, k->min);
    add(&d, "..");
    add_value(&d, k->type, k->max);
    add(&d, ")");
    refuse(start, what, d.text);
}

/* `name`: that of the variable; the knob's own in the file. */
static void take(struct start *start, unsigned knob, const char *name, const char *text, size_t len,
                 enum hak_origin from)
{
    uint64_t value;

    if (!parse_number(text, len, knob_table[knob].type == HAK_OCTAL, &value))
        refuse_value(start, "not a number, ignored", knob, name, text, len);
    else if (!knob_valid(knob, value))
        refuse_value(start, "out of range, ignored", knob, name, text, len);
    else {
        start->knobs->values[knob] = value;
        start->origin[knob] = (struct hak_origin_rec){ .from = from };
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Where a comment begins: at a '#' at the start of the line or after a blank. */
static const char *comment_of(const char *s, const char *end)
{
    for (const char *p = s; p < end; p++)
        if (*p == '#' && (p == s || is_blank(p[-1])))
            return p;
    return end;
}

/* A line "name = value", or nothing but blanks and a comment. */
static void take_line(struct start *start, const char *s, const char *end)
{
    end = comment_of(s, end);
    while (s < end && is_blank(*s))
        s++;
    while (s < end && is_blank(end[-1]))
        end--;
    if (s == end)
        return;

    const char *sign = memchr(s, '=', (size_t)(end - s));
    const char *name_end = sign ? sign : end, *value = sign ? sign + 1 : end;
    while (name_end > s && is_blank(name_end[-1]))
        name_end--;
    while (value < end && is_blank(*value))
        value++;
    for (unsigned i = 0; i < HAK_KNOBS; i++)
        if (strlen(knob_table[i].name) == (size_t)(name_end - s)
            && memcmp(knob_table[i].name, s, (size_t)(name_end - s)) == 0) {
            take(start, i, knob_table[i].name, value, (size_t)(end - value), HAK_FROM_CONF);
            return;
        }
    refuse(start, "HAKMEM_CONF: a line names no knob, ignored", NULL);
}

static ssize_t read_whole(const char *path, char *to, size_t room)
{
    struct stat st;
    ssize_t n, len = 0;
    int fd = sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        len = -1;
    else
        while ((size_t)len < room && (n = sys_read(fd, to + len, room - (size_t)len)) > 0)
            len += n;
    sys_close(fd);
    return len;
}

static void take_conf(struct start *start, const char *path)
{
    char *text = os_map(CONF_MAX, 1);
    ssize_t len = text ? read_whole(path, text, CONF_MAX) : -1;

    if (len < 0)
        refuse(start, "HAKMEM_CONF: can't read it", path);
    for (char *s = text, *end = text + len; len > 0 && s < end;) {
        char *eol = memchr(s, '\n', (size_t)(end - s));
        take_line(start, s, eol ? eol : end);
        s = eol ? eol + 1 : end;
    }
    if (text)
        os_unmap(text, CONF_MAX);
}

/* The value of the ENV variable `name` in `entry`, or NULL when that is another's. */
static const char *env_value(const char *entry, const char *name)
{
    size_t len = strlen(name);

    return len && strncmp(entry, name, len) == 0 && entry[len] == '=' ? entry + len + 1 : NULL;
}

/* What the ENV says about each knob: one pass over it, instead of a search for every name. */
struct env {
    const char *canonical[HAK_KNOBS], *alias[HAK_KNOBS], *conf;
};

static void env_entry(struct env *env, const char *entry)
{
    const char *value = env_value(entry, "HAKMEM_CONF");

    if (value && !env->conf)
        env->conf = value;
    for (unsigned i = 0; i < HAK_KNOBS; i++) {
        char name[HAK_ENV_MAX];
        knob_env(i, name);
        if (!env->canonical[i])
            env->canonical[i] = env_value(entry, name);
        if (!env->alias[i])
            env->alias[i] = env_value(entry, knob_table[i].alias);
    }
}

static void env_read(struct env *env)
{
    memset(env, 0, sizeof *env);
    if (getauxval(AT_SECURE))
        return;
    for (char **e = environ; e && *e; e++)
        if (strncmp(*e, "HAKMEM_", 7) == 0)
            env_entry(env, *e);
}

static unsigned take_all(struct start *start, const struct env *env)
{
    for (unsigned i = 0; i < HAK_KNOBS; i++) {
        start->knobs->values[i] = knob_table[i].def;
        start->origin[i] = (struct hak_origin_rec){ .from = HAK_FROM_DEFAULT };
    }
    start->refused = 0;
    if (env->conf)
        take_conf(start, env->conf);
    for (unsigned i = 0; i < HAK_KNOBS; i++) {
        char name[HAK_ENV_MAX];
        knob_env(i, name);
        if (env->alias[i])
            take(start, i, knob_table[i].alias, env->alias[i], strlen(env->alias[i]), HAK_FROM_ENV);
        if (env->canonical[i])
            take(start, i, name, env->canonical[i], strlen(env->canonical[i]), HAK_FROM_ENV);
    }
    return start->refused;
}

/* Whether to say what was refused is itself one of the values: hence twice. */
unsigned knobs_at_start(union hak_knobs *knobs, struct hak_origin_rec *origin)
{
    struct start start = { .knobs = knobs, .origin = origin };
    struct env env;

    env_read(&env);
    unsigned refused = take_all(&start, &env);
    if (refused && knobs->verbose) {
        start.say = true;
        take_all(&start, &env);
    }
    return refused;
}
