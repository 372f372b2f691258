#include "outcome.h"

#include <math.h>
#include <string.h>

#include "adjust.h"
#include "check.h"
#include "choice.h"
#include "clock.h"
#include "mem.h"
#include "sampler.h"
#include "tokenizer.h"

enum { EDITS = 1 << 14 }; /* least number of edits of logits in one call of forward_sample */

struct outcome {
    struct forward *fw;
    struct kv *kv;
    const struct tokenizer *tok;
    struct grammar_vocab *gv;
    struct speculate *sp; /* or NULL */
    struct engine_stats *stats;
    size_t mask_words;
    uint32_t *mask;            /* (n_logit, mask_words) grammar masks of this step */
    const uint32_t **mask_row; /* (n_logit) */
    struct sample_row *sample; /* (n_logit) */
    /* (n_logit) sequence of each row; rows of one sequence are adjacent */
    struct seq **sampled;
    int32_t *id, *pair_row; /* (n_logit), (n_pair) */
    int32_t *pair_id;       /* (n_pair) */
    float *lp;              /* (n_logit) */
    float *pair_lp;         /* (n_pair) */
    struct token_lp *top;   /* (n_logit, REQUEST_TOP_MOST) rows of one sequence */
    struct adjust *adjust;
    struct logit_edit *edit; /* (edits) in this call of forward_sample */
    int edits;
    float *logits; /* (n_vocab) a row for on_logits */
    struct token_list closing;
};

