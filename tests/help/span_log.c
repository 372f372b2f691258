#include "span_log.h"

#include <stdio.h>
#include <string.h>

static struct span_log *self(struct spans *s)
{
    return (struct span_log *)s;
}

static void fault(struct span_log *l, const char *what, const char *name)
{
    if (!l->fault[0])
        snprintf(l->fault, sizeof l->fault, "%s: %s", what, name);
}

/* Of the calling thread, under the lock. */
static struct span_log_thread *thread_of(struct span_log *l)
{
    for (int i = 0; i < l->n_thread; i++)
        if (pthread_equal(l->thread[i].id, pthread_self()))
            return &l->thread[i];
    if (l->n_thread == SPAN_LOG_THREADS) {
        fault(l, "too many threads", "8");
        return &l->thread[0];
    }
    struct span_log_thread *t = &l->thread[l->n_thread++];
    *t = (struct span_log_thread){.id = pthread_self()};
    return t;
}

static void on_thread(struct spans *s, const char *name)
{
    struct span_log *l = self(s);
    pthread_mutex_lock(&l->lock);
    thread_of(l)->name = name;
    pthread_mutex_unlock(&l->lock);
}

static void on_begin(struct spans *s, const struct span *span)
{
    struct span_log *l = self(s);
    pthread_mutex_lock(&l->lock);
    struct span_log_thread *t = thread_of(l);
    if (!t->name)
        fault(l, "begun by a thread without a name", span->name);
    if (t->depth == SPAN_LOG_DEEP)
        fault(l, "nested too deep", span->name);
    else
        t->open[t->depth++] = span;
    pthread_mutex_unlock(&l->lock);
}

static void on_end(struct spans *s, const struct span *span)
{
    struct span_log *l = self(s);
    pthread_mutex_lock(&l->lock);
    struct span_log_thread *t = thread_of(l);
    if (!t->depth || t->open[t->depth - 1] != span) {
        fault(l, "ended, but is not the innermost", span->name);
    } else {
        t->depth--;
        l->n[span->kind]++;
        if (span->kind == SPAN_OP) {
            l->n_op[span->op]++;
            l->in_op[span->op] += span->layer >= 0;
            l->bytes[span->op] += span->bytes;
        }
        if (l->each)
            l->each(l->user, span, t->open, t->depth);
    }
    pthread_mutex_unlock(&l->lock);
}

static void on_start(struct spans *s, uint64_t id, const struct span *span)
{
    struct span_log *l = self(s);
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n_open; i++)
        if (l->open[i] == id)
            fault(l, "started twice", span->name);
    if (l->n_open < SPAN_LOG_OPEN)
        l->open[l->n_open++] = id;
    pthread_mutex_unlock(&l->lock);
}

static void on_finish(struct spans *s, uint64_t id)
{
    struct span_log *l = self(s);
    pthread_mutex_lock(&l->lock);
    size_t i = 0;
    while (i < l->n_open && l->open[i] != id)
        i++;
    if (i == l->n_open) {
        fault(l, "finished, but was not started", "call");
    } else {
        l->open[i] = l->open[--l->n_open];
        l->n[SPAN_CALL]++;
    }
    pthread_mutex_unlock(&l->lock);
}

static void on_record(struct spans *s, struct ops *ops, uint64_t key)
{
    (void)ops;
    self(s)->records += key != 0;
}

static void on_replay(struct spans *s, struct ops *ops, uint64_t key)
{
    (void)ops;
    self(s)->replays += key != 0;
}

void span_log_init(struct span_log *l)
{
    memset(l, 0, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->spans = (struct spans){.thread = on_thread,
                              .begin = on_begin,
                              .end = on_end,
                              .start = on_start,
                              .finish = on_finish,
                              .record = on_record,
                              .replay = on_replay};
}

bool span_log_right(struct span_log *l)
{
    for (int i = 0; i < l->n_thread; i++)
        if (l->thread[i].depth)
            fault(l, "has not ended", l->thread[i].open[l->thread[i].depth - 1]->name);
    if (l->n_open)
        fault(l, "has not finished", "call");
    return !l->fault[0];
}
