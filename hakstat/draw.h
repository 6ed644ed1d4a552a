/* draw.h: the terminal.  draw.c is the only file of hakstat that knows curses.
 *
 * A frame is drawn whole, in a buffer that curses keeps: draw_begin(), any number of calls that
 * put something somewhere, draw_end(), which sends the difference to the terminal.  What lies
 * outside the terminal is cut off; no caller needs to know its size to be safe.
 *
 * Text is UTF-8 or whatever the locale says.  Bytes that are no printable character come out
 * as '?', so that a hostile process name cannot send escape sequences to the terminal.
 *
 * Not thread-safe. */
#ifndef HAKSTAT_DRAW_H
#define HAKSTAT_DRAW_H

#include <stdbool.h>

/* What a piece of text means; colours and attributes are draw.c's own business. */
enum ink {
    INK_TEXT, INK_DIM, INK_BOLD, INK_HEAD, INK_CURSOR, INK_TAB, INK_GOOD, INK_WARN, INK_BAD,
    INK_L0, INK_FAST, INK_SLOW,
    INK_CLASS,                          /* of class 0; those of the others follow */
    INKS = INK_CLASS + 10
};

/* Keys that are no character: above all of Unicode. */
enum {
    K_NONE = -1,                        /* nothing came in time, or the terminal changed its size */
    K_STOP = -2,                        /* a signal asked to end, or the terminal is gone */
    K_ESC = 27,
    K_UP = 0x110000, K_DOWN, K_LEFT, K_RIGHT, K_PAGE_UP, K_PAGE_DOWN, K_HOME, K_END, K_BACKSPACE,
    K_ENTER, K_BACKTAB, K_F1, K_F6, K_DELETE, K_WHEEL_UP, K_WHEEL_DOWN,
};

/* Take the terminal over.  `ascii`: no character outside ASCII (also where the locale has none);
 * `mono`: no colours (also where the terminal has none).  False, with a message on standard
 * error, where standard input or output is no usable terminal.  From here on the terminal is
 * put back in order on draw_close(), exit() and every signal that ends the process. */
bool draw_open(bool ascii, bool mono);

/* Give the terminal back; does nothing the second time. */
void draw_close(void);

/* Give it back in a handler of a signal that will end the process. */
void draw_fault(int signo);

/* End by the signal that made draw_key() say K_STOP, so that the parent sees it; returns where
 * there was none.  Call it after draw_close(). */
void draw_die_by_signal(void);

int draw_height(void);
int draw_width(void);

void draw_begin(void);
void draw_end(void);

/* Put text at a place; returns the column after it. */
int draw_text(int row, int col, enum ink ink, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put text in at most `rows` rows, broken at blanks. */
void draw_wrapped(int row, int rows, enum ink ink, const char *text);

/* Give a whole row, with what is on it, an ink: title bars. */
void draw_ground(int row, enum ink ink);

/* A bar of `width` columns cut in three shares of 1: L0, FastCache, slow.  Shares of less than
 * half a cell are not seen, but one above zero takes no cell from the rest. */
void draw_shares(int row, int col, int width, double l0, double fast, double slow);

/* A slab of a map.  Its class ('0' to '7', 'm', 'L'; anything else is in none) is its colour, and how
 * full it is ('0' to '9' tenths; anything else: unknown) its glyph; where there are no colours or no
 * such glyphs (draw_shows_tenths), the class is its letter, half full or more in bold. */
void draw_slab(int row, int col, char letter, char tenths);
bool draw_shows_tenths(void);

/* A bar of `width` columns, filled for `part` of 1. */
void draw_bar(int row, int col, int width, enum ink ink, double part);

/* The last `width` of `count` values, oldest first, each as high as its part of the largest;
 * NAN leaves its place empty. */
void draw_spark(int row, int col, int width, const double *values, int count);

/* Show the terminal's cursor at a place until the next draw_begin(). */
void draw_caret(int row, int col);

/* Wait for a key, at most `timeout_ms`; negative: for ever. */
int draw_key(int timeout_ms);

#endif
