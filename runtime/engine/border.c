#include "border.h"

#include "pinned.h"
#include "span.h"

static int border_events(struct device *dev, struct event **ev, struct err *e)
{
    for (int i = 0; i < BORDER_SLOTS; i++)
        TRY(dev->api->event_open(dev, &ev[i], e));
    return 0;
}

int border_open(struct border *b, struct device *from, struct device *to, size_t bytes,
                struct err *e)
{
    *b = (struct border){.from = from, .to = to, .bytes = bytes};
    if (to->api->peer)
        TRY(to->api->peer(to, from, &b->peer, e));
    if (!b->peer)
        TRY(pinned_alloc(from, BORDER_SLOTS * bytes, "activations pass from one GPU to another",
                         &b->pinned, e));
    TRY(to->api->stream_open(to, &b->stream, e));
    TRY(border_events(from, b->ready, e));
    TRY(border_events(to, b->landed, e));
    return border_events(to, b->used, e);
}

void border_close(struct border *b)
{
    if (!b->from)
        return;
    if (b->stream)
        (void)b->to->api->sync(b->to, b->stream,
                               NULL); /* after a failed step a copy may be queued */
    for (int i = 0; i < BORDER_SLOTS; i++) {
        b->from->api->event_close(b->from, b->ready[i]);
        b->to->api->event_close(b->to, b->landed[i]);
        b->to->api->event_close(b->to, b->used[i]);
    }
    if (b->stream)
        b->to->api->stream_close(b->to, b->stream);
    b->from->api->free(b->from, &b->pinned);
    *b = (struct border){0};
}

/* Copies inside a span, on a stream of dev. */
static int border_copy(const struct border *b, struct device *dev, struct stream *s, void *dst,
                       const void *src, size_t bytes, bool peer, struct spans *spans, struct err *e)
{
    const struct span span = {.kind = SPAN_COPY,
                              .name = "cross",
                              .detail = "",
                              .layer = -1,
                              .bytes = (double)bytes,
                              .dev = dev,
                              .stream = s};
    spans_begin(spans, &span);
    int rc = peer ? dev->api->peer_copy(dev, s, dst, b->from, src, bytes, e)
                  : dev->api->copy(dev, s, dst, src, bytes, e);
    spans_end(spans, &span);
    return rc;
}

int border_cross(struct border *b, int slot, void *dst, const void *src, size_t bytes,
                 struct event *free, struct spans *spans, struct err *e)
{
    struct device *from = b->from, *to = b->to;
    if (bytes > b->bytes)
        FAIL(e, ERR_BUG, "border: %zu bytes for a slot of %zu", bytes, b->bytes);
    if (!b->peer) {
        void *pinned = (char *)b->pinned.ptr + (size_t)slot * b->bytes;
        TRY(border_copy(b, from, NULL, pinned, src, bytes, false, spans, e));
        src = pinned;
    }
    TRY(from->api->event_record(from, b->ready[slot], NULL, e));
    TRY(to->api->stream_wait(to, b->stream, b->ready[slot], e));
    TRY(to->api->stream_wait(to, b->stream, free, e));
    TRY(border_copy(b, to, b->stream, dst, src, bytes, b->peer, spans, e));
    TRY(to->api->event_record(to, b->landed[slot], b->stream, e));
    return to->api->stream_wait(to, NULL, b->landed[slot], e);
}

int border_reuse(struct border *b, int slot, struct err *e)
{
    return b->from->api->stream_wait(b->from, NULL, b->landed[slot], e);
}

int border_used(struct border *b, int slot, struct err *e)
{
    return b->to->api->event_record(b->to, b->used[slot], NULL, e);
}
