/* The parent of the workers: the queue, the deaths, the trace. */
#define _GNU_SOURCE /* for SOCK_CLOEXEC */
#include "workers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "worker_frame.h"

#define WORKERS_POLL_MS 100
#define WORKERS_SHOW_NS 500000000
#define WORKERS_END_NS ((int64_t)30 * 1000000000) /* a stopped worker is killed after this time */
#define WORKERS_SOON_NS                                                                            \
    ((int64_t)3 * 1000000000) /* after it, those that have not ended are named */
#define WORKERS_YOUNG 3       /* deaths in a row before any was ready or finished a case */

enum workers_state { WAITING, GIVEN, FINISHED };

struct workers_item { /* a question */
    unsigned char state;
    unsigned char deaths;
    int by; /* the worker that has it */
};

struct workers_one {
    pid_t pid; /* 0 = there is none */
    int fd;
    struct str in, identity, about;
    bool ready, over, alone, ended; /* of the present run */
    int slots;
    size_t flight;
    int64_t heard; /* ns: its last answer, or when it was given work after a pause */
    bool warned;
};

struct workers {
    int n;
    struct workers_one *w; /* (n) */
    /* of the present run */
    const struct workers_options *o;
    struct workers_item *item; /* (o->n_question) */
    size_t next;               /* no item before it waits, unless it came back */
    size_t open;               /* items that are not finished */
    size_t back;               /* items that wait again */
    struct trace *trace;
    struct str identity;
    struct workers_outcome *out;
    int64_t begin, shown, stopped; /* ns; stopped 0 = not */
    int64_t longest;               /* ns from the first question in flight to its answer */
    bool aloud;                    /* workers that have not ended were named */
    int young;                     /* deaths since something went well */
    int rc;
    struct err err;
};

static void workers_fail(struct workers *s, int rc, const struct err *why)
{
    if (!s->rc) {
        s->rc = rc;
        s->err = *why;
    }
}

/* ---- processes ------------------------------------------------------------------------------- */

static int workers_start(struct workers *s, int number, struct err *e)
{
    struct workers_one *w = &s->w[number];
    int pair[2], n = 0;
    pid_t pid = 0;
    int *ours = mem_zalloc((size_t)s->o->n + 1, sizeof *ours);
    if (!ours)
        return NOMEM(e, (size_t)s->o->n * sizeof *ours, "a worker");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        mem_free(ours);
        FAIL(e, ERR_AGAIN, "cannot make a socket for worker %d: %s", number + 1, strerror(errno));
    }
    for (int i = 0; i < s->o->n; i++)
        if (s->w[i].pid)
            ours[n++] = s->w[i].fd;
    ours[n++] = pair[0];
    const struct worker_start ws = {.number = number, .fd = pair[1], .close = ours, .n_close = n};
    const int rc = s->o->start(&ws, &pid, s->o->user, e);
    mem_free(ours);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    *w = (struct workers_one){
        .pid = pid, .fd = pair[0], .in = STR_INIT, .identity = STR_INIT, .about = STR_INIT};
    return 0;
}

