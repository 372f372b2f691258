#include "doubts.h"

#include <stdlib.h>
#include <string.h>

static long long doubts_line(const struct medqa *m, const struct medqa_question *q)
{
    return (long long)m->record[q->index].line;
}

/* The first other option with the text of the key's; -1 = none. */
static int doubts_twin(const struct medqa_question *q)
{
    for (int i = 0; q->key >= 0 && i < q->n_options; i++)
        if (i != q->key && !strcmp(q->option[i], q->option[q->key]))
            return i;
    return -1;
}

static void doubts_twins(const struct medqa *m, size_t n, const char *name, size_t most,
                         struct str *out)
{
    size_t all = 0;
    for (size_t i = 0; i < n; i++)
        all += doubts_twin(&m->question[i]) >= 0;
    if (all)
        str_addf(out,
                 "%s: %zu of %zu questions have another option with the text of the key's; the key "
                 "alone counts as right:\n",
                 name, all, n);
    for (size_t i = 0, named = 0; i < n && named < most && all; i++) {
        const struct medqa_question *q = &m->question[i];
        int twin = doubts_twin(q);
        if (twin < 0)
            continue;
        named++;
        str_addf(out, "  line %lld: key %c, and %c\n", doubts_line(m, q), 'A' + q->key, 'A' + twin);
    }
    if (all > most)
        str_addf(out, "  and %zu more\n", all - most);
}

/* Order of text and options; 0 = the same but for the key. */
static int doubts_order(const struct medqa_question *a, const struct medqa_question *b)
{
    int c = strcmp(a->text, b->text);
    if (!c)
        c = a->n_options - b->n_options;
    for (int i = 0; !c && i < a->n_options; i++)
        c = strcmp(a->option[i], b->option[i]);
    return c;
}

static int doubts_compare(const void *x, const void *y)
{
    const struct medqa_question *a = *(const struct medqa_question *const *)x,
                                *b = *(const struct medqa_question *const *)y;
    int c = doubts_order(a, b);
    return c ? c : (a->index > b->index) - (a->index < b->index);
}

static void doubts_keys(const struct medqa *m, const struct medqa_question *const *sorted, size_t n,
                        const char *name, size_t most, struct str *out)
{
    size_t all = 0, named = 0;
    for (size_t i = 1; i < n; i++)
        all += !doubts_order(sorted[i - 1], sorted[i]);
    if (all)
        str_addf(out,
                 "%s: %zu of %zu questions repeat an earlier one with another key; all are asked, "
                 "at most one key is right:\n",
                 name, all, n);
    for (size_t i = 1; i < n && named < most && all; i++) {
        const struct medqa_question *a = sorted[i - 1], *b = sorted[i];
        if (doubts_order(a, b))
            continue;
        named++;
        str_addf(out, "  line %lld: the question of line %lld\n", doubts_line(m, b),
                 doubts_line(m, a));
    }
    if (all > most)
        str_addf(out, "  and %zu more\n", all - most);
}

int doubts_say(const struct medqa *m, size_t n_records, const char *name, size_t most,
               struct str *out, struct err *e)
{
    const size_t n = medqa_first(m, n_records);
    const struct medqa_question **sorted = mem_zalloc(n + 1, sizeof *sorted);
    if (!sorted)
        return NOMEM(e, (n + 1) * sizeof *sorted, "the order of questions");
    for (size_t i = 0; i < n; i++)
        sorted[i] = &m->question[i];
    qsort(sorted, n, sizeof *sorted, doubts_compare);
    doubts_twins(m, n, name, most, out);
    doubts_keys(m, sorted, n, name, most, out);
    mem_free(sorted);
    return str_ok(out, "doubts", e);
}
