/* Draws a trial of the crowd from its seed, and prints it. */
#include <stdio.h>
#include <string.h>

#include "crowd.h"
#include "differ.h"
#include "mixture.h"
#include "plan.h"
#include "request.h"
#include "rng.h"

static const char *const models[] = {"llama_2",        "llama_gqa",    "llama_head_dim",
                                     "llama_mha_tied", "llama_rope31", "mistral",
                                     "qwen2",          "qwen3"};
enum { N_MODEL = sizeof models / sizeof *models };
static const char *const isas[] = {NULL, "scalar", "avx2", "avxvnni", "avx512vnni", "amx", "neon"};
enum { ISA_SCALAR = 1, N_ISA = sizeof isas / sizeof *isas };

static const struct {
    const char *name;
    int plain;
} options[] = {
#define X(id, name, plain) {name, plain},
    CROWD_OPTIONS(X)
#undef X
};

const char *crowd_option_name(int option)
{
    return options[option].name;
}

int crowd_option_plain(int option)
{
    return options[option].plain;
}

const char *crowd_isa(int option)
{
    return isas[option];
}

const char *crowd_model(const struct crowd_trial *t)
{
    return models[t->model];
}

/* ---- drawing ---- */

/* Most requests of a trial are of one kind: many scorings reach other limits of the engine than
 * many generations. */
static enum crowd_kind draw_kind(struct dice *d, int mix)
{
    static const int percent[5][4] = {
        {10, 0, 90, 0}, {40, 10, 50, 0}, {60, 30, 10, 0}, {40, 20, 25, 15}, {20, 5, 70, 5}};
    int at = dice_int(d, 0, 99), kind = 0;
    for (; kind < 3 && at >= percent[mix][kind]; kind++)
        at -= percent[mix][kind];
    return (enum crowd_kind)kind;
}

static void draw_request(struct dice *d, const struct crowd_trial *t, struct crowd_request *r,
                         int i, int mix, int longest, int longest_cont)
{
    *r = (struct crowd_request){.kind = draw_kind(d, mix),
                                .len = dice_int(d, 1, longest),
                                .family = dice_int(d, 0, 3),
                                .top_p = 1,
                                .seed = (uint64_t)dice_int(d, 0, 2),
                                .cancel_step = -1};
    r->shared = dice_chance(d, 35) ? r->len : dice_int(d, 0, r->len);
    r->temperature = (float)dice_pick(d, 0, 3, 9, 15) / 10;
    if (dice_chance(d, 25))
        r->top_k = dice_int(d, 1, 40);
    if (dice_chance(d, 25))
        r->top_p = 0.8f;
    if (dice_chance(d, 25))
        r->min_p = 0.1f;
    r->ignore_eos = dice_chance(d, 50);
    int left = t->n_ctx - r->len;
    if (r->kind == CROWD_FREE)
        r->max_new = dice_int(d, 1, 50);
    if (r->kind == CROWD_GRAMMAR) {
        r->grammar = dice_int(d, 0, CROWD_SCHEMAS - 1);
        r->max_new = dice_int(d, 25, 90);
    }
    if (r->max_new > left &&
        !dice_chance(d, 5)) /* one in twenty is too long; both engines must refuse it */
        r->max_new = left > 0 ? left : 1;
    if (r->kind == CROWD_SCORE) {
        r->n_cont = dice_int(d, 1, CROWD_CONTS);
        r->cont_shared = dice_chance(d, 50) ? dice_int(d, 0, longest_cont) : 0;
        int most = longest_cont < left ? longest_cont : left > 0 ? left : 1;
        bool same = dice_chance(d, 25);
        for (int c = 0; c < r->n_cont; c++)
            r->cont_len[c] = same ? most : dice_int(d, 1, most);
    }
    if (r->kind == CROWD_LOGITS)
        r->logits_from = dice_int(d, 0, r->len - 1);
    r->rank = dice_chance(d, 50) ? (uint32_t)(i / 4) : (uint32_t)dice_int(d, 0, 2);
    r->arrival = i ? (enum crowd_arrival)dice_int(d, 0, 2) : ARRIVE_FIRST;
    r->after = i ? dice_int(d, i > 6 ? i - 6 : 0, i - 1) : 0;
    r->at = r->arrival == ARRIVE_STEP ? dice_int(d, 1, 60 + 4 * i) : dice_int(d, 1, 30);
    if (dice_chance(d, 10))
        r->cancel_step = dice_int(d, 0, 60 + 4 * i);
}

