/* POST /v1/responses: text in, text out. */
#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "openai.h"

struct response_args {
    struct openai_draw draw;
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "openai_response.def"
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct response_args, __VA_ARGS__)
#include "openai_response.def"
#undef X
#define X(...) FIELD_ROW(struct openai_draw, __VA_ARGS__)
#include "openai_draw.def"
#undef X
};
const struct field_set openai_response_fields = {
    "ResponseRequest", rows, sizeof rows / sizeof rows[0], sizeof(struct response_args)};

/*
 * The output is the thinking, if there is any, then the message. Events of a stream:
 *
 *   response.created, .in_progress
 *   per item  .output_item.added
 *             thinking:  .reasoning_text.delta .. .reasoning_text.done
 *             message:   .content_part.added, .output_text.delta .., .output_text.done,
 *                        .content_part.done
 *             .output_item.done
 *   response.completed, .incomplete, or .failed
 */
enum item { ITEM_NONE, ITEM_THINKING, ITEM_MESSAGE };

struct response_state { /* openai_reply.user */
    int events;         /* sent: the next sequence_number */
    enum item item;     /* open */
    int n_item;         /* items closed: the index of the open one */
};

static const char *tail(const struct openai_reply *r)
{
    return strchr(r->id, '_') + 1;
}

/* ---- the response object --------------------------------------------------------------------- */

static void thinking_json(const struct openai_reply *r, const char *status, const struct str *text,
                          struct str *out)
{
    str_addf(out, "{\"id\": \"rs_%s\", \"type\": \"reasoning\", \"summary\": [], \"content\": [",
             tail(r));
    if (text) {
        str_adds(out, "{\"type\": \"reasoning_text\", \"text\": ");
        str_add_json(out, text->s, text->len);
        str_adds(out, "}");
    }
    str_addf(out, "], \"encrypted_content\": null, \"status\": \"%s\"}", status);
}

static void part_json(const struct str *text, struct str *out)
{
    str_adds(out, "{\"type\": \"output_text\", \"text\": ");
    str_add_json(out, text ? text->s : "", text ? text->len : 0);
    str_adds(out, ", \"annotations\": [], \"logprobs\": []}");
}

static void message_json(const struct openai_reply *r, const char *status, const struct str *text,
                         struct str *out)
{
    str_addf(out,
             "{\"id\": \"msg_%s\", \"type\": \"message\", \"status\": \"%s\", \"role\": "
             "\"assistant\", \"content\": [",
             tail(r), status);
    if (text)
        part_json(text, out);
    str_adds(out, "]}");
}

static void settings_json(const struct openai_reply *r, struct str *out)
{
    const struct response_args *a = r->c->args;
    const json_t *format = json_object_get(a->text, "format"),
                 *effort = json_object_get(a->reasoning, "effort");
    str_adds(out, ", \"instructions\": ");
    if (a->instructions)
        str_add_json(out, a->instructions, strlen(a->instructions));
    else
        str_adds(out, "null");
    if (a->max_output_tokens != FIELD_UNSET)
        str_addf(out, ", \"max_output_tokens\": %lld", (long long)a->max_output_tokens);
    else
        str_adds(out, ", \"max_output_tokens\": null");
    str_addf(out, ", \"temperature\": %.9g, \"top_p\": %.9g", a->draw.temperature, a->draw.top_p);
    str_adds(out, ", \"text\": {\"format\": ");
    if (format && !json_is_null(format))
        openai_json(format, out);
    else
        str_adds(out, "{\"type\": \"text\"}");
    str_adds(out, "}, \"reasoning\": {\"effort\": ");
    if (effort)
        openai_json(effort, out);
    else
        str_adds(out, "null");
    str_adds(out, ", \"summary\": null}, \"metadata\": ");
    if (a->draw.metadata)
        openai_json(a->draw.metadata, out);
    else
        str_adds(out, "{}");
    str_adds(out, ", \"parallel_tool_calls\": true, \"previous_response_id\": null, \"store\": "
                  "false, \"tool_choice\": \"auto\", \"tools\": [], \"truncation\": \"disabled\", "
                  "\"background\": false, \"user\": null");
}

static void response_usage(const struct gen *g, struct str *out)
{
    int n = g->r.n_think + g->n_text;
    str_addf(out,
             "{\"input_tokens\": %d, \"input_tokens_details\": {\"cached_tokens\": %d}, "
             "\"output_tokens\": %d, \"output_tokens_details\": {\"reasoning_tokens\": %d}, "
             "\"total_tokens\": %d}",
             g->r.n_prompt, g->r.n_cached, n, g->r.n_think, g->r.n_prompt + n);
}

