/*
 * hub: the models that the server has, by name. A model is loaded when a request wants it, and is
 * unloaded after its time to live without requests.
 *
 *   ABSENT -- want --> LOADING --> RESIDENT -- idle for its time, or another needs room --> ABSENT
 *                         +- error: every waiting request gets it --> ABSENT
 *
 * At most `resident` models are loaded at a time. A request for another one waits until the least
 * recently used model has no request left. One thread loads and unloads, so no other waits for it.
 */
#ifndef MAS_HUB_H
#define MAS_HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "engine.h"

struct hub;

#define HUB_FOR_EVER INT64_MAX /* time to live: never unloaded */

struct hub_model { /* constant while a request holds it */
    const char *name, *path;
    struct engine *en;
    const struct tokenizer *tok;
    const struct engine_info *info;
    double load_seconds;
};

struct hub_entry { /* of the list of models */
    char name[128], path[512];
    bool resident, loading;
    uint64_t bytes;   /* of the file, 0 = not known */
    int64_t modified; /* of the file, seconds since 1970 */
    int64_t ends_ms;  /* resident: until it is unloaded, from now; -1 = never */
    int held;         /* requests that use it */
};

struct hub_options {
    const char *const *name; /* (n) of the models, the first is the default */
    const char *const *path; /* (n) as in engine_options.model */
    int n;
    int resident;                 /* models loaded at a time */
    int64_t keep_ms;              /* time to live after the last request; HUB_FOR_EVER */
    struct engine_options engine; /* without the model; borrowed texts outlive the hub */
};

/* Checks the names; loads nothing. ERR_USAGE: two models of one name. */
int hub_open(const struct hub_options *o, struct hub **out, struct err *e);
/* Every wait has ended: waiting requests get ERR_CANCEL. No model may be held. Accepts NULL. */
void hub_close(struct hub *h);

/* A waiting request; a member of the caller's struct, lent until ready is called. */
struct hub_wait {
    struct hub_wait *next;
    int index; /* of the model */
    /* m is held for the caller. NULL: why says the reason. On the hub's thread, or in hub_want. */
    void (*ready)(struct hub_wait *w, struct hub_model *m, const struct err *why);
    void *user;
};
/* The index of a name; an empty or absent one is the first. ":latest" may stand after a name. -1:
 * no such model. */
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

int hub_count(struct hub *h);
void hub_entry(struct hub *h, int index, struct hub_entry *out);
/* A resident model, held; NULL. For figures: it does not load and does not extend a life. */
struct hub_model *hub_peek(struct hub *h, int index);
void hub_unpeek(struct hub *h, struct hub_model *m);

#endif
