/* POST /v1/completions. */
#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "openai.h"

struct completion_args {
    struct openai_draw draw;
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "openai_completion.def"
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct completion_args, __VA_ARGS__)
#include "openai_completion.def"
#undef X
#define X(...) FIELD_ROW(struct openai_draw, __VA_ARGS__)
#include "openai_draw.def"
#undef X
};
const struct field_set openai_completion_fields = {
    "CompletionRequest", rows, sizeof rows / sizeof rows[0], sizeof(struct completion_args)};

/* ---- prompts --------------------------------------------------------------------------------- */

#define PROMPTS_MOST 2048

/* Number of prompts. ERR_DATA: another form than text, ids, or lists of these. */
static int count_prompts(const json_t *p, int *out, struct err *e)
{
    *out = 1;
    if (json_is_string(p))
        return 0;
    size_t n = json_array_size(p);
    if (!json_is_array(p) || !n)
        FAIL(e, ERR_DATA, "'prompt' is %s, expected text, token ids, or a list of these",
             json_is_array(p) ? "empty" : jdoc_type_name(json_typeof(p)));
    const json_t *first = json_array_get(p, 0);
    if (json_is_integer(first)) {
        for (size_t i = 0; i < n; i++)
            if (!json_is_integer(json_array_get(p, i)))
                FAIL(e, ERR_DATA, "'prompt[%zu]' is no token id", i);
        return 0;
    }
    if (n > PROMPTS_MOST)
        FAIL(e, ERR_DATA, "'prompt' has %zu prompts, the limit is %d", n, PROMPTS_MOST);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(p, i);
        if (json_typeof(one) != json_typeof(first) || (!json_is_string(one) && !json_is_array(one)))
            FAIL(e, ERR_DATA,
                 "'prompt[%zu]' is %s; all prompts must be texts, or lists of token ids", i,
                 jdoc_type_name(json_typeof(one)));
        for (size_t k = 0; k < json_array_size(one); k++)
            if (!json_is_integer(json_array_get(one, k)))
                FAIL(e, ERR_DATA, "'prompt[%zu][%zu]' is no token id", i, k);
    }
    *out = (int)n;
    return 0;
}

static const json_t *prompt_of(const json_t *p, int i)
{
    bool one = json_is_string(p) || json_is_integer(json_array_get(p, 0));
    return one ? p : json_array_get(p, (size_t)i);
}

static int encode(struct gen *g, const json_t *p, bool special, struct err *e)
{
    g->continues = true;
    if (json_is_string(p)) {
        g->continues = json_string_length(p) > 0;
        TRY(serve_fits(g->m, json_string_value(p), json_string_length(p), e));
        TRY(tokenizer_encode(g->m->tok, json_string_value(p), json_string_length(p),
                             special ? TOK_BOS : 0, &g->prompt, e));
    }
    for (size_t i = 0; i < json_array_size(p); i++) {
        json_int_t id = json_integer_value(json_array_get(p, i));
        if (id < 0 || id >= tokenizer_n_vocab(g->m->tok))
            FAIL(e, ERR_DATA, "token id %lld at place %zu: the vocabulary has 0 to %d",
                 (long long)id, i, tokenizer_n_vocab(g->m->tok) - 1);
        TRY(token_list_push(&g->prompt, (int32_t)id, e));
    }
    if (!g->prompt.n)
        FAIL(e, ERR_DATA, "a prompt has no tokens");
    return 0;
}

/* The prompt's text, for echo. */
static void prompt_text(const struct gen *g, const json_t *p, struct str *out)
{
    struct tokenizer_stream st = {0};
    if (json_is_string(p)) {
        str_add(out, json_string_value(p), json_string_length(p));
        return;
    }
    for (int i = 0; i < g->r.n_prompt; i++)
        tokenizer_stream_push(g->m->tok, &st, g->r.prompt[i], out);
    tokenizer_stream_end(&st, out);
}

/* ---- scores of prompts that begin alike ------------------------------------------------------ */

/* Prompts of one call often differ in their last tokens only: the options of a question. Scores of
 * equal beginnings are computed once, and copied: they are the same floats. */
struct alike {
    int of;      /* the earlier reply whose prompt begins in the same way */
    int n_token; /* so many of them; 0 = none */
};

enum { ALIKE_BACK = 16, ALIKE_LEAST = 16 }; /* earlier prompts that are compared; tokens */

static int equal_tokens(const struct token_list *a, const struct token_list *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->id[n] == b->id[n])
        n++;
    return (int)n;
}

