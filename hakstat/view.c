/* view.c: frames, and the loop that makes them; see view.h. */
#define _GNU_SOURCE
#include "hakstat/view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Rows of a frame:  title, four lines of figures, tabs, column heads, the table, the detail of
 * the chosen row, and the bottom line. */
enum { ROW_TITLE, ROW_FIGURES, ROW_TABS = 5, ROW_HEADS, ROW_TABLE, TABLE_LEAST = 5 };

enum { BAR_MOST = 48 };                /* what a bar is widened by */
enum { LOOK_MS = 1000 };               /* how often to look for a process to go on with */

void view_say(struct view *v, enum ink ink, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(v->message, sizeof v->message, format, args);
    va_end(args);
    v->message_ink = ink;
}

/* "  REPLAY 12/3600  PAUSED": what is not as usual. */
static const char *condition(const struct view *v, char text[64])
{
    const char *what = v->ended[0] != '\0' ? "  ENDED" : v->paused ? "  PAUSED" : "";

    if (v->replay != NULL)
        snprintf(text, 64, "  REPLAY %u/%u%s", v->replay_at, replay_count(v->replay), what);
    else
        snprintf(text, 64, "%s%s", v->recorder != NULL ? "  RECORDING" : "", what);
    return text;
}

static void draw_title(const struct view *v)
{
    char right[40], unusual[64];
    int col = draw_text(ROW_TITLE, 0, INK_HEAD, " hakstat");

    if (v->seg != NULL) {
        struct span life = { .seg = v->seg, .to = v->now };
        uint64_t up = v->now != NULL ? span_ns(&life) / 1000000000 : 0;

        col = draw_text(ROW_TITLE, col, INK_HEAD, "  %s  pid %d  up %" PRIu64 ":%02u:%02u%s",
                        v->seg->proc.comm, v->seg->proc.pid, up / 3600,
                        (unsigned)(up / 60 % 60), (unsigned)(up % 60), condition(v, unusual));
    }
    snprintf(right, sizeof right, "  %s  every %g s ",
             !v->cumulative ? "" : v->reset != NULL ? "since reset" : "since start",
             v->interval_ms / 1000.0);
    if (draw_width() - (int)strlen(right) >= col)
        draw_text(ROW_TITLE, draw_width() - (int)strlen(right), INK_HEAD, "%s", right);
    draw_ground(ROW_TITLE, INK_HEAD);
}

/* A name and its value, if both find room; returns the column after them. */
__attribute__((format(printf, 5, 6)))
static int draw_item(int row, int col, enum ink ink, const char *name, const char *format, ...)
{
    char value[80];
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    if (col + (int)(strlen(name) + 1 + strlen(value)) > draw_width())
        return col;
    col = draw_text(row, col, INK_DIM, "%s ", name);
    return draw_text(row, col, ink, "%s", value) + 2;
}

static int draw_part(int row, int col, const char *name, uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return draw_item(row, col, INK_BOLD, name, "-");
    return draw_item(row, col, INK_BOLD, name, "%.1f %%", 100.0 * (double)part / (double)whole);
}

static int draw_bytes(int row, int col, const char *name, uint64_t bytes)
{
    char text[24];

    return draw_item(row, col, INK_BOLD, name, "%s", shm_bytes_text(bytes, text));
}

static void draw_threads_line(const struct view *v, const struct shm_sums *sums, int row)
{
    const struct shm_snap *snap = v->now;
    unsigned applied = snap_applied(snap);
    int col = draw_item(row, 0, INK_BOLD, "threads", "%u", snap->threads);

    col = draw_item(row, col, INK_BOLD, "generation", "%" PRIu64, snap->state.generation) - 1;
    col = draw_item(row, col, applied == snap->threads ? INK_GOOD : INK_WARN, "applied by",
                    "%u/%u", applied, snap->threads);
    if (!snap->exact)
        col = draw_item(row, col, INK_WARN, "NOT EXACT", " ");
    col = draw_part(row, col, "L0", sums->heap_v2_hits, sums->allocs);
    col = draw_part(row, col, "FastCache", sums->fast_cache_hits, sums->allocs);
    draw_part(row, col, "slow", sums->slow_allocs, sums->allocs);
}

