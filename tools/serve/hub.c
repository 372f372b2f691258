#include "hub.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cgroup.h"
#include "check.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "source.h"
#include "zio.h"

enum hub_place { ABSENT, LOADING, RESIDENT };

struct hub_slot {
    struct hub_model m;
    enum hub_place place;
    int held, waiting;
    bool ending; /* resident, and another model needs its room: no new request gets it */
    bool alone;  /* did not fit beside another model: is loaded when no other is */
    bool broken; /* could not be loaded, even when no other was */
    int64_t keep_ms;
    int64_t t_used; /* ns, when held became 0 */
    uint64_t bytes; /* of the file, 0 = not known */
    uint64_t loads;
    struct engine_stats past; /* totals of the loads that are over */
    struct hub_wait *head, **tail;
    char name[128];
    char *path;
};

struct hub {
    struct hub_options o;
    struct hub_slot *slot; /* (HUB_MODELS_MOST), n in use */
    int n;
    uint64_t tickets;
    pthread_mutex_t lock;
    pthread_cond_t news;
    pthread_t thread;
    bool has_thread, closing;
};

/* ---- names ----------------------------------------------------------------------------------- */

static int hub_exact(const struct hub *h, const char *name, size_t n)
{
    for (int i = 0; i < h->n; i++)
        if (strlen(h->slot[i].name) == n && !memcmp(h->slot[i].name, name, n))
            return i;
    return -1;
}

/* With the lock. */
static int hub_named(const struct hub *h, const char *name)
{
    char tagged[136];
    size_t n = strlen(name);
    int i = hub_exact(h, name, n);
    if (i < 0 && n > 7 && !strcmp(name + n - 7, ":latest"))
        return hub_exact(h, name, n - 7);
    if (i < 0 && n < 128 && !strchr(name, ':')) {
        snprintf(tagged, sizeof tagged, "%s:latest", name);
        return hub_exact(h, tagged, n + 7);
    }
    return i;
}

int hub_find(struct hub *h, const char *name)
{
    if (!name || !*name)
        return 0;
    pthread_mutex_lock(&h->lock);
    int i = hub_named(h, name);
    pthread_mutex_unlock(&h->lock);
    return i;
}

void hub_names(struct hub *h, struct str *out)
{
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < h->n; i++)
        str_addf(out, "%s%s", i ? ", " : "", h->slot[i].name);
    pthread_mutex_unlock(&h->lock);
}

int hub_count(struct hub *h)
{
    pthread_mutex_lock(&h->lock);
    int n = h->n;
    pthread_mutex_unlock(&h->lock);
    return n;
}

bool hub_broken(struct hub *h, int index)
{
    pthread_mutex_lock(&h->lock);
    const bool broken = h->slot[index].broken;
    pthread_mutex_unlock(&h->lock);
    return broken;
}

const struct engine_options *hub_engine_options(const struct hub *h)
{
    return &h->o.engine;
}

void hub_entry(struct hub *h, int index, struct hub_entry *out)
{
    struct stat st;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&h->lock);
    const struct hub_slot *s = &h->slot[index];
    snprintf(out->name, sizeof out->name, "%s", s->name);
    snprintf(out->path, sizeof out->path, "%s", s->path);
    out->resident = s->place == RESIDENT;
    out->loading = s->place == LOADING;
    out->held = s->held;
    out->waiting = s->waiting;
    out->loads = s->loads;
    out->ends_ms = -1;
    if (out->resident && s->keep_ms != HUB_FOR_EVER) {
        int64_t left = s->held ? s->keep_ms : s->keep_ms - (clock_ns() - s->t_used) / 1000000;
        out->ends_ms = left > 0 ? left : 0;
    }
    out->bytes = out->resident ? s->m.info->model_bytes : s->bytes;
    pthread_mutex_unlock(&h->lock);
    if (stat(out->path, &st) == 0 && S_ISREG(st.st_mode))
        out->modified = (int64_t)st.st_mtime;
}

