/* prefixed.h: with HAK_PREFIXED a test calls hak_malloc() and its kin, so that it can be linked
 * with a build of the library under a sanitizer, which keeps the plain names to itself. */
#ifndef TESTS_PREFIXED_H
#define TESTS_PREFIXED_H

#include <malloc.h>
#include <stdlib.h>

#ifdef HAK_PREFIXED
void *hak_malloc(size_t);
void *hak_calloc(size_t, size_t);
void *hak_realloc(void *, size_t);
void *hak_reallocarray(void *, size_t, size_t);
void  hak_free(void *);
void  hak_free_sized(void *, size_t);
void  hak_free_aligned_sized(void *, size_t, size_t);
int   hak_posix_memalign(void **, size_t, size_t);
void *hak_aligned_alloc(size_t, size_t);
void *hak_memalign(size_t, size_t);
void *hak_valloc(size_t);
void *hak_pvalloc(size_t);
size_t hak_malloc_usable_size(void *);
int   hak_malloc_trim(size_t);

#define malloc             hak_malloc
#define calloc             hak_calloc
#define realloc            hak_realloc
#define reallocarray       hak_reallocarray
#define free               hak_free
#define posix_memalign     hak_posix_memalign
#define aligned_alloc      hak_aligned_alloc
#define memalign           hak_memalign
#define valloc             hak_valloc
#define pvalloc            hak_pvalloc
#define malloc_usable_size hak_malloc_usable_size
#define malloc_trim        hak_malloc_trim
#endif

#endif
