#include "fit_plan.h"

#include <stdio.h>

#include "advice.h"
#include "check.h"
#include "cpu_rate.h"
#include "forward.h"
#include "kv.h"
#include "mem.h"

/* A MedQA evaluation, 1,273 questions x 7 calls: tokens of all prompts and of all replies. */
static const double eval_prompt = 6.24e6, eval_output = 3.06e6;
enum { BATCH_ROWS = 512, PAGE = 32 };

int fit_n_host(const struct fit *f)
{
    return f->opt.cpu_layers.set ? f->opt.cpu_layers.value : PLAN_ANY;
}

/* Bytes of activations and scratch of an engine's steps; n_share devices of tensor parallel. */
static uint64_t workspace(const struct fit *f, const struct model *m, int n_seq, int max_draft,
                          int n_share)
{
    const struct forward_load load = {.n_seq = n_seq,
                                      .batch_tokens = n_seq > BATCH_ROWS ? n_seq : BATCH_ROWS,
                                      .n_ctx = f->opt.n_ctx,
                                      .page_tokens = PAGE,
                                      .max_draft = max_draft};
    struct forward_limits lim = forward_limits_for(m, &load);
    lim.n_share = n_share;
    return forward_workspace(m, f->ops, &lim);
}

static int pages(int n_ctx)
{
    return (n_ctx + PAGE - 1) / PAGE;
}

/* Bytes of the KV cache for a token; 0: the format cannot hold the heads. */
uint64_t fit_kv_token_bytes(const struct fit *f, const struct hparams *hp)
{
    const struct kv_config kc = {.fmt = f->opt.kv_fmt,
                                 .page_tokens = PAGE,
                                 .n_layer = hp->n_layer,
                                 .n_kv_head = hp->n_kv_head,
                                 .head_dim = hp->head_dim};
    return kv_page_bytes(&kc) / PAGE;
}

/* Several cards. */
static void plan_cards(const struct fit *f, struct plan_device *device, struct plan_input *in)
{
    if (f->n_card < 2)
        return;
    for (int i = 0; i < f->n_card; i++)
        device[i] = (struct plan_device){.vram_bytes = f->card[i].vram_bytes,
                                         .vram = f->card[i].vram,
                                         .link = f->card[i].link,
                                         .device_ops = f->card[i].device_ops,
                                         .launch_s = f->rates.launch_s};
    in->n_device = f->n_card;
    in->device = device;
    in->hop = f->hop;
    in->rows.copy_s = PLAN_COPY_S;
    in->rows.call_s = PLAN_CALL_S;
}

/* The input of a plan. device: room for PLAN_DEVICES, layer: for 2 n_layer numbers. */
static int plan_question(const struct fit *f, int n_seq, enum plan_mode mode,
                         struct plan_device *device, uint64_t *layer, struct plan_input *in,
                         struct err *e)
{
    const struct model *m = &f->of.m;
    *in = (struct plan_input){.kv_bytes_per_token = fit_kv_token_bytes(f, &m->hp),
                              .kv_bytes = f->kv_bytes,
                              .n_ctx = pages(f->opt.n_ctx) * PAGE,
                              .n_seq = n_seq,
                              .workspace_bytes = workspace(f, m, n_seq, 0, 1),
                              .on_device = true,
                              .vram_bytes = f->opt.vram_bytes,
                              .ram_bytes = f->opt.ram_bytes,
                              .mode = mode,
                              .split = f->opt.split,
                              .n_host = fit_n_host(f),
                              .rates = f->rates,
                              .kv_len = f->opt.n_ctx};
    if (!in->kv_bytes_per_token)
        FAIL(e, ERR_USAGE, "--kv-type %s cannot hold heads of %d elements; use f16",
             fmt_info(f->opt.kv_fmt)->name, m->hp.head_dim);
    in->rates.host_row = cpu_rate_row(&m->w, f->isa, f->cores);
    plan_cards(f, device, in);
    model_plan_sizes(m, layer, in);
    in->rows.workspace_bytes = workspace(f, m, n_seq, 0, f->n_card);
    return 0;
}

static int layers_alloc(const struct fit *f, uint64_t **layer, struct err *e)
{
    const size_t n = 2 * (size_t)f->of.m.hp.n_layer;
    *layer = mem_zalloc(n, sizeof **layer);
    return *layer ? 0 : NOMEM(e, n * sizeof **layer, "plan");
}

