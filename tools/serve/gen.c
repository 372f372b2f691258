#include "gen.h"

#include <string.h>

#include "check.h"
#include "mem.h"

void gen_init(struct gen *g, struct hub_model *m, struct work *w)
{
    memset(g, 0, sizeof *g);
    g->m = m;
    g->work = w;
    g->stopped = -1;
    g->text = g->think = g->raw = g->raw_think = (struct str)STR_INIT;
    g->r.top_p = 1;
}

void gen_free(struct gen *g)
{
    str_free(&g->text);
    str_free(&g->think);
    str_free(&g->raw);
    str_free(&g->raw_think);
    token_list_free(&g->prompt);
    token_list_free(&g->added);
    mem_free(g->r.out);
    mem_free(g->r.out_lp);
    mem_free(g->token_end);
    g->r.out = NULL;
    g->r.out_lp = NULL;
    g->token_end = NULL;
}

int gen_think(struct gen *g, int max, struct err *e)
{
    return think_of_chat(g->m->info->chat, g->m->tok, max, &g->added, &g->r.think, e);
}

/* ---- following the tokens -------------------------------------------------------------------- */

/* The first stop string in raw[from..): its place and number. A match that begins earlier wins,
 * then the longer one. */
static size_t gen_find_stop(const struct gen *g, size_t from, int *which)
{
    const struct str *t = &g->raw;
    *which = -1;
    for (size_t at = from; at < t->len; at++)
        for (int i = 0; i < g->n_stop; i++) {
            const struct gen_stop *s = &g->stop[i];
            if (s->n <= t->len - at && !memcmp(t->s + at, s->s, s->n) &&
                (*which < 0 || s->n > g->stop[*which].n))
                *which = i;
            if (i == g->n_stop - 1 && *which >= 0)
                return at;
        }
    return t->len;
}

/* Bytes at the end of raw that may begin a stop string. */
static size_t gen_held(const struct gen *g)
{
    size_t most = 0;
    for (int i = 0; i < g->n_stop; i++)
        for (size_t n = g->stop[i].n - 1; n > most; n--)
            if (n <= g->raw.len && !memcmp(g->raw.s + g->raw.len - n, g->stop[i].s, n))
                most = n;
    return most;
}

static size_t gen_longest_stop(const struct gen *g)
{
    size_t n = 0;
    for (int i = 0; i < g->n_stop; i++)
        n = g->stop[i].n > n ? g->stop[i].n : n;
    return n;
}

/* Gives out text up to raw[to). */
static void gen_show(struct gen *g, size_t to)
{
    if (to <= g->shown)
        return;
    str_add(&g->text, g->raw.s + g->shown, to - g->shown);
    if (g->on_piece && !g->text.failed)
        g->on_piece(g, g->raw.s + g->shown, to - g->shown, false);
    g->shown = to;
}

static void gen_show_think(struct gen *g, size_t to)
{
    if (to <= g->shown_think)
        return;
    str_add(&g->think, g->raw_think.s + g->shown_think, to - g->shown_think);
    if (g->on_piece && !g->think.failed)
        g->on_piece(g, g->raw_think.s + g->shown_think, to - g->shown_think, true);
    g->shown_think = to;
}

/* The thinking is over: its text without the closing one, and what the closing token has after
 * it. */
static void gen_begin(struct gen *g)
{
    struct request *r = &g->r;
    g->began = true;
    if (!r->n_think)
        return;
    struct str thought = STR_INIT, rest = STR_INIT;
    think_text(r, g->m->tok, &thought, &rest);
    str_clear(&g->raw_think);
    str_add(&g->raw_think, thought.s, thought.len);
    gen_show_think(g, g->raw_think.len);
    size_t space = strspn(rest.s, " \t\r\n");
    if (!r->grammar && space < rest.len)
        str_add(&g->raw, rest.s + space, rest.len - space);
    g->raw.failed |= rest.failed;
    g->raw_think.failed |= thought.failed;
    str_free(&thought);
    str_free(&rest);
}

