#include "live.h"

#include <string.h>

void live_init(struct live *v, const struct tokenizer *tok, const struct request *r, live_say say,
               void *user)
{
    *v = (struct live){
        .say = say, .user = user, .tok = tok, .think = think_begin(&r->think), .text = STR_INIT};
}

void live_free(struct live *v)
{
    if (v->text.s)
        str_free(&v->text);
}

/* Says the first n bytes that wait. */
static void live_send(struct live *v, size_t n, bool thinking)
{
    if (!n || v->text.failed)
        return;
    v->say(v->user, v->text.s, n, thinking);
    memmove(v->text.s, v->text.s + n, v->text.len - n);
    v->text.len -= n;
    v->text.s[v->text.len] = 0;
}

static void live_send_complete(struct live *v, size_t n, bool thinking)
{
    if (!v->text.failed)
        live_send(v, utf8_complete(v->text.s, n), thinking);
}

/* The block has ended in the bytes that wait. Its closing text is left out. A free reply begins
 * with the bytes after it, but for white space. */
static void live_closed(struct live *v, const struct request *r)
{
    size_t n = (size_t)r->think.n_close, at = 0;
    if (v->text.failed)
        return;
    while (memcmp(v->text.s + at, r->think.close, n) != 0)
        at++;
    live_send(v, at, true);
    at = n;
    while (at < v->text.len && strchr(" \t\r\n", v->text.s[at]))
        at++;
    if (r->grammar)
        at = v->text.len;
    memmove(v->text.s, v->text.s + at, v->text.len - at);
    v->text.len -= at;
    v->text.s[v->text.len] = 0;
    live_send_complete(v, v->text.len, false);
}

void live_token(struct live *v, const struct request *r)
{
    int32_t id = r->out[r->n_out - 1];
    if (r->n_out > r->n_think) {
        tokenizer_stream_push(v->tok, &v->stream, id, &v->text);
        live_send_complete(v, v->text.len, false);
        return;
    }
    if (!v->think.open) /* the engine's tokens after the closing text */
        return;
    tokenizer_piece(v->tok, id, TOK_SPECIAL, &v->text);
    if (think_take(&r->think, v->tok, &v->think, id))
        live_closed(v, r);
    else
        live_send_complete(v, v->text.len - (size_t)v->think.matched, true);
}

void live_end(struct live *v, const struct request *r)
{
    if (r->finish == FINISH_CANCEL)
        return;
    tokenizer_stream_end(&v->stream, &v->text);
    live_send(v, v->text.len, r->n_think && v->think.open);
}
