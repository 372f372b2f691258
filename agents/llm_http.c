#include "llm_http.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ability.h"
#include "agent_options.h"
#include "check.h"
#include "clock.h"
#include "mem.h"
#include "retry.h"
#include "rng.h"
#include "schema_fit.h"

#define POLL_MS 200     /* longest wait inside llm_next for one event */
#define BYTES_A_TOKEN 8 /* English has 4 to 5: a prompt of fewer tokens than this was cut */

struct llm_schema {
    struct llm_schema *next;
    struct schema_fit *fit;
    bool text; /* the server refused this schema: the prompt states it */
};

enum http_state { HTTP_WAITING, HTTP_SENT, HTTP_DONE };

struct http_call {
    struct http_call *next; /* in order of submission */
    struct llm_call *call;
    struct wire_job job;
    struct str body;
    enum http_state state;
    int attempts; /* of the present request */
    int64_t t_submit, t_ready, t_end;
    bool by_text;      /* the present request states its schema in the prompt */
    bool check;        /* the present request is the short question after the last attempt */
    struct err last;   /* check: the failure of the last attempt */
    struct str broken; /* the reply that is repaired; "" = none */
    char fault[256];
};

struct http_totals {
    int64_t calls, requests, retries, repairs;
    int64_t prompt, cached, think, new;
};

struct llm_http {
    struct llm llm;
    const struct form *form;
    const struct agent_options *of;
    struct remote remote;
    struct ability ability;
    struct llm_info info;
    struct str url, url_score, model;
    struct llm_schema *schemas;
    struct http_call *first, *last;
    int n, n_sent;
    struct retry_window window;
    int64_t t_hold; /* the server asked for silence until then */
    struct http_totals total;
};

/* ---- a request ------------------------------------------------------------------------------- */

static int http_schema(struct llm *llm, const char *json, size_t n, const char *name,
                       const struct llm_schema **out, struct err *e)
{
    struct llm_http *l = (struct llm_http *)llm;
    struct llm_schema *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "a schema");
    int rc = schema_fit_open(json, n, name, &s->fit, e);
    if (rc < 0) {
        mem_free(s);
        return rc;
    }
    s->next = l->schemas;
    l->schemas = s;
    *out = s;
    return 0;
}

/* The prompt states the schema, and the reply is checked here. */
static bool http_by_text(const struct llm_http *l, const struct llm_call *c)
{
    return c->schema && (c->schema->text || l->ability.server.schema == FORM_TEXT_ONLY);
}

static void http_write(const struct llm_http *l, const struct http_call *h, struct str *out)
{
    const struct llm_call *c = h->call;
    struct form_server s = l->ability.server;
    const struct form_chat chat = {
        .system = c->system,
        .system_len = c->system_len,
        .user = c->user,
        .user_len = c->user_len,
        .schema = !c->schema   ? NULL
                  : h->by_text ? schema_fit_plain(c->schema->fit)
                               : schema_fit_text(c->schema->fit),
        .broken = h->broken.len ? h->broken.s : NULL,
        .broken_len = h->broken.len,
        .fault = h->fault,
        .max_tokens = c->max_tokens,
        .max_think = c->max_think,
        .temperature = (double)c->temperature,
        .top_p = (double)c->top_p,
        .min_p = (double)c->min_p,
        .top_k = c->top_k,
        .seed = (uint32_t)(rng_key(c->seed, c->id, 0) & INT32_MAX),
    };
    if (h->by_text)
        s.schema = FORM_TEXT_ONLY;
    l->form->write(&s, &chat, out);
}

/* A score: the raw prompt and each option. */
struct http_score {
    struct form_score score;
    const char **option;
    size_t *len;
};

static void http_score_free(struct http_score *s)
{
    mem_free(s->option);
    mem_free(s->len);
}

