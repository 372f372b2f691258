#include "speculate.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "lookup.h"
#include "mem.h"
#include "rng.h"
#include "sampler.h"
#include "tokenizer.h"

#define MEMORY_TOKENS ((size_t)1 << 18) /* tokens of replies remembered for lookup */
#define LEVELS 8                        /* levels of confidence for each kind of draft */
/* a draft by grammar is tried only if at most this number of tokens is allowed */
#define FORCED_MOST 8

/* Kinds of drafts; each has LEVELS classes whose acceptance is counted. */
enum {
    KIND_FORCED,
    KIND_TEXT,
    KIND_MEMORY,
    KIND_MODEL,
    KIND_SECOND /* given that the first choice is rejected */,
    KINDS
};

/* Acceptance rate of a class before any measurement; it counts as PRIOR_WEIGHT draft tokens. */
static const double prior_true[KINDS] = {0.95, 0.6, 0.6, 0.7, 0.4};
#define PRIOR_WEIGHT 4.0
#define FORGET 0.995 /* factor on old counts for each new one: about 200 draft tokens count */

struct tally {
    double tried, came_true;
};

/* Durations of steps with 1, 1.5, 2, 3, 4, 6, .. rows, in seconds. */
enum { TIMES = 34 };
struct times {
    double seconds[TIMES]; /* running mean, 0 = no step yet */
};
#define TIME_SHARE 0.15 /* weight of the newest step in the running mean */

struct path { /* the draft of a sequence, or a branch, while it is made */
    struct seq *q;
    struct branch *branch; /* NULL: the draft of the sequence */
    int32_t *tok;          /* (n) draft token i */
    uint8_t *class;
    int *n;
    double sure[DRAFT_MOST]; /* probability that draft tokens 0 to i are all accepted */
    double last; /* of the last token so far; of the tokens before the path at its start */
    struct grammar_state grammar;
    struct think think;
    const int32_t *next; /* continuation that a lookup has found */
    int n_next, length;
    int kind;
    /* ended: its last token ends the thinking; no token after it can be drafted */
    bool stopped, ended;
};

struct speculate {
    struct speculate_options o;
    const struct tokenizer *tok;
    struct grammar_vocab *gv;
    struct drafter *drafter;
    struct lookup *lookup;
    struct tally tally[KINDS * LEVELS];
    struct times step, draft;
    uint64_t n_spoilt;
    size_t mask_words;
    struct path *path;         /* (n_path) paths of sequences, then of branches */
    struct draft_want *want;   /* (n_path) */
    int *wants;                /* (n_path) path of each request in want */
    uint32_t *mask;            /* (n_path, mask_words) */
    const uint32_t **mask_row; /* (n_path) */
    struct branch *branch;     /* (SPECULATE_BRANCHES) with tables of pages, or NULL */
    int n_branch;              /* branches in use in this step */
};

static int branches_open(struct speculate *sp, struct err *e)
{
    if (!sp->drafter || !sp->o.max_branch)
        return 0;
    sp->branch = mem_zalloc(SPECULATE_BRANCHES, sizeof *sp->branch);
    if (!sp->branch)
        return NOMEM(e, SPECULATE_BRANCHES * sizeof *sp->branch, "speculation");
    for (int i = 0; i < SPECULATE_BRANCHES; i++) {
        TRY(kv_seq_init(sp->o.kv, sp->o.n_ctx, &sp->branch[i].kv, e));
        TRY(kv_seq_init(sp->o.kv, sp->o.n_ctx, &sp->branch[i].draft_kv, e));
    }
    return 0;
}

