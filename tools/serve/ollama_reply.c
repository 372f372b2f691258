/* POST /api/generate and /api/chat. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "jdoc.h"
#include "ollama.h"
#include "openai.h"
#include "tokenizer.h"

struct generate_args {
    struct ollama_draw draw;
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_generate.def"
#undef X
};
static const struct field_row generate_rows[] = {
#define X(...) FIELD_ROW(struct ollama_draw, __VA_ARGS__)
#include "ollama_draw.def"
#undef X
#define X(...) FIELD_ROW(struct generate_args, __VA_ARGS__)
#include "ollama_generate.def"
#undef X
};
const struct field_set ollama_generate_fields = {"OllamaGenerateRequest", generate_rows,
                                                 sizeof generate_rows / sizeof generate_rows[0],
                                                 sizeof(struct generate_args)};

struct chat_args {
    struct ollama_draw draw;
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_chat.def"
#undef X
};
static const struct field_row chat_rows[] = {
#define X(...) FIELD_ROW(struct ollama_draw, __VA_ARGS__)
#include "ollama_draw.def"
#undef X
#define X(...) FIELD_ROW(struct chat_args, __VA_ARGS__)
#include "ollama_chat.def"
#undef X
};
const struct field_set ollama_chat_fields = {"OllamaChatRequest", chat_rows,
                                             sizeof chat_rows / sizeof chat_rows[0],
                                             sizeof(struct chat_args)};

struct message_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_message.def"
#undef X
};
static const struct field_row message_rows[] = {
#define X(...) FIELD_ROW(struct message_args, __VA_ARGS__)
#include "ollama_message.def"
#undef X
};
const struct field_set ollama_message_fields = {"OllamaMessage", message_rows,
                                                sizeof message_rows / sizeof message_rows[0],
                                                sizeof(struct message_args)};

static const struct field_row option_rows[] = {
#define X(...) FIELD_ROW(struct ollama_options, __VA_ARGS__)
#include "ollama_options.def"
#undef X
};
const struct field_set ollama_options_fields = {"OllamaOptions", option_rows,
                                                sizeof option_rows / sizeof option_rows[0],
                                                sizeof(struct ollama_options)};

/* A request, from its handler to the end of its call. Its sampling, prompt and limits are those of
 * OpenAI's API under other names. */
struct ollama_reply {
    const struct ollama_draw *d;
    bool chat;
    struct ollama_options o;
    struct openai_draw draw; /* the options as openai_reply has them */
    struct openai_think think;
    json_t *messages; /* in OpenAI's form; NULL: the model is only loaded */
    struct openai_tools tools;
    struct openai_reply *r; /* NULL until the model is there */
    bool began;             /* the stream has begun */
    struct str line;        /* of the stream: made on the engine's thread, one at a time */
};

/* The call's state: it goes with the call. */
static void reply_free(void *state)
{
    struct ollama_reply *o = state;
    openai_reply_free(o->r);
    json_decref(o->messages);
    str_free(&o->line);
    mem_free(o);
}

static const json_t *tools_of(const struct ollama_reply *o)
{
    return o->chat ? ((const struct chat_args *)o->d)->tools : NULL;
}