static int http_score_make(const struct llm_call *c, struct http_score *s, struct err *e)
{
    const size_t n = c->score_prompt ? 1 : (size_t)c->n_options;
    s->option = mem_zalloc(n, sizeof *s->option);
    s->len = mem_zalloc(n, sizeof *s->len);
    if (!s->option || !s->len)
        return NOMEM(e, n * sizeof *s->option, "a score");
    for (size_t i = 0; i < n; i++) { /* a prompt that is scored has no continuation */
        s->option[i] = c->score_prompt ? "" : c->options[i].s;
        s->len[i] = c->score_prompt ? 0 : c->options[i].n;
    }
    s->score = (struct form_score){.prompt = c->user,
                                   .prompt_len = c->user_len,
                                   .option = s->option,
                                   .option_len = s->len,
                                   .n = (int)n,
                                   .no_bos = c->no_bos};
    return 0;
}

static int http_body(const struct llm_http *l, struct http_call *h, struct err *e)
{
    struct http_score s = {.option = NULL};
    int rc = 0;
    str_clear(&h->body);
    h->by_text = http_by_text(l, h->call);
    if (h->check)
        ability_short(&l->ability, l->form, &h->body);
    else if (h->call->max_tokens > 0)
        http_write(l, h, &h->body);
    else if ((rc = http_score_make(h->call, &s, e)) == 0)
        l->form->write_score(&l->ability.server, &s.score, &h->body);
    http_score_free(&s);
    return rc < 0 ? rc : str_ok(&h->body, "a request", e);
}

/* ---- submission ------------------------------------------------------------------------------ */

static int http_check(struct llm *llm, const struct llm_call *c, struct err *e)
{
    const struct llm_http *l = (struct llm_http *)llm;
    unsigned lacks = llm_call_needs(c) & ~l->info.can;
    char text[160];
    if (lacks)
        FAIL(e, ERR_DATA, "provider %s cannot do this: an llm that %s", l->form->name,
             llm_can_text(lacks, text));
    /* the text of a chat is the server's: only a raw prompt is known here to its last byte */
    if (c->raw != (c->max_tokens <= 0))
        FAIL(e, ERR_DATA, "provider %s takes raw prompts for scores, and scores of raw prompts",
             l->form->name);
    if (c->no_bos && !l->ability.server.no_special)
        FAIL(e, ERR_DATA,
             "%s does not take add_special_tokens, so it may put BOS first; direct.prompt_form "
             "lm-eval-bos leaves that to the server",
             l->remote.base.s);
    if (c->max_think && !l->info.thinks)
        FAIL(e, ERR_DATA, "thinking of %d tokens: the model does not think", c->max_think);
    size_t least = (c->system_len + c->user_len) / BYTES_A_TOKEN;
    if (least + (size_t)c->max_think + (size_t)c->max_tokens > (size_t)l->info.n_ctx)
        FAIL(e, ERR_DATA,
             "prompt of at least %zu tokens (%zu bytes) + thinking of %d + reply of %d exceed the "
             "context of %d",
             least, c->system_len + c->user_len, c->max_think, c->max_tokens, l->info.n_ctx);
    return 0;
}

static int http_submit(struct llm *llm, struct llm_call *c, struct err *e)
{
    struct llm_http *l = (struct llm_http *)llm;
    TRY(http_check(llm, c, e));
    struct http_call *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return NOMEM(e, sizeof *h, "a call");
    llm_call_clear(c);
    h->call = c;
    h->body = h->broken = h->job.reply = (struct str)STR_INIT;
    h->t_submit = clock_ns();
    h->t_end = h->t_submit + (int64_t)(l->of->remote_deadline * 1e9);
    c->mean_lp = c->first_seconds = (double)NAN;
    if (l->info.thinks)
        c->thought = c->max_think ? LLM_THOUGHT_OPEN : LLM_THOUGHT_EMPTY;
    if (c->n_options) {
        c->option_lp = mem_zalloc((size_t)c->n_options, sizeof *c->option_lp);
        c->option_tokens = mem_zalloc((size_t)c->n_options, sizeof *c->option_tokens);
        if (!c->option_lp || !c->option_tokens) {
            mem_free(h);
            return NOMEM(e, (size_t)c->n_options * sizeof *c->option_lp, "scores");
        }
    }
    c->llm_slot = h;
    *(l->last ? &l->last->next : &l->first) = h;
    l->last = h;
    l->n++;
    l->total.calls++;
    return 0;
}