/* status: in_progress has no output yet; completed and incomplete have it; failed has an error. */
static void response_json(const struct openai_reply *r, const char *status, const struct err *why,
                          struct str *out)
{
    const struct gen *g = r->gen;
    bool has = !strcmp(status, "completed") || !strcmp(status, "incomplete");
    str_addf(out,
             "{\"id\": \"%s\", \"object\": \"response\", \"created_at\": %lld, \"status\": \"%s\"",
             r->id, (long long)r->created, status);
    str_adds(out, ", \"model\": ");
    str_add_json(out, g->m->name, strlen(g->m->name));
    str_adds(out, ", \"error\": ");
    if (why) {
        str_adds(out, "{\"code\": \"server_error\", \"message\": ");
        str_add_json(out, why->msg, strlen(why->msg));
        str_adds(out, "}");
    } else {
        str_adds(out, "null");
    }
    str_addf(out, ", \"incomplete_details\": %s",
             !strcmp(status, "incomplete") ? "{\"reason\": \"max_output_tokens\"}" : "null");
    str_adds(out, ", \"output\": [");
    if (has && g->think.len) {
        thinking_json(r, "completed", &g->think, out);
        str_adds(out, ", ");
    }
    if (has)
        message_json(r, status, &g->text, out);
    str_adds(out, "]");
    settings_json(r, out);
    str_adds(out, ", \"usage\": ");
    if (has)
        response_usage(g, out);
    else
        str_adds(out, "null");
    str_adds(out, "}");
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct str *event(struct openai_reply *r, const char *type)
{
    struct response_state *st = r->user;
    str_addf(&r->line,
             "event: response.%s\ndata: {\"type\": \"response.%s\", \"sequence_number\": %d", type,
             type, st->events++);
    return &r->line;
}

static void event_end(struct openai_reply *r)
{
    str_adds(&r->line, "}\n\n");
    openai_send(r);
}

static void event_response(struct openai_reply *r, const char *type, const char *status,
                           const struct err *why)
{
    struct str *line = event(r, type);
    str_adds(line, ", \"response\": ");
    response_json(r, status, why, line);
    event_end(r);
}

/* An event about the open item's text: "..", "item_id", indices. */
static struct str *event_text(struct openai_reply *r, const char *type)
{
    const struct response_state *st = r->user;
    struct str *line = event(r, type);
    str_addf(line, ", \"item_id\": \"%s_%s\", \"output_index\": %d, \"content_index\": 0",
             st->item == ITEM_THINKING ? "rs" : "msg", tail(r), st->n_item);
    return line;
}

static void event_item(struct openai_reply *r, const char *type, const char *status,
                       const struct str *text)
{
    const struct response_state *st = r->user;
    struct str *line = event(r, type);
    str_addf(line, ", \"output_index\": %d, \"item\": ", st->n_item);
    if (st->item == ITEM_THINKING)
        thinking_json(r, status, text, line);
    else
        message_json(r, status, text, line);
    event_end(r);
}

static void event_whole_text(struct openai_reply *r, const char *type, const struct str *text)
{
    struct str *line = event_text(r, type);
    str_adds(line, ", \"text\": ");
    str_add_json(line, text->s, text->len);
    if (!strcmp(type, "output_text.done"))
        str_adds(line, ", \"logprobs\": []");
    event_end(r);
}

static void item_close(struct openai_reply *r, const char *status)
{
    struct response_state *st = r->user;
    const struct gen *g = r->gen;
    if (st->item == ITEM_THINKING) {
        event_whole_text(r, "reasoning_text.done", &g->think);
        event_item(r, "output_item.done", "completed", &g->think);
    } else if (st->item == ITEM_MESSAGE) {
        event_whole_text(r, "output_text.done", &g->text);
        str_adds(event_text(r, "content_part.done"), ", \"part\": ");
        part_json(&g->text, &r->line);
        event_end(r);
        event_item(r, "output_item.done", status, &g->text);
    }
    st->n_item += st->item != ITEM_NONE;
    st->item = ITEM_NONE;
}

static void item_open(struct openai_reply *r, enum item item)
{
    struct response_state *st = r->user;
    if (st->item == item)
        return;
    item_close(r, "completed");
    st->item = item;
    event_item(r, "output_item.added", "in_progress", NULL);
    if (item != ITEM_MESSAGE)
        return;
    str_adds(event_text(r, "content_part.added"), ", \"part\": ");
    part_json(NULL, &r->line);
    event_end(r);
}

static void response_piece(struct gen *g, const char *text, size_t n, bool thinking)
{
    struct openai_reply *r = ((struct task *)g->user)->user;
    item_open(r, thinking ? ITEM_THINKING : ITEM_MESSAGE);
    struct str *line = event_text(r, thinking ? "reasoning_text.delta" : "output_text.delta");
    str_adds(line, ", \"delta\": ");
    str_add_json(line, text, n);
    if (!thinking)
        str_adds(line, ", \"logprobs\": []");
    event_end(r);
}

static void response_begin(struct openai_reply *r)
{
    r->gen->on_piece = response_piece;
    openai_stream_begin(r, "response");
    event_response(r, "created", "in_progress", NULL);
    event_response(r, "in_progress", "in_progress", NULL);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void stream_finished(struct task *t, struct openai_reply *r, const struct err *failed)
{
    const char *status = r->gen->finish == GEN_STOP ? "completed" : "incomplete";
    if (failed) {
        event_response(r, "failed", "failed", failed);
    } else {
        item_open(r, ITEM_MESSAGE); /* an empty reply is a message as well */
        item_close(r, status);
        event_response(r, status, status, NULL);
    }
    http_end(t->c->http, false);
    call_free(t->c);
    openai_reply_free(r);
    task_end(t);
}

static void response_finished(struct task *t)
{
    struct openai_reply *r = t->user;
    struct response_state *st = r->user;
    const struct err *failed = openai_failed(r);
    struct str s = STR_INIT;
    struct err e = {0};
    if (r->draw->stream) {
        stream_finished(t, r, failed);
        mem_free(st);
        return;
    }
    if (!failed) {
        response_json(r, r->gen->finish == GEN_STOP ? "completed" : "incomplete", NULL, &s);
        str_adds(&s, "\n");
        if (str_ok(&s, "a reply", &e) < 0)
            failed = &e;
    }
    if (failed) {
        str_free(&s);
        openai_fail(t, r, NULL, failed);
    } else {
        call_reply(t->c, 200, &s);
        openai_reply_free(r);
        task_end(t);
    }
    mem_free(st);
}

/* ---- the call -------------------------------------------------------------------------------- */

static int read_text(const struct response_args *a, struct grammar **out, struct err *e)
{
    static const char *const keys[] = {"format", "verbosity", NULL};
    const char *verbosity = json_string_value(json_object_get(a->text, "verbosity"));
    if (a->text && jdoc_only(a->text, keys, e) < 0)
        return err_wrap(e, ERR_DATA, "'text'");
    if (verbosity && strcmp(verbosity, "medium") != 0)
        FAIL(e, ERR_DATA,
             "'text.verbosity' is not supported: ask for a short or long reply in the "
             "messages");
    return openai_format(json_object_get(a->text, "format"), "text.format", true, out, e);
}

static int read_effort(const struct response_args *a, const char **out, struct err *e)
{
    static const char *const keys[] = {"effort", "summary", "generate_summary", NULL};
    static const char *const words[] = {"none", "minimal", "low", "medium", "high", "xhigh"};
    const json_t *effort = json_object_get(a->reasoning, "effort");
    const char *s = json_string_value(effort);
    *out = NULL;
    if (a->reasoning && jdoc_only(a->reasoning, keys, e) < 0)
        return err_wrap(e, ERR_DATA, "'reasoning'");
    if (!effort || json_is_null(effort))
        return 0;
    for (size_t i = 0; s && i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(s, words[i])) {
            *out = s;
            return 0;
        }
    FAIL(e, ERR_DATA, "'reasoning.effort' must be none, minimal, low, medium, high or xhigh");
}

static int check_include(const struct response_args *a, struct err *e)
{
    for (size_t i = 0; i < json_array_size(a->include); i++) {
        const char *s = json_string_value(json_array_get(a->include, i));
        if (!s || strcmp(s, "reasoning.encrypted_content") != 0)
            FAIL(e, ERR_DATA, "'include[%zu]' is '%.60s', which no reply has", i,
                 s ? s : "(no text)");
    }
    return 0;
}

static int response_fill(struct openai_reply *r, const char **param, struct err *e)
{
    const struct response_args *a = r->c->args;
    struct openai_messages ms;
    struct openai_think think;
    const char *effort;
    *param = "reasoning";
    TRY(read_effort(a, &effort, e));
    TRY(openai_think(effort, NULL, &think, e));
    *param = "text";
    TRY(read_text(a, &r->grammar, e));
    if (openai_stops(&a->draw) && r->grammar)
        FAIL(e, ERR_DATA,
             "'stop' would cut JSON that must be whole; leave it out together with "
             "text.format");
    r->gen->r.grammar = r->grammar;
    *param = "input";
    TRY(openai_input_read(a->input, a->instructions, &ms, e));
    int rc = openai_render(r, &ms, think, false, a->max_output_tokens, e);
    openai_messages_free(&ms);
    return rc < 0 ? rc : gen_check(r->gen, e);
}

static void response_ready(struct task *t)
{
    const struct response_args *a = t->c->args;
    struct openai_reply *r = NULL;
    struct err e = {0};
    const char *param = "input";
    struct response_state *st = mem_zalloc(1, sizeof *st);
    int rc = st ? 0 : NOMEM(&e, sizeof *st, "a reply");
    if (rc == 0)
        rc = openai_reply_new(t, &a->draw, "resp_", 1, 1, &r, &param, &e);
    if (rc == 0) {
        r->user = st;
        rc = response_fill(r, &param, &e);
    }
    if (rc == 0 && a->draw.stream)
        response_begin(r);
    if (rc == 0)
        rc = task_run(t, response_finished, &e);
    if (rc < 0) {
        openai_fail(t, r, param, &e);
        mem_free(st);
    }
}

void openai_responses_post(struct call *c)
{
    const struct response_args *a = c->args;
    struct err e = {0};
    const char *param;
    if (check_include(a, &e) < 0)
        call_fail_err(c, "include", &e);
    else if (openai_check(&a->draw, &param, &e) < 0)
        call_fail_err(c, param, &e);
    else
        task_start(c, a->draw.model, 1, -1, response_ready, NULL);
}
