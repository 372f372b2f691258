#include "exposure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "str.h"

enum exposure_kind { EXPOSURE_TEXT, EXPOSURE_OTHER, EXPOSURE_ORDERS, EXPOSURE_KINDS };

struct exposure_call { /* one text, or the orders of one question */
    struct llm_call llm;
    enum exposure_kind kind;
    size_t item;
    struct str order[MEDQA_OPTIONS];
    struct llm_text option[MEDQA_OPTIONS];
    struct str text;
};

struct exposing {
    const struct exposure_options *o;
    struct exposure_item *item;
    size_t next, n_calls; /* number of the next call, of all: item * EXPOSURE_KINDS + kind */
    size_t done;          /* calls */
    int in_flight;
};

/* ---- measures -------------------------------------------------------------------------------- */

static int exposure_ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Places of n-grams at equal distances, from the first token that has a log-probability. */
static void exposure_ngrams(const struct llm_token *t, int n, struct exposure_text *out)
{
    int first = 0;
    while (first < n && !isfinite(t[first].lp))
        first++;
    const int room = n - first - EXPOSURE_GRAM; /* the last place is `room` after the first */
    if (room < 0)
        return;
    const int points = room + 1 < EXPOSURE_POINTS ? room + 1 : EXPOSURE_POINTS;
    for (int k = 0; k < points; k++) {
        const int at = first + (points > 1 ? (int)((int64_t)room * k / (points - 1)) : 0);
        bool exact = true;
        for (int i = at; i < at + EXPOSURE_GRAM; i++)
            exact = exact && t[i].top;
        out->points++;
        out->exact += exact;
    }
}

int exposure_measure(const struct llm_token *t, int n, struct exposure_text *out, struct err *e)
{
    struct exposure_text r = {.mean_lp = (double)NAN, .min_k = (double)NAN};
    double *lp = mem_zalloc((size_t)n, sizeof *lp), sum = 0, least = 0;
    int k = 0;
    if (!lp)
        return NOMEM(e, (size_t)n * sizeof *lp, "a text's tokens");
    for (int i = 0; i < n; i++)
        if (isfinite(t[i].lp)) {
            lp[k++] = t[i].lp;
            sum += t[i].lp;
        }
    if (k) {
        qsort(lp, (size_t)k, sizeof *lp, exposure_ascending);
        const int m = (int)(EXPOSURE_SHARE * k) > 0 ? (int)(EXPOSURE_SHARE * k) : 1;
        for (int i = 0; i < m; i++)
            least += lp[i];
        r.tokens = k;
        r.mean_lp = sum / k;
        r.min_k = least / m;
        exposure_ngrams(t, n, &r);
    }
    mem_free(lp);
    *out = r;
    return 0;
}

/* ---- other wordings -------------------------------------------------------------------------- */

/* The end of the sentence that begins at s[at]: after its mark, at white space or the end. */
static size_t exposure_sentence(const char *s, size_t at, size_t n)
{
    for (; at < n; at++)
        if (strchr(".?!", s[at]) && (at + 1 == n || strchr(" \t\r\n", s[at + 1])))
            return at + 1;
    return n;
}

void exposure_reorder(const char *text, struct str *out)
{
    const size_t n = strlen(text);
    size_t count = 0, first = 0, last = 0; /* end of the first sentence, start of the last */
    for (size_t at = 0; at < n;) {
        const size_t end = exposure_sentence(text, at, n);
        last = at;
        first = count++ ? first : end;
        for (at = end; at < n && strchr(" \t\r\n", text[at]);)
            at++;
    }
    if (count < 2)
        return;
    size_t second = first;
    while (strchr(" \t\r\n", text[second]) && text[second])
        second++;
    size_t end = n, middle = last; /* without the white space at their ends */
    while (end > last && strchr(" \t\r\n", text[end - 1]))
        end--;
    while (middle > second && strchr(" \t\r\n", text[middle - 1]))
        middle--;
    if (count == 2) { /* the two change places */
        str_add(out, text + last, end - last);
        str_addc(out, ' ');
        str_add(out, text, first);
        return;
    }
    str_add(out, text + second, middle - second);
    str_addc(out, ' ');
    str_add(out, text, first);
    str_addc(out, ' ');
    str_add(out, text + last, end - last);
}

