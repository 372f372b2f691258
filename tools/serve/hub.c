#include "hub.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "source.h"

enum hub_place { ABSENT, LOADING, RESIDENT };

struct hub_slot {
    struct hub_model m;
    enum hub_place place;
    int held;
    int64_t keep_ms;
    int64_t t_used; /* ns, when held became 0 */
    struct hub_wait *head, **tail;
};

struct hub {
    struct hub_options o;
    struct hub_slot *slot; /* (o.n) */
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t thread;
    bool has_thread, closing;
};

int hub_find(struct hub *h, const char *name)
{
    size_t n = name ? strlen(name) : 0;
    if (!n)
        return 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < h->o.n; i++)
            if (strlen(h->o.name[i]) == n && !memcmp(h->o.name[i], name, n))
                return i;
        if (n <= 7 || strcmp(name + n - 7, ":latest") != 0)
            break;
        n -= 7;
    }
    return -1;
}

void hub_names(struct hub *h, struct str *out)
{
    for (int i = 0; i < h->o.n; i++)
        str_addf(out, "%s%s", i ? ", " : "", h->o.name[i]);
}

int hub_count(struct hub *h)
{
    return h->o.n;
}

void hub_entry(struct hub *h, int index, struct hub_entry *out)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&h->lock);
    const struct hub_slot *s = &h->slot[index];
    snprintf(out->name, sizeof out->name, "%s", s->m.name);
    snprintf(out->path, sizeof out->path, "%s", s->m.path);
    out->resident = s->place == RESIDENT;
    out->loading = s->place == LOADING;
    out->held = s->held;
    out->ends_ms = -1;
    if (out->resident && s->keep_ms != HUB_FOR_EVER) {
        int64_t left = s->held ? s->keep_ms : s->keep_ms - (clock_ns() - s->t_used) / 1000000;
        out->ends_ms = left > 0 ? left : 0;
    }
    if (out->resident)
        out->bytes = s->m.info->model_bytes;
    pthread_mutex_unlock(&h->lock);
    if (stat(out->path, &st) == 0 && S_ISREG(st.st_mode)) {
        out->bytes = out->bytes ? out->bytes : (uint64_t)st.st_size;
        out->modified = (int64_t)st.st_mtime;
    }
}

/* ---- the loading thread ---------------------------------------------------------------------- */

/* Ends the waits of s: with a model, or with an error. With the lock, which is released for the
 * calls. */
static void hub_answer(struct hub *h, struct hub_slot *s, const struct err *why)
{
    while (s->head) {
        struct hub_wait *w = s->head;
        s->head = w->next;
        if (!s->head)
            s->tail = &s->head;
        if (!why)
            s->held++;
        pthread_mutex_unlock(&h->lock);
        w->ready(w, why ? NULL : &s->m, why);
        pthread_mutex_lock(&h->lock);
    }
}

static int64_t hub_left_ns(const struct hub_slot *s, int64_t now)
{
    if (s->place != RESIDENT || s->held || s->keep_ms == HUB_FOR_EVER)
        return INT64_MAX;
    int64_t keep = s->keep_ms > INT64_MAX / 2000000 ? INT64_MAX / 2 : s->keep_ms * 1000000;
    int64_t left = keep - (now - s->t_used);
    return left > 0 ? left : 0;
}

static void hub_unload(struct hub *h, struct hub_slot *s)
{
    struct engine *en = s->m.en;
    s->place = LOADING; /* nobody takes it while it goes */
    s->m.en = NULL;
    pthread_mutex_unlock(&h->lock);
    engine_close(en);
    log_info("model %s unloaded", s->m.name);
    pthread_mutex_lock(&h->lock);
    s->place = ABSENT;
}

static void hub_load(struct hub *h, struct hub_slot *s)
{
    struct engine_options opt = h->o.engine;
    struct engine *en = NULL;
    struct err why = {0};
    s->place = LOADING;
    pthread_mutex_unlock(&h->lock);
    int64_t start = clock_ns();
    opt.model = s->m.path;
    int rc = engine_open(&opt, &en, &why);
    double seconds = (double)(clock_ns() - start) / 1e9;
    if (rc < 0)
        log_warn("model %s: %s", s->m.name, why.msg);
    else
        log_info("model %s loaded in %.1f s", s->m.name, seconds);
    pthread_mutex_lock(&h->lock);
    if (rc == 0) {
        s->m.en = en;
        s->m.tok = engine_tokenizer(en);
        s->m.info = engine_info(en);
        s->m.load_seconds = seconds;
        s->t_used = clock_ns();
        s->keep_ms = h->o.keep_ms;
    }
    s->place = rc < 0 ? ABSENT : RESIDENT;
    hub_answer(h, s, rc < 0 ? &why : NULL);
}

/* Makes room for another model. false: every resident model is in use. */
static bool hub_room(struct hub *h)
{
    for (;;) {
        struct hub_slot *oldest = NULL;
        int n = 0;
        for (int i = 0; i < h->o.n; i++) {
            struct hub_slot *s = &h->slot[i];
            n += s->place == RESIDENT;
            if (s->place == RESIDENT && !s->held && (!oldest || s->t_used < oldest->t_used))
                oldest = s;
        }
        if (n < h->o.resident)
            return true;
        if (!oldest)
            return false;
        hub_unload(h, oldest);
    }
}

