/* clock: monotonic time. */
#ifndef MAS_CLOCK_H
#define MAS_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(void) /* ns since an arbitrary start, never goes back */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