/* The first paraphrase among the variants: it follows the question itself. */
static const char *exposure_paraphrase(const struct medqa *words, const struct medqa_question *q,
                                       size_t *from)
{
    for (size_t i = *from; i + 1 < words->n; i++) {
        const struct medqa_question *v = &words->question[i];
        if (strcmp(v->id, q->id) != 0)
            continue;
        *from = i + 1; /* questions stand in the same order */
        return v[1].of && !strcmp(v[1].of, q->id) ? v[1].text : NULL;
    }
    return NULL;
}

static int exposure_words(const struct exposure_options *o, struct exposure_item *item,
                          struct err *e)
{
    struct str s = STR_INIT;
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < o->n && rc == 0; i++) {
        item[i].q = &o->question[i];
        if (o->words) {
            item[i].words = exposure_paraphrase(o->words, &o->question[i], &at);
            continue;
        }
        str_clear(&s);
        exposure_reorder(o->question[i].text, &s);
        rc = str_ok(&s, "a text", e);
        if (rc == 0 && s.len) {
            item[i].words = arena_strndup(o->arena, s.s, s.len);
            rc = item[i].words ? 0 : NOMEM(e, s.len, "a text");
        }
    }
    str_free(&s);
    return rc;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void exposure_free(struct exposure_call *c)
{
    if (!c)
        return;
    llm_call_clear(&c->llm);
    for (int i = 0; i < MEDQA_OPTIONS; i++)
        str_free(&c->order[i]);
    str_free(&c->text);
    mem_free(c);
}

/* The options in cyclic order from `first` on, as lines with letters. */
static void exposure_order(const struct medqa_question *q, int first, struct str *out)
{
    for (int place = 0; place < q->n_options; place++)
        str_addf(out, "%s%c. %s", place ? "\n" : "", 'A' + place,
                 q->option[(first + place) % q->n_options]);
}

static int exposure_make(const struct exposing *p, size_t number, struct exposure_call **out,
                         struct err *e)
{
    const struct exposure_item *it = &p->item[number / EXPOSURE_KINDS];
    struct exposure_call *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return NOMEM(e, sizeof *c, "a call");
    c->item = number / EXPOSURE_KINDS;
    c->kind = (enum exposure_kind)(number % EXPOSURE_KINDS);
    str_adds(&c->text, c->kind == EXPOSURE_OTHER ? it->words : it->q->text);
    if (c->kind == EXPOSURE_ORDERS) {
        str_addc(&c->text, '\n');
        for (int i = 0; i < it->q->n_options; i++) {
            exposure_order(it->q, i, &c->order[i]);
            c->option[i] = (struct llm_text){c->order[i].s, c->order[i].len};
            c->text.failed = c->text.failed || c->order[i].failed;
        }
        c->llm.options = c->option;
        c->llm.n_options = it->q->n_options;
    }
    int rc = str_ok(&c->text, "a prompt", e);
    if (rc < 0) {
        exposure_free(c);
        return rc;
    }
    c->llm.id = number;
    c->llm.role = "probe";
    c->llm.about = it->q->id;
    c->llm.user = c->text.s;
    c->llm.user_len = c->text.len;
    c->llm.raw = true;
    c->llm.top_p = 1; /* off: nothing is drawn */
    c->llm.score_prompt = c->kind != EXPOSURE_ORDERS;
    c->llm.user_data = c;
    *out = c;
    return 0;
}

/* Is there a text for this call? */
static bool exposure_wanted(const struct exposing *p, size_t number)
{
    const struct exposure_item *it = &p->item[number / EXPOSURE_KINDS];
    switch ((enum exposure_kind)(number % EXPOSURE_KINDS)) {
    case EXPOSURE_OTHER:
        return it->words != NULL;
    case EXPOSURE_ORDERS:
        return it->q->n_options > 1;
    default:
        return true;
    }
}

static void exposure_fault(struct exposure_item *it, const char *why)
{
    if (!it->why[0])
        snprintf(it->why, sizeof it->why, "%s", why);
}

