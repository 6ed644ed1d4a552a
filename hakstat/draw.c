/* draw.c: the terminal, by ncursesw; see draw.h. */
#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include "hakstat/draw.h"

#include <curses.h>
#include <term.h>

#include <errno.h>
#include <langinfo.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

/* Foreground in 256 colours (middle tones, readable on a light and a dark ground) and in 8 (-1: the
 * terminal's own), and attributes.  What must not be lost in monochrome has an attribute, or
 * a glyph of its own in draw_shares(). */
static const struct {
    short  colour256, colour8;
    attr_t attr;
} inks[INKS] = {
    [INK_TEXT]   = { -1, -1, A_NORMAL },
    [INK_DIM]    = { 244, -1, A_DIM },
    [INK_BOLD]   = { -1, -1, A_BOLD },
    [INK_HEAD]   = { -1, -1, A_REVERSE },
    [INK_CURSOR] = { 32, COLOR_CYAN, A_REVERSE },
    [INK_TAB]    = { 32, COLOR_CYAN, A_BOLD },
    [INK_GOOD]   = { 34, COLOR_GREEN, A_NORMAL },
    [INK_WARN]   = { 172, COLOR_YELLOW, A_BOLD },
    [INK_BAD]    = { 160, COLOR_RED, A_BOLD },
    [INK_L0]     = { 34, COLOR_GREEN, A_NORMAL },
    [INK_FAST]   = { 32, COLOR_CYAN, A_NORMAL },
    [INK_SLOW]   = { 166, COLOR_RED, A_NORMAL },
    [INK_CLASS]  = { 160, COLOR_RED, A_NORMAL }, { 208, COLOR_YELLOW, A_NORMAL },
                   { 142, COLOR_GREEN, A_BOLD }, { 34, COLOR_GREEN, A_NORMAL },
                   { 37, COLOR_CYAN, A_NORMAL }, { 33, COLOR_BLUE, A_NORMAL },
                   { 99, COLOR_BLUE, A_BOLD }, { 164, COLOR_MAGENTA, A_NORMAL },
                   { 204, COLOR_MAGENTA, A_BOLD }, { 244, -1, A_NORMAL },
};

enum { SPARKS = 8, ESCAPE_MS = 25 };

/* Glyphs, plain and drawn. */
static const struct glyphs {
    const wchar_t *l0, *fast, *slow, *full, *empty;
    const wchar_t *spark;               /* SPARKS heights, lowest first */
    const wchar_t *tenths;              /* a slab that is so full; L"": its letter */
} glyph_sets[2] = {
    { L"█", L"▓", L"░", L"█", L"·", L"▁▂▃▄▅▆▇█", L"░░░▒▒▒▓▓▓█" },
    { L"#", L"=", L"!", L"#", L".", L"..::||##", L"" },
};

static const struct glyphs *glyphs;
static attr_t   ink_attr[INKS];
static bool     is_open, has_colour;
static sigset_t mask_outside;           /* signals in draw_key() only: see wait_input() */
static volatile sig_atomic_t stop_signal;

/* What it takes to restore the terminal from a signal handler, without curses. */
static struct termios saved_tty;
static char   leave[256];
static size_t leave_len;

static int leave_put(int c)
{
    if (leave_len < sizeof leave)
        leave[leave_len++] = (char)c;
    return c;
}

/* Only calls that are legal in a signal handler. */
void draw_fault(int signo)
{
    ssize_t ignored = is_open ? write(STDOUT_FILENO, leave, leave_len) : 0;

    (void)signo, (void)ignored;
    if (is_open)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved_tty);
}

static void on_stop(int signo)
{
    stop_signal = signo;
}

/* A fault of our own: SA_RESETHAND lets the second one kill.  SIGBUS belongs to shm/ (shm_fault). */
static void on_fault(int signo)
{
    draw_fault(signo);
    raise(signo);
}

static void catch_signals(void)
{
    static const int stops[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
    static const int faults[] = { SIGSEGV, SIGABRT, SIGFPE, SIGILL };
    struct sigaction stop = { .sa_handler = on_stop };
    struct sigaction fault = { .sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND };
    sigset_t held;

    sigemptyset(&held);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        sigaction(stops[i], &stop, NULL);
        sigaddset(&held, stops[i]);
    }
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigaction(faults[i], &fault, NULL);
    sigaddset(&held, SIGWINCH);
    sigprocmask(SIG_BLOCK, &held, &mask_outside);
}