/* Thinking has dice of its own, so the rest of a trial does not depend on it. */
static void draw_thinking(const struct crowd_trial *t, struct crowd_request *r, int i)
{
    struct dice own = {.seed = rng_mix(t->seed + (uint64_t)i) ^ 0x74686e6b}, *d = &own;
    int left = t->n_ctx - r->len - r->max_new;
    if ((r->kind != CROWD_FREE && r->kind != CROWD_GRAMMAR) || !dice_chance(d, 35))
        return;
    r->n_think_end = dice_int(d, 1, 5);
    r->n_think_after = dice_int(d, 0, 5);
    r->think_close = dice_int(d, 0, 255);
    left -= r->n_think_end > r->n_think_after ? r->n_think_end : r->n_think_after;
    r->max_think = dice_int(d, 1, dice_chance(d, 50) ? 8 : 100);
    if (r->max_think > left && !dice_chance(d, 2))
        r->max_think = left > 0 ? left : 0;
}

/* Extras have dice of their own, too. */
static void draw_extras(const struct crowd_trial *t, struct crowd_request *r, int i)
{
    struct dice own = {.seed = rng_mix(t->seed + (uint64_t)i) ^ 0x65787472}, *d = &own;
    r->prompt_from = -1;
    if (r->kind == CROWD_LOGITS || !dice_chance(d, 40))
        return;
    r->n_top = dice_chance(d, 50) ? dice_int(d, 1, REQUEST_TOP_MOST) : 0;
    if (dice_chance(d, 60)) {
        r->prompt_from = dice_chance(d, 40) ? 0 : dice_int(d, 0, r->len);
        r->prompt_top = dice_chance(d, 50);
        if (r->kind == CROWD_SCORE && dice_chance(d, 30))
            r->n_cont = 0; /* scores its prompt alone */
    }
    if (dice_chance(d, 40))
        r->n_bias = dice_int(d, 1, CROWD_BIASES);
    if (dice_chance(d, 40)) {
        r->presence = (float)dice_int(d, -20, 20) / 10;
        r->frequency = (float)dice_int(d, -20, 20) / 10;
    }
    if (dice_chance(d, 40)) {
        r->repeat = (float)dice_pick(d, 3, 8, 11, 15) / 10;
        r->repeat_last_n = dice_pick(d, 5, -1, 0, 1, 7, 64);
    }
}

static void draw_options(struct dice *d, const struct crowd_trial *t, int *o)
{
    int context = t->n_ctx;
    o[CROWD_THREADS] = dice_int(d, 1, 3);
    o[CROWD_ISA] = dice_chance(d, 30) ? dice_int(d, 0, N_ISA - 1) : 0;
    o[CROWD_N_SEQ] = dice_pick(d, 1, 1, 2, 3, 4, 5, 7, 8, 16, 40, 64, 0);
    o[CROWD_BATCH_TOKENS] = dice_pick(d, 1, 8, 17, 24, 40, 96, 128, 512, 2000, 0);
    o[CROWD_PAGE_TOKENS] = dice_pick(d, 16, 16, 32, 64, 128, 256);
    if (dice_chance(d, 70))
        o[CROWD_POOL] =
            1 + (dice_chance(d, 30) ? 0 : dice_int(d, 0, 2 * (context / o[CROWD_PAGE_TOKENS] + 1)));
    o[CROWD_SWAP] = dice_int(d, 0, 2);
    if (dice_chance(d, 50))
        o[CROWD_SWAP_PAGES] = dice_int(d, 1, 64);
    o[CROWD_NO_CACHE] = dice_chance(d, 25);
    if (dice_chance(d, 75)) {
        o[CROWD_MAX_DRAFT] = dice_int(d, 1, dice_chance(d, 70) ? 8 : 64);
        o[CROWD_LOOKUP] = dice_chance(d, 65);
        o[CROWD_DRAFT] = dice_chance(d, 60) ? dice_pick(d, 1, 11, 16, 51) : 0;
        o[CROWD_MAX_BRANCH] = dice_int(d, 0, 4);
        o[CROWD_ALWAYS] = dice_chance(d, 75);
        o[CROWD_SPOIL] = dice_chance(d, 50) ? dice_pick(d, 5, 30, 90) : 0;
    }
    if (o[CROWD_DRAFT] && o[CROWD_ISA] == ISA_SCALAR)
        o[CROWD_ISA] = 0; /* two models by the slowest loops: a minute under sanitizers */
    o[CROWD_MAP] = dice_chance(d, 25);
    o[CROWD_NO_RECORD] = dice_chance(d, 25);
    o[CROWD_RANKS] = dice_chance(d, 70);
    o[CROWD_LATE] = dice_chance(d, 75);
    o[CROWD_CANCELS] = dice_chance(d, 60);
    if (t->cudahost) {
        o[CROWD_ISA] = 0;
        o[CROWD_PLACEMENT] = dice_int(d, 0, 2);
        o[CROWD_VRAM] = dice_chance(d, 70) ? dice_int(d, 30, 95) : 0;
        o[CROWD_LINK] = dice_chance(d, 30) ? dice_int(d, 200, 2000) : 0;
        o[CROWD_RAM] = dice_chance(d, 30) ? dice_int(d, 64, 1024) : 0;
    }
    o[CROWD_SPANS] = dice_chance(d, 15);
    o[CROWD_PROGRESS] = dice_chance(d, 15);
}

