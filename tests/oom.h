/*
 * oom: makes the n-th allocation of the code under test fail. For programs named *_oom.c, malloc,
 * calloc, realloc and aligned_alloc are wrapped at link time. Counts from the call; thread-safe.
 */
#ifndef MAS_OOM_H
#define MAS_OOM_H

#include <stdbool.h>

void oom_at(long n, bool from_then_on); /* n = 1: the next one; 0: off */
long oom_count(void);                   /* allocations since oom_at */

/* Runs body(arg) with the 1st, 2nd, .. allocation failing, until a run without a failure. Each
 * failing run must return ERR_NOMEM and free its memory. Returns the number of failing runs. */
long oom_loop(int (*body)(void *arg), void *arg, bool from_then_on);

#endif
