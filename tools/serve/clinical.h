/*
 * clinical: cases and evaluations that the server runs. Each one has a thread of its own, a seat,
 * with its own llm on the engine that all share. So cases, evaluations and replies of other APIs
 * are one batch, and none changes the result of another.
 *
 *   POST /run ..   seat: wait for the model - strategy - case - reply or events
 *   POST /eval     seat: wait for the model - strategy - trace on disk - 202 - questions
 *
 * Invariants:
 *   - A seat ends by itself, or soon after seat_stop. clinical_close waits for all of them.
 *   - A run's folder is written as by the commands: either continues the other's.
 *   - Energy between two readings is shared equally by the seats that compute.
 */
#ifndef MAS_CLINICAL_H
#define MAS_CLINICAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "catalog.h"
#include "energy.h"
#include "llm.h"
#include "run.h"
#include "runfolder.h"
#include "server.h"
#include "strategy.h"
#include "tool_options.h"

#define CLINICAL_NOTICE "research software: not for clinical care"
#define CLINICAL_POLL_MS 20 /* a client that has left is seen this late */

struct clinical;
struct live_run; /* runs.h */

enum seat_state { SEAT_FREE, SEAT_TAKEN, SEAT_ENDED };

struct seat {
    struct clinical *k;
    enum seat_state state;
    pthread_t thread;
    void (*run)(struct seat *s, void *user);
    void *user;
    atomic_int stop;
    struct hub_wait wait; /* for a model */
    bool waiting;
    struct hub_model *model;
    struct err why;
    bool metered; /* takes part in the energy */
    double joules;
};

struct clinical {
    struct serve *s;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t news;  /* the waits of seats */
    struct seat *seat;    /* (n_seat) */
    int n_seat;
    bool closing;
    struct live_run *runs; /* evaluations of this process that have not ended */
    struct energy energy;
    bool has_energy;
    double read; /* joules at the last reading */
};

int clinical_open(struct serve *s, struct clinical **out, struct err *e);
/* Stops every seat. evaluations: these alone; they can be resumed. */
void clinical_stop(struct clinical *k, bool evaluations);
int clinical_running(struct clinical *k); /* seats that have not ended */
void clinical_close(struct clinical *k);  /* after clinical_stop; accepts NULL */

/* Takes a free seat and runs run(seat, user) on its thread. ERR_AGAIN: all are taken. run calls
 * seat_leave once. */
int seat_start(struct clinical *k, void (*run)(struct seat *s, void *user), void *user,
               struct seat **out, struct err *e);
void seat_stop(struct seat *s); /* from any thread, while the seat is taken */
/* On its thread, before the client gets its answer: so a next request finds the seat free. The seat
 * must not be used after it. */
void seat_leave(struct seat *s);
void seat_leave_locked(struct seat *s); /* the same with the lock of clinical */
/* As run_options.joules: the seat's share, from the first reading on. */
double seat_joules(struct seat *s, const char **source);

/* ---- one strategy on one model --------------------------------------------------------------- */

/* A client's wishes; texts belong to the body of its request. */
struct clinical_wish {
    const char *model, *strategy; /* NULL = the default */
    json_t *config;               /* object of settings; NULL = none */
    int64_t seed;                 /* FIELD_UNSET = the configuration's */
};

struct ward { /* the surroundings of a case or of an evaluation */
    struct seat *seat;
    struct config config;
    struct catalog catalog;
    int index; /* of the model in the hub, -1 = another provider */
    struct hub_model *model;
    struct llm *llm;
    struct strategy_env env; /* shuffle, plan_only .. are set by the caller before ward_open */
};

/* Reads and checks all settings; loads nothing. *param: the member at fault. */
int ward_config(struct ward *w, struct serve *s, const struct clinical_wish *wish,
                const char **param, struct err *e);
/* Takes the first strategy that can do the part wanted, unless the wish names one. */
int ward_choose(struct ward *w, bool named, bool (*able)(const struct strategy *s), struct err *e);
bool ward_resident(const struct ward *w); /* its model is there, or lies elsewhere */
/* Waits for the model and opens llm and strategy. ERR_CANCEL after seat_stop. hash: of the model's
 * file. */
int ward_open(struct ward *w, struct seat *seat, bool hash, struct err *e);
void ward_close(struct ward *w); /* accepts a zeroed one */

/* ---- events ---------------------------------------------------------------------------------- */

/* Appends one server-sent event; data is JSON without a line break. id < 0: it has none. */
void clinical_event(struct str *out, const char *name, int64_t id, const char *data, size_t n);
#define CLINICAL_STREAM "text/event-stream"
#define CLINICAL_BEAT ": \n\n"

extern const struct field_set clinical_run_fields, clinical_consult_fields,
    clinical_aggregate_fields, clinical_eval_fields;

#endif
