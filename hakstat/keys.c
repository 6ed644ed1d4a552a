/* keys.c: what each key of keys.def does to a view. */
#define _GNU_SOURCE
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "hakstat/view.h"

static struct place *place(struct view *v)
{
    return &v->place[v->screen];
}

/* ---- Screens ---------------------------------------------------------------------------------- */

static void go_to(struct view *v, unsigned screen)
{
    if (v->screen < MAIN_SCREENS)
        v->back = v->screen;
    v->screen = screen;
}

static void act_screen(struct view *v, int key)
{
    go_to(v, (unsigned)(key - '1'));
}

static void act_next(struct view *v, int key)
{
    (void)key;
    go_to(v, v->screen < MAIN_SCREENS ? (v->screen + 1) % MAIN_SCREENS : v->back);
}

static void act_previous(struct view *v, int key)
{
    (void)key;
    go_to(v, v->screen < MAIN_SCREENS ? (v->screen + MAIN_SCREENS - 1) % MAIN_SCREENS : v->back);
}

static void toggle(struct view *v, unsigned screen)
{
    go_to(v, v->screen == screen ? v->back : screen);
}

static void act_help(struct view *v, int key)
{
    (void)key;
    toggle(v, SCREEN_HELP);
}

static void act_processes(struct view *v, int key)
{
    (void)key;
    toggle(v, SCREEN_PROCESSES);
}

static void act_escape(struct view *v, int key)
{
    (void)key;
    if (v->screen >= MAIN_SCREENS)
        v->screen = v->back;
    else
        v->open_class = -1;
}

static void act_enter(struct view *v, int key)
{
    (void)key;
    if (screens[v->screen]->enter != NULL && v->table.count != 0)
        screens[v->screen]->enter(v, place(v)->chosen);
}

static void act_quit(struct view *v, int key)
{
    (void)key;
    v->quit = true;
}

/* ---- Moving ----------------------------------------------------------------------------------- */

static void move_to(struct view *v, long index)
{
    long last = (long)v->table.count - 1;

    if (last < 0)
        return;
    index = index < 0 ? 0 : index > last ? last : index;
    place(v)->index = (unsigned)index;
    place(v)->chosen = v->table.rows[index].id;
}

static void act_up(struct view *v, int key)
{
    (void)key;
    move_to(v, (long)place(v)->index - 1);
}

static void act_down(struct view *v, int key)
{
    (void)key;
    move_to(v, (long)place(v)->index + 1);
}

static void act_page_up(struct view *v, int key)
{
    (void)key;
    move_to(v, (long)place(v)->index - (long)v->page);
}

static void act_page_down(struct view *v, int key)
{
    (void)key;
    move_to(v, (long)place(v)->index + (long)v->page);
}

static void act_home(struct view *v, int key)
{
    (void)key;
    move_to(v, 0);
}

static void act_end(struct view *v, int key)
{
    (void)key;
    move_to(v, (long)v->table.count - 1);
}

/* ---- Order and filter ------------------------------------------------------------------------- */

/* A bar has no cells, and what has no width can't be seen. */
static bool sorts_by(const struct column *column)
{
    return column->unit != U_SHARES && column->width != 0;
}

/* Steps through -1 (the table's own order) and all columns to sort by. */
static void step_sort(struct view *v, int step)
{
    int columns = (int)screens[v->screen]->column_count, *sort = &place(v)->sort;

    do
        *sort = (*sort + 1 + step + columns + 1) % (columns + 1) - 1;
    while (*sort >= 0 && !sorts_by(&screens[v->screen]->columns[*sort]));
    if (*sort < 0)
        view_say(v, INK_TEXT, "in the table's own order");
    else
        view_say(v, INK_TEXT, "sorted by %s", screens[v->screen]->columns[*sort].title);
}

static void act_sort_right(struct view *v, int key)
{
    (void)key;
    step_sort(v, 1);
}

static void act_sort_left(struct view *v, int key)
{
    (void)key;
    step_sort(v, -1);
}

static void act_reverse(struct view *v, int key)
{
    (void)key;
    place(v)->reverse = !place(v)->reverse;
}

static void open_prompt(struct view *v, void (*changed)(struct view *),
                        void (*done)(struct view *, const char *))
{
    v->prompt.text[0] = '\0';
    v->prompt.changed = changed;
    v->prompt.done = done;
    v->prompt.open = true;
}

static void filter_changed(struct view *v)
{
    snprintf(v->filter, sizeof v->filter, "%s", v->prompt.text);
}

static void act_filter(struct view *v, int key)
{
    (void)key;
    open_prompt(v, filter_changed, NULL);
    snprintf(v->prompt.label, sizeof v->prompt.label, "show rows with: ");
    filter_changed(v);
}

static void act_unfilter(struct view *v, int key)
{
    (void)key;
    v->filter[0] = '\0';
}

/* ---- Time ------------------------------------------------------------------------------------- */

static const unsigned intervals_ms[] = { 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000 };
enum { INTERVALS = sizeof intervals_ms / sizeof *intervals_ms };

static void act_slower(struct view *v, int key)
{
    (void)key;
    for (unsigned i = 0; i < INTERVALS; i++)
        if (intervals_ms[i] > v->interval_ms) {
            v->interval_ms = intervals_ms[i];
            return;
        }
}