static void http_done(struct llm_http *l, struct http_call *h, enum llm_finish finish)
{
    if (h->state == HTTP_SENT)
        l->n_sent--;
    h->state = HTTP_DONE;
    h->call->finish = finish;
    h->call->seconds = (double)(clock_ns() - h->t_submit) * 1e-9;
}

static void http_fail(struct llm_http *l, struct http_call *h, int code, const char *why)
{
    err_set(&h->call->err, code, "%s", why);
    for (int i = 0; h->call->option_lp && i < h->call->n_options; i++)
        h->call->option_lp[i] = (double)NAN;
    http_done(l, h, LLM_ERROR);
}

static void http_cancel(struct llm *llm, struct llm_call *c)
{
    struct llm_http *l = (struct llm_http *)llm;
    struct http_call *h = c->llm_slot;
    if (!h || h->state == HTTP_DONE)
        return;
    if (h->state == HTTP_SENT)
        wire_stop(l->remote.wire, &h->job);
    http_done(l, h, LLM_CANCEL);
}

/* ---- replies --------------------------------------------------------------------------------- */

/* The call goes back to the queue, to be sent after `wait` seconds. */
static void http_again(struct llm_http *l, struct http_call *h, double wait)
{
    h->t_ready = clock_ns() + (int64_t)(wait * 1e9);
    h->state = HTTP_WAITING;
    l->n_sent--;
}

/* Counts the failure of an attempt, and decides between another one and the end of the call. */
static void http_retry(struct llm_http *l, struct http_call *h, const struct err *why)
{
    struct llm_call *c = h->call;
    int64_t now = clock_ns();
    long status = h->job.end == WIRE_REPLY ? h->job.status : 0;
    double asked = h->job.wait_s;
    double wait = retry_wait(l->of->remote_retry, h->attempts, asked, c->id);
    bool busy = status == 429 || status == 503;
    snprintf(c->retried, sizeof c->retried, "%.*s", (int)sizeof c->retried - 1, why->msg);
    if (busy)
        retry_window_cut(&l->window, now);
    if (h->attempts <= l->of->remote_retries && now + (int64_t)(wait * 1e9) <= h->t_end) {
        if (busy && asked > 0)
            l->t_hold = now + (int64_t)(asked * 1e9);
        c->n_retries++;
        l->total.retries++;
        http_again(l, h, wait);
        return;
    }
    err_set(&h->last, ERR_AGAIN, "%.700s; given up after %d attempts in %.0f s", why->msg,
            h->attempts, (double)(now - h->t_submit) * 1e-9);
    h->check = status != 429;
    if (h->check)
        http_again(l, h, 0);
    else
        http_fail(l, h, ERR_AGAIN, h->last.msg);
}

/* The short question was answered or not: is the fault the call's, or the server's? */
static void http_checked(struct llm_http *l, struct http_call *h)
{
    struct form_reply r = FORM_REPLY_INIT;
    struct err ignored;
    bool well = h->job.end == WIRE_REPLY && h->job.status == 200 &&
                l->form->read(h->job.reply.s, h->job.reply.len, &r, &ignored) == 0;
    form_reply_free(&r);
    http_fail(l, h, well ? ERR_DATA : ERR_AGAIN, h->last.msg);
}

