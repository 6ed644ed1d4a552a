/* profile.c: the verbs save and load, which keep all knobs of a process in a file.
 *
 * The file is what HAKMEM_CONF takes as well: lines "name = value"; what follows a '#' at the start of a line
 * or after a blank is a comment. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/hakctl.h"

static bool is_dash(const char *path)
{
    return !strcmp(path, "-");
}

/* ---- save ---------------------------------------------------------------------------------- */

static void write_profile(FILE *to, const struct shm_seg *seg, uint64_t generation,
                          const struct shm_wanted *wanted)
{
    fprintf(to, "# Knobs of pid %d (%s), libhakmem %s, generation %" PRIu64 "%s\n", seg->proc.pid,
            seg->proc.comm, seg->header.version, generation, wanted->pending ? ", which is pending" : "");
    for (unsigned i = 0; i < seg->knob_count; i++) {
        char text[SHM_VALUE_MAX];
        const struct hak_knob_desc *knob = &seg->knobs[i];
        fprintf(to, "%s = %s\n", knob->name, shm_value_text(knob, wanted->values[knob->index], text));
    }
}

static int save_file(const struct shm_seg *seg, uint64_t generation, const struct shm_wanted *wanted,
                     const char *path, struct shm_error *err)
{
    struct new_file file;
    int code = new_file_open(&file, path, err);
    if (code)
        return code;
    write_profile(file.stream, seg, generation, wanted);
    return new_file_finish(&file, err);
}

/* A change that is pending is saved too: it has been accepted. */
static int save(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    struct shm_snap *snap;
    struct shm_wanted wanted;
    const char *path = call->argv[0];
    int code = whole_snapshot(seg, &snap, err);
    if (code)
        return code;
    uint64_t generation = snap->state.generation;
    shm_snap_free(snap);
    code = shm_wanted(seg, &wanted, err);
    if (code)
        return code;
    if (wanted.pending)
        generation = wanted.pending;
    if (!is_dash(path))
        code = save_file(seg, generation, &wanted, path, err);
    else if (!call->json)
        write_profile(stdout, seg, generation, &wanted);
    if (code)
        return code;
    json_t *values = json_object();
    for (unsigned i = 0; i < seg->knob_count; i++)
        json_object_set_new(values, seg->knobs[i].name, json_u64(wanted.values[seg->knobs[i].index]));
    json_object_set_new(out, "file", json_string(path));
    json_object_set_new(out, "values", values);
    return SHM_OK;
}

static void print_save(const struct call *call, const struct shm_seg *seg, const json_t *out)
{
    (void)seg;
    if (!is_dash(call->argv[0]))
        printf("saved %zu knobs to %s\n", json_object_size(json_object_get(out, "values")),
               str(out, "file"));
}

const struct command cmd_save = {
    .name = "save", .operands = "FILE|-", .options = "", .help = "write all knobs to a file",
    .least = 1, .most = 1, .dead_too = true, .just_one = true, .each = save, .print = print_save,
};

/* ---- load ---------------------------------------------------------------------------------- */

/* The whole text, read once for all targets. */
static int read_profile(const char *path, const char **text, struct shm_error *err)
{
    static char whole[1 << 16];
    *text = whole;
    if (whole[0])
        return SHM_OK;
    FILE *from = is_dash(path) ? stdin : fopen(path, "re");
    size_t n = from ? fread(whole, 1, sizeof whole, from) : 0;
    if (n == sizeof whole)
        errno = EFBIG;
    int code = !from || ferror(from) || n == sizeof whole
             ? shm_fail(err, SHM_EIO, "%s: %s; nothing changed", path, strerror(errno)) : SHM_OK;
    whole[code ? 0 : n] = 0;
    if (from && from != stdin)
        fclose(from);
    return code;
}

/* Cuts a comment off. */
static void uncomment(char *s)
{
    for (char *p = s; (p = strchr(p, '#')); p++)
        if (p == s || strchr(" \t\r", p[-1])) {
            *p = 0;
            return;
        }
}

/* Cuts blanks off both ends. */
static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = 0;
    return s;
}

/* What a line says; change->knob stays NULL where it says nothing, or what is so already. */
static int parse_line(char *line, const struct shm_snap *snap, struct shm_change *change,
                      struct shm_error *err)
{
    const struct shm_seg *seg = snap->seg;
    uncomment(line);
    char *start = trim(line), *value = strchr(start, '=');
    *change = (struct shm_change){ 0 };
    if (!*start)
        return SHM_OK;
    if (!value)
        return shm_fail(err, SHM_EREFUSED, "%s: not name = value", start);
    *value++ = 0;
    int code = find_knob(seg->knobs, seg->knob_count, trim(start), &change->knob, err);
    if (!code)
        code = shm_value_parse(change->knob, trim(value), &change->value, err);
    if (code || change->knob->context == HAK_LIVE)
        return code;
    if (change->value != snap->state.values[change->knob->index])
        return shm_startup_knob(change->knob, err);
    change->knob = NULL;
    return SHM_OK;
}

static int given_before(const struct shm_change *changes, size_t count,
                        const struct hak_knob_desc *knob, struct shm_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].knob == knob)
            return shm_fail(err, SHM_EREFUSED, "%s: given twice", knob->name);
    return SHM_OK;
}

/* Fills changes, one a line at most; an error names file and line. */
static int parse_profile(const char *path, char *text, const struct shm_snap *snap,
                         struct shm_change *changes, size_t *count, struct shm_error *err)
{
    int number = 0;
    for (char *line; (line = strsep(&text, "\n")); ) {
        struct shm_error why;
        struct shm_change *change = &changes[*count];
        number++;
        int code = parse_line(line, snap, change, &why);
        if (!code && change->knob)
            code = given_before(changes, *count, change->knob, &why);
        if (code)
            return shm_fail(err, code, "%s:%d: %.300s; nothing changed", path, number, why.text);
        *count += change->knob != NULL;
    }
    return SHM_OK;
}

/* All are set, also over what another tool has asked for meanwhile; those that differ are shown. */
static void drop_equal(json_t *changes)
{
    for (size_t i = json_array_size(changes); i-- > 0; ) {
        const json_t *change = json_array_get(changes, i);
        if (json_equal(json_object_get(change, "old"), json_object_get(change, "new")))
            json_array_remove(changes, i);
    }
}

static int load(const struct call *call, struct shm_seg *seg, json_t *out, struct shm_error *err)
{
    const char *text;
    struct shm_snap *snap;
    int code = read_profile(call->argv[0], &text, err);
    if (code || (code = whole_snapshot(seg, &snap, err)))
        return code;
    size_t count = 0;
    char *copy = strdup(text);
    struct shm_change *changes = calloc(seg->knob_count + 1u, sizeof *changes);
    code = copy && changes ? parse_profile(call->argv[0], copy, snap, changes, &count, err)
                           : shm_fail(err, SHM_EIO, "out of memory");
    if (!code)
        code = apply(call, seg, changes, count, out, err);
    drop_equal(json_object_get(out, "changes"));
    shm_snap_free(snap);
    free(changes);
    free(copy);
    return code;
}

const struct command cmd_load = {
    .name = "load", .operands = "FILE|-", .options = APPLY_OPTIONS,
    .help = "set what a file says, all or none", .least = 1, .most = 1, .each = load,
    .print = print_changes,
};
