/* memory.h: memory or the end; a tool that can't have a few kilobytes has nothing left to do. */
#ifndef HAKSTAT_MEMORY_H
#define HAKSTAT_MEMORY_H

#include <stdio.h>
#include <stdlib.h>

/* realloc that does not return NULL; exit() puts the terminal back in order. */
static inline void *must_realloc(void *old, size_t size)
{
    void *p = realloc(old, size != 0 ? size : 1);

    if (p == NULL) {
        fputs("hakstat: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

#endif
