/* complete.c: the verb complete: what can stand in the place of the last word of a command line.
 * The completions of bash and zsh (completion/) ask it, so that they know every verb, option, knob
 * and counter there is, and the processes that run.
 *
 * It prints lines "WORD<tab>what it is", those that begin as the last word does. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hakctl/hakctl.h"

static const struct {
    const char *name, *help;
} counters[] = {
#define BIN_STAT(id, name_, help_)                    { name_, help_ },
#define SAMPLE_STAT(id, name_, help_)                 { name_, help_ },
#define THREAD_STAT(id, name_, unit_, help_)          { name_, help_ },
#define GLOBAL_STAT(id, name_, kind_, unit_, help_)   { name_, help_ },
#include "abi/stats.def"
#undef BIN_STAT
#undef SAMPLE_STAT
#undef THREAD_STAT
#undef GLOBAL_STAT
};

/* The word to complete, and what is known of those before it. */
struct line {
    const char *last;
    const struct command *verb;         /* NULL: none yet */
    const struct option_row *option;    /* last is its argument; NULL: it is not */
    bool ended;                         /* after "--": another command's words */
};

static void offer(const struct line *line, const char *word, const char *end, const char *help)
{
    char whole[2 * HAK_NAME_MAX];
    snprintf(whole, sizeof whole, "%s%s", word, end);
    if (!strncmp(whole, line->last, strlen(line->last)))
        printf("%s\t%s\n", whole, help);
}

/* ---- The line so far ----------------------------------------------------------------------- */

/* The option that a word is, if an argument must follow in the next word. */
static const struct option_row *awaits_argument(const char *word)
{
    const struct option_row *o;
    for (int i = 0; (o = option_row(i)); i++)
        if (o->argument && word[0] == '-'
            && (word[1] == '-' ? !strcmp(word + 2, o->name) : word[1] == o->letter && !word[2]))
            return o;
    return NULL;
}

static const struct command *verb_named(const char *word)
{
    for (int i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, word))
            return commands[i];
    return NULL;
}

static struct line read_line(char **words)
{
    struct line line = { .last = "" };
    for (; *words; words++) {
        const char *word = line.last = *words;
        if (!words[1])
            break;
        line.ended = line.ended || !strcmp(word, "--");
        if (line.option)
            line.option = NULL;         /* word was its argument */
        else if (!(line.option = awaits_argument(word)) && !line.verb)
            line.verb = verb_named(word);
    }
    return line;
}

/* ---- What there is ------------------------------------------------------------------------- */

static void offer_processes(const struct line *line, bool by_name)
{
    struct shm_proc *list = NULL;
    size_t count = 0;
    if (shm_find(&list, &count, NULL))
        return;
    for (size_t i = 0; i < count; i++) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", list[i].pid);
        if (list[i].live && list[i].pid)
            offer(line, by_name ? list[i].comm : pid, "", by_name ? pid : list[i].comm);
    }
    free(list);
}

static void offer_argument(const struct line *line)
{
    static const char *const keys[] = { "pid", "name", "threads", "live", "generation", "state" };
    switch (line->option->letter) {
    case 'p': offer_processes(line, false); break;
    case 'c': offer_processes(line, true); break;
    case 'S':
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            offer(line, keys[i], "", "sort by it");
    }
}

static void offer_options(const struct line *line)
{
    const struct option_row *o;
    for (int i = 0; (o = option_row(i)); i++) {
        char name[HAK_NAME_MAX];
        snprintf(name, sizeof name, "--%s", o->name);
        if (!o->own || (line->verb && strchr(line->verb->options, o->letter)))
            offer(line, name, "", o->help);
    }
}

static void offer_verbs(const struct line *line)
{
    for (int i = 0; commands[i]; i++)
        offer(line, commands[i]->name, "", commands[i]->help);
}

/* The values of NAME= that can be named: the default and the ends of the range. */
static void offer_values(const struct line *line, const struct hak_knob_desc *knob)
{
    const struct { uint64_t value; const char *help; } values[] = {
        { knob->def, "default" }, { knob->min, "least" }, { knob->max, "most" },
    };
    for (int i = 0; i < 3; i++) {
        char value[SHM_VALUE_MAX], both[2 * HAK_NAME_MAX];
        if (i && values[i].value == knob->def)
            continue;
        snprintf(both, sizeof both, "%s=%s", knob->name,
                 shm_value_text(knob, values[i].value, value));
        offer(line, both, "", values[i].help);
    }
}

/* Only `run` can give a startup knob a value. */
static void offer_knobs(const struct line *line, bool assigned)
{
    size_t typed = strcspn(line->last, "=");
    for (unsigned i = 0; i < own_knob_count; i++) {
        const struct hak_knob_desc *knob = &own_knobs[i];
        if (assigned && knob->context != HAK_LIVE && line->verb != &cmd_run)
            continue;
        if (!line->last[typed])
            offer(line, knob->name, assigned ? "=" : "", knob->help);
        else if (assigned && typed == strlen(knob->name) && !strncmp(knob->name, line->last, typed))
            offer_values(line, knob);
    }
}

static void offer_counters(const struct line *line)
{
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        offer(line, counters[i].name, "", counters[i].help);
}

/* What a verb takes is written in its usage. */
static void offer_operands(const struct line *line)
{
    const char *operands = line->verb->operands;
    if (line->verb == &cmd_watch)
        offer_counters(line);
    else if (strstr(operands, "NAME="))
        offer_knobs(line, true);
    else if (strstr(operands, "NAME") || strstr(operands, "GLOB"))
        offer_knobs(line, false);
}

static int complete(const struct call *call, json_t *out, struct shm_error *err)
{
    (void)out, (void)err;
    struct line line = read_line(call->rest);
    if (line.ended)
        return SHM_OK;
    if (line.option)
        offer_argument(&line);
    else if (line.last[0] == '-')
        offer_options(&line);
    else if (!line.verb)
        offer_verbs(&line);
    else
        offer_operands(&line);
    return SHM_OK;
}

const struct command cmd_complete = {
    .name = "complete", .operands = "-- WORD...", .options = "",
    .help = "what can stand in the place of the last word", .once = complete,
};
