#include "mixture.h"

#include <string.h>
#include <strings.h>

#include "check.h"

/* mixtures.def. A plain format has no rules, and its file type is in formats.def. */
static const struct {
    const char *name;
    bool mixed;
    uint32_t file_type;
    enum fmt most, fine, deep;
} mixture_table[MIX_COUNT] = {
#define P(NAME) [MIX_##NAME] = {#NAME, false, 0, FMT_##NAME, FMT_##NAME, FMT_##NAME},
#define M(NAME, type, most, fine, deep)                                                            \
    [MIX_##NAME] = {#NAME, true, type, FMT_##most, FMT_##fine, FMT_##deep},
#include "mixtures.def"
};

const char mixture_choices[] =
#define P(NAME) " " #NAME
#define M(NAME, ...) " " #NAME
#include "mixtures.def"
    ;

bool mixture_from_name(const char *name, enum mixture *out)
{
    for (int m = 0; m < MIX_COUNT; m++)
        if (!strcasecmp(mixture_table[m].name, name)) {
            *out = (enum mixture)m;
            return true;
        }
    return false;
}

const char *mixture_name(enum mixture m)
{
    CHECK((unsigned)m < MIX_COUNT);
    return mixture_table[m].name;
}

uint32_t mixture_file_type(enum mixture m)
{
    CHECK((unsigned)m < MIX_COUNT);
    return mixture_table[m].mixed ? mixture_table[m].file_type
                                  : (uint32_t)fmt_info(mixture_table[m].most)->file_type;
}

static bool mixture_ends(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

/* True for quantised tensors: matrices. Norms, biases, rope_freqs and routers of experts are
 * not. */
static bool mixture_is_matrix(const char *name, int n_dim)
{
    return n_dim >= 2 && mixture_ends(name, ".weight") && !mixture_ends(name, "_norm.weight") &&
           !mixture_ends(name, ".ffn_gate_inp.weight");
}

/* True for the layers whose ffn_down and attn_v have more bits in the _M mixtures. */
static bool mixture_more_bits(const char *name, int n_layer)
{
    int layer = 0, digits = 0;
    if (strncmp(name, "blk.", 4) != 0)
        return false;
    for (const char *s = name + 4; *s >= '0' && *s <= '9' && digits < 6; s++, digits++)
        layer = layer * 10 + (*s - '0');
    int eighth = n_layer / 8;
    return layer < eighth || layer >= 7 * n_layer / 8 || (layer - eighth) % 3 == 2;
}

/* Has format a more bits an element than b? */
static bool mixture_is_finer(enum fmt a, enum fmt b)
{
    const struct fmt_info *x = fmt_info(a), *y = fmt_info(b);
    return x->block_bytes * (size_t)y->block_elems > y->block_bytes * (size_t)x->block_elems;
}

/* The format that the mixture prescribes, for a shape that fits its blocks. */
static enum fmt mixture_want(enum mixture m, const struct mixture_model *mm, const char *name)
{
    enum fmt most = mixture_table[m].most;
    if (fmt_is_plain(most))
        return most;
    bool output =
        !strcmp(name, "output.weight") || (mm->tied_output && !strcmp(name, "token_embd.weight"));
    if (output)
        return mixture_is_finer(most, FMT_Q6_K) ? most : FMT_Q6_K;
    bool attn_v = mixture_ends(name, ".attn_v.weight");
    if (!mixture_table[m].mixed)
        return most;
    if ((attn_v || mixture_ends(name, ".ffn_down.weight")) && mixture_more_bits(name, mm->n_layer))
        return mixture_table[m].fine;
    /* 70B: eight heads share attn_v, so it is small and its errors count eight times */
    if (attn_v && mm->n_layer >= 80 && mm->n_head > mm->n_kv_head)
        return mixture_table[m].deep;
    return most;
}

enum fmt mixture_choose(enum mixture m, const struct mixture_model *mm, const char *name, int n_dim,
                        const int64_t *dim, bool *fell_back)
{
    CHECK((unsigned)m < MIX_COUNT && n_dim >= 1);
    *fell_back = false;
    if (!mixture_is_matrix(name, n_dim))
        return FMT_F32;
    enum fmt want = mixture_want(m, mm, name);
    size_t bytes;
    if (fmt_row_bytes(want, dim[n_dim - 1], &bytes))
        return want;
    *fell_back = true;
    return fmt_row_bytes(FMT_Q8_0, dim[n_dim - 1], &bytes) ? FMT_Q8_0 : FMT_F16;
}