/* Compares a reply's names with the first ones. ERR_AGAIN. */
static int http_same(struct llm_http *l, struct llm_call *c, const struct form_reply *r,
                     struct err *e)
{
    const struct ability *a = &l->ability;
    if (strcmp(r->model, a->served) != 0)
        FAIL(e, ERR_AGAIN,
             "%s replied as model '%s' and now replies as '%s': the run ends, so that its results "
             "are of one model; continue it when the first is back",
             l->remote.base.s, a->served, r->model);
    if (!strcmp(r->fingerprint, a->fingerprint))
        return 0;
    snprintf(c->fingerprint, sizeof c->fingerprint, "%s", r->fingerprint);
    if (l->of->remote_changes == REMOTE_CHANGES_STOP)
        FAIL(e, ERR_AGAIN,
             "%s changed: its fingerprint was '%s', is '%s'; continue the run to go on with the "
             "new one, or set remote.changes=record",
             l->remote.base.s, a->fingerprint, r->fingerprint);
    return 0;
}

/* The server read fewer tokens than it was sent, or more than fit. */
static int http_whole(const struct llm_http *l, const struct http_call *h,
                      const struct form_reply *r, struct err *e)
{
    size_t bytes = h->call->system_len + h->call->user_len;
    if (!l->form->cuts || !r->counted)
        return 0;
    if (r->n_prompt >= l->info.n_ctx || r->n_prompt + r->n_new > l->info.n_ctx ||
        (size_t)r->n_prompt < bytes / BYTES_A_TOKEN)
        FAIL(e, ERR_DATA,
             "the server cut the prompt: it read %d tokens of %zu bytes and wrote %d, num_ctx is "
             "%d; raise max_context_length",
             r->n_prompt, bytes, r->n_new, l->info.n_ctx);
    return 0;
}

static void http_count(struct llm_http *l, struct llm_call *c, const struct form_reply *r)
{
    c->n_prompt += r->n_prompt;
    c->n_cached += r->n_cached;
    c->n_new += r->n_new;
    c->n_think += r->n_think;
    l->total.prompt += r->n_prompt;
    l->total.cached += r->n_cached;
    l->total.new += r->n_new;
    l->total.think += r->n_think;
}

/* Asks for the one repair; false: the reply stays. Servers that take schemas need it too: many
 * ignore some keywords, as llama.cpp does uniqueItems and maximum. */
static bool http_repair(struct llm_http *l, struct http_call *h, struct form_reply *r)
{
    struct llm_call *c = h->call;
    struct err why = {.code = 0};
    const char *part = NULL;
    size_t n = 0;
    if (!c->schema || r->end != FORM_STOP)
        return false;
    part = r->text.s;
    n = r->text.len;
    if (h->by_text)
        form_json_part(r->text.s, r->text.len, &part, &n);
    int rc = schema_fit_check(c->schema->fit, part, n, &why);
    if (rc != ERR_DATA || h->broken.len) {
        struct str whole = STR_INIT;
        str_add(&whole, part, n);
        str_free(&r->text);
        r->text = whole;
        return false;
    }
    str_add(&h->broken, r->text.s, r->text.len);
    snprintf(h->fault, sizeof h->fault, "%.*s", (int)sizeof h->fault - 1, why.msg);
    c->n_repairs++;
    l->total.repairs++;
    h->attempts = 0;
    http_again(l, h, 0);
    return true;
}

static void http_finish(struct llm_http *l, struct http_call *h, struct form_reply *r)
{
    struct llm_call *c = h->call;
    struct err why = {.code = 0};
    if (r->end == FORM_REFUSED) {
        err_set(&why, ERR_DATA, "the model refuses: %.300s",
                r->refusal.len ? r->refusal.s : "finish_reason is content_filter");
        http_fail(l, h, why.code, why.msg);
        return;
    }
    if (r->text.failed || r->think.failed) {
        http_fail(l, h, ERR_NOMEM, "out of memory for a reply");
        return;
    }
    c->mean_lp = r->mean_lp;
    c->reply = r->text;
    c->think = r->think;
    r->text = r->think = (struct str)STR_INIT;
    if (c->think.len)
        c->thought = c->reply.len || r->end == FORM_STOP ? LLM_THOUGHT_CLOSED : LLM_THOUGHT_OPEN;
    else if (c->thought == LLM_THOUGHT_OPEN)
        c->thought = LLM_THOUGHT_CLOSED;
    http_done(l, h, r->end == FORM_LENGTH ? LLM_CUT : LLM_STOP);
}