static void draw_memory_line(const struct view *v, const struct span *span,
                             const struct shm_sums *sums, int row)
{
    char text[NUMBER_MAX];
    int col = draw_bytes(row, 0, "live", sums->live_bytes);

    col = draw_bytes(row, col, "cached", span_cached_bytes(span, SHM_ALL, ALL_BINS));
    col = draw_bytes(row, col, "mapped", snap_global(v->now, "mapped_bytes"));
    if (v->rss_bytes != 0)
        col = draw_bytes(row, col, "RSS", v->rss_bytes);
    col = draw_bytes(row, col, "purged", snap_thread(v->now, "os_purge_bytes"));
    draw_item(row, col, INK_BOLD, "blocks", "%s", number_count((double)sums->live, text));
}

/* A rate and its spark, which has half of the width. */
static int draw_rate(int row, int col, const char *name, const double *values)
{
    int width = draw_width() / 2 - 18;
    char text[NUMBER_MAX];

    width = width < 0 ? 0 : width > SPARK_VALUES ? SPARK_VALUES : width;
    col = draw_item(row, col, INK_BOLD, name, "%6s", number_count(values[SPARK_VALUES - 1], text));
    draw_spark(row, col - 1, width, values, SPARK_VALUES);
    return col + width + 1;
}

static void draw_rates_line(const struct view *v, int row)
{
    int col = draw_rate(row, 0, "allocs/s", v->allocs_s);

    draw_rate(row, col, "frees/s", v->frees_s);
}

enum { SYSTEM_CALLS = 3 };
static const struct { enum hakprobe_call call; const char *counter; } system_calls[SYSTEM_CALLS] = {
    { HAKPROBE_MMAP, "mmap_calls" }, { HAKPROBE_MUNMAP, "munmap_calls" }, { HAKPROBE_FUTEX, "futex_calls" },
};

/* The library's calls in the span, by the kernel's count, or by its own: false. */
static bool count_calls(const struct span *span, double n[SYSTEM_CALLS])
{
    struct probes_reading *since = span->kernel != NULL ? probes_since(span->kernel, span->kernel_from) : NULL;

    for (int i = 0; i < SYSTEM_CALLS; i++)
        n[i] = since == NULL ? (double)span_global(span, system_calls[i].counter) :
            (double)probes_sum(since->processes[0].counts[system_calls[i].call][HAKPROBE_ALLOCATOR].histogram);
    bool kernel = since != NULL;
    probes_reading_free(since);
    return kernel;
}

static void draw_system_line(const struct view *v, const struct span *span, int row)
{
    double n[SYSTEM_CALLS];
    char text[NUMBER_MAX];
    bool kernel = count_calls(span, n);
    int col = draw_item(row, 0, INK_BOLD, "SuperSlabs", "%" PRIu64 "+%" PRIu64 " LRU",
                        snap_global(v->now, "superslabs_live"), snap_global(v->now, "superslabs_lru"));

    for (int i = 0; i < SYSTEM_CALLS; i++)
        col = draw_item(row, col, INK_BOLD, probes_call_names[system_calls[i].call], "%s%s",
                        number_count(n[i] / (span->rate ? span->seconds : 1), text), span->rate ? "/s" : "");
    draw_item(row, col, INK_DIM, "by", "%s", kernel ? "the kernel" : "own counters");
}

static void draw_figures(const struct view *v, const struct span *span)
{
    struct shm_sums sums;

    span_sums(span, SHM_ALL, ALL_BINS, &sums);
    draw_threads_line(v, &sums, ROW_FIGURES);
    draw_memory_line(v, span, &sums, ROW_FIGURES + 1);
    draw_rates_line(v, ROW_FIGURES + 2);
    draw_system_line(v, span, ROW_FIGURES + 3);
}

