#include "speculate.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "lookup.h"
#include "mem.h"
#include "rng.h"
#include "sampler.h"

#define MEMORY_TOKENS ((size_t)1 << 18) /* of replies remembered for lookup */
#define LEVELS 8                        /* of confidence, of each kind of guess */
#define FORCED_MOST 8                   /* tokens allowed, at most, where one way on is looked for */

/* Kinds of guesses; each has LEVELS classes whose success is counted. */
enum { KIND_FORCED, KIND_TEXT, KIND_MEMORY, KIND_MODEL, KINDS };

/* What is known of a class before anything is seen, and for how many guesses that counts. */
static const double prior_true[KINDS] = {0.95, 0.6, 0.6, 0.7};
#define PRIOR_WEIGHT 4.0
#define FORGET 0.995 /* of what was counted, a guess later: 200 guesses are remembered */

struct tally {
    double tried, came_true;
};

/* Seconds of steps by rows, at 1, 1.5, 2, 3, 4, 6, .. rows. */
enum { TIMES = 34 };
struct times {
    double seconds[TIMES]; /* running mean, 0 = none seen */
};
#define TIME_SHARE 0.15 /* of the newest in the running mean */

struct path { /* the guesses of one sequence while they are made */
    double sure[DRAFT_MOST]; /* probability that guess i and all before it come true */
    double last;             /* of the last one; 1 before the first */
    struct grammar_state grammar;
    const int32_t *next; /* where a lookup goes on */
    int n_next, length;
    int kind;
    bool stopped;
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
    struct path *path;           /* (n_seq) */
    struct draft_want *want;     /* (n_seq) */
    int *wants;                  /* (n_seq) whose */
    uint32_t *mask;              /* (n_seq, mask_words) */
    const uint32_t **mask_row;   /* (n_seq) */
};

int speculate_open(const struct speculate_options *o, const struct tokenizer *tok, struct grammar_vocab *gv,
                   struct drafter *drafter, struct speculate **out, struct err *e)
{
    CHECK(o->max_draft > 0 && o->max_draft <= DRAFT_MOST);
    size_t n = (size_t)o->n_seq, words = ((size_t)tokenizer_n_vocab(tok) + 31) / 32;
    struct speculate *sp = mem_zalloc(1, sizeof *sp);
    if (!sp)
        return NOMEM(e, sizeof *sp, "speculation");
    *sp = (struct speculate){.o = *o, .tok = tok, .gv = gv, .drafter = drafter, .mask_words = words};
    int rc = o->lookup ? lookup_open(MEMORY_TOKENS, &sp->lookup, e) : 0;
    sp->path = mem_zalloc(n, sizeof *sp->path);
    sp->want = mem_zalloc(n, sizeof *sp->want);
    sp->wants = mem_zalloc(n, sizeof *sp->wants);
    sp->mask = mem_zalloc(drafter ? n * words : 1, sizeof *sp->mask);
    sp->mask_row = mem_zalloc(n, sizeof *sp->mask_row);
    if (rc == 0 && (!sp->path || !sp->want || !sp->wants || !sp->mask || !sp->mask_row))
        rc = NOMEM(e, n * words * sizeof *sp->mask, "speculation");
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
    lookup_close(sp->lookup);
    mem_free(sp->path);
    mem_free(sp->want);
    mem_free(sp->wants);
    mem_free(sp->mask);
    mem_free(sp->mask_row);
    mem_free(sp);
}

/* ---- what steps cost, how often guesses come true ---------------------------------------------------- */

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

/* Seconds of a step of so many rows: between its measured neighbours along a line; beyond the last one, or with one
 * alone, a quarter of the time is taken to be the rows' own. 0: nothing has been measured. More rows never take less. */
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

/* How likely a guess must come true so that its row pays, in a step of so many rows that gives so many tokens: tokens
 * a second must not fall. */
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

void speculate_verified(struct speculate *sp, const struct seq *q, int n_true)
{
    for (int i = 0; i < q->n_draft && i <= n_true; i++) { /* of those behind the first wrong one nothing is known */
        struct tally *t = &sp->tally[q->draft_class[i]];
        t->tried = t->tried * FORGET + 1;
        t->came_true = t->came_true * FORGET + (i < n_true);
    }
}

void speculate_took(struct speculate *sp, int rows, double seconds)
{
    times_add(&sp->step, rows, seconds);
}

/* ---- guesses without a model -------------------------------------------------------------------------- */

/* The only way on that a grammar leaves: of at most FORCED_MOST tokens the longest, when all others begin it. */
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

