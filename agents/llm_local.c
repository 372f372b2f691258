/*
 * llm_local: the agents' door onto an engine in this process. Completions come from the engine
 * thread through a list and an eventfd, so that waiting can be cut short by a signal.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "engine.h"
#include "grammar.h"
#include "live.h"
#include "llm.h"
#include "log.h"
#include "mem.h"
#include "str.h"
#include "think.h"
#include "tokenizer.h"

struct llm_schema { /* linked in its llm */
    struct llm_schema *next;
    struct grammar *grammar;
};

struct local_call {          /* one call inside the engine */
    struct local_call *next; /* in the list of finished ones */
    struct llm_local *owner;
    struct llm_call *call;
    struct request r;
    struct token_list prompt;
    struct token_list added; /* by the engine to the thinking */
    struct token_list conts; /* all options' tokens, one after another */
    struct live live;        /* of a call with on_text */
    char after[80];          /* the text before the letter of a choice */
    const int32_t **cont;
    int *cont_len;
};

struct llm_local {
    struct llm llm;
    struct engine *en;
    bool own; /* en is closed with this */
    struct llm_info info;
    struct llm_schema *schemas;
    int event; /* eventfd: counts completions not yet taken */
    int in_flight;
    pthread_mutex_t lock;
    struct local_call *done_head, *done_tail;
};

static void local_call_free(struct local_call *lc)
{
    if (!lc)
        return;
    token_list_free(&lc->prompt);
    token_list_free(&lc->added);
    token_list_free(&lc->conts);
    live_free(&lc->live);
    mem_free(lc->cont);
    mem_free(lc->cont_len);
    mem_free(lc->r.out);
    mem_free(lc->r.out_lp);
    mem_free(lc->r.prompt_lp);
    mem_free(lc->r.prompt_top);
    mem_free(lc);
}

/* On the engine thread. */
static void local_say(void *user, const char *text, size_t n, bool thinking)
{
    struct llm_call *c = ((struct local_call *)user)->call;
    c->on_text(c, text, n, thinking);
}

/* On the engine thread. */
static void local_token(struct request *r, int32_t id, float lp)
{
    (void)id;
    (void)lp;
    live_token(&((struct local_call *)r->user)->live, r);
}

/* On the engine thread. */
static void local_done(struct request *r)
{
    struct local_call *lc = r->user;
    struct llm_local *l = lc->owner;
    uint64_t one = 1;
    if (r->on_token)
        live_end(&lc->live, r);
    pthread_mutex_lock(&l->lock);
    lc->next = NULL;
    *(l->done_tail ? &l->done_tail->next : &l->done_head) = lc;
    l->done_tail = lc;
    /* inside the lock: once the last call has been taken, l may be closed at once */
    ssize_t put = write(l->event, &one, sizeof one);
    (void)put; /* fails only when 2^64 - 2 completions are pending */
    pthread_mutex_unlock(&l->lock);
}

static int local_schema(struct llm *llm, const char *json, size_t n, const char *name,
                        const struct llm_schema **out, struct err *e)
{
    struct llm_local *l = (struct llm_local *)llm;
    struct llm_schema *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "schema");
    int rc = grammar_compile(json, n, name, &s->grammar, e);
    if (rc < 0) {
        mem_free(s);
        return rc;
    }
    s->next = l->schemas;
    l->schemas = s;
    *out = s;
    return 0;
}

/* The messages of a call, at most 3. */
static int local_messages(const struct llm_call *c, struct chat_message m[3])
{
    int n = 0;
    if (c->system_len)
        m[n++] = (struct chat_message){"system", c->system, c->system_len};
    m[n++] = (struct chat_message){"user", c->user, c->user_len};
    if (c->reply_prefix || c->max_tokens <= 0) {
        const char *open = c->reply_prefix ? c->reply_prefix : "";
        m[n++] = (struct chat_message){"assistant", open, strlen(open)};
    }
    return n;
}

/* Without a budget the block of a model that thinks is empty, also of one that always thinks. */
static enum chat_think local_start(const struct llm_call *c)
{
    return c->max_think ? CHAT_THINK_OPEN : CHAT_THINK_NONE;
}