static struct alike find_alike(const struct openai_reply *r, int i)
{
    struct alike best = {0, 0};
    if (i % r->n_each)
        return (struct alike){i - i % r->n_each, (int)r->gen[i].prompt.n};
    for (int k = 1; k <= ALIKE_BACK && k * r->n_each <= i; k++) {
        int of = i - k * r->n_each;
        int n = equal_tokens(&r->gen[of].prompt, &r->gen[i].prompt);
        if (n >= ALIKE_LEAST && n > best.n_token)
            best = (struct alike){of, n};
    }
    return best;
}

/* Fills the scores that earlier prompts have. In order: those may have theirs from others. */
static void copy_alike(struct openai_reply *r)
{
    const struct alike *alike = r->scratch;
    for (int i = 0; alike && i < r->n; i++) {
        const struct request *from = &r->gen[alike[i].of].r;
        struct request *to = &r->gen[i].r;
        size_t n = (size_t)alike[i].n_token;
        if (!n)
            continue;
        memcpy(to->prompt_lp, from->prompt_lp, n * sizeof *to->prompt_lp);
        if (to->n_top)
            memcpy(to->prompt_top, from->prompt_top,
                   n * (size_t)to->n_top * sizeof *to->prompt_top);
    }
}

/* ---- replies --------------------------------------------------------------------------------- */

/* A reply of no tokens has reached its limit. */
static const char *finish_text(const struct gen *g)
{
    return g->finish == GEN_STOP && g->r.max_new ? "stop" : "length";
}

static void choice_json(const struct openai_reply *r, int i, struct str *out)
{
    const struct completion_args *a = r->c->args;
    const struct gen *g = &r->gen[i];
    struct str text = STR_INIT;
    if (a->echo)
        prompt_text(g, prompt_of(a->prompt, i / r->n_each), &text);
    size_t before = openai_chars(text.s, text.len);
    str_add(&text, g->text.s, g->text.len);
    str_adds(out, "{\"text\": ");
    str_add_json(out, text.s, text.len);
    str_addf(out, ", \"index\": %d, \"logprobs\": ", i);
    if (a->logprobs != FIELD_UNSET)
        openai_logprobs_text(g, a->echo, 0, gen_tokens(g), before, out);
    else
        str_adds(out, "null");
    str_addf(out, ", \"finish_reason\": \"%s\"}", finish_text(g));
    out->failed = out->failed || text.failed;
    str_free(&text);
}

