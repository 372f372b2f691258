#include "task.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "mem.h"

void task_end(struct task *t)
{
    if (t->m)
        hub_release(t->s->hub, t->m, t->keep_ms);
    serve_leave(t->s, t->admitted);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

void task_fail(struct task *t, int status, const char *param, const char *fmt, ...)
{
    char message[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    http_forget(t->c->http);
    call_fail(t->c, status, param, "%s", message);
    task_end(t);
}

void task_fail_err(struct task *t, const char *param, const struct err *e)
{
    http_forget(t->c->http);
    call_fail_err(t->c, param, e);
    task_end(t);
}

void task_reply(struct task *t, struct str *json)
{
    http_forget(t->c->http);
    call_reply(t->c, 200, json);
    task_end(t);
}

/* On a thread of work: the wait for the model is over. */
static void task_ready(struct work_job *j)
{
    struct task *t = (struct task *)((char *)j - offsetof(struct task, job));
    t->t_ready = clock_ns();
    if (t->m && task_gone(t)) /* while the model was loaded */
        task_fail(t, 503, NULL, "the client has left");
    else if (t->m)
        t->ready(t);
    else if (t->why.code == ERR_CANCEL)
        task_fail_err(t, "model", &t->why);
    else /* the cause names files: it is in the log */
        task_fail(t, t->why.code == ERR_NOMEM ? 503 : 500, "model",
                  "the model cannot be loaded; the server's log says why");
}

static void task_have(struct hub_wait *w, struct hub_model *m, const struct err *why)
{
    struct task *t = w->user;
    t->m = m;
    if (why)
        t->why = *why;
    t->job.run = task_ready;
    work_post(t->s->work, &t->job);
}

/* The client has left: on the watcher's thread. */
static void task_left(struct http *h, void *user)
{
    struct task *t = user;
    (void)h;
    pthread_mutex_lock(&t->lock);
    t->gone = true;
    bool waiting = t->submitted == 0;
    pthread_mutex_unlock(&t->lock);
    task_cancel(t);
    if (waiting && hub_give_up(t->s->hub, &t->wait)) {
        err_set(&t->why, ERR_CANCEL, "the client has left");
        t->job.run = task_ready;
        work_post(t->s->work, &t->job);
    }
}

bool task_start(struct call *c, const char *model, int replies, int64_t keep_ms,
                void (*ready)(struct task *t), void *user)
{
    int index = hub_find(c->s->hub, model);
    if (index < 0) {
        call_no_model(c, model);
        return false;
    }
    if (!serve_admit(c, replies))
        return false;
    struct task *t = mem_zalloc(1, sizeof *t);
    if (!t) {
        struct err e = {0};
        serve_leave(c->s, replies);
        NOMEM(&e, sizeof *t, "a request");
        call_fail_err(c, NULL, &e);
        return false;
    }
    t->s = c->s;
    t->c = c;
    t->keep_ms = keep_ms;
    t->admitted = replies;
    t->ready = ready;
    t->user = user;
    t->wait.ready = task_have;
    t->wait.user = t;
    pthread_mutex_init(&t->lock, NULL);
    t->wait.index = index;
    http_watch(c->http, task_left, t);
    hub_want(t->s->hub, &t->wait);
    return true;
}

/* ---- replies --------------------------------------------------------------------------------- */

/* For the log's line: tokens of the prompts and of the replies. */
static void task_note(struct task *t)
{
    char note[HTTP_NOTE_MOST];
    long prompt = 0, reply = 0;
    for (int i = 0; i < t->n_gen; i++) {
        prompt += t->gen[i].r.n_prompt;
        reply += t->gen[i].r.n_out;
    }
    snprintf(note, sizeof note, "%ld + %ld tokens", prompt, reply);
    http_set_note(t->c->http, note);
}

/* n replies have ended; the last one ends the task's work. On a thread of work. */
static void task_ended(struct task *t, int n)
{
    pthread_mutex_lock(&t->lock);
    t->left -= n;
    bool last = t->left == 0;
    pthread_mutex_unlock(&t->lock);
    if (!last)
        return;
    http_forget(t->c->http);
    task_note(t);
    t->finished(t);
}

static void task_gen_done(struct gen *g)
{
    struct task *t = g->user;
    if (g->finish == GEN_ERROR && g->r.err.code == ERR_NODEV)
        atomic_store(&t->s->lost, true);
    task_ended(g->user, 1);
}

void task_cancel(struct task *t)
{
    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < t->submitted; i++)
        gen_cancel(&t->gen[i]);
    pthread_mutex_unlock(&t->lock);
}

bool task_gone(struct task *t)
{
    pthread_mutex_lock(&t->lock);
    bool gone = t->gone;
    pthread_mutex_unlock(&t->lock);
    return gone;
}

int task_run(struct task *t, void (*finished)(struct task *t), struct err *e)
{
    for (int i = 0; i < t->n_gen; i++)
        TRY(gen_check(&t->gen[i], e));
    t->finished = finished;
    t->left = t->n_gen + 1; /* one for this function */
    for (int i = 0; i < t->n_gen; i++) {
        struct gen *g = &t->gen[i];
        struct err why = {0};
        g->user = t;
        g->done = task_gen_done;
        int rc = gen_submit(g, &why);
        if (rc < 0 && i == 0) {
            if (e)
                *e = why;
            return rc;
        }
        if (rc < 0) { /* this reply and those after it fail, the others are given up */
            for (int k = i; k < t->n_gen; k++) {
                t->gen[k].finish = GEN_ERROR;
                t->gen[k].r.err = why;
            }
            task_cancel(t);
            task_ended(t, t->n_gen - i + 1);
            return 0;
        }
        pthread_mutex_lock(&t->lock);
        t->submitted = i + 1;
        pthread_mutex_unlock(&t->lock);
    }
    if (task_gone(t))
        task_cancel(t);
    task_ended(t, 1);
    return 0;
}