static void hub_sleep(struct hub *h, int64_t ns)
{
    struct timespec t;
    if (ns == INT64_MAX) {
        pthread_cond_wait(&h->news, &h->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t at = t.tv_nsec + ns % 1000000000;
    t.tv_sec += ns / 1000000000 + at / 1000000000;
    t.tv_nsec = at % 1000000000;
    pthread_cond_timedwait(&h->news, &h->lock, &t);
}

/* One thing that can be done now. false: nothing. *sleep: ns until the next life ends. */
static bool hub_step(struct hub *h, int64_t *sleep)
{
    int64_t now = clock_ns();
    *sleep = INT64_MAX;
    for (int i = 0; i < h->o.n; i++) {
        struct hub_slot *s = &h->slot[i];
        if (s->place == RESIDENT && s->head) {
            hub_answer(h, s, NULL);
            return true;
        }
        if (s->place == ABSENT && s->head && hub_room(h)) {
            hub_load(h, s);
            return true;
        }
        int64_t left = hub_left_ns(s, now);
        if (!left) {
            hub_unload(h, s);
            return true;
        }
        if (left < *sleep)
            *sleep = left;
    }
    return false;
}

static void *hub_main(void *arg)
{
    struct hub *h = arg;
    pthread_mutex_lock(&h->lock);
    while (!h->closing) {
        int64_t sleep;
        if (!hub_step(h, &sleep))
            hub_sleep(h, sleep);
    }
    struct err why = {0};
    err_set(&why, ERR_CANCEL, "the server is stopping");
    for (int i = 0; i < h->o.n; i++)
        hub_answer(h, &h->slot[i], &why);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

int hub_slots(struct hub *h)
{
    int n = 0;
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < h->o.n; i++)
        n += h->slot[i].place == RESIDENT ? h->slot[i].m.info->n_seq : 0;
    pthread_mutex_unlock(&h->lock);
    return n;
}

void hub_want(struct hub *h, struct hub_wait *w)
{
    struct hub_slot *s = &h->slot[w->index];
    struct err why = {0};
    w->next = NULL;
    pthread_mutex_lock(&h->lock);
    if (h->closing)
        err_set(&why, ERR_CANCEL, "the server is stopping");
    bool now = why.code || (s->place == RESIDENT && !s->head);
    if (now) {
        s->held += !why.code;
    } else {
        *s->tail = w;
        s->tail = &w->next;
        pthread_cond_signal(&h->news);
    }
    pthread_mutex_unlock(&h->lock);
    if (now)
        w->ready(w, why.code ? NULL : &s->m, why.code ? &why : NULL);
}

bool hub_give_up(struct hub *h, struct hub_wait *w)
{
    struct hub_slot *s = &h->slot[w->index];
    bool found = false;
    pthread_mutex_lock(&h->lock);
    for (struct hub_wait **p = &s->head; *p && !found; p = *p ? &(*p)->next : p)
        if (*p == w) {
            *p = w->next;
            found = true;
            break;
        }
    s->tail = &s->head;
    while (*s->tail)
        s->tail = &(*s->tail)->next;
    pthread_mutex_unlock(&h->lock);
    return found;
}

void hub_release(struct hub *h, struct hub_model *m, int64_t keep_ms)
{
    struct hub_slot *s = (struct hub_slot *)m; /* its first member */
    pthread_mutex_lock(&h->lock);
    CHECK(s->held > 0);
    if (keep_ms >= 0)
        s->keep_ms = keep_ms;
    s->t_used = clock_ns();
    if (--s->held == 0)
        pthread_cond_signal(&h->news);
    pthread_mutex_unlock(&h->lock);
}

struct hub_model *hub_peek(struct hub *h, int index)
{
    struct hub_slot *s = &h->slot[index];
    pthread_mutex_lock(&h->lock);
    bool there = s->place == RESIDENT;
    s->held += there;
    pthread_mutex_unlock(&h->lock);
    return there ? &s->m : NULL;
}

void hub_unpeek(struct hub *h, struct hub_model *m)
{
    struct hub_slot *s = (struct hub_slot *)m;
    pthread_mutex_lock(&h->lock);
    if (--s->held == 0)
        pthread_cond_signal(&h->news);
    pthread_mutex_unlock(&h->lock);
}

int hub_open(const struct hub_options *o, struct hub **out, struct err *e)
{
    for (int i = 0; i < o->n; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(o->name[i], o->name[k]))
                FAIL(e, ERR_USAGE, "two models have the name '%s'; write NAME=FILE", o->name[i]);
    CHECK(o->n > 0 && o->resident > 0);
    struct hub *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return NOMEM(e, sizeof *h, "models");
    pthread_condattr_t attr;
    h->o = *o;
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->news, &attr);
    pthread_condattr_destroy(&attr);
    h->slot = mem_zalloc((size_t)o->n, sizeof *h->slot);
    int rc = h->slot ? 0 : NOMEM(e, (size_t)o->n * sizeof *h->slot, "models");
    for (int i = 0; rc == 0 && i < o->n; i++) {
        h->slot[i].m.name = o->name[i];
        h->slot[i].m.path = o->path[i];
        h->slot[i].tail = &h->slot[i].head;
    }
    if (rc == 0 && pthread_create(&h->thread, NULL, hub_main, h) != 0)
        rc = err_set(e, ERR_AGAIN, "cannot start the thread that loads models");
    h->has_thread = rc == 0;
    if (rc < 0) {
        hub_close(h);
        return rc;
    }
    *out = h;
    return 0;
}

void hub_close(struct hub *h)
{
    if (!h)
        return;
    if (h->has_thread) {
        pthread_mutex_lock(&h->lock);
        h->closing = true;
        pthread_cond_signal(&h->news);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    for (int i = 0; h->slot && i < h->o.n; i++) {
        CHECK(h->slot[i].held == 0);
        engine_close(h->slot[i].m.en);
    }
    pthread_cond_destroy(&h->news);
    pthread_mutex_destroy(&h->lock);
    mem_free(h->slot);
    mem_free(h);
}