static void completion_finished(struct task *t)
{
    struct openai_reply *r = t->user;
    const struct err *failed = openai_failed(r);
    struct str s = STR_INIT;
    if (failed) {
        openai_fail(t, r, NULL, failed);
        return;
    }
    if (r->draw->stream) {
        openai_stream_end(t, r);
        return;
    }
    copy_alike(r);
    str_adds(&s, "{");
    openai_about(r, "text_completion", &s);
    str_adds(&s, ", \"choices\": [");
    for (int i = 0; i < r->n; i++) {
        str_adds(&s, i ? ", " : "");
        choice_json(r, i, &s);
    }
    str_adds(&s, "], ");
    openai_usage(r, &s);
    str_adds(&s, "}\n");
    struct err e = {0};
    if (str_ok(&s, "a reply", &e) < 0) {
        str_free(&s);
        openai_fail(t, r, NULL, &e);
        return;
    }
    call_reply(t->c, 200, &s);
    openai_reply_free(r);
    task_end(t);
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void piece_json(struct openai_reply *r, const struct gen *g, const char *text, size_t n,
                       int from, int to)
{
    const struct completion_args *a = r->c->args;
    str_add(&r->line, r->head.s, r->head.len);
    str_addf(&r->line, "{\"index\": %d, \"text\": ", (int)(g - r->gen));
    str_add_json(&r->line, text, n);
    str_adds(&r->line, ", \"logprobs\": ");
    if (a->logprobs != FIELD_UNSET && to > from)
        openai_logprobs_text(g, false, from, to,
                             openai_chars(g->raw.s, from ? g->token_end[from - 1] : 0), &r->line);
    else
        str_adds(&r->line, "null");
}

static void completion_piece(struct gen *g, const char *text, size_t n, bool thinking)
{
    struct openai_reply *r = ((struct task *)g->user)->user;
    if (thinking)
        return;
    piece_json(r, g, text, n, g->piece_from, g->piece_to);
    str_adds(&r->line, ", \"finish_reason\": null}]}\n\n");
    openai_send(r);
}

static void completion_end(struct gen *g)
{
    struct openai_reply *r = ((struct task *)g->user)->user;
    if (g->finish != GEN_STOP && g->finish != GEN_LENGTH)
        return;
    piece_json(r, g, "", 0, g->piece_to, gen_tokens(g));
    str_addf(&r->line, ", \"finish_reason\": \"%s\"}]}\n\n", finish_text(g));
    openai_send(r);
}

static void completion_begin(struct openai_reply *r)
{
    const struct completion_args *a = r->c->args;
    openai_stream_begin(r, "text_completion");
    for (int i = 0; i < r->n; i++) {
        struct gen *g = &r->gen[i];
        struct str text = STR_INIT;
        g->on_piece = completion_piece;
        g->on_end = completion_end;
        if (!a->echo)
            continue;
        prompt_text(g, prompt_of(a->prompt, i / r->n_each), &text);
        piece_json(r, g, text.s, text.len, 0, 0);
        r->line.failed |= text.failed;
        str_adds(&r->line, ", \"finish_reason\": null}]}\n\n");
        openai_send(r);
        str_free(&text);
    }
}

/* ---- the call -------------------------------------------------------------------------------- */

static int completion_fill(struct openai_reply *r, struct err *e)
{
    const struct completion_args *a = r->c->args;
    for (int i = 0; i < r->n; i += r->n_each) {
        struct gen *g = &r->gen[i];
        TRY(encode(g, prompt_of(a->prompt, i / r->n_each), a->add_special_tokens, e));
        int64_t room = g->m->info->n_ctx - (int64_t)g->prompt.n;
        int64_t least = a->max_tokens > 0; /* a prompt that fills the context: the engine says so */
        g->r.max_new = (int)(a->max_tokens < room ? a->max_tokens : room < least ? least : room);
        TRY(openai_copy(g, r->n_each, e));
    }
    bool scores = a->echo && a->logprobs != FIELD_UNSET;
    struct alike *alike = scores ? mem_zalloc((size_t)r->n, sizeof *alike) : NULL;
    r->scratch = alike;
    if (scores && !alike)
        return NOMEM(e, (size_t)r->n * sizeof *alike, "scores");
    for (int i = 0; i < r->n; i++) {
        struct gen *g = &r->gen[i];
        if (scores)
            alike[i] = find_alike(r, i);
        /* Lists of tokens have the end token as well. So arrays of a scored prompt are one longer
         * than the prompt under max_tokens 1, whatever the token is. */
        g->keep_end = a->logprobs != FIELD_UNSET && !a->draw.ignore_eos;
        g->score_prompt = scores || a->max_tokens == 0;
        g->r.prompt_lp_from = scores ? alike[i].n_token : (int)g->prompt.n;
        g->r.n_top = a->logprobs == FIELD_UNSET ? 0 : (int)a->logprobs;
        TRY(gen_check(g, e));
    }
    return 0;
}

static void completion_ready(struct task *t)
{
    const struct completion_args *a = t->c->args;
    struct openai_reply *r = NULL;
    struct err e = {0};
    const char *param = "prompt";
    int n = 0, rc = count_prompts(a->prompt, &n, &e);
    if (rc == 0)
        rc = openai_reply_new(t, &a->draw, "cmpl-", n * (int)a->n, (int)a->n, &r, &param, &e);
    if (rc == 0)
        rc = completion_fill(r, &e);
    if (rc == 0 && a->draw.stream)
        completion_begin(r);
    if (rc == 0)
        rc = task_run(t, completion_finished, &e);
    if (rc < 0)
        openai_fail(t, r, param, &e);
}

void openai_completions_post(struct call *c)
{
    const struct completion_args *a = c->args;
    struct err e = {0};
    const char *param = "prompt";
    int n;
    if (a->best_of != FIELD_UNSET && a->best_of != a->n)
        call_fail(c, 400, "best_of", "'best_of' is %lld and 'n' is %lld; they must be equal",
                  (long long)a->best_of, (long long)a->n);
    else if (a->draw.stream && a->echo && a->logprobs != FIELD_UNSET)
        call_fail(c, 400, "stream",
                  "'stream' with 'echo' and 'logprobs' is not supported; leave one "
                  "out");
    else if (count_prompts(a->prompt, &n, &e) < 0 || openai_check(&a->draw, &param, &e) < 0)
        call_fail_err(c, param, &e);
    else
        task_start(c, a->draw.model, n * (int)a->n, -1, completion_ready, NULL);
}
