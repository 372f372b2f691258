/* The API of Ollama: /api/chat. Its options have other defaults than ours, so each one is sent. It
 * cuts a prompt that is longer than num_ctx; newer servers are told to refuse it. */
#include <math.h>
#include <string.h>

#include "form.h"
#include "jdoc.h"

static void ollama_write(const struct form_server *s, const struct form_chat *c, struct str *out)
{
    str_adds(out, "{\"model\": ");
    str_add_json(out, s->model, strlen(s->model));
    str_adds(out, ", \"messages\": [");
    form_messages(s, c, out);
    str_adds(out, "], \"stream\": false, \"truncate\": false, \"shift\": false");
    if (c->schema && s->schema == FORM_FORMAT)
        str_addf(out, ", \"format\": %s", c->schema);
    if (s->thinks)
        str_addf(out, ", \"think\": %s", c->max_think ? "true" : "false");
    if (s->logprobs)
        str_adds(out, ", \"logprobs\": true");
    str_addf(out,
             ", \"options\": {\"num_ctx\": %d, \"num_predict\": %d, \"seed\": %u, \"temperature\": "
             "%.9g, \"top_p\": %.9g, \"top_k\": %d, \"min_p\": %.9g, \"repeat_penalty\": 1}}",
             s->n_ctx, c->max_tokens + c->max_think, (unsigned)c->seed, c->temperature, c->top_p,
             c->top_k, c->min_p);
}

static int ollama_end(const json_t *doc, struct form_reply *out, struct err *e)
{
    const char *end = json_string_value(json_object_get(doc, "done_reason"));
    if (!json_is_true(json_object_get(doc, "done")))
        FAIL(e, ERR_DATA, "the reply is not done: it is cut off");
    out->end = FORM_STOP;
    if (end && !strcmp(end, "length"))
        out->end = FORM_LENGTH;
    else if (end && strcmp(end, "stop") != 0)
        FAIL(e, ERR_DATA, "done_reason is '%.40s', not stop or length", end);
    return 0;
}

static int ollama_message(const json_t *doc, struct form_reply *out, struct err *e)
{
    json_t *message = NULL;
    TRY(jdoc_get(doc, "message", JSON_OBJECT, &message, e));
    TRY(ollama_end(doc, out, e));
    TRY(form_append(message, "content", &out->text, e));
    TRY(form_append(message, "thinking", &out->think, e));
    form_copy(doc, "model", out->model);
    /* a prompt that the server had cached entirely has no count in older versions */
    out->counted = json_is_integer(json_object_get(doc, "prompt_eval_count")) &&
                   json_is_integer(json_object_get(doc, "eval_count"));
    out->n_prompt = form_count(doc, "prompt_eval_count");
    out->n_new = form_count(doc, "eval_count");
    out->mean_lp = form_mean(json_object_get(doc, "logprobs"));
    if (out->end == FORM_STOP && !out->text.len)
        FAIL(e, ERR_DATA, "the reply is empty%s", out->think.len ? " after its thinking" : "");
    return 0;
}

static int ollama_read(const char *s, size_t n, struct form_reply *out, struct err *e)
{
    json_t *doc = NULL;
    int rc;
    out->mean_lp = (double)NAN;
    TRY_DONE(jdoc_load(s, n, &doc, e));
    rc = ollama_message(doc, out, e);
done:
    json_decref(doc);
    return rc;
}

const struct form form_ollama = {
    .name = "ollama",
    .chat = "/api/chat",
    .cuts = true,
    .write = ollama_write,
    .read = ollama_read,
};
