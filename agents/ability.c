#include "ability.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "llm.h"
#include "mem.h"
#include "schema_fit.h"

#define SHORT_TOKENS 16
#define SCHEMA_TOKENS 96 /* some servers let the model write white space */
#define NAMES 300        /* bytes of a list of models in a message */

struct probe {
    const struct remote *r;
    const struct form *f;
    struct ability *a;
};

/* ---- the model ------------------------------------------------------------------------------- */

/* A refusal that no other request would escape. */
static int probe_refused(const struct probe *p, const struct wire_job *j, struct err *e)
{
    struct err why = {.code = 0};
    (void)remote_judge(p->r, j, &why);
    FAIL(e, ERR_CONFIG, "%s", why.msg);
}

static int probe_absent(const struct probe *p, const struct str *names, struct err *e)
{
    FAIL(e, ERR_CONFIG, "%s has no model '%.80s'; it has: %.*s%s", p->r->base.s, p->a->server.model,
         NAMES, names->len ? names->s : "none", names->len > NAMES ? ".." : "");
}

static int smaller(int a, int b)
{
    return a && (!b || a < b) ? a : b;
}

/* The entry of the model in a list of objects; by key, or by the other key. */
static int probe_find(const struct probe *p, const json_t *list, const char *key,
                      const json_t **out, struct err *e)
{
    struct str names = STR_INIT;
    const char *model = p->a->server.model;
    int rc = 0;
    *out = NULL;
    for (size_t i = 0; i < json_array_size(list) && !*out; i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(item, key));
        size_t n = strlen(model);
        if (!name)
            continue;
        /* Ollama: a name without a tag is that of the tag "latest" */
        if (!strcmp(name, model) || (!strncmp(name, model, n) && !strcmp(name + n, ":latest")))
            *out = item;
        str_addf(&names, "%s%s", names.len ? ", " : "", name);
    }
    if (!*out)
        rc = probe_absent(p, &names, e);
    str_free(&names);
    return rc;
}

/* GET path as a document. *doc NULL: the server does not have the path. */
static int probe_get(const struct probe *p, bool root, const char *path, json_t **doc,
                     struct err *e)
{
    struct wire_job j;
    struct err ignored;
    int rc = remote_ask(p->r, root, path, NULL, &j, e);
    *doc = NULL;
    if (rc == 0 && (j.status == 401 || j.status == 403 || (j.status >= 300 && j.status < 400)))
        rc = probe_refused(p, &j, e);
    if (rc == 0 && j.status == 200 && jdoc_load(j.reply.s, j.reply.len, doc, &ignored) < 0)
        *doc = NULL;
    if (rc == 0 || j.reply.s)
        wire_job_free(&j);
    return rc;
}

static int probe_models(const struct probe *p, struct err *e)
{
    struct ability *a = p->a;
    json_t *doc = NULL;
    const json_t *item = NULL;
    int rc;
    TRY_DONE(probe_get(p, false, "/models", &doc, e));
    const json_t *list = json_object_get(doc, "data");
    if (!json_is_array(list)) /* not every service lists its models */
        goto done;
    TRY_DONE(probe_find(p, list, "id", &item, e));
    form_copy(item, "owned_by", a->owner);
    a->n_ctx = smaller(form_count(item, "max_model_len"), a->n_ctx);
    a->n_ctx = smaller(form_count(json_object_get(item, "meta"), "n_ctx"), a->n_ctx);
done:
    json_decref(doc);
    return rc;
}

/* The version, where a server tells it: /version of vLLM, /props of llama-server. */
static int probe_version(const struct probe *p, struct err *e)
{
    struct ability *a = p->a;
    json_t *doc = NULL;
    TRY(probe_get(p, true, "/version", &doc, e));
    form_copy(doc, "version", a->version);
    json_decref(doc);
    TRY(probe_get(p, true, "/props", &doc, e));
    if (!a->version[0])
        form_copy(doc, "build_info", a->version);
    a->n_ctx =
        smaller(form_count(json_object_get(doc, "default_generation_settings"), "n_ctx"), a->n_ctx);
    json_decref(doc);
    return 0;
}

static bool has_string(const json_t *list, const char *s)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *v = json_string_value(json_array_get(list, i));
        if (v && !strcmp(v, s))
            return true;
    }
    return false;
}