/* What stands behind the tabs: a screen that has none, or the class that is open; "" where nothing. */
static const char *behind_tabs(const struct view *v, char text[32])
{
    text[0] = '\0';
    if (v->screen >= MAIN_SCREENS)
        snprintf(text, 32, " [%s]", screens[v->screen]->name);
    else if (v->screen == 0 && v->open_class >= 0)
        snprintf(text, 32, " bins of %s", v->seg->classes[v->open_class].name);
    return text;
}

/* The name on tab i: whole where it is the screen's that is shown, otherwise of at most so many
 * letters. */
static int tab_letters(const struct view *v, unsigned i, int most)
{
    int whole = (int)strlen(screens[i]->name);

    return i == v->screen || whole < most ? whole : most;
}

enum { TAB_EXTRA = 4, NAME_LONGEST = 12 };         /* "[1 " and "]" */

/* The longest names of tabs that leave room for `more` columns. */
static int fitting_letters(const struct view *v, int more)
{
    for (int most = NAME_LONGEST; most > 0; most--) {
        int width = more;

        for (unsigned i = 0; i < MAIN_SCREENS; i++)
            width += TAB_EXTRA + tab_letters(v, i, most);
        if (width <= draw_width())
            return most;
    }
    return 0;
}

static void draw_tabs(const struct view *v)
{
    char text[32];
    const char *behind = behind_tabs(v, text);
    int col = 0, most = fitting_letters(v, (int)strlen(behind));

    for (unsigned i = 0; i < MAIN_SCREENS; i++)
        col = draw_text(ROW_TABS, col, i == v->screen ? INK_TAB : INK_TEXT,
                        i == v->screen ? "[%u %.*s]" : " %u %.*s ", i + 1,
                        tab_letters(v, i, most), screens[i]->name);
    draw_text(ROW_TABS, col, v->screen >= MAIN_SCREENS ? INK_TAB : INK_DIM, "%s", behind);
}

static bool stretches(const struct column *c)
{
    return c->unit == U_SHARES || c->unit == U_TEXT || c->unit == U_MAP;
}

/* The highest rank of which all columns fit. */
static int fitting_rank(const struct table *t)
{
    int rank = 0;

    for (int try = 1; try < TABLE_COLUMNS; try++) {
        int width = -1;

        for (unsigned i = 0; i < t->column_count; i++)
            width += t->columns[i].rank <= try && t->columns[i].width != 0 ? t->columns[i].width + 1 : 0;
        if (width <= draw_width())
            rank = try;
    }
    return rank;
}

/* Widths of the columns that are shown, 0 for the others.  What is left over goes to a bar, or to
 * a text that comes last. */
static void lay_out(const struct table *t, int widths[TABLE_COLUMNS])
{
    int rank = fitting_rank(t), left = draw_width() + 1, bar = -1, last = -1;

    for (unsigned i = 0; i < t->column_count; i++) {
        widths[i] = t->columns[i].rank <= rank ? t->columns[i].width : 0;
        if (widths[i] == 0)
            continue;
        left -= widths[i] + 1;
        last = (int)i;
        if (t->columns[i].unit == U_SHARES)
            bar = (int)i;
    }
    if (bar >= 0)
        widths[bar] += left < BAR_MOST ? left : BAR_MOST;
    else if (last >= 0 && t->columns[last].unit == U_TEXT && left > 0)
        widths[last] += left;
}

