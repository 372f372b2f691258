#include "cpu_rate.h"

#include <string.h>

enum isa { ISA_AVX2, ISA_AVXVNNI, ISA_AVX512VNNI, ISAS };
static const char *const isas[ISAS] = {"avx2", "avxvnni", "avx512vnni"};

static const double rates[FMT_COUNT][ISAS] = {
/* 10^9 weights/s of a core */
#define X(NAME, avx2, avxvnni, avx512vnni) [FMT_##NAME] = {avx2, avxvnni, avx512vnni},
#include "cpu_rates.def"
};
static const double ops[ISAS] = {
#define P(avx2, avxvnni, avx512vnni) avx2, avxvnni, avx512vnni
#include "cpu_rates.def"
};

static int isa_of(const char *name)
{
    for (int i = 0; i < ISAS; i++)
        if (!strcmp(isas[i], name))
            return i;
    return strcmp(name, "auto") ? -1 : ISA_AVX2;
}

const char *cpu_rate_isa(const char *isa)
{
    if (!strcmp(isa, "amx"))
        return isas[ISA_AVX512VNNI];
    for (int i = 0; i < ISAS; i++)
        if (!strcmp(isas[i], isa))
            return isas[i];
    return NULL;
}

double cpu_rate_of(enum fmt f, const char *isa)
{
    const int i = isa_of(isa);
    return i < 0 ? 0 : rates[f][i] * 1e9;
}

double cpu_rate_ops(const char *isa)
{
    const int i = isa_of(isa);
    return i < 0 ? 0 : ops[i] * 1e9;
}

/* Adds the bytes of a part's matrices and the seconds that one core needs for them. */
static void add_part(const struct weights *w, enum plan_part part, int layer, const char *isa,
                     double *bytes, double *seconds)
{
    for (int s = 0; s < w->n_slot; s++) {
        const struct tensor *t = weights_get(w, s, layer);
        if (w->part[s] != part || t->n_dim < 2)
            continue;
        *bytes += (double)tensor_rows(t) * (double)t->row_bytes;
        *seconds += (double)tensor_rows(t) * (double)tensor_cols(t) / cpu_rate_of(t->fmt, isa);
    }
}

double cpu_rate_row(const struct weights *w, const char *isa, int cores)
{
    double bytes = 0, seconds = 0;
    if (!(cpu_rate_of(FMT_F32, isa) > 0))
        return 0;
    for (int l = 0; l < w->n_layer; l++) {
        add_part(w, PART_ATTN, l, isa, &bytes, &seconds);
        add_part(w, PART_FFN, l, isa, &bytes, &seconds);
    }
    add_part(w, PART_OUTPUT, 0, isa, &bytes, &seconds);
    return seconds > 0 ? cores * bytes / seconds : 0;
}
