#include "server.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "zio.h"

enum { WORKERS = 2 };

static bool loopback(const char *address)
{
    return !strncmp(address, "127.", 4) || !strcmp(address, "::1");
}

/* The key of the option or of its file. */
static int serve_key(struct serve *s, const char *given, struct err *e)
{
    snprintf(s->api_key, sizeof s->api_key, "%s", given);
    if (*s->o->api_key_file) {
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
    if (energy_open(&s->energy, m->info->backend, m->info->pci, &e) < 0)
        log_warn("no figures of energy: %s", e.msg);
    atomic_store(&s->first, SERVE_READY);
    hub_release(s->hub, m, -1);
}

enum serve_first serve_first(struct serve *s, struct err *e)
{
    enum serve_first f = (enum serve_first)atomic_load(&s->first);
    if (f == SERVE_FAILED && e)
        *e = s->why;
    return f;
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
                              .user = s};
    uint64_t seed;
    TRY(serve_key(s, api_key, e));
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)clock_ns();
    atomic_store(&s->seeds, seed >> 12); /* below 2^52: exact in any client's numbers */
    ho.resident = s->o->resident;
    ho.keep_ms = s->o->keep_alive < 0 ? HUB_FOR_EVER : s->o->keep_alive * 1000;
    TRY(work_open(WORKERS, &s->work, e));
    TRY(hub_open(&ho, &s->hub, e));
    TRY(http_open(&to, &s->http, e));
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
    http_drain(s->http);
    return http_open_exchanges(s->http) == 0;
}

void serve_close(struct serve *s)
{
    if (!s)
        return;
    atomic_store(&s->draining, true);
    http_close(s->http);
    work_close(s->work);
    hub_close(s->hub);
    energy_close(&s->energy);
    mem_free(s);
}

bool serve_admit(struct call *c, int n)
{
    struct serve *s = c->s;
    int before = atomic_fetch_add(&s->admitted, n);
    int most = s->o->queue + hub_slots(s->hub);
    if (before + n <= most || (before == 0 && n <= most))
        return true;
    atomic_fetch_sub(&s->admitted, n);
    atomic_fetch_add(&s->rejected, 1);
    call_fail(c, 503, NULL, "%d replies are asked for and %d run or wait; the limit is %d", n,
              before, most);
    return false;
}

void serve_leave(struct serve *s, int n)
{
    atomic_fetch_sub(&s->admitted, n);
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