int speculate_open(const struct speculate_options *o, const struct tokenizer *tok,
                   struct grammar_vocab *gv, struct drafter *drafter, struct speculate **out,
                   struct err *e)
{
    CHECK(o->max_draft > 0 && o->max_draft <= DRAFT_MOST && o->max_branch >= 0 &&
          o->max_branch <= BRANCH_MOST);
    size_t n = (size_t)o->n_seq + SPECULATE_BRANCHES,
           words = ((size_t)tokenizer_n_vocab(tok) + 31) / 32;
    struct speculate *sp = mem_zalloc(1, sizeof *sp);
    if (!sp)
        return NOMEM(e, sizeof *sp, "speculation");
    *sp =
        (struct speculate){.o = *o, .tok = tok, .gv = gv, .drafter = drafter, .mask_words = words};
    int rc = o->lookup ? lookup_open(MEMORY_TOKENS, &sp->lookup, e) : 0;
    sp->path = mem_zalloc(n, sizeof *sp->path);
    sp->want = mem_zalloc(n, sizeof *sp->want);
    sp->wants = mem_zalloc(n, sizeof *sp->wants);
    sp->mask = mem_zalloc(drafter ? n * words : 1, sizeof *sp->mask);
    sp->mask_row = mem_zalloc(n, sizeof *sp->mask_row);
    if (rc == 0 && (!sp->path || !sp->want || !sp->wants || !sp->mask || !sp->mask_row))
        rc = NOMEM(e, n * words * sizeof *sp->mask, "speculation");
    if (rc == 0)
        rc = branches_open(sp, e);
    if (rc < 0) {
        speculate_close(sp);
        return rc;
    }
    *out = sp;
    return 0;
}

void speculate_close(struct speculate *sp)
{
    if (!sp)
        return;
    for (int i = 0; sp->branch && i < SPECULATE_BRANCHES; i++) {
        mem_free(sp->branch[i].kv.page);
        mem_free(sp->branch[i].draft_kv.page);
    }
    mem_free(sp->branch);
    lookup_close(sp->lookup);
    mem_free(sp->path);
    mem_free(sp->want);
    mem_free(sp->wants);
    mem_free(sp->mask);
    mem_free(sp->mask_row);
    mem_free(sp);
}

/* ---- durations of steps, rates of acceptance ------------------------------------------------- */

static double rows_of(int i)
{
    return (i % 2 ? 1.5 : 1.0) * (double)(1 << i / 2);
}

static int place_of_rows(double rows)
{
    int i = 0;
    while (i + 1 < TIMES && rows_of(i + 1) <= rows)
        i++;
    return i;
}

static void times_add(struct times *t, int rows, double seconds)
{
    double *at = &t->seconds[place_of_rows(rows)];
    *at = *at > 0 ? *at + TIME_SHARE * (seconds - *at) : seconds;
}

/* Seconds of a step with this number of rows, linear between its measured neighbours. Beyond the
 * last one, or with one alone, a quarter of the time is taken as proportional to rows. 0: nothing
 * is measured. More rows never take less time. */
static double times_of(const struct times *t, double rows)
{
    double low = 0, low_rows = 0;
    for (int i = 0; i < TIMES; i++) {
        if (!(t->seconds[i] > 0))
            continue;
        double s = t->seconds[i] > low ? t->seconds[i] : low, at = rows_of(i);
        if (at >= rows && low > 0)
            return low + (s - low) * (rows - low_rows) / (at - low_rows);
        if (at >= rows)
            return s * (0.75 + 0.25 * rows / at);
        low = s;
        low_rows = at;
    }
    return low > 0 ? low * (0.75 + 0.25 * rows / low_rows) : 0;
}

/* Least probability of acceptance at which a further row pays: tokens a second must not fall. The
 * step has `rows` rows and gives `tokens` tokens. */
static double threshold(const struct speculate *sp, double rows, double tokens)
{
    double now = times_of(&sp->step, rows), more = times_of(&sp->step, rows + 1);
    return sp->o.always ? 0 : now > 0 ? tokens * (more - now) / now : 0.25;
}

static double class_true(const struct speculate *sp, int class)
{
    const struct tally *t = &sp->tally[class];
    double prior = prior_true[class / LEVELS];
    return (t->came_true + prior * PRIOR_WEIGHT) / (t->tried + PRIOR_WEIGHT);
}

/* Counts n draft tokens, the first n_true accepted. After the first rejected one nothing is
 * known. */
static void tally_way(struct speculate *sp, const uint8_t *class, int n, int n_true)
{
    for (int i = 0; i < n && i <= n_true; i++) {
        struct tally *t = &sp->tally[class[i]];
        t->tried = t->tried * FORGET + 1;
        t->came_true = t->came_true * FORGET + (i < n_true);
    }
}

