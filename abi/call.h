/* call.h: how the allocator's own system calls are told from the program's.
 *
 * libhakmem makes its calls of mmap, munmap, mremap, madvise and futex with two registers set that
 * the kernel neither reads nor changes, and that a tracer sees in the registers at the entry of the
 * call (hakprobe does, in the kernel):
 *
 *              tag                what
 *   x86-64     rbx                r12
 *   aarch64    x9                 x10
 *
 * The tag is HAK_CALL_TAG.  What: 0, or the address of a text that says what the call is for, at most
 * HAK_CALL_WHAT bytes with its NUL; for futex the name of the lock.  So a call says itself whose it
 * is, in any process and thread, from the first one on, linked statically or preloaded. */
#ifndef HAK_ABI_CALL_H
#define HAK_ABI_CALL_H

#define HAK_CALL_TAG  0x6d656d6b61682a2aULL     /* "**hakmem" in memory */
#define HAK_CALL_WHAT 16

#endif