/* The context that the model was made for: model_info has it under the architecture's name. */
static void probe_ollama_info(struct ability *a, json_t *doc)
{
    const char *key;
    json_t *v, *info = json_object_get(doc, "model_info");
    a->server.thinks = has_string(json_object_get(doc, "capabilities"), "thinking");
    json_object_foreach(info, key, v)
    {
        const char *dot = strrchr(key, '.');
        if (dot && !strcmp(dot, ".context_length"))
            a->n_ctx = form_count(info, key);
    }
}

static int probe_ollama(const struct probe *p, struct err *e)
{
    struct ability *a = p->a;
    struct wire_job j = {.reply = STR_INIT};
    struct str body = STR_INIT;
    struct err ignored;
    json_t *doc = NULL;
    const json_t *item = NULL;
    int rc;
    TRY_DONE(probe_get(p, false, "/api/version", &doc, e));
    if (!doc)
        TRY_DONE(err_set(e, ERR_CONFIG, "%s has no /api/version: it is no server of Ollama",
                         p->r->base.s));
    form_copy(doc, "version", a->version);
    json_decref(doc);
    TRY_DONE(probe_get(p, false, "/api/tags", &doc, e));
    TRY_DONE(probe_find(p, json_object_get(doc, "models"), "name", &item, e));
    form_copy(item, "digest", a->digest);
    json_decref(doc);
    doc = NULL;
    str_adds(&body, "{\"model\": ");
    str_add_json(&body, a->server.model, strlen(a->server.model));
    str_addc(&body, '}');
    TRY_DONE(str_ok(&body, "a request", e));
    TRY_DONE(remote_ask(p->r, false, "/api/show", &body, &j, e));
    if (j.status != 200)
        TRY_DONE(probe_refused(p, &j, e));
    if (jdoc_load(j.reply.s, j.reply.len, &doc, &ignored) == 0)
        probe_ollama_info(a, doc);
done:
    wire_job_free(&j);
    str_free(&body);
    json_decref(doc);
    return rc;
}

/* ---- short chats ----------------------------------------------------------------------------- */

static struct form_chat chat_of(const char *system, const char *user, int tokens)
{
    return (struct form_chat){.system = system,
                              .system_len = strlen(system),
                              .user = user,
                              .user_len = strlen(user),
                              .max_tokens = tokens,
                              .top_p = 1,
                              .seed = 7};
}

/* *status: of the reply; 200 = out holds it. */
static int probe_chat(const struct probe *p, const struct form_chat *c, long *status,
                      struct form_reply *out, struct err *e)
{
    struct str body = STR_INIT;
    struct wire_job j = {.reply = STR_INIT};
    int rc;
    p->f->write(&p->a->server, c, &body);
    TRY_DONE(str_ok(&body, "a request", e));
    TRY_DONE(remote_ask(p->r, false, p->f->chat, &body, &j, e));
    *status = j.status;
    if (j.status == 400 || j.status == 422 || j.status == 501)
        goto done;
    if (j.status != 200)
        TRY_DONE(probe_refused(p, &j, e));
    rc = p->f->read(j.reply.s, j.reply.len, out, e);
    if (rc == ERR_DATA) {
        const bool page = j.reply.len && j.reply.s[strspn(j.reply.s, " \t\r\n")] == '<';
        err_wrap(e, rc, "%s%s: this is no reply of provider %s%s", p->r->base.s, p->f->chat,
                 p->f->name, page ? ", but a page of HTML; check remote.base_url" : "");
        rc = ERR_CONFIG;
        if (e)
            e->code = rc;
    }
done:
    wire_job_free(&j);
    str_free(&body);
    return rc;
}

static struct form_chat short_chat(void)
{
    return chat_of("You are brief.", "Reply with the word ready.", SHORT_TOKENS);
}

void ability_short(const struct ability *a, const struct form *f, struct str *out)
{
    const struct form_chat c = short_chat();
    f->write(&a->server, &c, out);
}

/* The first chat: finds the names of the limit and of the sampling options that the server
 * takes. */
