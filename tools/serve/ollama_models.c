/* GET /api/version, /api/tags, /api/ps; POST /api/show; the paths that this server refuses. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "chat.h"
#include "clock.h"
#include "mem.h"
#include "mixture.h"
#include "ollama.h"
#include "sha256.h"
#include "status.h"
#include "tokenizer.h"

struct show_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_name.def"
#undef X
};
static const struct field_row show_rows[] = {
#define X(...) FIELD_ROW(struct show_args, __VA_ARGS__)
#include "ollama_name.def"
#undef X
};
const struct field_set ollama_show_fields = {"OllamaShowRequest", show_rows,
                                             sizeof show_rows / sizeof show_rows[0],
                                             sizeof(struct show_args)};

void ollama_version_get(struct call *c)
{
    struct str out = STR_INIT;
    str_addf(&out, "{\"version\": \"%s\"}\n", serve_version);
    call_reply(c, 200, &out);
}

/* ---- details of a file ----------------------------------------------------------------------- */

/* 134515008 -> "134.52M" */
static void add_size(double n, struct str *out)
{
    if (n >= 1e9)
        str_addf(out, "%.1fB", n / 1e9);
    else if (n >= 1e6)
        str_addf(out, "%.2fM", n / 1e6);
    else
        str_addf(out, "%.2fK", n / 1e3);
}

static double parameters(const struct gguf *g)
{
    double n = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct tensor *t = &gguf_tensor_at(g, i)->t;
        double product = 1;
        for (int d = 0; d < t->n_dim; d++)
            product *= (double)t->dim[d];
        n += product;
    }
    return n;
}

static void add_text(const struct gguf *g, const char *key, struct str *out)
{
    struct gguf_str s;
    if (gguf_find(g, key) && gguf_get_str(g, key, &s, NULL) == 0)
        str_add_json(out, s.s, s.len);
    else
        str_adds(out, "\"\"");
}

/* g NULL: nothing is known. */
static void details_json(const struct gguf *g, struct str *out)
{
    int64_t type = -1;
    enum mixture mix;
    str_adds(out, "{\"parent_model\": \"\", \"format\": \"gguf\", \"family\": ");
    if (g) {
        add_text(g, "general.architecture", out);
        str_adds(out, ", \"families\": [");
        add_text(g, "general.architecture", out);
        str_adds(out, "], \"parameter_size\": \"");
        add_size(parameters(g), out);
        (void)gguf_get_int_or(g, "general.file_type", 0, UINT32_MAX, -1, &type, NULL);
        str_addf(out, "\", \"quantization_level\": \"%s\"}",
                 type >= 0 && mixture_from_file_type((uint32_t)type, &mix) ? mixture_name(mix)
                                                                           : "unknown");
    } else {
        str_adds(out, "\"\", \"families\": [], \"parameter_size\": \"\", \"quantization_level\": "
                      "\"unknown\"}");
    }
}

/* Clients show the beginning of a digest, and compare it. This one changes with the file's name,
 * length and time; it is not the hash of all its bytes. */
static void digest(const struct hub_entry *m, struct str *out)
{
    char text[256], hex[65];
    snprintf(text, sizeof text, "%s %" PRIu64 " %lld", m->name, m->bytes, (long long)m->modified);
    struct err e;
    if (sha256_hex(text, strlen(text), hex, &e) == 0)
        str_addf(out, "\"%s\"", hex);
    else
        out->failed = true;
}

/* "name": .., "model": .., "size": .., "digest": .., "details": {..} */
static void about_json(struct serve *s, int index, const struct hub_entry *m, struct str *out)
{
    struct gguf *g = NULL;
    struct err e = {0};
    const char *tag = strchr(m->name, ':') ? "" : ":latest";
    char name[140];
    int n = snprintf(name, sizeof name, "%s%s", m->name, tag);
    if (status_gguf(s, index, &g, &e) == ERR_NOMEM)
        out->failed = true; /* a file that is gone is listed without details */
    str_adds(out, "\"name\": ");
    str_add_json(out, name, (size_t)n);
    str_adds(out, ", \"model\": ");
    str_add_json(out, name, (size_t)n);
    str_addf(out, ", \"size\": %" PRIu64 ", \"digest\": ",
             m->bytes ? m->bytes
             : g      ? gguf_file_bytes(g)
                      : 0);
    digest(m, out);
    str_adds(out, ", \"details\": ");
    details_json(g, out);
    gguf_close(g);
}

static void modified(const struct serve *s, const struct hub_entry *m, struct str *out)
{
    ollama_time(m->modified ? m->modified : s->unix_start, 0, out);
}

static struct hub_entry *entry_of(struct call *c)
{
    struct hub_entry *m = mem_zalloc(1, sizeof *m);
    if (!m)
        call_fail(c, 503, NULL, "out of memory; try again later");
    return m;
}

