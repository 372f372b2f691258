/*
 * Two rings and two threads.
 *
 * An item is used once a pass. Its use number n stands for item n % n_item. Each use goes through
 * these states:
 *
 *   new --all pieces queued--> queued --acquire--> acquired --release--> released --wait--> waited
 *
 * Uses change state in order, so one counter a state is enough:
 *   waited <= released <= acquired <= queued, acquired <= released + 1
 *
 * A use takes its bytes in the ring of the device when its first piece is queued. Its position only
 * grows; the offset in the ring is at % ring. A piece may be queued when every older use of its
 * bytes, one ring earlier, is waited. That means: the copy stream waits for the event of its
 * release. No thread of the host waits.
 *
 * A piece is at most piece_bytes of an item and has a number, too. With a host copy of all items
 * (kept):
 *
 *   given at the start --reader--> filled --engine--> queued, again in every pass
 *
 * With a ring of n_slot pieces on the host, piece n is in slot n % n_slot:
 *
 *   given --reader--> filled --engine--> queued --its copy has ended--> free: n + n_slot is given
 *
 *   free <= queued <= filled <= given = free + n_slot
 *
 * Engine and reader share only the counters given and filled (reader.h).
 */
#include "stage.h"

#include <inttypes.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "pace.h"
#include "pinned.h"
#include "reader.h"
#include "rng.h"
#include "span.h"

#define ALIGN ((uint64_t)256) /* of an item in the ring: kernels expect it of a matrix */
#define RING_PIECES 256       /* size of the host's ring: 1 GiB of pieces */

struct piece {
    struct stage *st;
    int item;
    int range;          /* the first range with bytes in the piece */
    uint64_t at, bytes; /* of the item */
    uint64_t kept_at;   /* offset in the copy of all items */
    bool last;          /* of its item */
};

struct use {                /* the latest use of an item */
    uint64_t at;            /* position of its first byte in the device's ring */
    struct event *copied;   /* on the copy stream */
    struct event *released; /* on the device's own stream */
};

struct stage {
    struct stage_config c;
    struct stage_item *item;   /* (n_item) */
    struct stage_range *range; /* of all items */
    struct piece *piece;       /* (n_piece) of a pass */
    uint64_t n_piece, pass_bytes;
    struct buf ring, host;
    struct event **slot; /* (n_slot) the copy from the slot has ended; NULL when kept */
    uint64_t n_slot;
    struct stream *copy;
    struct reader *reader;
    struct use *use;  /* (n_item) */
    uint64_t next_at; /* start of the next use, unless that would cross the end of the ring */
    uint64_t queued, acquired, released, waited;     /* uses */
    uint64_t piece_queued, piece_free, piece_filled; /* piece_filled: as last seen */
    struct pace pace; /* the emulated link; rate 0 = none. Only the copy stream uses it */
    struct stage_stats stats;
    struct spans *spans; /* or NULL */
    bool hold;           /* asked for: no pass begins to copy */
    bool held;           /* in effect */
    bool held_open;      /* an item is acquired during a hold */
    int held_item;       /* the next one */
    uint64_t held_at;    /* as next_at */
    struct err dead;
};

static bool stage_kept(const struct stage *st)
{
    return st->n_slot == 0;
}

/* ---- the reader's side ----------------------------------------------------------------------- */

static unsigned char *piece_host(const struct stage *st, uint64_t n)
{
    uint64_t at =
        stage_kept(st) ? st->piece[n % st->n_piece].kept_at : n % st->n_slot * st->c.piece_bytes;
    return (unsigned char *)st->host.ptr + at;
}

/* Reads the ranges of a piece; the bytes between ranges are never read by kernels. */
static int piece_fill(void *user, uint64_t n, struct err *e)
{
    const struct stage *st = user;
    const struct piece *p = &st->piece[n % st->n_piece];
    const struct stage_item *it = &st->item[p->item];
    unsigned char *dst = piece_host(st, n);
    uint64_t end = p->at + p->bytes;
    for (int i = p->range; i < it->n_range && it->range[i].at < end; i++) {
        const struct stage_range *r = &it->range[i];
        uint64_t from = r->at > p->at ? r->at : p->at;
        uint64_t to = r->at + r->bytes < end ? r->at + r->bytes : end;
        TRY(st->c.read(st->c.user, r->file_at + (from - r->at), dst + (from - p->at),
                       (size_t)(to - from), e));
    }
    return 0;
}