static int http_read(struct llm_http *l, struct http_call *h, struct form_reply *r, struct err *e)
{
    struct llm_call *c = h->call;
    struct http_score s = {.option = NULL};
    int rc;
    if (c->max_tokens > 0)
        return l->form->read(h->job.reply.s, h->job.reply.len, r, e);
    rc = http_score_make(c, &s, e);
    if (rc == 0 && c->score_prompt)
        rc = l->form->read_prompt(&s.score, h->job.reply.s, h->job.reply.len, &c->token,
                                  &c->n_token, r, e);
    else if (rc == 0)
        rc = l->form->read_score(&s.score, h->job.reply.s, h->job.reply.len, c->option_lp,
                                 c->option_tokens, r, e);
    http_score_free(&s);
    return rc;
}

/* A reply with status 200. */
static void http_good(struct llm_http *l, struct http_call *h)
{
    struct form_reply r = FORM_REPLY_INIT;
    struct err why = {.code = 0};
    int rc = http_read(l, h, &r, &why);
    if (rc == ERR_DATA) { /* HTML, half a body, no choices: as if there were no reply */
        struct err cut = {.code = 0};
        err_set(&cut, ERR_AGAIN, "%s: %.400s: not a reply of provider %s", l->remote.base.s,
                why.msg, l->form->name);
        http_retry(l, h, &cut);
    } else if (rc < 0 || (rc = http_same(l, h->call, &r, &why)) < 0) {
        http_fail(l, h, rc, why.msg);
    } else {
        retry_window_grow(&l->window);
        http_count(l, h->call, &r);
        if (http_whole(l, h, &r, &why) < 0)
            http_fail(l, h, why.code, why.msg);
        else if (!http_repair(l, h, &r))
            http_finish(l, h, &r);
    }
    form_reply_free(&r);
}