static void path_add(struct speculate *sp, struct seq *q, struct path *p, int32_t id, int kind, int level)
{
    int class = kind * LEVELS + (level < LEVELS ? level : LEVELS - 1), i = q->n_draft;
    q->tok[q->n_tok + i] = id;
    q->draft_class[i] = (uint8_t)class;
    p->last *= class_true(sp, class);
    p->sure[i] = p->last;
    q->n_draft = i + 1;
}

/* Takes id as the next guess, if the text may go on with it. */
static bool path_take(struct speculate *sp, struct seq *q, struct path *p, const uint32_t *mask, int32_t id, int kind,
                      int level)
{
    if (tokenizer_is_end(sp->tok, id) && !q->r->ignore_eos)
        return false; /* there is nothing behind it to compute */
    if (q->r->grammar) {
        if (!(mask[id / 32] >> (id % 32) & 1) || !grammar_accept(sp->gv, q->r->grammar, &p->grammar, id) || p->grammar.done)
            return false;
    }
    path_add(sp, q, p, id, kind, level);
    return true;
}

static bool path_look(struct speculate *sp, struct seq *q, struct path *p, const uint32_t *mask)
{
    if (!p->n_next) {
        struct lookup_guess g = lookup_find(sp->lookup, q->tok, q->n_tok + q->n_draft);
        p->next = g.next;
        p->n_next = g.n;
        p->length = g.length;
        p->kind = g.from == LOOKUP_TEXT ? KIND_TEXT : KIND_MEMORY;
    }
    if (!p->n_next)
        return false;
    int32_t id = *p->next++;
    p->n_next--;
    if (path_take(sp, q, p, mask, id, p->kind, p->length - 1)) {
        p->length++;
        return true;
    }
    p->n_next = 0;
    return false;
}

/* The next guess of one sequence without a model. mask: of its grammar, or NULL. */
static bool path_extend(struct speculate *sp, struct seq *q, struct path *p, const uint32_t *mask)
{
    if (mask) {
        bool only = false;
        int32_t id = forced(sp, mask, &only);
        if (id >= 0) {
            bool as_looked_up = p->n_next && *p->next == id;
            p->next += as_looked_up;
            p->n_next = as_looked_up ? p->n_next - 1 : 0;
            return path_take(sp, q, p, mask, id, KIND_FORCED, only ? 1 : 0);
        }
    }
    return sp->lookup && path_look(sp, q, p, mask);
}

/* ---- guesses of a draft model --------------------------------------------------------------------------- */

/* Confidence of the model in its guess, 0 to LEVELS - 1. */
static int level_of(float lp)
{
    static const float bound[LEVELS - 1] = {0.1f, 0.2f, 0.35f, 0.5f, 0.65f, 0.8f, 0.93f};
    float p = expf(lp);
    int level = 0;
    while (level < LEVELS - 1 && p > bound[level])
        level++;
    return level;
}

static void want_add(struct speculate *sp, struct seq *q, int i, const uint32_t *mask, int n)
{
    int row = -1;
    if (mask) {
        row = n;
        memcpy(sp->mask + (size_t)n * sp->mask_words, mask, sp->mask_words * sizeof *mask);
    }
    sp->mask_row[n] = sp->mask + (size_t)n * sp->mask_words;
    sp->wants[n] = i;
    sp->want[n] = (struct draft_want){.kv = &q->draft_kv, .tok = q->tok, .n_tok = q->n_tok + q->n_draft,
                                      .n_sure = q->n_tok, .sample = sampler_row(q->r, q->r->n_out + q->n_draft, row)};
}

/* Is a pass of the draft model for these worth its time? What it may give: the tokens that it guesses right, at the
 * time that a token takes now. */
static bool model_pays(const struct speculate *sp, int n, double tokens, double rows)
{
    double step = times_of(&sp->step, rows), pass = times_of(&sp->draft, n), gain = 0, prior = 0;
    for (int l = 0; l < LEVELS; l++)
        prior += class_true(sp, KIND_MODEL * LEVELS + l) / LEVELS;
    for (int i = 0; i < n; i++)
        gain += sp->path[sp->wants[i]].last * prior;
    return sp->o.always || !(step > 0) || !(pass > 0) || gain * step > tokens * pass;
}

/* One token for each of sp->want[0..n). */
static int model_extend(struct speculate *sp, struct seq **q, int n, struct err *e)
{
    double t0 = drafter_now(sp->drafter);
    int rows = 0;
    for (int i = 0; i < n; i++)
        rows += sp->want[i].n_tok - sp->want[i].kv->len;
    TRY(drafter_guess(sp->drafter, sp->want, n, sp->mask_row, n, e));
    if (rows <= 2 * n) /* else prompts were read: no measure of guessing */
        times_add(&sp->draft, n, drafter_now(sp->drafter) - t0);
    for (int i = 0; i < n; i++) {
        struct seq *s = q[sp->wants[i]];
        struct path *p = &sp->path[sp->wants[i]];
        const struct draft_want *w = &sp->want[i];
        const uint32_t *mask = w->sample.mask >= 0 ? sp->mask_row[i] : NULL;
        p->stopped = w->id < 0 || !path_take(sp, s, p, mask, w->id, KIND_MODEL, level_of(w->lp));
    }
    return 0;
}