/* Bytes of a model's file, or of all its parts. 0: not known. */
static uint64_t hub_bytes(const char *path)
{
    struct str part = STR_INIT;
    struct stat st;
    size_t n = strlen(path);
    unsigned first, parts = 1;
    uint64_t sum = 0;
    if (n < 20 || sscanf(path + n - 20, "-%5u-of-%5u.gguf", &first, &parts) != 2)
        parts = 1;
    for (unsigned i = 1; i <= parts; i++) {
        str_clear(&part);
        if (parts > 1)
            str_addf(&part, "%.*s-%05u-of-%05u.gguf", (int)(n - 20), path, i, parts);
        else
            str_adds(&part, path);
        if (part.failed || stat(part.s, &st) != 0 || !S_ISREG(st.st_mode)) {
            sum = 0;
            break;
        }
        sum += (uint64_t)st.st_size;
    }
    str_free(&part);
    return sum;
}

int hub_add(struct hub *h, const char *name, const char *path, int *index, struct err *e)
{
    struct str found = STR_INIT;
    size_t n = strlen(name);
    if (!n || n >= sizeof h->slot->name)
        FAIL(e, ERR_USAGE, "the name of a model has %zu bytes, expected 1 to %zu", n,
             sizeof h->slot->name - 1);
    int rc = source_find(path, h->o.engine.places, &found, e);
    rc = rc < 0 ? rc : str_ok(&found, "the path of a model", e);
    if (rc < 0) {
        str_free(&found);
        return rc;
    }
    uint64_t bytes = hub_bytes(found.s);
    pthread_mutex_lock(&h->lock);
    *index = hub_named(h, name);
    if (*index < 0 && h->n == HUB_MODELS_MOST) {
        rc = err_set(e, ERR_USAGE, "more than %d models", HUB_MODELS_MOST);
    } else if (*index < 0) {
        struct hub_slot *s = &h->slot[h->n];
        snprintf(s->name, sizeof s->name, "%s", name);
        s->path = str_take(&found);
        s->m.name = s->name;
        s->m.path = s->path;
        s->bytes = bytes;
        s->tail = &s->head;
        *index = h->n++;
    }
    pthread_mutex_unlock(&h->lock);
    str_free(&found);
    return rc;
}

/* ---- figures --------------------------------------------------------------------------------- */

#define HUB_TOTALS(X)                                                                              \
    X(prompt_tokens)                                                                               \
    X(cached_tokens)                                                                               \
    X(new_tokens)                                                                                  \
    X(steps)                                                                                       \
    X(rows)                                                                                        \
    X(sequences)                                                                                   \
    X(busy_seconds)                                                                                \
    X(pages_found)                                                                                 \
    X(pages_missed)                                                                                \
    X(pages_evicted)                                                                               \
    X(pages_swapped_out)                                                                           \
    X(pages_swapped_in)                                                                            \
    X(streamed_bytes)                                                                              \
    X(swapped_bytes)                                                                               \
    X(preempted)                                                                                   \
    X(drafted)                                                                                     \
    X(accepted)                                                                                    \
    X(branched)

static void add_totals(struct engine_stats *sum, const struct engine_stats *a)
{
#define X(name) sum->name += a->name;
    HUB_TOTALS(X)
#undef X
}

void hub_stats(struct hub *h, int index, struct engine_stats *out)
{
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&h->lock);
    const struct hub_slot *s = &h->slot[index];
    if (s->place == RESIDENT)
        engine_stats(s->m.en, out);
    add_totals(out, &s->past);
    pthread_mutex_unlock(&h->lock);
}

/* ---- the loading thread ---------------------------------------------------------------------- */

/* Ends the waits of s that came before `ticket`: with a model, or with an error. With the lock,
 * which is released for the calls. */
