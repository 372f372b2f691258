#include "gen.h"

#include <string.h>

#include "check.h"
#include "mem.h"
#include "think.h"

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
    live_free(&g->live);
    token_list_free(&g->prompt);
    token_list_free(&g->added);
    mem_free(g->r.out);
    mem_free(g->r.out_lp);
    mem_free(g->r.out_top);
    mem_free(g->r.prompt_lp);
    mem_free(g->r.prompt_top);
    mem_free(g->token_end);
    g->r.out = NULL;
    g->r.out_lp = g->r.prompt_lp = NULL;
    g->r.out_top = g->r.prompt_top = NULL;
    g->token_end = NULL;
}

int gen_add_stop(struct gen *g, const char *s, size_t n, struct err *e)
{
    if (!n || n > GEN_STOP_MOST)
        FAIL(e, ERR_DATA, "a stop string has %zu bytes, expected 1 to %d", n, GEN_STOP_MOST);
    if (g->n_stop == GEN_STOPS)
        FAIL(e, ERR_DATA, "more than %d stop strings", GEN_STOPS);
    g->stop[g->n_stop++] = (struct gen_stop){s, n};
    return 0;
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

/* Gives out text up to raw[to). */
static void gen_show(struct gen *g, size_t to)
{
    if (to <= g->shown)
        return;
    g->piece_from = g->piece_to;
    while (g->piece_to < g->n_text && (g->piece_to ? g->token_end[g->piece_to - 1] : 0) < to)
        g->piece_to++;
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

/* Looks for a stop string in all bytes that were not given out. A stop string never begins before
 * them: bytes that could begin one were held back. true: the reply ends before it. */
static bool gen_stops(struct gen *g)
{
    int which;
    size_t at = gen_find_stop(g, g->shown, &which);
    if (which < 0)
        return false;
    g->cut = true;
    g->stopped = which;
    gen_show(g, at);
    return true;
}

/* On the engine's thread: the next characters of the thinking or of the reply. */
static void gen_say(void *user, const char *text, size_t n, bool thinking)
{
    struct gen *g = user;
    str_add(thinking ? &g->raw_think : &g->raw, text, n);
    if (thinking)
        gen_show_think(g, g->raw_think.len);
}

/* Whether the reply is a call of functions. true: it starts again, or nothing may be shown yet. */
static bool gen_waits(struct gen *g)
{
    if (!g->call_grammar || g->verdict == GEN_FREE || g->calls)
        return false;
    g->verdict = g->decide(g->raw.s, g->raw.len);
    if (g->verdict == GEN_CALL) {
        g->cut = true;
        engine_cancel(g->m->en, &g->r);
    }
    return g->verdict != GEN_FREE;
}

/* On the engine's thread. */
static void gen_token(struct request *r, int32_t id, float lp)
{
    struct gen *g = r->user;
    (void)lp;
    if (g->cut || g->ended)
        return;
    const bool thinking = r->n_think == r->n_out;
    if (!thinking && g->keep_end && tokenizer_is_end(g->m->tok, id)) {
        g->ended = true;
        live_end(&g->live, r); /* before the cancel, after which it says nothing */
        g->token_end[g->n_text] = g->raw.len;
        engine_cancel(g->m->en, r);
        return;
    }
    live_token(&g->live, r);
    if (thinking)
        return;
    g->token_end[g->n_text++] = g->raw.len;
    if (gen_waits(g))
        return;
    if (gen_stops(g))
        engine_cancel(g->m->en, r);
    else
        gen_show(g, g->raw.len - gen_held(g));
}

static enum gen_finish gen_ended(const struct gen *g)
{
    if (g->cut || g->ended)
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

/* The state before the first token. Text that was given out stays. */
static void gen_start(struct gen *g)
{
    live_free(&g->live);
    live_init(&g->live, g->m->tok, &g->r, gen_say, g);
    g->live.stream.started = g->continues;
    g->cut = false;
    g->n_text = 0;
    str_clear(&g->raw);
    str_clear(&g->raw_think);
}

/* The reply begins a call: once more, under the grammar. */
static int gen_again(struct gen *g)
{
    gen_start(g);
    g->calls = true;
    g->r.grammar = g->call_grammar;
    if (atomic_load(&g->cancelled))
        FAIL(&g->r.err, ERR_CANCEL, "the request was cancelled");
    struct err why = {0};
    int rc = engine_submit(g->m->en, &g->r, &why);
    if (rc < 0) {
        g->r.err = why;
        return rc;
    }
    if (atomic_load(&g->cancelled)) /* between the two requests nothing was there to cancel */
        engine_cancel(g->m->en, &g->r);
    return 0;
}

/* On the engine's thread: bytes that were held back are text after all. */
static void gen_done(struct request *r)
{
    struct gen *g = r->user;
    if (g->verdict == GEN_CALL && !g->calls && r->finish != FINISH_ERROR) {
        int rc = gen_again(g);
        if (rc == 0)
            return;
        r->finish = rc == ERR_CANCEL ? FINISH_CANCEL : FINISH_ERROR;
    }
    if (!g->cut) {
        live_end(&g->live, r);
        if (!gen_stops(g)) /* held back bytes of a call that was none were not looked at */
            gen_show(g, g->raw.len);
    }
    g->finish = gen_ended(g);
    if (g->text.failed || g->think.failed || g->raw.failed || g->raw_think.failed ||
        g->live.text.failed) {
        g->finish = GEN_ERROR;
        err_set(&r->err, ERR_NOMEM, "out of memory for a reply of %d tokens", r->n_out);
    }
    if (g->on_end)
        g->on_end(g);
    work_post(g->work, &g->job);
}

int gen_tokens(const struct gen *g)
{
    int n = 0;
    if (!g->cut)
        return g->n_text + g->ended;
    while (n < g->n_text && (n ? g->token_end[n - 1] : 0) < g->text.len)
        n++;
    return n;
}

int gen_check(struct gen *g, struct err *e)
{
    g->r.prompt = g->prompt.id;
    g->r.n_prompt = (int)g->prompt.n;
    g->r.done = gen_done;
    g->r.prompt_lp = NULL;
    if (!g->score_prompt)
        return engine_check(g->m->en, &g->r, e);
    float none;
    g->r.prompt_lp = &none; /* the check sees that there is one */
    int rc = engine_check(g->m->en, &g->r, e);
    g->r.prompt_lp = NULL;
    return rc;
}

/* Buffers of the lists of tokens, and of the prompt's scores. */
static int gen_score_buffers(struct gen *g, size_t most, struct err *e)
{
    struct request *r = &g->r;
    size_t top = (size_t)r->n_top, n = (size_t)r->n_prompt;
    if (top)
        r->out_top = mem_zalloc((most + 1) * top, sizeof *r->out_top);
    if (g->score_prompt)
        r->prompt_lp = mem_zalloc(n, sizeof *r->prompt_lp);
    if (g->score_prompt && top)
        r->prompt_top = mem_zalloc(n * top, sizeof *r->prompt_top);
    if ((top && !r->out_top) || (g->score_prompt && !r->prompt_lp) ||
        (g->score_prompt && top && !r->prompt_top))
        return NOMEM(e, (most + n) * (top + 1) * sizeof *r->out_top, "log-probabilities");
    return 0;
}

int gen_submit(struct gen *g, struct err *e)
{
    struct request *r = &g->r;
    r->user = g;
    r->on_token = gen_token;
    g->job.run = gen_job;
    gen_start(g);
    r->ignore_eos = r->ignore_eos || g->keep_end;
    TRY(gen_check(g, e)); /* before the buffers, whose size the request says */
    size_t most = (size_t)request_most(r);
    r->out = mem_zalloc(most + 1, sizeof *r->out);
    r->out_lp = mem_zalloc(most + 1, sizeof *r->out_lp);
    g->token_end = mem_zalloc(most + 1, sizeof *g->token_end);
    if (!r->out || !r->out_lp || !g->token_end)
        return NOMEM(e, most * 16, "a reply");
    TRY(gen_score_buffers(g, most, e));
    return engine_submit(g->m->en, r, e);
}

void gen_cancel(struct gen *g)
{
    atomic_store(&g->cancelled, true);
    engine_cancel(g->m->en, &g->r);
}
