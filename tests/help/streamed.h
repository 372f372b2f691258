/* streamed: made-up items of a made-up file, streamed through a stage and compared, for tests. */
#ifndef MAS_STREAMED_H
#define MAS_STREAMED_H

#include "ops.h"
#include "stage.h"

enum { STREAMED_ITEMS = 8, STREAMED_RANGES = 3 };

struct streamed {
    struct stage_item item[STREAMED_ITEMS];
    struct stage_range range[STREAMED_ITEMS][STREAMED_RANGES];
    int n_item;
    uint64_t largest, total; /* bytes of items, each rounded up to 256 */
    /* state of the reader */
    uint64_t rng;
    bool slow;    /* a pause of up to 0.3 ms before some reads */
    long fail_at; /* this read (from 1) and all later ones fail; 0 = none */
    long reads;
};

/* Makes n_item items of 1 to 3 ranges with gaps between them, from a seed. */
void streamed_make(struct streamed *s, int n_item, uint64_t seed);
/* A config for the items with a ring for the largest one and with their reader; other fields are
 * 0. */
struct stage_config streamed_config(struct streamed *s, struct device *dev);
/* Runs `passes` passes: acquires each item, fetches it on the default stream and releases it.
 * Compares the bytes after each pass; a wrong byte fails the test with the name `what`. Returns the
 * first error of a call. */
int streamed_run(struct streamed *s, struct device *dev, struct stage *st, int passes,
                 const char *what, struct err *e);
/* Opens a stage, runs `passes` passes and closes it. */
int streamed_try(struct streamed *s, const struct stage_config *c, int passes, const char *what,
                 struct err *e);
/* Passes, a hold, passes, copies alone, passes: the bytes are right before and after, and a hold
 * copies nothing. */
int streamed_held(struct streamed *s, const struct stage_config *c, const char *what,
                  struct err *e);

#endif