static void gen_thought(struct gen *g, int32_t id)
{
    const char *s;
    size_t n;
    tokenizer_text(g->m->tok, id, &s, &n);
    str_add(&g->raw_think, s, n);
    think_take(&g->r.think, g->m->tok, &g->th, id);
    size_t held = (size_t)g->th.matched;
    if (g->th.open && g->raw_think.len > held)
        gen_show_think(g, g->shown_think + utf8_complete(g->raw_think.s + g->shown_think,
                                                         g->raw_think.len - held - g->shown_think));
}

/* On the engine's thread. */
static void gen_token(struct request *r, int32_t id, float lp)
{
    struct gen *g = r->user;
    (void)lp;
    if (g->cut)
        return;
    if (r->n_think == r->n_out) {
        gen_thought(g, id);
        return;
    }
    if (!g->began)
        gen_begin(g);
    size_t longest = gen_longest_stop(g), before = g->raw.len;
    tokenizer_stream_push(g->m->tok, &g->stream, id, &g->raw);
    g->token_end[g->n_text++] = g->raw.len;
    size_t from = before > longest ? before - longest : 0;
    int which;
    size_t at = gen_find_stop(g, from, &which);
    if (which >= 0) {
        g->cut = true;
        g->stopped = which;
        gen_show(g, at);
        engine_cancel(g->m->en, r);
        return;
    }
    gen_show(g, g->raw.len - gen_held(g));
}

static enum gen_finish gen_ended(const struct gen *g)
{
    if (g->cut)
        return GEN_STOP;
    switch (g->r.finish) {
    case FINISH_STOP:
        return GEN_STOP;
    case FINISH_LENGTH:
    case FINISH_CLOSED:
        return GEN_LENGTH;
    case FINISH_CANCEL:
        return GEN_CANCEL;
    case FINISH_NONE:
    case FINISH_ERROR:
        break;
    }
    return GEN_ERROR;
}

static void gen_job(struct work_job *j)
{
    struct gen *g = (struct gen *)((char *)j - offsetof(struct gen, job));
    g->done(g);
}

/* On the engine's thread: what was held back is text after all. */
static void gen_done(struct request *r)
{
    struct gen *g = r->user;
    g->finish = gen_ended(g);
    if (!g->cut) {
        if (!g->began && r->n_out)
            gen_begin(g);
        tokenizer_stream_end(&g->stream, &g->raw);
        gen_show(g, g->raw.len);
    }
    if (g->text.failed || g->think.failed || g->raw.failed || g->raw_think.failed) {
        g->finish = GEN_ERROR;
        err_set(&r->err, ERR_NOMEM, "out of memory for a reply of %d tokens", r->n_out);
    }
    work_post(g->work, &g->job);
}

int gen_check(struct gen *g, struct err *e)
{
    g->r.prompt = g->prompt.id;
    g->r.n_prompt = (int)g->prompt.n;
    g->r.done = gen_done;
    return engine_check(g->m->en, &g->r, e);
}

int gen_submit(struct gen *g, struct err *e)
{
    struct request *r = &g->r;
    r->user = g;
    r->on_token = gen_token;
    g->job.run = gen_job;
    g->th = think_begin(&r->think);
    g->began = !r->think.max;
    TRY(gen_check(g, e)); /* before the buffers, whose size the request says */
    size_t most = (size_t)request_most(r);
    r->out = mem_zalloc(most + 1, sizeof *r->out);
    r->out_lp = mem_zalloc(most + 1, sizeof *r->out_lp);
    g->token_end = mem_zalloc(most + 1, sizeof *g->token_end);
    if (!r->out || !r->out_lp || !g->token_end)
        return NOMEM(e, most * 16, "a reply");
    return engine_submit(g->m->en, r, e);
}

void gen_cancel(struct gen *g)
{
    engine_cancel(g->m->en, &g->r);
}