static int probe_first(const struct probe *p, struct err *e)
{
    struct ability *a = p->a;
    const struct form_chat c = short_chat();
    struct form_reply reply = FORM_REPLY_INIT;
    long status = 0;
    int rc = 0;
    for (int i = 0; i < 6 && status != 200; i++) {
        form_reply_free(&reply);
        a->server.sampling = (enum form_sampling)(i % 3);
        a->server.completion_tokens = i >= 3;
        TRY_DONE(probe_chat(p, &c, &status, &reply, e));
    }
    if (status != 200)
        TRY_DONE(
            err_set(e, ERR_CONFIG,
                    "%s%s answers %ld to every form of a request; check that remote.base_url is "
                    "an API of provider %s, and see the server's log",
                    p->r->base.s, p->f->chat, status, p->f->name));
    a->counts = reply.counted;
    a->server.thinks = a->server.thinks || reply.think.len;
    snprintf(a->served, sizeof a->served, "%s", reply.model);
    snprintf(a->fingerprint, sizeof a->fingerprint, "%s", reply.fingerprint);
done:
    form_reply_free(&reply);
    return rc;
}

static int probe_logprobs(const struct probe *p, struct err *e)
{
    const struct form_chat c = short_chat();
    struct form_reply reply = FORM_REPLY_INIT;
    long status = 0;
    p->a->server.logprobs = true;
    int rc = probe_chat(p, &c, &status, &reply, e);
    p->a->server.logprobs = rc == 0 && status == 200 && !isnan(reply.mean_lp);
    p->a->can |= p->a->server.logprobs ? LLM_CAN_LOGPROBS : 0u;
    form_reply_free(&reply);
    return rc;
}

static int probe_seed(const struct probe *p, struct err *e)
{
    struct form_chat c =
        chat_of("", "Write one short sentence about a walk in the rain.", 2 * SHORT_TOKENS);
    struct form_reply reply[2] = {FORM_REPLY_INIT, FORM_REPLY_INIT};
    long status[2] = {0, 0};
    int rc = 0;
    c.temperature = 1;
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = probe_chat(p, &c, &status[i], &reply[i], e);
    if (rc == 0 && status[0] == 200 && status[1] == 200 && reply[0].text.len &&
        reply[0].text.len == reply[1].text.len &&
        !memcmp(reply[0].text.s, reply[1].text.s, reply[0].text.len))
        p->a->can |= LLM_CAN_SEED;
    form_reply_free(&reply[0]);
    form_reply_free(&reply[1]);
    return rc;
}

/* ---- schemas --------------------------------------------------------------------------------- */

/* The prompt asks for another value and for another form than the schema has. */
static const char odd_schema[] =
    "{\"type\":\"object\",\"properties\":{\"word\":{\"type\":\"string\",\"enum\":[\"zqxvy\"]}},"
    "\"required\":[\"word\"],\"additionalProperties\":false}";

static int probe_schema_kind(const struct probe *p, enum form_schema kind, bool *obeys,
                             struct err *e)
{
    struct form_chat c =
        chat_of("You are brief.", "Write the word hello, and no other word.", SCHEMA_TOKENS);
    struct form_reply reply = FORM_REPLY_INIT;
    struct schema_fit *fit = NULL;
    struct err ignored;
    long status = 0;
    int rc;
    *obeys = false;
    c.schema = odd_schema;
    p->a->server.schema = kind;
    TRY_DONE(schema_fit_open(odd_schema, sizeof odd_schema - 1, "probe", &fit, e));
    TRY_DONE(probe_chat(p, &c, &status, &reply, e));
    *obeys = status == 200 && schema_fit_check(fit, reply.text.s, reply.text.len, &ignored) == 0;
done:
    schema_fit_close(fit);
    form_reply_free(&reply);
    return rc;
}

