/* Messages of chat completions and of responses, as those of a chat template. */
#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "llm.h"
#include "openai.h"

struct message_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "openai_message.def"
#undef X
};
static const struct field_row message_rows[] = {
#define X(...) FIELD_ROW(struct message_args, __VA_ARGS__)
#include "openai_message.def"
#undef X
};
static const struct field_set message_fields = {"ChatMessage", message_rows,
                                                sizeof message_rows / sizeof message_rows[0],
                                                sizeof(struct message_args)};

void openai_messages_free(struct openai_messages *ms)
{
    arena_free(&ms->arena);
    mem_free(ms->m);
    *ms = (struct openai_messages){0};
}

/* Makes room for n messages and two more. */
static int messages_room(struct openai_messages *ms, size_t n, struct err *e)
{
    ms->m = mem_zalloc(n + 2, sizeof *ms->m);
    return ms->m ? 0 : NOMEM(e, (n + 2) * sizeof *ms->m, "messages");
}

static int messages_add(struct openai_messages *ms, const char *role, const struct str *text,
                        struct err *e)
{
    TRY(str_ok(text, "a message", e));
    char *copy = arena_strndup(&ms->arena, text->len ? text->s : "", text->len);
    if (!copy)
        return NOMEM(e, text->len, "a message");
    ms->m[ms->n++] = (struct chat_message){role, copy, text->len};
    return 0;
}

/* Adds text to the last message, after a blank line. */
static int messages_append(struct openai_messages *ms, struct chat_message *m, const char *text,
                           size_t n, struct err *e)
{
    struct str all = STR_INIT;
    str_add(&all, m->text, m->len);
    if (m->len && n)
        str_adds(&all, "\n\n");
    str_add(&all, text, n);
    int rc = str_ok(&all, "a message", e);
    char *copy = rc == 0 ? arena_strndup(&ms->arena, all.len ? all.s : "", all.len) : NULL;
    if (rc == 0 && !copy)
        rc = NOMEM(e, all.len, "a message");
    if (rc == 0) {
        m->text = copy;
        m->len = all.len;
    }
    str_free(&all);
    return rc;
}

int openai_messages_system(struct openai_messages *ms, const char *text, size_t n, struct err *e)
{
    for (int i = 0; i < ms->n; i++)
        if (!strcmp(ms->m[i].role, "system"))
            return messages_append(ms, &ms->m[i], text, n, e);
    memmove(ms->m + 1, ms->m, (size_t)ms->n * sizeof *ms->m);
    ms->n++;
    ms->m[0] = (struct chat_message){"system", "", 0};
    return messages_append(ms, &ms->m[0], text, n, e);
}

/* ---- contents -------------------------------------------------------------------------------- */

static const char *text_member(const json_t *part, const char *name)
{
    return json_string_value(json_object_get(part, name));
}

/* A list of parts: their texts, one after another. types: "a|b" of the parts that are text. */
static int parts_text(const json_t *list, const char *at, const char *types, struct str *out,
                      struct err *e)
{
    size_t i;
    json_t *part;
    json_array_foreach(list, i, part)
    {
        const char *type = text_member(part, "type"), *found = type ? strstr(types, type) : NULL;
        size_t n = type ? strlen(type) : 0;
        bool known =
            found && n && (found == types || found[-1] == '|') && (found[n] == '|' || !found[n]);
        if (!known)
            FAIL(e, ERR_DATA,
                 "'%s.content[%zu]' is of type '%.40s', expected %s: the models read "
                 "text only",
                 at, i, type ? type : "(none)", types);
        const json_t *text = json_object_get(part, !strcmp(type, "refusal") ? "refusal" : "text");
        if (!json_is_string(text))
            FAIL(e, ERR_DATA, "'%s.content[%zu].text' is missing or no text", at, i);
        str_add(out, json_string_value(text), json_string_length(text));
    }
    return 0;
}

static int content_text(const json_t *content, const char *at, const char *types, bool needed,
                        struct str *out, struct err *e)
{
    if (json_is_string(content))
        str_add(out, json_string_value(content), json_string_length(content));
    else if (json_is_array(content))
        return parts_text(content, at, types, out, e);
    else if (content && !json_is_null(content))
        FAIL(e, ERR_DATA, "'%s.content' is %s, expected text or a list of parts", at,
             jdoc_type_name(json_typeof(content)));
    else if (needed)
        FAIL(e, ERR_DATA, "'%s.content' is missing", at);
    return 0;
}

/* ---- tools in messages ----------------------------------------------------------------------- */