static void workers_forget(struct workers_one *w)
{
    close(w->fd);
    str_free(&w->in);
    str_free(&w->identity);
    str_free(&w->about);
    w->pid = 0;
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* The next question for a worker; o->n_question = none. alone: one that is asked alone. */
static size_t workers_pick(struct workers *s, bool alone)
{
    const size_t n = s->o->n_question;
    while (s->next < n && s->item[s->next].state != WAITING)
        s->next++;
    if (!alone && s->next < n && !s->item[s->next].deaths)
        return s->next;
    for (size_t i = 0; i < n && s->back; i++)
        if (s->item[i].state == WAITING && s->item[i].deaths &&
            alone == (s->item[i].deaths >= WORKERS_ALONE && s->item[i].deaths < WORKERS_KILLS))
            return i;
    for (size_t i = s->next; i < n && !alone; i++)
        if (s->item[i].state == WAITING && !s->item[i].deaths)
            return i;
    return n;
}

static void workers_give(struct workers *s, int number, size_t at, const char *fail)
{
    struct workers_one *w = &s->w[number];
    struct workers_item *it = &s->item[at];
    struct err e; /* a worker that is gone is seen by its end */
    s->back -= it->deaths > 0;
    it->state = GIVEN;
    it->by = number;
    if (!w->flight)
        w->heard = clock_ns();
    w->flight++;
    (void)worker_send(w->fd, WORKER_GIVE, s->o->question[at].index, fail, strlen(fail), &e);
}

#define WORKERS_FEW 16 /* questions in flight that fill a worker's steps */

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Questions that a worker may have: its slots and one more to come. Of its equal part of the open
 * ones it has two thirds. The rest goes to the worker that is quicker, so that all end together. A
 * few it has in any case: a step of few sequences costs more for each of them. */
static size_t workers_limit(const struct workers *s, const struct workers_one *w)
{
    const size_t n = (size_t)s->o->n, part = (s->open + n - 1) / n;
    const size_t share = 2 * part / 3 > WORKERS_FEW ? 2 * part / 3 : lesser(part, WORKERS_FEW);
    return lesser(share, (size_t)w->slots + 1);
}

static void workers_fill(struct workers *s, int number)
{
    struct workers_one *w = &s->w[number];
    char why[160];
    if (!w->pid || !w->ready || w->over || s->stopped || s->rc)
        return;
    while (!w->alone && w->flight < workers_limit(s, w)) {
        size_t at = workers_pick(s, false);
        if (at < s->o->n_question && s->item[at].deaths >= WORKERS_KILLS) {
            snprintf(why, sizeof why,
                     "%d worker processes ended while they worked on this question",
                     s->item[at].deaths);
            s->out->failed_by_deaths++;
            workers_give(s, number, at, why);
            continue;
        }
        if (at == s->o->n_question && !w->flight) {
            at = workers_pick(s, true);
            w->alone = at < s->o->n_question;
        }
        if (at == s->o->n_question)
            break;
        workers_give(s, number, at, "");
    }
}

/* ---- messages of a worker -------------------------------------------------------------------- */

static void workers_count(struct run_progress *p, const struct result *r, bool fresh)
{
    p->done++;
    p->correct += r->correct;
    p->unparsed += r->state == CONSULT_UNPARSED;
    p->failed += r->state == CONSULT_FAILED;
    p->fresh += fresh;
    p->new_tokens += fresh ? r->think_tokens + r->new_tokens : 0;
    p->prompt_tokens += fresh ? r->prompt_tokens : 0;
}

static size_t workers_find(const struct workers *s, int64_t index)
{
    size_t lo = 0, hi = s->o->n_question;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (s->o->question[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->o->n_question && s->o->question[lo].index == index ? lo : s->o->n_question;
}

/* The finished questions of an earlier start. */
static int workers_adopt(struct workers *s, struct err *e)
{
    const struct results *rs = trace_results(s->trace);
    for (size_t i = 0; i < rs->n; i++) {
        const struct result *r = &rs->r[i];
        const size_t at = workers_find(s, r->index);
        if (at == s->o->n_question && r->index <= s->o->question[at - 1].index)
            FAIL(e, ERR_CONFIG, "the run holds question %s, which the data has not at record %lld",
                 r->id, (long long)r->index + 1);
        if (at == s->o->n_question) {
            s->out->progress.beyond++;
            continue;
        }
        if (strcmp(s->o->question[at].id, r->id) != 0)
            FAIL(e, ERR_CONFIG, "the run holds question %s as record %lld, where the data has %s",
                 r->id, (long long)r->index + 1, s->o->question[at].id);
        s->item[at].state = FINISHED;
        s->open--;
        workers_count(&s->out->progress, r, false);
    }
    return 0;
}

static int workers_ready(struct workers *s, struct workers_one *w, int64_t slots, struct err *e)
{
    if (!s->trace) {
        TRY(s->o->ready(w->identity.s, w->about.s, &s->trace, s->o->user, e));
        str_adds(&s->identity, w->identity.s);
        TRY(str_ok(&s->identity, "an identity", e));
        if (s->o->n_question)
            TRY(workers_adopt(s, e));
        s->begin = clock_ns();
    } else if (strcmp(s->identity.s, w->identity.s) != 0) {
        FAIL(e, ERR_CONFIG,
             "a worker has another model, prompts or options than the first one: a file has "
             "changed; start again");
    }
    w->ready = true;
    w->slots = (int)slots;
    return 0;
}

static int workers_done(struct workers *s, int number, const struct worker_frame *f,
                        const char *text, struct err *e)
{
    const size_t at = workers_find(s, f->number);
    struct str lines = STR_INIT;
    if (at == s->o->n_question || s->item[at].state != GIVEN || s->item[at].by != number)
        FAIL(e, ERR_BUG, "worker %d answers question %lld, which it was not given", number + 1,
             (long long)f->number);
    str_add(&lines, text, (size_t)f->n);
    int rc = str_ok(&lines, "a case", e);
    if (rc == 0)
        rc = trace_import(s->trace, &lines, e);
    str_free(&lines);
    TRY(rc);
    const struct results *rs = trace_results(s->trace);
    workers_count(&s->out->progress, &rs->r[rs->n - 1], true);
    s->item[at].state = FINISHED;
    s->open--;
    s->w[number].flight--;
    s->w[number].alone = false;
    s->w[number].warned = false;
    const int64_t now = clock_ns();
    s->longest = now - s->w[number].heard > s->longest ? now - s->w[number].heard : s->longest;
    s->w[number].heard = now;
    s->young = 0;
    return 0;
}

static int workers_message(struct workers *s, int number, const struct worker_frame *f,
                           const char *text, struct err *e)
{
    struct workers_one *w = &s->w[number];
    switch ((enum worker_kind)f->kind) {
    case WORKER_IDENTITY:
        str_add(&w->identity, text, (size_t)f->n);
        return str_ok(&w->identity, "an identity", e);
    case WORKER_ABOUT:
        str_add(&w->about, text, (size_t)f->n);
        return str_ok(&w->about, "settings", e);
    case WORKER_READY:
        return workers_ready(s, w, f->number, e);
    case WORKER_DONE:
        return workers_done(s, number, f, text, e);
    case WORKER_FIGURES:
        str_adds(&s->out->figures, s->out->figures.len > 1 ? ", " : "");
        str_add(&s->out->figures, text, (size_t)f->n);
        return str_ok(&s->out->figures, "figures", e);
    case WORKER_ENDED:
        w->ended = true;
        return 0;
    case WORKER_ERROR:
        if (f->number == ERR_CANCEL && s->stopped)
            return 0;
        FAIL(e, (int)f->number, "worker %d: %.900s", number + 1, text);
    case WORKER_GIVE:
    case WORKER_OVER:
    case WORKER_STOP:
        break;
    }
    FAIL(e, ERR_BUG, "worker %d sends message %d", number + 1, (int)f->kind);
}

/* Handles the whole messages that have come, up to the end of the run. */
static void workers_handle(struct workers *s, int number)
{
    struct workers_one *w = &s->w[number];
    struct err e = {.code = 0};
    struct worker_frame f;
    const char *text;
    int rc;
    while (!w->ended && worker_next(&w->in, &f, &text)) {
        /* after an error of the disk, cases are lost and asked again by the next start */
        if (!s->rc || s->rc == ERR_CANCEL || f.kind == WORKER_FIGURES) {
            e = (struct err){.code = 0};
            rc = workers_message(s, number, &f, text, &e);
            if (rc < 0)
                workers_fail(s, rc, &e);
        }
        worker_drop(&w->in, &f);
    }
}

/* Reads what has come. *gone: there will be no more. */
static void workers_listen(struct workers *s, int number, bool *gone)
{
    struct err e = {.code = 0};
    const int rc = worker_receive(s->w[number].fd, &s->w[number].in, gone, &e);
    if (rc < 0)
        workers_fail(s, rc, &e);
    workers_handle(s, number);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void workers_blame(struct workers *s, int number)
{
    for (size_t i = 0; i < s->o->n_question; i++) {
        struct workers_item *it = &s->item[i];
        if (it->state != GIVEN || it->by != number)
            continue;
        it->state = WAITING;
        it->deaths = it->deaths < 100 ? (unsigned char)(it->deaths + 1) : it->deaths;
        s->back++;
        s->next = i < s->next ? i : s->next;
    }
}

/* A worker has ended. If it was not to end, its questions wait again, and it is replaced. */
static void workers_buried(struct workers *s, int number)
{
    struct workers_one *w = &s->w[number];
    struct err e = {.code = 0};
    int status = 0;
    const size_t flight = w->flight;
    const bool wanted = w->over || w->ended || s->stopped || s->rc;
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR) {
    }
    const long pid = (long)w->pid;
    workers_forget(w);
    if (wanted && !flight)
        return;
    if (wanted && (s->stopped || s->rc))
        return;
    s->out->deaths++;
    s->young++;
    workers_blame(s, number);
    char how[64];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "with exit code %d", WEXITSTATUS(status));
    log_warn(
        "worker %d (process %ld) ended %s with %zu questions in flight; another takes its place",
        number + 1, pid, how, flight);
    if (s->young > WORKERS_YOUNG * s->o->n) {
        err_set(&e, ERR_AGAIN,
                "%d worker processes ended one after the other, the last one %s, and none finished "
                "a question; see its messages, and try without workers",
                s->young, how);
        workers_fail(s, ERR_AGAIN, &e);
        return;
    }
    const int rc = workers_start(s, number, &e);
    if (rc < 0)
        workers_fail(s, rc, &e);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void workers_show(struct workers *s, bool always)
{
    struct run_progress *p = &s->out->progress;
    const int64_t now = clock_ns();
    if (!always && now - s->shown < WORKERS_SHOW_NS)
        return;
    p->in_flight = 0;
    for (int i = 0; i < s->o->n; i++)
        p->in_flight += s->w[i].pid ? s->w[i].flight : 0;
    p->seconds = (double)(now - s->begin) * 1e-9;
    s->shown = now;
    if (s->o->progress && s->trace)
        s->o->progress(p, s->o->user);
}

/* Is there more to hear of this worker? After an error all of them end. */
static bool workers_busy(const struct workers *s, int number)
{
    return s->w[number].pid && (!s->w[number].ended || s->rc);
}

static size_t workers_alive(const struct workers *s)
{
    size_t n = 0;
    for (int i = 0; i < s->o->n; i++)
        n += workers_busy(s, i);
    return n;
}

static void workers_tell(struct workers *s, enum worker_kind kind)
{
    struct err e;
    for (int i = 0; i < s->o->n; i++)
        if (s->w[i].pid && (kind == WORKER_STOP || (s->w[i].ready && !s->w[i].over))) {
            (void)worker_send(s->w[i].fd, kind, 0, "", 0, &e);
            s->w[i].over |= kind == WORKER_OVER;
        }
}

/* Names a worker that gives no answers: it may hang, and a run would wait for it without a word. */
static void workers_listen_for_silence(struct workers *s)
{
    const double least = s->o->silence_s > 0 ? s->o->silence_s : WORKERS_SILENCE_S;
    const int64_t now = clock_ns();
    for (int i = 0; i < s->o->n; i++) {
        struct workers_one *w = &s->w[i];
        const double silent = (double)(now - w->heard) * 1e-9;
        if (!w->pid || !w->flight || w->warned || s->stopped || silent < least ||
            silent < 10e-9 * (double)s->longest)
            continue;
        w->warned = true;
        s->out->silent++;
        log_warn("worker %d (process %ld) has given no answer for %.0f s, with %zu questions in "
                 "flight; if it hangs, end it: kill -9 %ld. Another takes its place",
                 i + 1, (long)w->pid, silent, w->flight, (long)w->pid);
    }
}

/* Workers that have not ended soon after a stop. */
static void workers_wait_aloud(struct workers *s, int64_t now)
{
    if (s->aloud || now - s->stopped < WORKERS_SOON_NS)
        return;
    s->aloud = true;
    for (int i = 0; i < s->o->n; i++)
        if (s->w[i].pid)
            log_warn("waiting for worker %d (process %ld) to end; it is killed after %d s", i + 1,
                     (long)s->w[i].pid, (int)(WORKERS_END_NS / 1000000000));
}

/* The end is wanted: by a signal, or by an error. */
static void workers_stop(struct workers *s)
{
    struct err e;
    const int64_t now = clock_ns();
    if (s->o->stop && atomic_load(s->o->stop) && !s->rc) {
        err_set(&e, ERR_CANCEL, "stopped");
        workers_fail(s, ERR_CANCEL, &e);
    }
    if (s->rc && !s->stopped) {
        s->stopped = now;
        workers_tell(s, WORKER_STOP);
    }
    if (s->stopped)
        workers_wait_aloud(s, now);
    if (s->stopped && now - s->stopped > WORKERS_END_NS)
        for (int i = 0; i < s->o->n; i++)
            if (s->w[i].pid)
                kill(s->w[i].pid, SIGKILL);
}

static void workers_step(struct workers *s, struct pollfd *fd, int *of)
{
    nfds_t n = 0;
    for (int i = 0; i < s->o->n; i++)
        if (workers_busy(s, i)) {
            fd[n] = (struct pollfd){.fd = s->w[i].fd, .events = POLLIN};
            of[n++] = i;
        }
    (void)poll(fd, n, WORKERS_POLL_MS);
    for (nfds_t k = 0; k < n; k++) {
        bool gone = false;
        if (fd[k].revents)
            workers_listen(s, of[k], &gone);
        if (gone)
            workers_buried(s, of[k]);
    }
    workers_stop(s);
    workers_listen_for_silence(s);
    for (int i = 0; i < s->o->n; i++)
        workers_fill(s, i);
    if (s->trace && !s->open)
        workers_tell(s, WORKER_OVER);
    workers_show(s, false);
}

static int workers_loop(struct workers *s, struct err *e)
{
    struct pollfd *fd = mem_zalloc((size_t)s->o->n, sizeof *fd);
    int *of = mem_zalloc((size_t)s->o->n, sizeof *of);
    int rc = fd && of ? 0 : NOMEM(e, (size_t)s->o->n * sizeof *fd, "workers");
    for (int i = 0; i < s->o->n && rc == 0; i++)
        rc = s->w[i].pid ? 0 : workers_start(s, i, e);
    for (int i = 0; i < s->o->n; i++)
        workers_handle(s, i); /* of this run, but read during the one before */
    if (rc < 0)
        workers_fail(s, rc, e);
    while (fd && of && workers_alive(s))
        workers_step(s, fd, of);
    workers_show(s, true);
    mem_free(fd);
    mem_free(of);
    if (s->rc < 0)
        FAIL(e, s->rc, "%s", s->err.msg);
    if (s->open)
        FAIL(e, ERR_BUG, "the workers ended with %zu open questions", s->open);
    return 0;
}

/* Forgets the run before. */
static void workers_renew(struct workers *s, const struct workers_options *o,
                          struct workers_outcome *out)
{
    for (int i = 0; i < s->n; i++) {
        struct workers_one *w = &s->w[i];
        if (!w->pid)
            continue;
        str_clear(&w->identity);
        str_clear(&w->about);
        w->ready = w->over = w->alone = w->ended = false;
        w->flight = 0;
    }
    *s = (struct workers){.n = s->n,
                          .w = s->w,
                          .o = o,
                          .out = out,
                          .open = o->n_question,
                          .identity = STR_INIT,
                          .begin = clock_ns()};
}

int workers_open(int n, struct workers **out, struct err *e)
{
    struct workers *s = mem_zalloc(1, sizeof *s);
    struct workers_one *w = mem_zalloc((size_t)n, sizeof *w);
    if (!s || !w) {
        mem_free(s);
        mem_free(w);
        return NOMEM(e, (size_t)n * sizeof *w, "workers");
    }
    *s = (struct workers){.n = n, .w = w};
    *out = s;
    return 0;
}

int workers_turn(struct workers *s, const struct workers_options *o, struct trace **t,
                 struct workers_outcome *out, struct err *e)
{
    int rc;
    CHECK(o->n == s->n);
    *out = (struct workers_outcome){.progress = {.total = o->n_question}, .figures = STR_INIT};
    str_adds(&out->figures, "[");
    workers_renew(s, o, out);
    s->item = mem_zalloc(o->n_question ? o->n_question : 1, sizeof *s->item);
    rc = s->item ? workers_loop(s, e) : NOMEM(e, o->n_question * sizeof *s->item, "a queue");
    str_adds(&out->figures, "]");
    *t = s->trace;
    mem_free(s->item);
    str_free(&s->identity);
    s->item = NULL;
    return rc;
}

/* Has the worker ended? Waits a moment if not. */
static bool workers_reap(struct workers_one *w)
{
    const struct timespec t = {.tv_nsec = (long)WORKERS_POLL_MS * 100000};
    int status;
    const pid_t pid = waitpid(w->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR)) {
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
        return false;
    }
    workers_forget(w);
    return true;
}

void workers_close(struct workers *s)
{
    struct err e;
    const int64_t begin = clock_ns();
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        if (s->w[i].pid)
            (void)worker_send(s->w[i].fd, WORKER_STOP, 0, "", 0, &e);
    for (int i = 0; i < s->n; i++)
        while (s->w[i].pid && !workers_reap(&s->w[i]))
            if (clock_ns() - begin > WORKERS_END_NS)
                kill(s->w[i].pid, SIGKILL);
    mem_free(s->w);
    mem_free(s);
}

int workers_run(const struct workers_options *o, struct trace **t, struct workers_outcome *out,
                struct err *e)
{
    struct workers *s = NULL;
    *t = NULL;
    *out = (struct workers_outcome){.figures = STR_INIT};
    TRY(workers_open(o->n, &s, e));
    const int rc = workers_turn(s, o, t, out, e);
    workers_close(s);
    return rc;
}
