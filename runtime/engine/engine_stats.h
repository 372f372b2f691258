/* engine_stats: counters of an engine. The scheduler and the results of steps add to them. */
#ifndef MAS_ENGINE_STATS_H
#define MAS_ENGINE_STATS_H

#include <stdint.h>

struct engine_stats { /* totals since open */
    uint64_t prompt_tokens, cached_tokens, new_tokens, steps, rows;
    uint64_t sequences;  /* with rows, sum over the steps: / steps = mean width of the batch */
    double busy_seconds; /* inside steps */
    /* running: sequences with a place; waiting: those without one, and scored prompts that are kept
     * for their continuations */
    int running, waiting, pages_used, pages_cached, pages_free;
    int most_pages_used;
    /* of the prefix cache: lookups that found a page or not, and evictions */
    uint64_t pages_found, pages_missed, pages_evicted;
    uint64_t pages_swapped_out, pages_swapped_in; /* to the host, and back */
    /* over the link to the device: streamed weights, and pages swapped in either direction */
    uint64_t streamed_bytes, swapped_bytes;
    uint64_t preempted;
    uint64_t drafted, accepted; /* draft tokens verified, and accepted */
    uint64_t branched;          /* steps that accepted tokens of a branch */
};

#endif