static void hub_answer(struct hub *h, struct hub_slot *s, uint64_t ticket, const struct err *why)
{
    while (s->head && s->head->ticket < ticket) {
        struct hub_wait *w = s->head;
        s->head = w->next;
        if (!s->head)
            s->tail = &s->head;
        s->waiting--;
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

/* Has an error ended the engine of a resident model, so that loading it again may help? A device
 * that is lost stays lost for this process. With the lock. */
static bool hub_ended(const struct hub_slot *s, struct err *why)
{
    return s->place == RESIDENT && engine_ended(s->m.en, why) < 0 && why->code != ERR_NODEV;
}

static void hub_unload(struct hub *h, struct hub_slot *s)
{
    struct engine *en = s->m.en;
    struct engine_stats last;
    struct err why = {0};
    const bool ended = hub_ended(s, &why);
    s->place = LOADING; /* nobody takes it while it goes */
    engine_stats(en, &last);
    add_totals(&s->past, &last);
    s->m.en = NULL;
    s->m.tok = NULL;
    s->m.info = NULL;
    pthread_mutex_unlock(&h->lock);
    engine_close(en);
    if (ended)
        log_warn("model %s ended: %s; the next request loads it again", s->name, why.msg);
    else
        log_info("model %s unloaded", s->name);
    pthread_mutex_lock(&h->lock);
    s->place = ABSENT;
    s->ending = false;
}

static int hub_resident(const struct hub *h)
{
    int n = 0;
    for (int i = 0; i < h->n; i++)
        n += h->slot[i].place == RESIDENT;
    return n;
}

static void hub_load(struct hub *h, struct hub_slot *s)
{
    struct engine_options opt = h->o.engine;
    struct engine *en = NULL;
    struct err why = {0};
    bool beside = hub_resident(h) > 0;
    s->place = LOADING;
    pthread_mutex_unlock(&h->lock);
    int64_t start = clock_ns();
    opt.model = s->path;
    int rc = engine_open(&opt, &en, &why);
    double seconds = (double)(clock_ns() - start) / 1e9;
    bool retry = beside && !s->broken && (rc == ERR_NOMEM || rc == ERR_USAGE);
    if (rc < 0)
        log_warn("model %s: %s%s", s->name, why.msg,
                 retry ? "; another attempt without other models" : "");
    else
        log_info("model %s loaded in %.1f s", s->name, seconds);
    if (rc == 0 && chat_bare(engine_info(en)->chat))
        log_warn("model %s: " CHAT_BARE_TEXT, s->name);
    pthread_mutex_lock(&h->lock);
    s->alone = retry;
    s->broken = rc < 0 && !retry;
    if (rc < 0) {
        s->place = ABSENT;
        if (!retry)
            hub_answer(h, s, UINT64_MAX, &why);
        return;
    }
    s->m.en = en;
    s->m.tok = engine_tokenizer(en);
    s->m.info = engine_info(en);
    s->m.load_seconds = seconds;
    s->loads++;
    s->t_used = clock_ns();
    s->keep_ms = h->o.keep_ms;
    s->place = RESIDENT;
    hub_answer(h, s, UINT64_MAX, NULL);
}

/* Bytes of main memory that are free. A container's limit counts. */
static bool hub_available(const struct hub *h, uint64_t *bytes)
{
    struct str text = STR_INIT;
    uint64_t limit, left, kib = 0;
    if (h->o.available)
        return h->o.available(bytes, h->o.user);
    const char *at = zio_read("/proc/meminfo", 65536, &text, NULL) == 0
                         ? strstr(text.s, "\nMemAvailable:")
                         : NULL;
    bool found = at && sscanf(at + 14, "%" SCNu64, &kib) == 1;
    str_free(&text);
    *bytes = kib * 1024;
    if (found && cgroup_memory("", &limit, &left) && left < *bytes)
        *bytes = left;
    return found;
}

/* Whether s may be loaded beside the models that are resident. It needs its weights, and a quarter
 * of their size for the KV cache and the workspace. */
static bool hub_fits(const struct hub *h, const struct hub_slot *s)
{
    int n = hub_resident(h);
    uint64_t left;
    if (n == 0)
        return true;
    if (n >= h->o.resident || s->alone)
        return false;
    return !hub_available(h, &left) || left / 5 * 4 >= s->bytes;
}

/* The model whose room another one gets: the least recently used one, idle ones first. */
static struct hub_slot *hub_victim(struct hub *h)
{
    struct hub_slot *v = NULL;
    for (int i = 0; i < h->n; i++) {
        struct hub_slot *s = &h->slot[i];
        if (s->place == RESIDENT &&
            (!v || !s->held > !v->held || (!s->held == !v->held && s->t_used < v->t_used)))
            v = s;
    }
    return v;
}

/* The absent model whose request waits longest. */
static struct hub_slot *hub_wanted(struct hub *h)
{
    struct hub_slot *w = NULL;
    for (int i = 0; i < h->n; i++) {
        struct hub_slot *s = &h->slot[i];
        if (s->place == ABSENT && s->head && (!w || s->head->ticket < w->head->ticket))
            w = s;
    }
    return w;
}

/* One thing that can be done now. false: nothing. *sleep: ns until the next life ends. */
static bool hub_step(struct hub *h, int64_t *sleep)
{
    int64_t now = clock_ns();
    struct hub_slot *want = hub_wanted(h), *victim = NULL;
    for (int i = 0; i < h->n; i++)
        h->slot[i].ending = false;
    if (want && hub_fits(h, want)) {
        hub_load(h, want);
        return true;
    }
    if (want)
        victim = hub_victim(h);
    *sleep = INT64_MAX;
    for (int i = 0; i < h->n; i++) {
        struct hub_slot *s = &h->slot[i];
        struct err why = {0};
        const bool ended = hub_ended(s, &why);
        s->ending = s == victim;
        uint64_t before = s->ending ? want->head->ticket : UINT64_MAX;
        if (s->place == RESIDENT && !ended && s->head && s->head->ticket < before) {
            hub_answer(h, s, before, NULL);
            return true;
        }
        int64_t left = hub_left_ns(s, now);
        if (!left || ((s->ending || ended) && !s->held)) {
            hub_unload(h, s);
            return true;
        }
        if (left < *sleep)
            *sleep = left;
    }
    return false;
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
    for (int i = 0; i < h->n; i++)
        hub_answer(h, &h->slot[i], UINT64_MAX, &why);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

int hub_slots(struct hub *h)
{
    int n = 0;
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < h->n; i++)
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
    const bool ended = hub_ended(s, &why);
    why = (struct err){0};
    if (h->closing)
        err_set(&why, ERR_CANCEL, "the server is stopping");
    bool now = why.code || (s->place == RESIDENT && !s->head && !s->ending && !ended);
    if (now) {
        s->held += !why.code;
    } else {
        w->ticket = ++h->tickets;
        *s->tail = w;
        s->tail = &w->next;
        s->waiting++;
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
    s->tail = &s->head;
    while (*s->tail)
        if (*s->tail == w) {
            *s->tail = w->next;
            found = true;
        } else {
            s->tail = &(*s->tail)->next;
        }
    s->waiting -= found;
    if (found)
        pthread_cond_signal(&h->news); /* a model that was ending for it may stay */
    pthread_mutex_unlock(&h->lock);
    return found;
}

/* With the lock: a holder has ended. */
static void hub_let_go(struct hub *h, struct hub_slot *s)
{
    CHECK(s->held > 0);
    if (--s->held == 0)
        pthread_cond_signal(&h->news);
}

void hub_release(struct hub *h, struct hub_model *m, int64_t keep_ms)
{
    struct hub_slot *s = (struct hub_slot *)m; /* its first member */
    pthread_mutex_lock(&h->lock);
    if (keep_ms >= 0)
        s->keep_ms = keep_ms;
    s->t_used = clock_ns();
    hub_let_go(h, s);
    pthread_mutex_unlock(&h->lock);
}

void hub_keep(struct hub *h, int index, int64_t keep_ms)
{
    struct hub_slot *s = &h->slot[index];
    pthread_mutex_lock(&h->lock);
    if (s->place == RESIDENT) {
        s->keep_ms = keep_ms;
        s->t_used = clock_ns();
        pthread_cond_signal(&h->news);
    }
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
    hub_let_go(h, s);
    pthread_mutex_unlock(&h->lock);
}

/* Adds the models of the options; each name once. */
static int hub_add_all(struct hub *h, struct err *e)
{
    for (int i = 0; i < h->o.n; i++) {
        int index;
        TRY(hub_add(h, h->o.name[i], h->o.path[i], &index, e));
        if (index != i)
            FAIL(e, ERR_USAGE, "two models have the name '%s'; write NAME=FILE", h->o.name[i]);
    }
    return 0;
}

int hub_open(const struct hub_options *o, struct hub **out, struct err *e)
{
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
    h->slot = mem_zalloc(HUB_MODELS_MOST, sizeof *h->slot);
    int rc = h->slot ? hub_add_all(h, e) : NOMEM(e, HUB_MODELS_MOST * sizeof *h->slot, "models");
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
    for (int i = 0; i < h->n; i++) {
        CHECK(h->slot[i].held == 0);
        engine_close(h->slot[i].m.en);
        mem_free(h->slot[i].path);
    }
    pthread_cond_destroy(&h->news);
    pthread_mutex_destroy(&h->lock);
    mem_free(h->slot);
    mem_free(h);
}
