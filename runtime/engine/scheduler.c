#include "scheduler.h"

#include <string.h>

#include "check.h"
#include "clock.h"
#include "mem.h"
#include "outcome.h"
#include "seq.h"
#include "speculate.h"

struct sched {
    struct sched_config c;
    struct forward *fw;
    struct kv *kv;
    struct speculate *sp; /* or NULL */
    struct seq_list waiting, running, parked;
    uint64_t arrivals;
    struct seq **ready; /* (n_seq) sequences with drafts in this step */
    struct outcome *outcome;
    struct engine_stats stats;
};

static struct seq_list *list_of(struct sched *s, enum seq_where where)
{
    return where == SEQ_WAITING ? &s->waiting : where == SEQ_RUNNING ? &s->running : &s->parked;
}

static void seq_enter(struct sched *s, struct seq *q, enum seq_where where)
{
    q->where = where;
    seq_list_insert(list_of(s, where), q);
}

static void seq_leave(struct sched *s, struct seq *q)
{
    seq_list_remove(list_of(s, q->where), q);
}

static void seq_move(struct sched *s, struct seq *q, enum seq_where where)
{
    seq_leave(s, q);
    seq_enter(s, q, where);
}

/* ---- life ----------------------------------------------------------------------------------- */

int sched_open(const struct sched_config *c, struct forward *fw, struct kv *kv,
               const struct tokenizer *tok, struct grammar_vocab *gv, struct speculate *sp,
               struct sched **out, struct err *e)
{
    struct sched *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "scheduler");
    *s = (struct sched){.c = *c, .fw = fw, .kv = kv, .sp = sp};
    s->ready = mem_zalloc((size_t)c->n_seq, sizeof(struct seq *));
    int rc = s->ready ? outcome_open(fw, kv, tok, gv, sp, &s->stats, &s->outcome, e)
                      : NOMEM(e, (size_t)c->n_seq * sizeof(struct seq *), "scheduler");
    if (rc < 0) {
        sched_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void sched_close(struct sched *s)
{
    if (!s)
        return;
    mem_free(s->ready);
    outcome_close(s->outcome);
    mem_free(s);
}

void sched_add(struct sched *s, struct seq *q)
{
    q->arrival = (uint64_t)q->r->rank << 40 | ++s->arrivals;
    for (int i = 0; i < q->n_cont; i++)
        q->cont[i]->arrival = q->arrival;
    seq_enter(s, q, SEQ_WAITING);
}

void sched_cancel(struct sched *s, struct seq *q)
{
    (void)s;
    q->cancelled = true;
}

bool sched_idle(const struct sched *s)
{
    return s->waiting.n + s->running.n + s->parked.n == 0;
}

/* ---- putting a step together ----------------------------------------------------------------- */

static void sched_prune(struct sched *s, struct seq *q)
{
    if (q->step.n_branch)
        speculate_prune(s->sp, q);
}

static void sched_preempt(struct sched *s, struct seq *q)
{
    sched_prune(s, q);
    seq_preempt(s->kv, q);
    if (q->where == SEQ_RUNNING) {
        seq_move(s, q, SEQ_WAITING);
        s->stats.preempted++;
    }
}

/* The youngest parked score that has pages and does not own q (NULL = any). */
static struct seq *sched_parked(const struct sched *s, const struct seq *q)
{
    struct seq *v = s->parked.tail;
    while (v && (!v->kv.n_page || (q && v == q->owner)))
        v = v->prev;
    return v;
}

/*
 * The sequence that gives its pages to q. It is the youngest running one that is younger than q and
 * has no rows in this step. Otherwise it is the youngest parked one: its continuations find or
 * recompute the prompt. The oldest sequence must have rows in every step. So it may also take the
 * pages of its own owner, and of the continuations after it.
 */
static struct seq *sched_victim(const struct sched *s, const struct seq *q)
{
    for (struct seq *v = s->running.tail; v; v = v->prev)
        if (v != q && !v->step.rows && v->arrival > q->arrival && v->kv.n_page)
            return v;
    struct seq *parked = sched_parked(s, q);
    if (parked || q != s->running.head)
        return parked;
    if (q->owner && q->owner->kv.n_page)
        return q->owner;
    for (struct seq *v = s->running.tail; v != q; v = v->prev)
        if (!v->step.rows && v->kv.n_page)
            return v;
    return NULL;
}

/* *room = q has pages for n more positions. The only error is the device's. */
static int sched_reserve(struct sched *s, struct seq *q, int n, bool *room, struct err *e)
{
    int rc;
    while ((rc = kv_seq_reserve(s->kv, &q->kv, n, e)) == ERR_AGAIN) {
        struct seq *v = sched_victim(s, q);
        if (!v)
            break;
        sched_preempt(s, v);
    }
    *room = rc == 0;
    return rc == ERR_AGAIN ? 0 : rc;
}

static int sched_pages(const struct sched *s, int tokens)
{
    int pt = kv_page_tokens(s->kv);
    return (tokens + pt - 1) / pt;
}

/* Starts q at its first admission, or restarts it after a preemption. */
static void sched_start(struct sched *s, struct seq *q)
{
    if (q->kind == SEQ_CONT && q->owner->kv.len >= q->r->n_prompt && q->kv.len == 0)
        kv_seq_fork(s->kv, &q->owner->kv, q->r->n_prompt, &q->kv);
    if (!q->started && q->r->grammar)
        grammar_start(q->r->grammar, &q->grammar);
    q->started = true;
    seq_move(s, q, SEQ_RUNNING);
}

/* True when q has a place among the running sequences and pages for its next rows. A continuation
 * belongs to a request that has begun: younger sequences make room for it. */
static bool sched_place(struct sched *s, struct seq *q, int promised)
{
    for (;;) {
        bool place = s->running.n < s->c.n_seq;
        bool pages =
            !s->running.n || promised + sched_pages(s, q->n_tok + 1) <= kv_available(s->kv);
        if (place && pages)
            return true;
        struct seq *v = place ? sched_parked(s, q) : NULL;
        if (!v || v->arrival <= q->arrival)
            v = s->running.tail;
        if (!v || v->arrival <= q->arrival || q->kind != SEQ_CONT)
            return false;
        sched_preempt(s, v);
    }
}

static void sched_admit(struct sched *s)
{
    int promised = 0; /* pages that the sequences admitted in this round will take */
    for (struct seq *q = s->waiting.head, *next; q; q = next) {
        if (!sched_place(s, q, promised))
            return; /* first come, first served: no sequence overtakes another */
        next = q->next;
        promised += sched_pages(s, q->n_tok + 1);
        sched_start(s, q);
    }
}

/* Number of rows that score q's prompt, of its next n rows. The prompt's last row draws a token or
 * scores continuations: it is not among them. */
static int sched_score_rows(const struct seq *q, int n)
{
    int from = q->kv.len, to = from + n, end = q->r->n_prompt - 1;
    if (!seq_scores_prompt(q))
        return 0;
    from = q->raw_next > from ? q->raw_next : from;
    to = to < end ? to : end;
    return to > from ? to - from : 0;
}

/* Number of q's other rows with logits in this step, if it has n rows. */
static int sched_logit_rows(const struct seq *q, int n)
{
    int from = q->kv.len, to = from + n;
    if (q->step.n_draft)
        return n;
    if (q->kind == SEQ_CONT || q->r->on_logits) { /* every row from raw_next on */
        int lo = q->raw_next > from ? q->raw_next : from;
        return to > lo ? to - lo : 0;
    }
    return to == q->n_tok ? 1 : 0;
}

/* Takes the pages that the prefix cache has; *wait: q has no rows in this step. The last token of a
 * sequence is always computed, because its logits are needed. So are all positions for
 * on_logits, and those that score the prompt. */
static int sched_lookup(struct sched *s, struct seq *q, bool *wait, struct err *e)
{
    enum kv_lookup got = KV_HIT;
    int pt = kv_page_tokens(s->kv);
    int last = q->kind == SEQ_CONT ? q->r->n_prompt : q->n_tok - 1;
    if ((q->r->on_logits || seq_scores_prompt(q)) && q->raw_next < last)
        last = q->raw_next;
    while (got == KV_HIT && q->kv.len % pt == 0 && q->kv.len + pt <= last) {
        TRY(kv_seq_lookup(s->kv, &q->kv, q->tok + q->kv.len, &got, e));
        if (got == KV_HIT && q->kv.len <= q->r->n_prompt && q->kind != SEQ_CONT && !q->preempted) {
            q->r->n_cached += pt;
            s->stats.cached_tokens += (uint64_t)pt;
        }
    }
    *wait = got == KV_WAIT;
    return 0;
}

/* Number of rows for q out of `room`. A prefill chunk ends at a page boundary if possible. */
static int sched_chunk(const struct sched *s, const struct seq *q, int room, int logit_room)
{
    int pt = kv_page_tokens(s->kv), left = q->n_tok + q->step.n_draft - q->kv.len,
        n = left < room ? left : room;
    if (q->step.n_draft)
        return n;
    if (n < left) {
        int end = (q->kv.len + n) / pt * pt;
        if (end > q->kv.len)
            n = end - q->kv.len;
    }
    while (n > 0 && sched_score_rows(q, n) + sched_logit_rows(q, n) > logit_room)
        n--;
    return n;
}

/* Adds the next n positions of kv to the batch as a sequence; their tokens are there already. */
static void sched_put_rows(struct sched *s, struct batch *b, struct kv_seq *kv, int n)
{
    int max_pages = forward_limits(s->fw)->max_pages, at = b->n_row, from = kv->len;
    for (int i = 0; i < n; i++) {
        b->pos[at + i] = from + i;
        b->slot[at + i] = kv_slot(s->kv, kv, from + i);
    }
    memcpy(b->page + (size_t)b->n_seq * (size_t)max_pages, kv->page,
           (size_t)kv->n_page * sizeof *b->page);
    b->kv_len[b->n_seq] = from + n;
    b->n_row += n;
    b->n_seq++;
    b->q_start[b->n_seq] = b->n_row;
    if (from + n > b->max_kv_len)
        b->max_kv_len = from + n;
    kv->len += n;
}

static void sched_put(struct sched *s, struct batch *b, struct seq *q, int n)
{
    int from = q->kv.len;
    q->step.rows = n;
    q->step.first_row = b->n_row;
    q->step.n_logit = sched_logit_rows(q, n);
    q->step.n_score = sched_score_rows(q, n);
    for (int i = 0; i < n; i++) {
        b->tok[b->n_row + i] = q->tok[from + i];
        s->stats.prompt_tokens += from + i < q->r->n_prompt;
    }
    sched_put_rows(s, b, &q->kv, n);
    kv_seq_register(s->kv, &q->kv, q->tok, q->n_tok < q->kv.len ? q->n_tok : q->kv.len);
}

static int branch_rows(const struct branch *br)
{
    return br->n ? 1 + br->from + br->n : 0;
}

/* Number of rows of all branches of q. */
static int seq_branch_rows(const struct seq *q)
{
    int n = 0;
    for (int k = 0; k < q->step.n_branch; k++)
        n += branch_rows(q->step.branch[k]);
    return n;
}

/* Adds q's branches after q itself, as far as pages, rows and logits rows are left. */
static int sched_put_branches(struct sched *s, struct batch *b, struct seq *q, int most,
                              int *logit_room, struct err *e)
{
    for (int k = 0; k < q->step.n_branch; k++) {
        struct branch *br = q->step.branch[k];
        int n = branch_rows(br), own = q->n_tok - 1, at = b->n_row;
        br->rows = 0;
        if (!n || br->from >= q->step.n_draft || at + n > most || n > *logit_room)
            continue;
        kv_seq_fork(s->kv, &q->kv, own, &br->kv);
        int rc = kv_seq_reserve(s->kv, &br->kv, n, e);
        if (rc < 0) {
            kv_seq_drop(s->kv, &br->kv);
            TRY(rc == ERR_AGAIN ? 0 : rc);
            continue;
        }
        memcpy(b->tok + at, q->tok + own, (size_t)(1 + br->from) * sizeof *b->tok);
        memcpy(b->tok + at + 1 + br->from, br->tok, (size_t)br->n * sizeof *b->tok);
        br->first_row = at;
        br->rows = n;
        sched_put_rows(s, b, &br->kv, n);
        *logit_room -= n;
    }
    return 0;
}

static bool sched_ready(const struct seq *q)
{
    return q->n_tok - q->kv.len == 1 && !q->cancelled;
}

/* Lets the sequences with one token to compute draft ahead. They use only rows and logits rows that
 * no other sequence can need. */
static int sched_draft(struct sched *s, struct err *e)
{
    int n = 0, prefill = 0, others = 0, logits = forward_limits(s->fw)->max_logit_rows;
    for (struct seq *q = s->running.head; q && s->sp; q = q->next) {
        bool ready = sched_ready(q);
        if (ready && q->kind == SEQ_GENERATE)
            s->ready[n++] = q;
        else if (ready)
            others++;
        else
            prefill += q->n_tok - q->kv.len;
    }
    if (!n)
        return 0;
    int rows = s->c.batch_tokens - n - others, room = logits - s->running.n;
    prefill = prefill < rows ? prefill : rows;
    rows -= prefill;
    return speculate_draft(s->sp, s->ready, n, others + prefill, room < rows ? room : rows, e);
}

enum pass { PASS_OLDEST, PASS_DECODE, PASS_PREFILL, PASSES };

/* True when q takes part in this pass. An oldest sequence that prefills comes before all others:
 * the younger ones have no rows yet and can be preempted for it. */
static bool sched_in_pass(const struct sched *s, const struct seq *q, enum pass pass)
{
    if (q->step.rows || q->cancelled)
        return false;
    bool decode = q->n_tok - q->kv.len == 1;
    return pass == PASS_OLDEST ? !decode && q == s->running.head : decode == (pass == PASS_DECODE);
}

/* Number of rows that the sequences of PASS_DECODE will take. */
static int sched_decode_rows(const struct sched *s)
{
    int n = 0;
    for (const struct seq *q = s->running.head; q; q = q->next)
        n += sched_ready(q) ? 1 + q->step.n_draft + seq_branch_rows(q) : 0;
    return n;
}

/* Drops draft tokens of q if rows, logits rows or pages of the step are short: no sequence gives
 * way to the draft of another. */
static void sched_limit_draft(struct sched *s, struct seq *q, int room, int logit_room)
{
    int rows = 1 + q->step.n_draft,
        pages = sched_pages(s, q->n_tok + q->step.n_draft) - q->kv.n_page;
    if (rows > room || rows > logit_room || pages > kv_available(s->kv))
        q->step.n_draft = 0;
}

/* Puts the sequences of one pass into the batch. Logits rows are counted when they are promised.
 * The oldest sequence leaves rows and logits rows to those that decode. */
static int sched_fill(struct sched *s, struct batch *b, enum pass pass, int *logit_room,
                      struct err *e)
{
    int kept = pass == PASS_OLDEST ? sched_decode_rows(s) : 0, most = s->c.batch_tokens - kept;
    for (struct seq *q = s->running.head, *next; q; q = next) {
        next = q->next;
        if (!sched_in_pass(s, q, pass) || b->n_row >= most ||
            b->n_seq >= forward_limits(s->fw)->max_seqs)
            continue;
        bool wait = false;
        if (pass != PASS_DECODE)
            TRY(sched_lookup(s, q, &wait, e));
        if (wait)
            continue;
        sched_limit_draft(s, q, most - b->n_row, *logit_room);
        int n = sched_chunk(s, q, most - b->n_row, *logit_room - kept);
        bool room = false;
        if (n > 0)
            TRY(sched_reserve(s, q, n, &room, e));
        next = q->next; /* a victim may have been the next one */
        if (!room)
            continue;
        sched_put(s, b, q, n);
        *logit_room -= q->step.n_logit + q->step.n_score;
        TRY(sched_put_branches(s, b, q, most, logit_room, e));
    }
    return 0;
}

/* ---- endings --------------------------------------------------------------------------------- */

/* Removes q and its continuations from all lists and frees their pages. */
static void sched_remove(struct sched *s, struct seq *q)
{
    for (int i = 0; i < q->n_cont; i++) {
        struct seq *c = q->cont[i];
        if (seq_listed(list_of(s, c->where), c))
            seq_leave(s, c);
        kv_seq_drop(s->kv, &c->kv);
    }
    seq_leave(s, q);
    kv_seq_drop(s->kv, &q->kv);
    if (s->sp)
        speculate_ended(s->sp, q);
}

static void sched_finish(struct sched *s, struct seq *q, enum finish finish,
                         void (*finished)(struct seq *, void *), void *user)
{
    sched_remove(s, q);
    q->r->finish = finish;
    q->r->t_done_ns = clock_ns();
    finished(q, user);
}

/* Parks a score whose prompt is computed. Its continuations are added now, and never again. */
static void sched_park(struct sched *s, struct seq *q)
{
    seq_move(s, q, SEQ_PARKED);
    for (int i = 0; i < q->n_cont; i++)
        seq_enter(s, q->cont[i], SEQ_WAITING);
}

/* After a step: ends q or moves it to another list, as its state requires. */
static void sched_settle(struct sched *s, struct seq *q, void (*finished)(struct seq *, void *),
                         void *user)
{
    struct request *r = q->r;
    if (q->failed || q->cancelled)
        sched_finish(s, q, q->failed ? FINISH_ERROR : FINISH_CANCEL, finished, user);
    else if (q->kind == SEQ_GENERATE && r->finish != FINISH_NONE)
        sched_finish(s, q, r->finish, finished, user);
    else if (q->kind == SEQ_SCORE && q->scored && q->cont_left == 0)
        sched_finish(s, q, FINISH_STOP, finished, user);
    else if (q->kind == SEQ_SCORE && q->scored && q->where == SEQ_RUNNING)
        sched_park(s, q);
}

/* Removes the continuations whose rows are all computed; the owner counts them. */
static void sched_settle_conts(struct sched *s)
{
    for (struct seq *q = s->running.head, *next; q; q = next) {
        next = q->next;
        if (q->kind != SEQ_CONT || q->kv.len != q->n_tok)
            continue;
        seq_leave(s, q);
        q->where = SEQ_PARKED; /* in no list: prev and next are NULL, and no list begins with it */
        kv_seq_drop(s->kv, &q->kv);
        q->owner->cont_left--;
    }
}

/* The first request from q on in its list. Continuations are skipped: they end and move with their
 * owner. */
static struct seq *seq_request_from(struct seq *q)
{
    while (q && q->kind == SEQ_CONT)
        q = q->next;
    return q;
}

/* Settling a sequence may free it, move it, and remove its continuations from any list. All other
 * requests keep their places, so the next one is read first. */
static void sched_settle_all(struct sched *s, void (*finished)(struct seq *, void *), void *user)
{
    sched_settle_conts(s);
    enum seq_where lists[] = {SEQ_WAITING, SEQ_RUNNING, SEQ_PARKED};
    for (size_t i = 0; i < 3; i++)
        for (struct seq *q = seq_request_from(list_of(s, lists[i])->head), *next; q; q = next) {
            next = seq_request_from(q->next);
            sched_settle(s, q, finished, user);
        }
}

void sched_abort(struct sched *s, enum finish finish, const struct err *why,
                 void (*finished)(struct seq *q, void *user), void *user)
{
    enum seq_where lists[] = {SEQ_PARKED, SEQ_RUNNING, SEQ_WAITING};
    for (size_t i = 0; i < 3; i++)
        for (struct seq *q; (q = list_of(s, lists[i])->head);) {
            struct seq *top = q->owner ? q->owner : q;
            if (why)
                top->r->err = *why;
            sched_finish(s, top, finish, finished, user);
        }
}

/* After a device error: no result of this step counts. */
static int sched_broken(struct sched *s, int rc)
{
    kv_step_done(s->kv, false);
    return rc;
}

/* No sequence has a row: preempts the youngest one with pages. The oldest sequence takes all pages
 * that it needs, so this cannot repeat for long. Without a page to free the scheduler has a bug: an
 * error ends the loop. */
static int sched_unblock(struct sched *s, struct err *e)
{
    struct seq *v = sched_parked(s, NULL);
    if (!v && s->running.n > 1)
        v = s->running.tail;
    if (v)
        sched_preempt(s, v);
    else if (!sched_idle(s))
        FAIL(e, ERR_BUG,
             "the scheduler is stuck: %d sequences run, %d wait, %d are parked, and none has a row "
             "in the step",
             s->running.n, s->waiting.n, s->parked.n);
    return 0;
}

/* The span of the model's pass: a step with drafts verifies them. */
static const char *sched_phase(const struct sched *s)
{
    bool decode = false, prefill = false;
    for (const struct seq *q = s->running.head; q; q = q->next) {
        if (q->step.n_draft)
            return "verify";
        decode = decode || q->step.rows == 1;
        prefill = prefill || q->step.rows > 1;
    }
    return !prefill ? "decode" : decode ? "mixed" : "prefill";
}

/* Admits sequences and clears what they know of the step before. */
static int sched_begin(struct sched *s, void (*finished)(struct seq *q, void *user), void *user)
{
    sched_settle_all(s, finished, user); /* cancellations */
    sched_admit(s);
    for (struct seq *q = s->running.head; q; q = q->next) {
        sched_prune(s, q); /* branches of a step in which q got no rows */
        seq_step_begin(q);
    }
    return 0;
}

static int sched_fill_all(struct sched *s, struct batch *b, int *n_sample, struct err *e)
{
    int logit_room = forward_limits(s->fw)->max_logit_rows;
    for (int pass = 0; pass < PASSES; pass++)
        TRY(sched_fill(s, b, (enum pass)pass, &logit_room, e));
    if (b->n_row)
        *n_sample = outcome_ask(s->outcome, &s->running, b);
    return 0;
}

static void sched_count(struct sched *s, const struct batch *b)
{
    struct kv_counts pages;
    kv_count(s->kv, &pages);
    s->stats.most_pages_used =
        pages.used > s->stats.most_pages_used ? pages.used : s->stats.most_pages_used;
    s->stats.steps++;
    s->stats.rows += (uint64_t)b->n_row;
    for (const struct seq *q = s->running.head; q; q = q->next)
        s->stats.sequences += q->step.rows > 0;
}

static int sched_turn(struct sched *s, void (*finished)(struct seq *q, void *user), void *user,
                      struct err *e)
{
    struct spans *spans = s->c.spans;
    int rc, n_sample = 0;
    SPANNED(rc, spans, SPAN_HOST, "schedule", -1, 0, sched_begin(s, finished, user));
    struct batch *b = forward_batch(s->fw);
    rc = sched_draft(s, e);
    double t1 = forward_now(s->fw); /* drafting is no part of the cost of a row */
    if (rc == 0)
        SPANNED(rc, spans, SPAN_HOST, "schedule", -1, 0, sched_fill_all(s, b, &n_sample, e));
    if (rc < 0)
        return sched_broken(s, rc);
    if (!b->n_row) {
        rc = sched_unblock(s, e);
        return rc < 0 ? sched_broken(s, rc) : 0;
    }
    rc = forward_step(s->fw, sched_phase(s), e);
    if (rc == 0)
        SPANNED(rc, spans, SPAN_HOST, "deliver", -1, b->n_logit,
                outcome_take(s->outcome, &s->running, n_sample, e));
    if (rc < 0)
        return sched_broken(s, rc);
    kv_step_done(s->kv, true);
    sched_count(s, b);
    if (s->sp)
        speculate_took(s->sp, b->n_row, forward_now(s->fw) - t1);
    SPANNED(rc, spans, SPAN_HOST, "deliver", -1, 0, (sched_settle_all(s, finished, user), 0));
    return rc;
}

int sched_step(struct sched *s, void (*finished)(struct seq *q, void *user), void *user,
               struct err *e)
{
    int rc;
    int64_t t0 = clock_ns();
    SPANNED(rc, s->c.spans, SPAN_STEP, "step", -1, 0, sched_turn(s, finished, user, e));
    if (rc == 0)
        s->stats.busy_seconds += (double)(clock_ns() - t0) / 1e9;
    return rc;
}

void sched_stats(const struct sched *s, struct engine_stats *out)
{
    struct kv_counts c;
    kv_count(s->kv, &c);
    *out = s->stats;
    out->running = s->running.n;
    out->waiting = s->waiting.n + s->parked.n;
    out->pages_used = c.used;
    out->pages_cached = c.cached;
    out->pages_free = c.free;
    out->pages_found = c.hits;
    out->pages_missed = c.misses;
    out->pages_evicted = c.evicted;
    out->pages_swapped_out = c.swap.out;
    out->pages_swapped_in = c.swap.in;
}
