/* The API of OpenAI: /chat/completions, and /completions with echo for scores. vLLM, llama-server,
 * Ollama's /v1, mas and hosted services have it, each with gaps. */
#include <math.h>
#include <string.h>

#include "form.h"
#include "jdoc.h"
#include "llm.h"
#include "mem.h"

static void openai_sampling(const struct form_server *s, const struct form_chat *c, struct str *out)
{
    int off = s->sampling == FORM_SAMPLING_MINUS ? -1 : 0;
    str_addf(out, ", \"temperature\": %.9g, \"top_p\": %.9g, \"seed\": %u", c->temperature,
             c->top_p, (unsigned)c->seed);
    if (s->sampling != FORM_SAMPLING_PLAIN)
        str_addf(out, ", \"top_k\": %d, \"min_p\": %.9g", c->top_k > 0 ? c->top_k : off, c->min_p);
    str_addf(out, ", \"%s\": %d", s->completion_tokens ? "max_completion_tokens" : "max_tokens",
             c->max_tokens + c->max_think);
}

static void openai_write(const struct form_server *s, const struct form_chat *c, struct str *out)
{
    str_adds(out, "{\"model\": ");
    str_add_json(out, s->model, strlen(s->model));
    str_adds(out, ", \"messages\": [");
    form_messages(s, c, out);
    str_adds(out, "], \"stream\": false");
    openai_sampling(s, c, out);
    if (s->logprobs)
        str_adds(out, ", \"logprobs\": true");
    if (s->thinks && s->sampling != FORM_SAMPLING_PLAIN)
        str_addf(out, ", \"chat_template_kwargs\": {\"enable_thinking\": %s}",
                 c->max_think ? "true" : "false");
    if (c->schema && s->schema == FORM_JSON_SCHEMA)
        str_addf(out,
                 ", \"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": "
                 "\"reply\", \"strict\": true, \"schema\": %s}}",
                 c->schema);
    if (c->schema && s->schema == FORM_GUIDED_JSON)
        str_addf(out, ", \"guided_json\": %s", c->schema);
    str_addc(out, '}');
}

static void openai_usage(const json_t *doc, struct form_reply *out)
{
    const json_t *u = json_object_get(doc, "usage");
    if (!json_is_integer(json_object_get(u, "prompt_tokens")) ||
        !json_is_integer(json_object_get(u, "completion_tokens")))
        return;
    int all = form_count(u, "completion_tokens");
    out->counted = true;
    out->n_prompt = form_count(u, "prompt_tokens");
    out->n_cached = form_count(json_object_get(u, "prompt_tokens_details"), "cached_tokens");
    out->n_think = form_count(json_object_get(u, "completion_tokens_details"), "reasoning_tokens");
    out->n_think = out->n_think < all ? out->n_think : all;
    out->n_cached = out->n_cached < out->n_prompt ? out->n_cached : out->n_prompt;
    out->n_new = all - out->n_think;
}

static int openai_end(const json_t *choice, struct form_reply *out, struct err *e)
{
    const char *end = json_string_value(json_object_get(choice, "finish_reason"));
    if (!end)
        FAIL(e, ERR_DATA, "the reply has no finish_reason: it is cut off");
    out->end = FORM_STOP;
    if (!strcmp(end, "length"))
        out->end = FORM_LENGTH;
    else if (!strcmp(end, "content_filter"))
        out->end = FORM_REFUSED;
    else if (strcmp(end, "stop") != 0 && strcmp(end, "eos") != 0)
        FAIL(e, ERR_DATA, "finish_reason '%.40s' is not known", end);
    return 0;
}

static int openai_choice(const json_t *doc, json_t **out, struct err *e)
{
    json_t *choices = NULL;
    TRY(jdoc_get(doc, "choices", JSON_ARRAY, &choices, e));
    if (!json_array_size(choices))
        FAIL(e, ERR_DATA, "'choices' is empty");
    *out = json_array_get(choices, 0);
    if (!json_is_object(*out))
        FAIL(e, ERR_DATA, "item 1 of 'choices' is not an object");
    return 0;
}

static int openai_message(const json_t *doc, struct form_reply *out, struct err *e)
{
    json_t *choice = NULL, *message = NULL;
    TRY(openai_choice(doc, &choice, e));
    TRY(jdoc_get(choice, "message", JSON_OBJECT, &message, e));
    TRY(openai_end(choice, out, e));
    TRY(form_append(message, "content", &out->text, e));
    TRY(form_append(message, "reasoning_content", &out->think, e));
    if (!out->think.len && json_is_string(json_object_get(message, "reasoning")))
        TRY(form_append(message, "reasoning", &out->think, e));
    TRY(form_append(message, "refusal", &out->refusal, e));
    if (out->refusal.len)
        out->end = FORM_REFUSED;
    out->mean_lp = form_mean(json_object_get(json_object_get(choice, "logprobs"), "content"));
    if (out->end == FORM_STOP && !out->text.len)
        FAIL(e, ERR_DATA, "the reply is empty%s", out->think.len ? " after its thinking" : "");
    return 0;
}

