/*
 * hub: the models that the server has, by name. A model is loaded when a request wants it, and is
 * unloaded after its time to live without requests.
 *
 *   ABSENT -- want --> LOADING --> RESIDENT -- idle for its time, or another needs room --> ABSENT
 *                         +- error: every waiting request gets it --> ABSENT
 *   RESIDENT -- an error ends its engine, and its last request ends --> ABSENT
 *
 * Invariants:
 *   - At most `resident` models are loaded at a time. A second one is loaded beside the first only
 *     if main memory has room for its file.
 *   - Without room the least recently used model takes no new request. It is unloaded when its last
 *     one ends, so no model waits for ever. Its own new requests wait like all others.
 *   - A model whose engine has ended takes no new request. It is loaded again for the requests that
 *     wait, for instance after its file was changed. A lost device is the exception.
 *   - One thread loads and unloads. No other thread waits for it.
 *   - Models are added and never removed: an index stays valid.
 */
#ifndef MAS_HUB_H
#define MAS_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

struct hub;

#define HUB_FOR_EVER INT64_MAX /* time to live: never unloaded */
enum { HUB_MODELS_MOST = 128 };

struct hub_model { /* constant while a request holds it */
    const char *name, *path;
    struct engine *en;
    const struct tokenizer *tok;
    const struct engine_info *info;
    double load_seconds;
};

struct hub_entry { /* of the list of models */
    char name[128], path[4096];
    bool resident, loading;
    uint64_t bytes;   /* of the file, 0 = not known */
    int64_t modified; /* of the file, seconds since 1970; 0 = not known */
    int64_t ends_ms;  /* resident: until it is unloaded, from now; -1 = never */
    int held;         /* requests that use it */
    int waiting;      /* requests that wait for it to be loaded */
    uint64_t loads;   /* times that it was loaded */
};

struct hub_options {
    const char *const *name; /* (n) of the models, the first is the default */
    const char *const *path; /* (n) as in engine_options.model */
    int n;
    int resident;                 /* models loaded at a time */
    int64_t keep_ms;              /* time to live after the last request; HUB_FOR_EVER */
    struct engine_options engine; /* without the model; borrowed texts outlive the hub */
    /* Bytes of main memory that are free now; for tests. NULL = the machine's. false: not known. */
    bool (*available)(uint64_t *bytes, void *user);
    void *user;
};

/* Checks names and finds files; loads nothing. ERR_USAGE: two models of one name, or more than
 * HUB_MODELS_MOST. ERR_NOINPUT: a model is not here. */
int hub_open(const struct hub_options *o, struct hub **out, struct err *e);
/* Every wait has ended: waiting requests get ERR_CANCEL. No model may be held. Waits for the end of
 * a load. Accepts NULL. */
void hub_close(struct hub *h);
/* Adds a model, or says where a model of that name is already: *index. Errors as hub_open. */
int hub_add(struct hub *h, const char *name, const char *path, int *index, struct err *e);

/* A waiting request; a member of the caller's struct, lent until ready is called. */
struct hub_wait {
    struct hub_wait *next;
    uint64_t ticket; /* order of arrival */
    int index;       /* of the model */
    /* m is held for the caller. NULL: why says the reason. On the hub's thread, or in hub_want. */
    void (*ready)(struct hub_wait *w, struct hub_model *m, const struct err *why);
    void *user;
};
/* The index of a name; an empty or absent one is the first. ":latest" may stand after a name, or be
 * left out. -1: no such model. */
int hub_find(struct hub *h, const char *name);
/* Appends "a, b": all names. */
void hub_names(struct hub *h, struct str *out);
/* Calls w->ready, at once if the model is resident. */
void hub_want(struct hub *h, struct hub_wait *w);
/* Sequences that the resident models compute together. */
int hub_slots(struct hub *h);
/* Gives up a wait. true: ready was not and will not be called. */
bool hub_give_up(struct hub *h, struct hub_wait *w);
/* Gives a model back. keep_ms: its new time to live; negative = as it was. 0 = unload at once when
 * nobody holds it. */
void hub_release(struct hub *h, struct hub_model *m, int64_t keep_ms);
/* Sets the time to live of a resident model, from now. Nothing happens to another one. */
void hub_keep(struct hub *h, int index, int64_t keep_ms);

int hub_count(struct hub *h);
/* The last attempt to load the model has failed, and it is not resident. */
bool hub_broken(struct hub *h, int index);
void hub_entry(struct hub *h, int index, struct hub_entry *out);
/* The engine's options: those of every model but for its path. */
const struct engine_options *hub_engine_options(const struct hub *h);
/* A resident model, held; NULL. For figures: it does not load and does not extend a life. */
struct hub_model *hub_peek(struct hub *h, int index);
void hub_unpeek(struct hub *h, struct hub_model *m);
/* Totals of a model since the hub was opened, over all its loads; gauges are 0 unless it is
 * resident. */
void hub_stats(struct hub *h, int index, struct engine_stats *out);

#endif
