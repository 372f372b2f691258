#include "server.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clinical.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "provider.h"
#include "zio.h"

/* Threads of work: one tokenizes a long prompt or compiles a schema while others go on. */
enum { WORKERS_LEAST = 4, WORKERS_MOST = 16 };

static bool loopback(const char *address)
{
    return !strncmp(address, "127.", 4) || !strcmp(address, "::1");
}

/* Other users of the machine must not read the key. */
static void serve_key_mode(const char *file)
{
    struct stat st;
    if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
        log_warn("other users may read the API key in %s (mode %03o); chmod 600 makes it yours",
                 file, (unsigned)st.st_mode & 0777);
}

/* The key of the option or of its file. */
static int serve_key(struct serve *s, const char *given, struct err *e)
{
    snprintf(s->api_key, sizeof s->api_key, "%s", given);
    if (*s->o->api_key_file) {
        serve_key_mode(s->o->api_key_file);
        struct str text = STR_INIT;
        int rc = zio_read(s->o->api_key_file, sizeof s->api_key, &text, e);
        if (rc == 0) {
            size_t n = strcspn(text.s, "\r\n");
            memcpy(s->api_key, text.s, n);
            s->api_key[n < sizeof s->api_key ? n : sizeof s->api_key - 1] = 0;
        }
        str_free(&text);
        TRY(rc);
        if (!s->api_key[0])
            FAIL(e, ERR_DATA, "the first line of %s is empty; it must be the API key",
                 s->o->api_key_file);
    }
    unsigned char any[16];
    if (inet_pton(AF_INET, s->o->address, any) != 1 && inet_pton(AF_INET6, s->o->address, any) != 1)
        FAIL(e, ERR_USAGE, "address '%s' is not numeric; it takes 127.0.0.1, ::1, 0.0.0.0 ..",
             s->o->address);
    if (!s->api_key[0] && !loopback(s->o->address))
        FAIL(e, ERR_USAGE,
             "address %s is reached from other machines; give --api-key-file FILE or --api-key "
             "KEY, or listen on 127.0.0.1",
             s->o->address);
    return 0;
}

/* The default model is there, or cannot be loaded. */
static void serve_has_first(struct hub_wait *w, struct hub_model *m, const struct err *why)
{
    struct serve *s = w->user;
    struct err e = {0};
    if (!m) {
        s->why = *why;
        atomic_store(&s->first, SERVE_FAILED);
        return;
    }
    if (energy_open(&s->energy, m->info->backend, m->info->pci, m->info->gpu, &e) < 0)
        log_warn("no figures of energy: %s", e.msg);
    atomic_store(&s->first, SERVE_READY);
    hub_release(s->hub, m, -1);
}

bool serve_is_remote(const struct serve *s)
{
    const struct agent_options *of = config_of(s->config, &agent_option_set);
    return strcmp(of->provider, provider_local.name) != 0;
}

enum serve_first serve_first(struct serve *s, struct err *e)
{
    enum serve_first f = (enum serve_first)atomic_load(&s->first);
    if (f == SERVE_FAILED && e)
        *e = s->why;
    return f;
}

const char *serve_unready(struct serve *s)
{
    if (atomic_load(&s->draining))
        return "the server is stopping";
    if (atomic_load(&s->lost))
        return "the device does not work any more; restart the server";
    if (serve_first(s, NULL) != SERVE_READY)
        return "the default model is not loaded yet";
    return hub_broken(s->hub, 0)
               ? "the default model cannot be loaded again; the server's log says "
                 "why"
               : NULL;
}

static int serve_start(struct serve *s, const char *api_key, const struct hub_options *models,
                       struct err *e)
{
    struct hub_options ho = *models;
    struct http_options to = {.address = s->o->address,
                              .port = s->o->port,
                              .connections = s->o->connections,
                              .host = s->o->hosts.item,
                              .n_host = s->o->hosts.n,
                              .head = route_head,
                              .whole = route_whole,
                              .fault = route_fault,
                              .over = route_over,
                              .user = s};
    uint64_t seed;
    TRY(serve_key(s, api_key, e));
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)clock_ns();
    atomic_store(&s->seeds, seed >> 12); /* below 2^52: exact in any client's numbers */
    ho.resident = s->o->resident;
    ho.keep_ms = s->o->keep_alive < 0 ? HUB_FOR_EVER : s->o->keep_alive * 1000;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    TRY(work_open(cpus < WORKERS_LEAST  ? WORKERS_LEAST
                  : cpus > WORKERS_MOST ? WORKERS_MOST
                                        : (int)cpus,
                  &s->work, e));
    TRY(hub_open(&ho, &s->hub, e));
    TRY(clinical_open(s, &s->clinical, e));
    TRY(http_open(&to, &s->http, e));
    if (serve_is_remote(s)) {
        atomic_store(&s->first, SERVE_READY);
        return 0;
    }
    s->wait.ready = serve_has_first;
    s->wait.user = s;
    hub_want(s->hub, &s->wait);
    return 0;
}