void speculate_verified(struct speculate *sp, const struct seq *q, int n_true,
                        const struct branch *way, int n_way)
{
    tally_way(sp, q->step.draft_class, q->step.n_draft, n_true);
    for (int k = 0; k < q->step.n_branch; k++) {
        const struct branch *b = q->step.branch[k];
        if (b->from == n_true && n_true < q->step.n_draft)
            tally_way(sp, b->class, b->n, b == way ? n_way : 0);
    }
}

void speculate_take(struct speculate *sp, struct seq *q, struct branch *way)
{
    kv_seq_move(sp->o.kv, &q->kv, &way->kv);
    drafter_move(sp->drafter, &q->draft_kv, &way->draft_kv);
}

void speculate_prune(struct speculate *sp, struct seq *q)
{
    for (int k = 0; k < q->step.n_branch; k++) {
        kv_seq_drop(sp->o.kv, &q->step.branch[k]->kv);
        drafter_drop(sp->drafter, &q->step.branch[k]->draft_kv);
    }
    q->step.n_branch = 0;
}

void speculate_took(struct speculate *sp, int rows, double seconds)
{
    times_add(&sp->step, rows, seconds);
}

/* ---- drafts without a model ------------------------------------------------------------------ */

/* The only continuation that a grammar allows. Of at most FORCED_MOST allowed tokens it is the
 * longest, if all others are its prefixes. */
static int32_t forced(const struct speculate *sp, const uint32_t *mask, bool *only)
{
    int32_t id[FORCED_MOST], best = -1;
    int n = 0;
    for (size_t w = 0; w < sp->mask_words; w++)
        for (uint32_t bits = mask[w]; bits; bits &= bits - 1) {
            if (n == FORCED_MOST)
                return -1;
            id[n++] = (int32_t)(w * 32) + __builtin_ctz(bits);
        }
    const char *s = NULL, *other;
    size_t len = 0, len_other;
    for (int i = 0; i < n; i++) {
        tokenizer_bytes(sp->tok, id[i], &other, &len_other);
        if (best < 0 || len_other > len) {
            best = id[i];
            s = other;
            len = len_other;
        }
    }
    for (int i = 0; i < n; i++) {
        tokenizer_bytes(sp->tok, id[i], &other, &len_other);
        if (len_other && memcmp(s, other, len_other) != 0)
            return -1;
    }
    *only = n == 1;
    return best;
}

static void path_add(struct speculate *sp, struct path *p, int32_t id, int kind, int level)
{
    int class = kind * LEVELS + (level < LEVELS ? level : LEVELS - 1), i = *p->n;
    p->tok[i] = id;
    p->class[i] = (uint8_t) class;
    p->last *= class_true(sp, class);
    p->sure[i] = p->last;
    *p->n = i + 1;
}

/* Takes id as the next draft token, if the text may continue with it. */
static bool path_take(struct speculate *sp, struct path *p, const uint32_t *mask, int32_t id,
                      int kind, int level)
{
    const struct request *r = p->q->r;
    if (tokenizer_is_end(sp->tok, id) && !r->ignore_eos)
        return false; /* no token after it would be computed */
    if (p->think.open)
        p->ended = think_take(&r->think, sp->tok, &p->think, id);
    else if (r->grammar) {
        if (!(mask[id / 32] >> (id % 32) & 1) ||
            !grammar_accept(sp->gv, r->grammar, &p->grammar, id) || p->grammar.done)
            return false;
    }
    path_add(sp, p, id, kind, level);
    return true;
}

static bool path_look(struct speculate *sp, struct path *p, const uint32_t *mask)
{
    const struct seq *q = p->q;
    if (!p->n_next) {
        struct lookup_draft g = lookup_find(sp->lookup, q->tok, q->n_tok + q->step.n_draft);
        p->next = g.next;
        p->n_next = g.n;
        p->length = g.length;
        p->kind = g.from == LOOKUP_TEXT ? KIND_TEXT : KIND_MEMORY;
    }
    if (!p->n_next)
        return false;
    int32_t id = *p->next++;
    p->n_next--;
    if (path_take(sp, p, mask, id, p->kind, p->length - 1)) {
        p->length++;
        return true;
    }
    p->n_next = 0;
    return false;
}

