#include "streamed.h"

#include <time.h>

#include "test.h"

static unsigned char file_byte(uint64_t at)
{
    uint64_t x = at * 0x9e3779b97f4a7c15u;
    return (unsigned char)(x >> 56 ^ x >> 24);
}

static uint64_t some(uint64_t *rng, uint64_t lo, uint64_t hi)
{
    *rng = *rng * 6364136223846793005u + 1442695040888963407u;
    return lo + (*rng >> 33) % (hi - lo + 1);
}

void streamed_make(struct streamed *s, int n_item, uint64_t seed)
{
    uint64_t rng = seed, file_at = 17;
    *s = (struct streamed){.n_item = n_item, .rng = seed};
    for (int i = 0; i < n_item; i++) {
        uint64_t at = 0;
        int n = (int)some(&rng, 1, STREAMED_RANGES);
        for (int k = 0; k < n; k++) {
            uint64_t bytes = some(&rng, 1, 1500);
            s->range[i][k] = (struct stage_range){.file_at = file_at, .bytes = bytes, .at = at};
            file_at += bytes + some(&rng, 0, 40);
            s->item[i].bytes = at + bytes;
            at = (at + bytes + 255) / 256 * 256;
        }
        s->item[i].n_range = n;
        s->item[i].range = s->range[i];
        s->total += at;
        s->largest = at > s->largest ? at : s->largest;
    }
}

/* On the reader thread. */
static int streamed_read(void *user, uint64_t file_at, void *dst, size_t n, struct err *e)
{
    struct streamed *s = user;
    if (s->slow && some(&s->rng, 0, 3) == 0) {
        struct timespec t = {.tv_nsec = (long)some(&s->rng, 0, 300000)};
        nanosleep(&t, NULL);
    }
    if (++s->reads >= s->fail_at && s->fail_at)
        FAIL(e, ERR_IO, "cannot read byte %d", (int)file_at);
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)dst)[i] = file_byte(file_at + i);
    return 0;
}

struct stage_config streamed_config(struct streamed *s, struct device *dev)
{
    return (struct stage_config){.dev = dev,
                                 .item = s->item,
                                 .n_item = s->n_item,
                                 .ring_bytes = s->largest,
                                 .piece_bytes = 256,
                                 .read = streamed_read,
                                 .user = s};
}

static void streamed_check(const struct streamed *s, int item, const unsigned char *got,
                           const char *what)
{
    for (int k = 0; k < s->item[item].n_range; k++) {
        const struct stage_range *r = &s->range[item][k];
        for (uint64_t i = 0; i < r->bytes; i++)
            if (got[r->at + i] != file_byte(r->file_at + i))
                fail_msg("%s: item %d, range %d, byte %d is %d, should be %d", what, item, k,
                         (int)i, got[r->at + i], file_byte(r->file_at + i));
    }
}

static int streamed_pass(struct streamed *s, struct device *dev, struct stage *st,
                         unsigned char *got, struct err *e)
{
    uint64_t at = 0;
    for (int i = 0; i < s->n_item; i++) {
        void *base;
        TRY(stage_prefetch(st, e));
        TRY(stage_acquire(st, i, &base, e));
        TRY(dev->api->copy(dev, NULL, got + at, base, (size_t)s->item[i].bytes, e));
        TRY(stage_release(st, i, e));
        at += (s->item[i].bytes + 255) / 256 * 256;
    }
    return dev->api->sync(dev, NULL, e);
}

int streamed_run(struct streamed *s, struct device *dev, struct stage *st, int passes,
                 const char *what, struct err *e)
{
    struct buf got = {0};
    TRY(dev->api->alloc(dev, MEM_PINNED, (size_t)s->total, &got, e));
    int rc = 0;
    for (int p = 0; p < passes && rc == 0; p++) {
        memset(got.ptr, 0xee, (size_t)s->total);
        rc = streamed_pass(s, dev, st, got.ptr, e);
        uint64_t at = 0;
        for (int i = 0; i < s->n_item && rc == 0; i++) {
            streamed_check(s, i, (unsigned char *)got.ptr + at, what);
            at += (s->item[i].bytes + 255) / 256 * 256;
        }
    }
    (void)dev->api->sync(dev, NULL, NULL);
    dev->api->free(dev, &got);
    return rc;
}

int streamed_try(struct streamed *s, const struct stage_config *c, int passes, const char *what,
                 struct err *e)
{
    struct stage *st;
    s->reads = 0;
    TRY(stage_open(c, &st, e));
    int rc = streamed_run(s, c->dev, st, passes, what, e);
    stage_close(st);
    return rc;
}

/* A pass in a hold: the contents are finite numbers, and nothing is copied. */
static int held_pass(struct streamed *s, struct device *dev, struct stage *st, unsigned char *got,
                     const char *what, struct err *e)
{
    struct stage_stats before, after;
    stage_stats(st, &before);
    memset(got, 0xee, (size_t)s->total);
    TRY(streamed_pass(s, dev, st, got, e));
    uint64_t at = 0;
    for (int i = 0; i < s->n_item; i++) {
        for (uint64_t k = 0; k < s->item[i].bytes; k++)
            if (got[at + k] & 0xd0)
                fail_msg("%s: in a hold byte %d of item %d is %d", what, (int)k, i, got[at + k]);
        at += (s->item[i].bytes + 255) / 256 * 256;
    }
    stage_stats(st, &after);
    if (after.copied_bytes != before.copied_bytes || after.passes != before.passes)
        fail_msg("%s: a hold copies %d bytes", what,
                 (int)(after.copied_bytes - before.copied_bytes));
    return 0;
}

static int held_all(struct streamed *s, const struct stage_config *c, struct stage *st,
                    unsigned char *got, const char *what, struct err *e)
{
    struct device *dev = c->dev;
    struct stage_stats is;
    uint64_t bytes;
    double seconds;
    TRY(streamed_run(s, dev, st, 1, what, e));
    for (int turn = 0; turn < 2; turn++) {
        stage_hold(st, true);
        TRY(streamed_pass(s, dev, st, got, e)); /* its copies may have begun */
        for (int i = 0; i < 2; i++)
            TRY(held_pass(s, dev, st, got, what, e));
        if (turn)
            break;
        stage_hold(st, false);
        TRY(streamed_run(s, dev, st, 3, what, e));
    }
    TRY(stage_copy_alone(st, 3, &bytes, &seconds, e)); /* ends the hold */
    stage_stats(st, &is);
    const uint64_t want = 3 * is.pass_bytes, ring = c->ring_bytes;
    if (!(seconds > 0) || bytes + ring < want || bytes > want + ring)
        fail_msg("%s: three passes alone copy %d bytes of %d in %g s", what, (int)bytes, (int)want,
                 seconds);
    return streamed_run(s, dev, st, 2, what, e);
}

int streamed_held(struct streamed *s, const struct stage_config *c, const char *what, struct err *e)
{
    struct stage *st;
    struct buf got = {0};
    s->reads = 0;
    TRY(c->dev->api->alloc(c->dev, MEM_PINNED, (size_t)s->total, &got, e));
    int rc = stage_open(c, &st, e);
    if (rc == 0) {
        rc = held_all(s, c, st, got.ptr, what, e);
        stage_close(st);
    }
    c->dev->api->free(c->dev, &got);
    return rc;
}