/* Gives the request its block of thinking. */
static int local_think(struct llm_local *l, struct local_call *lc, struct err *e)
{
    const struct llm_call *c = lc->call;
    if (c->max_tokens <= 0 || c->reply_prefix)
        FAIL(e, ERR_BUG, "thinking of %d tokens before %s", c->max_think,
             c->reply_prefix ? "a reply with a given beginning" : "a score");
    return think_of_chat(engine_info(l->en)->chat, engine_tokenizer(l->en), c->max_think,
                         &lc->added, &lc->r.think, e);
}

static int local_render(struct llm_local *l, const struct llm_call *c, struct token_list *out,
                        struct err *e)
{
    struct chat_message m[3];
    if (c->raw)
        return tokenizer_encode(engine_tokenizer(l->en), c->user, c->user_len,
                                c->no_bos ? 0 : TOK_BOS, out, e);
    int n = local_messages(c, m);
    return chat_render(engine_info(l->en)->chat, m, n, local_start(c), out, e);
}

/* Renders the prompt and the options, each encoded together with the prompt. */
static int local_render_options(struct llm_local *l, struct local_call *lc, struct err *e)
{
    const struct llm_call *c = lc->call;
    struct chat_message m[3];
    struct chat_option *o = mem_zalloc((size_t)c->n_options, sizeof *o);
    if (!o)
        return NOMEM(e, (size_t)c->n_options * sizeof *o, "options to score");
    for (int i = 0; i < c->n_options; i++)
        o[i] = (struct chat_option){c->options[i].s, c->options[i].n};
    int rc;
    if (c->raw)
        rc =
            chat_raw_options(engine_tokenizer(l->en), c->user, c->user_len, c->no_bos ? 0 : TOK_BOS,
                             o, c->n_options, &lc->prompt, &lc->conts, lc->cont_len, e);
    else
        rc = chat_render_options(engine_info(l->en)->chat, m, local_messages(c, m), local_start(c),
                                 o, c->n_options, &lc->prompt, &lc->conts, lc->cont_len, e);
    mem_free(o);
    return rc;
}

static int local_options(struct llm_local *l, struct local_call *lc, struct err *e)
{
    struct llm_call *c = lc->call;
    size_t n = (size_t)c->n_options, at = 0;
    lc->cont = mem_zalloc(n, sizeof *lc->cont);
    lc->cont_len = mem_zalloc(n, sizeof *lc->cont_len);
    c->option_lp = mem_zalloc(n, sizeof *c->option_lp);
    c->option_tokens = mem_zalloc(n, sizeof *c->option_tokens);
    if (!lc->cont || !lc->cont_len || !c->option_lp || !c->option_tokens)
        return NOMEM(e, n * sizeof *c->option_lp, "options to score");
    TRY(local_render_options(l, lc, e));
    for (size_t i = 0; i < n; i++) { /* only now: the list may have moved while it grew */
        lc->cont[i] = lc->conts.id + at;
        at += (size_t)lc->cont_len[i];
        c->option_tokens[i] = lc->cont_len[i];
    }
    lc->r.cont = lc->cont;
    lc->r.cont_len = lc->cont_len;
    lc->r.n_cont = c->n_options;
    lc->r.cont_lp = c->option_lp;
    return 0;
}

/* The prompt itself is scored, and the most probable token at each place is known. */
static int local_prompt(struct llm_local *l, struct local_call *lc, struct err *e)
{
    struct llm_call *c = lc->call;
    TRY(local_render(l, c, &lc->prompt, e));
    const size_t n = lc->prompt.n;
    lc->r.prompt_lp = mem_zalloc(n, sizeof *lc->r.prompt_lp);
    lc->r.prompt_top = mem_zalloc(n, sizeof *lc->r.prompt_top);
    c->token = mem_zalloc(n, sizeof *c->token);
    if (!lc->r.prompt_lp || !lc->r.prompt_top || !c->token)
        return NOMEM(e, n * sizeof *c->token, "a prompt to score");
    lc->r.n_top = 1;
    lc->r.prompt_lp_from = 1;
    return 0;
}

static void local_tokens(const struct request *r, struct llm_call *c)
{
    c->n_token = r->n_prompt;
    for (int i = 0; i < r->n_prompt; i++)
        c->token[i] = (struct llm_token){.lp = (double)r->prompt_lp[i],
                                         .top = r->prompt_top[i].id == r->prompt[i]};
}

