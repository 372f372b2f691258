/* POST /api/pull: a download, on a thread of its own. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "download.h"
#include "log.h"
#include "mem.h"
#include "ollama.h"
#include "sources.h"
#include "status.h"
#include "store.h"

enum { PULLS_MOST = 2, LINE_EVERY_MS = 200 };

struct pull_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "ollama_pull.def"
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct pull_args, __VA_ARGS__)
#include "ollama_pull.def"
#undef X
};
const struct field_set ollama_pull_fields = {
    "OllamaPullRequest", rows, sizeof rows / sizeof rows[0], sizeof(struct pull_args)};

struct pull { /* the call's state */
    struct serve *s;
    struct call *c;
    char name[420];  /* as download takes it */
    char model[128]; /* the name under which it is served */
    bool began;
    char sha256[65]; /* of the file that comes, "" = not known */
    int64_t shown_ns;
    enum pull_phase phase;
};

/* ---- progress -------------------------------------------------------------------------------- */

static void line(struct pull *p, const char *status, uint64_t total, uint64_t done)
{
    struct str s = STR_INIT;
    if (!p->began)
        return;
    str_adds(&s, "{\"status\": ");
    str_add_json(&s, status, strlen(status));
    if (total) {
        if (*p->sha256)
            str_addf(&s, ", \"digest\": \"sha256:%s\"", p->sha256);
        str_addf(&s, ", \"total\": %llu, \"completed\": %llu", (unsigned long long)total,
                 (unsigned long long)done);
    }
    str_adds(&s, "}\n");
    http_write_str(p->c->http, &s);
    str_free(&s);
}

static void on_progress(const struct pull_progress *g, void *user)
{
    struct pull *p = user;
    int64_t now = clock_ns();
    char status[200];
    bool fresh = g->phase != p->phase;
    p->phase = g->phase;
    if (!fresh && g->done < g->total && now - p->shown_ns < (int64_t)LINE_EVERY_MS * 1000000)
        return;
    p->shown_ns = now;
    switch (g->phase) {
    case PULL_CONNECT:
        line(p, "connecting", 0, 0);
        return;
    case PULL_WAIT:
        snprintf(status, sizeof status, "waiting after a failure: %.150s", g->why);
        line(p, status, 0, 0);
        return;
    case PULL_REREAD:
        line(p, "reading the part that is here", g->total, g->done);
        return;
    case PULL_TRANSFER:
        snprintf(status, sizeof status, "pulling %.12s", *p->sha256 ? p->sha256 : p->model);
        line(p, status, g->total, g->done);
        return;
    }
}

static bool on_stop(void *user)
{
    const struct pull *p = user;
    return http_gone(p->c->http) || atomic_load(&p->s->draining);
}

static void on_begin(const struct pull_file *f, void *user)
{
    struct pull *p = user;
    snprintf(p->sha256, sizeof p->sha256, "%s", f->sha256 ? f->sha256 : "");
}

