#include "retry.h"

#include "rng.h"

double retry_wait(double first_s, int attempt, double asked_s, uint64_t key)
{
    double wait = first_s;
    for (int i = 1; i < attempt && i <= RETRY_DOUBLINGS; i++)
        wait *= 2;
    double jitter = 0.5 + 0.5 * (double)rng_uniform(rng_key(key, (uint64_t)attempt, 0), 0);
    wait *= jitter;
    /* after the wait that was asked for, a part of the first wait spreads the clients */
    return asked_s >= 0 && asked_s + first_s * (1 - jitter) > wait
               ? asked_s + first_s * (1 - jitter)
               : wait;
}

void retry_window_open(struct retry_window *w, int most, double rest_s)
{
    *w = (struct retry_window){
        .size = most, .most = most, .cut_ns = INT64_MIN / 2, .rest_ns = (int64_t)(rest_s * 1e9)};
}

int retry_window_room(const struct retry_window *w)
{
    return (int)w->size;
}

void retry_window_grow(struct retry_window *w)
{
    w->size += 1 / w->size;
    if (w->size > w->most)
        w->size = w->most;
}

void retry_window_cut(struct retry_window *w, int64_t now_ns)
{
    if (now_ns - w->cut_ns < w->rest_ns)
        return;
    w->cut_ns = now_ns;
    w->size = w->size / 2 > 1 ? w->size / 2 : 1;
}
