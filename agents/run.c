#include "run.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "clock.h"

#define RUN_POLL_MS 200 /* how long a stop request or a time limit may go unseen */
#define RUN_PROGRESS_NS 500000000

struct run {
    const struct run_options *o;
    struct consult **flight; /* (cap) cases in flight, the first n_flight are used */
    size_t n_flight, cap;
    size_t next; /* question to start next */
    bool over;   /* the feed has no more */
    struct run_progress p;
    int64_t t_start, t_shown;
    double joules; /* the reading up to which energy has been shared; NaN = none */
    int rc;        /* the error that ends the run */
    struct err err;
};

static int64_t run_clock(const struct run *r)
{
    return r->o->clock ? r->o->clock(r->o->user) : clock_ns();
}

static bool run_stopped(const struct run *r)
{
    return r->o->stop && atomic_load_explicit(r->o->stop, memory_order_relaxed) != 0;
}

static void run_count(struct run_progress *p, const struct result *r)
{
    p->done++;
    p->correct += r->correct;
    p->unparsed += r->state == CONSULT_UNPARSED;
    p->failed += r->state == CONSULT_FAILED;
}

static void run_show(struct run *r)
{
    int64_t now = run_clock(r);
    r->p.in_flight = r->n_flight;
    r->p.seconds = (double)(now - r->t_start) * 1e-9;
    r->t_shown = now;
    if (r->o->progress)
        r->o->progress(&r->p, r->o->user);
}

static void run_end(struct run *r, int rc, const struct err *why)
{
    if (!r->rc) {
        r->rc = rc;
        r->err = *why;
    }
}

/* ---- one case -------------------------------------------------------------------------------- */

/* Before the number of cases in flight changes: shares the energy since the last change among them.
 * Without a case in flight, the next one gets it. A reading that is NaN, before or now, makes the
 * shares NaN. */
static void run_share(struct run *r)
{
    const char *source = NULL;
    if (!r->o->joules)
        return;
    double now = r->o->joules(r->o->user, &source);
    for (size_t i = 0; i < r->n_flight; i++) {
        r->flight[i]->joules += (now - r->joules) / (double)r->n_flight;
        r->flight[i]->energy = source;
    }
    if (r->n_flight || !isfinite(r->joules))
        r->joules = now;
}

static void run_cancel(struct consult *c)
{
    for (struct consult_call *k = c->first; k; k = k->next)
        if (!k->done)
            llm_cancel(c->env->llm, &k->llm);
}

/* Handles a strategy's return code: ERR_DATA fails the case, any other error ends the run. */
static void run_verdict(struct run *r, struct consult *c, int rc, const struct err *why)
{
    if (rc == ERR_DATA)
        consult_fail(c, "%s", why->msg);
    else if (rc < 0)
        run_end(r, rc, why);
}

static int run_record(struct run *r, struct consult *c, struct err *e)
{
    c->t_end = run_clock(r);
    consult_warn_thinking(c);
    if (r->o->feed) {
        r->p.done++;
        r->p.fresh++;
        return r->o->feed->record(r->o->feed->user, c, e);
    }
    TRY(trace_append(r->o->trace, c, e));
    const struct results *rs = trace_results(r->o->trace);
    const struct result *res = &rs->r[rs->n - 1];
    run_count(&r->p, res);
    r->p.fresh++;
    r->p.new_tokens += res->think_tokens + res->new_tokens;
    r->p.prompt_tokens += res->prompt_tokens;
    if (isfinite(res->joules)) {
        r->p.joules += res->joules;
        r->p.n_joules++;
    }
    if (r->o->finished)
        r->o->finished(c, res, r->o->user);
    return 0;
}

/* A case that is over waits only for its cancelled calls; then it is written and freed. */
static void run_settle(struct run *r, size_t at)
{
    struct consult *c = r->flight[at];
    struct err e = {.code = 0};
    if (c->state == CONSULT_OPEN && !r->rc) {
        CHECK_MSG(c->n_open, "a strategy neither asked nor answered");
        return;
    }
    if (c->n_open) {
        run_cancel(c);
        return;
    }
    run_share(r);
    if (c->state != CONSULT_OPEN && !r->rc) {
        int rc = run_record(r, c, &e);
        if (rc < 0)
            run_end(r, rc, &e);
        else
            run_show(r);
    }
    consult_close(c);
    r->flight[at] = r->flight[--r->n_flight];
}

/* failed: the reason for which the question is not asked; NULL = it is. */
static void run_start(struct run *r, const struct medqa_question *q, const char *failed)
{
    struct err e = {.code = 0};
    struct consult *c = NULL;
    int rc = consult_open(r->o->env, q, &c, &e);
    if (rc < 0) {
        run_end(r, rc, &e);
        return;
    }
    run_share(r);
    c->t_start = run_clock(r);
    if (r->o->joules)
        c->joules = 0;
    r->flight[r->n_flight++] = c;
    if (failed) {
        consult_fail(c, "%s", failed);
    } else {
        rc = strategy_start(r->o->env, c, &e);
        run_verdict(r, c, rc, &e);
    }
    run_settle(r, r->n_flight - 1);
}

static size_t run_find(const struct run *r, const struct consult *c)
{
    size_t i = 0;
    while (i < r->n_flight && r->flight[i] != c)
        i++;
    CHECK_MSG(i < r->n_flight, "a call of no case in flight");
    return i;
}

/* The strategy reads a completed call, also the last one within a spent budget: every reply of a
 * case is read, whichever ended last. */
