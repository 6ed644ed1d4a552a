/* screen_knobs.c: every knob, its value in force and where that came from; Enter changes it. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "hakstat/draw.h"
#include "hakstat/screens.h"
#include "hakstat/view.h"

enum { KNOB, VALUE, DEFAULT, RANGE, CONTEXT, ORIGIN, UNIT, HELP };

static const struct column columns[] = {
    [KNOB]    = { "knob", "KNOB", 26, 0, U_TEXT },
    [VALUE]   = { "value", "VALUE", 8, 0, U_TEXT },
    [DEFAULT] = { "default", "DEFAULT", 8, 0, U_TEXT },
    [RANGE]   = { "range", "RANGE", 14, 1, U_TEXT },
    [CONTEXT] = { "context", "CONTEXT", 7, 0, U_TEXT },
    [ORIGIN]  = { "origin", "ORIGIN", 8, 1, U_TEXT },
    [UNIT]    = { "unit", "UNIT", 10, 2, U_TEXT },
    [HELP]    = { "help", "MEANING", 30, 3, U_TEXT },
};

static void add(const struct span *span, struct table *table, unsigned i)
{
    const struct hak_knob_desc *knob = &span->seg->knobs[i];
    struct row *row = table_add(table, i);
    char value[SHM_VALUE_MAX], least[SHM_VALUE_MAX], most[SHM_VALUE_MAX];

    row->cell[KNOB].text = knob->name;
    row->cell[VALUE].text =
        table_text(table, "%s", shm_value_text(knob, span->to->state.values[knob->index], value));
    row->cell[DEFAULT].text = table_text(table, "%s", shm_value_text(knob, knob->def, value));
    row->cell[RANGE].text = table_text(table, "%s..%s", shm_value_text(knob, knob->min, least),
                                       shm_value_text(knob, knob->max, most));
    row->cell[CONTEXT].text = knob->context == HAK_LIVE ? "live" : "startup";
    row->cell[ORIGIN].text = shm_origin_name(span->to->state.origin[knob->index].from);
    row->cell[UNIT].text = knob->unit;
    row->cell[HELP].text = knob->help;
    row->dim = knob->context != HAK_LIVE;
}

static void fill(const struct span *span, struct table *table)
{
    for (unsigned i = 0; i < span->seg->knob_count && i < HAK_VALUES_MAX; i++)
        add(span, table, i);
}

static void detail(const struct span *span, const struct row *chosen, int row)
{
    const struct hak_knob_desc *knob = &span->seg->knobs[chosen->id];
    const struct hak_origin_rec *origin = &span->to->state.origin[knob->index];
    time_t when = (time_t)(origin->ns / 1000000000);
    struct tm tm;
    char text[32] = "";
    int col;

    draw_wrapped(row, 2, INK_TEXT, knob->help);
    col = draw_text(row + 2, 0, INK_DIM, "%s%s%s", knob->env, knob->alias[0] != '\0' ? " or " : "",
                    knob->alias);
    if (origin->ns != 0 && localtime_r(&when, &tm) != NULL) {
        strftime(text, sizeof text, "%F %T", &tm);
        draw_text(row + 2, col, INK_DIM, "; set %s by pid %" PRId32 ", uid %" PRIu32, text,
                  origin->pid, origin->uid);
    }
}

const struct screen screen_knobs = {
    .name = "knobs", COLUMNS(columns), .fill = fill, .detail = detail, .detail_rows = 3,
    .enter = view_edit_knob, .needs_process = true,
};
