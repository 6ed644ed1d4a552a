/* orders.h: how a process that does what a test orders reads an order. */
#ifndef TESTS_ORDERS_H
#define TESTS_ORDERS_H

#include <unistd.h>

/* A line from standard input, read byte by byte: stdio would allocate. */
static int read_line(char *line, size_t room)
{
    size_t n = 0;

    while (n + 1 < room && read(0, &line[n], 1) == 1)
        if (line[n++] == '\n') {
            line[n - 1] = '\0';
            return 1;
        }
    return 0;
}

#endif
