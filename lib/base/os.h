/* os.h: what the allocator asks of the kernel.  Every call either says "no memory" (NULL or false)
 * or works; there is no third outcome, but for os_move.  None of them allocates, and none changes errno.
 * All are thread- and signal-safe unless said otherwise. */
#ifndef HAK_OS_H
#define HAK_OS_H

#include "lib/base/base.h"

/* Bytes of a page; set by os_init, which may be called any number of times. */
extern size_t os_page;
void os_init(void);

/* Zeroed private memory.  `align`: a power of two; at least a page is given.  NULL: no memory. */
void *os_map(size_t bytes, size_t align);
size_t os_limit(int resource);                      /* RLIMIT_AS and the like; SIZE_MAX: none */

/* Zeroed private memory over a range that is nobody's or is to be replaced; false: it is as it was. */
bool os_map_at(void *p, size_t bytes);

/* The same where nothing is mapped; false: something is, or no memory, and nothing has changed. */
bool os_map_gap(void *p, size_t bytes);

/* For metadata that lives as long as the process: cut from larger mappings, zeroed, aligned to 64. */
void *os_meta(size_t bytes);

/* Metadata that has a mapping of its own counts here, too; and all of it together. */
void os_meta_note(size_t bytes);
size_t os_meta_mapped(void);

/* Gives an address range back.  Where the kernel has no room to split a mapping (ENOMEM), the pages
 * are given back and the range stays reserved: false. */
bool os_unmap(void *p, size_t bytes);

/* Gives the pages back and keeps the range; it reads as zeroes afterwards.  False: the pages are
 * still there, with what was in them (locked memory). */
bool os_purge(void *p, size_t bytes);

/* Grows or shrinks a mapping where it is.  False: it is as it was. */
bool os_resize(void *p, size_t old_bytes, size_t new_bytes);

/* Moves the pages of a mapping over the one at `to`.  False: they are where they were; the one at `to` may be gone. */
bool os_move(void *from, size_t bytes, void *to, size_t new_bytes);

/* Asks for transparent hugepages in a range; a hint. */
void os_hugepages(void *p, size_t bytes);

/* The range is zeroed in a child after fork; false where the kernel can't. */
bool os_wipe_on_fork(void *p, size_t bytes);

/* What no signal handler may come into, since it might fork or allocate, is between these two; they nest.
 * Nobody waits for a lock in between (lock_take_held).
 * Signals that the thread itself brings about come through: held, they would be its death, and a sandbox
 * answers system calls by SIGSYS. */
uint64_t os_hold_signals(void);
void     os_release_signals(uint64_t held);

uint64_t os_now_ns(void);                            /* CLOCK_MONOTONIC */
int      os_tid(void);

/* Lets other threads run on this CPU, if there are any. */
void os_yield(void);

/* A moment of waiting for another thread, the longer the more often one has `tried`; it sleeps in the
 * end, so that a thread of lower priority comes to run. */
void os_pause(unsigned tried);

/* Sleeps while *word == value; returns at any time.  Wakes one sleeper.  `lock`: its name, or NULL. */
void os_futex_wait(_Atomic uint32_t *word, uint32_t value, const char *lock);
void os_futex_wake(_Atomic uint32_t *word, const char *lock);

#endif