static void on_end(const char *path, const struct pull_result *r, bool kept, void *user)
{
    struct pull *p = user;
    (void)path, (void)kept;
    snprintf(p->sha256, sizeof p->sha256, "%s", r->sha256);
    line(p, "verifying sha256 digest", r->bytes, r->bytes);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Messages name files: clients get them without folders. */
static void without_folder(const char *message, const char *folder, char out[1020])
{
    size_t n = folder ? strlen(folder) : 0, at = 0;
    while (*message && at < 1019) {
        if (n && !strncmp(message, folder, n) && message[n] == '/')
            message += n + 1;
        else
            out[at++] = *message++;
    }
    out[at] = 0;
}

static void end(struct pull *p, const struct err *e)
{
    struct call *c = p->c;
    struct serve *s = p->s;
    char message[1020] = "";
    if (e) {
        const struct source_places *places = hub_engine_options(s->hub)->places;
        log_warn("pull of %s: %s", p->name, e->msg);
        without_folder(e->msg, places ? places->models : NULL, message);
    }
    atomic_fetch_sub(&s->pulls, 1); /* the server stays until the call has ended */
    if (!p->began && e) {
        call_fail(c,
                  e->code == ERR_USAGE || e->code == ERR_DATA ? 400
                  : e->code == ERR_NOINPUT                    ? 404
                  : e->code == ERR_AGAIN                      ? 503
                                                              : 500,
                  "model", "%s", message);
        return;
    }
    struct str out = STR_INIT;
    if (e)
        call_error_json(API_OLLAMA, 500, NULL, message, &out);
    else
        str_adds(&out, "{\"status\": \"success\"}\n");
    if (!p->began) {
        call_reply(c, 200, &out);
        return;
    }
    http_write_str(c->http, &out);
    http_end(c->http, false);
    str_free(&out);
    call_free(c);
}

static void *pull_main(void *arg)
{
    struct pull *p = arg;
    struct str path = STR_INIT;
    struct err e = {0};
    int index;
    const struct download_options o = {.name = p->name,
                                       .pull = {.tries = 8,
                                                .stall_s = 60,
                                                .backoff_ms = 500,
                                                .authorities = getenv("SSL_CERT_FILE"),
                                                .progress = on_progress,
                                                .stopped = on_stop,
                                                .user = p},
                                       .begin = on_begin,
                                       .end = on_end,
                                       .user = p};
    line(p, "pulling manifest", 0, 0);
    int rc = download(&o, &path, &e);
    if (rc == 0)
        rc = hub_add(p->s->hub, p->model, path.s, &index, &e);
    str_free(&path);
    end(p, rc < 0 ? &e : NULL);
    return NULL;
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* The name for download(): of the list, hf:.., or Ollama's registry. Addresses and other registries
 * are refused: a client must not choose the hosts that this server talks to. */
static int pull_name(struct pull *p, const char *asked, struct err *e)
{
    struct sources list = {.data = NULL};
    struct store_ollama o;
    struct store_hub h;
    int rc = sources_open(NULL, &list, e);
    const struct sources_entry *entry = rc == 0 ? sources_find(&list, asked) : NULL;
    bool data = entry && entry->data;
    sources_close(&list);
    TRY(rc);
    snprintf(p->model, sizeof p->model, "%s", asked);
    if (strlen(asked) >= sizeof p->model)
        FAIL(e, ERR_USAGE, "the name has %zu bytes, the limit is %zu", strlen(asked),
             sizeof p->model - 1);
    snprintf(p->name, sizeof p->name, "%s", asked);
    if (data)
        FAIL(e, ERR_USAGE, "'%s' are questions; mas pull brings them", asked);
    if (entry)
        return 0;
    if (!strncmp(asked, "hf:", 3))
        return store_parse_hub(asked + 3, &h, e);
    if (strstr(asked, "://"))
        FAIL(e, ERR_USAGE, "addresses are not downloaded here; mas pull takes them");
    const char *name = !strncmp(asked, "ollama:", 7) ? asked + 7 : asked;
    snprintf(p->name, sizeof p->name, "ollama:%s", name);
    snprintf(p->model, sizeof p->model, "%s", name);
    TRY(store_parse_ollama(name, &o, e));
    if (strcmp(o.registry, STORE_REGISTRY) != 0)
        FAIL(e, ERR_USAGE,
             "models of the registry '%.100s' are not downloaded here; mas pull takes "
             "them",
             o.registry);
    return 0;
}

void ollama_pull_post(struct call *c)
{
    const struct pull_args *a = c->args;
    const char *asked = a->model && *a->model ? a->model : a->name;
    struct pull *p = mem_zalloc(1, sizeof *p);
    struct err e = {0};
    pthread_t thread;
    int rc = p ? 0 : NOMEM(&e, sizeof *p, "a download");
    if (p) {
        p->s = c->s;
        p->c = c;
        c->state = p;
        c->free_state = mem_free;
        rc =
            asked && *asked ? pull_name(p, asked, &e) : err_set(&e, ERR_DATA, "'model' is missing");
    }
    if (rc < 0) {
        call_fail_err(c, "model", &e);
        return;
    }
    if (atomic_fetch_add(&c->s->pulls, 1) >= PULLS_MOST) {
        atomic_fetch_sub(&c->s->pulls, 1);
        call_fail(c, 503, NULL, "%d downloads run already; try again later", PULLS_MOST);
        return;
    }
    if (a->stream) {
        http_begin(c->http, 200, "application/x-ndjson", " ");
        p->began = true;
    }
    if (pthread_create(&thread, NULL, pull_main, p) == 0) {
        pthread_detach(thread);
        return;
    }
    err_set(&e, ERR_AGAIN, "cannot start a thread for the download");
    end(p, &e);
}