static void http_took(struct llm_http *l, struct http_call *h)
{
    struct err why = {.code = 0};
    enum remote_verdict v = remote_judge(&l->remote, &h->job, &why);
    if (h->check) {
        http_checked(l, h);
    } else if (v == REMOTE_SCHEMA && h->call->schema && !h->by_text) {
        /* schemas are lent as const; the record is ours */
        for (struct llm_schema *s = l->schemas; s; s = s->next)
            s->text = s->text || s == h->call->schema;
        snprintf(h->call->retried, sizeof h->call->retried, "%.*s",
                 (int)sizeof h->call->retried - 1, why.msg);
        h->call->n_retries++;
        http_again(l, h, 0);
    } else if (v == REMOTE_GOOD) {
        http_good(l, h);
    } else if (v == REMOTE_AGAIN) {
        http_retry(l, h, &why);
    } else {
        http_fail(l, h, why.code, why.msg);
    }
    wire_job_free(&h->job);
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* The next call to send: of the lowest rank, then the first submitted. *at: when the first of those
 * that wait becomes ready. */
static struct http_call *http_ready(const struct llm_http *l, int64_t now, int64_t *at)
{
    struct http_call *best = NULL;
    *at = INT64_MAX;
    for (struct http_call *h = l->first; h; h = h->next) {
        int64_t ready = h->t_ready > l->t_hold ? h->t_ready : l->t_hold;
        if (h->state != HTTP_WAITING)
            continue;
        *at = ready < *at ? ready : *at;
        if (ready <= now && (!best || h->call->rank < best->call->rank))
            best = h;
    }
    return best;
}

static void http_send(struct llm_http *l, struct http_call *h)
{
    struct err why = {.code = 0};
    int64_t left = h->t_end - clock_ns();
    int rc = http_body(l, h, &why);
    double limit = l->of->remote_timeout;
    h->state = HTTP_SENT;
    l->n_sent++;
    h->attempts++;
    if (!h->check && (double)left * 1e-9 < limit)
        limit = left > 1000000 ? (double)left * 1e-9 : 0.001;
    h->job.url = h->check || h->call->max_tokens > 0 ? l->url.s : l->url_score.s;
    h->job.body = h->body.s;
    h->job.body_len = h->body.len;
    h->job.timeout_s = limit;
    h->job.user = h;
    if (rc == 0)
        rc = wire_start(l->remote.wire, &h->job, &why);
    if (rc < 0)
        http_fail(l, h, rc, why.msg);
    else
        l->total.requests++;
}

/* Sends the calls for which there is room. Returns the milliseconds until another becomes ready. */
static int http_pump(struct llm_http *l)
{
    int64_t now = clock_ns(), at = INT64_MAX;
    while (l->n_sent < retry_window_room(&l->window)) {
        struct http_call *h = http_ready(l, now, &at);
        if (!h)
            break;
        http_send(l, h);
        at = INT64_MAX;
    }
    return at == INT64_MAX || at - now > (int64_t)POLL_MS * 1000000
               ? POLL_MS
               : (int)((at - now) / 1000000) + 1;
}

static void http_free(struct http_call *h)
{
    wire_job_free(&h->job);
    str_free(&h->body);
    str_free(&h->broken);
    mem_free(h);
}

/* Takes the first finished call out of the list. */
static struct llm_call *http_take(struct llm_http *l)
{
    struct http_call *before = NULL, *h = l->first;
    while (h && h->state != HTTP_DONE) {
        before = h;
        h = h->next;
    }
    if (!h)
        return NULL;
    *(before ? &before->next : &l->first) = h->next;
    if (l->last == h)
        l->last = before;
    l->n--;
    struct llm_call *c = h->call;
    c->llm_slot = NULL;
    http_free(h);
    return c;
}

static struct llm_call *http_next(struct llm *llm, int timeout_ms)
{
    struct llm_http *l = (struct llm_http *)llm;
    int64_t end = clock_ns() + (int64_t)timeout_ms * 1000000;
    while (l->n) {
        struct llm_call *c = http_take(l);
        if (c)
            return c;
        int64_t now = clock_ns();
        if (timeout_ms >= 0 && now >= end)
            return NULL;
        int wait = http_pump(l), left = (int)((end - now) / 1000000) + 1;
        struct wire_job *j =
            wire_next(l->remote.wire, timeout_ms >= 0 && left < wait ? left : wait);
        if (j)
            http_took(l, j->user);
    }
    return NULL;
}

/* ---- the llm --------------------------------------------------------------------------------- */

static const struct llm_info *http_info(struct llm *llm)
{
    return &((struct llm_http *)llm)->info;
}

static void http_close(struct llm *llm)
{
    struct llm_http *l = (struct llm_http *)llm;
    for (struct http_call *h = l->first, *next; h; h = next) {
        next = h->next;
        if (h->state == HTTP_SENT)
            wire_stop(l->remote.wire, &h->job);
        http_free(h);
    }
    for (struct llm_schema *s = l->schemas, *next; s; s = next) {
        next = s->next;
        schema_fit_close(s->fit);
        mem_free(s);
    }
    remote_close(&l->remote);
    str_free(&l->url);
    str_free(&l->url_score);
    str_free(&l->model);
    mem_free(l);
}

static double http_usd(const struct llm_http *l)
{
    const struct http_totals *t = &l->total;
    return ((double)t->prompt * l->of->price_prompt +
            (double)(t->new + t->think) * l->of->price_completion) *
           1e-6;
}

static void http_figures(struct llm *llm, enum llm_figures form, struct str *out)
{
    const struct llm_http *l = (struct llm_http *)llm;
    const struct http_totals *t = &l->total;
    if (!t->requests)
        return;
    if (form == LLM_FIGURES_JSON) {
        str_addf(out,
                 "{\"calls\": %" PRId64 ", \"requests\": %" PRId64 ", \"retries\": %" PRId64
                 ", \"repairs\": %" PRId64 ", \"prompt_tokens\": %" PRId64
                 ", \"prompt_tokens_cached\": %" PRId64 ", \"think_tokens\": %" PRId64
                 ", \"new_tokens\": %" PRId64 ", \"usd\": ",
                 t->calls, t->requests, t->retries, t->repairs, t->prompt, t->cached, t->think,
                 t->new);
        str_add_number(out, http_usd(l), 10);
        str_addc(out, '}');
        return;
    }
    str_addf(out,
             "server: %" PRId64 " calls in %" PRId64 " requests, %" PRId64
             " of them further attempts, %" PRId64 " repairs; %" PRId64 " prompt tokens, %" PRId64
             " new",
             t->calls, t->requests, t->retries, t->repairs, t->prompt, t->new + t->think);
    if (http_usd(l) > 0)
        str_addf(out, "; %.4f USD", http_usd(l));
}

static void http_fill_info(struct llm_http *l)
{
    struct llm_info *in = &l->info;
    struct str text = STR_INIT;
    in->provider = l->form->name;
    in->can = l->ability.can;
    in->thinks = l->ability.server.thinks;
    in->n_ctx = l->ability.n_ctx;
    in->slots = l->of->remote_parallel;
    snprintf(in->name, sizeof in->name, "%s", l->ability.served);
    snprintf(in->model, sizeof in->model, "%s", l->model.s);
    snprintf(in->backend, sizeof in->backend, "server");
    snprintf(in->chat, sizeof in->chat, "server");
    snprintf(in->served, sizeof in->served, "%s%s%.12s", l->ability.served,
             l->ability.digest[0] ? "@" : "", l->ability.digest);
    ability_text(&l->ability, &l->remote, &text);
    snprintf(in->server, sizeof in->server, "%.*s", (int)sizeof in->server - 1, text.s);
    in->server[utf8_complete(in->server, strlen(in->server))] = 0;
    str_free(&text);
}

int llm_http_of(const struct form *f, const struct provider_options *o, const char *address,
                struct llm **out, struct err *e)
{
    static const struct llm_api api = {.schema = http_schema,
                                       .submit = http_submit,
                                       .check = http_check,
                                       .next = http_next,
                                       .cancel = http_cancel,
                                       .info = http_info,
                                       .close = http_close,
                                       .figures = http_figures};
    struct llm_http *l = mem_zalloc(1, sizeof *l);
    int rc;
    if (!l)
        return NOMEM(e, sizeof *l, "an llm");
    l->llm.api = &api;
    l->form = f;
    l->of = config_of(o->config, &agent_option_set);
    l->url = l->url_score = l->model = l->remote.base = (struct str)STR_INIT;
    TRY_DONE(remote_open(&l->remote, address, o->key, e));
    l->remote.stop = o->stop;
    l->remote.timeout_s = l->of->remote_timeout;
    l->remote.deadline_s = l->of->remote_deadline;
    l->remote.retry_s = l->of->remote_retry;
    l->remote.retries = l->of->remote_retries;
    config_value(o->config, "model", &l->model);
    TRY_DONE(str_ok(&l->model, "a name", e));
    TRY_DONE(remote_url(&l->remote, false, f->chat, &l->url, e));
    if (f->complete)
        TRY_DONE(remote_url(&l->remote, false, f->complete, &l->url_score, e));
    TRY_DONE(ability_probe(&l->remote, f, l->model.s,
                           (int)config_int(o->config, "max_context_length"), &l->ability, e));
    if (l->ability.server.sampling == FORM_SAMPLING_PLAIN && (l->of->top_k || l->of->min_p > 0))
        TRY_DONE(err_set(e, ERR_CONFIG,
                         "%s takes neither top_k nor min_p, which are %d and %g; set both to 0",
                         l->remote.base.s, l->of->top_k, l->of->min_p));
    retry_window_open(&l->window, l->of->remote_parallel, l->of->remote_retry);
    http_fill_info(l);
    *out = &l->llm;
    l = NULL;
done:
    if (l)
        http_close(&l->llm);
    return rc;
}
