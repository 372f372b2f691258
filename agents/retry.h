/*
 * retry: how long a client waits before the next attempt, and how many requests it keeps in flight.
 * Plain data and arithmetic: no clock, no network.
 */
#ifndef MAS_RETRY_H
#define MAS_RETRY_H

#include <stdint.h>

#define RETRY_DOUBLINGS 6 /* the longest wait is 64 times the first */

/* Seconds before attempt + 1 (attempt: from 1): first * 2^(attempt - 1), times a factor that key
 * draws from 0.5 to 1. The factor spreads clients that failed together. A wait that the server asks
 * for (asked_s, negative = none) is never cut short. */
double retry_wait(double first_s, int attempt, double asked_s, uint64_t key);

/* Requests in flight: additive increase, multiplicative decrease. */
struct retry_window {
    double size;     /* 1 or more */
    double most;     /* the limit of the configuration */
    int64_t cut_ns;  /* time of the last decrease */
    int64_t rest_ns; /* no second decrease within this time */
};
void retry_window_open(struct retry_window *w, int most, double rest_s);
int retry_window_room(const struct retry_window *w);           /* requests that may be in flight */
void retry_window_grow(struct retry_window *w);                /* after a good reply */
void retry_window_cut(struct retry_window *w, int64_t now_ns); /* the server is overloaded */

#endif