/* ---- a slower link --------------------------------------------------------------------------- */

/* The copy stream calls the two functions before and after the copy of a piece. */
static void piece_begin(void *user)
{
    struct stage *st = ((struct piece *)user)->st;
    pace_begin(&st->pace, clock_ns());
}

static void piece_end(void *user)
{
    struct piece *p = user;
    pace_sleep(pace_end(&p->st->pace, p->bytes, clock_ns()));
}

/* ---- queueing copies ------------------------------------------------------------------------- */

static uint64_t stage_size(uint64_t bytes)
{
    return (bytes + ALIGN - 1) & ~(ALIGN - 1);
}

/* The piece ends at position `end` of use n. Makes the copy stream wait for the release of all
 * older uses of its bytes. *room = false: one of them is not released yet. */
static int stage_room(struct stage *st, uint64_t n, uint64_t end, bool *room, struct err *e)
{
    const struct device *dev = st->c.dev;
    uint64_t n_item = (uint64_t)st->c.n_item;
    *room = false;
    while (st->waited < n) {
        const struct use *old = &st->use[st->waited % n_item];
        if (st->waited + n_item > n && old->at + st->c.ring_bytes >= end)
            break; /* younger uses have other bytes, and the last use of this item is over */
        if (st->waited == st->released)
            return 0;
        TRY(dev->api->stream_wait(st->c.dev, st->copy, old->released, e));
        st->waited++;
    }
    *room = true;
    return 0;
}

/* The position of the next use, of `size` bytes: at `at`, the end of the previous one, or at the
 * next start of the ring. */
static uint64_t stage_position(const struct stage *st, uint64_t at, uint64_t size)
{
    uint64_t ring = st->c.ring_bytes;
    return at % ring + size > ring ? at + (ring - at % ring) : at;
}

static int stage_queue_copy(struct stage *st, struct piece *p, uint64_t to, struct err *e)
{
    const struct dev_api *api = st->c.dev->api;
    void *dst = (unsigned char *)st->ring.ptr + to % st->c.ring_bytes;
    if (st->pace.rate > 0)
        TRY(api->host_call(st->c.dev, st->copy, piece_begin, p, e));
    TRY(api->copy(st->c.dev, st->copy, dst, piece_host(st, st->piece_queued), (size_t)p->bytes, e));
    if (st->pace.rate > 0)
        TRY(api->host_call(st->c.dev, st->copy, piece_end, p, e));
    if (!stage_kept(st))
        TRY(api->event_record(st->c.dev, st->slot[st->piece_queued % st->n_slot], st->copy, e));
    if (p->last)
        TRY(api->event_record(st->c.dev, st->use[p->item].copied, st->copy, e));
    return 0;
}

/* Queues the next piece, which is filled. *done = false: the ring has no room yet, or a hold
 * begins. */
static int stage_queue(struct stage *st, bool *done, struct err *e)
{
    struct piece *p = &st->piece[st->piece_queued % st->n_piece];
    uint64_t size = stage_size(st->item[p->item].bytes), n = st->queued;
    uint64_t at = p->at ? st->use[p->item].at : stage_position(st, st->next_at, size);
    *done = false;
    if (st->hold && st->piece_queued % st->n_piece == 0)
        return 0;
    TRY(stage_room(st, n, at + p->at + p->bytes, done, e));
    if (!*done)
        return 0;
    if (!p->at) {
        st->use[p->item].at = at;
        st->next_at = at + size;
    }
    const struct span span = {.kind = SPAN_COPY,
                              .name = "copy",
                              .detail = "",
                              .layer = -1,
                              .bytes = (double)p->bytes,
                              .dev = st->c.dev,
                              .stream = st->copy};
    spans_begin(st->spans, &span);
    int rc = stage_queue_copy(st, p, at + p->at, e);
    spans_end(st->spans, &span);
    TRY(rc);
    st->piece_queued++;
    st->queued += p->last;
    st->stats.copied_bytes += p->bytes;
    return 0;
}