void ollama_tags_get(struct call *c)
{
    struct str out = STR_INIT;
    struct hub_entry *m = entry_of(c);
    if (!m)
        return;
    str_adds(&out, "{\"models\": [");
    for (int i = 0; i < hub_count(c->s->hub); i++) {
        hub_entry(c->s->hub, i, m);
        str_adds(&out, i ? ", {" : "{");
        about_json(c->s, i, m, &out);
        str_adds(&out, ", \"modified_at\": ");
        modified(c->s, m, &out);
        str_adds(&out, "}");
    }
    str_adds(&out, "]}\n");
    mem_free(m);
    call_reply(c, 200, &out);
}

/* ---- GET /api/ps ----------------------------------------------------------------------------- */

/* Memory of a resident model; of the part on a device. */
static void memory_json(const struct engine_info *info, struct str *out)
{
    const struct plan *p = info->plan;
    uint64_t device = p->vram_weight_bytes + p->ring_bytes;
    uint64_t work = p->kv_bytes + p->workspace_bytes;
    bool on_device = device > 0;
    str_addf(out, ", \"size\": %" PRIu64 ", \"size_vram\": %" PRIu64 ", \"context_length\": %d",
             p->weight_bytes + work + p->ring_bytes, on_device ? device + work : 0, info->n_ctx);
}

static void running_json(struct serve *s, int index, const struct hub_entry *m,
                         const struct engine_info *info, struct str *out)
{
    struct str about = STR_INIT;
    about_json(s, index, m, &about);
    /* the size here is that in memory: cut the file's out */
    const char *size = about.failed ? NULL : strstr(about.s, ", \"size\": ");
    const char *rest = size ? strstr(size, ", \"digest\": ") : NULL;
    if (rest) {
        str_add(out, about.s, (size_t)(size - about.s));
        memory_json(info, out);
        str_adds(out, rest);
    } else {
        out->failed = true;
    }
    str_free(&about);
    str_adds(out, ", \"expires_at\": ");
    if (m->ends_ms < 0) {
        ollama_time(253402300799, 0, out); /* the last second of the year 9999 */
        return;
    }
    ollama_time(s->unix_start + (clock_ns() - s->t_start) / 1000000000 + m->ends_ms / 1000,
                m->ends_ms % 1000 * 1000000, out);
}

void ollama_ps_get(struct call *c)
{
    struct str out = STR_INIT;
    struct hub_entry *m = entry_of(c);
    int n = 0;
    if (!m)
        return;
    str_adds(&out, "{\"models\": [");
    for (int i = 0; i < hub_count(c->s->hub); i++) {
        hub_entry(c->s->hub, i, m);
        struct hub_model *at = hub_peek(c->s->hub, i);
        if (!at)
            continue;
        str_adds(&out, n++ ? ", {" : "{");
        running_json(c->s, i, m, at->info, &out);
        str_adds(&out, "}");
        hub_unpeek(c->s->hub, at);
    }
    str_adds(&out, "]}\n");
    mem_free(m);
    call_reply(c, 200, &out);
}

/* ---- POST /api/show -------------------------------------------------------------------------- */

static void number_json(const struct gguf_kv *kv, enum gguf_type type, uint64_t i, struct str *out)
{
    double v;
    if (!gguf_number(kv, i, &v) || !isfinite(v))
        str_adds(out, "null");
    else if (type == GGUF_BOOL)
        str_adds(out, v != 0 ? "true" : "false");
    else if (type == GGUF_F32 || type == GGUF_F64)
        str_addf(out, type == GGUF_F32 ? "%.9g" : "%.17g", v);
    else
        str_addf(out, "%.0f", v);
}

static void array_json(const struct gguf_kv *kv, struct str *out)
{
    str_adds(out, "[");
    for (uint64_t i = 0; i < kv->count; i++) {
        str_adds(out, i ? ", " : "");
        if (kv->strings)
            str_add_json(out, kv->strings[i].s, kv->strings[i].len);
        else
            number_json(kv, kv->elem, i, out);
    }
    str_adds(out, "]");
}

static bool is_template(const struct gguf_kv *kv)
{
    size_t n = strlen(CHAT_KEY);
    return kv->key.len >= n && !memcmp(kv->key.s, CHAT_KEY, n);
}

static void info_json(const struct gguf *g, bool verbose, struct str *out)
{
    str_addf(out, "{\"general.parameter_count\": %.0f", parameters(g));
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        static const char count[] = "general.parameter_count";
        if (is_template(kv) ||
            (kv->key.len == sizeof count - 1 && !memcmp(kv->key.s, count, kv->key.len)))
            continue;
        str_adds(out, ", ");
        str_add_json(out, kv->key.s, kv->key.len);
        str_adds(out, ": ");
        if (kv->type == GGUF_ARRAY && !verbose) {
            str_adds(out, "null");
        } else if (kv->type == GGUF_ARRAY) {
            array_json(kv, out);
        } else if (kv->type == GGUF_STRING) {
            uint64_t n; /* the bytes follow their number, which gguf_open has checked */
            memcpy(&n, kv->raw, sizeof n);
            str_add_json(out, (const char *)kv->raw + sizeof n, (size_t)n);
        } else {
            number_json(kv, kv->type, 0, out);
        }
    }
    str_adds(out, "}");
}