int outcome_open(struct forward *fw, struct kv *kv, const struct tokenizer *tok,
                 struct grammar_vocab *gv, struct speculate *sp, struct engine_stats *stats,
                 struct outcome **out, struct err *e)
{
    const struct forward_limits *lim = forward_limits(fw);
    size_t n = (size_t)lim->max_logit_rows, pairs = (size_t)lim->max_pairs;
    size_t vocab = (size_t)tokenizer_n_vocab(tok);
    struct outcome *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "results of steps");
    *s = (struct outcome){.fw = fw, .kv = kv, .tok = tok, .gv = gv, .sp = sp, .stats = stats};
    s->mask_words = (vocab + 31) / 32;
    s->mask = mem_zalloc(n * s->mask_words, sizeof *s->mask);
    s->mask_row = mem_zalloc(n, sizeof *s->mask_row);
    s->sample = mem_zalloc(n, sizeof *s->sample);
    s->sampled = mem_zalloc(n, sizeof(struct seq *));
    s->id = mem_zalloc(n, sizeof *s->id);
    s->pair_row = mem_zalloc(pairs, sizeof *s->pair_row);
    s->pair_id = mem_zalloc(pairs, sizeof *s->pair_id);
    s->lp = mem_zalloc(n, sizeof *s->lp);
    s->pair_lp = mem_zalloc(pairs, sizeof *s->pair_lp);
    s->top = mem_zalloc(n, REQUEST_TOP_MOST * sizeof *s->top);
    s->logits = mem_zalloc(vocab, sizeof *s->logits);
    s->edits = lim->max_kv_len + REQUEST_BIAS_MOST;
    s->edits = s->edits > EDITS ? s->edits : EDITS;
    s->edit = mem_zalloc((size_t)s->edits, sizeof *s->edit);
    int rc = 0;
    if (!s->mask || !s->mask_row || !s->sample || !s->sampled || !s->id || !s->pair_row ||
        !s->pair_id || !s->lp || !s->pair_lp || !s->top || !s->logits || !s->edit)
        rc = NOMEM(e, n * s->mask_words * sizeof *s->mask, "results of steps");
    if (rc == 0)
        rc = adjust_open((int32_t)vocab, &s->adjust, e);
    if (rc < 0) {
        outcome_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void outcome_close(struct outcome *s)
{
    if (!s)
        return;
    mem_free(s->mask);
    mem_free(s->mask_row);
    mem_free(s->sample);
    mem_free(s->sampled);
    mem_free(s->id);
    mem_free(s->pair_row);
    mem_free(s->pair_id);
    mem_free(s->lp);
    mem_free(s->pair_lp);
    mem_free(s->top);
    adjust_close(s->adjust);
    mem_free(s->edit);
    mem_free(s->logits);
    token_list_free(&s->closing);
    mem_free(s);
}

/* Adds the rows that score prompts. */
static void outcome_ask_scores(const struct seq_list *running, struct batch *b)
{
    for (struct seq *q = running->head; q; q = q->next) {
        struct seq_step *st = &q->step;
        if (!st->rows || !st->n_score)
            continue;
        st->score = b->n_logit;
        for (int i = 0; i < st->n_score; i++)
            b->logit_row[b->n_logit++] = st->first_row + st->rows - st->n_logit - st->n_score + i;
    }
}

/* Orders the rows with logits: sampled rows come first, so that sampling is one call. */
int outcome_ask(struct outcome *s, const struct seq_list *running, struct batch *b)
{
    int n_sample = 0;
    for (int pass = 0; pass < 2; pass++)
        for (struct seq *q = running->head; q; q = q->next) {
            bool sample = q->kind == SEQ_GENERATE;
            if (!q->step.rows || !q->step.n_logit || sample != (pass == 0))
                continue;
            q->step.logit = b->n_logit;
            for (int i = 0; i < q->step.n_logit; i++)
                b->logit_row[b->n_logit++] = q->step.first_row + q->step.rows - q->step.n_logit + i;
            for (int k = 0; k < q->step.n_branch; k++)
                for (int i = 0; i < q->step.branch[k]->rows; i++)
                    b->logit_row[b->n_logit++] = q->step.branch[k]->first_row + i;
            while (sample && n_sample < b->n_logit)
                s->sampled[n_sample++] = q;
        }
    outcome_ask_scores(running, b);
    return n_sample;
}

/* Writes the top lists of n logits rows from `row` on to out (n, n_top). */
static int outcome_top(struct outcome *s, int row, int n, int n_top, struct token_lp *out,
                       struct err *e)
{
    int block = forward_limits(s->fw)->max_pairs / n_top;
    for (int at = 0; at < n; at += block) {
        int rows = n - at < block ? n - at : block, pairs = 0;
        for (int i = 0; i < rows; i++) {
            int32_t id[REQUEST_TOP_MOST];
            TRY(forward_top(s->fw, row + at + i, n_top, id, e));
            for (int k = 0; k < n_top; k++) {
                out[(at + i) * n_top + k] = (struct token_lp){id[k], NAN};
                s->pair_row[pairs] = row + at + i;
                s->pair_id[pairs] = id[k];
                pairs += id[k] >= 0;
            }
        }
        if (pairs)
            TRY(forward_logprob(s->fw, s->pair_row, s->pair_id, pairs, s->pair_lp, e));
        pairs = 0;
        for (int i = at * n_top; i < (at + rows) * n_top; i++)
            if (out[i].id >= 0)
                out[i].lp = s->pair_lp[pairs++];
    }
    return 0;
}

/* A token for out: drawn by the model, or added by the engine (lp NaN, top NULL). */
struct drawn {
    int32_t id;
    float lp;
    const struct token_lp *top; /* (n_top) the list of its row, or NULL */
    int row;                    /* of the logits, -1 = added */
};

static struct drawn added_token(int32_t id)
{
    return (struct drawn){.id = id, .lp = NAN, .row = -1};
}

static void seq_fail(struct seq *q, const struct err *why)
{
    struct seq *top = q->owner ? q->owner : q;
    if (!top->failed) {
        top->failed = true;
        top->r->err = *why;
    }
}

static void seq_push_out(struct seq *q, struct drawn d)
{
    struct request *r = q->r;
    if (r->n_out == 0)
        r->t_first_ns = clock_ns();
    if (r->out_lp)
        r->out_lp[r->n_out] = d.lp;
    for (int k = 0; k < r->n_top && r->out_top; k++)
        r->out_top[r->n_out * r->n_top + k] = d.top ? d.top[k] : (struct token_lp){-1, NAN};
    r->out[r->n_out++] = d.id;
    r->n_think += q->think.open;
    r->n_own += !q->think.open && r->finish == FINISH_NONE;
    if (r->on_token)
        r->on_token(r, d.id, d.lp);
}

/* Ends the reply with the shortest valid text, because the token limit is near. */
static int seq_close_reply(struct outcome *s, struct seq *q, struct err *e)
{
    s->closing.n = 0;
    TRY(grammar_close(s->gv, q->r->grammar, &q->grammar, &s->closing, e));
    if (s->closing.n > (size_t)seq_left(q))
        FAIL(e, ERR_DATA,
             "the schema needs %zu more tokens but only %d of the limit of %d are left; "
             "raise the limit of new tokens",
             s->closing.n, seq_left(q), q->r->max_new);
    q->r->finish = FINISH_CLOSED; /* set before the tokens are added: the model did not say them */
    for (size_t i = 0; i < s->closing.n; i++)
        seq_push_out(q, added_token(s->closing.id[i]));
    return 0;
}

/* Adds the log-probabilities of n gathered tokens of a row to those of their letters. */
static int outcome_choice_lp(struct outcome *s, struct request_choice *c, const int *letter, int n,
                             struct err *e)
{
    if (n)
        TRY(forward_logprob(s->fw, s->pair_row, s->pair_id, n, s->pair_lp, e));
    for (int i = 0; i < n; i++)
        choice_add(&c->lp[letter[i]], (double)s->pair_lp[i]);
    return 0;
}

/* Computes the distribution of a choice if token d writes its letter. The mask of d's row holds the
 * tokens that could have been drawn. */
static int outcome_choice(struct outcome *s, struct seq *q, struct drawn d, struct err *e)
{
    enum { BLOCK = 64 };
    struct request_choice *c = &q->r->choice;
    int before = q->choice_matched, letter[BLOCK], n = 0;
    int most = forward_limits(s->fw)->max_pairs;
    const char *text;
    size_t len;
    if (!c->n || c->made)
        return 0;
    tokenizer_text(s->tok, d.id, &text, &len);
    if (choice_read(c, &q->choice_matched, text, len) < 0)
        return 0;
    const uint32_t *mask = s->mask_row[s->sample[d.row].mask];
    most = most < BLOCK ? most : BLOCK;
    for (int i = 0; i < c->n; i++)
        c->lp[i] = -INFINITY;
    for (size_t w = 0; w < s->mask_words; w++)
        for (uint32_t bits = mask[w]; bits; bits &= bits - 1) {
            int32_t id = (int32_t)(32 * w) + __builtin_ctz(bits);
            int matched = before;
            tokenizer_text(s->tok, id, &text, &len);
            letter[n] = choice_read(c, &matched, text, len);
            s->pair_row[n] = d.row;
            s->pair_id[n] = id;
            n += letter[n] >= 0;
            if (n == most) {
                TRY(outcome_choice_lp(s, c, letter, n, e));
                n = 0;
            }
        }
    TRY(outcome_choice_lp(s, c, letter, n, e));
    c->made = choice_norm(c->lp, c->n);
    return 0;
}

/* Takes a token under a grammar; sets finish when the reply is complete or was closed. */
static int seq_take_constrained(struct outcome *s, struct seq *q, struct drawn d, struct err *e)
{
    struct request *r = q->r;
    struct grammar_state was = q->grammar;
    if (!grammar_accept(s->gv, r->grammar, &q->grammar, d.id))
        FAIL(e, ERR_BUG, "the grammar refused token %d, which its mask allowed", d.id);
    if (!q->grammar.done &&
        grammar_close_tokens(s->gv, r->grammar, &q->grammar) > seq_left(q) - 1) {
        q->grammar = was;
        return seq_close_reply(s, q, e);
    }
    TRY(outcome_choice(s, q, d, e));
    seq_push_out(q, d);
    if (q->grammar.done)
        r->finish = FINISH_STOP;
    return 0;
}

/* Ends the block of thinking and adds tokens that the model did not choose. */
static void seq_end_thought(struct seq *q, enum thought how, const int32_t *added, int n)
{
    q->r->thought = how; /* set before the tokens are added, as the finish of a closed reply is */
    for (int i = 0; i < n; i++) {
        seq_push_out(q, added_token(added[i]));
        q->tok[q->n_tok++] = added[i];
    }
    q->think.open = false;
}

/* Takes a token of the block of thinking. */
static void seq_take_thought(struct outcome *s, struct seq *q, struct drawn d)
{
    const struct request_think *t = &q->r->think;
    if (!q->r->ignore_eos && tokenizer_is_end(s->tok, d.id)) {
        seq_end_thought(q, THOUGHT_EOS, t->end, t->n_end);
        return;
    }
    struct think now = q->think;
    bool closed = think_take(t, s->tok, &now, d.id);
    seq_push_out(q, d);
    q->tok[q->n_tok++] = d.id;
    q->think.matched = now.matched;
    if (closed)
        seq_end_thought(q, THOUGHT_CLOSED, t->after, now.rest ? 0 : t->n_after);
    else if (!seq_left(q))
        seq_end_thought(q, THOUGHT_CUT, t->end, t->n_end);
}

static int seq_take(struct outcome *s, struct seq *q, struct drawn d, struct err *e)
{
    struct request *r = q->r;
    if (d.id < 0)
        FAIL(e, ERR_DATA,
             "no token can be chosen at position %d: the logits are not numbers; the "
             "model file may be damaged",
             q->n_tok);
    if (q->think.open) {
        seq_take_thought(s, q, d);
        s->stats->new_tokens++;
        return 0;
    }
    if (r->grammar) {
        TRY(seq_take_constrained(s, q, d, e));
    } else if (!r->ignore_eos && tokenizer_is_end(s->tok, d.id)) {
        r->finish = FINISH_STOP;
    } else {
        seq_push_out(q, d);
    }
    if (r->finish == FINISH_NONE && !seq_left(q))
        r->finish = FINISH_LENGTH;
    if (r->finish == FINISH_NONE)
        q->tok[q->n_tok++] = d.id;
    s->stats->new_tokens++;
    return 0;
}

/* Adds the mask in state g of q's grammar as row n_mask of this step's masks. */
static int outcome_mask(struct outcome *s, struct seq *q, const struct grammar_state *g, int n_mask,
                        struct err *e)
{
    const uint32_t *mask;
    int least = grammar_close_tokens(s->gv, q->r->grammar, g);
    if (least < 0)
        FAIL(e, ERR_DATA, "the vocabulary lacks bytes that a reply under this schema needs");
    if (q->r->n_out == q->r->n_think && g == &q->grammar && least > q->r->max_new)
        FAIL(e, ERR_DATA,
             "the shortest reply under this schema takes %d tokens, the limit is %d; "
             "raise the limit of new tokens",
             least, q->r->max_new);
    TRY(grammar_mask(s->gv, q->r->grammar, g, &mask, e));
    uint32_t *to = s->mask + (size_t)n_mask * s->mask_words;
    memcpy(to, mask, s->mask_words * sizeof *mask);
    s->mask_row[n_mask] = to;
    return 0;
}

/* Number of sampled rows of q in this step: its own, then those of its branches. */
static int seq_samples(const struct seq *q)
{
    int n = q->step.n_logit;
    for (int k = 0; k < q->step.n_branch; k++)
        n += q->step.branch[k]->rows;
    return n;
}

/* Sets the sampling of row `at`, which draws token number n_out + i of the reply in state g of q's
 * grammar. */
static void outcome_sample_row(struct outcome *s, struct seq *q, int at, int i,
                               const struct grammar_state *g, int *n_mask)
{
    struct err why = {0};
    int mask = -1;
    if (seq_grammar(q) && !q->failed) {
        if (outcome_mask(s, q, g, *n_mask, &why) < 0)
            seq_fail(q, &why);
        else
            mask = (*n_mask)++;
    }
    s->sample[at] = sampler_row(q->r, q->r->n_out + i, mask);
}

/* Advances a grammar state by a draft token; the rows after that token are masked by this state. */
static void outcome_ahead(struct outcome *s, struct seq *q, struct grammar_state *g, int32_t draft)
{
    struct err why = {0};
    if (seq_grammar(q) && !q->failed && !grammar_accept(s->gv, q->r->grammar, g, draft)) {
        err_set(&why, ERR_BUG, "the grammar refused draft token %d, which it had allowed", draft);
        seq_fail(q, &why);
    }
}

/* Sets the sampling of all rows of q in this step, from row `at` on. Order: last token, draft
 * tokens, branches. A branch repeats the rows of the shared draft tokens; the draws of these rows
 * are not used. */
static void outcome_sample_rows(struct outcome *s, struct seq *q, int at, int *n_mask)
{
    struct grammar_state ahead, fork; /* after the draft tokens so far */
    if (seq_grammar(q))
        ahead = q->grammar;
    for (int i = 0; i < q->step.n_logit; i++) {
        if (i > 0)
            outcome_ahead(s, q, &ahead, q->tok[q->n_tok + i - 1]);
        outcome_sample_row(s, q, at + i, i, i ? &ahead : &q->grammar, n_mask);
    }
    at += q->step.n_logit;
    for (int k = 0; k < q->step.n_branch; k++) {
        const struct branch *br = q->step.branch[k];
        if (seq_grammar(q))
            fork = q->grammar;
        for (int i = 0; i < br->rows; i++) {
            if (i > 0)
                outcome_ahead(s, q, &fork,
                              i <= br->from ? q->tok[q->n_tok + i - 1] : br->tok[i - 1 - br->from]);
            if (i > br->from)
                outcome_sample_row(s, q, at + i, i, &fork, n_mask);
            else
                s->sample[at + i] = sampler_row(q->r, q->r->n_out + i, -1);
        }
        at += br->rows;
    }
}

/* The branch with this token after the first `from` draft tokens. On entry *at is the first row of
 * all branches; on return it is the row after that token. */
static struct branch *seq_branch(const struct seq *q, int from, int32_t id, int *at)
{
    for (int k = 0; k < q->step.n_branch; k++) {
        struct branch *br = q->step.branch[k];
        if (br->rows && br->from == from && br->tok[0] == id) {
            *at += 1 + from;
            return br;
        }
        *at += br->rows;
    }
    return NULL;
}

/* The result of a verification: number of accepted draft tokens, then of tokens of a branch. */
struct verified {
    int n_true, n_way;
    struct branch *way;
};

/* Takes the tokens that were drawn for q from row `at` on, as long as each equals the draft or a
 * branch. */
static struct verified outcome_follow(struct outcome *s, struct seq *q, int at)
{
    struct verified v = {0};
    struct err why = {0};
    int n_draft = q->step.n_draft, base = q->n_tok, row = at;
    for (int i = 0;; i++) {
        int32_t draft = i < n_draft ? q->tok[base + i] : -1, id = s->id[row];
        bool thinking = q->think.open;
        struct drawn d = {.id = id, .lp = s->lp[row], .row = row};
        if (q->r->n_top && q->r->out_top)
            d.top = s->top + (size_t)(row - at) * (size_t)q->r->n_top;
        if (seq_take(s, q, d, &why) < 0)
            seq_fail(q, &why);
        /* rows after the end of thinking were drawn without the grammar and the added tokens */
        if (q->failed || q->r->finish != FINISH_NONE || thinking != q->think.open)
            return v;
        if (v.way ? v.n_way < v.way->n && id == v.way->tok[v.n_way] : id == draft) {
            *(v.way ? &v.n_way : &v.n_true) += 1;
            row++;
            continue;
        }
        if (v.way)
            return v;
        row = at + q->step.n_logit;
        v.way = seq_branch(q, i, id, &row);
        if (!v.way)
            return v;
        v.n_way = 1;
    }
}

/* Takes the results of all rows of q in this step; its sampled rows begin at row `at`. */
static void outcome_of(struct outcome *s, struct seq *q, int at)
{
    struct request *r = q->r;
    int n_draft = q->step.n_draft, base = q->n_tok, n_drafted = n_draft;
    struct verified v = {0};
    if (!q->failed)
        v = outcome_follow(s, q, at);
    for (int k = 0; k < q->step.n_branch; k++)
        n_drafted += q->step.branch[k]->rows ? q->step.branch[k]->n : 0;
    r->n_pass++;
    r->n_drafted += n_drafted;
    r->n_accepted += v.n_true + v.n_way;
    s->stats->drafted += (uint64_t)n_drafted;
    s->stats->accepted += (uint64_t)(v.n_true + v.n_way);
    s->stats->branched += v.way != NULL;
    if (!n_draft)
        return;
    speculate_verified(s->sp, q, v.n_true, v.way, v.n_way);
    if (v.way)
        speculate_take(s->sp, q, v.way);
    speculate_prune(s->sp, q);
    kv_seq_truncate(s->kv, &q->kv, base + v.n_true + v.n_way);
    kv_seq_register(s->kv, &q->kv, q->tok, base + v.n_true + v.n_way);
}

/* The tokens before q's k-th sampled row: its own rows come first, then those of its branches.
 * False: the draw of the row is not used. */
static bool seq_text(const struct seq *q, int k, struct adjust_text *t)
{
    *t = (struct adjust_text){.tok = q->tok, .n = q->n_tok + k};
    if (k < q->step.n_logit)
        return true;
    k -= q->step.n_logit;
    for (int b = 0; b < q->step.n_branch; b++) {
        const struct branch *br = q->step.branch[b];
        if (k < br->rows) {
            t->n = q->n_tok + br->from;
            t->tail = br->tok;
            t->n_tail = k - br->from;
            return k > br->from;
        }
        k -= br->rows;
    }
    return false;
}

/* Writes the edits of sampled rows from `at` on, as far as there is room for all edits of a row.
 * Returns the row after the last one. */
static int outcome_edits(struct outcome *s, int at, int n, int *n_edit)
{
    int first = at; /* of the sequence */
    while (first > 0 && s->sampled[first - 1] == s->sampled[at])
        first--;
    for (*n_edit = 0; at < n; at++) {
        struct seq *q = s->sampled[at];
        struct adjust_text t;
        if (q != s->sampled[first])
            first = at;
        if (!adjust_wanted(q->r) || !seq_text(q, at - first, &t))
            continue;
        if (*n_edit + adjust_most(s->adjust, q->r, t.n + t.n_tail) > s->edits)
            break;
        *n_edit += adjust_row(s->adjust, q->r, &t, at, s->edit + *n_edit);
    }
    return at;
}

/* Log-probabilities of the drawn tokens in the logits before the edits of their rows. */
static int outcome_true_lp(struct outcome *s, int n_edit, struct err *e)
{
    int n = 0, most = forward_limits(s->fw)->max_pairs;
    for (int i = 0; i < n_edit; i++) {
        int row = s->edit[i].row;
        bool last = i + 1 == n_edit || s->edit[i + 1].row != row;
        if (last && s->id[row] >= 0) {
            s->pair_row[n] = row;
            s->pair_id[n++] = s->id[row];
        }
        if (n == most || (n && i + 1 == n_edit)) {
            TRY(forward_logprob(s->fw, s->pair_row, s->pair_id, n, s->pair_lp, e));
            while (n-- > 0)
                s->lp[s->pair_row[n]] = s->pair_lp[n];
            n = 0;
        }
    }
    return 0;
}

/* Draws a token for each of the n sampled rows. Edits of logits are undone afterwards. */
static int outcome_draw(struct outcome *s, int n, int n_mask, struct err *e)
{
    for (int at = 0, next; at < n; at = next) {
        int n_edit;
        next = outcome_edits(s, at, n, &n_edit);
        CHECK(next > at);
        TRY(forward_edit(s->fw, s->edit, n_edit, e));
        TRY(forward_sample(s->fw, at, next - at, s->sample + at, s->mask_row, n_mask, s->id + at,
                           s->lp + at, e));
        TRY(forward_restore(s->fw, s->edit, n_edit, e));
        TRY(outcome_true_lp(s, n_edit, e));
    }
    return 0;
}

static int outcome_sample(struct outcome *s, int n, struct err *e)
{
    if (!n)
        return 0;
    int n_mask = 0;
    for (int i = 0; i < n; i += seq_samples(s->sampled[i]))
        outcome_sample_rows(s, s->sampled[i], i, &n_mask);
    TRY(outcome_draw(s, n, n_mask, e));
    for (int i = 0, next; i < n; i = next) {
        struct seq *q = s->sampled[i];
        next = i + seq_samples(q);
        if (q->r->n_top && q->r->out_top)
            TRY(outcome_top(s, i, next - i, q->r->n_top, s->top, e));
        outcome_of(s, q, i);
    }
    return 0;
}

/* Log-probability of token id[i] in the logits row `row` + i, for n rows. */
static int outcome_logprob(struct outcome *s, int row, const int32_t *id, int n, float *lp,
                           struct err *e)
{
    int block = forward_limits(s->fw)->max_pairs;
    for (int at = 0; at < n; at += block) {
        int pairs = n - at < block ? n - at : block;
        for (int i = 0; i < pairs; i++)
            s->pair_row[i] = row + at + i;
        TRY(forward_logprob(s->fw, s->pair_row, id + at, pairs, lp + at, e));
    }
    return 0;
}

/* Scores tokens of the prompt: the row of position p scores the token at p + 1. */
static int outcome_prompt(struct outcome *s, struct seq *q, struct err *e)
{
    struct request *r = q->r;
    const struct seq_step *st = &q->step;
    int first = q->kv.len - st->n_logit - st->n_score; /* position of the first of these rows */
    if (r->prompt_lp)
        TRY(outcome_logprob(s, st->score, q->tok + first + 1, st->n_score, r->prompt_lp + first + 1,
                            e));
    if (r->n_top && r->prompt_top)
        TRY(outcome_top(s, st->score, st->n_score, r->n_top,
                        r->prompt_top + (size_t)(first + 1) * (size_t)r->n_top, e));
    q->raw_next = first + st->n_score;
    return 0;
}

/* Ends the prompt of a score: its last row scores the first token of every continuation. */
static int outcome_score_prompt(struct outcome *s, struct seq *q, struct err *e)
{
    struct request *r = q->r;
    int step = forward_limits(s->fw)->max_pairs;
    for (int at = 0; at < r->n_cont; at += step) {
        int n = r->n_cont - at < step ? r->n_cont - at : step;
        for (int i = 0; i < n; i++) {
            s->pair_row[i] = q->step.logit + q->step.n_logit - 1;
            s->pair_id[i] = r->cont[at + i][0];
        }
        TRY(forward_logprob(s->fw, s->pair_row, s->pair_id, n, s->pair_lp, e));
        for (int i = 0; i < n; i++)
            r->cont_lp[at + i] = (double)s->pair_lp[i];
    }
    q->scored = true;
    r->t_first_ns = clock_ns();
    return 0;
}

/* Scores a continuation: the row of position p scores the token at p + 1. */
static int outcome_score_cont(struct outcome *s, struct seq *q, struct err *e)
{
    struct request *r = q->r;
    const int32_t *cont = r->cont[q->cont_index];
    int first = q->kv.len - q->step.n_logit; /* position of the first of these rows */
    TRY(outcome_logprob(s, q->step.logit, cont + first - r->n_prompt + 1, q->step.n_logit, s->lp,
                        e));
    for (int i = 0; i < q->step.n_logit; i++)
        r->cont_lp[q->cont_index] += (double)s->lp[i];
    q->raw_next = q->kv.len;
    return 0;
}

static int outcome_raw_logits(struct outcome *s, struct seq *q, struct err *e)
{
    for (int i = 0; i < q->step.n_logit; i++) {
        TRY(forward_logits(s->fw, q->step.logit + i, 1, s->logits, e));
        q->r->on_logits(q->r, q->kv.len - q->step.n_logit + i, s->logits);
    }
    q->raw_next = q->kv.len;
    q->scored = q->raw_next == q->n_tok;
    return 0;
}

int outcome_take(struct outcome *s, const struct seq_list *running, int n_sample, struct err *e)
{
    for (struct seq *q = running->head; q; q = q->next)
        if (q->step.n_score)
            TRY(outcome_prompt(s, q, e));
    TRY(outcome_sample(s, n_sample, e));
    for (struct seq *q = running->head; q; q = q->next) {
        if (!q->step.n_logit || q->kind == SEQ_GENERATE)
            continue;
        if (q->kind == SEQ_CONT)
            TRY(outcome_score_cont(s, q, e));
        else if (q->r->on_logits)
            TRY(outcome_raw_logits(s, q, e));
        else
            TRY(outcome_score_prompt(s, q, e));
    }
    return 0;
}