static void draw_heads(const struct table *t, const int widths[TABLE_COLUMNS],
                       const struct place *place)
{
    int col = 0;
    char title[TABLE_CELL_MAX];

    for (unsigned i = 0; i < t->column_count; i++) {
        enum ink ink = (int)i == place->sort ? INK_CURSOR : INK_HEAD;

        if (widths[i] == 0)
            continue;
        table_title(t, i, title);
        draw_text(ROW_HEADS, col, ink, stretches(&t->columns[i]) ? "%-*s" : "%*s", widths[i],
                  title);
        col = draw_text(ROW_HEADS, col + widths[i], INK_HEAD, " ");
    }
    draw_text(ROW_HEADS, col, INK_HEAD, "%*s", draw_width() - col > 0 ? draw_width() - col : 0,
              "");
}

/* Where the terminal is too narrow for all of it, the last column says so. */
static void draw_map(int row, int col, const char *letters, const char *tenths)
{
    for (size_t i = 0; letters[i] != '\0'; i++)
        draw_slab(row, col + (int)i, letters[i], tenths[i]);
    if (col + (int)strlen(letters) > draw_width())
        draw_text(row, draw_width() - 1, INK_WARN, ">");
}

static void draw_row(const struct table *t, const int widths[TABLE_COLUMNS],
                     const struct row *row, int at, bool chosen)
{
    enum ink ink = chosen ? INK_CURSOR : row->pinned ? INK_BOLD : row->dim ? INK_DIM : INK_TEXT;
    char text[TABLE_CELL_MAX];
    int col = 0;

    draw_text(at, 0, ink, "%*s", draw_width(), "");
    for (unsigned i = 0; i < t->column_count; i++) {
        if (widths[i] == 0)
            continue;
        if (t->columns[i].unit == U_SHARES)
            draw_shares(at, col, widths[i], row->shares[0], row->shares[1], row->shares[2]);
        else if (t->columns[i].unit == U_MAP)
            draw_map(at, col, row->cell[i].text, row->cell[i + 1].text);
        else if (t->columns[i].unit == U_TEXT)
            draw_text(at, col, ink, "%.*s", widths[i], table_cell(t, row, i, text));
        else
            draw_text(at, col, ink, "%*s", widths[i], table_cell(t, row, i, text));
        col += widths[i] + 1;
    }
}

/* Finds the chosen row again, or the one that took its place, and scrolls to it.  `stay`: who is at
 * the top stays there, whatever comes in. */
static void settle(struct place *place, const struct table *t, unsigned page, bool stay)
{
    unsigned i = 0;

    if (stay && place->index == 0 && t->count != 0)
        place->chosen = t->rows[0].id;
    while (i < t->count && t->rows[i].id != place->chosen)
        i++;
    if (i == t->count)
        i = place->index < t->count ? place->index : t->count != 0 ? t->count - 1 : 0;
    place->index = i;
    place->chosen = t->count != 0 ? t->rows[i].id : 0;
    if (place->top > i)
        place->top = i;
    if (i >= place->top + page)
        place->top = i - page + 1;
    if (place->top + page > t->count)
        place->top = t->count > page ? t->count - page : 0;
}

static void fill_table(struct view *v, const struct screen *screen, const struct span *span)
{
    const struct place *place = &v->place[v->screen];

    table_begin(&v->table, screen->columns, screen->column_count);
    v->table.rate = span != NULL && span->rate;
    v->table.seconds = span != NULL ? span->seconds : 1;
    screen->fill(span, &v->table);
    if (v->filter[0] != '\0')
        table_filter(&v->table, v->filter);
    if (place->sort >= 0)
        table_sort(&v->table, (unsigned)place->sort, place->reverse);
}