int serve_open(const struct config *config, const char *api_key, const struct hub_options *models,
               struct serve **out, struct err *e)
{
    struct serve *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "server");
    s->config = config;
    s->o = config_of(config, &serve_option_set);
    atomic_store(&s->slots, 1);
    s->t_start = clock_ns();
    s->unix_start = (int64_t)time(NULL);
    int rc = serve_start(s, api_key, models, e);
    if (rc < 0) {
        serve_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

bool serve_drain(struct serve *s)
{
    atomic_store(&s->draining, true);
    clinical_stop(s->clinical, true); /* evaluations can be resumed */
    return http_open_exchanges(s->http) == 0 && clinical_running(s->clinical) == 0;
}

void serve_close(struct serve *s)
{
    if (!s)
        return;
    atomic_store(&s->draining, true);
    if (s->clinical)
        clinical_stop(s->clinical, false);
    http_close(s->http);
    clinical_close(s->clinical);
    work_close(s->work);
    hub_close(s->hub);
    energy_close(&s->energy);
    mem_free(s);
}

bool serve_admit(struct call *c, int n)
{
    struct serve *s = c->s;
    int before = atomic_fetch_add(&s->admitted, n);
    int slots = hub_slots(s->hub);
    if (slots) /* without a resident model: as many as the last one had */
        atomic_store(&s->slots, slots);
    int most = s->o->queue + atomic_load(&s->slots);
    if (before + n <= most)
        return true;
    atomic_fetch_sub(&s->admitted, n);
    atomic_fetch_add(&s->rejected, 1);
    if (n > most) { /* later is no better */
        call_fail(c, 400, NULL, "%d replies are asked for, the limit is %d; raise serve.queue", n,
                  most);
        return false;
    }
    call_fail(c, 503, NULL, "%d replies are asked for and %d run or wait; the limit is %d", n,
              before, most);
    return false;
}

void serve_leave(struct serve *s, int n)
{
    atomic_fetch_sub(&s->admitted, n);
}

int serve_fits(const struct hub_model *m, const char *text, size_t n, struct err *e)
{
    size_t n_ctx = (size_t)m->info->n_ctx;
    if (n <= n_ctx * 8) /* the usual case */
        return 0;
    size_t longest = 1, solid = 0;
    for (int32_t id = 0; id < tokenizer_n_vocab(m->tok); id++) {
        const char *s;
        size_t len;
        tokenizer_text(m->tok, id, &s, &len);
        longest = len > longest ? len : longest;
    }
    for (size_t i = 0; i < n; i++) /* a token of Phi 3 takes any white space after it */
        solid += text[i] != ' ' && (text[i] < '\t' || text[i] > '\r');
    if (solid / longest > n_ctx)
        FAIL(e, ERR_DATA,
             "prompt of %zu bytes: at least %zu tokens exceed the context of %zu; shorten it, or "
             "raise max_context_length",
             n, solid / longest, n_ctx);
    return 0;
}

uint64_t serve_seed(struct call *c, int64_t asked)
{
    char text[32];
    uint64_t seed = asked != FIELD_UNSET
                        ? (uint64_t)asked
                        : (uint64_t)(atomic_fetch_add(&c->s->seeds, 1) & (((uint64_t)1 << 52) - 1));
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    http_set_header(c->http, "X-Mas-Seed", text);
    return seed;
}

void call_no_model(struct call *c, const char *name)
{
    struct str names = STR_INIT;
    hub_names(c->s->hub, &names);
    call_fail(c, 404, "model", "no model '%.100s'; there are %.700s", name ? name : "", names.s);
    str_free(&names);
}
