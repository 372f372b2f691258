/* GET /, /health, /ready, /openapi.json, /props. */
#include "status.h"

#include <string.h>

#include "chat.h"
#include "log.h"
#include "mem.h"
#include "task.h"
#include "tokenizer.h"
#include "webpage.h"

const char serve_version[] = MAS_VERSION;

void root_get(struct call *c)
{
    static const char text[] = "Ollama is running: its API and others are answered by mas; "
                               "/openapi.json lists all paths. For research only, not for care.\n";
    const char *accept = http_header(c->http, "accept");
    struct str s = STR_INIT;
    if (accept && strstr(accept, "text/html")) {
        page_reply(c);
        return;
    }
    str_adds(&s, text);
    call_reply_type(c, 200, "text/plain; charset=utf-8", &s);
}

void health_get(struct call *c)
{
    struct str s = STR_INIT;
    str_adds(&s, "{\"status\": \"ok\"}\n");
    call_reply(c, 200, &s);
}

void ready_get(struct call *c)
{
    const char *why = serve_unready(c->s);
    struct str s = STR_INIT;
    if (why) {
        call_fail(c, 503, NULL, "%s", why);
        return;
    }
    str_adds(&s, "{\"status\": \"ready\"}\n");
    call_reply(c, 200, &s);
}

void openapi_get(struct call *c)
{
    struct str s = STR_INIT;
    route_openapi(&s);
    call_reply(c, 200, &s);
}

/* ---- a model's file -------------------------------------------------------------------------- */

int status_gguf(struct serve *s, int index, struct gguf **out, struct err *e)
{
    struct hub_entry *m = mem_zalloc(1, sizeof *m);
    if (!m)
        return NOMEM(e, sizeof *m, "a model's name");
    hub_entry(s->hub, index, m);
    int rc = source_open_from(m->path, hub_engine_options(s->hub)->places, out, e);
    if (rc < 0 && rc != ERR_NOMEM) { /* the cause has a path: it is for the log alone */
        log_info("model %s: %s", m->name, e->msg);
        rc = err_set(e, ERR_NOINPUT, "the file of model '%s' cannot be read; the log says why",
                     m->name);
    }
    mem_free(m);
    return rc;
}

void status_template(const struct gguf *g, struct str *out)
{
    struct gguf_str text;
    if (gguf_find(g, CHAT_KEY) && gguf_get_str(g, CHAT_KEY, &text, NULL) == 0)
        str_add_json(out, text.s, text.len);
    else
        str_adds(out, "null");
}

void status_token(const struct tokenizer *t, int32_t id, struct str *out)
{
    const char *text;
    size_t n;
    if (id < 0 || id >= tokenizer_n_vocab(t)) {
        str_adds(out, "null");
        return;
    }
    tokenizer_text(t, id, &text, &n);
    str_add_json(out, text, n);
}

/* ---- GET /props ------------------------------------------------------------------------------ */

static void props_json(struct task *t, const struct gguf *g, struct str *out)
{
    const struct engine_info *info = t->m->info;
    const struct chat_thinking *think = chat_thinking(info->chat);
    str_addf(out, "{\"default_generation_settings\": {\"n_ctx\": %d}, \"total_slots\": %d, ",
             info->n_ctx, info->n_seq);
    str_adds(out, "\"model_alias\": ");
    str_add_json(out, t->m->name, strlen(t->m->name));
    str_adds(out, ", \"model\": ");
    str_add_json(out, t->m->name, strlen(t->m->name));
    str_addf(out, ", \"n_ctx\": %d, \"n_vocab\": %d, \"architecture\": ", info->n_ctx,
             info->n_vocab);
    str_add_json(out, info->arch, strlen(info->arch));
    str_adds(out, ", \"chat_template\": ");
    status_template(g, out);
    str_adds(out, ", \"chat_template_name\": ");
    str_add_json(out, chat_name(info->chat), strlen(chat_name(info->chat)));
    str_addf(out, ", \"thinks\": %s, \"bos_token\": ", think ? "true" : "false");
    status_token(t->m->tok, tokenizer_bos(t->m->tok), out);
    str_adds(out, ", \"eos_token\": ");
    status_token(t->m->tok, tokenizer_eos(t->m->tok), out);
    str_addf(out, ", \"backend\": \"%s\", \"device\": ", info->backend);
    str_add_json(out, info->device, strlen(info->device));
    str_addf(out,
             ", \"modalities\": {\"vision\": false, \"audio\": false}, \"build_info\": "
             "\"mas %s (%s)\"}\n",
             serve_version, MAS_COMMIT);
}

static void props_ready(struct task *t)
{
    struct str out = STR_INIT;
    struct gguf *g = NULL;
    struct err e = {0};
    if (status_gguf(t->s, t->wait.index, &g, &e) < 0) {
        task_fail_err(t, NULL, &e);
        return;
    }
    props_json(t, g, &out);
    gguf_close(g);
    task_reply(t, &out);
}

void props_get(struct call *c)
{
    task_start(c, http_query(c->http, "model"), 0, -1, props_ready, NULL);
}
