#include "budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"
#include "trace.h"

static int budget_order(const void *a, const void *b)
{
    return strcmp(((const struct budget_row *)a)->id, ((const struct budget_row *)b)->id);
}

int budget_take(const struct results *rs, struct budget *out, struct err *e)
{
    struct budget b = {.n = rs->n};
    struct str text = STR_INIT;
    int64_t all = 0;
    int rc;
    if (!rs->n)
        FAIL(e, ERR_DATA, "it has no finished question");
    b.row = mem_zalloc(b.n, sizeof *b.row);
    if (!b.row)
        return NOMEM(e, b.n * sizeof *b.row, "budgets of questions");
    for (size_t i = 0; i < b.n; i++) {
        memcpy(b.row[i].id, rs->r[i].id, sizeof b.row[i].id);
        b.row[i].tokens = rs->r[i].new_tokens + rs->r[i].think_tokens;
        all += b.row[i].tokens;
    }
    qsort(b.row, b.n, sizeof *b.row, budget_order);
    for (size_t i = 0; i < b.n; i++)
        str_addf(&text, "%s %lld\n", b.row[i].id, (long long)b.row[i].tokens);
    TRY_DONE(str_ok(&text, "budgets of questions", e));
    TRY_DONE(sha256_hex(text.s, text.len, b.sha256, e));
    if (!all)
        TRY_DONE(err_set(e, ERR_DATA, "it generated no token, so there is nothing to match"));
    *out = b;
    b.row = NULL;
done:
    str_free(&text);
    mem_free(b.row);
    return rc;
}

int budget_read(const char *dir, struct budget *out, struct err *e)
{
    struct trace_run run = {.asked = 0};
    TRY(trace_read(dir, &run, e));
    int rc = budget_take(&run.results, out, e);
    trace_run_free(&run);
    return rc < 0 ? err_wrap(e, rc, "%s", dir) : 0;
}

void budget_free(struct budget *b)
{
    mem_free(b->row);
    *b = (struct budget){.n = 0};
}

int64_t budget_of(const struct budget *b, const char *id)
{
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const int order = strcmp(b->row[mid].id, id);
        if (!order)
            return b->row[mid].tokens;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

int budget_covers(const struct budget *b, const struct medqa_question *q, size_t n, const char *dir,
                  struct err *e)
{
    size_t without = 0, first = 0;
    for (size_t i = n; i-- > 0;)
        if (budget_of(b, q[i].id) < 0) {
            without++;
            first = i;
        }
    if (without)
        FAIL(e, ERR_DATA,
             "%s has not finished %zu of %zu questions, so their tokens are unknown; the first is "
             "%s",
             dir, without, n, q[first].id);
    return 0;
}

struct budget_tally budget_tally(const struct budget *b, const struct results *rs, size_t records)
{
    struct budget_tally t = {.n = 0};
    for (size_t i = 0; i < rs->n; i++) {
        const struct result *r = &rs->r[i];
        const int64_t given = budget_of(b, r->id);
        if ((size_t)r->index >= records || given < 0)
            continue;
        t.n++;
        t.spent += (double)(r->new_tokens + r->think_tokens);
        t.given += (double)given;
    }
    t.near = t.n && fabs(t.spent - t.given) <= BUDGET_NEAR * t.given;
    t.spent /= (double)t.n; /* 0 / 0 is NaN */
    t.given /= (double)t.n;
    return t;
}
