/* The state of a call's replies: sampling, stream, usage, ends. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "clock.h"
#include "jdoc.h"
#include "openai.h"

/* ---- members that every path has ------------------------------------------------------------- */

static int check_stop(const json_t *stop, struct err *e)
{
    size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (!stop)
        return 0;
    if (n > GEN_STOPS)
        FAIL(e, ERR_DATA, "'stop' has %zu texts, the limit is %d", n, GEN_STOPS);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_array(stop) ? json_array_get(stop, i) : stop;
        if (!json_is_string(s))
            FAIL(e, ERR_DATA, "'stop' is or has %s, expected a text or a list of texts",
                 jdoc_type_name(json_typeof(s)));
        if (!json_string_length(s) || json_string_length(s) > GEN_STOP_MOST)
            FAIL(e, ERR_DATA, "'stop' has a text of %zu bytes, expected 1 to %d",
                 json_string_length(s), GEN_STOP_MOST);
    }
    return 0;
}

bool openai_stops(const struct openai_draw *d)
{
    return json_is_string(d->stop) || json_array_size(d->stop) > 0;
}

static int check_bias(json_t *bias, struct err *e)
{
    const char *key;
    json_t *v;
    if (json_object_size(bias) > REQUEST_BIAS_MOST)
        FAIL(e, ERR_DATA, "'logit_bias' has %zu tokens, the limit is %d", json_object_size(bias),
             REQUEST_BIAS_MOST);
    json_object_foreach(bias, key, v)
    {
        int64_t id;
        double x = json_number_value(v);
        if (!str_to_i64(key, 0, INT32_MAX, &id))
            FAIL(e, ERR_DATA, "'logit_bias' has the key '%.40s', expected the id of a token", key);
        if (!json_is_number(v) || !(x >= -100 && x <= 100))
            FAIL(e, ERR_DATA, "'logit_bias' of token %s is no number from -100 to 100", key);
    }
    return 0;
}

static int check_stream(const struct openai_draw *d, struct err *e)
{
    const char *key;
    json_t *v;
    if (d->stream_options && !d->stream)
        FAIL(e, ERR_DATA, "'stream_options' needs \"stream\": true");
    json_object_foreach(d->stream_options, key, v)
    {
        if (strcmp(key, "include_usage") != 0 && strcmp(key, "include_obfuscation") != 0)
            FAIL(e, ERR_DATA,
                 "unknown member 'stream_options.%.40s'; there are include_usage and "
                 "include_obfuscation",
                 key);
        if (!json_is_boolean(v) && !json_is_null(v))
            FAIL(e, ERR_DATA, "'stream_options.%s' is %s, expected true or false", key,
                 jdoc_type_name(json_typeof(v)));
    }
    return 0;
}

int openai_check(const struct openai_draw *d, const char **param, struct err *e)
{
    *param = "stop";
    TRY(check_stop(d->stop, e));
    *param = "logit_bias";
    TRY(check_bias(d->logit_bias, e));
    *param = "stream_options";
    TRY(check_stream(d, e));
    *param = NULL;
    return 0;
}

static int reply_bias(struct openai_reply *r, const struct tokenizer *tok, struct err *e)
{
    json_t *bias = r->draw->logit_bias, *v;
    const char *key;
    size_t n = json_object_size(bias), at = 0;
    if (!n)
        return 0;
    r->bias = mem_zalloc(n, sizeof *r->bias);
    if (!r->bias)
        return NOMEM(e, n * sizeof *r->bias, "biases");
    json_object_foreach(bias, key, v)
    {
        int64_t id = 0;
        str_to_i64(key, 0, INT32_MAX, &id);
        if (id >= tokenizer_n_vocab(tok))
            FAIL(e, ERR_DATA, "'logit_bias' has token %lld; the vocabulary has 0 to %d",
                 (long long)id, tokenizer_n_vocab(tok) - 1);
        r->bias[at++] = (struct token_bias){(int32_t)id, (float)json_number_value(v)};
    }
    return 0;
}

