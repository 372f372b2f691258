#include "scheduler.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "mem.h"
#include "sampler.h"
#include "seq.h"
#include "speculate.h"

struct sched {
    struct sched_config c;
    struct forward *fw;
    struct kv *kv;
    const struct tokenizer *tok;
    struct grammar_vocab *gv;
    struct speculate *sp; /* or NULL */
    struct seq_list waiting, running, parked;
    uint64_t arrivals;
    size_t mask_words;
    uint32_t *mask;              /* (n_logit, mask_words) this step's grammar masks */
    const uint32_t **mask_row;   /* (n_logit) */
    struct sample_row *sample;   /* (n_logit) */
    struct seq **sampled;        /* (n_logit) whose row it is; the rows of one sequence stand together */
    struct seq **ready;          /* (n_seq) those that guess ahead in this step */
    int32_t *id, *pair_row;      /* (n_logit), (n_pair) */
    int32_t *pair_id;            /* (n_pair) */
    float *lp;                   /* (max of both) */
    float *logits;               /* (n_vocab) a row for on_logits */
    struct token_list closing;
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
               const struct tokenizer *tok, struct grammar_vocab *gv, struct speculate *sp, struct sched **out,
               struct err *e)
{
    const struct forward_limits *lim = forward_limits(fw);
    size_t n = (size_t)lim->max_logit_rows, pairs = (size_t)lim->max_pairs;
    size_t vocab = (size_t)tokenizer_n_vocab(tok);
    struct sched *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "scheduler");
    *s = (struct sched){.c = *c, .fw = fw, .kv = kv, .tok = tok, .gv = gv, .sp = sp};
    s->mask_words = (vocab + 31) / 32;
    s->mask = mem_zalloc(n * s->mask_words, sizeof *s->mask);
    s->mask_row = mem_zalloc(n, sizeof *s->mask_row);
    s->sample = mem_zalloc(n, sizeof *s->sample);
    s->sampled = mem_zalloc(n, sizeof(struct seq *));
    s->ready = mem_zalloc((size_t)c->n_seq, sizeof(struct seq *));
    s->id = mem_zalloc(n, sizeof *s->id);
    s->pair_row = mem_zalloc(pairs, sizeof *s->pair_row);
    s->pair_id = mem_zalloc(pairs, sizeof *s->pair_id);
    s->lp = mem_zalloc(n > pairs ? n : pairs, sizeof *s->lp);
    s->logits = mem_zalloc(vocab, sizeof *s->logits);
    if (!s->mask || !s->mask_row || !s->sample || !s->sampled || !s->ready || !s->id || !s->pair_row ||
        !s->pair_id || !s->lp || !s->logits) {
        int rc = NOMEM(e, n * s->mask_words * sizeof *s->mask, "scheduler");
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
    mem_free(s->mask);
    mem_free(s->mask_row);
    mem_free(s->sample);
    mem_free(s->sampled);
    mem_free(s->ready);
    mem_free(s->id);
    mem_free(s->pair_row);
    mem_free(s->pair_id);
    mem_free(s->lp);
    mem_free(s->logits);
    token_list_free(&s->closing);
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

/* ---- putting a step together ------------------------------------------------------------------ */

static void sched_prune(struct sched *s, struct seq *q)
{
    if (q->n_branch)
        speculate_prune(s->sp, q);
}

static void sched_preempt(struct sched *s, struct seq *q)
{
    sched_prune(s, q);
    kv_seq_preempt(s->kv, &q->kv);
    q->preempted = true;
    if (q->where == SEQ_RUNNING) {
        seq_move(s, q, SEQ_WAITING);
        s->stats.preempted++;
    }
}

/* The youngest running sequence that is not in this step's batch and younger than q. */
static struct seq *sched_victim(struct sched *s, const struct seq *q)
{
    for (struct seq *v = s->running.tail; v; v = v->prev)
        if (v != q && !v->rows && v->arrival > q->arrival && v->kv.n_page)
            return v;
    for (struct seq *v = s->parked.tail; v; v = v->prev)
        if (v->kv.n_page && v != q->owner)
            return v; /* its continuations will find or recompute the prompt themselves */
    return NULL;
}

/* *room = q has pages for n more positions. Fails only when the device does. */
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

/* First admission, or again after a preemption. */
static void sched_start(struct sched *s, struct seq *q)
{
    if (q->kind == SEQ_CONT && q->owner->kv.len >= q->r->n_prompt && q->kv.len == 0)
        kv_seq_fork(s->kv, &q->owner->kv, q->r->n_prompt, &q->kv);
    if (!q->started && q->r->grammar)
        grammar_start(q->r->grammar, &q->grammar);
    q->started = true;
    seq_move(s, q, SEQ_RUNNING);
}

/* Has q a place among the running ones, and pages for what it will ask for? For continuations, whose request has begun
 * already, those make room that came after it. */
static bool sched_place(struct sched *s, struct seq *q, int promised)
{
    for (;;) {
        bool place = s->running.n < s->c.n_seq;
        bool pages = !s->running.n || promised + sched_pages(s, q->n_tok + 1) <= kv_available(s->kv);
        struct seq *v = place && s->parked.n ? s->parked.tail : s->running.tail;
        if (place && pages)
            return true;
        if (v && (v == q->owner || !v->kv.n_page))
            v = s->running.tail;
        if (!v || v->arrival <= q->arrival || q->kind != SEQ_CONT)
            return false;
        sched_preempt(s, v);
    }
}

static void sched_admit(struct sched *s)
{
    int promised = 0; /* pages that this round's newcomers will ask for */
    for (struct seq *q = s->waiting.head, *next; q; q = next) {
        if (!sched_place(s, q, promised))
            return; /* first come, first served: nobody overtakes */
        next = q->next;
        promised += sched_pages(s, q->n_tok + 1);
        sched_start(s, q);
    }
}

/* How many of q's rows in this step want logits, if it takes n rows. */
static int sched_logit_rows(const struct seq *q, int n)
{
    int from = q->kv.len, to = from + n;
    if (q->n_draft)
        return n;
    if (q->kind == SEQ_CONT || q->r->on_logits) { /* every row from raw_next on */
        int lo = q->raw_next > from ? q->raw_next : from;
        return to > lo ? to - lo : 0;
    }
    return to == q->n_tok ? 1 : 0;
}

/* Takes what the prefix cache has; *wait: q sits this step out. The last token of a sequence is
 * always computed, since its logits are wanted, and so is everything on_logits asks for. */
static int sched_lookup(struct sched *s, struct seq *q, bool *wait, struct err *e)
{
    enum kv_lookup got = KV_HIT;
    int pt = kv_page_tokens(s->kv);
    int last = q->kind == SEQ_CONT ? q->r->n_prompt : q->n_tok - 1;
    if (q->r->on_logits && q->raw_next < last)
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

/* Rows that q gets out of `room`, a prefill chunk ending on a page boundary where that is possible. */
static int sched_chunk(const struct sched *s, const struct seq *q, int room, int logit_room)
{
    int pt = kv_page_tokens(s->kv), left = q->n_tok + q->n_draft - q->kv.len, n = left < room ? left : room;
    if (q->n_draft)
        return n;
    if (n < left) {
        int end = (q->kv.len + n) / pt * pt;
        if (end > q->kv.len)
            n = end - q->kv.len;
    }
    while (n > 0 && sched_logit_rows(q, n) > logit_room)
        n--;
    return n;
}

/* The next n positions of kv, whose tokens the batch has already, as a sequence of their own. */
static void sched_put_rows(struct sched *s, struct batch *b, struct kv_seq *kv, int n)
{
    int max_pages = forward_limits(s->fw)->max_pages, at = b->n_row, from = kv->len;
    for (int i = 0; i < n; i++) {
        b->pos[at + i] = from + i;
        b->slot[at + i] = kv_slot(s->kv, kv, from + i);
    }
    memcpy(b->page + (size_t)b->n_seq * (size_t)max_pages, kv->page, (size_t)kv->n_page * sizeof *b->page);
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
    q->rows = n;
    q->first_row = b->n_row;
    q->n_logit = sched_logit_rows(q, n);
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

/* Rows of all branches of q. */
static int seq_branch_rows(const struct seq *q)
{
    int n = 0;
    for (int k = 0; k < q->n_branch; k++)
        n += branch_rows(q->branch[k]);
    return n;
}

/* q's branches behind q itself, those that pages, rows and logits are left for. */
static int sched_put_branches(struct sched *s, struct batch *b, struct seq *q, int most, int *logit_room, struct err *e)
{
    for (int k = 0; k < q->n_branch; k++) {
        struct branch *br = q->branch[k];
        int n = branch_rows(br), own = q->n_tok - 1, at = b->n_row;
        br->rows = 0;
        if (!n || br->from >= q->n_draft || at + n > most || n > *logit_room)
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

/* Lets the sequences that have one token to compute guess ahead, as far as rows of the step and of its logits go that
 * nobody else can want. */
static int sched_guess(struct sched *s, struct err *e)
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
    return speculate_guess(s->sp, s->ready, n, others + prefill, room < rows ? room : rows, e);
}

enum pass { PASS_OLDEST, PASS_DECODE, PASS_PREFILL, PASSES };

/* Does q take part in this pass? Before all others the oldest sequence when it is prefilling: the younger ones have no
 * rows yet and can be made to give their pages back to it. */
static bool sched_in_pass(const struct sched *s, const struct seq *q, enum pass pass)
{
    if (q->rows || q->cancelled)
        return false;
    bool decode = q->n_tok - q->kv.len == 1;
    return pass == PASS_OLDEST ? !decode && q == s->running.head : decode == (pass == PASS_DECODE);
}

/* Rows that the sequences of PASS_DECODE will take. */
static int sched_decode_rows(const struct sched *s)
{
    int n = 0;
    for (const struct seq *q = s->running.head; q; q = q->next)
        n += sched_ready(q) ? 1 + q->n_draft + seq_branch_rows(q) : 0;
    return n;
}

/* Logits rows are counted as they are promised. */
static int sched_fill(struct sched *s, struct batch *b, enum pass pass, int *logit_room, struct err *e)
{
    int most = s->c.batch_tokens - (pass == PASS_OLDEST ? sched_decode_rows(s) : 0);
    for (struct seq *q = s->running.head, *next; q; q = next) {
        next = q->next;
        if (!sched_in_pass(s, q, pass) || b->n_row >= most || b->n_seq >= forward_limits(s->fw)->max_seqs)
            continue;
        bool wait = false;
        if (pass != PASS_DECODE)
            TRY(sched_lookup(s, q, &wait, e));
        if (wait)
            continue;
        if (q->n_draft && (b->n_row + 1 + q->n_draft > most ||
                           sched_pages(s, q->n_tok + q->n_draft) - q->kv.n_page > kv_available(s->kv)))
            q->n_draft = 0; /* nobody is pushed out for guesses */
        int n = sched_chunk(s, q, most - b->n_row, *logit_room);
        bool room = false;
        if (n > 0)
            TRY(sched_reserve(s, q, n, &room, e));
        next = q->next; /* a victim may have been the next one */
        if (!room)
            continue;
        sched_put(s, b, q, n);
        *logit_room -= q->n_logit;
        TRY(sched_put_branches(s, b, q, most, logit_room, e));
    }
    return 0;
}

/* Logits rows in the order: those to sample, then the others, so that sampling is one call. */
static int sched_logits(struct sched *s, struct batch *b)
{
    int n_sample = 0;
    for (int pass = 0; pass < 2; pass++)
        for (struct seq *q = s->running.head; q; q = q->next) {
            bool sample = q->kind == SEQ_GENERATE;
            if (!q->rows || !q->n_logit || sample != (pass == 0))
                continue;
            q->logit = b->n_logit;
            for (int i = 0; i < q->n_logit; i++)
                b->logit_row[b->n_logit++] = q->first_row + q->rows - q->n_logit + i;
            for (int k = 0; k < q->n_branch; k++)
                for (int i = 0; i < q->branch[k]->rows; i++)
                    b->logit_row[b->n_logit++] = q->branch[k]->first_row + i;
            while (sample && n_sample < b->n_logit)
                s->sampled[n_sample++] = q;
        }
    return n_sample;
}

/* ---- results of a step -------------------------------------------------------------------------- */

static void seq_fail(struct seq *q, const struct err *why)
{
    struct seq *top = q->owner ? q->owner : q;
    if (!top->failed) {
        top->failed = true;
        top->r->err = *why;
    }
}

static void seq_push_out(struct seq *q, int32_t id, float lp)
{
    struct request *r = q->r;
    if (r->n_out == 0)
        r->t_first_ns = clock_ns();
    if (r->out_lp)
        r->out_lp[r->n_out] = lp;
    r->out[r->n_out++] = id;
    if (r->on_token)
        r->on_token(r, id, lp);
}

/* The limit is near: ends the reply with the shortest valid text. */
static int seq_close_reply(struct sched *s, struct seq *q, struct err *e)
{
    s->closing.n = 0;
    TRY(grammar_close(s->gv, q->r->grammar, &q->grammar, &s->closing, e));
    if (s->closing.n > (size_t)(q->r->max_new - q->r->n_out))
        FAIL(e, ERR_DATA, "the schema needs %zu more tokens but only %d of the limit of %d are left; "
             "raise the role's token limit", s->closing.n, q->r->max_new - q->r->n_out, q->r->max_new);
    for (size_t i = 0; i < s->closing.n; i++)
        seq_push_out(q, s->closing.id[i], NAN);
    q->r->finish = FINISH_CLOSED;
    return 0;
}

/* Takes a token under a grammar; sets finish when the reply is complete or had to be closed. */
static int seq_take_constrained(struct sched *s, struct seq *q, int32_t id, float lp, struct err *e)
{
    struct request *r = q->r;
    struct grammar_state was = q->grammar;
    if (!grammar_accept(s->gv, r->grammar, &q->grammar, id))
        FAIL(e, ERR_BUG, "the grammar refused token %d, which its mask allowed", id);
    if (!q->grammar.done && grammar_close_tokens(s->gv, r->grammar, &q->grammar) > r->max_new - r->n_out - 1) {
        q->grammar = was;
        return seq_close_reply(s, q, e);
    }
    seq_push_out(q, id, lp);
    if (q->grammar.done)
        r->finish = FINISH_STOP;
    return 0;
}

static int seq_take(struct sched *s, struct seq *q, int32_t id, float lp, struct err *e)
{
    struct request *r = q->r;
    if (id < 0)
        FAIL(e, ERR_DATA, "no token can be chosen at position %d: the logits are not numbers; the "
             "model file may be damaged", q->n_tok);
    if (r->grammar) {
        TRY(seq_take_constrained(s, q, id, lp, e));
    } else if (!r->ignore_eos && tokenizer_is_end(s->tok, id)) {
        r->finish = FINISH_STOP;
    } else {
        seq_push_out(q, id, lp);
    }
    if (r->finish == FINISH_NONE && r->n_out == r->max_new)
        r->finish = FINISH_LENGTH;
    if (r->finish == FINISH_NONE)
        q->tok[q->n_tok++] = id;
    s->stats.new_tokens++;
    return 0;
}

/* The mask in a state of q's grammar as row n_mask of this step's masks. */
static int sched_mask(struct sched *s, struct seq *q, const struct grammar_state *g, int n_mask, struct err *e)
{
    const uint32_t *mask;
    int least = grammar_close_tokens(s->gv, q->r->grammar, g);
    if (least < 0)
        FAIL(e, ERR_DATA, "the vocabulary lacks bytes that a reply under this schema needs");
    if (q->r->n_out == 0 && g == &q->grammar && least > q->r->max_new)
        FAIL(e, ERR_DATA, "the shortest reply under this schema takes %d tokens, the limit is %d; "
             "raise the role's token limit", least, q->r->max_new);
    TRY(grammar_mask(s->gv, q->r->grammar, g, &mask, e));
    uint32_t *to = s->mask + (size_t)n_mask * s->mask_words;
    memcpy(to, mask, s->mask_words * sizeof *mask);
    s->mask_row[n_mask] = to;
    return 0;
}

/* Logits rows of q in this step that are sampled: its own, then those of its branches. */
static int seq_samples(const struct seq *q)
{
    int n = q->n_logit;
    for (int k = 0; k < q->n_branch; k++)
        n += q->branch[k]->rows;
    return n;
}

/* What a row is sampled by that draws token number n_out + i of the reply, in a state of q's grammar. */
static void sched_sample_row(struct sched *s, struct seq *q, int at, int i, const struct grammar_state *g, int *n_mask)
{
    struct err why = {0};
    int mask = -1;
    if (q->r->grammar && !q->failed) {
        if (sched_mask(s, q, g, *n_mask, &why) < 0)
            seq_fail(q, &why);
        else
            mask = (*n_mask)++;
    }
    s->sample[at] = sampler_row(q->r, q->r->n_out + i, mask);
}

/* Takes a guess into the state that the rows behind it are masked by. */
static void sched_ahead(struct sched *s, struct seq *q, struct grammar_state *g, int32_t guess)
{
    struct err why = {0};
    if (q->r->grammar && !q->failed && !grammar_accept(s->gv, q->r->grammar, g, guess)) {
        err_set(&why, ERR_BUG, "the grammar refused the guess %d, which it allowed", guess);
        seq_fail(q, &why);
    }
}

/* What q's rows of this step are sampled by, from row `at` on: that of its last token, then those of its guesses, then
 * those of its branches; what branches compute once more draws nothing that is looked at. */
static void sched_sample_rows(struct sched *s, struct seq *q, int at, int *n_mask)
{
    struct grammar_state ahead, fork; /* behind the guesses so far */
    if (q->r->grammar)
        ahead = q->grammar;
    for (int i = 0; i < q->n_logit; i++) {
        if (i > 0)
            sched_ahead(s, q, &ahead, q->tok[q->n_tok + i - 1]);
        sched_sample_row(s, q, at + i, i, i ? &ahead : &q->grammar, n_mask);
    }
    at += q->n_logit;
    for (int k = 0; k < q->n_branch; k++) {
        const struct branch *br = q->branch[k];
        if (q->r->grammar)
            fork = q->grammar;
        for (int i = 0; i < br->rows; i++) {
            if (i > 0)
                sched_ahead(s, q, &fork, i <= br->from ? q->tok[q->n_tok + i - 1] : br->tok[i - 1 - br->from]);
            if (i > br->from)
                sched_sample_row(s, q, at + i, i, &fork, n_mask);
            else
                s->sample[at + i] = sampler_row(q->r, q->r->n_out + i, -1);
        }
        at += br->rows;
    }
}

/* The branch that goes on with this token behind the first `from` guesses; *at: the row behind that, of rows that begin at *at. */
static struct branch *seq_branch(const struct seq *q, int from, int32_t id, int *at)
{
    for (int k = 0; k < q->n_branch; k++) {
        struct branch *br = q->branch[k];
        if (br->rows && br->from == from && br->tok[0] == id) {
            *at += 1 + from;
            return br;
        }
        *at += br->rows;
    }
    return NULL;
}

/* What a pass found: so many guesses came true, then so many of a branch. */
struct verified {
    int n_true, n_way;
    struct branch *way;
};

/* Takes the tokens that q's rows of this step have drawn, from row `at` on, as far as they are on a way that was guessed. */
static struct verified sched_follow(struct sched *s, struct seq *q, int at)
{
    struct verified v = {0};
    struct err why = {0};
    int n_draft = q->n_draft, base = q->n_tok, row = at;
    for (int i = 0;; i++) {
        int32_t guess = i < n_draft ? q->tok[base + i] : -1, id = s->id[row];
        if (seq_take(s, q, id, s->lp[row], &why) < 0)
            seq_fail(q, &why);
        if (q->failed || q->r->finish != FINISH_NONE)
            return v;
        if (v.way ? v.n_way < v.way->n && id == v.way->tok[v.n_way] : id == guess) {
            *(v.way ? &v.n_way : &v.n_true) += 1;
            row++;
            continue;
        }
        if (v.way)
            return v;
        row = at + q->n_logit;
        v.way = seq_branch(q, i, id, &row);
        if (!v.way)
            return v;
        v.n_way = 1;
    }
}

/* What comes of q's rows in this step, of which those that are sampled begin at row `at`. */
static void sched_take(struct sched *s, struct seq *q, int at)
{
    struct request *r = q->r;
    int n_draft = q->n_draft, base = q->n_tok, n_guess = n_draft;
    struct verified v = {0};
    if (!q->failed)
        v = sched_follow(s, q, at);
    for (int k = 0; k < q->n_branch; k++)
        n_guess += q->branch[k]->rows ? q->branch[k]->n : 0;
    r->n_pass++;
    r->n_drafted += n_guess;
    r->n_accepted += v.n_true + v.n_way;
    s->stats.drafted += (uint64_t)n_guess;
    s->stats.accepted += (uint64_t)(v.n_true + v.n_way);
    s->stats.branched += v.way != NULL;
    if (!n_draft)
        return;
    speculate_verified(s->sp, q, v.n_true, v.way, v.n_way);
    if (v.way)
        speculate_take(s->sp, q, v.way);
    sched_prune(s, q);
    kv_seq_truncate(s->kv, &q->kv, base + v.n_true + v.n_way);
    kv_seq_register(s->kv, &q->kv, q->tok, base + v.n_true + v.n_way);
}

static int sched_sample(struct sched *s, int n, struct err *e)
{
    if (!n)
        return 0;
    int n_mask = 0;
    for (int i = 0; i < n; i += seq_samples(s->sampled[i]))
        sched_sample_rows(s, s->sampled[i], i, &n_mask);
    TRY(forward_sample(s->fw, 0, n, s->sample, s->mask_row, n_mask, s->id, s->lp, e));
    for (int i = 0, next; i < n; i = next) {
        next = i + seq_samples(s->sampled[i]);
        sched_take(s, s->sampled[i], i);
    }
    return 0;
}

/* A score prompt is computed: its last row scores every continuation's first token. */
static int sched_score_prompt(struct sched *s, struct seq *q, struct err *e)
{
    struct request *r = q->r;
    int step = forward_limits(s->fw)->max_pairs;
    for (int at = 0; at < r->n_cont; at += step) {
        int n = r->n_cont - at < step ? r->n_cont - at : step;
        for (int i = 0; i < n; i++) {
            s->pair_row[i] = q->logit + q->n_logit - 1;
            s->pair_id[i] = r->cont[at + i][0];
        }
        TRY(forward_logprob(s->fw, s->pair_row, s->pair_id, n, s->lp, e));
        for (int i = 0; i < n; i++)
            r->cont_lp[at + i] = (double)s->lp[i];
    }
    r->t_first_ns = clock_ns();
    for (int i = 0; i < q->n_cont; i++)
        seq_enter(s, q->cont[i], SEQ_WAITING);
    return 0;
}

/* Rows of a continuation: row of position p scores the token at p + 1. */
static int sched_score_cont(struct sched *s, struct seq *q, struct err *e)
{
    struct request *r = q->r;
    const int32_t *cont = r->cont[q->cont_index];
    int first = q->kv.len - q->n_logit; /* position of the first of these rows */
    for (int i = 0; i < q->n_logit; i++) {
        s->pair_row[i] = q->logit + i;
        s->pair_id[i] = cont[first + i - r->n_prompt + 1];
    }
    TRY(forward_logprob(s->fw, s->pair_row, s->pair_id, q->n_logit, s->lp, e));
    for (int i = 0; i < q->n_logit; i++)
        r->cont_lp[q->cont_index] += (double)s->lp[i];
    q->raw_next = q->kv.len;
    return 0;
}

static int sched_raw_logits(struct sched *s, struct seq *q, struct err *e)
{
    for (int i = 0; i < q->n_logit; i++) {
        TRY(forward_logits(s->fw, q->logit + i, 1, s->logits, e));
        q->r->on_logits(q->r, q->kv.len - q->n_logit + i, s->logits);
    }
    q->raw_next = q->kv.len;
    return 0;
}

static int sched_results(struct sched *s, int n_sample, struct err *e)
{
    TRY(sched_sample(s, n_sample, e));
    for (struct seq *q = s->running.head, *next; q; q = next) {
        next = q->next;
        if (!q->n_logit || q->kind == SEQ_GENERATE)
            continue;
        if (q->kind == SEQ_CONT)
            TRY(sched_score_cont(s, q, e));
        else if (q->r->on_logits)
            TRY(sched_raw_logits(s, q, e));
        else
            TRY(sched_score_prompt(s, q, e));
    }
    return 0;
}

/* ---- endings ---------------------------------------------------------------------------------- */

/* Takes q and its continuations out of all lists and gives their pages back. */
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

/* What q's state asks for after a step; true when it was ended. */
static bool sched_settle(struct sched *s, struct seq *q, void (*finished)(struct seq *, void *),
                         void *user)
{
    struct request *r = q->r;
    if (q->failed || q->cancelled) {
        sched_finish(s, q, q->failed ? FINISH_ERROR : FINISH_CANCEL, finished, user);
        return true;
    }
    if (q->kind == SEQ_GENERATE && r->finish != FINISH_NONE) {
        sched_finish(s, q, r->finish, finished, user);
        return true;
    }
    if (q->kind == SEQ_SCORE && q->where != SEQ_WAITING && q->started && q->cont_left == 0 &&
        (q->where == SEQ_PARKED || q->kv.len == q->n_tok)) {
        sched_finish(s, q, FINISH_STOP, finished, user);
        return true;
    }
    if (q->kind == SEQ_SCORE && q->where == SEQ_RUNNING && q->kv.len == q->n_tok)
        seq_move(s, q, SEQ_PARKED);
    return false;
}

/* A continuation whose rows are all computed goes; its owner counts it. */
static void sched_settle_conts(struct sched *s)
{
    for (struct seq *q = s->running.head, *next; q; q = next) {
        next = q->next;
        if (q->kind != SEQ_CONT || q->kv.len != q->n_tok)
            continue;
        seq_leave(s, q);
        q->where = SEQ_PARKED; /* in no list: prev and next are NULL and it is no head */
        kv_seq_drop(s->kv, &q->kv);
        q->owner->cont_left--;
    }
}

static void sched_settle_all(struct sched *s, void (*finished)(struct seq *, void *), void *user)
{
    sched_settle_conts(s);
    enum seq_where lists[] = {SEQ_WAITING, SEQ_RUNNING, SEQ_PARKED};
    for (size_t i = 0; i < 3; i++) {
        bool again = true;
        while (again) { /* ending one may take others of the list along: start over */
            again = false;
            for (struct seq *q = list_of(s, lists[i])->head; q && !again; q = q->next)
                again = q->kind != SEQ_CONT && sched_settle(s, q, finished, user);
        }
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

/* A device error: nothing of this step counts, and everything ends with it. */
static int sched_broken(struct sched *s, int rc, void (*finished)(struct seq *q, void *user), void *user,
                        const struct err *why)
{
    kv_step_done(s->kv, false);
    sched_abort(s, FINISH_ERROR, why, finished, user);
    return rc;
}

/* Nothing fits although something runs: let the youngest wait, so that the oldest gets through. */
static void sched_unblock(struct sched *s)
{
    if (s->parked.tail && s->parked.tail->kv.n_page)
        sched_preempt(s, s->parked.tail);
    else if (s->running.n > 1)
        sched_preempt(s, s->running.tail);
}

int sched_step(struct sched *s, void (*finished)(struct seq *q, void *user), void *user, struct err *e)
{
    int64_t t0 = clock_ns();
    sched_settle_all(s, finished, user); /* cancellations */
    sched_admit(s);
    for (struct seq *q = s->running.head; q; q = q->next) {
        q->rows = q->n_logit = q->n_draft = 0;
        q->logit = -1;
        sched_prune(s, q); /* of a step that it got no rows in */
    }
    struct batch *b = forward_batch(s->fw);
    int logit_room = forward_limits(s->fw)->max_logit_rows;
    int rc = sched_guess(s, e);
    double t1 = forward_now(s->fw); /* guessing is no part of what a row costs */
    for (int pass = 0; pass < PASSES && rc == 0; pass++)
        rc = sched_fill(s, b, (enum pass)pass, &logit_room, e);
    if (rc < 0)
        return sched_broken(s, rc, finished, user, e);
    if (!b->n_row) {
        sched_unblock(s);
        return 0;
    }
    int n_sample = sched_logits(s, b);
    rc = forward_step(s->fw, e);
    if (rc == 0)
        rc = sched_results(s, n_sample, e);
    if (rc < 0)
        return sched_broken(s, rc, finished, user, e);
    kv_step_done(s->kv, true);
    struct kv_counts pages;
    kv_count(s->kv, &pages);
    s->stats.most_pages_used = pages.used > s->stats.most_pages_used ? pages.used : s->stats.most_pages_used;
    s->stats.steps++;
    s->stats.rows += (uint64_t)b->n_row;
    if (s->sp)
        speculate_took(s->sp, b->n_row, forward_now(s->fw) - t1);
    sched_settle_all(s, finished, user);
    s->stats.busy_seconds += (double)(clock_ns() - t0) / 1e9;
    return 0;
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
