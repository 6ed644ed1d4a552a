/* screen_help.c: the keys, from their table. */
#include "hakstat/screens.h"

static const struct column columns[] = {
    { "key", "KEY", 11, 0, U_TEXT },
    { "meaning", "WHAT IT DOES", 40, 0, U_TEXT },
};

static void fill(const struct span *span, struct table *table)
{
    static const char *const keys[][2] = {
#define KEY(action, label, help, ...) { label, help },
#include "hakstat/keys.def"
#undef KEY
    };

    (void)span;
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct row *row = table_add(table, i);
        row->cell[0].text = keys[i][0];
        row->cell[1].text = keys[i][1];
    }
}

const struct screen screen_help = { .name = "help", COLUMNS(columns), .fill = fill };