/* A key with its colon cannot occur within a string of JSON, whose quotes are escaped. */
static int local_choice(struct local_call *lc, struct err *e)
{
    struct llm_call *c = lc->call;
    int n = snprintf(lc->after, sizeof lc->after, "\"%s\": \"", c->choice);
    if (n >= (int)sizeof lc->after || !c->schema || c->n_choice > LLM_CHOICE_MOST)
        FAIL(e, ERR_BUG, "a choice of %d letters in '%s' %s a schema", c->n_choice, c->choice,
             c->schema ? "under" : "without");
    lc->r.choice = (struct request_choice){
        .after = lc->after, .n_after = n, .n = c->n_choice, .lp = c->choice_lp};
    return 0;
}

static int local_fill(struct llm_local *l, struct local_call *lc, struct err *e)
{
    struct llm_call *c = lc->call;
    lc->r = (struct request){.id = c->id,
                             .seed = c->seed,
                             .rank = c->rank,
                             .max_new = c->max_tokens,
                             .temperature = c->temperature,
                             .top_p = c->top_p,
                             .min_p = c->min_p,
                             .top_k = c->top_k,
                             .grammar = c->schema ? c->schema->grammar : NULL,
                             .done = local_done,
                             .user = lc};
    if (c->max_think)
        TRY(local_think(l, lc, e));
    if (c->score_prompt)
        TRY(local_prompt(l, lc, e));
    else
        TRY(c->max_tokens > 0 ? local_render(l, c, &lc->prompt, e) : local_options(l, lc, e));
    lc->r.prompt = lc->prompt.id;
    lc->r.n_prompt = (int)lc->prompt.n;
    if (c->max_tokens <= 0)
        return 0;
    size_t most = (size_t)request_most(&lc->r);
    lc->r.out = mem_zalloc(most, sizeof *lc->r.out);
    lc->r.out_lp = mem_zalloc(most, sizeof *lc->r.out_lp);
    if (!lc->r.out || !lc->r.out_lp)
        return NOMEM(e, most * sizeof *lc->r.out, "reply");
    if (c->choice && c->n_choice)
        TRY(local_choice(lc, e));
    if (c->on_text) {
        live_init(&lc->live, engine_tokenizer(l->en), &lc->r, local_say, lc);
        lc->r.on_token = local_token;
    }
    return 0;
}

static int local_check(struct llm *llm, const struct llm_call *c, struct err *e)
{
    struct llm_local *l = (struct llm_local *)llm;
    struct llm_call copy = *c;
    struct local_call *lc = mem_zalloc(1, sizeof *lc);
    if (!lc)
        return NOMEM(e, sizeof *lc, "call");
    copy.reply = copy.think = (struct str)STR_INIT;
    copy.option_lp = NULL;
    copy.option_tokens = NULL;
    copy.token = NULL;
    lc->call = &copy;
    int rc = local_fill(l, lc, e);
    if (rc == 0)
        rc = engine_check(l->en, &lc->r, e);
    local_call_free(lc);
    llm_call_clear(&copy);
    return rc;
}

static int local_submit(struct llm *llm, struct llm_call *c, struct err *e)
{
    struct llm_local *l = (struct llm_local *)llm;
    struct local_call *lc = mem_zalloc(1, sizeof *lc);
    if (!lc)
        return NOMEM(e, sizeof *lc, "call");
    lc->owner = l;
    lc->call = c;
    c->llm_slot = lc;
    int rc = local_fill(l, lc, e);
    if (rc == 0)
        rc = engine_submit(l->en, &lc->r, e);
    if (rc < 0) {
        c->llm_slot = NULL;
        local_call_free(lc);
        return rc;
    }
    l->in_flight++;
    return 0;
}

static enum llm_finish local_finish(enum finish f)
{
    switch (f) {
    case FINISH_STOP:
        return LLM_STOP;
    case FINISH_LENGTH:
        return LLM_CUT;
    case FINISH_CLOSED:
        return LLM_CLOSED;
    case FINISH_CANCEL:
        return LLM_CANCEL;
    case FINISH_NONE:
    case FINISH_ERROR:
        break;
    }
    return LLM_ERROR;
}

