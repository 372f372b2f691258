#include "upload.h"

#include "pinned.h"

int upload_init(struct upload *u, uint64_t largest, struct err *e)
{
    const size_t bytes = (size_t)(largest < UPLOAD_PIECE ? largest : UPLOAD_PIECE);
    const struct dev_api *api = u->dev->api;
    for (int i = 0; i < UPLOAD_BUFS; i++) {
        TRY(pinned_alloc(u->dev, bytes, "weights are loaded", &u->buf[i], e));
        TRY(api->event_open(u->dev, &u->copied[i], e));
    }
    return 0;
}

int upload_piece(struct upload *u, const struct gguf *g, uint64_t at, size_t n, void *to,
                 struct err *e)
{
    const struct dev_api *api = u->dev->api;
    int i = u->next;
    u->next = (i + 1) % UPLOAD_BUFS;
    if (!u->dev->hollow)
        TRY(gguf_ahead(g, at, n, e));
    if (u->used[i])
        TRY(api->event_sync(u->dev, u->copied[i], e));
    if (!u->dev->hollow)
        TRY(gguf_read(g, at, u->buf[i].ptr, n, e));
    TRY(api->copy(u->dev, NULL, to, u->buf[i].ptr, n, e));
    TRY(api->event_record(u->dev, u->copied[i], NULL, e));
    u->used[i] = true;
    return 0;
}

void upload_free(struct upload *u)
{
    const struct dev_api *api = u->dev->api;
    (void)api->sync(u->dev, NULL, NULL); /* a failed load may have left a copy in progress */
    for (int i = 0; i < UPLOAD_BUFS; i++) {
        api->free(u->dev, &u->buf[i]);
        if (u->copied[i])
            api->event_close(u->dev, u->copied[i]);
    }
}