static int reply_draw(struct openai_reply *r, struct gen *g, int stream, uint64_t seed,
                      struct err *e)
{
    const struct openai_draw *d = r->draw;
    struct request *q = &g->r;
    q->id = (uint64_t)stream + 1; /* the first reply is that of `mas generate` */
    q->seed = seed;
    q->temperature = (float)d->temperature;
    q->top_p = d->top_p > 0 ? (float)d->top_p : 1;
    q->top_k = d->top_p > 0 ? d->top_k > 0 ? (int)d->top_k : 0 : 1;
    q->min_p = (float)d->min_p;
    q->presence_penalty = (float)d->presence_penalty;
    q->frequency_penalty = (float)d->frequency_penalty;
    q->ignore_eos = d->ignore_eos;
    q->bias = r->bias;
    q->n_bias = (int)json_object_size(d->logit_bias);
    size_t n = json_is_array(d->stop) ? json_array_size(d->stop) : d->stop ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_array(d->stop) ? json_array_get(d->stop, i) : d->stop;
        TRY(gen_add_stop(g, json_string_value(s), json_string_length(s), e));
    }
    return 0;
}

/* Says by which program and model a reply was made: equal ones give equal replies. */
static void fingerprint(const struct hub_model *m, char out[24])
{
    const struct engine_info *in = m->info;
    char text[1024];
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    snprintf(text, sizeof text, "%s|%s|%s|%llu|%llu|%s|%s|%s|%d", MAS_COMMIT, in->arch, in->name,
             (unsigned long long)in->model_bytes, (unsigned long long)in->n_params,
             in->model_sha256, in->backend, chat_name(in->chat), (int)in->kv_fmt);
    for (const char *s = text; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    snprintf(out, 24, "fp_%016llx", (unsigned long long)h);
}

int openai_reply_new(struct task *t, const struct openai_draw *d, const char *prefix, int n,
                     int n_each, struct openai_reply **out, const char **param, struct err *e)
{
    struct openai_reply *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return NOMEM(e, sizeof *r, "a reply");
    r->gen = mem_zalloc((size_t)n, sizeof *r->gen);
    if (!r->gen) {
        mem_free(r);
        return NOMEM(e, (size_t)n * sizeof *r->gen, "replies");
    }
    r->c = t->c;
    r->draw = d;
    r->n = n;
    r->n_each = n_each;
    r->head = r->line = (struct str)STR_INIT;
    r->created = (int64_t)time(NULL);
    r->usage = json_is_true(json_object_get(d->stream_options, "include_usage"));
    snprintf(r->id, sizeof r->id, "%s%08llx%08llx%06llx", prefix,
             (unsigned long long)r->created & 0xffffffff,
             (unsigned long long)clock_ns() & 0xffffffff,
             (unsigned long long)http_id(t->c->http) & 0xffffff);
    fingerprint(t->m, r->fingerprint);
    uint64_t seed = serve_seed(t->c, d->seed);
    for (int i = 0; i < n; i++)
        gen_init(&r->gen[i], t->m, t->s->work);
    int rc = reply_bias(r, t->m->tok, e);
    const char *fault = rc < 0 ? "logit_bias" : "stop";
    for (int i = 0; i < n && rc == 0; i++)
        rc = reply_draw(r, &r->gen[i], i % n_each, seed, e);
    if (rc < 0) {
        *param = fault;
        openai_reply_free(r);
        return rc;
    }
    t->user = r;
    t->gen = r->gen;
    t->n_gen = n;
    *out = r;
    return 0;
}

void openai_reply_free(struct openai_reply *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n; i++)
        gen_free(&r->gen[i]);
    mem_free(r->gen);
    mem_free(r->bias);
    mem_free(r->scratch);
    grammar_free(r->grammar);
    str_free(&r->head);
    str_free(&r->line);
    mem_free(r);
}