static void act_faster(struct view *v, int key)
{
    (void)key;
    for (unsigned i = INTERVALS; i-- > 0;)
        if (intervals_ms[i] < v->interval_ms) {
            v->interval_ms = intervals_ms[i];
            v->due_ms = now_ms() + v->interval_ms;
            return;
        }
}

static void act_pause(struct view *v, int key)
{
    (void)key;
    v->paused = !v->paused;
}

static void act_cumulative(struct view *v, int key)
{
    (void)key;
    v->cumulative = !v->cumulative;
}

static void act_reset(struct view *v, int key)
{
    struct shm_snap *old = v->reset;

    (void)key;
    if (v->seg == NULL)
        return;
    if (v->replay == NULL && !v->paused && v->ended[0] == '\0')
        view_sample(v);                         /* from now, not from the last sample on */
    v->reset = v->now;
    kernel_reset(&v->kernel);
    view_release(v, old);
    view_say(v, INK_TEXT, "counts start here%s", v->cumulative ? "" : " (c shows them)");
}

static void seek(struct view *v, long i)
{
    if (v->replay != NULL)
        view_seek(v, i);
}

static void act_seek(struct view *v, int key)
{
    seek(v, (long)v->replay_at - 1 + (key == ',' ? -1 : 1));
}

static void act_seek_far(struct view *v, int key)
{
    seek(v, (long)v->replay_at - 1 + (key == K_LEFT ? -10 : 10));
}

static void act_seek_end(struct view *v, int key)
{
    seek(v, key == '[' ? 0 : LONG_MAX);
}

/* ---- Knobs ------------------------------------------------------------------------------------ */

static void knob_done(struct view *v, const char *text)
{
    const struct hak_knob_desc *knob = &v->seg->knobs[v->prompt.knob];
    struct shm_change change = { .knob = knob };
    char old[SHM_VALUE_MAX], new[SHM_VALUE_MAX];
    struct shm_error err;
    struct shm_ack ack;
    int code = shm_value_parse(knob, text, &change.value, &err);

    if (code == SHM_OK) {
        view_say(v, INK_TEXT, "%s: waiting for the threads that move to apply it", knob->name);
        view_draw(v);
        code = shm_set(v->seg, &change, 1, SHM_WAIT_MS, 0, &ack, &err);
    }
    if (code != SHM_OK) {
        view_say(v, INK_BAD, "%s%s", err.text,
                 code == SHM_EREFUSED ? "; nothing changed" : "");
        return;
    }
    view_say(v, INK_GOOD, "%s: %s -> %s (generation %" PRIu64
                          ", applied by %u/%u threads, %u idle)",
             knob->name, shm_value_text(knob, change.old, old),
             shm_value_text(knob, change.value, new), ack.generation, ack.applied, ack.moved,
             ack.idle);
    v->due_ms = 0;
}

void view_edit_knob(struct view *v, uint64_t index)
{
    const struct hak_knob_desc *knob = &v->seg->knobs[index];
    struct shm_error err;

    if (v->ended[0] != '\0') {
        view_say(v, INK_BAD, "%s; nothing changed", v->ended);
    } else if (v->replay != NULL) {
        view_say(v, INK_BAD, "a recording: knobs are only shown");
    } else if (v->readonly) {
        view_say(v, INK_BAD, "--readonly: knobs are only shown");
    } else if (knob->context != HAK_LIVE) {
        shm_startup_knob(knob, &err);
        view_say(v, INK_BAD, "%s; nothing changed", err.text);
    } else {
        open_prompt(v, NULL, knob_done);
        v->prompt.knob = (unsigned)index;
        snprintf(v->prompt.label, sizeof v->prompt.label, "%s = ", knob->name);
    }
}

/* ---- Dispatch --------------------------------------------------------------------------------- */

static void prompt_key(struct view *v, int key)
{
    struct prompt *p = &v->prompt;
    size_t len = strlen(p->text);

    if (key == K_ESC) {
        p->open = false;
        p->text[0] = '\0';
    } else if (key == K_ENTER) {
        p->open = false;
        if (p->done != NULL)
            p->done(v, p->text);
        return;
    } else if (key == K_BACKSPACE && len > 0) {
        p->text[len - 1] = '\0';
    } else if (key < 128 && isprint(key) && len + 1 < sizeof p->text) {
        p->text[len] = (char)key;
        p->text[len + 1] = '\0';
    }
    if (p->changed != NULL)
        p->changed(v);
}

static const struct key {
    void (*act)(struct view *v, int key);
    int codes[12];                      /* 0 after the last */
} keys[] = {
#define KEY(action, label, help, ...) { act_##action, { __VA_ARGS__ } },
#include "hakstat/keys.def"
#undef KEY
};

void view_key(struct view *v, int key)
{
    v->message[0] = '\0';
    if (v->prompt.open) {
        prompt_key(v, key);
        return;
    }
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
        for (unsigned j = 0; keys[i].codes[j] != 0; j++)
            if (keys[i].codes[j] == key) {
                keys[i].act(v, key);
                return;
            }
}