/* The defaults of a request's options, as a Modelfile has them. */
static void defaults_json(struct str *out)
{
    struct str text = STR_INIT;
    for (int i = 0; i < ollama_options_fields.n; i++) {
        const struct field_row *r = &ollama_options_fields.row[i];
        if ((r->type == FIELD_INT || r->type == FIELD_NUMBER) && !isnan(r->otherwise))
            str_addf(&text, "%-30s %.9g\n", r->name, r->otherwise);
    }
    str_add_json(out, text.s, text.len ? text.len - 1 : 0);
    out->failed |= text.failed;
    str_free(&text);
}

/* Facts of a chat template: its name, and whether its models think. */
struct template_facts {
    char name[128];
    bool thinks;
};

static void facts_of(const struct chat *chat, struct template_facts *out)
{
    snprintf(out->name, sizeof out->name, "%s", chat_name(chat));
    out->thinks = chat_thinking(chat) != NULL;
}

/* Those of the resident model, or those that it would have. */
static int template_facts(struct serve *s, int index, const struct gguf *g,
                          struct template_facts *out, struct err *e)
{
    const struct engine_options *o = hub_engine_options(s->hub);
    const struct chat_options co = {.name = o->chat_template, .date = o->chat_date};
    struct hub_model *m = hub_peek(s->hub, index);
    if (m) {
        facts_of(m->info->chat, out);
        hub_unpeek(s->hub, m);
        return 0;
    }
    struct tokenizer *tok = NULL;
    struct chat *chat = NULL;
    TRY(tokenizer_open(g, o->pre, &tok, e));
    int rc = chat_open(g, tok, &co, &chat, e);
    if (rc == 0)
        facts_of(chat, out);
    chat_close(chat);
    tokenizer_close(tok);
    return rc;
}

static void show_json(struct serve *s, const struct hub_entry *m, const struct gguf *g,
                      const struct template_facts *t, bool verbose, struct str *out)
{
    str_adds(out, "{\"license\": ");
    add_text(g, "general.license", out);
    str_adds(out, ", \"modelfile\": ");
    struct str from = STR_INIT;
    str_addf(&from, "FROM %s\n", m->name);
    str_add_json(out, from.s, from.len);
    out->failed |= from.failed;
    str_free(&from);
    str_adds(out, ", \"parameters\": ");
    defaults_json(out);
    str_adds(out, ", \"template\": ");
    str_add_json(out, t->name, strlen(t->name));
    str_adds(out, ", \"chat_template\": ");
    status_template(g, out);
    str_adds(out, ", \"details\": ");
    details_json(g, out);
    str_adds(out, ", \"model_info\": ");
    info_json(g, verbose, out);
    bool chats = strcmp(t->name, CHAT_UNKNOWN) != 0;
    str_addf(out, ", \"capabilities\": [\"completion\"%s%s], \"modified_at\": ",
             chats ? ", \"tools\"" : "", t->thinks ? ", \"thinking\"" : "");
    modified(s, m, out);
    str_adds(out, "}\n");
}

void ollama_show_post(struct call *c)
{
    const struct show_args *a = c->args;
    const char *asked = a->model && *a->model ? a->model : a->name;
    int index = hub_find(c->s->hub, asked);
    struct str out = STR_INIT;
    struct gguf *g = NULL;
    struct err e = {0};
    struct template_facts t;
    if (index < 0) {
        call_no_model(c, asked);
        return;
    }
    struct hub_entry *m = entry_of(c);
    if (!m)
        return;
    hub_entry(c->s->hub, index, m);
    int rc = status_gguf(c->s, index, &g, &e);
    if (rc == 0)
        rc = template_facts(c->s, index, g, &t, &e);
    if (rc == 0) {
        show_json(c->s, m, g, &t, a->verbose, &out);
        call_reply(c, 200, &out);
    } else {
        call_fail_err(c, "model", &e);
    }
    gguf_close(g);
    mem_free(m);
}

/* ---- refused --------------------------------------------------------------------------------- */

void ollama_embed_post(struct call *c)
{
    call_fail(c, 501, NULL, "embeddings are not computed here: the models write texts");
}

void ollama_delete(struct call *c)
{
    call_fail(c, 501, NULL,
              "models are not deleted here: remove the file, or unload it by a request with "
              "keep_alive 0");
}

void ollama_create_post(struct call *c)
{
    call_fail(c, 501, NULL,
              "models are not created here: start the server with -m NAME=FILE; mas quantize and "
              "mas pull make and bring files");
}

void ollama_copy_post(struct call *c)
{
    call_fail(c, 501, NULL, "models are not copied here: start the server with -m NAME=FILE");
}

void ollama_push_post(struct call *c)
{
    call_fail(c, 501, NULL, "models are not uploaded from here");
}