static int probe_schema(const struct probe *p, struct err *e)
{
    static const enum form_schema of_openai[] = {FORM_JSON_SCHEMA, FORM_GUIDED_JSON,
                                                 FORM_TEXT_ONLY};
    static const enum form_schema of_ollama[] = {FORM_FORMAT, FORM_TEXT_ONLY};
    bool obeys = false;
    for (const enum form_schema *k = p->f->cuts ? of_ollama : of_openai;
         !obeys && *k != FORM_TEXT_ONLY; k++)
        TRY(probe_schema_kind(p, *k, &obeys, e));
    if (!obeys)
        p->a->server.schema = FORM_TEXT_ONLY;
    p->a->can |= LLM_CAN_SCHEMA;
    return 0;
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Asks for scores with or without BOS. *status: of the reply; *scores: it has them. */
static int probe_echo_of(const struct probe *p, bool no_bos, long *status, bool *scores,
                         struct err *e)
{
    static const char *const option[] = {" blue", " of stone"};
    static const size_t len[] = {5, 9};
    const struct form_score c = {.prompt = "The sky is",
                                 .prompt_len = 10,
                                 .option = option,
                                 .option_len = len,
                                 .n = 2,
                                 .no_bos = no_bos};
    struct form_reply reply = FORM_REPLY_INIT;
    struct wire_job j = {.reply = STR_INIT};
    struct str body = STR_INIT;
    struct err ignored;
    struct llm_token *token = NULL;
    double lp[2];
    int tokens[2], n_token, rc = 0;
    p->f->write_score(&p->a->server, &c, &body);
    TRY_DONE(str_ok(&body, "a request", e));
    TRY_DONE(remote_ask(p->r, false, p->f->complete, &body, &j, e));
    *status = j.status;
    *scores = j.status == 200 &&
              p->f->read_score(&c, j.reply.s, j.reply.len, lp, tokens, &reply, &ignored) == 0;
    if (*scores &&
        p->f->read_prompt(&c, j.reply.s, j.reply.len, &token, &n_token, &reply, &ignored) == 0)
        p->a->can |= LLM_CAN_PROMPT;
done:
    mem_free(token);
    form_reply_free(&reply);
    wire_job_free(&j);
    str_free(&body);
    return rc;
}

/* Scores continue a plain text: the server's chat template cannot be put before it. */
static int probe_echo(const struct probe *p, struct err *e)
{
    long status = 0;
    bool scores = false;
    if (!p->f->complete)
        return 0;
    TRY(probe_echo_of(p, true, &status, &scores, e));
    p->a->server.no_special = scores;
    if (!scores && status != 200) /* perhaps it does not know add_special_tokens */
        TRY(probe_echo_of(p, false, &status, &scores, e));
    p->a->can |= scores ? LLM_CAN_SCORE | LLM_CAN_RAW : 0u;
    return 0;
}

int ability_probe(const struct remote *r, const struct form *f, const char *model, int n_ctx,
                  struct ability *out, struct err *e)
{
    *out = (struct ability){.server = {.model = model, .schema = FORM_TEXT_ONLY}};
    struct probe p = {r, f, out};
    if (f->cuts) {
        TRY(probe_ollama(&p, e));
    } else {
        TRY(probe_models(&p, e));
        TRY(probe_version(&p, e));
    }
    out->n_ctx = smaller(n_ctx, out->n_ctx);
    out->server.n_ctx = out->n_ctx;
    TRY(probe_first(&p, e));
    TRY(probe_logprobs(&p, e));
    TRY(probe_seed(&p, e));
    TRY(probe_schema(&p, e));
    return probe_echo(&p, e);
}

static void ability_part(struct str *out, const char *head, const char *text)
{
    if (*text)
        str_addf(out, "; %s %s", head, text);
}

void ability_text(const struct ability *a, const struct remote *r, struct str *out)
{
    static const char *const sampling[] = {"yes", "yes", "not taken"};
    str_adds(out, r->base.s);
    ability_part(out, "owner", a->owner);
    ability_part(out, "version", a->version);
    ability_part(out, "model", a->served);
    ability_part(out, "digest", a->digest);
    ability_part(out, "fingerprint", a->fingerprint);
    str_addf(out, "; schemas: %s", form_schema_name(a->server.schema));
    if (a->server.schema == FORM_TEXT_ONLY)
        str_adds(out, " (in the prompt, one repair)");
    str_addf(out,
             "; log-probabilities: %s; seeds: %s; echo: %s; token counts: %s; top_k and min_p: %s; "
             "determinism is the server's",
             a->can & LLM_CAN_LOGPROBS ? "yes" : "no", a->can & LLM_CAN_SEED ? "yes" : "no",
             !(a->can & LLM_CAN_SCORE) ? "no"
             : a->server.no_special    ? "yes, BOS by request"
                                       : "yes",
             a->counts ? "yes" : "no", sampling[a->server.sampling]);
}