static int openai_open(const char *s, size_t n, json_t **doc, struct form_reply *out, struct err *e)
{
    TRY(jdoc_load(s, n, doc, e));
    out->mean_lp = (double)NAN;
    form_copy(*doc, "model", out->model);
    form_copy(*doc, "system_fingerprint", out->fingerprint);
    openai_usage(*doc, out);
    return 0;
}

static int openai_read(const char *s, size_t n, struct form_reply *out, struct err *e)
{
    json_t *doc = NULL;
    int rc;
    TRY_DONE(openai_open(s, n, &doc, out, e));
    rc = openai_message(doc, out, e);
done:
    json_decref(doc);
    return rc;
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void openai_write_score(const struct form_server *s, const struct form_score *c,
                               struct str *out)
{
    struct str text = STR_INIT;
    str_adds(out, "{\"model\": ");
    str_add_json(out, s->model, strlen(s->model));
    str_adds(out, ", \"prompt\": [");
    for (int i = 0; i < c->n; i++) {
        str_clear(&text);
        str_add(&text, c->prompt, c->prompt_len);
        str_add(&text, c->option[i], c->option_len[i]);
        str_adds(out, i ? ", " : "");
        str_add_json(out, text.s, text.len);
    }
    /* one new token, which every server takes: some refuse 0 */
    str_adds(out, "], \"echo\": true, \"logprobs\": 1, \"max_tokens\": 1, \"temperature\": 0");
    str_adds(out, c->no_bos ? ", \"add_special_tokens\": false}" : "}");
    out->failed = out->failed || text.failed;
    str_free(&text);
}

/* The tokens before `end` spell the end of the option, back to its border: their number, 0 = they
 * do not. */
static size_t openai_span(const json_t *token, size_t end, const char *option, size_t len)
{
    size_t i = end, at = len;
    while (at && i) {
        const json_t *t = json_array_get(token, --i);
        size_t k = json_string_length(t);
        const char *text = json_string_value(t);
        if (!text || !k || k > at || memcmp(text, option + at - k, k) != 0)
            return 0;
        at -= k;
    }
    return at || !i ? 0 : end - i; /* a token of the prompt stands before them */
}

/* One choice. Its last token is the new one; a server leaves out one that only ends the text. */
static int openai_option(const json_t *choice, const char *option, size_t len, double *lp,
                         int *tokens, struct err *e)
{
    const json_t *l = json_object_get(choice, "logprobs");
    const json_t *token = json_object_get(l, "tokens");
    const json_t *each = json_object_get(l, "token_logprobs");
    size_t n = json_array_size(token), end = n - 1;
    double sum = 0;
    if (n < 2 || json_array_size(each) != n)
        FAIL(e, ERR_DATA, "the reply has no log-probabilities of the prompt");
    size_t k = openai_span(token, end, option, len);
    if (!k)
        k = openai_span(token, end = n, option, len);
    if (!k)
        FAIL(e, ERR_DATA, "the tokens of the server do not end as the option does");
    for (size_t i = end - k; i < end; i++) {
        const json_t *v = json_array_get(each, i);
        if (!json_is_number(v) || !(json_number_value(v) <= 0))
            FAIL(e, ERR_DATA, "a token of an option has no log-probability");
        sum += json_number_value(v);
    }
    *lp = sum;
    *tokens = (int)k;
    return 0;
}

static int openai_options(const struct form_score *c, const json_t *doc, double *lp, int *tokens,
                          struct err *e)
{
    json_t *choices = NULL;
    TRY(jdoc_get(doc, "choices", JSON_ARRAY, &choices, e));
    if (json_array_size(choices) != (size_t)c->n)
        FAIL(e, ERR_DATA, "%zu choices for %d prompts", json_array_size(choices), c->n);
    for (int i = 0; i < c->n; i++)
        tokens[i] = 0;
    for (int i = 0; i < c->n; i++) {
        json_int_t index = 0;
        const json_t *choice = json_array_get(choices, (size_t)i);
        TRY(jdoc_int(choice, "index", 0, c->n - 1, &index, e));
        if (tokens[index])
            FAIL(e, ERR_DATA, "choice %d stands twice", (int)index);
        TRY(openai_option(choice, c->option[index], c->option_len[index], &lp[index],
                          &tokens[index], e));
    }
    return 0;
}

static int openai_read_score(const struct form_score *c, const char *s, size_t n, double *lp,
                             int *tokens, struct form_reply *out, struct err *e)
{
    json_t *doc = NULL;
    int rc;
    TRY_DONE(openai_open(s, n, &doc, out, e));
    rc = openai_options(c, doc, lp, tokens, e);
    out->end = FORM_STOP;
done:
    json_decref(doc);
    return rc;
}

/* ---- prompts --------------------------------------------------------------------------------- */

/* No token is more probable than one with this log-probability. */
static bool openai_top(const json_t *list, double lp)
{
    const char *text;
    json_t *v;
    bool top = json_object_size(list) > 0;
    json_object_foreach((json_t *)(uintptr_t)list, text, v)
    {
        (void)text;
        top = top && json_is_number(v) && json_number_value(v) <= lp;
    }
    return top;
}

/* Token i of the choice. The first of a text has no log-probability. */
static int openai_prompt_token(const json_t *l, size_t i, bool first, struct llm_token *out,
                               struct err *e)
{
    const json_t *lp = json_array_get(json_object_get(l, "token_logprobs"), i);
    const json_t *list = json_array_get(json_object_get(l, "top_logprobs"), i);
    *out = (struct llm_token){.lp = (double)NAN};
    if (first && !json_is_number(lp))
        return 0;
    if (!json_is_number(lp) || !(json_number_value(lp) <= 0))
        FAIL(e, ERR_DATA, "token %zu of the prompt has no log-probability", i + 1);
    if (!json_object_size(list))
        FAIL(e, ERR_DATA, "the reply does not name the most probable token of each place");
    *out = (struct llm_token){.lp = json_number_value(lp),
                              .top = openai_top(list, json_number_value(lp))};
    return 0;
}

/* The place of the first token of the text s[0..n), if the tokens before `end` spell it: 0, or 1
 * after BOS. -1 = they do not. */
static int openai_spelled(const json_t *token, size_t end, const char *s, size_t n)
{
    size_t at = n;
    while (at && end) {
        const json_t *t = json_array_get(token, --end);
        const size_t k = json_string_length(t);
        if (!json_is_string(t) || !k || k > at || memcmp(json_string_value(t), s + at - k, k) != 0)
            return -1;
        at -= k;
    }
    return at || end > 1 ? -1 : (int)end;
}

static int openai_prompt(const json_t *choice, const struct str *text, struct llm_token **token,
                         int *n_token, struct err *e)
{
    const json_t *l = json_object_get(choice, "logprobs");
    const json_t *list = json_object_get(l, "tokens");
    const size_t n = json_array_size(list);
    size_t end = n ? n - 1 : 0; /* the last is the new one, which some servers leave out */
    int first = openai_spelled(list, end, text->s, text->len);
    if (first < 0)
        first = openai_spelled(list, end = n, text->s, text->len);
    if (first < 0 || !text->len)
        FAIL(e, ERR_DATA, "the tokens of the server do not spell the prompt");
    const size_t count = end - (size_t)first;
    struct llm_token *t = mem_zalloc(count, sizeof *t);
    if (!t)
        return NOMEM(e, count * sizeof *t, "tokens");
    for (size_t i = 0; i < count; i++) {
        const int rc = openai_prompt_token(l, (size_t)first + i, i == 0, &t[i], e);
        if (rc < 0) {
            mem_free(t);
            return rc;
        }
    }
    *token = t;
    *n_token = (int)count;
    return 0;
}

static int openai_read_prompt(const struct form_score *c, const char *s, size_t n,
                              struct llm_token **token, int *n_token, struct form_reply *out,
                              struct err *e)
{
    struct str text = STR_INIT;
    json_t *doc = NULL, *choice = NULL;
    int rc;
    str_add(&text, c->prompt, c->prompt_len);
    str_add(&text, c->option[0], c->option_len[0]);
    TRY_DONE(str_ok(&text, "a prompt", e));
    TRY_DONE(openai_open(s, n, &doc, out, e));
    TRY_DONE(openai_choice(doc, &choice, e));
    TRY_DONE(openai_prompt(choice, &text, token, n_token, e));
    out->end = FORM_STOP;
done:
    json_decref(doc);
    str_free(&text);
    return rc;
}

const struct form form_openai = {
    .name = "openai",
    .chat = "/chat/completions",
    .complete = "/completions",
    .write = openai_write,
    .read = openai_read,
    .write_score = openai_write_score,
    .read_score = openai_read_score,
    .read_prompt = openai_read_prompt,
};