static enum llm_thought local_thought(const struct llm_local *l, enum thought t)
{
    switch (t) {
    case THOUGHT_OPEN:
        return LLM_THOUGHT_OPEN;
    case THOUGHT_CLOSED:
        return LLM_THOUGHT_CLOSED;
    case THOUGHT_CUT:
        return LLM_THOUGHT_CUT;
    case THOUGHT_EOS:
        return LLM_THOUGHT_EOS;
    case THOUGHT_NONE:
        break;
    }
    return l->info.thinks ? LLM_THOUGHT_EMPTY : LLM_THOUGHT_NONE;
}

/* The text of the thinking. A free reply begins with the bytes that the closing token has after the
 * closing text, but for white space. */
static int local_thinking(struct llm_local *l, const struct request *r, struct llm_call *c,
                          struct err *e)
{
    struct str rest = STR_INIT;
    size_t at = 0;
    c->thought = local_thought(l, r->thought);
    c->n_think = r->n_think;
    if (!r->n_think)
        return 0;
    think_text(r, engine_tokenizer(l->en), &c->think, &rest);
    while (at < rest.len && strchr(" \t\r\n", rest.s[at]))
        at++;
    if (!r->grammar)
        str_add(&c->reply, rest.s + at, rest.len - at);
    int rc = str_ok(&rest, "thinking", e);
    str_free(&rest);
    return rc < 0 ? rc : str_ok(&c->think, "thinking", e);
}

/* The reply's text, and how much of it is the model's own: its tokens, and what had to follow
 * them. */
static int local_reply(struct llm_local *l, const struct request *r, struct llm_call *c,
                       struct err *e)
{
    const struct tokenizer *tok = engine_tokenizer(l->en);
    struct str own = STR_INIT;
    struct grammar_state s;
    int rc = 0;
    const int32_t *id = r->out + r->n_think;
    TRY(local_thinking(l, r, c, e));
    if (r->n_out > r->n_think)
        TRY(tokenizer_decode(tok, id, (size_t)(r->n_out - r->n_think), 0, &c->reply, e));
    if (r->finish != FINISH_CLOSED)
        return 0;
    if (r->n_own)
        rc = tokenizer_decode(tok, id, (size_t)r->n_own, 0, &own, e);
    grammar_start(r->grammar, &s);
    if (rc == 0 && !grammar_feed(r->grammar, &s, own.s, own.len))
        rc = err_set(e, ERR_BUG, "the model's own part of a reply breaks its grammar");
    if (rc == 0)
        c->own_len = own.len + grammar_forced(r->grammar, &s);
    str_free(&own);
    return rc;
}

/* Moves the results of lc into its call and frees lc. */
static struct llm_call *local_take(struct llm_local *l, struct local_call *lc)
{
    struct llm_call *c = lc->call;
    struct request *r = &lc->r;
    c->finish = local_finish(r->finish);
    c->err = r->err;
    c->n_prompt = r->n_prompt;
    c->n_cached = r->n_cached;
    c->n_new = r->n_out - r->n_think;
    c->n_pass = r->n_pass;
    c->n_drafted = r->n_drafted;
    c->n_accepted = r->n_accepted;
    c->has_choice = r->choice.made;
    if (c->score_prompt && r->finish != FINISH_ERROR && r->finish != FINISH_CANCEL)
        local_tokens(r, c);
    c->seconds = (double)(r->t_done_ns - r->t_submit_ns) / 1e9;
    c->first_seconds = r->t_first_ns ? (double)(r->t_first_ns - r->t_submit_ns) / 1e9 : NAN;
    double sum = 0;
    int counted = 0;
    for (int i = r->n_think; i < r->n_out; i++)
        if (!isnan(r->out_lp[i])) {
            sum += (double)r->out_lp[i];
            counted++;
        }
    c->mean_lp = counted ? sum / counted : NAN;
    struct err why = {0};
    int rc = local_reply(l, r, c, &why);
    if (rc == 0 && lc->live.text.failed) /* on_text has not got all of it */
        rc = NOMEM(&why, (size_t)r->n_out, "reply");
    if (rc < 0) {
        c->finish = LLM_ERROR;
        c->err = why;
    }
    c->llm_slot = NULL;
    local_call_free(lc);
    l->in_flight--;
    return c;
}

static struct llm_call *local_next(struct llm *llm, int timeout_ms)
{
    struct llm_local *l = (struct llm_local *)llm;
    if (!l->in_flight)
        return NULL;
    struct pollfd p = {.fd = l->event, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0) /* time is up, or a signal */
        return NULL;
    uint64_t one;
    if (read(l->event, &one, sizeof one) != sizeof one)
        return NULL;
    pthread_mutex_lock(&l->lock);
    struct local_call *lc = l->done_head;
    l->done_head = lc->next;
    if (!l->done_head)
        l->done_tail = NULL;
    pthread_mutex_unlock(&l->lock);
    return local_take(l, lc);
}