/* Adds the next draft token of one path without a model. mask: of its grammar, or NULL. Texts are
 * looked up for the draft of a sequence only, not for branches. */
static bool path_extend(struct speculate *sp, struct path *p, const uint32_t *mask)
{
    if (mask) {
        bool only = false;
        int32_t id = forced(sp, mask, &only);
        if (id >= 0) {
            bool as_looked_up = p->n_next && *p->next == id;
            p->next += as_looked_up;
            p->n_next = as_looked_up ? p->n_next - 1 : 0;
            return path_take(sp, p, mask, id, KIND_FORCED, only ? 1 : 0);
        }
    }
    return sp->lookup && !p->branch && path_look(sp, p, mask);
}

/* ---- drafts of a model ----------------------------------------------------------------------- */

/* The level of a probability, 0 to LEVELS - 1. */
static int level_of(double p)
{
    static const double bound[LEVELS - 1] = {0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.93};
    int level = 0;
    while (level < LEVELS - 1 && p > bound[level])
        level++;
    return level;
}

/* Number of tokens on p's path after the sequence's own. */
static int path_depth(const struct path *p)
{
    return (p->branch ? p->branch->from : 0) + *p->n;
}

static void want_add(struct speculate *sp, int i, const uint32_t *mask, int n)
{
    struct path *p = &sp->path[i];
    struct seq *q = p->q;
    int row = -1, depth = path_depth(p), tail = p->branch ? p->branch->n : 0;
    if (mask) {
        row = n;
        memcpy(sp->mask + (size_t)n * sp->mask_words, mask, sp->mask_words * sizeof *mask);
    }
    sp->mask_row[n] = sp->mask + (size_t)n * sp->mask_words;
    sp->wants[n] = i;
    sp->want[n] = (struct draft_want){.kv = p->branch ? &p->branch->draft_kv : &q->draft_kv,
                                      .tok = q->tok,
                                      .tail = p->tok,
                                      .n_tok = q->n_tok + depth,
                                      .n_tail = tail,
                                      .n_sure = q->n_tok,
                                      .second = sp->branch && !p->branch,
                                      .sample = sampler_row(q->r, q->r->n_out + depth, row)};
}

/* True when a pass of the draft model pays. The step now needs some time for the tokens that the
 * pass is expected to add; the pass must take less. */
static bool model_pays(const struct speculate *sp, int n, double tokens, double rows)
{
    double step = times_of(&sp->step, rows), pass = times_of(&sp->draft, n), gain = 0, prior = 0;
    for (int l = 0; l < LEVELS; l++)
        prior += class_true(sp, KIND_MODEL * LEVELS + l) / LEVELS;
    for (int i = 0; i < n; i++)
        gain += sp->path[sp->wants[i]].last * prior;
    return sp->o.always || !(step > 0) || !(pass > 0) || gain * step > tokens * pass;
}

/* A branch for q with probability `likely`: a free one, or q's own least likely one if that is less
 * likely. */
static struct branch *branch_place(struct speculate *sp, int n_seq, struct seq *q, double likely)
{
    if (q->step.n_branch < sp->o.max_branch && sp->n_branch < SPECULATE_BRANCHES)
        return q->step.branch[q->step.n_branch++] = &sp->branch[sp->n_branch++];
    struct branch *least = NULL;
    for (int k = 0; k < q->step.n_branch; k++) {
        double sure = sp->path[n_seq + (q->step.branch[k] - sp->branch)].sure[0];
        if (sure < likely) {
            likely = sure;
            least = q->step.branch[k];
        }
    }
    if (least)
        drafter_drop(sp->drafter, &least->draft_kv);
    return least;
}

/* Begins a branch with the model's second choice, in case the first, *w's, is rejected. p is the
 * path before the first choice was taken. A branch also costs the rows of the tokens before it, so
 * it must be likely enough to pay for them. */