static int plan_for(const struct fit *f, int n_seq, enum plan_mode mode, struct plan *out,
                    struct err *e)
{
    struct plan_device device[PLAN_DEVICES];
    struct plan_input in;
    uint64_t *layer;
    TRY(layers_alloc(f, &layer, e));
    int rc = plan_question(f, n_seq, mode, device, layer, &in, e);
    if (rc == 0) {
        rc = plan_make(&in, out, e);
        if (rc < 0)
            advice_instead(e, "--ctx",
                           "lower --ctx, --sequences or --kv-type, or raise --vram or --ram");
    }
    mem_free(layer);
    return rc;
}

int fit_draft_open(const struct fit *f, struct sketch *out, struct err *e)
{
    struct shape shape;
    return shape_find(f->draft, &shape) ? sketch_shape(&shape, f->mix, out, e)
                                        : sketch_file(f->draft_path.s, out, e);
}

int fit_speculate(const struct fit *f, struct fit_speculation *out, struct err *e)
{
    struct sketch draft;
    struct plan p;
    struct fit with = *f;
    const int rows = FIT_DRAFT + 1;
    TRY(fit_draft_open(f, &draft, e));
    const struct model *m = &draft.m;
    const struct weights *w = &m->w;
    if (m->hp.n_vocab != f->of.m.hp.n_vocab) {
        int rc = err_set(e, ERR_USAGE,
                         "it has %d tokens and the model has %d; a draft needs the model's own "
                         "vocabulary",
                         m->hp.n_vocab, f->of.m.hp.n_vocab);
        sketch_close(&draft);
        return rc;
    }
    const uint64_t kv = fit_kv_token_bytes(f, &m->hp) * (uint64_t)f->opt.n_ctx;
    /* a token reads a row of the embedding, unless that is the output matrix, too */
    const uint64_t read =
        weights_bytes(w) - (weights_tied(w) ? 0 : weights_part_bytes(w, PART_EMBED, 0));
    *out = (struct fit_speculation){.draft_bytes =
                                        weights_bytes(w) + kv + workspace(f, m, 1, FIT_DRAFT, 1)};
    const int n = m->hp.n_layer;
    const double launches = cost_launches(n, (double)model_more_launches(m) / n, 1);
    out->draft_s = FIT_DRAFT *
                   (((double)read + (double)kv / 2) / f->rates.vram + launches * f->rates.launch_s);
    sketch_close(&draft);
    if (out->draft_bytes >= f->opt.vram_bytes)
        FAIL(e, ERR_USAGE, "the draft needs %.1f GB of the card, which has %.1f",
             (double)out->draft_bytes * 1e-9, (double)f->opt.vram_bytes * 1e-9);
    with.opt.vram_bytes -= out->draft_bytes;
    with.card[0].vram_bytes -= out->draft_bytes;
    /* all rows together hold one sequence, and all of them are in the step */
    with.opt.n_ctx = f->opt.n_ctx / rows + 1;
    with.kv_bytes =
        fit_kv_token_bytes(f, &f->of.m.hp) * (uint64_t)(rows * pages(with.opt.n_ctx) * PAGE);
    TRY(plan_for(&with, rows, PLAN_LATENCY, &p, e));
    out->pass_s = p.all.step_s;
    plan_free(&p);
    out->rate = (f->accepted + 1) / (out->pass_s + out->draft_s);
    return 0;
}

double fit_batch_rate(const struct plan *p)
{
    return p->all.step_s > 0 ? p->n_seq / p->all.step_s : 0;
}

int fit_best_plan(const struct fit *f, enum plan_mode mode, struct plan *best, struct err *e)
{
    static const int tries[] = {1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 143, 160, 192, 224, 256};
    if (f->opt.n_seq)
        return plan_for(f, f->opt.n_seq, mode, best, e);
    bool found = false;
    int rc = 0;
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        struct plan p;
        rc = plan_for(f, tries[i], mode, &p, e);
        if (rc < 0)
            break;
        if (!found || fit_batch_rate(&p) > fit_batch_rate(best) * 1.001) {
            if (found)
                plan_free(best);
            *best = p;
            found = true;
        } else {
            plan_free(&p);
        }
    }
    return found ? 0 : rc;
}

double fit_eval_hours(const struct fit *f, const struct plan *p)
{
    double prefill = 2 * (double)f->of.m.n_params / f->rates.device_ops;
    return (eval_output / fit_batch_rate(p) + eval_prompt * prefill) / 3600;
}

/* ---- advice ---------------------------------------------------------------------------------- */

static void try_change(const struct fit *changed, const char *what, double now,
                       struct fit_advice *a)
{
    struct plan p;
    *a = (struct fit_advice){.gain = 0};
    snprintf(a->what, sizeof a->what, "%s", what);
    if (fit_best_plan(changed, changed->opt.placement, &p, NULL) < 0)
        return;
    a->gain = fit_batch_rate(&p) / now;
    plan_free(&p);
}