static void local_cancel(struct llm *llm, struct llm_call *c)
{
    struct llm_local *l = (struct llm_local *)llm;
    if (c->llm_slot)
        engine_cancel(l->en, &((struct local_call *)c->llm_slot)->r);
}

static const struct llm_info *local_info(struct llm *llm)
{
    return &((struct llm_local *)llm)->info;
}

static void local_close(struct llm *llm)
{
    struct llm_local *l = (struct llm_local *)llm;
    while (l->in_flight) /* calls still lent to the engine point into l */
        local_next(llm, -1);
    pthread_mutex_lock(&l->lock); /* the last local_done has left */
    pthread_mutex_unlock(&l->lock);
    for (struct llm_schema *s = l->schemas, *next; s; s = next) {
        next = s->next;
        grammar_free(s->grammar);
        mem_free(s);
    }
    pthread_mutex_destroy(&l->lock);
    close(l->event);
    if (l->own)
        engine_close(l->en);
    mem_free(l);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void local_gauge(struct llm *llm, struct llm_gauge *out)
{
    struct llm_local *l = (struct llm_local *)llm;
    struct engine_stats s;
    engine_stats(l->en, &s);
    *out = (struct llm_gauge){.new_tokens = (double)s.new_tokens,
                              .prompt_tokens = (double)s.prompt_tokens,
                              .pages = engine_info(l->en)->n_page,
                              .pages_used = s.pages_used,
                              .pages_cached = s.pages_cached,
                              .running = s.running};
}

/* The figures that say whether another setting would be faster. */
static void local_figures_line(const struct engine_stats *s, int pages, struct str *out)
{
    double asked = (double)(s->prompt_tokens + s->cached_tokens);
    str_addf(out,
             "engine: %.0f tok/s generated, %.0f tokens in %.0f steps of %.1f rows; %.0f prompt "
             "tokens, %.1f %% of them from the prefix cache (%.0f pages found, %.0f not, %.0f "
             "evicted for lack of room); most pages in use %.0f of %.0f; %.0f sequences preempted "
             "and computed again",
             s->busy_seconds > 0 ? (double)s->new_tokens / s->busy_seconds : 0,
             (double)s->new_tokens, (double)s->steps, (double)s->rows / (double)s->steps, asked,
             asked > 0 ? 100 * (double)s->cached_tokens / asked : 0, (double)s->pages_found,
             (double)s->pages_missed, (double)s->pages_evicted, (double)s->most_pages_used,
             (double)pages, (double)s->preempted);
    if (s->pages_swapped_out)
        str_addf(out, "; %.0f pages swapped to the host, %.0f back", (double)s->pages_swapped_out,
                 (double)s->pages_swapped_in);
    if (s->drafted)
        str_addf(out, "; %.0f of %.0f drafted tokens accepted", (double)s->accepted,
                 (double)s->drafted);
}

static void local_figures_json(const struct engine_stats *s, int pages, struct str *out)
{
    str_addf(out, "{\"steps\": %" PRIu64 ", \"rows\": %" PRIu64 ", \"new_tokens\": %" PRIu64,
             s->steps, s->rows, s->new_tokens);
    str_addf(out,
             ", \"busy_seconds\": %.3f, \"prompt_tokens_computed\": %" PRIu64
             ", \"prompt_tokens_cached\": %" PRIu64,
             s->busy_seconds, s->prompt_tokens, s->cached_tokens);
    str_addf(out,
             ", \"pages\": %d, \"most_pages_used\": %d, \"pages_found\": %" PRIu64
             ", \"pages_missed\": %" PRIu64,
             pages, s->most_pages_used, s->pages_found, s->pages_missed);
    str_addf(out,
             ", \"pages_swapped_out\": %" PRIu64 ", \"pages_swapped_in\": %" PRIu64
             ", \"pages_evicted\": %" PRIu64 ", \"preempted\": %" PRIu64,
             s->pages_swapped_out, s->pages_swapped_in, s->pages_evicted, s->preempted);
    str_addf(out,
             ", \"drafted\": %" PRIu64 ", \"accepted\": %" PRIu64 ", \"branched\": %" PRIu64 "}",
             s->drafted, s->accepted, s->branched);
}

static void local_figures(struct llm *llm, enum llm_figures form, struct str *out)
{
    struct llm_local *l = (struct llm_local *)llm;
    struct engine_stats s;
    int pages = engine_info(l->en)->n_page;
    engine_stats(l->en, &s);
    if (!s.steps)
        return;
    if (form == LLM_FIGURES_JSON)
        local_figures_json(&s, pages, out);
    else
        local_figures_line(&s, pages, out);
}

static void local_placement(struct llm *llm, struct str *out)
{
    const struct engine_info *in = engine_info(((struct llm_local *)llm)->en);
    if (plan_is_resident(in->plan))
        return;
    str_addf(out, "placement on %s:\n", in->device);
    plan_describe(in->plan, out);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Layers whose feed-forward part the host computes beside a device, as ranges. */
static void local_host_layers(const struct plan *p, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    if (!p->n_layer || p->attn[0] == PLAN_HOST) /* no device */
        return;
    for (int i = 0; i < p->n_layer; i++) {
        int end = i;
        while (end < p->n_layer && p->ffn[end] == PLAN_HOST)
            end++;
        if (end == i)
            continue;
        at += (size_t)snprintf(out + at, size - at, "%s%d", at ? "," : "", i);
        if (end - i > 1 && at < size)
            at += (size_t)snprintf(out + at, size - at, "-%d", end - 1);
        CHECK_MSG(at < size, "too many ranges of layers");
        i = end;
    }
}

int llm_local_open(struct engine *en, bool own, struct llm **out, struct err *e)
{
    static const struct llm_api api = {.schema = local_schema,
                                       .submit = local_submit,
                                       .check = local_check,
                                       .next = local_next,
                                       .cancel = local_cancel,
                                       .info = local_info,
                                       .close = local_close,
                                       .gauge = local_gauge,
                                       .figures = local_figures,
                                       .placement = local_placement};
    TRY(chat_check(engine_info(en)->chat, e));
    if (own && chat_bare(engine_info(en)->chat))
        log_warn("%s: " CHAT_BARE_TEXT, engine_info(en)->path);
    struct llm_local *l = mem_zalloc(1, sizeof *l);
    if (!l)
        return NOMEM(e, sizeof *l, "llm");
    l->llm.api = &api;
    l->en = en;
    l->event = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
    if (l->event < 0) {
        mem_free(l);
        FAIL(e, ERR_AGAIN, "cannot make an event descriptor: %s", strerror(errno));
    }
    pthread_mutex_init(&l->lock, NULL);
    l->own = own;
    const struct engine_info *in = engine_info(en);
    l->info.provider = "local";
    l->info.can = LLM_CAN_ALL;
    snprintf(l->info.name, sizeof l->info.name, "%s", in->name);
    snprintf(l->info.kv, sizeof l->info.kv, "%s", fmt_info(in->kv_fmt)->name);
    snprintf(l->info.model, sizeof l->info.model, "%s", in->path);
    memcpy(l->info.model_sha256, in->model_sha256, sizeof l->info.model_sha256);
    snprintf(l->info.backend, sizeof l->info.backend, "%s", in->backend);
    snprintf(l->info.device, sizeof l->info.device, "%s", in->device);
    snprintf(l->info.pci, sizeof l->info.pci, "%s", in->pci);
    memcpy(l->info.gpu, in->gpu, (size_t)in->n_device * sizeof *in->gpu);
    snprintf(l->info.chat, sizeof l->info.chat, "%s", chat_name(in->chat));
    l->info.thinks = chat_thinking(in->chat) != NULL;
    local_host_layers(in->plan, l->info.host_layers, sizeof l->info.host_layers);
    struct str placement = STR_INIT;
    plan_line(in->plan, &placement);
    if (in->link_limit > 0)
        str_addf(&placement, "; emulated: link limited to %.4g GB/s", in->link_limit * 1e-9);
    if (placement.s) /* out of memory: no line */
        snprintf(l->info.placement, sizeof l->info.placement, "%s", placement.s);
    str_free(&placement);
    l->info.n_ctx = in->n_ctx;
    l->info.slots = in->n_seq;
    *out = &l->llm;
    return 0;
}
