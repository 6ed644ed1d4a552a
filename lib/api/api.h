/* api.h: what the files of lib/api share. */
#ifndef HAK_API_H
#define HAK_API_H

#include "lib/base/base.h"

/* The names we export.  With HAK_PREFIXED every one is hak_NAME, for sanitizer builds, where the
 * sanitizer's own malloc must stay. */
#ifdef HAK_PREFIXED
#define HAK_API(name) hak_##name
#else
#define HAK_API(name) name
#endif

/* Makes the process ready; returns at once when it is. */
void hak_start(void);

/* The same, and in the child of a fork that no handler has prepared what those do: for whoever is to
 * look at heaps, slots or the segment. */
void hak_ready(void);

/* In the child of a fork: whatever the handlers or the first slow path find to do; idempotent. */
void hak_after_fork(void);

/* free and realloc of a pointer that is not ours: glibc's own goes to glibc; any other one dies. */
void foreign_free(void *p);
void *foreign_realloc(void *p, size_t n);
bool foreign_is_libc(const void *p);
void foreign_init(void);

/* dlopen.c */
void dlopen_init(bool clear_deepbind);

#endif