/* ---- choosing --------------------------------------------------------------------------------------------- */

/* One more guess for every path that has guessed `depth` tokens. *any: there was one. */
static int extend_all(struct speculate *sp, struct seq **q, int n, int depth, double rows, double floor, bool *any,
                      struct err *e)
{
    int n_want = 0;
    *any = false;
    for (int i = 0; i < n; i++) {
        struct path *p = &sp->path[i];
        struct request *r = q[i]->r;
        const uint32_t *mask = NULL;
        if (p->stopped || p->last < floor || depth >= r->max_new - r->n_out - 1) {
            p->stopped = true;
            continue;
        }
        if (r->grammar && grammar_mask(sp->gv, r->grammar, &p->grammar, &mask, NULL) < 0) {
            p->stopped = true; /* the step itself will say why */
            continue;
        }
        if (path_extend(sp, q[i], p, mask))
            *any = true;
        else if (sp->drafter)
            want_add(sp, q[i], i, mask, n_want++);
        else
            p->stopped = true;
    }
    if (!n_want)
        return 0;
    if (!model_pays(sp, n_want, n, rows)) {
        for (int i = 0; i < n_want; i++)
            sp->path[sp->wants[i]].stopped = true;
        return 0;
    }
    *any = true;
    return model_extend(sp, q, n_want, e);
}

/* Cuts the paths to the guesses whose rows pay: the likeliest first, until one does not. */
static void cut(struct speculate *sp, struct seq **q, int n, int other_rows, int room)
{
    enum { BINS = 64 };
    int count[BINS] = {0}, least = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < q[i]->n_draft; k++)
            count[(int)(sp->path[i].sure[k] * (BINS - 1))]++;
    double rows = n + other_rows, tokens = n;
    for (int b = BINS - 1; b >= 0 && !least; b--) {
        double sure = (b + 0.5) / BINS;
        if (count[b] && (count[b] > room || sure < threshold(sp, rows, tokens)))
            least = b + 1;
        rows += count[b];
        tokens += count[b] * sure;
        room -= count[b];
    }
    for (int i = 0; i < n; i++)
        while (q[i]->n_draft && (int)(sp->path[i].sure[q[i]->n_draft - 1] * (BINS - 1)) < least)
            q[i]->n_draft--;
}

/* For simulations: other tokens in place of guesses. Not under a grammar, which might not allow them. */
static void spoil(struct speculate *sp, struct seq *q)
{
    for (int i = 0; i < q->n_draft && !q->r->grammar; i++)
        if ((double)rng_uniform(sp->n_spoilt++, 0) < sp->o.spoil)
            q->tok[q->n_tok + i] = q->tok[q->n_tok + i] ? 0 : 1;
}

int speculate_guess(struct speculate *sp, struct seq **q, int n, int other_rows, int room, struct err *e)
{
    double rows = n + other_rows, floor = threshold(sp, rows, n);
    bool any = room > 0 && floor < 1;
    CHECK(n <= sp->o.n_seq);
    for (int i = 0; i < n; i++) {
        sp->path[i] = (struct path){.last = 1};
        if (q[i]->r->grammar)
            sp->path[i].grammar = q[i]->grammar;
        q[i]->n_draft = 0;
        if (sp->drafter) /* its last token, whatever was guessed there and behind it, is read again */
            drafter_rewind(sp->drafter, &q[i]->draft_kv, q[i]->n_tok - 1);
    }
    for (int depth = 0; any && depth < sp->o.max_draft; depth++)
        TRY(extend_all(sp, q, n, depth, rows, floor, &any, e));
    cut(sp, q, n, other_rows, room);
    for (int i = 0; i < n && sp->o.spoil > 0; i++)
        spoil(sp, q[i]);
    return 0;
}

void speculate_ended(struct speculate *sp, struct seq *q)
{
    if (sp->lookup && q->kind == SEQ_GENERATE && q->r->n_out) {
        int lead = q->r->n_prompt < LOOKUP_LONGEST ? q->r->n_prompt : LOOKUP_LONGEST;
        lookup_remember(sp->lookup, q->tok + q->r->n_prompt - lead, q->n_tok - q->r->n_prompt + lead);
    }
    if (sp->drafter)
        drafter_drop(sp->drafter, &q->draft_kv);
}