static void draw_table(struct view *v, const struct screen *screen, const struct span *span)
{
    struct place *place = &v->place[v->screen];
    int rows = draw_height() - ROW_TABLE - 1;
    int widths[TABLE_COLUMNS] = { 0 };
    bool detail = screen->detail != NULL && rows - screen->detail_rows - 1 >= TABLE_LEAST;

    fill_table(v, screen, span);
    if (detail)
        rows -= screen->detail_rows + 1;
    v->page = rows > 0 ? (unsigned)rows : 1;
    settle(place, &v->table, v->page, screen->newest_first);
    lay_out(&v->table, widths);
    draw_heads(&v->table, widths, place);
    for (unsigned i = place->top; i < v->table.count && i < place->top + v->page; i++)
        draw_row(&v->table, widths, &v->table.rows[i], ROW_TABLE + (int)(i - place->top),
                 i == place->index);
    if (v->table.count == 0 && screen->empty != NULL)
        draw_wrapped(ROW_TABLE + 1, 3, INK_WARN, screen->empty(span));
    if (detail && v->table.count != 0)
        screen->detail(span, &v->table.rows[place->index],
                       draw_height() - 1 - screen->detail_rows);
}

/* A message that is longer than a row takes two. */
static void draw_message(int row, enum ink ink, const char *text)
{
    bool two = (int)strlen(text) > draw_width();

    for (int i = row - two; i <= row; i++)
        draw_text(i, 0, INK_TEXT, "%*s", draw_width(), "");
    draw_wrapped(row - two, 2, ink, text);
}

static void draw_bottom(struct view *v)
{
    int row = draw_height() - 1;

    if (v->prompt.open) {
        int col = draw_text(row, 0, INK_BOLD, "%s", v->prompt.label);

        draw_caret(row, draw_text(row, col, INK_TEXT, "%s", v->prompt.text));
    } else if (v->message[0] != '\0') {
        draw_message(row, v->message_ink, v->message);
    } else if (v->ended[0] != '\0') {
        char text[560];

        snprintf(text, sizeof text, "pid %d: %s; these are its last figures", v->seg->proc.pid,
                 v->ended);
        draw_message(row, INK_BAD, text);
    } else if (v->filter[0] != '\0') {
        draw_text(row, 0, INK_WARN, "only rows with '%s'; \\ shows all", v->filter);
    } else {
        draw_text(row, 0, INK_DIM, "h help  q quit  Tab screens  / filter  < > sort  p pause  "
                                   "c counts  o processes  Enter open, edit");
    }
}

/* No process yet: no rows either, so that no key finds one. */
static void draw_nothing(struct view *v)
{
    table_begin(&v->table, NULL, 0);
    if (v->follow != NULL)
        draw_text(ROW_TABLE, 0, INK_WARN, "Waiting for a process named '%s'.", v->follow);
    else
        draw_text(ROW_TABLE, 0, INK_WARN, "No process is watched; o lists those there are.");
}

void view_draw(struct view *v)
{
    const struct screen *screen = screens[v->screen];
    struct span span;

    draw_begin();
    draw_title(v);
    draw_tabs(v);
    if (v->now != NULL) {
        span = view_span(v);
        draw_figures(v, &span);
    }
    if (v->now != NULL || !screen->needs_process)
        draw_table(v, screen, v->now != NULL ? &span : NULL);
    else
        draw_nothing(v);
    draw_bottom(v);
    draw_end();
}

/* ---- The loop --------------------------------------------------------------------------------- */

static void sample_if_due(struct view *v)
{
    uint64_t now = now_ms();

    if (v->paused || now < v->due_ms)
        return;
    v->due_ms = now + v->interval_ms;
    if (v->replay != NULL ? v->replay_at < replay_count(v->replay) && v->ended[0] == '\0'
                          : (v->seg != NULL && v->ended[0] == '\0') || view_go_on(v))
        view_sample(v);
    else if (v->due_ms < now + LOOK_MS)
        v->due_ms = now + LOOK_MS;
}

static int wait_ms(const struct view *v)
{
    uint64_t now = now_ms();

    if (v->paused)
        return (int)v->interval_ms;
    return now < v->due_ms ? (int)(v->due_ms - now) : 0;
}

void view_run(struct view *v)
{
    while (!v->quit) {
        int key;

        sample_if_due(v);
        view_draw(v);
        key = draw_key(wait_ms(v));
        if (key == K_STOP)
            break;
        if (key != K_NONE)
            view_key(v, key);
    }
}