static void branch_add(struct speculate *sp, int n_seq, const struct path *p,
                       const struct draft_want *w, const uint32_t *mask, double floor)
{
    struct seq *q = p->q;
    int depth = *p->n, first = KIND_MODEL * LEVELS + level_of(exp((double)w->lp));
    double rest = 1 - exp((double)w->lp), share = rest > 0 ? exp((double)w->lp2) / rest : 0;
    double before = p->last * (1 - class_true(sp, first));
    double likely = before * class_true(sp, KIND_SECOND * LEVELS + level_of(share));
    if (w->id2 < 0 || 2 * likely <= floor * (depth + 2))
        return;
    struct branch *b = branch_place(sp, n_seq, q, likely);
    if (!b)
        return;
    struct path *own = &sp->path[n_seq + (b - sp->branch)];
    b->from = depth;
    b->n = 0;
    *own = (struct path){
        .q = q, .branch = b, .tok = b->tok, .class = b->class, .n = &b->n, .last = before};
    own->think = p->think;
    if (seq_grammar(q))
        own->grammar = p->grammar;
    own->stopped = !path_take(sp, own, mask, w->id2, KIND_SECOND, level_of(share));
    if (!own->stopped)
        drafter_fork(sp->drafter, w->kv, &b->draft_kv);
    else
        own->sure[0] = 0;
}

/* Drafts one token for each of sp->want[0..n). */
static int model_extend(struct speculate *sp, int n_seq, int n, double floor, struct err *e)
{
    double t0 = drafter_now(sp->drafter);
    int rows = 0;
    for (int i = 0; i < n; i++)
        rows += sp->want[i].n_tok - sp->want[i].kv->len;
    TRY(drafter_next(sp->drafter, sp->want, n, sp->mask_row, n, e));
    if (rows <= 2 * n) /* otherwise prompts were read: no measure of drafting */
        times_add(&sp->draft, n, drafter_now(sp->drafter) - t0);
    for (int i = n; i-- > 0;) { /* branches first: they may make room for others */
        struct path *p = &sp->path[sp->wants[i]];
        const struct draft_want *w = &sp->want[i];
        const uint32_t *mask = w->sample.mask >= 0 ? sp->mask_row[i] : NULL;
        if (w->id >= 0 && w->second)
            branch_add(sp, n_seq, p, w, mask, floor);
        p->stopped =
            w->id < 0 || !path_take(sp, p, mask, w->id, KIND_MODEL, level_of(exp((double)w->lp)));
    }
    return 0;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* Adds one draft token to every path with `depth` tokens, branches included. *any: one was
 * added. */
static int extend_all(struct speculate *sp, int n_seq, int depth, double rows, double floor,
                      bool *any, struct err *e)
{
    int n_want = 0, n_path = n_seq + sp->n_branch;
    *any = false;
    for (int i = 0; i < n_path; i++) {
        struct path *p = &sp->path[i];
        const uint32_t *mask = NULL;
        const struct grammar *grammar = seq_grammar(p->q);
        if (p->stopped || p->ended || path_depth(p) != depth || p->last < floor ||
            depth >= seq_left(p->q) - 1) {
            p->stopped = true;
            continue;
        }
        if (grammar && grammar_mask(sp->gv, grammar, &p->grammar, &mask, NULL) < 0) {
            p->stopped = true; /* the step itself will report the error */
            continue;
        }
        if (path_extend(sp, p, mask))
            *any = true;
        else if (sp->drafter)
            want_add(sp, i, mask, n_want++);
        else
            p->stopped = true;
    }
    if (!n_want)
        return 0;
    if (!model_pays(sp, n_want, n_seq, rows)) {
        for (int i = 0; i < n_want; i++)
            sp->path[sp->wants[i]].stopped = true;
        return 0;
    }
    *any = true;
    return model_extend(sp, n_seq, n_want, floor, e);
}

/* The rows and tokens of a step so far, and its room for more rows. */
struct step {
    double rows, tokens;
    int room;
};

/* Cuts the paths to the draft tokens whose rows pay: the likeliest first, until one does not. */
static void cut(struct speculate *sp, struct seq **q, int n, struct step *st)
{
    enum { BINS = 64 };
    int count[BINS] = {0}, least = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < q[i]->step.n_draft; k++)
            count[(int)(sp->path[i].sure[k] * (BINS - 1))]++;
    for (int b = BINS - 1; b >= 0 && !least; b--) {
        double sure = (b + 0.5) / BINS;
        if (count[b] && (count[b] > st->room || sure < threshold(sp, st->rows, st->tokens))) {
            least = b + 1;
            break;
        }
        st->rows += count[b];
        st->tokens += count[b] * sure;
        st->room -= count[b];
    }
    for (int i = 0; i < n; i++)
        while (q[i]->step.n_draft &&
               (int)(sp->path[i].sure[q[i]->step.n_draft - 1] * (BINS - 1)) < least)
            q[i]->step.n_draft--;
}

