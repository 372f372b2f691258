/*
 * workers: several processes on one host answer one queue of questions. The parent alone writes the
 * run. A worker is a process of its own, so the signal that ends it takes no other along.
 *
 *   parent  --GIVE question-->  worker: engine, strategy, many cases in flight
 *           <--DONE case, its lines of the trace--
 *
 * - One queue: a worker is given a question when it has room. It has at most two thirds of its
 *   equal part of the open questions in flight, or 16. So all end together.
 * - A worker that dies is replaced. Its questions go back to the queue. A question that was in
 *   flight at two deaths is asked again alone, twice if need be. At the fourth death it is recorded
 *   as failed. So a question is not blamed for one death that another process caused.
 * - A worker that dies before it is ready, three times in a row, ends the run.
 * - A worker may serve several runs in turn, and open its engine once for them. The order of the
 *   runs is the same for all. A worker that is replaced begins with the present run.
 * - A worker ends when its parent is gone. It ignores signals of the terminal; the parent passes
 *   the end on.
 */
#ifndef MAS_WORKERS_H
#define MAS_WORKERS_H

#include <sys/types.h>

#include "run.h"

#define WORKERS_MOST 256
#define WORKERS_SILENCE_S 300.0
#define WORKERS_ALONE 2 /* deaths with a question in flight, after which it is asked alone */
#define WORKERS_KILLS 4 /* and after which it is failed */

/* ---- the parent ------------------------------------------------------------------------------ */

struct worker_start {
    int number; /* from 0 */
    int fd;     /* the worker's end of the socket; the caller closes it in the parent */
    /* (n_close) descriptors of the parent, which the worker closes first */
    const int *close;
    int n_close;
};

struct workers_options {
    int n;
    const struct medqa_question *question; /* (n_question), as in run_options */
    size_t n_question;
    /* Starts a process that serves the socket (worker_open .. worker_close) and ignores signals of
     * the terminal. Writes its id. ERR_AGAIN. */
    int (*start)(const struct worker_start *w, pid_t *pid, void *user, struct err *e);
    /* In the parent, at the first worker that is ready: opens the trace. */
    int (*ready)(const char *identity, const char *about, struct trace **t, void *user,
                 struct err *e);
    const atomic_int *stop; /* as in run_options */
    void (*progress)(const struct run_progress *p, void *user);
    void *user;
    /* A worker without an answer for so long, and for ten times the longest answer so far, is named
     * in a warning: it may hang. 0 = WORKERS_SILENCE_S */
    double silence_s;
};

struct workers_outcome {
    struct run_progress progress;
    size_t deaths, failed_by_deaths;
    size_t silent;      /* warnings of workers without an answer */
    struct str figures; /* JSON array: figures of the workers that ended by themselves */
};
struct workers;
/* n workers, none of which has been started. ERR_NOMEM. */
int workers_open(int n, struct workers **out, struct err *e);
/* One run by them; o->n is their number. Starts those that are missing; the others go on from the
 * run before. 0 when every question is in the trace. The parent must have no other thread. Errors
 * as run_questions; an error of a worker ends the run, and then all workers end. *t: the trace that
 * `ready` opened, also after an error; NULL = none. */
int workers_turn(struct workers *s, const struct workers_options *o, struct trace **t,
                 struct workers_outcome *out, struct err *e);
void workers_close(struct workers *s); /* waits for their end; accepts NULL */
/* The three in a row. */
int workers_run(const struct workers_options *o, struct trace **t, struct workers_outcome *out,
                struct err *e);

/* ---- a worker -------------------------------------------------------------------------------- */

struct worker;
/* Tells the parent that it is ready. identity, about: as in trace_options. question: as the
 * parent's. slots: cases in flight. */
int worker_open(int fd, const char *identity, const char *about,
                const struct medqa_question *question, size_t n_question, int slots,
                struct worker **out, struct err *e);
/* Its questions; lives as long as the worker. */
const struct run_feed *worker_feed(struct worker *w);
/* Tells how the run ended: figures is a JSON object or "", rc and why its error. After an error the
 * process has to end. Otherwise it may open the next run on the same socket. */
void worker_end(struct worker *w, const char *figures, int rc, const struct err *why);
void worker_close(struct worker *w); /* accepts NULL */
/* The error of a worker that could not open. */
void worker_failed(int fd, int rc, const struct err *why);

#endif