/* Gives the reader the slots whose copy has ended. must: waits for one more slot. */
static int stage_recycle(struct stage *st, bool must, struct err *e)
{
    const struct dev_api *api = st->c.dev->api;
    uint64_t before = st->piece_free;
    if (stage_kept(st))
        return 0;
    if (must) {
        TRY(api->event_sync(st->c.dev, st->slot[st->piece_free % st->n_slot], e));
        st->piece_free++;
    }
    while (st->piece_free < st->piece_queued) {
        bool done;
        TRY(api->event_done(st->c.dev, st->slot[st->piece_free % st->n_slot], &done, e));
        if (!done)
            break;
        st->piece_free++;
    }
    if (st->piece_free > before)
        reader_give(st->reader, st->piece_free + st->n_slot);
    return 0;
}

/* Pieces below it are given to the reader. */
static uint64_t stage_given(const struct stage *st)
{
    return stage_kept(st) ? st->n_piece : st->piece_free + st->n_slot;
}

/* *filled: the next piece is filled. */
static int stage_filled(struct stage *st, bool *filled, struct err *e)
{
    *filled = stage_kept(st) && st->piece_queued >= st->n_piece;
    if (*filled)
        return 0;
    if (st->piece_filled <= st->piece_queued) {
        TRY(reader_filled(st->reader, &st->piece_filled, e));
        /* a simulated device needs no bytes, and no time of this host may show in its clock */
        if (st->c.dev->hollow)
            st->piece_filled = stage_given(st);
    }
    *filled = st->piece_queued < st->piece_filled;
    return 0;
}