/* The calls of an assistant's message, as the model writes them. */
static int calls_text(const json_t *calls, const char *at, struct str *out, struct err *e)
{
    size_t i;
    json_t *call;
    if (out->len)
        str_adds(out, "\n\n");
    str_adds(out, json_array_size(calls) > 1 ? "[" : "");
    json_array_foreach(calls, i, call)
    {
        const json_t *f = json_object_get(call, "function");
        const char *name = text_member(f, "name");
        const json_t *arguments = json_object_get(f, "arguments");
        json_t *parsed = NULL;
        if (!name || !json_is_string(arguments))
            FAIL(e, ERR_DATA, "'%s.tool_calls[%zu].function' needs the texts name and arguments",
                 at, i);
        struct err why = {0};
        if (jdoc_deep(json_string_value(arguments), json_string_length(arguments), FIELD_DEPTH,
                      &parsed, &why) < 0)
            FAIL(e, ERR_DATA, "'%s.tool_calls[%zu].function.arguments' is no JSON: %s", at, i,
                 why.msg);
        str_adds(out, i ? ", {\"name\": " : "{\"name\": ");
        str_add_json(out, name, strlen(name));
        str_adds(out, ", \"arguments\": ");
        openai_json(parsed, out);
        str_adds(out, "}");
        json_decref(parsed);
    }
    str_adds(out, json_array_size(calls) > 1 ? "]" : "");
    return 0;
}

/* The function that a result belongs to: that of the call with its id, in an earlier message. */
static const char *called_name(const json_t *list, size_t before, const char *id)
{
    for (size_t i = before; id && i-- > 0;) {
        const json_t *calls = json_object_get(json_array_get(list, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            const json_t *call = json_array_get(calls, k);
            const char *had = text_member(call, "id");
            if (had && !strcmp(had, id))
                return text_member(json_object_get(call, "function"), "name");
        }
    }
    return NULL;
}

/* The result of a tool is a user's text. Results that follow each other are one message. */
static int add_result(struct openai_messages *ms, const json_t *list, size_t i,
                      const struct message_args *a, const struct str *content, struct err *e)
{
    const char *name = called_name(list, i, a->tool_call_id);
    struct str text = STR_INIT;
    name = name ? name : a->name ? a->name : "the function";
    str_addf(&text, "Result of %.100s:\n", name);
    str_add(&text, content->s, content->len);
    int rc = str_ok(&text, "a message", e);
    if (rc == 0 && ms->tool_last)
        rc = messages_append(ms, &ms->m[ms->n - 1], text.s, text.len, e);
    else if (rc == 0)
        rc = messages_add(ms, "user", &text, e);
    ms->tool_last = true;
    str_free(&text);
    return rc;
}

/* ---- chat completions ------------------------------------------------------------------------ */

static int message_read(struct openai_messages *ms, const json_t *list, size_t i, struct str *text,
                        struct err *e)
{
    struct message_args a;
    const char *member;
    char at[40];
    snprintf(at, sizeof at, "messages[%zu]", i);
    if (field_read(&message_fields, json_array_get(list, i), &a, &member, e) < 0)
        return err_wrap(e, ERR_DATA, "'%s'", at);
    bool assistant = !strcmp(a.role, "assistant"), tool = !strcmp(a.role, "tool");
    bool calls = assistant && json_array_size(a.tool_calls) > 0;
    if (!assistant && json_array_size(a.tool_calls))
        FAIL(e, ERR_DATA, "'%s.tool_calls' stands in a message of role %s, expected assistant", at,
             a.role);
    TRY(content_text(a.content, at, assistant ? "text|refusal" : "text", !calls, text, e));
    if (calls)
        TRY(calls_text(a.tool_calls, at, text, e));
    if (tool)
        return add_result(ms, list, i, &a, text, e);
    ms->tool_last = false;
    return messages_add(ms, !strcmp(a.role, "developer") ? "system" : a.role, text, e);
}

int openai_messages_read(const json_t *list, struct openai_messages *out, struct err *e)
{
    struct str text = STR_INIT;
    *out = (struct openai_messages){0};
    int rc = messages_room(out, json_array_size(list), e);
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        str_clear(&text);
        rc = message_read(out, list, i, &text, e);
    }
    str_free(&text);
    if (rc < 0)
        openai_messages_free(out);
    return rc;
}

/* ---- responses ------------------------------------------------------------------------------- */

static int item_read(struct openai_messages *ms, const json_t *item, size_t i, struct str *text,
                     struct err *e)
{
    char at[40];
    snprintf(at, sizeof at, "input[%zu]", i);
    if (!json_is_object(item))
        FAIL(e, ERR_DATA, "'%s' is %s, expected an object", at, jdoc_type_name(json_typeof(item)));
    const char *type = text_member(item, "type"), *role = text_member(item, "role");
    if (type && !strcmp(type, "reasoning")) /* thoughts of earlier turns are not shown again */
        return 0;
    if (type && strcmp(type, "message") != 0)
        FAIL(e, ERR_DATA, "'%s.type' is '%.40s', expected message or reasoning", at, type);
    static const char *const roles[] = {"user", "assistant", "system", "developer"};
    size_t k = 0;
    while (k < 4 && (!role || strcmp(role, roles[k]) != 0))
        k++;
    if (k == 4)
        FAIL(e, ERR_DATA, "'%s.role' is '%.40s', expected user, assistant, system or developer", at,
             role ? role : "(none)");
    TRY(content_text(json_object_get(item, "content"), at, "input_text|output_text|text|refusal",
                     true, text, e));
    return messages_add(ms, k == 3 ? "system" : roles[k], text, e);
}

