#include "gather.h"

#include "pinned.h"
#include "span.h"

int gather_open(struct gather *g, struct device *const *dev, int n, const size_t *bytes,
                struct err *e)
{
    bool any = false;
    *g = (struct gather){.n = n, .bytes = {bytes[0], bytes[1]}};
    for (int d = 0; d < n; d++)
        g->dev[d] = dev[d];
    for (int d = 0; d < n; d++) {
        TRY(dev[d]->api->event_open(dev[d], &g->ready[d], e));
        for (int s = 0; s < n; s++) {
            if (s != d && dev[d]->api->peer)
                TRY(dev[d]->api->peer(dev[d], dev[s], &g->peer[s][d], e));
            g->by_host[s] = g->by_host[s] || (s != d && !g->peer[s][d]);
            any = any || g->by_host[s];
        }
    }
    return any ? pinned_alloc(dev[0], (size_t)n * (bytes[0] + bytes[1]),
                              "activations pass between GPUs", &g->pinned, e)
               : 0;
}

void gather_close(struct gather *g)
{
    for (int d = 0; d < g->n; d++)
        if (g->ready[d])
            g->dev[d]->api->event_close(g->dev[d], g->ready[d]);
    if (g->n)
        g->dev[0]->api->free(g->dev[0], &g->pinned);
    *g = (struct gather){0};
}

/* Copies inside a span, on the own stream of `on`. from: the device of src by peer access; NULL =
 * pinned memory is one of the ends. */
static int gather_copy(struct device *on, struct device *from, void *dst, const void *src,
                       size_t bytes, struct spans *spans, struct err *e)
{
    const struct span span = {.kind = SPAN_COPY,
                              .name = "gather",
                              .detail = "",
                              .layer = -1,
                              .bytes = (double)bytes,
                              .dev = on};
    spans_begin(spans, &span);
    int rc = from ? on->api->peer_copy(on, NULL, dst, from, src, bytes, e)
                  : on->api->copy(on, NULL, dst, src, bytes, e);
    spans_end(spans, &span);
    return rc;
}

static char *pinned_of(const struct gather *g, int slot, int s)
{
    const size_t before = slot ? (size_t)g->n * g->bytes[0] : 0;
    return (char *)g->pinned.ptr + before + (size_t)s * g->bytes[slot];
}

static int gather_send(struct gather *g, const struct gather_move *m, int s, struct spans *spans,
                       struct err *e)
{
    struct device *dev = g->dev[s];
    if (g->by_host[s])
        TRY(gather_copy(dev, NULL, pinned_of(g, m->slot, s), m->at[s] + (size_t)s * m->step,
                        m->bytes, spans, e));
    return dev->api->event_record(dev, g->ready[s], NULL, e);
}

static int gather_receive(struct gather *g, const struct gather_move *m, int s, int d,
                          struct spans *spans, struct err *e)
{
    struct device *dev = g->dev[d];
    const size_t at = (size_t)s * m->step;
    const bool peer = g->peer[s][d];
    TRY(dev->api->stream_wait(dev, NULL, g->ready[s], e));
    return gather_copy(dev, peer ? g->dev[s] : NULL, m->at[d] + at,
                       peer ? m->at[s] + at : pinned_of(g, m->slot, s), m->bytes, spans, e);
}

static bool takes_part(int only, int d)
{
    return only == GATHER_ALL || only == d;
}

int gather_move(struct gather *g, const struct gather_move *m, struct spans *spans, struct err *e)
{
    if ((unsigned)m->slot >= GATHER_SLOTS || m->bytes > g->bytes[m->slot])
        FAIL(e, ERR_BUG, "gather: %zu bytes for a share of %zu in slot %d", m->bytes,
             g->bytes[(unsigned)m->slot % GATHER_SLOTS], m->slot);
    for (int s = 0; s < g->n; s++)
        if (takes_part(m->from, s))
            TRY(gather_send(g, m, s, spans, e));
    for (int d = 0; d < g->n; d++)
        for (int s = 0; s < g->n; s++)
            if (s != d && takes_part(m->from, s) && takes_part(m->to, d))
                TRY(gather_receive(g, m, s, d, spans, e));
    return 0;
}