/* So have the mixture of formats, and the options that came later. Random weights of a mixture
 * are larger than the other models, so slow loops and few registers are left out. */
static void draw_weights(struct crowd_trial *t)
{
    struct dice own = {.seed = rng_mix(t->seed) ^ 0x77656967}, *d = &own;
    int *o = t->option;
    if (!t->cudahost && dice_chance(d, 40)) {
        t->mixture = 1 + dice_int(d, 0, MIX_COUNT - 1);
        if (o[CROWD_ISA] == ISA_SCALAR)
            o[CROWD_ISA] = 0;
        if (t->n > 10)
            t->n = 10;
    }
    o[CROWD_PACKED] = dice_chance(d, 40);
    if (t->cudahost) {
        o[CROWD_DEVICES] = dice_chance(d, 40) ? dice_int(d, 2, 3) : 0;
        o[CROWD_SPLIT] = o[CROWD_DEVICES] ? dice_int(d, 0, 2) : 0;
        if (o[CROWD_SPLIT] == PLAN_ROWS)
            o[CROWD_DEVICES] = 2; /* few of these models have three KV heads */
    }
}

void crowd_draw(struct crowd_trial *t, const struct crowd_place *p, uint64_t seed)
{
    struct dice d = {.seed = seed};
    memset(t, 0, sizeof *t);
    t->seed = seed;
    t->cudahost = dice_chance(&d, 12) && p->has_cudahost;
    t->model = dice_int(&d, 0, N_MODEL - 1);
    t->n_ctx = dice_pick(&d, 32, 48, 64, 100, 160, 256, 256);
    int first = dice_int(&d, 0, CROWD_KV_FORMATS - 1);
    for (int i = 0; i < CROWD_KV_FORMATS; i++)
        t->kv_order[i] = (first + i) % CROWD_KV_FORMATS;
    t->n = t->cudahost ? dice_int(&d, 2, 6)
                       : dice_int(&d, 4, dice_chance(&d, 30) ? CROWD_REQUESTS : 30);
    draw_options(&d, t, t->option);
    int mix = dice_int(&d, 0, 4), cont = dice_pick(&d, 2, 4, 10, 70, 120);
    int longest = dice_chance(&d, 50) ? t->n_ctx - 2 : t->n_ctx / 2;
    cont = cont < t->n_ctx ? cont : t->n_ctx;
    for (int i = 0; i < t->n; i++)
        draw_request(&d, t, &t->request[i], i, mix, longest, cont);
    draw_weights(t);
    for (int i = 0; i < t->n; i++)
        draw_thinking(t, &t->request[i], i);
    for (int i = 0; i < t->n; i++)
        draw_extras(t, &t->request[i], i);
}

void crowd_print(const struct crowd_trial *t)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        n += !t->request[i].dropped;
    printf("%s%s, context %d, %d requests;",
           t->mixture ? mixture_name((enum mixture)(t->mixture - 1)) : models[t->model],
           t->cudahost ? " on cudahost" : "", t->n_ctx, n);
    for (int i = 0; i < CROWD_N_OPTION; i++)
        if (t->option[i] != options[i].plain)
            printf(" %s %d", options[i].name, t->option[i]);
    printf("\n");
}
