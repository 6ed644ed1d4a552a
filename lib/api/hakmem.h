/* hakmem.h: the public interface of libhakmem beyond the malloc family.
 *
 * The library is normally preloaded, and then needs no header.  A program that links it gets the
 * standard allocation functions and these.  All are thread-safe; none is async-signal-safe. */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "MAJOR.MINOR.PATCH"; a static string. */
const char *hak_version(void);

/* Gives memory back to the kernel: the calling thread's caches, the free slabs of the shared pool,
 * cached mappings.  Other threads' caches stay.  Returns the bytes given back. */
size_t hak_purge(void);

/* C23's sized frees: as free(p).  The size and alignment are not looked at. */
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);

#ifdef __cplusplus
}
#endif
#endif
