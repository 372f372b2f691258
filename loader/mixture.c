#include "mixture.h"

#include <string.h>
#include <strings.h>

#include "check.h"

/* mixtures.def. A plain format has no rules, and its file type is in formats.def. */
enum mixture_use { USE_READS, USE_WRITES };
static const struct {
    const char *name;
    bool mixed;
    uint32_t file_type;
    enum fmt most, output;
    enum mixture_use use;
} mixture_table[MIX_COUNT] = {
#define P(NAME)                                                                                    \
    [MIX_##NAME] = {.name = #NAME, .most = FMT_##NAME, .output = FMT_Q6_K, .use = USE_WRITES},
#define M(NAME, type, most, output, use)                                                           \
    [MIX_##NAME] = {#NAME, true, type, FMT_##most, FMT_##output, USE_##use},
#include "mixtures.def"
};

enum mixture_layers {
    LAYERS_ALL,
    LAYERS_FIRST_2,
    LAYERS_FIRST_4,
    LAYERS_FIRST_16TH,
    LAYERS_FIRST_8TH,
    LAYERS_MIDDLE,
    LAYERS_MORE
};
enum mixture_where { WHERE_ANY, WHERE_SHARED, WHERE_DEEP, WHERE_STEERED, WHERE_BLIND };

/* A tensor's name without "blk.N.". */
#define TENSOR_ATTN_Q "attn_q.weight"
#define TENSOR_ATTN_K "attn_k.weight"
#define TENSOR_ATTN_V "attn_v.weight"
#define TENSOR_ATTN_OUTPUT "attn_output.weight"
#define TENSOR_FFN_GATE "ffn_gate.weight"
#define TENSOR_FFN_UP "ffn_up.weight"
#define TENSOR_FFN_DOWN "ffn_down.weight"
#define TENSOR_EMBED "token_embd.weight"

static const struct mixture_rule {
    enum mixture mix;
    const char *tensor;
    enum mixture_layers layers;
    enum mixture_where where;
    enum fmt fmt;
} mixture_rules[] = {
#define R(NAME, tensor, layers, where, fmt)                                                        \
    {MIX_##NAME, TENSOR_##tensor, LAYERS_##layers, WHERE_##where, FMT_##fmt},
#include "mixtures.def"
};

/* The replacement for a format whose blocks do not fit rows: one with blocks of 32. Formats without
 * a line, and rows that are no multiple of 32, become F16. Source: tensor_type_fallback in
 * llama.cpp. */
static const enum fmt mixture_instead[FMT_COUNT] = {
    [FMT_Q2_K] = FMT_Q4_0,     [FMT_Q3_K] = FMT_Q4_0,      [FMT_Q4_K] = FMT_Q5_0,
    [FMT_Q5_K] = FMT_Q5_1,     [FMT_Q6_K] = FMT_Q8_0,      [FMT_IQ4_XS] = FMT_IQ4_NL,
    [FMT_IQ3_S] = FMT_IQ4_NL,  [FMT_IQ3_XXS] = FMT_IQ4_NL, [FMT_IQ2_S] = FMT_IQ4_NL,
    [FMT_IQ2_XS] = FMT_IQ4_NL, [FMT_IQ2_XXS] = FMT_IQ4_NL,
};

const char mixture_choices[] =
#define P(NAME) " " #NAME
#define M(NAME, ...) " " #NAME
#include "mixtures.def"
    ;

#define TARGET_READS(NAME)
#define TARGET_WRITES(NAME) " " #NAME
const char mixture_targets[] =
#define P(NAME) TARGET_WRITES(NAME)
#define M(NAME, type, most, output, use) TARGET_##use(NAME)
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

bool mixture_from_file_type(uint32_t file_type, enum mixture *out)
{
    for (int m = 0; m < MIX_COUNT; m++)
        if (mixture_file_type((enum mixture)m) == file_type) {
            *out = (enum mixture)m;
            return true;
        }
    return false;
}

bool mixture_writes(enum mixture m)
{
    CHECK((unsigned)m < MIX_COUNT);
    return mixture_table[m].use == USE_WRITES;
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

/* A name's part after "blk.N.", and N; the whole name and 0 if it does not begin so. */
static const char *mixture_part(const char *name, int *layer)
{
    int digits = 0;
    *layer = 0;
    if (strncmp(name, "blk.", 4) != 0)
        return name;
    const char *s = name + 4;
    for (; *s >= '0' && *s <= '9' && digits < 6; s++, digits++)
        *layer = *layer * 10 + (*s - '0');
    return *s == '.' ? s + 1 : name;
}

static bool mixture_layer_in(enum mixture_layers which, int layer, int n_layer)
{
    const int eighth = n_layer / 8;
    switch (which) {
    case LAYERS_ALL:
        return true;
    case LAYERS_FIRST_2:
        return layer < 2;
    case LAYERS_FIRST_4:
        return layer < 4;
    case LAYERS_FIRST_16TH:
        return layer < n_layer / 16;
    case LAYERS_FIRST_8TH:
        return layer < eighth;
    case LAYERS_MIDDLE:
        return layer >= eighth && layer < 7 * n_layer / 8;
    case LAYERS_MORE:
        return layer < eighth || layer >= 7 * n_layer / 8 || (layer - eighth) % 3 == 2;
    }
    UNREACHABLE("layers of a rule");
}

static bool mixture_where_holds(enum mixture_where where, const struct mixture_model *mm)
{
    switch (where) {
    case WHERE_ANY:
        return true;
    case WHERE_SHARED:
        return mm->n_head >= 4 * mm->n_kv_head;
    case WHERE_DEEP: /* eight heads share attn_v: it is small, and its errors count eight times */
        return mm->n_layer >= 80 && mm->n_head > mm->n_kv_head;
    case WHERE_STEERED:
        return mm->imatrix;
    case WHERE_BLIND:
        return !mm->imatrix;
    }
    UNREACHABLE("condition of a rule");
}

/* Has format a more bits an element than b? */
static bool mixture_is_finer(enum fmt a, enum fmt b)
{
    const struct fmt_info *x = fmt_info(a), *y = fmt_info(b);
    return x->block_bytes * (size_t)y->block_elems > y->block_bytes * (size_t)x->block_elems;
}

static bool mixture_is_output(const struct mixture_model *mm, const char *name)
{
    return !strcmp(name, "output.weight") || (mm->tied_output && !strcmp(name, TENSOR_EMBED));
}

/* The format that the mixture prescribes. */
static enum fmt mixture_want(enum mixture m, const struct mixture_model *mm, const char *name)
{
    const enum fmt most = mixture_table[m].most, output = mixture_table[m].output;
    if (fmt_is_plain(most))
        return most;
    if (mixture_is_output(mm, name))
        return mixture_is_finer(most, output) ? most : output;
    int layer;
    const char *part = mixture_part(name, &layer);
    if (!strcmp(part, "attn_qkv.weight"))
        part = TENSOR_ATTN_V;
    for (size_t k = 0; k < sizeof mixture_rules / sizeof *mixture_rules; k++) {
        const struct mixture_rule *r = &mixture_rules[k];
        if (r->mix == m && !strcmp(r->tensor, part) &&
            mixture_layer_in(r->layers, layer, mm->n_layer) && mixture_where_holds(r->where, mm))
            return r->fmt;
    }
    return most;
}

enum fmt mixture_choose(enum mixture m, const struct mixture_model *mm, const char *name, int n_dim,
                        const int64_t *dim, enum fmt *want)
{
    CHECK((unsigned)m < MIX_COUNT && n_dim >= 1);
    *want = FMT_F32;
    if (!mixture_is_matrix(name, n_dim))
        return FMT_F32;
    *want = mixture_want(m, mm, name);
    size_t bytes;
    if (fmt_row_bytes(*want, dim[n_dim - 1], &bytes))
        return *want;
    enum fmt instead = mixture_instead[*want];
    if (mixture_is_output(mm, name))
        instead = FMT_Q8_0;
    return instead != FMT_F32 && fmt_row_bytes(instead, dim[n_dim - 1], &bytes) ? instead : FMT_F16;
}