/* Cuts each branch to the length that pays for all its rows; drops a branch that never pays. */
static void cut_branches(struct speculate *sp, int n_seq, struct step *st)
{
    for (int i = 0; i < sp->n_branch; i++) {
        const struct path *p = &sp->path[n_seq + i];
        struct branch *b = p->branch;
        double pays = threshold(sp, st->rows, st->tokens), most = 0, sum = 0, tokens = 0;
        int best = 0, room = b->from < p->q->step.n_draft ? st->room - 1 - b->from : 0;
        for (int k = 0; k < b->n && k < room; k++) {
            sum += p->sure[k];
            if (sum - pays * (2 + b->from + k) > most) {
                most = sum - pays * (2 + b->from + k);
                tokens = sum;
                best = k + 1;
            }
        }
        b->n = best;
        if (!best)
            continue;
        st->rows += 1 + b->from + best;
        st->tokens += tokens;
        st->room -= 1 + b->from + best;
    }
}

/* For simulations: replaces draft tokens by others. Never under a grammar, which might forbid
 * them. */
static void spoil(struct speculate *sp, struct seq *q)
{
    for (int i = 0; i < q->step.n_draft && !seq_grammar(q); i++)
        if ((double)rng_uniform(sp->n_spoilt++, 0) < sp->o.spoil)
            q->tok[q->n_tok + i] = q->tok[q->n_tok + i] ? 0 : 1;
}

int speculate_draft(struct speculate *sp, struct seq **q, int n, int other_rows, int room,
                    struct err *e)
{
    struct step st = {.rows = n + other_rows, .tokens = n, .room = room};
    double rows = st.rows, floor = threshold(sp, rows, n);
    bool any = room > 0 && floor < 1;
    CHECK(n <= sp->o.n_seq);
    sp->n_branch = 0;
    for (int i = 0; i < n; i++) {
        CHECK(!q[i]->step.n_branch);
        q[i]->step.n_draft = 0;
        sp->path[i] = (struct path){.q = q[i],
                                    .tok = q[i]->tok + q[i]->n_tok,
                                    .class = q[i]->step.draft_class,
                                    .n = &q[i]->step.n_draft,
                                    .last = 1};
        sp->path[i].think = q[i]->think;
        if (seq_grammar(q[i]))
            sp->path[i].grammar = q[i]->grammar;
        /* the last token is read again, and so are draft tokens at its place and after it */
        if (sp->drafter)
            drafter_rewind(sp->drafter, &q[i]->draft_kv, q[i]->n_tok - 1);
    }
    for (int depth = 0; any && depth < sp->o.max_draft; depth++)
        TRY(extend_all(sp, n, depth, rows, floor, &any, e));
    cut(sp, q, n, &st);
    cut_branches(sp, n, &st);
    for (int i = 0; i < n && sp->o.spoil > 0; i++)
        spoil(sp, q[i]);
    return 0;
}

void speculate_ended(struct speculate *sp, struct seq *q)
{
    if (sp->lookup && q->kind == SEQ_GENERATE && q->r->n_out) {
        int lead = q->r->n_prompt < LOOKUP_LONGEST ? q->r->n_prompt : LOOKUP_LONGEST;
        lookup_remember(sp->lookup, q->tok + q->r->n_prompt - lead,
                        q->n_tok - q->r->n_prompt + lead);
    }
    speculate_prune(sp, q);
    if (sp->drafter)
        drafter_drop(sp->drafter, &q->draft_kv);
}
