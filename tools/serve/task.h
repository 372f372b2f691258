/*
 * task: a call that uses a model. It waits for the model, then runs one or more replies (gen).
 *
 *   task_start -- model resident --> ready() -- task_run --> replies --> finished() -- task_end
 *        |                              +- call_fail.., task_end
 *        +- no such model, no room in the queue, loading failed: the call has its error
 *
 * When the client leaves, waiting ends and all replies are cancelled: finished() follows at once,
 * and whatever it sends goes nowhere. ready and finished run on threads of work.
 */
#ifndef MAS_TASK_H
#define MAS_TASK_H

#include <pthread.h>
#include <stdatomic.h>

#include "gen.h"
#include "route.h"
#include "server.h"

struct task {
    struct serve *s;
    struct call *c; /* the API's until it ends the call */
    struct hub_model *m;
    int64_t keep_ms; /* time to live that the client gives the model; negative = as it is */
    void (*ready)(struct task *t);
    void (*finished)(struct task *t);
    struct gen *gen; /* (n_gen) the API's, with stable addresses; freed by the API */
    int n_gen;
    void *user;
    int64_t t_ready; /* clock_ns: the model was there */
    /* internal */
    struct hub_wait wait;
    struct work_job job;
    struct err why;
    pthread_mutex_t lock;
    int submitted, left; /* replies given to the engine; those without an end */
    int admitted;
    bool gone;
};

/* Takes the call. model: the name that the client gives, NULL or "" = the default model. replies:
 * how many it will run, for the queue's limit. The task is freed by task_end. false: the call has
 * had its error. */
bool task_start(struct call *c, const char *model, int replies, int64_t keep_ms,
                void (*ready)(struct task *t), void *user);
/* Submits every gen, whose user and done become the task's; finished follows when all have ended.
 * On failure none has run, and the call is still the caller's. Errors as gen_submit. A reply that
 * could not be submitted beside others has finish GEN_ERROR. */
int task_run(struct task *t, void (*finished)(struct task *t), struct err *e);
/* Cancels every reply that still runs. From any thread, before finished. */
void task_cancel(struct task *t);
bool task_gone(struct task *t); /* the client has left */
/* The call's reply with status 200, and the task's end: in ready. Takes the bytes of json. */
void task_reply(struct task *t, struct str *json);
/* Gives the model back and frees the task: in finished, after the call was ended. */
void task_end(struct task *t);
/* The call's error, and the task's end: in ready, or after task_run failed. */
void task_fail(struct task *t, int status, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void task_fail_err(struct task *t, const char *param, const struct err *e);

#endif