int openai_input_read(const json_t *input, const char *instructions, struct openai_messages *out,
                      struct err *e)
{
    struct str text = STR_INIT;
    size_t n = json_is_array(input) ? json_array_size(input) : 1;
    *out = (struct openai_messages){0};
    int rc = messages_room(out, n, e);
    if (rc == 0 && n > 4096)
        rc = err_set(e, ERR_DATA, "'input' has %zu items, the limit is 4096", n);
    if (rc == 0 && !json_is_array(input) && !json_is_string(input))
        rc = err_set(e, ERR_DATA, "'input' is %s, expected text or a list of messages",
                     jdoc_type_name(json_typeof(input)));
    if (rc == 0 && json_is_string(input)) {
        str_add(&text, json_string_value(input), json_string_length(input));
        rc = messages_add(out, "user", &text, e);
    }
    for (size_t i = 0; json_is_array(input) && i < n && rc == 0; i++) {
        str_clear(&text);
        rc = item_read(out, json_array_get(input, i), i, &text, e);
    }
    str_free(&text);
    if (rc == 0 && !out->n)
        rc = err_set(e, ERR_DATA, "'input' has no message");
    if (rc == 0 && instructions) {
        memmove(out->m + 1, out->m, (size_t)out->n * sizeof *out->m);
        out->m[0] = (struct chat_message){"system", instructions, strlen(instructions)};
        out->n++;
    }
    if (rc < 0)
        openai_messages_free(out);
    return rc;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

int openai_think(const char *effort, const json_t *think, struct openai_think *out, struct err *e)
{
    static const struct {
        const char *name;
        int budget;
    } efforts[] = {{"none", 0},      {"minimal", 256}, {"low", 512},
                   {"medium", 2048}, {"high", 4096},   {"xhigh", 8192}};
    *out = (struct openai_think){.budget = -1};
    for (size_t i = 0; effort && i < sizeof efforts / sizeof efforts[0]; i++)
        if (!strcmp(effort, efforts[i].name))
            out->budget = efforts[i].budget;
    if (!think || json_is_null(think))
        return 0;
    if (json_is_boolean(think))
        out->budget = json_is_true(think) ? LLM_THINK_DEFAULT : 0;
    else if (json_is_integer(think) && json_integer_value(think) >= 0 &&
             json_integer_value(think) <= 1048576)
        out->budget = json_integer_value(think);
    else
        FAIL(e, ERR_DATA, "'think' is no boolean and no whole number from 0 to 1048576");
    out->must = out->budget > 0;
    return 0;
}

/* Sets the thinking and the limits of a rendered reply. The tokens that close the thinking count
 * with it. */
static int set_limits(struct gen *g, int64_t budget, int64_t limit, struct err *e)
{
    int64_t room = g->m->info->n_ctx - (int64_t)g->prompt.n;
    if (budget) {
        TRY(gen_think(g, 1, e));
        const struct request_think *t = &g->r.think;
        room -= t->n_end > t->n_after ? t->n_end : t->n_after;
    }
    if (limit == FIELD_UNSET || limit > room)
        limit = room;
    if (budget > limit / 2)
        budget = limit / 2 > 0 ? limit / 2 : g->r.think.max;
    g->r.think.max = (int)budget;
    g->r.max_new =
        limit - budget > 0 ? (int)(limit - budget) : 1; /* too long: the engine says so */
    return 0;
}

int openai_render(struct openai_reply *r, const struct openai_messages *ms,
                  struct openai_think think, bool continues, int64_t limit, struct err *e)
{
    const struct chat *chat = r->gen->m->info->chat;
    bool thinks = chat_thinking(chat) != NULL;
    int64_t budget = think.budget < 0 ? LLM_THINK_DEFAULT : think.budget;
    bool open = !strcmp(ms->m[ms->n - 1].role, "assistant");
    if (think.must && !thinks)
        FAIL(e, ERR_DATA, "'think' asks for thinking; models of chat template %s do not think",
             chat_name(chat));
    if (open && !continues)
        FAIL(e, ERR_DATA,
             "the last message is the assistant's; add a user's message, or set "
             "continue_final_message to go on with it");
    if (continues && !open)
        FAIL(e, ERR_DATA, "'continue_final_message' needs a last message of role assistant");
    if (continues && think.must)
        FAIL(e, ERR_DATA, "'think' and 'continue_final_message' exclude each other");
    if (!thinks || continues || limit == 1)
        budget = 0;
    enum chat_think start = budget ? CHAT_THINK_OPEN : CHAT_THINK_NONE;
    for (int i = 0; i < ms->n; i++)
        TRY(serve_fits(r->gen->m, ms->m[i].text, ms->m[i].len, e));
    if (chat_bare(chat))
        http_set_header(r->c->http, "X-Mas-Warning", CHAT_BARE_TEXT);
    TRY(chat_render(chat, ms->m, ms->n, start, &r->gen->prompt, e));
    r->gen->continues = continues;
    TRY(set_limits(r->gen, budget, limit, e));
    return openai_copy(r->gen, r->n_each, e);
}
