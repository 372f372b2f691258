#include "agreement.h"

#include <math.h>
#include <string.h>

static bool agreement_same(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* Share of pairs of the n classes that are the same; NaN with fewer than two. */
static double agreement_pairs(const char *const *class, int n)
{
    int pairs = 0, same = 0;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++, pairs++)
            same += agreement_same(class[i], class[j]);
    return pairs ? (double)same / pairs : (double)NAN;
}

/* The only option of that class, as shown to the model; -1 = none, or several. */
static int agreement_option(const struct consult *c, const char *const *option, const char *class)
{
    int found = -1;
    for (int i = 0; i < c->q->n_options; i++) {
        if (!agreement_same(option[i], class))
            continue;
        if (found >= 0)
            return -1;
        found = i;
    }
    return found;
}

int agreement_reports(struct consult *c, const struct synonyms *t, const struct answer_report *r,
                      int n, struct err *e)
{
    const char *class[CATALOG_MAX] = {NULL}, *option[MEDQA_OPTIONS] = {NULL};
    c->agreement = answer_agreement(r, n);
    for (int i = 0; i < n; i++)
        TRY(synonyms_of(t, r[i].dx[0].dx, &c->arena, &class[i], e));
    c->agreement_class = agreement_pairs(class, n);
    c->synonyms = t->hash;
    if (!c->q->n_options || !n)
        return 0;
    for (int i = 0; i < c->q->n_options; i++)
        TRY(synonyms_of(t, c->q->option[c->shown[i]], &c->arena, &option[i], e));
    TRY(consult_choices(c, n, e));
    for (int i = 0; i < n; i++)
        consult_choose(c, i, agreement_option(c, option, class[i]));
    return 0;
}