int openai_copy(struct gen *gen, int n_each, struct err *e)
{
    for (int k = 1; k < n_each; k++) {
        for (size_t i = 0; i < gen->prompt.n; i++)
            TRY(token_list_push(&gen[k].prompt, gen->prompt.id[i], e));
        if (gen->r.think.max)
            TRY(gen_think(&gen[k], gen->r.think.max, e));
        gen[k].r.max_new = gen->r.max_new;
        gen[k].continues = gen->continues;
    }
    return 0;
}

/* ---- forms ----------------------------------------------------------------------------------- */

void openai_about(const struct openai_reply *r, const char *object, struct str *out)
{
    const char *model = r->gen->m->name;
    str_addf(out, "\"id\": \"%s\", \"object\": \"%s\", \"created\": %lld, \"model\": ", r->id,
             object, (long long)r->created);
    str_add_json(out, model, strlen(model));
    str_addf(out, ", \"system_fingerprint\": \"%s\"", r->fingerprint);
}

void openai_usage(const struct openai_reply *r, struct str *out)
{
    long long prompt = 0, cached = 0, reply = 0, thought = 0;
    for (int i = 0; i < r->n; i++) {
        const struct gen *g = &r->gen[i];
        bool first = i % r->n_each == 0; /* of a prompt's replies: the prompt counts once */
        prompt += first ? g->r.n_prompt : 0;
        cached += first ? g->r.n_cached : 0;
        thought += g->r.n_think;
        reply += g->r.n_think + g->n_text;
    }
    str_addf(out,
             "\"usage\": {\"prompt_tokens\": %lld, \"completion_tokens\": %lld, \"total_tokens\": "
             "%lld, \"prompt_tokens_details\": {\"cached_tokens\": %lld}, "
             "\"completion_tokens_details\": {\"reasoning_tokens\": %lld}}",
             prompt, reply, prompt + reply, cached, thought);
}

/* ---- the stream ------------------------------------------------------------------------------ */

void openai_stream_begin(struct openai_reply *r, const char *object)
{
    str_adds(&r->head, "data: {");
    openai_about(r, object, &r->head);
    if (r->usage)
        str_adds(&r->head, ", \"usage\": null");
    str_adds(&r->head, ", \"choices\": [");
    r->begun = true;
    http_begin(r->c->http, 200, "text/event-stream", ": \n\n");
}

void openai_send(struct openai_reply *r)
{
    r->line.failed |= r->head.failed;
    http_write_str(r->c->http, &r->line);
}

const struct err *openai_failed(const struct openai_reply *r)
{
    for (int i = 0; i < r->n; i++)
        if (r->gen[i].finish == GEN_ERROR)
            return &r->gen[i].r.err;
    static const struct err stopped = {ERR_CANCEL, "the server stopped this reply"};
    for (int i = 0; i < r->n; i++)
        if (r->gen[i].finish == GEN_CANCEL)
            return &stopped;
    return NULL;
}

void openai_fail(struct task *t, struct openai_reply *r, const char *param, const struct err *e)
{
    if (!r || !r->begun) {
        struct err why = *e; /* it may lie in r */
        openai_reply_free(r);
        task_fail_err(t, param, &why);
        return;
    }
    str_clear(&r->line);
    str_adds(&r->line, "data: ");
    call_error_json(API_OPENAI, call_status(e), param,
                    call_status(e) == 500 ? "the server failed; its log says why" : e->msg,
                    &r->line);
    str_adds(&r->line, "\n");
    openai_send(r);
    http_forget(t->c->http);
    http_end(t->c->http, false);
    call_free(t->c);
    openai_reply_free(r);
    task_end(t);
}

void openai_stream_end(struct task *t, struct openai_reply *r)
{
    if (r->usage) {
        /* the head has "usage": null before its choices */
        size_t null = strlen(", \"usage\": null, \"choices\": [");
        str_add(&r->line, r->head.s, r->head.len - null);
        str_adds(&r->line, ", \"choices\": [], ");
        openai_usage(r, &r->line);
        str_adds(&r->line, "}\n\n");
    }
    str_adds(&r->line, "data: [DONE]\n\n");
    openai_send(r);
    http_end(t->c->http, false);
    call_free(t->c);
    openai_reply_free(r);
    task_end(t);
}
