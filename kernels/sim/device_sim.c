#include "device_sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "mem.h"

#define ALIGN ((uint64_t)256)

static struct sim *sim_of(struct device *d)
{
    return ((struct device_sim *)d)->sim;
}

static struct card *card_of(struct device *d)
{
    return ((struct device_sim *)d)->card;
}

/* Returns the result of a call that uses the sim `s`, with its lock held. */
#define LOCKED(d, call)                                                                            \
    do {                                                                                           \
        struct sim *s = sim_of(d);                                                                 \
        pthread_mutex_lock(&s->lock);                                                              \
        int locked_rc_ = (call);                                                                   \
        pthread_mutex_unlock(&s->lock);                                                            \
        return locked_rc_;                                                                         \
    } while (0)

static struct stream *stream_of(struct device *d, struct stream *k)
{
    return k ? k : &card_of(d)->main;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool on_card(const struct card *c, const void *p)
{
    uintptr_t at = (uintptr_t)p, first = (uintptr_t)c->space;
    return at >= first && at - first < c->space_bytes;
}

static int take(int number, struct card *s, size_t bytes, struct buf *out, struct err *e)
{
    uint64_t size = ((uint64_t)bytes + ALIGN - 1) & ~(ALIGN - 1);
    uint64_t left = s->c.vram_bytes - s->vram_used;
    if (bytes > left || s->c.lost_bytes > left - bytes || size > s->space_bytes - s->space_used)
        FAIL(e, ERR_NOMEM,
             "simulated GPU %d has no %zu bytes left: %" PRIu64 " of %" PRIu64 " are taken", number,
             bytes, s->vram_used, s->c.vram_bytes);
    *out = (struct buf){.ptr = s->space + s->space_used, .bytes = bytes, .space = MEM_DEVICE};
    s->space_used += size;
    s->vram_used += bytes;
    return 0;
}

static int device_sim_alloc(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                            struct err *e)
{
    if (space == MEM_DEVICE)
        LOCKED(d, take(d->ordinal, card_of(d), bytes, out, e));
    /* the system allocates a page when it is touched */
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NOMEM(e, bytes, "memory of the host");
    *out = (struct buf){.ptr = p, .bytes = bytes, .space = space};
    return 0;
}

static void device_sim_free(struct device *d, struct buf *b)
{
    struct sim *s = sim_of(d);
    if (b->ptr && b->space != MEM_DEVICE)
        munmap(b->ptr, b->bytes ? b->bytes : 1);
    if (b->ptr && b->space == MEM_DEVICE) {
        pthread_mutex_lock(&s->lock);
        card_of(d)->vram_used -= b->bytes;
        pthread_mutex_unlock(&s->lock);
    }
    *b = (struct buf){0};
}

static int device_sim_memory(struct device *d, size_t *free_bytes, size_t *total_bytes,
                             struct err *e)
{
    (void)e;
    struct sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    *total_bytes = (size_t)card_of(d)->c.vram_bytes;
    *free_bytes = (size_t)(card_of(d)->c.vram_bytes - card_of(d)->vram_used);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* The card of a pointer; NULL: the host's memory. */
static const struct card *card_at(const struct sim *s, const void *p)
{
    for (int i = 0; i < s->c.n_card; i++)
        if (on_card(&s->card[i], p))
            return &s->card[i];
    return NULL;
}

static int copy(struct device *d, struct stream *k, void *dst, const void *src, size_t bytes,
                struct err *e)
{
    struct sim *s = sim_of(d);
    const struct card *mine = card_of(d), *to = card_at(s, dst), *from = card_at(s, src);
    if (bytes && (!dst || !src))
        FAIL(e, ERR_BUG, "copy: %s is NULL for %zu bytes", dst ? "src" : "dst", bytes);
    if ((to && to != mine) || (from && from != mine))
        FAIL(e, ERR_BUG, "copy: %s lies on another simulated card; use peer_copy",
             to && to != mine ? "dst" : "src");
    if (!to && bytes) /* a copy from the device gives zeros */
        memset(dst, 0, bytes);
    if (!bytes || (!to && !from))
        return 0;
    enum sim_engine engine = to && from ? SIM_DEVICE : to ? SIM_UP : SIM_DOWN;
    /* bytes are read and written, so the device's rate counts twice */
    double n = (double)bytes,
           rate = engine == SIM_DEVICE ? mine->c.vram / 2 : sim_link(s, stream_of(d, k));
    sim_called(s, 1);
    return sim_work(s, stream_of(d, k), engine, "copy", n,
                    n / rate + (engine == SIM_DEVICE ? 0 : s->copy_s), engine == SIM_UP ? rate : 0,
                    e);
}

static int device_sim_copy(struct device *d, struct stream *k, void *dst, const void *src,
                           size_t bytes, struct err *e)
{
    LOCKED(d, copy(d, k, dst, src, bytes, e));
}

static int device_sim_fill(struct device *d, struct stream *k, void *dst, int byte, size_t bytes,
                           struct err *e)
{
    (void)dst, (void)byte;
    double n = (double)bytes;
    LOCKED(d, sim_work(s, stream_of(d, k), SIM_DEVICE, "fill", n, n / card_of(d)->c.vram, 0, e));
}

static int device_sim_peer(struct device *d, struct device *from, bool *yes, struct err *e)
{
    (void)e;
    *yes = from->api == d->api && sim_of(from) == sim_of(d) && sim_of(d)->c.peer > 0;
    return 0;
}

static int peer_copy(struct device *d, struct stream *k, const void *dst, struct device *from,
                     const void *src, size_t bytes, struct err *e)
{
    struct sim *s = sim_of(d);
    double n = (double)bytes;
    if (!(s->c.peer > 0))
        FAIL(e, ERR_BUG, "peer_copy: the simulated cards have no peer access");
    if (bytes && (!on_card(card_of(d), dst) || !on_card(card_of(from), src)))
        FAIL(e, ERR_BUG, "peer_copy: %s does not lie on its card",
             on_card(card_of(d), dst) ? "src" : "dst");
    sim_called(s, 1);
    return bytes ? sim_work(s, stream_of(d, k), SIM_UP, "peer copy", n, n / s->c.peer + s->copy_s,
                            0, e)
                 : 0;
}

static int device_sim_peer_copy(struct device *d, struct stream *k, void *dst, struct device *from,
                                const void *src, size_t bytes, struct err *e)
{
    LOCKED(d, peer_copy(d, k, dst, from, src, bytes, e));
}

/* ---- streams and events ---------------------------------------------------------------------- */

static int device_sim_stream_open(struct device *d, struct stream **out, struct err *e)
{
    struct sim *s = sim_of(d);
    struct stream *k = mem_zalloc(1, sizeof *k);
    if (!k)
        return NOMEM(e, sizeof *k, "stream");
    k->last = &k->first;
    k->card = (int)(card_of(d) - s->card);
    pthread_mutex_lock(&s->lock);
    k->next = s->streams;
    s->streams = k;
    pthread_mutex_unlock(&s->lock);
    *out = k;
    return 0;
}

static void device_sim_stream_close(struct device *d, struct stream *k)
{
    struct sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    (void)sim_wait_stream(s, k, NULL);
    struct stream **at = &s->streams;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    pthread_mutex_unlock(&s->lock);
    stream_clear(k);
    mem_free(k);
}

static int device_sim_event_open(struct device *d, struct event **out, struct err *e)
{
    (void)d;
    struct event *ev = mem_zalloc(1, sizeof *ev);
    if (!ev)
        return NOMEM(e, sizeof *ev, "event");
    *out = ev;
    return 0;
}

static void device_sim_event_close(struct device *d, struct event *ev)
{
    struct sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    mark_drop(ev->mark);
    pthread_mutex_unlock(&s->lock);
    mem_free(ev);
}

static int record(struct device *d, struct event *ev, struct stream *k, struct err *e)
{
    struct mark *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return NOMEM(e, sizeof *m, "a simulated event");
    m->refs = 1;
    const struct command c = {.kind = COMMAND_RECORD, .mark = m};
    sim_called(sim_of(d), 1);
    int rc = sim_queue(sim_of(d), stream_of(d, k), &c, e);
    if (rc < 0) {
        mark_drop(m);
        return rc;
    }
    mark_drop(ev->mark);
    ev->mark = m;
    return 0;
}

static int device_sim_event_record(struct device *d, struct event *ev, struct stream *k,
                                   struct err *e)
{
    LOCKED(d, record(d, ev, k, e));
}

static int wait_for(struct device *d, struct stream *k, const struct event *ev, struct err *e)
{
    const struct command c = {.kind = COMMAND_WAIT, .mark = ev->mark};
    sim_called(sim_of(d), 1);
    return sim_queue(sim_of(d), stream_of(d, k), &c, e);
}

static int device_sim_stream_wait(struct device *d, struct stream *k, struct event *ev,
                                  struct err *e)
{
    LOCKED(d, wait_for(d, k, ev, e));
}

static int device_sim_event_sync(struct device *d, struct event *ev, struct err *e)
{
    LOCKED(d, sim_wait_mark(s, ev->mark, e));
}

static int device_sim_event_done(struct device *d, struct event *ev, bool *done, struct err *e)
{
    (void)e;
    struct sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    sim_catch_up(s);
    *done = !ev->mark || (ev->mark->done && ev->mark->at <= s->now);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static double device_sim_now(struct device *d)
{
    return sim_now(sim_of(d));
}

static int device_sim_host_call(struct device *d, struct stream *k, void (*fn)(void *), void *user,
                                struct err *e)
{
    const struct command c = {.kind = COMMAND_CALL, .fn = fn, .user = user};
    LOCKED(d, sim_queue(s, stream_of(d, k), &c, e));
}

static void device_sim_stream_limit(struct device *d, struct stream *k, double rate)
{
    struct sim *s = sim_of(d);
    pthread_mutex_lock(&s->lock);
    stream_of(d, k)->link = rate;
    pthread_mutex_unlock(&s->lock);
}

static int device_sim_sync(struct device *d, struct stream *k, struct err *e)
{
    LOCKED(d, sim_wait_stream(s, stream_of(d, k), e));
}

static const struct dev_api device_sim_api = {
    .alloc = device_sim_alloc,
    .free = device_sim_free,
    .copy = device_sim_copy,
    .fill = device_sim_fill,
    .stream_open = device_sim_stream_open,
    .stream_close = device_sim_stream_close,
    .event_open = device_sim_event_open,
    .event_close = device_sim_event_close,
    .event_record = device_sim_event_record,
    .stream_wait = device_sim_stream_wait,
    .event_sync = device_sim_event_sync,
    .event_done = device_sim_event_done,
    .host_call = device_sim_host_call,
    .now = device_sim_now,
    .stream_limit = device_sim_stream_limit,
    .sync = device_sim_sync,
    .memory = device_sim_memory,
    .peer = device_sim_peer,
    .peer_copy = device_sim_peer_copy,
};

void device_sim_init(struct device_sim *d, struct sim *s, int card)
{
    const struct sim_card *c = &s->c.card[card];
    *d = (struct device_sim){.sim = s, .card = &s->card[card]};
    d->dev =
        (struct device){.api = &device_sim_api, .kind = "sim", .ordinal = card, .hollow = true};
    snprintf(d->dev.name, sizeof d->dev.name,
             "simulated GPU, %.1f GiB at %.0f GB/s, link %.1f GB/s",
             (double)c->vram_bytes / 1073741824, c->vram * 1e-9, c->link * 1e-9);
}
