#include "stats_alpha.h"

#include <math.h>

void stats_alpha_add(struct stats_alpha *a, const char *values)
{
    size_t of[STATS_ALPHA_NAMES] = {0};
    int m = 0;
    double unlike = 0;
    for (const char *s = values; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '-' || c >= STATS_ALPHA_NAMES)
            continue;
        of[c]++;
        m++;
    }
    if (m < 2)
        return;
    for (int c = 0; c < STATS_ALPHA_NAMES; c++) {
        unlike += (double)of[c] * (double)((size_t)m - of[c]);
        a->of[c] += of[c];
    }
    a->within += unlike / (m - 1);
    a->least = a->units && a->least < m ? a->least : m;
    a->most = a->most > m ? a->most : m;
    a->units++;
    a->values += (size_t)m;
}

void stats_alpha_end(struct stats_alpha *a)
{
    const double n = (double)a->values;
    double unlike = 0;
    a->pairs = a->observed = a->expected = a->alpha = (double)NAN;
    if (!a->units)
        return;
    for (int c = 0; c < STATS_ALPHA_NAMES; c++)
        unlike += (double)a->of[c] * (n - (double)a->of[c]);
    a->observed = a->within / n;
    a->pairs = 1 - a->observed;
    a->expected = unlike / (n * (n - 1));
    if (a->expected > 0)
        a->alpha = 1 - a->observed / a->expected;
}