static int stage_pump(struct stage *st, struct err *e)
{
    if (st->held)
        return 0;
    TRY(stage_recycle(st, false, e));
    for (;;) {
        bool go;
        TRY(stage_filled(st, &go, e));
        if (go)
            TRY(stage_queue(st, &go, e));
        if (!go)
            return 0;
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Waits for the reader until the next use is completely queued. All older uses are released, so the
 * ring has room. */
static int stage_wait(struct stage *st, struct err *e)
{
    int64_t t0 = clock_ns();
    while (st->queued == st->acquired) {
        if (!stage_kept(st) && st->piece_queued - st->piece_free == st->n_slot)
            TRY(stage_recycle(st, true, e));
        TRY(reader_wait(st->reader, st->piece_queued, e));
        TRY(stage_pump(st, e));
    }
    st->stats.stalls++;
    st->stats.stall_seconds += (double)(clock_ns() - t0) * 1e-9;
    return 0;
}

/* ---- a hold ---------------------------------------------------------------------------------- */

/* Fills the ring with random bytes whose numbers are finite in every format: the bits of the
 * largest exponents are 0. */
static int hold_fill(struct stage *st, struct err *e)
{
    struct device *dev = st->c.dev;
    const uint64_t size = st->c.piece_bytes;
    unsigned char *some = mem_zalloc((size_t)size, 1);
    if (!some)
        return NOMEM(e, size, "made-up weights");
    for (uint64_t i = 0; i < size; i++)
        some[i] = (unsigned char)(rng_u64(1, i) & 0x2f);
    int rc = 0;
    for (uint64_t at = 0; at < st->c.ring_bytes && rc == 0; at += size) {
        const uint64_t left = st->c.ring_bytes - at;
        rc = dev->api->copy(dev, NULL, (unsigned char *)st->ring.ptr + at, some,
                            (size_t)(left < size ? left : size), e);
    }
    int end = dev->api->sync(dev, NULL, rc ? NULL : e); /* also after an error: `some` is read */
    mem_free(some);
    return rc ? rc : end;
}

/* Begins or ends a hold where that is due. At the end, later copies must not overwrite the ring
 * before the kernels of the hold have read it. */
static int hold_turn(struct stage *st, struct err *e)
{
    if (st->held && !st->hold && !st->held_item && !st->held_open) {
        st->held = false;
        return st->c.dev->api->sync(st->c.dev, NULL, e);
    }
    if (st->hold && !st->held && st->queued == st->released &&
        st->piece_queued % st->n_piece == 0) { /* no piece of item 0 is queued either */
        TRY(hold_fill(st, e));
        st->held = true;
        st->held_item = 0;
    }
    return 0;
}

static int held_acquire(struct stage *st, int item, void **base, struct err *e)
{
    if (item != st->held_item || st->held_open)
        FAIL(e, ERR_BUG, "stage: item %d was asked for in a hold; next is %d%s", item,
             st->held_item, st->held_open ? ", and the one before has not been released" : "");
    const uint64_t size = stage_size(st->item[item].bytes),
                   at = stage_position(st, st->held_at, size);
    st->held_at = at + size;
    st->held_open = true;
    *base = (unsigned char *)st->ring.ptr + at % st->c.ring_bytes;
    return 0;
}

static int held_release(struct stage *st, int item, struct err *e)
{
    if (!st->held_open || item != st->held_item)
        FAIL(e, ERR_BUG, "stage: item %d was released in a hold, but has not been acquired", item);
    st->held_open = false;
    st->held_item = (item + 1) % st->c.n_item;
    return 0;
}

/* ---- acquire and release --------------------------------------------------------------------- */

static int acquire(struct stage *st, int item, void **base, struct err *e)
{
    TRY(hold_turn(st, e));
    if (st->held)
        return held_acquire(st, item, base, e);
    int next = (int)(st->acquired % (uint64_t)st->c.n_item);
    if (item != next || st->acquired != st->released)
        FAIL(e, ERR_BUG, "stage: item %d was asked for; next is %d%s", item, next,
             st->acquired != st->released ? ", and the one before has not been released" : "");
    TRY(stage_pump(st, e));
    if (st->queued == st->acquired)
        TRY(stage_wait(st, e));
    const struct use *u = &st->use[item];
    TRY(st->c.dev->api->stream_wait(st->c.dev, NULL, u->copied, e));
    st->acquired++;
    *base = (unsigned char *)st->ring.ptr + u->at % st->c.ring_bytes;
    return 0;
}

static void say_disk(struct stage *st)
{
    struct stage_stats s;
    stage_stats(st, &s);
    double rate = s.read_seconds > 0 ? (double)s.read_bytes / s.read_seconds : 0;
    log_warn(
        "%.2f GiB of weights do not fit in memory and are read from the disk for every step, at "
        "%.2f GB/s, %.2f s a step; free memory, or choose a smaller model",
        (double)s.pass_bytes / 1073741824, rate * 1e-9, rate > 0 ? (double)s.pass_bytes / rate : 0);
}

static int release(struct stage *st, int item, struct err *e)
{
    if (st->held)
        return held_release(st, item, e);
    if (st->acquired == st->released || item != (int)(st->released % (uint64_t)st->c.n_item))
        FAIL(e, ERR_BUG, "stage: item %d was released, but has not been acquired", item);
    TRY(st->c.dev->api->event_record(st->c.dev, st->use[item].released, NULL, e));
    st->released++;
    if (item == st->c.n_item - 1 && ++st->stats.passes == 1 && !st->c.keep_pinned &&
        !st->c.dev->hollow) /* of a simulated device nothing is read */
        say_disk(st);
    return stage_pump(st, e);
}

/* Keeps the first error: every later call returns it. */
static int stage_result(struct stage *st, int rc, const struct err *why, struct err *e)
{
    if (rc >= 0)
        return 0;
    st->dead = *why;
    st->dead.code = rc;
    FAIL(e, rc, "%s", why->msg);
}

#define STAGE_ALIVE(st, e)                                                                         \
    do {                                                                                           \
        if ((st)->dead.code)                                                                       \
            FAIL((e), (st)->dead.code, "%s", (st)->dead.msg);                                      \
    } while (0)

int stage_acquire(struct stage *st, int item, void **base, struct err *e)
{
    struct err why = {0};
    int rc;
    STAGE_ALIVE(st, e);
    SPANNED_ON(rc, st->c.dev, st->spans, SPAN_HOST, "weights", -1, 0,
               acquire(st, item, base, &why));
    return stage_result(st, rc, &why, e);
}

int stage_release(struct stage *st, int item, struct err *e)
{
    struct err why = {0};
    int rc;
    STAGE_ALIVE(st, e);
    SPANNED_ON(rc, st->c.dev, st->spans, SPAN_HOST, "weights", -1, 0, release(st, item, &why));
    return stage_result(st, rc, &why, e);
}

int stage_prefetch(struct stage *st, struct err *e)
{
    struct err why = {0};
    STAGE_ALIVE(st, e);
    return stage_result(st, stage_pump(st, &why), &why, e);
}

/* ---- measurements ---------------------------------------------------------------------------- */

void stage_hold(struct stage *st, bool on)
{
    st->hold = on;
}

static double stage_now(const struct stage *st)
{
    struct device *dev = st->c.dev;
    return dev->api->now ? dev->api->now(dev) : (double)clock_ns() * 1e-9;
}

static int pass_alone(struct stage *st, struct err *e)
{
    void *base;
    for (int i = 0; i < st->c.n_item; i++) {
        TRY(acquire(st, i, &base, e));
        TRY(release(st, i, e));
    }
    return 0;
}

/* The first pass is not counted. Before and after the others, the link has copied all that is
 * queued. */
static int copy_alone(struct stage *st, int passes, uint64_t *bytes, double *seconds, struct err *e)
{
    struct device *dev = st->c.dev;
    st->hold = false;
    TRY(pass_alone(st, e));
    TRY(dev->api->sync(dev, st->copy, e));
    const double t0 = stage_now(st);
    const uint64_t before = st->stats.copied_bytes;
    for (int i = 0; i < passes; i++)
        TRY(pass_alone(st, e));
    TRY(dev->api->sync(dev, st->copy, e));
    *seconds = stage_now(st) - t0;
    *bytes = st->stats.copied_bytes - before;
    return 0;
}

int stage_copy_alone(struct stage *st, int passes, uint64_t *bytes, double *seconds, struct err *e)
{
    struct err why = {0};
    STAGE_ALIVE(st, e);
    return stage_result(st, copy_alone(st, passes, bytes, seconds, &why), &why, e);
}

void stage_watch(struct stage *st, struct spans *spans)
{
    st->spans = spans;
}

void stage_stats(struct stage *st, struct stage_stats *out)
{
    uint64_t filled = st->piece_filled, passes;
    (void)reader_filled(st->reader, &filled, NULL); /* after a failed read: the last known number */
    *out = st->stats;
    passes = filled / st->n_piece;
    out->read_bytes = passes * st->pass_bytes;
    for (uint64_t i = 0; i < filled % st->n_piece; i++)
        out->read_bytes += st->piece[i].bytes;
    out->read_seconds = (double)reader_busy_ns(st->reader) * 1e-9;
    out->kept = stage_kept(st);
    out->pinned = st->host.space == MEM_PINNED;
    out->pinned_bytes = out->pinned ? st->host.bytes : 0;
    out->ring_bytes = st->c.ring_bytes;
    out->pass_bytes = st->pass_bytes;
    out->reading = !stage_kept(st) || filled < st->n_piece;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int item_check(const struct stage_config *c, int i, struct err *e)
{
    const struct stage_item *it = &c->item[i];
    uint64_t end = 0, size = stage_size(it->bytes);
    for (int k = 0; k < it->n_range; k++) {
        const struct stage_range *r = &it->range[k];
        if (r->at < end || r->bytes > it->bytes || r->at > it->bytes - r->bytes)
            FAIL(e, ERR_BUG,
                 "stage: range %d of item %d lies at %" PRIu64 " + %" PRIu64 " of %" PRIu64
                 " bytes",
                 k, i, r->at, r->bytes, it->bytes);
        end = r->at + r->bytes;
    }
    if (!it->bytes)
        FAIL(e, ERR_BUG, "stage: item %d is empty", i);
    if (size > c->ring_bytes)
        FAIL(e, ERR_USAGE,
             "cannot stream weights: a part needs %" PRIu64
             " bytes of the device, its ring has %" PRIu64
             "; raise --vram, or lower --ctx or --sequences",
             size, c->ring_bytes);
    return 0;
}

static int stage_check(const struct stage_config *c, struct err *e)
{
    if (c->n_item < 1 || c->piece_bytes % ALIGN || !c->read)
        FAIL(e, ERR_BUG, "stage: %d items, pieces of %" PRIu64 " bytes", c->n_item, c->piece_bytes);
    for (int i = 0; i < c->n_item; i++)
        TRY(item_check(c, i, e));
    return 0;
}

/* Copies the tables, and counts bytes and pieces. */
static int stage_tables(struct stage *st, struct err *e)
{
    size_t n_item = (size_t)st->c.n_item, n_range = 0;
    for (size_t i = 0; i < n_item; i++) {
        const struct stage_item *it = &st->c.item[i];
        n_range += (size_t)it->n_range;
        st->n_piece += (it->bytes + st->c.piece_bytes - 1) / st->c.piece_bytes;
        st->pass_bytes += it->bytes;
    }
    st->item = mem_zalloc(n_item, sizeof *st->item);
    st->range = mem_zalloc(n_range, sizeof *st->range);
    st->use = mem_zalloc(n_item, sizeof *st->use);
    st->piece = mem_zalloc((size_t)st->n_piece, sizeof *st->piece);
    if (!st->item || !st->range || !st->use || !st->piece)
        return NOMEM(e, (size_t)st->n_piece * sizeof *st->piece, "the order of streamed weights");
    struct stage_range *r = st->range;
    for (size_t i = 0; i < n_item; i++) {
        st->item[i] = st->c.item[i];
        st->item[i].range = r;
        for (int k = 0; k < st->item[i].n_range; k++)
            *r++ = st->c.item[i].range[k];
    }
    st->c.item = st->item;
    return 0;
}

static void stage_cut(struct stage *st)
{
    struct piece *p = st->piece;
    uint64_t kept_at = 0;
    for (int i = 0; i < st->c.n_item; i++) {
        const struct stage_item *it = &st->item[i];
        int range = 0;
        for (uint64_t at = 0; at < it->bytes; at += st->c.piece_bytes, p++) {
            uint64_t left = it->bytes - at;
            while (range < it->n_range && it->range[range].at + it->range[range].bytes <= at)
                range++;
            *p = (struct piece){.st = st,
                                .item = i,
                                .range = range,
                                .at = at,
                                .kept_at = kept_at + at,
                                .bytes = left < st->c.piece_bytes ? left : st->c.piece_bytes,
                                .last = left <= st->c.piece_bytes};
        }
        kept_at += stage_size(it->bytes);
    }
}

/* Number of pieces of the host's ring. */
static uint64_t stage_slots(const struct stage *st)
{
    uint64_t n = st->c.keep_pinned ? RING_PIECES : st->c.pinned_bytes / st->c.piece_bytes;
    n = n < st->n_piece ? n : st->n_piece;
    return n < 2 ? 2 : n;
}

/* Allocates the host's ring. Halves it until it can be pinned; the smallest one may be pageable. */
static int stage_host_ring(struct stage *st, bool refused, struct err *e)
{
    const struct dev_api *api = st->c.dev->api;
    enum mem_space space = MEM_PINNED;
    char gpu[24];
    for (uint64_t n = stage_slots(st);;) {
        int rc = api->alloc(st->c.dev, space, (size_t)(n * st->c.piece_bytes), &st->host, e);
        if (rc == 0) {
            st->n_slot = n;
            if (refused)
                log_warn("the system does not allow to pin so much memory%s: streamed weights pass "
                         "through %" PRIu64 " MiB of %s memory and are read from the file for "
                         "every step; raise the limit of locked "
                         "memory (ulimit -l)",
                         pinned_gpu(st->c.dev, gpu), n * st->c.piece_bytes >> 20,
                         space == MEM_PINNED ? "pinned" : "pageable");
            return 0;
        }
        if (rc != ERR_NOMEM || space == MEM_HOST)
            return rc;
        refused = true;
        if (n > 2)
            n = n / 2 < 2 ? 2 : n / 2;
        else
            space = MEM_HOST;
    }
}

static int stage_host(struct stage *st, struct err *e)
{
    if (!st->c.keep_pinned)
        return stage_host_ring(st, false, e);
    uint64_t all = 0;
    for (int i = 0; i < st->c.n_item; i++)
        all += stage_size(st->item[i].bytes);
    int rc = st->c.dev->api->alloc(st->c.dev, MEM_PINNED, (size_t)all, &st->host, e);
    return rc == ERR_NOMEM ? stage_host_ring(st, true, e) : rc;
}

static int stage_events(struct stage *st, struct err *e)
{
    struct device *dev = st->c.dev;
    for (int i = 0; i < st->c.n_item; i++) {
        TRY(dev->api->event_open(dev, &st->use[i].copied, e));
        TRY(dev->api->event_open(dev, &st->use[i].released, e));
    }
    st->slot = mem_zalloc((size_t)st->n_slot, sizeof(struct event *));
    if (!st->slot)
        return NOMEM(e, (size_t)st->n_slot * sizeof(struct event *), "streamed weights");
    for (uint64_t i = 0; i < st->n_slot; i++)
        TRY(dev->api->event_open(dev, &st->slot[i], e));
    return 0;
}

int stage_open(const struct stage_config *c, struct stage **out, struct err *e)
{
    int rc = 0;
    struct stage *st = mem_zalloc(1, sizeof *st);
    if (!st)
        return NOMEM(e, sizeof *st, "streamed weights");
    st->c = *c;
    st->c.piece_bytes = c->piece_bytes ? c->piece_bytes : STAGE_PIECE;
    st->c.ring_bytes = c->ring_bytes & ~(ALIGN - 1);
    TRY_DONE(stage_check(&st->c, e));
    TRY_DONE(stage_tables(st, e));
    stage_cut(st);
    TRY_DONE(c->dev->api->stream_open(c->dev, &st->copy, e));
    if (c->dev->api->stream_limit)
        c->dev->api->stream_limit(c->dev, st->copy, c->link_limit);
    else
        st->pace.rate = c->link_limit;
    TRY_DONE(c->dev->api->alloc(c->dev, MEM_DEVICE, (size_t)st->c.ring_bytes, &st->ring, e));
    TRY_DONE(stage_host(st, e));
    TRY_DONE(stage_events(st, e));
    TRY_DONE(reader_open(piece_fill, st, &st->reader, e));
    reader_give(st->reader, stage_kept(st) ? st->n_piece : st->n_slot);
    *out = st;
    return 0;
done:
    stage_close(st);
    return rc;
}

void stage_close(struct stage *st)
{
    if (!st)
        return;
    struct device *dev = st->c.dev;
    reader_close(st->reader);
    if (st->copy) {
        (void)dev->api->sync(dev, st->copy, NULL); /* copies may be in progress */
        dev->api->stream_close(dev, st->copy);
    }
    for (int i = 0; st->use && i < st->c.n_item; i++) {
        if (st->use[i].copied)
            dev->api->event_close(dev, st->use[i].copied);
        if (st->use[i].released)
            dev->api->event_close(dev, st->use[i].released);
    }
    for (uint64_t i = 0; st->slot && i < st->n_slot; i++)
        if (st->slot[i])
            dev->api->event_close(dev, st->slot[i]);
    dev->api->free(dev, &st->host);
    dev->api->free(dev, &st->ring);
    mem_free(st->slot);
    mem_free(st->use);
    mem_free(st->piece);
    mem_free(st->range);
    mem_free(st->item);
    mem_free(st);
}