int fit_advise(const struct fit *f, double now, struct fit_advice out[FIT_ADVICE])
{
    struct fit c[FIT_ADVICE];
    int n = 0;
    for (int i = 0; i < FIT_ADVICE; i++)
        c[i] = *f;
    c[n].opt.vram_bytes += (uint64_t)8 << 30;
    for (int i = 0; i < f->n_card; i++)
        c[n].card[i].vram_bytes += (uint64_t)8 << 30;
    try_change(&c[n],
               f->n_card > 1 ? "8 GiB more memory on each card" : "8 GiB more memory on the card",
               now, &out[n]),
        n++;
    c[n].rates.link *= 2;
    for (int i = 0; i < f->n_card; i++)
        c[n].card[i].link *= 2;
    try_change(&c[n],
               f->n_card > 1 ? "links twice as fast (PCIe 5.0 for 4.0)"
                             : "a link twice as fast (PCIe 5.0 for 4.0)",
               now, &out[n]),
        n++;
    c[n].rates.host *= 2;
    c[n].rates.dram *= 2;
    try_change(&c[n], "main memory twice as fast", now, &out[n]), n++;
    c[n].opt.n_ctx = f->opt.n_ctx / 2 > 16 ? f->opt.n_ctx / 2 : 16;
    try_change(&c[n], "sequences half as long (--ctx)", now, &out[n]), n++;
    if (f->opt.kv_fmt == FMT_F16) {
        c[n].opt.kv_fmt = FMT_Q8_0;
        try_change(&c[n], "a KV cache of half the size (--kv-type q8_0)", now, &out[n]), n++;
    }
    if (f->opt.n_seq) {
        c[n].opt.n_seq = 2 * f->opt.n_seq;
        try_change(&c[n], "twice as many sequences together (--sequences)", now, &out[n]), n++;
    }
    for (int i = 1; i < n; i++) /* the largest gain first */
        for (int k = i; k > 0 && out[k].gain > out[k - 1].gain; k--) {
            struct fit_advice t = out[k];
            out[k] = out[k - 1];
            out[k - 1] = t;
        }
    return n;
}

/* ---- other types of a shape ------------------------------------------------------------------ */

/* Of several cards, too: no layer is streamed or computed by the CPU. */
static bool lies_whole(const struct fit *f, const struct plan *p)
{
    return plan_is_resident(p) || (f->n_card > 1 && !p->stream_bytes && p->embed == PLAN_HOST &&
                                   p->host_bytes == weights_part_bytes(&f->of.m.w, PART_EMBED, 0));
}

static int other_type(const struct fit *f, enum mixture mix, struct fit_type *out, struct err *e)
{
    struct shape shape;
    struct fit with = *f;
    struct plan p;
    struct err why;
    *out = (struct fit_type){.mix = mix};
    CHECK(shape_find(f->shape, &shape));
    TRY(sketch_shape(&shape, mix, &with.of, e));
    out->bytes = weights_bytes(&with.of.m.w);
    if (plan_for(&with, 1, PLAN_LATENCY, &p, &why) == 0) {
        out->fits = true;
        out->whole = lies_whole(&with, &p);
        out->one = 1 / p.one.step_s;
        plan_free(&p);
    }
    for (int i = 0; i < 2; i++) {
        if (fit_best_plan(&with, i ? PLAN_THROUGHPUT : PLAN_LATENCY, &p, &why) < 0)
            continue;
        if (fit_batch_rate(&p) > out->batch)
            out->batch = fit_batch_rate(&p);
        plan_free(&p);
    }
    sketch_close(&with.of);
    return 0;
}

int fit_other_types(const struct fit *f, struct fit_type out[MIX_COUNT], int *n, struct err *e)
{
    int whole = 0;
    *n = 0;
    if (!f->shape)
        return 0;
    TRY(other_type(f, f->mix, &out[0], e));
    if (out[0].whole)
        return 0;
    *n = 1;
    for (int m = 0; m < MIX_COUNT; m++) {
        struct fit_type t;
        TRY(other_type(f, (enum mixture)m, &t, e));
        int k = *n;
        if (t.bytes >= out[0].bytes)
            continue;
        for (; k > 1 && t.bytes > out[k - 1].bytes; k--)
            out[k] = out[k - 1];
        out[k] = t;
        ++*n;
    }
    for (int k = 1; k < *n && whole < 3; k++)
        if (out[k].whole && ++whole == 3)
            *n = k + 1;
    return 0;
}