static void run_read(struct run *r, struct consult *c, struct consult_call *k)
{
    struct err e = {.code = 0};
    bool spent = consult_spent(c);
    int rc = r->o->env->strategy->step(r->o->env->state, c, k, &e);
    if (spent && (rc == 0 || rc == ERR_DATA)) /* it could not ask more */
        consult_overspent(c);
    else
        run_verdict(r, c, rc, &e);
}

static void run_step(struct run *r, struct llm_call *l)
{
    struct consult_call *k = l->user_data;
    struct consult *c = k->of;
    struct err e = {.code = 0};
    const struct consult_watch *w = r->o->env->watch;
    k->done = true;
    c->n_open--;
    if (w && w->ended)
        w->ended(k, w->user);
    if (c->state == CONSULT_OPEN && !r->rc) {
        if (l->finish == LLM_ERROR) {
            err_set(&e, l->err.code ? l->err.code : ERR_BUG, "%s: %s", k->role->name, l->err.msg);
            if (e.code == ERR_DATA) {
                consult_break(k, &e);
            } else {
                consult_bad(k, &e);
                run_end(r, e.code, &e);
            }
        } else if (l->finish == LLM_CANCEL) {
            err_set(&e, ERR_CANCEL, "%s: cancelled by the model's side", k->role->name);
            run_end(r, ERR_CANCEL, &e);
        } else {
            run_read(r, c, k);
        }
        consult_settle(c);
    }
    if (w && w->taken)
        w->taken(k, w->user);
    run_settle(r, run_find(r, c));
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void run_time_limits(struct run *r)
{
    double limit = r->o->env->options->timeout_seconds;
    int64_t now = run_clock(r);
    for (size_t i = r->n_flight; limit > 0 && i-- > 0;) {
        struct consult *c = r->flight[i];
        double spent = (double)(now - c->t_start) * 1e-9;
        if (c->state == CONSULT_OPEN && spent > limit) {
            consult_fail(c, "stopped after %.1f s, budgets.timeout_seconds is %g", spent, limit);
            run_settle(r, i);
        }
    }
}

static void run_fill(struct run *r)
{
    while (!r->rc && !run_stopped(r) && r->n_flight < r->cap && r->next < r->o->n) {
        const struct medqa_question *q = &r->o->question[r->next++];
        if (!trace_has(r->o->trace, q->index))
            run_start(r, q, NULL);
    }
}

static void run_take(struct run *r)
{
    while (!r->rc && !r->over) {
        const bool room = r->n_flight < r->cap;
        struct run_given given = {.q = NULL};
        struct err e = {.code = 0};
        const int rc = r->o->feed->take(r->o->feed->user, room, !r->n_flight, &given, &e);
        if (rc < 0)
            run_end(r, rc, &e);
        else if (given.q)
            run_start(r, given.q, given.fail);
        r->over = given.over;
        if (!given.q)
            return;
    }
}

/* The run ends before its time: calls in flight are cancelled and waited for. */
static void run_abandon(struct run *r)
{
    for (size_t i = r->n_flight; i-- > 0;)
        run_settle(r, i);
}

static void run_loop(struct run *r)
{
    for (;;) {
        if (r->o->feed)
            run_take(r);
        else
            run_fill(r);
        if (run_stopped(r) && !r->rc) {
            struct err e;
            err_set(&e, ERR_CANCEL, "stopped");
            run_end(r, ERR_CANCEL, &e);
        }
        if (r->rc)
            run_abandon(r);
        if (!r->n_flight && r->o->feed && !r->over && !r->rc)
            continue; /* the feed waits */
        if (!r->n_flight)
            break;
        struct llm_call *l =
            llm_next(r->o->env->llm, r->o->poll_ms > 0 ? r->o->poll_ms : RUN_POLL_MS);
        if (l)
            run_step(r, l);
        run_time_limits(r);
        if (run_clock(r) - r->t_shown >= RUN_PROGRESS_NS)
            run_show(r);
    }
}

/* Every result in the trace is that of the question given in its place, or lies beyond the last one
 * given. */
static int run_adopt(struct run *r, struct err *e)
{
    const struct results *rs = trace_results(r->o->trace);
    for (size_t i = 0; i < rs->n; i++) {
        const struct result *res = &rs->r[i];
        size_t lo = 0, hi = r->o->n;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            if (r->o->question[mid].index < res->index)
                lo = mid + 1;
            else
                hi = mid;
        }
        const struct medqa_question *q = lo < r->o->n ? &r->o->question[lo] : NULL;
        if (!q) {
            r->p.beyond++;
            continue;
        }
        if (q->index != res->index || strcmp(q->id, res->id) != 0)
            FAIL(e, ERR_CONFIG,
                 "the run holds question %s as record %lld, where the data has %s; choose another "
                 "--out",
                 res->id, (long long)res->index + 1, q->index == res->index ? q->id : "none");
        run_count(&r->p, res);
    }
    return 0;
}

int run_questions(const struct run_options *o, struct run_progress *out, struct err *e)
{
    int slots = o->concurrency > 0 ? o->concurrency : llm_info(o->env->llm)->slots;
    struct run r = {
        .o = o, .cap = slots > 0 ? (size_t)slots : 1, .p = {.total = o->n}, .joules = (double)NAN};
    if (!o->feed)
        TRY(run_adopt(&r, e));
    r.flight = mem_zalloc(r.cap, sizeof(struct consult *));
    if (!r.flight)
        return NOMEM(e, r.cap * sizeof(struct consult *), "cases in flight");
    r.t_start = run_clock(&r);
    run_show(&r);
    run_loop(&r);
    run_show(&r);
    mem_free(r.flight);
    if (out)
        *out = r.p;
    if (r.rc < 0)
        FAIL(e, r.rc, "%s", r.err.msg);
    return 0;
}
