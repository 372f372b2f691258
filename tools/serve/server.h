/*
 * server: the state of the server, shared by every handler.
 */
#ifndef MAS_SERVER_H
#define MAS_SERVER_H

#include <stdatomic.h>

#include "energy.h"
#include "gen.h"
#include "http.h"
#include "hub.h"
#include "route.h"
#include "serve_options.h"
#include "work.h"

struct clinical;

enum serve_first { /* the default model, once, at the start */
                   SERVE_LOADING,
                   SERVE_READY,
                   SERVE_FAILED,
};

struct serve {
    const struct serve_options *o;
    const struct config *config; /* of the engine, the strategies and the server */
    char api_key[256];           /* "" = none is asked for */
    struct http_server *http;
    struct hub *hub;
    struct work *work;
    struct clinical *clinical;
    int64_t t_start;      /* clock_ns */
    int64_t unix_start;   /* seconds since 1970 */
    atomic_bool draining; /* no new work */
    atomic_int slots;     /* sequences of the model that was resident last; at first 1 */
    atomic_int admitted;  /* replies that run or wait */
    atomic_ullong seeds;  /* random: the seed of the next request without one */
    atomic_int first;     /* enum serve_first */
    atomic_bool lost;     /* the device does not work any more */
    atomic_int pulls;     /* downloads that clients have asked for */
    struct err why;       /* SERVE_FAILED: constant from then on */
    struct energy energy; /* of the models' device; opened before SERVE_READY */
    struct hub_wait wait; /* for the first model */
    /* totals for /metrics */
    atomic_ullong requests[6]; /* by the status' first digit */
    atomic_ullong rejected;    /* for a full queue */
    atomic_ullong gone;        /* clients that left before their reply's end */
};

/* Opens everything, listens, and begins to load the default model. api_key: "" = that of
 * serve.api_key_file, if any. ERR_USAGE: another address than loopback without a key. */
int serve_open(const struct config *config, const char *api_key, const struct hub_options *models,
               struct serve **out, struct err *e);
/* Ends what runs. Accepts NULL. */
void serve_close(struct serve *s);
/* Whether the configuration names a provider elsewhere. Clinical cases use that one, and no model
 * is loaded at the start. */
bool serve_is_remote(const struct serve *s);
/* Whether the default model has been loaded; SERVE_FAILED fills e. */
enum serve_first serve_first(struct serve *s, struct err *e);
/* Why GET /ready answers 503, a sentence for its reply; NULL = it answers 200. */
const char *serve_unready(struct serve *s);
/* Takes no more work; true when nothing runs any more. Requests without work are still answered, so
 * that GET /ready tells the state. */
bool serve_drain(struct serve *s);

/* Admits n replies to the queue, for serve_leave. false: the call has got its 503 with Retry-After,
 * or 400 if there is never room for n, and is freed. */
bool serve_admit(struct call *c, int n);
void serve_leave(struct serve *s, int n);
/* 404: no model has this name, NULL = none was given. */
void call_no_model(struct call *c, const char *name);
/* ERR_DATA if a part of a prompt is too long for the context in any case. n bytes need at least
 * n / (bytes of the longest token). Call it before encoding, which takes seconds for 8 MiB. */
int serve_fits(const struct hub_model *m, const char *text, size_t n, struct err *e);
/* A seed for a request without one. Its header x-mas-seed tells it. */
uint64_t serve_seed(struct call *c, int64_t asked);

#endif