static const struct generate_args *raw_of(const struct ollama_reply *o)
{
    const struct generate_args *a = o->chat ? NULL : (const struct generate_args *)o->d;
    return a && a->raw ? a : NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int level(const json_t *think, struct openai_think *out, struct err *e)
{
    const char *s = json_string_value(think);
    if (s && (!strcmp(s, "low") || !strcmp(s, "medium") || !strcmp(s, "high"))) {
        TRY(openai_think(s, NULL, out, e));
        out->must = true;
        return 0;
    }
    if (think && !json_is_null(think) && !json_is_boolean(think))
        FAIL(e, ERR_DATA, "'think' is %s%.40s%s, expected true, false, low, medium or high",
             s ? "'" : "", s ? s : jdoc_type_name(json_typeof(think)), s ? "'" : "");
    return openai_think(NULL, think, out, e);
}

/* Appends v, which may be NULL, and gives it away. */
static int append(json_t *list, json_t *v, struct err *e)
{
    if (!list || !v || json_array_append(list, v) < 0) {
        json_decref(v);
        return NOMEM(e, 1024, "a message");
    }
    json_decref(v);
    return 0;
}

/* The calls of an earlier reply: their arguments are an object here, text there. */
static int calls_of(const json_t *calls, const char *at, json_t *list, struct err *e)
{
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *f = json_object_get(json_array_get(calls, i), "function");
        const char *name = json_string_value(json_object_get(f, "name"));
        json_t *arguments = json_object_get(f, "arguments");
        struct str text = STR_INIT;
        if (!name || (arguments && !json_is_object(arguments)))
            FAIL(e, ERR_DATA,
                 "'%s.tool_calls[%zu].function' needs a name, and arguments that are an object", at,
                 i);
        if (arguments)
            openai_json(arguments, &text);
        else
            str_adds(&text, "{}");
        int rc = str_ok(&text, "arguments", e);
        if (rc == 0)
            rc = append(list,
                        json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", "", "type", "function",
                                  "function", "name", name, "arguments", text.s, text.len),
                        e);
        str_free(&text);
        TRY(rc);
    }
    return 0;
}

static int message_of(const json_t *m, size_t i, json_t *list, struct err *e)
{
    struct message_args a;
    const char *member;
    char at[40];
    snprintf(at, sizeof at, "messages[%zu]", i);
    if (field_read(&ollama_message_fields, m, &a, &member, e) < 0)
        return err_wrap(e, ERR_DATA, "'%s'", at);
    const char *tool = a.tool_name ? a.tool_name : a.name;
    bool is_tool = !strcmp(a.role, "tool");
    json_t *calls = json_array(),
           *out = json_pack("{s:s, s:s}", "role", a.role, "content", a.content ? a.content : "");
    int rc = calls && out ? calls_of(a.tool_calls, at, calls, e) : NOMEM(e, 1024, "a message");
    if (rc == 0 && ((is_tool && tool && json_object_set_new(out, "name", json_string(tool)) < 0) ||
                    (json_array_size(calls) && json_object_set(out, "tool_calls", calls) < 0)))
        rc = NOMEM(e, 1024, "a message");
    if (rc == 0)
        rc = append(list, json_incref(out), e);
    json_decref(calls);
    json_decref(out);
    return rc;
}

/* The conversation in OpenAI's form; none if there is nothing to reply to. */
static int read_messages(struct ollama_reply *o, struct err *e)
{
    const struct generate_args *g = (const struct generate_args *)o->d;
    const struct chat_args *c = (const struct chat_args *)o->d;
    if (o->chat ? !json_array_size(c->messages) : !g->prompt || !*g->prompt)
        return 0;
    o->messages = json_array();
    if (!o->chat && g->system && *g->system)
        TRY(append(o->messages, json_pack("{s:s, s:s}", "role", "system", "content", g->system),
                   e));
    if (!o->chat)
        TRY(append(o->messages, json_pack("{s:s, s:s}", "role", "user", "content", g->prompt), e));
    for (size_t i = 0; o->chat && i < json_array_size(c->messages); i++)
        TRY(message_of(json_array_get(c->messages, i), i, o->messages, e));
    return 0;
}

static int read_options(struct ollama_reply *o, const char **param, struct err *e)
{
    json_t *none = o->d->options ? NULL : json_object();
    const char *member;
    int rc = field_read(&ollama_options_fields, none ? none : o->d->options, &o->o, &member, e);
    json_decref(none);
    *param = "options";
    if (rc < 0)
        return err_wrap(e, rc, "'options'");
    o->draw = (struct openai_draw){.model = o->d->model,
                                   .stream = o->d->stream,
                                   .temperature = o->o.temperature,
                                   .top_p = o->o.top_p,
                                   .top_k = o->o.top_k,
                                   .min_p = o->o.min_p,
                                   .seed = o->o.seed < 0 ? FIELD_UNSET : o->o.seed,
                                   .presence_penalty = o->o.presence_penalty,
                                   .frequency_penalty = o->o.frequency_penalty,
                                   .stop = o->o.stop};
    return openai_check(&o->draw, param, e);
}

