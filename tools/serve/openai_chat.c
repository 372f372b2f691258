/* POST /v1/chat/completions. */
#include <stdio.h>
#include <string.h>

#include "openai.h"

struct chat_args {
    struct openai_draw draw;
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "openai_chat.def"
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct chat_args, __VA_ARGS__)
#include "openai_chat.def"
#undef X
#define X(...) FIELD_ROW(struct openai_draw, __VA_ARGS__)
#include "openai_draw.def"
#undef X
};
const struct field_set openai_chat_fields = {"ChatRequest", rows, sizeof rows / sizeof rows[0],
                                             sizeof(struct chat_args)};

/* One choice, while it comes or is written. */
struct choice {
    struct openai_reply *r;
    int index;
    struct tool_scan scan;
    struct str *out; /* the list of calls of a whole reply; NULL = a stream */
};

struct chat_state { /* openai_reply.user */
    struct openai_tools tools;
    struct choice *choice; /* (n) */
};

static void state_free(struct chat_state *st)
{
    if (st)
        mem_free(st->choice);
    mem_free(st);
}

/* A reply is made of calls, of text, or (auto) shows which it is. */
static bool has_calls(const struct chat_state *st, const struct gen *g)
{
    return st->tools.mode > TOOLS_AUTO || (st->tools.mode == TOOLS_AUTO && g->calls);
}

static const char *finish_text(const struct chat_state *st, const struct gen *g)
{
    if (g->finish == GEN_LENGTH)
        return "length";
    return has_calls(st, g) ? "tool_calls" : "stop";
}

/* ---- calls of functions ---------------------------------------------------------------------- */

static void call_id(const struct choice *c, struct str *out)
{
    str_addf(out, "call_%s%02x%02x", strchr(c->r->id, '-') + 1, (unsigned)c->index,
             (unsigned)c->scan.index);
}

static void delta_begin(struct choice *c)
{
    struct str *line = &c->r->line;
    str_add(line, c->r->head.s, c->r->head.len);
    str_addf(line, "{\"index\": %d, \"delta\": {", c->index);
}

static void delta_end(struct choice *c, const char *finish)
{
    str_addf(&c->r->line, "}, \"logprobs\": null, \"finish_reason\": %s}]}\n\n", finish);
    openai_send(c->r);
}

static void call_begins(struct tool_scan *s)
{
    struct choice *c = s->user;
    struct str *out = c->out ? c->out : &c->r->line;
    if (c->out)
        str_adds(out, s->index ? "\"}}, {" : "{");
    else {
        delta_begin(c);
        str_addf(out, "\"tool_calls\": [{\"index\": %d, ", s->index);
    }
    str_adds(out, "\"id\": \"");
    call_id(c, out);
    str_addf(out, "\", \"type\": \"function\", \"function\": {\"name\": \"%s\", \"arguments\": \"",
             s->name);
    if (!c->out) {
        str_adds(out, "\"}}]");
        delta_end(c, "null");
    }
}

/* Appends JSON text as the inner of a string. */
static void add_inner(struct str *out, const char *text, size_t n)
{
    size_t at = out->len;
    str_add_json(out, text, n);
    if (out->failed)
        return;
    memmove(out->s + at, out->s + at + 1, out->len - at - 2);
    out->len -= 2;
    out->s[out->len] = 0;
}

static void call_arguments(struct tool_scan *s, const char *text, size_t n)
{
    struct choice *c = s->user;
    if (c->out) {
        add_inner(c->out, text, n);
        return;
    }
    delta_begin(c);
    str_addf(&c->r->line,
             "\"tool_calls\": [{\"index\": %d, \"function\": {\"arguments\": ", s->index);
    str_add_json(&c->r->line, text, n);
    str_adds(&c->r->line, "}}]");
    delta_end(c, "null");
}

static void choice_init(struct choice *c, struct openai_reply *r, int index, struct str *out)
{
    *c = (struct choice){.r = r, .index = index, .out = out};
    c->scan.call = call_begins;
    c->scan.arguments = call_arguments;
}

/* ---- whole replies --------------------------------------------------------------------------- */

static void calls_json(struct openai_reply *r, int i, struct str *out)
{
    const struct chat_state *st = r->user;
    struct choice c;
    choice_init(&c, r, i, out);
    c.scan.user = &c;
    str_adds(out, ", \"tool_calls\": [");
    tool_scan_feed(&c.scan, st->tools.only, r->gen[i].text.s, r->gen[i].text.len);
    str_adds(out, "\"}}]");
}