static void exposure_orders(struct exposure_item *it, const struct llm_call *c)
{
    it->n_orders = c->n_options;
    it->first = true;
    for (int i = 0; i < c->n_options; i++) {
        it->order_lp[i] = c->option_lp[i];
        it->first =
            it->first && isfinite(c->option_lp[i]) && (!i || c->option_lp[0] > c->option_lp[i]);
    }
}

static int exposure_take(struct exposing *p, struct exposure_call *c, struct err *e)
{
    struct exposure_item *it = &p->item[c->item];
    p->done++;
    if (c->llm.finish == LLM_ERROR || c->llm.finish == LLM_CANCEL)
        exposure_fault(it, c->llm.finish == LLM_ERROR ? c->llm.err.msg : "cancelled");
    else if (c->kind == EXPOSURE_ORDERS)
        exposure_orders(it, &c->llm);
    else
        return exposure_measure(c->llm.token, c->llm.n_token,
                                c->kind == EXPOSURE_TEXT ? &it->text : &it->other, e);
    return 0;
}

/* Submits calls until `most` are in flight. */
static int exposure_submit(struct exposing *p, int most, struct err *e)
{
    while (p->next < p->n_calls && p->in_flight < most) {
        const size_t number = p->next++;
        struct exposure_call *c = NULL;
        struct err why = {.code = 0};
        if (!exposure_wanted(p, number)) {
            p->done++;
            continue;
        }
        TRY(exposure_make(p, number, &c, e));
        int rc = llm_submit(p->o->llm, &c->llm, &why);
        if (rc == 0) {
            p->in_flight++;
            continue;
        }
        if (rc == ERR_DATA) { /* it does not fit */
            exposure_fault(&p->item[c->item], why.msg);
            p->done++;
        }
        exposure_free(c);
        if (rc != ERR_DATA)
            FAIL(e, rc, "%s", why.msg);
    }
    return 0;
}

static bool exposure_stopped(const struct exposure_options *o)
{
    return o->stop && atomic_load(o->stop);
}

static int exposure_loop(struct exposing *p, struct err *e)
{
    const int slots = llm_info(p->o->llm)->slots, most = slots > 0 ? 2 * slots : 2;
    TRY(exposure_submit(p, most, e));
    while (p->in_flight) {
        struct llm_call *done = llm_next(p->o->llm, -1); /* NULL: a signal */
        if (done) {
            struct exposure_call *c = done->user_data;
            p->in_flight--;
            const int rc = exposure_take(p, c, e);
            exposure_free(c);
            TRY(rc);
        }
        if (exposure_stopped(p->o))
            FAIL(e, ERR_CANCEL, "stopped after %zu of %zu texts", p->done, p->n_calls);
        if (p->o->progress)
            p->o->progress(p->done / EXPOSURE_KINDS, p->o->n, p->o->user);
        TRY(exposure_submit(p, most, e));
    }
    return 0;
}

static int exposure_able(struct llm *llm, struct err *e)
{
    const struct llm_info *info = llm_info(llm);
    const unsigned lacks = (LLM_CAN_PROMPT | LLM_CAN_SCORE | LLM_CAN_RAW) & ~info->can;
    char text[160];
    if (lacks)
        FAIL(e, ERR_CONFIG, "the probe needs an llm that %s; provider %s does not; choose another",
             llm_can_text(lacks, text), info->provider);
    return 0;
}

int exposure_run(const struct exposure_options *o, struct exposure_item *item, struct err *e)
{
    struct exposing p = {.o = o, .item = item, .n_calls = o->n * EXPOSURE_KINDS};
    TRY(exposure_able(o->llm, e));
    memset(item, 0, o->n * sizeof *item);
    TRY(exposure_words(o, item, e));
    const int rc = exposure_loop(&p, e);
    while (p.in_flight) { /* after an error: the calls are still lent */
        struct llm_call *done = llm_next(o->llm, -1);
        if (!done)
            continue;
        exposure_free(done->user_data);
        p.in_flight--;
    }
    return rc;
}
