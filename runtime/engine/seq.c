#include "seq.h"

#include <math.h>
#include <string.h>

#include "adjust.h"
#include "check.h"
#include "choice.h"
#include "mem.h"
#include "sampler.h"
#include "tokenizer.h"

void seq_list_remove(struct seq_list *l, struct seq *q)
{
    *(q->prev ? &q->prev->next : &l->head) = q->next;
    *(q->next ? &q->next->prev : &l->tail) = q->prev;
    q->prev = q->next = NULL;
    l->n--;
}

void seq_list_insert(struct seq_list *l, struct seq *q)
{
    struct seq *after = l->tail;
    while (after && after->arrival > q->arrival)
        after = after->prev;
    q->prev = after;
    q->next = after ? after->next : l->head;
    *(q->prev ? &q->prev->next : &l->head) = q;
    *(q->next ? &q->next->prev : &l->tail) = q;
    l->n++;
}

bool seq_listed(const struct seq_list *l, const struct seq *q)
{
    return q->prev || q->next || l->head == q;
}

static int seq_check_tokens(const int32_t *id, int n, int32_t n_vocab, const char *what,
                            struct err *e)
{
    for (int i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= n_vocab)
            FAIL(e, ERR_DATA, "bad token id %d at position %d of the %s: must be 0 to %d", id[i], i,
                 what, n_vocab - 1);
    return 0;
}

/* Checks the scoring of the prompt and the top lists. */
static int seq_check_scores(const struct request *r, struct err *e)
{
    if (r->n_top < 0 || r->n_top > REQUEST_TOP_MOST)
        FAIL(e, ERR_USAGE, "bad n_top %d: must be 0 to %d tokens at a position", r->n_top,
             REQUEST_TOP_MOST);
    if (r->prompt_lp_from < 0 || r->prompt_lp_from > r->n_prompt)
        FAIL(e, ERR_USAGE, "bad prompt_lp_from %d: must be 0 to %d, the tokens of the prompt",
             r->prompt_lp_from, r->n_prompt);
    if (request_scores_prompt(r) && r->on_logits)
        FAIL(e, ERR_BUG, "a request asks for scores of its prompt and for logits");
    return 0;
}

int seq_check(const struct request *r, const struct tokenizer *tok, int n_ctx, struct err *e)
{
    int32_t n_vocab = tokenizer_n_vocab(tok);
    int longest = 0;
    if (r->n_prompt < 1)
        FAIL(e, ERR_DATA, "empty prompt: a request needs at least one token");
    int tasks = (r->max_new > 0) + (r->n_cont > 0) + (r->on_logits != NULL);
    if (r->max_new < 0 || tasks > 1 || (!tasks && !request_scores_prompt(r)))
        FAIL(e, ERR_BUG,
             "a request either generates (max_new %d), or scores (%d continuations), or "
             "asks for logits",
             r->max_new, r->n_cont);
    if (r->n_cont < 0 || r->n_cont > 4096)
        FAIL(e, ERR_DATA, "%d continuations to score; at most 4096 in a request", r->n_cont);
    TRY(seq_check_tokens(r->prompt, r->n_prompt, n_vocab, "prompt", e));
    for (int i = 0; i < r->n_cont; i++) {
        if (r->cont_len[i] < 1)
            FAIL(e, ERR_DATA, "continuation %d is empty", i);
        TRY(seq_check_tokens(r->cont[i], r->cont_len[i], n_vocab, "continuation", e));
        longest = r->cont_len[i] > longest ? r->cont_len[i] : longest;
    }
    TRY(seq_check_scores(r, e));
    TRY(adjust_check(r, n_vocab, e));
    TRY(think_check(r, tok, e));
    TRY(choice_check(r, e));
    int64_t more = request_most(r) + longest, need = r->n_prompt + more;
    if (need > n_ctx)
        FAIL(e, ERR_DATA,
             "prompt of %d tokens + %lld to come%s = %lld exceeds the context of %d; shorten "
             "the prompt, lower the limit of new tokens%s or raise that of the context",
             r->n_prompt, (long long)more, r->think.max ? ", thinking included" : "",
             (long long)need, n_ctx, r->think.max ? " or of thinking" : "");
    return sampler_check(r, e);
}