static void choice_json(struct openai_reply *r, int i, struct str *out)
{
    const struct chat_args *a = r->c->args;
    const struct chat_state *st = r->user;
    const struct gen *g = &r->gen[i];
    bool calls = has_calls(st, g);
    str_addf(out, "{\"index\": %d, \"message\": {\"role\": \"assistant\", \"content\": ", i);
    if (calls)
        str_adds(out, "null");
    else
        str_add_json(out, g->text.s, g->text.len);
    str_adds(out, ", \"refusal\": null");
    if (g->think.len) {
        str_adds(out, ", \"reasoning_content\": ");
        str_add_json(out, g->think.s, g->think.len);
    }
    if (calls)
        calls_json(r, i, out);
    str_adds(out, "}, \"logprobs\": ");
    if (a->logprobs && !calls)
        openai_logprobs_chat(g, 0, gen_tokens(g), out);
    else
        str_adds(out, "null");
    str_addf(out, ", \"finish_reason\": \"%s\"}", finish_text(st, g));
}

static void chat_finished(struct task *t)
{
    struct openai_reply *r = t->user;
    const struct err *failed = openai_failed(r);
    struct chat_state *st = r->user;
    struct str s = STR_INIT;
    struct err e = {0};
    if (!failed && !r->draw->stream) {
        str_adds(&s, "{");
        openai_about(r, "chat.completion", &s);
        str_adds(&s, ", \"choices\": [");
        for (int i = 0; i < r->n; i++) {
            str_adds(&s, i ? ", " : "");
            choice_json(r, i, &s);
        }
        str_adds(&s, "], ");
        openai_usage(r, &s);
        str_adds(&s, "}\n");
        if (str_ok(&s, "a reply", &e) < 0) {
            str_free(&s);
            failed = &e;
        }
    }
    r->user = NULL;
    if (failed) {
        openai_fail(t, r, NULL, failed);
    } else if (r->draw->stream) {
        openai_stream_end(t, r);
    } else {
        call_reply(t->c, 200, &s);
        openai_reply_free(r);
        task_end(t);
    }
    state_free(st);
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void text_delta(struct choice *c, const struct gen *g, const char *member, const char *text,
                       size_t n, int from, int to)
{
    const struct chat_args *a = c->r->c->args;
    struct str *line = &c->r->line;
    delta_begin(c);
    str_addf(line, "\"%s\": ", member);
    str_add_json(line, text, n);
    if (!a->logprobs || to <= from) {
        delta_end(c, "null");
        return;
    }
    str_adds(line, "}, \"logprobs\": ");
    openai_logprobs_chat(g, from, to, line);
    str_adds(line, ", \"finish_reason\": null}]}\n\n");
    openai_send(c->r);
}

static void chat_piece(struct gen *g, const char *text, size_t n, bool thinking)
{
    struct openai_reply *r = ((struct task *)g->user)->user;
    const struct chat_state *st = r->user;
    struct choice *c = &st->choice[g - r->gen];
    if (thinking)
        text_delta(c, g, "reasoning_content", text, n, 0, 0);
    else if (has_calls(st, g))
        tool_scan_feed(&c->scan, st->tools.only, text, n);
    else
        text_delta(c, g, "content", text, n, g->piece_from, g->piece_to);
}

static void chat_end(struct gen *g)
{
    struct openai_reply *r = ((struct task *)g->user)->user;
    const struct chat_state *st = r->user;
    struct choice *c = &st->choice[g - r->gen];
    char finish[24];
    if (g->finish != GEN_STOP && g->finish != GEN_LENGTH)
        return;
    if (!has_calls(st, g) && gen_tokens(g) > g->piece_to)
        text_delta(c, g, "content", "", 0, g->piece_to, gen_tokens(g));
    snprintf(finish, sizeof finish, "\"%s\"", finish_text(st, g));
    delta_begin(c);
    delta_end(c, finish);
}

static void chat_begin(struct openai_reply *r)
{
    const struct chat_state *st = r->user;
    openai_stream_begin(r, "chat.completion.chunk");
    for (int i = 0; i < r->n; i++) {
        struct choice *c = &st->choice[i];
        r->gen[i].on_piece = chat_piece;
        r->gen[i].on_end = chat_end;
        delta_begin(c);
        str_addf(&r->line, "\"role\": \"assistant\", \"content\": %s",
                 st->tools.mode > TOOLS_AUTO ? "null" : "\"\"");
        delta_end(c, "null");
    }
}

/* ---- the call -------------------------------------------------------------------------------- */

static int chat_grammars(struct openai_reply *r, struct chat_state *st, const char **param,
                         struct err *e)
{
    const struct chat_args *a = r->c->args;
    *param = "response_format";
    TRY(openai_format(a->response_format, "response_format", false, &r->grammar, e));
    bool json = r->grammar != NULL;
    TRY(openai_tools_read(a->tools, a->tool_choice, a->parallel_tool_calls, &st->tools, param, e));
    if (json && st->tools.mode != TOOLS_NONE) {
        grammar_free(st->tools.grammar);
        *param = "response_format";
        FAIL(e, ERR_DATA,
             "'response_format' of JSON together with 'tools' needs \"tool_choice\": "
             "\"none\"");
    }
    if (!json)
        r->grammar = st->tools.grammar; /* now the reply's */
    *param = "stop";
    if (openai_stops(&a->draw) && r->grammar)
        FAIL(e, ERR_DATA,
             "'stop' would cut JSON that must be whole; leave it out together with "
             "response_format or tools");
    for (int i = 0; i < r->n; i++) {
        struct gen *g = &r->gen[i];
        bool free = st->tools.mode == TOOLS_AUTO;
        g->r.grammar = free ? NULL : r->grammar;
        g->call_grammar = free ? r->grammar : NULL;
        g->decide = openai_tools_decide;
        g->r.n_top = a->logprobs && a->top_logprobs != FIELD_UNSET ? (int)a->top_logprobs : 0;
    }
    return 0;
}

static int chat_prompt(struct openai_reply *r, const struct chat_state *st, struct err *e)
{
    const struct chat_args *a = r->c->args;
    struct openai_messages ms;
    struct openai_think think;
    struct str text = STR_INIT;
    TRY(openai_think(a->reasoning_effort, a->think, &think, e));
    TRY(openai_messages_read(a->messages, &ms, e));
    int rc = 0;
    if (st->tools.mode != TOOLS_NONE) {
        openai_tools_text(&st->tools, a->tools, a->parallel_tool_calls, &text);
        rc = str_ok(&text, "a description of functions", e);
        if (rc == 0)
            rc = openai_messages_system(&ms, text.s, text.len, e);
    }
    int64_t limit =
        a->max_completion_tokens != FIELD_UNSET ? a->max_completion_tokens : a->max_tokens;
    if (rc == 0)
        rc = openai_render(r, &ms, think, a->continue_final_message, limit, e);
    for (int i = 0; i < r->n && rc == 0; i++)
        rc = gen_check(&r->gen[i], e);
    str_free(&text);
    openai_messages_free(&ms);
    return rc;
}

static int chat_state_new(struct openai_reply *r, struct chat_state **out, struct err *e)
{
    struct chat_state *st = mem_zalloc(1, sizeof *st);
    if (st)
        st->choice = mem_zalloc((size_t)r->n, sizeof *st->choice);
    if (!st || !st->choice) {
        mem_free(st);
        return NOMEM(e, (size_t)r->n * sizeof(struct choice), "replies");
    }
    for (int i = 0; i < r->n; i++) {
        choice_init(&st->choice[i], r, i, NULL);
        st->choice[i].scan.user = &st->choice[i];
    }
    r->user = *out = st;
    return 0;
}

static void chat_ready(struct task *t)
{
    const struct chat_args *a = t->c->args;
    struct openai_reply *r = NULL;
    struct chat_state *st = NULL;
    struct err e = {0};
    const char *param = "messages";
    int n = (int)a->n, rc = openai_reply_new(t, &a->draw, "chatcmpl-", n, n, &r, &param, &e);
    if (rc == 0)
        rc = chat_state_new(r, &st, &e);
    if (rc == 0)
        rc = chat_grammars(r, st, &param, &e);
    if (rc == 0) {
        param = "messages";
        rc = chat_prompt(r, st, &e);
    }
    if (rc == 0 && a->draw.stream)
        chat_begin(r);
    if (rc == 0)
        rc = task_run(t, chat_finished, &e);
    if (rc < 0) {
        openai_fail(t, r, param, &e);
        state_free(st);
    }
}

void openai_chat_post(struct call *c)
{
    const struct chat_args *a = c->args;
    struct err e = {0};
    const char *param;
    if (a->top_logprobs != FIELD_UNSET && a->top_logprobs > 0 && !a->logprobs)
        call_fail(c, 400, "top_logprobs", "'top_logprobs' needs \"logprobs\": true");
    else if (a->max_tokens != FIELD_UNSET && a->max_completion_tokens != FIELD_UNSET &&
             a->max_tokens != a->max_completion_tokens)
        call_fail(c, 400, "max_tokens",
                  "'max_tokens' is %lld and 'max_completion_tokens' is %lld; "
                  "give one",
                  (long long)a->max_tokens, (long long)a->max_completion_tokens);
    else if (openai_check(&a->draw, &param, &e) < 0)
        call_fail_err(c, param, &e);
    else
        task_start(c, a->draw.model, (int)a->n, -1, chat_ready, NULL);
}