static void set_inks(bool mono)
{
    bool colour = !mono && has_colors() && start_color() == OK;

    if (colour && use_default_colors() != OK)
        colour = false;
    has_colour = colour;
    for (int i = 0; i < INKS; i++) {
        short fore = COLORS >= 256 ? inks[i].colour256 : inks[i].colour8;

        ink_attr[i] = inks[i].attr;
        if (i >= INK_CLASS && !(colour && COLORS < 256))
            ink_attr[i] = A_NORMAL;     /* bold makes more of eight colours; elsewhere it says how full */
        if (!colour || fore < 0)
            continue;
        init_pair((short)(i + 1), fore, -1);
        ink_attr[i] |= COLOR_PAIR(i + 1);
        if (inks[i].attr == A_DIM)
            ink_attr[i] &= ~A_DIM;
    }
}

bool draw_open(bool ascii, bool mono)
{
    SCREEN *screen;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_tty) != 0) {
        fputs("hakstat: standard input is no terminal; use -b for batch mode\n", stderr);
        return false;
    }
    set_escdelay(ESCAPE_MS);
    screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) {
        const char *term = getenv("TERM");
        fprintf(stderr, "hakstat: cannot use a terminal of type '%s'; set TERM, or use -b\n",
                term != NULL ? term : "");
        return false;
    }
    is_open = true;
    atexit(draw_close);
    tputs(cursor_normal ? cursor_normal : "", 1, leave_put);
    tputs(exit_attribute_mode ? exit_attribute_mode : "", 1, leave_put);
    tputs(keypad_local ? keypad_local : "", 1, leave_put);
    tputs(exit_ca_mode ? exit_ca_mode : "", 1, leave_put);
    catch_signals();
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    set_inks(mono);
    glyphs = &glyph_sets[ascii || strcmp(nl_langinfo(CODESET), "UTF-8") != 0];
    return true;
}

void draw_close(void)
{
    if (!is_open)
        return;
    is_open = false;
    endwin();
    sigprocmask(SIG_SETMASK, &mask_outside, NULL);
}

void draw_die_by_signal(void)
{
    if (stop_signal == 0)
        return;
    signal(stop_signal, SIG_DFL);
    raise(stop_signal);
}

int draw_height(void)
{
    return LINES;
}

int draw_width(void)
{
    return COLS;
}

void draw_begin(void)
{
    erase();
    curs_set(0);
}

void draw_end(void)
{
    refresh();
}

/* The next character of `s`, '?' for what can't be shown; its bytes are added to *s. */
static wchar_t next_char(const char **s, mbstate_t *state)
{
    wchar_t c;
    size_t n = mbrtowc(&c, *s, MB_CUR_MAX, state);

    if (n == (size_t)-1 || n == (size_t)-2) {
        memset(state, 0, sizeof *state);
        n = 1;
        c = L'?';
    }
    *s += n;
    return iswprint((wint_t)c) && wcwidth(c) > 0 ? c : L'?';
}

int draw_text(int row, int col, enum ink ink, const char *format, ...)
{
    char text[1024];
    const char *s = text;
    mbstate_t state = { 0 };
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    attrset(ink_attr[ink]);
    while (*s != '\0') {
        wchar_t c = next_char(&s, &state);
        int width = wcwidth(c);

        if (row >= 0 && row < LINES && col >= 0 && col + width <= COLS)
            mvaddnwstr(row, col, &c, 1);
        col += width;
    }
    return col;
}

void draw_wrapped(int row, int rows, enum ink ink, const char *text)
{
    while (*text != '\0' && rows-- > 0) {
        int len = (int)strlen(text), line = len;

        if (len > COLS && COLS > 0) {
            for (line = COLS; line > 0 && text[line] != ' '; line--)
                ;
            line = line > 0 ? line : COLS;
        }
        draw_text(row++, 0, ink, "%.*s", line, text);
        text += line;
        text += strspn(text, " ");
    }
}

void draw_ground(int row, enum ink ink)
{
    if (row >= 0 && row < LINES)
        mvchgat(row, 0, -1, ink_attr[ink], (short)PAIR_NUMBER(ink_attr[ink]), NULL);
}

static int put_cells(int row, int col, int count, attr_t attr, const wchar_t *glyph)
{
    attrset(attr);
    for (; count > 0; count--, col++)
        if (row >= 0 && row < LINES && col >= 0 && col < COLS)
            mvaddnwstr(row, col, glyph, 1);
    return col;
}

