#include "choice.h"

#include <math.h>
#include <string.h>

int choice_check(const struct request *r, struct err *e)
{
    const struct request_choice *c = &r->choice;
    if (!c->n)
        return 0;
    if (c->n < 0 || c->n > REQUEST_CHOICE_MOST || c->n_after < 1 || !c->after || !c->lp)
        FAIL(e, ERR_BUG, "a choice of %d letters after a text of %d bytes", c->n, c->n_after);
    if (!r->grammar)
        FAIL(e, ERR_BUG, "a choice of %d letters in a reply without a grammar", c->n);
    return 0;
}

/* Length of the longest proper prefix of s[0..n) that is its suffix too. */
static int choice_border(const char *s, int n)
{
    int k = n - 1;
    while (k > 0 && memcmp(s, s + n - k, (size_t)k) != 0)
        k--;
    return k;
}

int choice_read(const struct request_choice *c, int *matched, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (*matched == c->n_after && s[i] >= 'A' && s[i] < 'A' + c->n)
            return s[i] - 'A';
        while (*matched == c->n_after || (*matched && c->after[*matched] != s[i]))
            *matched = choice_border(c->after, *matched);
        *matched += c->after[*matched] == s[i];
    }
    return -1;
}

void choice_add(double *out, double lp)
{
    double high = *out > lp ? *out : lp, low = *out > lp ? lp : *out;
    *out = isinf(high) ? high : high + log1p(exp(low - high));
}

bool choice_norm(double *lp, int n)
{
    double sum = -INFINITY;
    for (int i = 0; i < n; i++)
        choice_add(&sum, lp[i]);
    for (int i = 0; i < n && isfinite(sum); i++)
        lp[i] -= sum;
    return isfinite(sum);
}
