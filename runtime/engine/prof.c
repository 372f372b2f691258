#include "prof.h"

void prof_table(const struct prof *p, struct str *out)
{
    int order[OP_COUNT];
    int64_t total = 0;
    for (int i = 0; i < OP_COUNT; i++) {
        total += p->ns[i];
        int at = i;
        for (; at > 0 && p->ns[order[at - 1]] < p->ns[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    str_addf(out, "%-12s %10s %12s %7s\n", "op", "calls", "ms", "share");
    for (int k = 0; k < OP_COUNT; k++) {
        int i = order[k];
        if (p->calls[i])
            str_addf(out, "%-12s %10llu %12.2f %6.1f%%\n", ops_op_name((enum op)i),
                     (unsigned long long)p->calls[i], (double)p->ns[i] / 1e6,
                     100.0 * (double)p->ns[i] / (double)(total ? total : 1));
    }
}