static int cells(double part, int width)
{
    return part <= 0 ? 0 : part >= 1 ? width : (int)(part * width + 0.5);
}

void draw_shares(int row, int col, int width, double l0, double fast, double slow)
{
    int end_l0 = cells(l0, width);
    int end_fast = cells(l0 + fast, width);
    int end_slow = cells(l0 + fast + slow, width);

    put_cells(row, col, end_l0, ink_attr[INK_L0], glyphs->l0);
    put_cells(row, col + end_l0, end_fast - end_l0, ink_attr[INK_FAST], glyphs->fast);
    put_cells(row, col + end_fast, end_slow - end_fast, ink_attr[INK_SLOW], glyphs->slow);
}

bool draw_shows_tenths(void)
{
    return has_colour && glyphs->tenths[0] != L'\0';
}

static enum ink slab_ink(char letter)
{
    return letter >= '0' && letter <= '7' ? INK_CLASS + (enum ink)(letter - '0')
         : letter == 'm' ? INK_CLASS + 8 : letter == 'L' ? INK_CLASS + 9 : INK_DIM;
}

void draw_slab(int row, int col, char letter, char tenths)
{
    const wchar_t plain = (wchar_t)(unsigned char)letter, *glyph = &plain;
    bool known = tenths >= '0' && tenths <= '9';
    attr_t attr = ink_attr[slab_ink(letter)];

    if (known && draw_shows_tenths())
        glyph = &glyphs->tenths[tenths - '0'];
    else if (known && tenths >= '5')
        attr |= A_BOLD;
    put_cells(row, col, 1, attr, glyph);
}

void draw_bar(int row, int col, int width, enum ink ink, double part)
{
    int full = cells(part, width);

    put_cells(row, col, full, ink_attr[ink], glyphs->full);
    put_cells(row, col + full, width - full, ink_attr[INK_DIM], glyphs->empty);
}

void draw_spark(int row, int col, int width, const double *values, int count)
{
    double largest = 0;
    int first = count > width ? count - width : 0;

    for (int i = first; i < count; i++)
        if (values[i] > largest)
            largest = values[i];
    for (int i = first; i < count; i++, col++) {
        if (isnan(values[i]))
            continue;
        int height = largest > 0 ? (int)(values[i] / largest * (SPARKS - 1) + 0.5) : 0;
        put_cells(row, col, 1, ink_attr[INK_L0], &glyphs->spark[height]);
    }
}

void draw_caret(int row, int col)
{
    curs_set(1);
    move(row, col < COLS ? col : COLS - 1);
}

static int translate(int got, wint_t c)
{
    static const struct { int curses, key; } map[] = {
        { KEY_UP, K_UP }, { KEY_DOWN, K_DOWN }, { KEY_LEFT, K_LEFT }, { KEY_RIGHT, K_RIGHT },
        { KEY_PPAGE, K_PAGE_UP }, { KEY_NPAGE, K_PAGE_DOWN }, { KEY_HOME, K_HOME },
        { KEY_END, K_END }, { KEY_BACKSPACE, K_BACKSPACE }, { KEY_ENTER, K_ENTER },
        { KEY_BTAB, K_BACKTAB }, { KEY_F(1), K_F1 }, { KEY_F(6), K_F6 }, { KEY_DC, K_DELETE },
    };

    if (got == OK)
        return c == '\r' || c == '\n' ? K_ENTER : c == 127 || c == '\b' ? K_BACKSPACE : (int)c;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (c == (wint_t)map[i].curses)
            return map[i].key;
    return K_NONE;
}

/* Signals are let in only while we wait, so that none is missed between a look at stop_signal and
 * the wait.  True: there may be input. */
static bool wait_input(int timeout_ms)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
    int n = ppoll(&in, 1, timeout_ms < 0 ? NULL : &ts, &mask_outside);

    if (n > 0 && in.revents & (POLLHUP | POLLERR | POLLNVAL)) { /* no key will ever come */
        stop_signal = stop_signal != 0 ? stop_signal : SIGHUP;
        return false;
    }
    return n != 0;                                  /* on a signal curses may have KEY_RESIZE */
}

int draw_key(int timeout_ms)
{
    wint_t c;
    int got = get_wch(&c);

    if (got == ERR && wait_input(timeout_ms) && stop_signal == 0)
        got = get_wch(&c);
    if (stop_signal != 0)
        return K_STOP;
    return got == ERR ? K_NONE : translate(got, c);
}
