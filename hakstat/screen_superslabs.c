/* screen_superslabs.c: the map of SuperSlabs: a cell a slab, by class and by how full it is. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hakstat/draw.h"
#include "hakstat/screens.h"

enum { SUPERSLAB, FROM, STATE, IN_USE, FREE, FULL, SLABS, TENTHS };

/* So many slabs are a row, which 80 columns have room for: with slabs of 16 KiB a SuperSlab has two. */
enum { ROW_SLABS = 64 };

/* 80 columns have room for all but the last three ranks. */
static const struct column columns[] = {
    [SUPERSLAB] = { "superslab", "NO", 4, 0, U_COUNT },
    [FROM]      = { "first_slab", "FROM", 4, 5, U_COUNT },
    [STATE]     = { "state", "STATE", 5, 4, U_TEXT },
    [IN_USE]    = { "slabs_used", "USED", 4, 2, U_COUNT },
    [FREE]      = { "slabs_free", "FREE", 4, 3, U_COUNT },
    [FULL]      = { "full_part", "FULL%", 5, 1, U_PART },
    [SLABS]     = { "slabs", "SLABS BY CLASS", ROW_SLABS, 0, U_MAP },
    [TENTHS]    = { "tenths", "TENTHS FULL", 0, 0, U_TENTHS },
};

/* What a slab is: its class, or one of these; and its letter. */
enum { KIND_FREE = HAK_CLASS_LARGE + 1, KIND_LRU, KIND_OTHER, KINDS };
static const char letters[] = "01234567mL.-?";
_Static_assert(sizeof letters - 1 == KINDS, "a letter each");

static unsigned kind_of(const struct shm_seg *seg, uint16_t cell)
{
    unsigned what = cell & 0xFF, bin = what - HAK_CELL_BIN;

    if (what >= HAK_CELL_BIN && bin < seg->bin_count && seg->bins[bin].cls < KIND_FREE)
        return seg->bins[bin].cls;
    return what == HAK_CELL_FREE ? KIND_FREE : what == HAK_CELL_LRU ? KIND_LRU : KIND_OTHER;
}

static char tenths_of(uint16_t cell)
{
    unsigned full = cell >> 8;

    return (cell & 0xFF) < HAK_CELL_BIN ? ' ' : full == 0 ? '?' : (char)('0' + (full - 1) * 9 / 254);
}

/* The slabs of SuperSlab i from `first` on. */
static void add(const struct span *span, struct table *table, size_t i, size_t first)
{
    char slabs[ROW_SLABS + 1] = "", tenths[ROW_SLABS + 1] = "";
    unsigned used = 0, free = 0, known = 0;
    double full = 0;
    struct row *row = table_add(table, i * HAK_MAP_SLABS + first);

    for (size_t k = 0; k < ROW_SLABS && first + k < shm_map_slabs(span->seg); k++) {
        uint16_t cell = span->map[i].cell[first + k];
        unsigned kind = kind_of(span->seg, cell);

        slabs[k] = letters[kind];
        tenths[k] = tenths_of(cell);
        used += kind < KIND_FREE;
        free += kind == KIND_FREE;
        known += isdigit((unsigned char)tenths[k]) != 0;
        full += isdigit((unsigned char)tenths[k]) ? ((cell >> 8) - 1) / 254.0 : 0;
    }
    row->cell[SUPERSLAB].number = (double)i;
    row->cell[FROM].number = (double)first;
    row->cell[STATE].text = slabs[0] == letters[KIND_LRU] ? "LRU" : "live";
    row->cell[IN_USE].number = used;
    row->cell[FREE].number = free;
    row->cell[FULL].number = part_of(full, known);
    row->cell[SLABS].text = table_text(table, "%s", slabs);
    row->cell[TENTHS].text = table_text(table, "%s", tenths);
    row->dim = used == 0;
}

/* Places of SuperSlabs that were unmapped are empty, and so are in a recording the slabs that an older hakstat did
 * not know. */
static bool is_there(const struct shm_superslab *ss, size_t first)
{
    return (ss->cell[first] & 0xFF) != HAK_CELL_NONE;
}

static void fill(const struct span *span, struct table *table)
{
    for (size_t i = 0; i < span->map_count; i++)
        for (size_t first = 0; first < shm_map_slabs(span->seg); first += ROW_SLABS)
            if (is_there(&span->map[i], first))
                add(span, table, i, first);
}

static uint64_t mapped(const struct span *span)
{
    return snap_global(span->to, "superslabs_live") + snap_global(span->to, "superslabs_lru");
}

static const char *empty(const struct span *span)
{
    return span->seg->header.map_count == 0
        ? "The library of this process keeps no map of its SuperSlabs; its counters are on screen 7."
        : mapped(span) != 0
        ? "/dev/shm was too full for a map of the SuperSlabs; their counters are on screen 7."
        : "No SuperSlab is mapped.";
}

/* ---- Below the map ---------------------------------------------------------------------------- */

static void count_slabs(const struct span *span, unsigned counts[KINDS])
{
    memset(counts, 0, KINDS * sizeof *counts);
    for (size_t i = 0; i < span->map_count; i++)
        for (size_t k = 0; k < shm_map_slabs(span->seg); k++)
            counts[kind_of(span->seg, span->map[i].cell[k])]++;
}

static const char *name_of(const struct span *span, unsigned kind)
{
    return kind == KIND_FREE ? "free" : kind == KIND_LRU ? "LRU"
         : kind < span->seg->class_count ? span->seg->classes[kind].name : "?";
}

/* "0 C0 12": a slab as the map draws it, its class, and how many there are. */
static void draw_legend(const struct span *span, int row)
{
    unsigned counts[KINDS];
    int col = 0;

    count_slabs(span, counts);
    for (unsigned kind = 0; kind < KIND_OTHER; kind++) {
        char text[32];
        int length = snprintf(text, sizeof text, "%s %u", name_of(span, kind), counts[kind]);

        if (counts[kind] == 0)
            continue;
        if (col + 2 + length > draw_width()) {
            col = 0;
            row++;
        }
        draw_slab(row, col, letters[kind], kind < KIND_FREE ? '9' : ' ');
        col = draw_text(row, col + 2, INK_TEXT, "%s", text) + 2;
    }
}

static void detail(const struct span *span, const struct row *chosen, int row)
{
    uint64_t shown = 0;
    int col = draw_text(row, 0, INK_DIM, "SuperSlabs: %" PRIu64 " in use, %" PRIu64
                        " empty in the LRU, %" PRIu64 " at most",
                        snap_global(span->to, "superslabs_live"),
                        snap_global(span->to, "superslabs_lru"),
                        snap_global(span->to, "superslabs_peak"));

    (void)chosen;
    for (size_t i = 0; i < span->map_count; i++)
        shown += is_there(&span->map[i], 0);
    if (mapped(span) > shown)
        draw_text(row, col, INK_WARN, "; %" PRIu64 " are not on the map", mapped(span) - shown);
    draw_text(row + 1, 0, INK_DIM, "%s", draw_shows_tenths()
              ? "How full when its thread last looked: ░▒▓█; else a letter."
              : "The letter of its class, in bold if it was half full.");
    draw_legend(span, row + 2);
}

const struct screen screen_superslabs = {
    .name = "superslabs", COLUMNS(columns), .fill = fill, .empty = empty, .detail = detail,
    .detail_rows = 4, .needs_process = true, .walks = true,
};