static int seq_make(struct request *r, enum seq_kind kind, const int32_t *more, int n_more, int cap,
                    const struct kv *kv, struct seq **out, struct err *e)
{
    struct seq *q = mem_zalloc(1, sizeof *q);
    int32_t *tok = mem_zalloc((size_t)cap, sizeof *tok);
    struct kv_seq pages = {0}, draft = {0};
    if (!q || !tok || kv_seq_init(kv, cap, &pages, NULL) < 0 ||
        kv_seq_init(kv, cap, &draft, NULL) < 0) {
        mem_free(pages.page);
        mem_free(q);
        mem_free(tok);
        return NOMEM(e, (size_t)cap * sizeof *tok, "request");
    }
    memcpy(tok, r->prompt, (size_t)r->n_prompt * sizeof *tok);
    if (n_more)
        memcpy(tok + r->n_prompt, more, (size_t)n_more * sizeof *tok);
    *q = (struct seq){.kind = kind,
                      .r = r,
                      .tok = tok,
                      .n_tok = r->n_prompt + n_more,
                      .cap = cap,
                      .kv = pages,
                      .draft_kv = draft,
                      .think = think_begin(&r->think),
                      .raw_next = r->logits_from};
    seq_step_begin(q);
    *out = q;
    return 0;
}

static int seq_make_conts(struct seq *q, const struct kv *kv, struct err *e)
{
    struct request *r = q->r;
    q->cont = mem_zalloc((size_t)r->n_cont, sizeof(struct seq *));
    if (!q->cont)
        return NOMEM(e, (size_t)r->n_cont * sizeof(struct seq *), "continuations");
    for (int i = 0; i < r->n_cont; i++) {
        int more = r->cont_len[i] - 1; /* the last token is scored but never computed */
        if (!more)
            continue;
        TRY(seq_make(r, SEQ_CONT, r->cont[i], more, r->n_prompt + more, kv, &q->cont[q->n_cont],
                     e));
        q->cont[q->n_cont]->owner = q;
        q->cont[q->n_cont]->cont_index = i;
        q->cont[q->n_cont]->raw_next = r->n_prompt; /* the row of its first token */
        q->n_cont++;
    }
    q->cont_left = q->n_cont;
    return 0;
}

/* Clears the results of the prompt. The row of position p scores the token at p + 1. */
static void seq_begin_prompt(struct seq *q)
{
    const struct request *r = q->r;
    int from = r->prompt_lp_from > 1 ? r->prompt_lp_from : 1;
    q->raw_next = from < r->n_prompt ? from - 1 : r->n_prompt - 1;
    for (int i = 0; i < r->n_prompt && r->prompt_lp; i++)
        r->prompt_lp[i] = NAN;
    for (int i = 0; i < r->n_prompt * r->n_top && r->prompt_top; i++)
        r->prompt_top[i] = (struct token_lp){-1, NAN};
}

int seq_new(struct request *r, const struct kv *kv, const struct tokenizer *tok, int n_ctx,
            struct seq **out, struct err *e)
{
    TRY(seq_check(r, tok, n_ctx, e));
    struct seq *q;
    enum seq_kind kind = r->max_new ? SEQ_GENERATE : SEQ_SCORE;
    TRY(seq_make(r, kind, NULL, 0, r->n_prompt + (int)request_most(r), kv, &q, e));
    int rc = r->n_cont ? seq_make_conts(q, kv, e) : 0;
    if (rc == 0 && seq_scores_prompt(q))
        seq_begin_prompt(q);
    if (rc < 0) {
        seq_free(NULL, q);
        return rc;
    }
    *out = q;
    return 0;
}

/* kv may be NULL for a sequence that never got pages. */
void seq_free(struct kv *kv, struct seq *q)
{
    if (!q)
        return;
    for (int i = 0; i < q->n_cont; i++)
        seq_free(kv, q->cont[i]);
    mem_free(q->cont);
    if (kv)
        kv_seq_drop(kv, &q->kv);
    mem_free(q->kv.page);
    mem_free(q->draft_kv.page);
    mem_free(q->tok);
    mem_free(q);
}

struct request *seq_request(struct seq *q)
{
    return q->r;
}

const struct grammar *seq_grammar(const struct seq *q)
{
    return q->think.open ? NULL : q->r->grammar;
}

bool seq_scores_prompt(const struct seq *q)
{
    return q->kind != SEQ_CONT && request_scores_prompt(q->r);
}

int seq_left(const struct seq *q)
{
    const struct request *r = q->r;
    return q->think.open ? r->think.max - r->n_think : r->max_new - (r->n_out - r->n_think);
}

void seq_preempt(struct kv *kv, struct seq *q)
{
    kv_seq_preempt(kv, &q->kv);
    q->preempted = true;
}

void seq_step_begin(struct seq *q)
{
    CHECK(!q->step.n_branch);
    q->step = (struct seq_step){.logit = -1, .score = -1};
}
