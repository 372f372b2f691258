#include "orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_part.h"
#include "sha256.h"

struct orders_one { /* a question of the run */
    /* the id of its origin; without one, a hash of its text and of its options in sorted order */
    char group[65];
    size_t question;
    const struct result *r; /* NULL = not run yet */
};

static int orders_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int orders_by_group(const void *a, const void *b)
{
    return strcmp(((const struct orders_one *)a)->group, ((const struct orders_one *)b)->group);
}

static int orders_group(const struct medqa_question *q, char out[65], struct err *e)
{
    const char *sorted[MEDQA_OPTIONS];
    struct str s = STR_INIT;
    if (q->of) {
        snprintf(out, 65, "%.16s", q->of);
        return 0;
    }
    memcpy(sorted, q->option, sizeof sorted);
    qsort(sorted, (size_t)q->n_options, sizeof *sorted, orders_text);
    str_add(&s, q->text, strlen(q->text) + 1);
    for (int i = 0; i < q->n_options; i++)
        str_add(&s, sorted[i], strlen(sorted[i]) + 1);
    int rc = str_ok(&s, "a question", e);
    if (!rc)
        rc = sha256_hex(s.s, s.len, out, e);
    str_free(&s);
    return rc;
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* The n questions of a group. An answer that was not read is no option. */
static void orders_add(const struct export_run *x, const struct orders_one *v, size_t n,
                       struct orders *o)
{
    const char *first = NULL;
    bool same = true, right = true;
    size_t done = 0;
    for (size_t i = 0; i < n; i++)
        done += v[i].r != NULL;
    o->alone += n == 1 && done;
    o->unfinished += n > 1 && done && done < n;
    if (n == 1 || done < n)
        return;
    for (size_t i = 0; i < n; i++) {
        const int at = v[i].r->predicted;
        const char *text = at < 0 ? NULL : x->data.question[v[i].question].option[at];
        first = i ? first : text;
        same = same && first && text && !strcmp(first, text);
        right = right && v[i].r->correct;
    }
    o->same.n++;
    o->same.k += same;
    o->right.k += right;
}

static int orders_groups(const struct export_run *x, struct orders *o, struct err *e)
{
    const size_t all = x->run.records.n; /* a group may go on after the records asked for */
    struct orders_one *v = mem_zalloc(all, sizeof *v);
    size_t n = 0;
    int rc = 0;
    if (!v)
        return NOMEM(e, all * sizeof *v, "groups of questions");
    for (size_t i = 0; i < all; i++) {
        const struct records_row *row = &x->run.records.r[i];
        if (row->kind != MEDQA_QUESTION)
            continue;
        v[n].question = (size_t)medqa_ids_find(&x->ids, row->id);
        v[n].r = i < x->run.asked ? x->result[i] : NULL;
        TRY_DONE(orders_group(&x->data.question[v[n].question], v[n].group, e));
        n++;
    }
    qsort(v, n, sizeof *v, orders_by_group);
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 1; i + k < n && !strcmp(v[i].group, v[i + k].group); k++)
            continue;
        orders_add(x, v + i, k, o);
    }
done:
    mem_free(v);
    return rc;
}

/* ---- places ---------------------------------------------------------------------------------- */

static int orders_place(const struct export_sample *s, void *user, struct err *e)
{
    struct orders *o = user;
    size_t n = 0;
    const char *shown = s->line ? replay_text(s->line, "shown", &n) : "";
    (void)e;
    if (s->row->kind != MEDQA_QUESTION)
        return 0;
    if (n != (size_t)s->r->n_options) {
        o->not_shown++;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        o->at[i].n += shown[i] == 'A' + s->r->key;
        o->at[i].k += shown[i] == 'A' + s->r->key && s->r->correct;
        o->chosen[i] += s->r->predicted >= 0 && shown[i] == 'A' + s->r->predicted;
    }
    return 0;
}

int orders_count(const struct export_run *x, struct orders *out, struct err *e)
{
    struct orders o = {.alone = 0};
    TRY(orders_groups(x, &o, e));
    TRY(export_each(x, orders_place, &o, e));
    o.right = stats_wilson(o.right.k, o.same.n);
    o.same = stats_wilson(o.same.k, o.same.n);
    for (int i = 0; i < MEDQA_OPTIONS; i++)
        o.at[i] = stats_wilson(o.at[i].k, o.at[i].n);
    *out = o;
    return 0;
}

static void orders_rate(const char *name, const struct stats_rate *r, struct str *out)
{
    if (!r->n)
        str_addf(out, "%snone\n", name);
    else
        str_addf(out, "%s%5.1f %%  %zu/%zu  95 %% interval %.1f to %.1f\n", name, 100 * r->rate,
                 r->k, r->n, 100 * r->lo, 100 * r->hi);
}

void orders_table(const struct orders *o, struct str *out)
{
    str_adds(out, "questions in several variants: orders of the options, or wordings\n\n");
    orders_rate("  same answer     ", &o->same, out);
    orders_rate("  right in all    ", &o->right, out);
    str_addf(out, "  left out        %zu groups not finished, %zu questions in one variant only\n",
             o->unfinished, o->alone);
    str_adds(out, "\nby the place at which the key was shown\n\n");
    for (int i = 0; i < MEDQA_OPTIONS; i++) {
        char name[24] = "  A               ";
        name[2] = (char)('A' + i);
        if (!o->at[i].n && !o->chosen[i])
            continue;
        orders_rate(name, &o->at[i], out);
        str_addf(out, "                  chosen %zu times\n", o->chosen[i]);
    }
    if (o->not_shown)
        str_addf(out, "  %zu questions without a recorded order are left out\n", o->not_shown);
}

static void orders_json_rate(const char *key, const struct stats_rate *r, struct str *out)
{
    str_addf(out, "\"%s\": ", key);
    report_json_rate(out, r);
}

void orders_json(const struct orders *o, struct str *out)
{
    const char *comma = "";
    str_addc(out, '{');
    orders_json_rate("same_answer", &o->same, out);
    str_adds(out, ",\n ");
    orders_json_rate("right_in_all", &o->right, out);
    str_addf(out,
             ",\n \"unfinished\": %zu, \"alone\": %zu, \"without_order\": %zu,\n \"places\": {",
             o->unfinished, o->alone, o->not_shown);
    for (int i = 0; i < MEDQA_OPTIONS; i++) {
        if (!o->at[i].n && !o->chosen[i])
            continue;
        str_addf(out, "%s\n  \"%c\": {", comma, 'A' + i);
        orders_json_rate("key_shown", &o->at[i], out);
        str_addf(out, ", \"chosen\": %zu}", o->chosen[i]);
        comma = ",";
    }
    str_adds(out, "}}\n");
}
