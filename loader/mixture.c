#include "mixture.h"

#include <string.h>
#include <strings.h>

#include "check.h"

static const struct {
    const char *name;
    uint32_t file_type; /* enum llama_ftype, as general.file_type stores it */
    enum fmt most;      /* format of every matrix without a rule of its own */
} mixture_table[MIX_COUNT] = {
    [MIX_F32] = {"F32", 0, FMT_F32},         [MIX_F16] = {"F16", 1, FMT_F16},
    [MIX_BF16] = {"BF16", 32, FMT_BF16},     [MIX_Q8_0] = {"Q8_0", 7, FMT_Q8_0},
    [MIX_Q4_0] = {"Q4_0", 2, FMT_Q4_0},      [MIX_Q6_K] = {"Q6_K", 18, FMT_Q6_K},
    [MIX_Q4_K_M] = {"Q4_K_M", 15, FMT_Q4_K}, [MIX_Q5_K_M] = {"Q5_K_M", 17, FMT_Q5_K},
};

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
    return mixture_table[m].file_type;
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

/* The format that the mixture prescribes, for a shape that fits its blocks. */
static enum fmt mixture_want(enum mixture m, const struct mixture_model *mm, const char *name)
{
    enum fmt most = mixture_table[m].most;
    if (fmt_info(most)->block_elems == 1)
        return most;
    bool output =
        !strcmp(name, "output.weight") || (mm->tied_output && !strcmp(name, "token_embd.weight"));
    if (output)
        return m == MIX_Q8_0 ? FMT_Q8_0 : FMT_Q6_K;
    bool attn_v = mixture_ends(name, ".attn_v.weight");
    if (m != MIX_Q4_K_M && m != MIX_Q5_K_M)
        return most;
    if ((attn_v || mixture_ends(name, ".ffn_down.weight")) && mixture_more_bits(name, mm->n_layer))
        return FMT_Q6_K;
    /* 70B: eight heads share attn_v, so it is small and its errors count eight times */
    if (attn_v && mm->n_layer >= 80 && mm->n_head > mm->n_kv_head)
        return FMT_Q5_K;
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
