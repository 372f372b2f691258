#include "pace.h"

#include <errno.h>
#include <time.h>

void pace_begin(struct pace *p, int64_t now_ns)
{
    if (p->due_ns < now_ns - PACE_IDLE_NS)
        p->due_ns = now_ns;
}

int64_t pace_end(struct pace *p, uint64_t bytes, int64_t now_ns)
{
    p->due_ns += (int64_t)((double)bytes / p->rate * 1e9 + 0.5);
    return p->due_ns > now_ns ? p->due_ns - now_ns : 0;
}

void pace_sleep(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    while (ns > 0 && nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}