/* Everything that needs no model. */
static int read_request(struct ollama_reply *o, const char **param, struct err *e)
{
    *param = "think";
    TRY(level(o->d->think, &o->think, e));
    TRY(read_options(o, param, e));
    *param = "top_logprobs";
    if (o->d->top_logprobs && !o->d->logprobs)
        FAIL(e, ERR_DATA, "'top_logprobs' needs \"logprobs\": true");
    *param = "messages";
    TRY(read_messages(o, e));
    *param = NULL;
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Appends {"model": .., "created_at": .. */
static void add_head(const struct task *t, const struct ollama_reply *o, struct str *out)
{
    const char *model = o->d->model && *o->d->model ? o->d->model : t->m->name;
    str_adds(out, "{\"model\": ");
    str_add_json(out, model, strlen(model));
    str_adds(out, ", \"created_at\": ");
    ollama_now(out);
}

/* Appends the member that has the text, and the thinking. calls: JSON of calls, NULL = none. */
static void add_text(const struct ollama_reply *o, const char *text, size_t n, const char *think,
                     size_t n_think, const struct str *calls, struct str *out)
{
    str_adds(out, o->chat ? ", \"message\": {\"role\": \"assistant\", \"content\": "
                          : ", \"response\": ");
    str_add_json(out, text, n);
    if (n_think) {
        str_adds(out, ", \"thinking\": ");
        str_add_json(out, think, n_think);
    }
    if (calls && calls->len) {
        str_adds(out, ", \"tool_calls\": ");
        str_add(out, calls->s, calls->len);
    }
    str_adds(out, o->chat ? "}" : "");
}

static void add_logprobs(const struct ollama_reply *o, const struct gen *g, int from, int to,
                         struct str *out)
{
    if (!o->d->logprobs || from >= to)
        return;
    str_adds(out, ", \"logprobs\": ");
    openai_logprobs_list(g, from, to, out);
}

/* Appends the end of the last object: the reason, and times in ns. */
static void add_end(const struct task *t, const struct gen *g, struct str *out)
{
    const struct request *r = &g->r;
    long long first = r->t_first_ns ? r->t_first_ns : r->t_done_ns;
    str_addf(out, ", \"done\": true, \"done_reason\": \"%s\"",
             g->finish == GEN_STOP ? "stop" : "length");
    str_addf(out, ", \"total_duration\": %lld, \"load_duration\": %lld",
             (long long)(clock_ns() - t->c->t_start), (long long)(t->t_ready - t->c->t_start));
    str_addf(out, ", \"prompt_eval_count\": %d, \"prompt_eval_duration\": %lld", r->n_prompt,
             first - (long long)r->t_submit_ns);
    str_addf(out, ", \"eval_count\": %d, \"eval_duration\": %lld}\n", r->n_think + g->n_text,
             (long long)r->t_done_ns - first);
}

/* The calls of a reply as Ollama has them: the arguments are an object. */
static int calls_json(const struct gen *g, struct str *out, struct err *e)
{
    json_t *v = NULL;
    TRY(jdoc_deep(g->text.s, g->text.len, FIELD_DEPTH, &v, e));
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    str_adds(out, "[");
    for (size_t i = 0; i < n; i++) {
        const json_t *call = json_is_array(v) ? json_array_get(v, i) : v;
        str_addf(out, "%s{\"function\": {\"index\": %zu, \"name\": ", i ? ", " : "", i);
        openai_json(json_object_get(call, "name"), out);
        str_adds(out, ", \"arguments\": ");
        openai_json(json_object_get(call, "arguments"), out);
        str_adds(out, "}}");
    }
    str_adds(out, "]");
    json_decref(v);
    return str_ok(out, "calls of functions", e);
}

/* On the engine's thread. */
static void send_piece(struct gen *g, const char *text, size_t n, bool thinking)
{
    struct task *t = g->user;
    struct ollama_reply *o = ((struct openai_reply *)t->user)->user;
    if (g->calls && !thinking) /* the calls come when they are whole */
        return;
    str_clear(&o->line);
    add_head(t, o, &o->line);
    if (thinking)
        add_text(o, "", 0, text, n, NULL, &o->line);
    else
        add_text(o, text, n, "", 0, NULL, &o->line);
    if (!thinking)
        add_logprobs(o, g, g->piece_from, g->piece_to, &o->line);
    str_adds(&o->line, ", \"done\": false}\n");
    http_write_str(t->c->http, &o->line);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Ends the stream with o->line, the call and the task. */
static void end_stream(struct task *t, struct ollama_reply *o)
{
    http_forget(t->c->http);
    http_write_str(t->c->http, &o->line);
    http_end(t->c->http, false);
    call_free(t->c);
    task_end(t);
}

static void fail(struct task *t, struct ollama_reply *o, const char *param, const struct err *e)
{
    if (!o->began) {
        task_fail_err(t, param, e);
        return;
    }
    str_clear(&o->line);
    call_error_json(API_OLLAMA, call_status(e), NULL,
                    call_status(e) == 500 ? "the server failed; its log says why" : e->msg,
                    &o->line);
    end_stream(t, o);
}

static void finished(struct task *t)
{
    struct openai_reply *r = t->user;
    struct ollama_reply *o = r->user;
    struct gen *g = r->gen;
    const struct err *failed = openai_failed(r);
    struct str calls = STR_INIT, s = STR_INIT;
    struct err e = {0};
    if (!failed && g->calls && calls_json(g, &calls, &e) < 0)
        failed = &e;
    if (failed) {
        e = *failed;
        str_free(&calls);
        fail(t, o, NULL, &e);
        return;
    }
    bool text = !o->began && !g->calls;
    if (o->began && g->calls) {
        add_head(t, o, &s);
        add_text(o, "", 0, "", 0, &calls, &s);
        str_adds(&s, ", \"done\": false}\n");
        str_clear(&calls);
    }
    add_head(t, o, &s);
    add_text(o, g->text.s, text ? g->text.len : 0, g->think.s, o->began ? 0 : g->think.len, &calls,
             &s);
    if (!g->calls)
        add_logprobs(o, g, o->began ? g->piece_to : 0, gen_tokens(g), &s);
    add_end(t, g, &s);
    str_free(&calls);
    if (!o->began) {
        call_reply(t->c, 200, &s);
        task_end(t);
        return;
    }
    str_free(&o->line);
    o->line = s;
    end_stream(t, o);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static int set_format(struct ollama_reply *o, struct err *e)
{
    const json_t *format = o->d->format;
    struct openai_reply *r = o->r;
    struct str text = STR_INIT;
    const char *param;
    const char *word = json_string_value(format);
    bool json = word && !strcmp(word, "json");
    if (json || json_is_object(format)) {
        json_t *any = json_pack("{s:s}", "type", "json_object");
        if (!json)
            openai_json(format, &text);
        int rc = json ? openai_format(any, "format", false, &r->grammar, e)
                      : str_ok(&text, "a schema", e);
        if (rc == 0 && !json)
            rc = grammar_compile(text.s, text.len, "format", &r->grammar, e);
        json_decref(any);
        str_free(&text);
        TRY(rc);
        if (o->o.stop)
            FAIL(e, ERR_DATA,
                 "'options.stop' would cut JSON that must be whole; leave it out together with "
                 "'format'");
    } else if (format && !json_is_null(format) && !(word && !*word)) {
        FAIL(e, ERR_DATA, "'format' is %s%.40s%s, expected \"json\" or a JSON Schema",
             word ? "'" : "", word ? word : jdoc_type_name(json_typeof(format)), word ? "'" : "");
    }
    r->gen->r.grammar = r->grammar;
    if (!json_array_size(tools_of(o)))
        return 0;
    if (r->grammar)
        FAIL(e, ERR_DATA, "'format' and 'tools' exclude each other; leave one of them out");
    TRY(openai_tools_read(tools_of(o), NULL, true, &o->tools, &param, e));
    r->grammar = o->tools.grammar; /* freed with r */
    r->gen->call_grammar = r->grammar;
    r->gen->decide = openai_tools_decide;
    return 0;
}

/* The prompt is the text as it is. One BOS stands at its start if the model's file asks for it. */
static int raw_prompt(struct ollama_reply *o, int64_t limit, struct err *e)
{
    const struct generate_args *a = raw_of(o);
    struct gen *g = o->r->gen;
    const struct tokenizer *tok = g->m->tok;
    if (o->think.must)
        FAIL(e, ERR_DATA, "'think' and 'raw' exclude each other");
    TRY(serve_fits(g->m, a->prompt, strlen(a->prompt), e));
    TRY(tokenizer_encode(tok, a->prompt, strlen(a->prompt), TOK_BOS | TOK_SPECIAL, &g->prompt, e));
    if (g->prompt.n > 1 && g->prompt.id[0] == tokenizer_bos(tok) &&
        g->prompt.id[1] == g->prompt.id[0]) {
        memmove(g->prompt.id, g->prompt.id + 1, (g->prompt.n - 1) * sizeof *g->prompt.id);
        g->prompt.n--;
    }
    int64_t room = g->m->info->n_ctx - (int64_t)g->prompt.n;
    g->continues = true;
    limit = limit == FIELD_UNSET || limit > room ? room : limit;
    g->r.max_new = limit < 1 ? 1 : (int)limit; /* too long: the engine says so */
    return 0;
}

static int chat_prompt(struct ollama_reply *o, int64_t limit, struct err *e)
{
    struct openai_messages ms;
    struct str text = STR_INIT;
    TRY(openai_messages_read(o->messages, &ms, e));
    int rc = 0;
    if (o->tools.mode != TOOLS_NONE) {
        openai_tools_text(&o->tools, tools_of(o), true, &text);
        rc = str_ok(&text, "a description of functions", e);
        if (rc == 0)
            rc = openai_messages_system(&ms, text.s, text.len, e);
    }
    bool open = !strcmp(ms.m[ms.n - 1].role, "assistant");
    if (rc == 0)
        rc = openai_render(o->r, &ms, o->think, open, limit, e);
    str_free(&text);
    openai_messages_free(&ms);
    return rc;
}

/* num_ctx: no prompt is cut to it; the reply ends where it is full. */
static int set_context(struct ollama_reply *o, struct err *e)
{
    struct gen *g = o->r->gen;
    int n_ctx = g->m->info->n_ctx;
    if (o->o.num_ctx == FIELD_UNSET)
        return 0;
    if (o->o.num_ctx > n_ctx)
        FAIL(e, ERR_DATA,
             "'options.num_ctx' is %lld, the server's limit is %d; start it with --ctx %lld",
             (long long)o->o.num_ctx, n_ctx, (long long)o->o.num_ctx);
    int64_t room = o->o.num_ctx - (int64_t)g->prompt.n;
    if (room < 1)
        FAIL(e, ERR_DATA,
             "the prompt has %zu tokens and 'options.num_ctx' is %lld; prompts are not cut: give a "
             "larger one",
             g->prompt.n, (long long)o->o.num_ctx);
    int64_t think = g->r.think.max;
    room -= request_most(&g->r) - g->r.max_new - think; /* the tokens that end a thinking */
    if (think && room < 2)
        FAIL(
            e, ERR_DATA,
            "the prompt has %zu tokens and 'options.num_ctx' is %lld; nothing is left for thinking "
            "and reply: give a larger one",
            g->prompt.n, (long long)o->o.num_ctx);
    if (think + g->r.max_new > room) { /* as without num_ctx: at most half of it is thinking */
        think = think > room / 2 ? room / 2 : think;
        g->r.think.max = (int)think;
        g->r.max_new = (int)(room - think);
    }
    return 0;
}

static int prepare(struct task *t, struct ollama_reply *o, const char **param, struct err *e)
{
    int64_t limit = o->o.num_predict > 0 ? o->o.num_predict : FIELD_UNSET;
    TRY(openai_reply_new(t, &o->draw, "ollama-", 1, 1, &o->r, param, e));
    o->r->user = o;
    struct request *r = &o->r->gen->r;
    r->repeat_penalty = (float)o->o.repeat_penalty;
    r->repeat_last_n = (int)o->o.repeat_last_n;
    r->n_top = o->d->logprobs ? (int)o->d->top_logprobs : 0;
    *param = "format";
    TRY(set_format(o, e));
    *param = o->chat ? "messages" : "prompt";
    TRY(raw_of(o) ? raw_prompt(o, limit, e) : chat_prompt(o, limit, e));
    *param = "options";
    TRY(set_context(o, e));
    *param = o->chat ? "messages" : "prompt";
    return gen_check(o->r->gen, e);
}

/* Nothing to reply to: the model is there now. */
static void loaded(struct task *t, struct ollama_reply *o)
{
    struct str s = STR_INIT;
    add_head(t, o, &s);
    add_text(o, "", 0, "", 0, NULL, &s);
    str_addf(&s,
             ", \"done\": true, \"done_reason\": \"load\", \"total_duration\": %lld, "
             "\"load_duration\": %lld}\n",
             (long long)(clock_ns() - t->c->t_start), (long long)(t->t_ready - t->c->t_start));
    task_reply(t, &s);
}

static void ready(struct task *t)
{
    struct ollama_reply *o = t->user;
    struct err e = {0};
    const char *param = NULL;
    if (!o->messages) {
        loaded(t, o);
        return;
    }
    int rc = prepare(t, o, &param, &e);
    if (rc == 0 && o->d->stream) {
        http_begin(t->c->http, 200, "application/x-ndjson", " ");
        o->began = true;
        o->r->gen->on_piece = send_piece;
    }
    if (rc == 0)
        rc = task_run(t, finished, &e);
    if (rc < 0)
        fail(t, o, param, &e);
}

/* keep_alive 0 and nothing to reply to: the model goes, and need not come for that. */
static void unloaded(struct call *c, struct ollama_reply *o, int index)
{
    struct str s = STR_INIT;
    const char *model = o->d->model;
    hub_keep(c->s->hub, index, 0);
    str_adds(&s, "{\"model\": ");
    str_add_json(&s, model ? model : "", model ? strlen(model) : 0);
    str_adds(&s, ", \"created_at\": ");
    ollama_now(&s);
    add_text(o, "", 0, "", 0, NULL, &s);
    str_adds(&s, ", \"done\": true, \"done_reason\": \"unload\"}\n");
    call_reply(c, 200, &s);
}

static void start(struct call *c, bool chat)
{
    struct ollama_reply *o = mem_zalloc(1, sizeof *o);
    struct err e = {0};
    const char *param = NULL;
    int64_t keep_ms = -1;
    int rc = o ? 0 : NOMEM(&e, sizeof *o, "a request");
    if (o) {
        o->d = c->args;
        o->chat = chat;
        o->line = (struct str)STR_INIT;
        c->state = o;
        c->free_state = reply_free;
        param = "keep_alive";
        rc = ollama_keep_alive(o->d->keep_alive, &keep_ms, &e);
    }
    if (rc == 0)
        rc = read_request(o, &param, &e);
    int index = hub_find(c->s->hub, o ? o->d->model : NULL);
    if (rc < 0)
        call_fail_err(c, param, &e);
    else if (!o->messages && keep_ms == 0 && index >= 0)
        unloaded(c, o, index);
    else
        task_start(c, o->d->model, o->messages != NULL, keep_ms, ready, o);
}

void ollama_generate_post(struct call *c)
{
    start(c, false);
}

void ollama_chat_post(struct call *c)
{
    start(c, true);
}
