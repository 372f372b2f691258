#include "sim_clock.h"

#include <math.h>
#include <sys/mman.h>

#include "mem.h"

/* addresses, as a multiple of the device's memory: no address is handed out twice */
#define SPACE_TIMES 64

static double later(double a, double b)
{
    return a > b ? a : b;
}

void mark_drop(struct mark *m)
{
    if (m && --m->refs == 0)
        mem_free(m);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void stream_pop(struct stream *s)
{
    struct command *c = s->first;
    s->first = c->next;
    if (!s->first)
        s->last = &s->first;
    mark_drop(c->mark);
    mem_free(c);
}

void stream_clear(struct stream *k)
{
    while (k->first)
        stream_pop(k);
}

void sim_called(struct sim *s, int n)
{
    s->now += n * s->call_s;
}

int sim_queue(struct sim *s, struct stream *to, const struct command *c, struct err *e)
{
    struct command *copy = mem_zalloc(1, sizeof *copy);
    if (!copy)
        return NOMEM(e, sizeof *copy, "a simulated command");
    *copy = *c;
    copy->issued = s->now;
    if (copy->mark)
        copy->mark->refs++;
    *to->last = copy;
    to->last = &copy->next;
    return 0;
}

int sim_work(struct sim *s, struct stream *to, enum sim_engine engine, const char *name,
             double bytes, double seconds, double dram, struct err *e)
{
    const struct command c = {
        .kind = COMMAND_WORK,
        .span = {.engine = engine, .card = to->card, .name = name, .bytes = bytes, .end = seconds},
        .dram = dram};
    return sim_queue(s, to, &c, e);
}

static void sim_note(struct sim *s, const struct sim_span *span)
{
    s->card[span->card].busy[span->engine] += span->end - span->start;
    if (s->n_span < s->c.n_span)
        s->span[s->n_span++] = *span;
}

/* ---- the clock ------------------------------------------------------------------------------- */

/* Executes the commands that take no time, up to the next work. False: the stream is empty, or
 * waits for a record that is not made yet. */
static bool stream_settle(struct stream *s)
{
    for (struct command *c = s->first; c; c = s->first) {
        switch (c->kind) {
        case COMMAND_WORK:
            return true;
        case COMMAND_RECORD:
            c->mark->at = s->at = later(s->at, c->issued);
            c->mark->done = true;
            break;
        case COMMAND_WAIT:
            if (c->mark && !c->mark->done)
                return false;
            s->at = later(s->at, c->mark ? c->mark->at : 0);
            break;
        case COMMAND_CALL:
            c->fn(c->user);
            break;
        }
        stream_pop(s);
    }
    return false;
}

/* True when anything changed: the record of one stream may end the wait of another. */
static bool settle_all(struct sim *s)
{
    bool changed = false;
    for (struct stream *k = s->streams; k; k = k->next) {
        struct command *before = k->first;
        (void)stream_settle(k);
        changed = changed || k->first != before;
    }
    return changed;
}

/* The stream whose work can start first, and the time. Among equals it is the work that was ready
 * first. */
static struct stream *sim_next(struct sim *s, double *start)
{
    struct stream *best = NULL;
    double best_ready = INFINITY;
    *start = INFINITY;
    while (settle_all(s))
        ;
    for (struct stream *k = s->streams; k; k = k->next) {
        const struct command *c = k->first;
        if (!c || c->kind != COMMAND_WORK)
            continue;
        double ready = later(k->at, c->issued + s->c.hop_s),
               t = later(ready, s->card[k->card].free_at[c->span.engine]);
        if (t < *start || (t == *start && ready < best_ready)) {
            best = k;
            best_ready = ready;
            *start = t;
        }
    }
    return best;
}

static void sim_execute(struct sim *s, struct stream *k, double start)
{
    struct sim_span span = k->first->span;
    struct card *card = &s->card[k->card];
    span.start = start;
    span.end += start;
    card->free_at[span.engine] = k->at = span.end;
    if (span.engine == SIM_UP)
        card->up_dram = k->first->dram;
    sim_note(s, &span);
    stream_pop(k);
}

int sim_wait_stream(struct sim *s, struct stream *of, struct err *e)
{
    double start;
    bool idle = !of->first && of->at <= s->now;
    for (;;) {
        struct stream *k = sim_next(s, &start);
        if (!of->first)
            break;
        if (!k)
            FAIL(e, ERR_BUG, "sim: a stream waits for an event that nothing records");
        sim_execute(s, k, start);
    }
    if (!idle)
        s->now = later(s->now, of->at + s->c.hop_s);
    return 0;
}

int sim_wait_mark(struct sim *s, struct mark *m, struct err *e)
{
    double start;
    if (!m || (m->done && m->at <= s->now))
        return 0;
    for (;;) {
        struct stream *k = sim_next(s, &start);
        if (m->done)
            break;
        if (!k)
            FAIL(e, ERR_BUG, "sim: the host waits for an event that nothing records");
        sim_execute(s, k, start);
    }
    s->now = later(s->now, m->at + s->c.hop_s);
    return 0;
}

void sim_catch_up(struct sim *s)
{
    double start;
    for (struct stream *k = sim_next(s, &start); k && start <= s->now; k = sim_next(s, &start))
        sim_execute(s, k, start);
}

double sim_link(const struct sim *s, const struct stream *k)
{
    const double link = s->card[k->card].c.link;
    return k->link > 0 && k->link < link ? k->link : link;
}

double sim_seconds(const struct traffic *t, double rate, double ops_rate)
{
    return later(t->kept / rate, ops_rate > 0 ? t->ops / ops_rate : 0);
}

/* Rate of the CPU's memory beside the copies that go up now. *until: the end of the first of them,
 * or infinity. */
static double rate_beside(const struct sim *s, double *until)
{
    double up = 0;
    *until = INFINITY;
    for (int i = 0; i < s->c.n_card; i++) {
        const double end = s->card[i].free_at[SIM_UP];
        if (end <= s->now)
            continue;
        up += s->card[i].up_dram;
        *until = end < *until ? end : *until;
    }
    const double alone = s->c.host, rest = later(s->c.dram - up, alone / 10);
    return *until < INFINITY && s->c.dram > 0 && rest < alone ? rest : alone;
}

/* Computes in pieces, because the link starts and stops copying meanwhile. */
void sim_compute(struct sim *s, const char *name, const struct traffic *t)
{
    struct sim_span span = {.engine = SIM_CPU, .name = name, .start = s->now, .bytes = t->kept};
    for (double left = 1; left > 0;) { /* share of the work */
        double next, up, rate;
        struct stream *k = sim_next(s, &next);
        if (k && next <= s->now) {
            sim_execute(s, k, next);
            continue;
        }
        rate = rate_beside(s, &up);
        double whole = sim_seconds(t, rate, s->c.host_ops);
        if (s->c.host_row > 0)
            whole = later(whole, t->kept / s->c.host_row);
        double until = s->now + left * whole;
        if (up < next)
            next = up;
        if (until <= next) {
            s->now = until;
            break;
        }
        left -= (next - s->now) / whole;
        s->now = next;
    }
    span.end = s->now;
    sim_note(s, &span);
}

/* ---- figures for callers --------------------------------------------------------------------- */

static void cards_close(struct sim *s)
{
    for (int i = 0; i < s->c.n_card; i++) {
        stream_clear(&s->card[i].main);
        if (s->card[i].space)
            munmap(s->card[i].space, s->card[i].space_bytes);
    }
}

static int card_open(struct sim *s, int i, struct err *e)
{
    struct card *card = &s->card[i];
    const struct sim_card *c = &s->c.card[i];
    if (!(c->vram > 0) || !(c->link > 0))
        FAIL(e, ERR_BUG, "sim: card %d has rates of %g and %g bytes/s", i, c->vram, c->link);
    *card = (struct card){.c = *c, .space_bytes = SPACE_TIMES * c->vram_bytes + 4096};
    card->main.card = i;
    card->main.last = &card->main.first;
    card->main.next = s->streams;
    s->streams = &card->main;
    void *space = mmap(NULL, card->space_bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return NOMEM(e, card->space_bytes, "addresses of a simulated card");
    card->space = space;
    return 0;
}

int sim_open(const struct sim_config *c, struct sim **out, struct err *e)
{
    if (c->n_card < 1 || c->n_card > SIM_CARDS || !(c->host > 0))
        FAIL(e, ERR_BUG, "sim: %d cards, 1 to %d are possible; a host of %g bytes/s", c->n_card,
             SIM_CARDS, c->host);
    struct sim *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "simulation");
    s->c = *c;
    int rc = 0;
    for (int i = 0; i < c->n_card && rc == 0; i++)
        rc = card_open(s, i, e);
    s->span = mem_zalloc(c->n_span + 1, sizeof *s->span);
    if (rc == 0 && !s->span)
        rc = NOMEM(e, c->n_span * sizeof *s->span, "a simulation");
    if (rc < 0) {
        cards_close(s);
        mem_free(s->span);
        mem_free(s);
        return rc;
    }
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return 0;
}

void sim_close(struct sim *s)
{
    if (!s)
        return;
    cards_close(s);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->span);
    mem_free(s);
}

int sim_cards(const struct sim *s)
{
    return s->c.n_card;
}

double sim_now(struct sim *s)
{
    pthread_mutex_lock(&s->lock);
    double now = s->now;
    pthread_mutex_unlock(&s->lock);
    return now;
}

void sim_calls(struct sim *s, double call_s, double copy_s)
{
    pthread_mutex_lock(&s->lock);
    s->call_s = call_s;
    s->copy_s = copy_s;
    pthread_mutex_unlock(&s->lock);
}

void sim_spend(struct sim *s, double seconds)
{
    pthread_mutex_lock(&s->lock);
    s->now += seconds;
    pthread_mutex_unlock(&s->lock);
}

double sim_busy(struct sim *s, int card, enum sim_engine engine)
{
    pthread_mutex_lock(&s->lock);
    double busy = s->card[engine == SIM_CPU ? 0 : card].busy[engine];
    pthread_mutex_unlock(&s->lock);
    return busy;
}

size_t sim_trace(struct sim *s, const struct sim_span **out)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_span;
    *out = s->span;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void sim_trace_clear(struct sim *s)
{
    pthread_mutex_lock(&s->lock);
    s->n_span = 0;
    pthread_mutex_unlock(&s->lock);
}
