/* mas fit: where a model would lie on a card, how fast it would be, and what would help most.
 * Predictions of loader/plan.h; needs neither the card nor, with --shape, the model. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "cpu_rate.h"
#include "fit_cpu.h"
#include "fit_machine.h"
#include "fit_say.h"
#include "fit_simulate.h"
#include "sources.h"
#include "target.h"

/* DRAFT_WARM: tokens until the engine knows the draft's acceptance rate. DRAFT_TOKENS: measured and
 * drawn after them. */
enum {
    ACCEPTED = 4, /* of FIT_DRAFT tokens, unless --accepted says it */
    DRAFT_WARM = 400,
    DRAFT_TOKENS = 40,
    CTX_DEFAULT = 900,
    BAR = 62 /* a line has 79 columns */
};

/* ---- options --------------------------------------------------------------------------------- */

enum {
    KEY_SHAPE = 0x100,
    KEY_TYPE,
    KEY_GPU,
    KEY_LINK,
    KEY_VRAM,
    KEY_PEER,
    KEY_HOST,
    KEY_CPU,
    KEY_SIMULATE,
    KEY_DRAFT,
    KEY_ACCEPTED,
    KEY_JSON
};

static const struct argp_option options[] = {
    {"model", 'm', "FILE", 0, "a GGUF file, or 'demo'; only its sizes are read", 1},
    {"shape", KEY_SHAPE, "NAME", 0, "instead of a file, one of"
#define X(name, ...) " " name
#include "shapes.def"
#undef X
     ,
     1},
    {"type", KEY_TYPE, "TYPE", 0, "number format of the shape (default Q4_K_M)", 1},
    {"gpu", KEY_GPU, "NAME,..", 0,
     "a card by name, such as rtx4090, or several that share the layers, such as rtx4090,rtx3090 "
     "or --gpu once for each; an unknown name lists all",
     2},
    {"link", KEY_LINK, "RATE,..", 0,
     "from main memory to each card, such as 25GB/s; with commas one for each card", 2},
    {"vram", KEY_VRAM, "SIZE,..", 0,
     "memory of each card that may be used, such as 22GiB, with commas one for each card (default: "
     "all but 1 GiB)",
     2},
    {"peer", KEY_PEER, "RATE", 0,
     "from card to card, such as 56GB/s for an NVLink bridge; by default what the cards have "
     "without a bridge",
     2},
    {"host", KEY_HOST, "RATE", 0,
     "at which the CPU reads weights; with --cpu, those of one node (default 55GB/s)", 2},
    {"cpu", KEY_CPU, "HOST", 0,
     "a host without a card: nodes of memory and cores of each, such as 2x64, or here", 2},
    {"simulate", KEY_SIMULATE, "FILE.svg", 0,
     "run decode steps of the engine on a simulated card and draw what card, link and CPU do", 4},
    {"draft", KEY_DRAFT, "MODEL", 0,
     "a small model, as a shape's name or a file, that drafts tokens: predicts one "
     "sequence with speculation",
     3},
    {"accepted", KEY_ACCEPTED, "N", 0,
     "draft tokens that a pass accepts on average (default 4 of 8)", 3},
    {"json", KEY_JSON, NULL, 0, "print one JSON object", 4},
    {0},
};

static error_t read_vram(struct argp_state *st, const char *flag, const char *word, double *out)
{
    struct engine_options o = {.vram_bytes = 0};
    (void)flag;
    const error_t bad = cli_option(st, &engine_option_set, "vram", word, &o);
    *out = (double)o.vram_bytes;
    return bad;
}

static error_t once(struct argp_state *st, const char *flag, const char *arg, double *rate)
{
    if (*rate > 0) {
        argp_error(st, "%s was given twice; give one rate", flag);
        return EINVAL;
    }
    return cli_rate(st, flag, arg, rate);
}

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct fit *f = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = f->knobs;
        return 0;
    case 'm':
        f->model = arg;
        return 0;
    case KEY_SHAPE:
        f->shape = arg;
        return 0;
    case KEY_TYPE:
        f->typed = true;
        if (mixture_from_name(arg, &f->mix))
            return 0;
        argp_error(st, "unknown --type '%s'; known:%s", arg, mixture_choices);
        return EINVAL;
    case KEY_GPU:
        return fit_machine_cards(f, st, arg);
    case KEY_LINK:
        return fit_machine_list(&f->link, st, "--link", arg, cli_rate);
    case KEY_VRAM:
        return fit_machine_list(&f->vram, st, "--vram", arg, read_vram);
    case KEY_PEER:
        return once(st, "--peer", arg, &f->peer);
    case KEY_CPU:
        return fit_cpu_arg(f, st, arg);
    case KEY_HOST:
        return once(st, "--host", arg, &f->host);
    case KEY_DRAFT:
        f->draft = arg;
        return 0;
    case KEY_ACCEPTED:
        return cli_int(st, "--accepted", arg, 1, FIT_DRAFT, &f->accepted);
    case KEY_SIMULATE:
        f->simulate = arg;
        return 0;
    case KEY_JSON:
        f->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the model --------------------------------------------------------------- */

static int read_model(struct fit *f, struct err *e)
{
    struct shape shape;
    if (!f->model == !f->shape)
        FAIL(e, ERR_USAGE, "%s; give the model with -m FILE or --shape NAME",
             f->model ? "both -m and --shape" : "no model");
    if (f->model && f->typed)
        FAIL(e, ERR_USAGE, "--type with -m: the file has its formats; give --type with --shape");
    if (f->model)
        TRY(sources_model(f->model, &f->path, e));
    const struct target picture = {"--simulate", f->simulate, VIEWFILE_PICTURE};
    const char *const input[] = {f->model ? f->path.s : NULL};
    TRY(target_check(&picture, 1, input, 1, TARGET_FORCED, e));
    if (f->model)
        return sketch_file(f->path.s, &f->of, e);
    if (!shape_find(f->shape, &shape))
        return shape_unknown("--shape", f->shape, e);
    return sketch_shape(&shape, f->mix, &f->of, e);
}

/* ---- output ---------------------------------------------------------------------------------- */

static double gb(uint64_t bytes)
{
    return (double)bytes * 1e-9;
}

static void bar_piece(struct str *s, char mark, uint64_t bytes, uint64_t of, int *used)
{
    int n = of ? (int)((double)bytes / (double)of * BAR + 0.5) : 0;
    n = bytes && !n ? 1 : n;
    n = n > BAR - *used ? BAR - *used : n;
    for (int i = 0; i < n; i++)
        str_addc(s, mark);
    *used += n;
}

static void print_vram(struct str *s, const struct plan_share *p, uint64_t of)
{
    int used = 0;
    str_adds(s, "  VRAM [");
    bar_piece(s, 'W', p->vram_weight_bytes, of, &used);
    bar_piece(s, 'r', p->ring_bytes, of, &used);
    bar_piece(s, 'k', p->kv_bytes, of, &used);
    bar_piece(s, 'a', p->workspace_bytes, of, &used);
    while (used++ < BAR)
        str_addc(s, '.');
    str_addf(s, "] %.1f GB\n", gb(of));
}

static void print_bars(struct str *s, const struct fit *f, const struct plan *p)
{
    int used = 0;
    for (int d = 0; d < f->n_card; d++) {
        const struct plan_share *one = &p->share[d];
        if (f->n_card > 1 && p->split == PLAN_ROWS)
            str_addf(s, "  %d %s, 1/%d of every matrix\n", d, f->card[d].name, f->n_card);
        else if (f->n_card > 1 && one->n)
            str_addf(s, "  %d %s, layers %d to %d\n", d, f->card[d].name, one->first,
                     one->first + one->n - 1);
        else if (f->n_card > 1)
            str_addf(s, "  %d %s, not used\n", d, f->card[d].name);
        print_vram(s, one, f->card[d].vram_bytes);
    }
    str_adds(s, "  RAM  [");
    bar_piece(s, 's', p->pinned_bytes, f->opt.ram_bytes, &used);
    bar_piece(s, 'C', p->host_bytes, f->opt.ram_bytes, &used);
    while (used++ < BAR)
        str_addc(s, '.');
    str_addf(s, "] %.1f GB\n", gb(f->opt.ram_bytes));
}

static int count(const enum plan_place *p, int n, enum plan_place what)
{
    int c = 0;
    for (int i = 0; i < n; i++)
        c += p[i] == what;
    return c;
}

static void print_places(struct str *s, const struct plan *p)
{
    static const enum plan_place order[] = {PLAN_VRAM, PLAN_STREAM, PLAN_HOST};
    str_addf(s, "  %-10s %10s %10s %10s\n", "", "VRAM", "streamed", "CPU");
    const enum plan_place *row[] = {p->attn, p->ffn};
    for (int r = 0; r < 2; r++) {
        str_addf(s, "  %-10s", r ? "ffn" : "attention");
        for (int k = 0; k < 3; k++)
            str_addf(s, " %10d", count(row[r], p->n_layer, order[k]));
        str_addc(s, '\n');
    }
    str_addf(s, "  %-10s", "weights");
    str_addf(s, " %7.1f GB %7.1f GB %7.1f GB\n", gb(p->vram_weight_bytes), gb(p->stream_bytes),
             gb(p->host_bytes));
    str_addf(s,
             "  embedding: %s; output: %s; KV cache %.1f GB for %" PRId64 " tokens; ring %.1f GB\n",
             plan_place_name(p->embed), plan_place_name(p->output), gb(p->kv_bytes), p->kv_tokens,
             gb(p->ring_bytes));
}

static void print_split(struct str *s, const char *what, const struct cost *one,
                        const struct cost *all, int n_seq)
{
    if (one->step_s > 0 && all->step_s > 0)
        str_addf(s, "  %s: %.2f tok/s for 1 sequence, %.1f for %d\n", what, 1 / one->step_s,
                 n_seq / all->step_s, n_seq);
}

/* Lines of at most 79 columns. */
static void print_wrapped(struct str *s, const char *head, const char *text)
{
    size_t column = strlen(head);
    str_adds(s, head);
    for (const char *at = text; *at;) {
        const size_t n = strcspn(at, " ");
        const bool next = column + n > 78;
        str_adds(s, at == text ? "" : next ? "\n    " : " ");
        str_add(s, at, n);
        column = (next ? 4 : column + 1) + n;
        at += n + (at[n] == ' ');
    }
    str_addc(s, '\n');
}

/* The ways between cards, and both forms of sharing. */
static void print_sharing(struct str *s, const struct fit *f, const struct plan *p)
{
    if (f->n_card < 2)
        return;
    for (int b = 0; b < p->n_border; b++)
        str_addf(s, "  border before layer %d: %.1f kB a token from card %d to %d, %s\n",
                 p->border[b].layer, (double)p->border[b].row_bytes * 1e-3, p->border[b].from,
                 p->border[b].to, p->border[b].peer ? "directly" : "through main memory");
    if (p->n_micro > 1)
        str_addf(s,
                 "  %d micro-batches from %d sequences on, so that cards work at the same time\n",
                 p->n_micro, p->micro_rows);
    print_split(s, "runs of layers", &p->layers_one, &p->layers_all, p->layers_n_seq);
    print_split(s, "tensor parallel", &p->rows_one, &p->rows_all, p->rows_n_seq);
    char head[80];
    snprintf(head, sizeof head, "  chosen: %s; ",
             p->split == PLAN_ROWS ? "tensor parallel (--split rows)"
                                   : "runs of layers (--split layers)");
    print_wrapped(s, head, p->why);
}

/* The times of a step. Those of several cards add up, but for micro-batches. */
static void print_step(struct str *s, const struct fit *f, const struct plan *p)
{
    const struct cost *c = &p->all;
    str_addf(s, "  of a step of %.4g ms: link %.4g, card", c->step_s * 1e3, c->link_s * 1e3);
    if (f->n_card < 2)
        str_addf(s, " %.4g", c->device_s * 1e3);
    for (int d = 0, n = 0; d < f->n_card && f->n_card > 1; d++)
        if (p->share[d].n)
            str_addf(s, "%s %.4g", n++ ? " +" : "s", c->busy_s[d] * 1e3);
    str_addf(s, ", CPU %.4g, hops %.4g,\n    between steps %.4g ms%s\n", c->host_s * 1e3,
             (c->hop_s + c->border_s) * 1e3, f->rates.step_s * 1e3,
             p->n_border && p->n_micro < 2 ? "; card after card, the link and the CPU beside them"
                                           : "; at the same time where they can");
}

static void print_plan(struct str *s, const struct fit *f, const struct plan *p,
                       enum plan_mode mode, bool wins)
{
    str_addf(s, "\n%s%s\n", plan_mode_name(mode), wins ? "  <-- best for a batch" : "");
    print_bars(s, f, p);
    print_places(s, p);
    print_sharing(s, f, p);
    str_addf(s, "  predicted: %.2f tok/s for 1 sequence", 1 / p->one.step_s);
    if (p->n_seq > 1)
        str_addf(s, ", %.1f tok/s for %d together", fit_batch_rate(p), p->n_seq);
    str_addc(s, '\n');
    print_step(s, f, p);
    if (f->opt.n_seq > p->n_seq)
        str_addf(s, "  %d sequences were asked for: the KV cache holds %d; the others wait\n",
                 f->opt.n_seq, p->n_seq);
    str_adds(s, "  MedQA, 1,273 x 7 calls: ");
    fit_say_hours(fit_eval_hours(f, p), s);
    str_addc(s, '\n');
    if (p->stream_bytes && !p->keep_pinned)
        str_adds(s, "  main memory is too small for the streamed weights: they would be read\n"
                    "  from the disk for every step\n");
}

static void print_draft(struct str *s, const struct fit *f)
{
    struct fit_speculation d;
    struct err why = {0};
    if (!f->draft)
        return;
    if (fit_speculate(f, &d, &why) < 0)
        str_addf(s, "\nwith draft %s\n  %s\n", f->draft, why.msg);
    else
        str_addf(s,
                 "\nwith draft %s: %.1f GB in VRAM; %d tokens drafted a pass in %.3f s, verified "
                 "in %.3f s, %d accepted "
                 "(assumed)\n  predicted: %.2f tok/s for 1 sequence; the same text as without\n",
                 f->draft, gb(d.draft_bytes), FIT_DRAFT, d.draft_s, d.pass_s, f->accepted, d.rate);
}

static void print_types(struct str *s, const struct fit_type *t, int n)
{
    if (!n)
        return;
    str_addf(s, "\nthe same shape in smaller types\n  %-8s %8s  %-17s %10s %10s\n", "type", "GB",
             "weights", "tok/s of 1", "of a batch");
    for (int i = 0; i < n; i++) {
        str_addf(s, "  %-8s %8.1f  ", mixture_name(t[i].mix), gb(t[i].bytes));
        if (t[i].fits)
            str_addf(s, "%-17s %10.2f", t[i].whole ? "whole in VRAM" : "streamed or CPU", t[i].one);
        else
            str_adds(s, "too large");
        if (t[i].fits && t[i].batch > 0)
            str_addf(s, " %10.1f", t[i].batch);
        str_addc(s, '\n');
    }
}

/* "1008", or "1008, 936" of different cards. */
static void print_rates(struct str *s, const struct fit *f, bool link)
{
    bool same = true;
    for (int d = 1; d < f->n_card; d++)
        same = same &&
               (link ? f->card[d].link == f->card[0].link : f->card[d].vram == f->card[0].vram);
    for (int d = 0; d < (same ? 1 : f->n_card); d++)
        str_addf(s, "%s%.0f", d ? ", " : "", (link ? f->card[d].link : f->card[d].vram) * 1e-9);
    str_adds(s, same && f->n_card > 1 ? " GB/s each" : " GB/s");
}

static void print_machine(struct str *s, const struct fit *f)
{
    str_addf(s, "on %s: ", f->gpu.s);
    print_rates(s, f, false);
    str_adds(s, ", link ");
    print_rates(s, f, true);
    str_addf(s, ",\n  CPU %.0f GB/s, ", f->rates.host * 1e-9);
    fit_say_cpu(f, s);
    str_addf(s, "; %d tokens a sequence, KV cache %s\n", f->opt.n_ctx,
             fmt_info(f->opt.kv_fmt)->name);
    fit_say_assumed(f, s);
}

static void print_text(const struct fit *f, struct plan *p, const bool *ok, const struct err *why,
                       const struct fit_type *types, int n_type)
{
    struct str s = STR_INIT;
    struct fit_advice a[FIT_ADVICE];
    int best = !ok[0] || (ok[1] && fit_batch_rate(&p[1]) > fit_batch_rate(&p[0]));
    fit_say_model(f, &s);
    print_machine(&s, f);
    for (int i = 0; i < 2; i++) {
        enum plan_mode mode = i ? PLAN_THROUGHPUT : PLAN_LATENCY;
        if (ok[i] && plan_is_resident(&p[i]) && i == 0 && ok[1] && plan_is_resident(&p[1]))
            continue; /* both are the same: everything is resident */
        if (ok[i])
            print_plan(&s, f, &p[i], mode, i == best && ok[0] && ok[1]);
        else if (why[i].msg[0])
            str_addf(&s, "\n%s\n  %s\n", plan_mode_name(mode), why[i].msg);
    }
    print_draft(&s, f);
    print_types(&s, types, n_type);
    str_adds(&s, "\nW weights  r ring for streamed ones  k KV cache  a activations\n"
                 "s pinned, streamed  C computed by the CPU\n");
    if (ok[best]) {
        str_adds(&s, "\nwhat would help most, by predicted tok/s of the batch\n");
        int n = fit_advise(f, fit_batch_rate(&p[best]), a);
        for (int i = 0; i < n; i++)
            if (a[i].gain > 1.005)
                str_addf(&s, "  x %.2f  %s\n", a[i].gain, a[i].what);
    }
    str_adds(&s,
             "\nAll figures are predictions from sizes and bandwidths; measure with mas bench.\n");
    fputs(s.s ? s.s : "", stdout);
    str_free(&s);
}

static void json_rate(struct str *s, const char *key, double rate)
{
    str_addf(s, ", \"%s\": ", key);
    str_add_number(s, rate, 6);
}

static void json_cards(struct str *s, const struct fit *f, const struct plan *p)
{
    if (f->n_card < 2)
        return;
    str_adds(s, ", \"devices\": [");
    for (int d = 0; d < f->n_card; d++) {
        const struct plan_share *one = &p->share[d];
        str_addf(s,
                 "%s{\"name\": \"%s\", \"first_layer\": %d, \"layers\": %d, "
                 "\"vram_weight_bytes\": %" PRIu64 ", \"stream_bytes\": %" PRIu64
                 ", \"cpu_bytes\": %" PRIu64 ", \"kv_bytes\": %" PRIu64
                 ", \"total_bytes\": %" PRIu64 "}",
                 d ? ", " : "", f->card[d].name, one->first, one->n, one->vram_weight_bytes,
                 one->stream_bytes, one->host_bytes, one->kv_bytes, one->total_bytes);
    }
    str_addf(s, "], \"micro_batches\": %d, \"split\": \"%s\", \"because\": ", p->n_micro,
             plan_split_name(p->split));
    str_add_json(s, p->why, strlen(p->why));
    if (p->layers_one.step_s > 0)
        json_rate(s, "layers_tokens_per_second_1", 1 / p->layers_one.step_s);
    if (p->rows_one.step_s > 0)
        json_rate(s, "rows_tokens_per_second_1", 1 / p->rows_one.step_s);
}

static void json_plan(struct str *s, const struct fit *f, const struct plan *p, enum plan_mode mode)
{
    str_addf(s,
             "\"%s\": {\"sequences\": %d, \"tokens_per_second_1\": %.6g, "
             "\"tokens_per_second_batch\": %.6g, "
             "\"hours_medqa_panel\": %.6g, \"vram_weight_bytes\": %" PRIu64
             ", \"stream_bytes\": %" PRIu64 ", \"cpu_bytes\": %" PRIu64 ", \"kv_bytes\": %" PRIu64
             ", \"ring_bytes\": %" PRIu64 ", \"pinned_bytes\": %" PRIu64
             ", \"ffn\": {\"vram\": %d, \"stream\": %d, \"cpu\": %d}",
             plan_mode_name(mode), p->n_seq, 1 / p->one.step_s, fit_batch_rate(p),
             fit_eval_hours(f, p), p->vram_weight_bytes, p->stream_bytes, p->host_bytes,
             p->kv_bytes, p->ring_bytes, p->pinned_bytes, count(p->ffn, p->n_layer, PLAN_VRAM),
             count(p->ffn, p->n_layer, PLAN_STREAM), count(p->ffn, p->n_layer, PLAN_HOST));
    json_cards(s, f, p);
    str_addc(s, '}');
}

static void json_types(struct str *s, const struct fit_type *t, int n)
{
    if (!n)
        return;
    str_adds(s, ", \"types\": [");
    for (int i = 0; i < n; i++) {
        str_addf(s, "%s{\"type\": \"%s\", \"weight_bytes\": %" PRIu64, i ? ", " : "",
                 mixture_name(t[i].mix), t[i].bytes);
        if (t[i].fits)
            str_addf(s, ", \"whole_in_vram\": %s, \"tokens_per_second_1\": %.6g",
                     t[i].whole ? "true" : "false", t[i].one);
        if (t[i].batch > 0)
            str_addf(s, ", \"tokens_per_second_batch\": %.6g", t[i].batch);
        str_addc(s, '}');
    }
    str_addc(s, ']');
}

static void print_json(const struct fit *f, struct plan *p, const bool *ok,
                       const struct fit_type *types, int n_type)
{
    struct str s = STR_INIT;
    str_addf(&s, "{\"predicted\": true, \"weight_bytes\": %" PRIu64 ", \"parameters\": %" PRIu64,
             weights_bytes(&f->of.m.w), f->of.m.n_params);
    fit_say_inputs(f, f->rates.host, &s);
    for (int i = 0; i < 2; i++)
        if (ok[i]) {
            str_adds(&s, ", ");
            json_plan(&s, f, &p[i], i ? PLAN_THROUGHPUT : PLAN_LATENCY);
        }
    struct fit_speculation d;
    struct err why = {0};
    if (f->draft && fit_speculate(f, &d, &why) < 0) {
        str_adds(&s, ", \"draft\": {\"error\": ");
        str_add_json(&s, why.msg, strlen(why.msg));
        str_addc(&s, '}');
    } else if (f->draft) {
        str_addf(&s,
                 ", \"draft\": {\"bytes\": %" PRIu64
                 ", \"drafted\": %d, \"accepted_assumed\": %d, \"tokens_per_second_1\": "
                 "%.6g}",
                 d.draft_bytes, FIT_DRAFT, f->accepted, d.rate);
    }
    json_types(&s, types, n_type);
    str_adds(&s, "}\n");
    fputs(s.s ? s.s : "", stdout);
    str_free(&s);
}

/* The acceptance rate with which, of FIT_DRAFT drafts, on average `accepted` come before the first
 * rejected one. */
static double share_of(int accepted)
{
    double low = 0, high = 1;
    for (int i = 0; i < 50; i++) {
        const double p = (low + high) / 2;
        double sum = 0, right = p;
        for (int k = 0; k < FIT_DRAFT; k++, right *= p)
            sum += right;
        *(sum < accepted ? &low : &high) = p;
    }
    return high;
}

/* One sequence with drafts. */
static int scene_with_draft(const struct fit *f, struct scene *s, struct err *e)
{
    struct fit_speculation d;
    struct shape shape;
    TRY(fit_speculate(f, &d, e));
    s->draft_is_shape = shape_find(f->draft, &shape);
    s->draft = s->draft_is_shape ? f->draft : f->draft_path.s;
    s->predicted = d.rate;
    s->run.mode = PLAN_LATENCY;
    s->run.n_run = 1;
    s->run.max_draft = FIT_DRAFT;
    s->run.spoil = 1 - share_of(f->accepted);
    s->run.n_warm = DRAFT_WARM;
    s->run.n_step = DRAFT_TOKENS;
    return 0;
}

/* The cards after the first. */
static void add_cards(const struct fit *f, struct simulate *run)
{
    run->n_more = f->n_card - 1;
    for (int d = 1; d < f->n_card; d++)
        run->more[d - 1] = (struct sim_card){.vram_bytes = f->card[d].vram_bytes,
                                             .vram = f->card[d].vram,
                                             .link = f->card[d].link,
                                             .device_ops = f->card[d].device_ops};
    run->peer = f->n_card > 1 && f->hop[1].peer ? f->hop[1].rate : 0;
}

/* The plans that were printed: both modes, or the one asked for. Latency is for one sequence,
 * unless a number was given. Then one sequence with a draft, whose plan the engine makes. */
static int simulate(struct fit *f, const struct plan *p, const bool *ok, struct err *e)
{
    struct scene s[SCENES];
    struct str report = STR_INIT;
    int n = 0;
    for (int k = 0; k < 2 + (f->draft != NULL); k++) {
        const int i = k % 2;
        if (k < 2 &&
            (!ok[i] || (i == 0 && ok[1] && plan_is_resident(&p[0]) && plan_is_resident(&p[1]))))
            continue;
        const int n_run = i || f->opt.n_seq ? p[i].n_seq : 1;
        s[n] = (struct scene){.run = {.vram_bytes = f->opt.vram_bytes,
                                      .ram_bytes = f->opt.ram_bytes,
                                      .rates = f->rates,
                                      .mode = i ? PLAN_THROUGHPUT : PLAN_LATENCY,
                                      .split = p[i].split,
                                      .cpu_layers = fit_n_host(f),
                                      .n_ctx = f->opt.n_ctx,
                                      .n_seq = k < 2 ? p[i].n_seq : 1,
                                      .plan = k < 2 ? &p[i] : NULL,
                                      .n_run = n_run,
                                      .kv_fmt = f->opt.kv_fmt,
                                      .n_warm = 2,
                                      .n_step = 2}};
        add_cards(f, &s[n].run);
        if (k < 2)
            s[n].predicted = n_run == 1 ? 1 / p[i].one.step_s : fit_batch_rate(&p[i]);
        snprintf(s[n].machine, sizeof s[n].machine,
                 "%.40s, %.1f GiB, link %.3g GB/s, CPU %.3g GB/s", f->gpu.s,
                 (double)f->opt.vram_bytes / 1073741824, f->rates.link * 1e-9,
                 f->rates.host * 1e-9);
        if (k == 2)
            TRY(scene_with_draft(f, &s[n], e));
        n++;
    }
    int rc =
        fit_simulate(s, n, f->model ? f->path.s : NULL, f->shape, f->mix, f->simulate, &report, e);
    if (rc == 0 && !f->json)
        fputs(report.s ? report.s : "", stdout);
    str_free(&report);
    return rc;
}

/* A draft that cannot be read is an error; one that does not fit is a result. */
static int check_draft(struct fit *f, struct err *e)
{
    struct sketch draft;
    struct shape shape;
    if (!f->draft && f->accepted)
        FAIL(e, ERR_USAGE, "--accepted without --draft: nothing would draft; give --draft MODEL");
    if (!f->draft)
        return 0;
    int rc = shape_find(f->draft, &shape) ? 0 : sources_model(f->draft, &f->draft_path, e);
    if (rc == 0)
        rc = fit_draft_open(f, &draft, e);
    if (rc < 0)
        return err_wrap(e, rc, "--draft %s", f->draft);
    sketch_close(&draft);
    return 0;
}

static int fit(struct fit *f, struct err *e)
{
    struct plan p[2];
    bool ok[2] = {false, false};
    struct err why[2] = {{0}, {0}};
    TRY(read_model(f, e));
    const int most = f->of.m.hp.n_ctx_train;
    if (!f->opt.n_ctx)
        f->opt.n_ctx = most < CTX_DEFAULT ? most : CTX_DEFAULT;
    if (f->opt.n_ctx > most)
        FAIL(e, ERR_USAGE, "--ctx %d: must be 1 to %d, the model's own limit; lower --ctx",
             f->opt.n_ctx, most);
    TRY(fit_machine_isa(f, e));
    TRY(fit_machine_ram(f, e));
    if (f->nodes)
        return fit_cpu(f, e);
    TRY(fit_machine_read(f, e));
    TRY(check_draft(f, e));
    if (!f->accepted)
        f->accepted = ACCEPTED;
    for (int i = 0; i < 2; i++) {
        enum plan_mode mode = i ? PLAN_THROUGHPUT : PLAN_LATENCY;
        if (f->opt.placement == PLAN_AUTO || f->opt.placement == mode)
            ok[i] = fit_best_plan(f, mode, &p[i], &why[i]) == 0;
    }
    struct fit_type types[MIX_COUNT];
    int n_type = 0, rc = fit_other_types(f, types, &n_type, e);
    if (rc == 0 && !ok[0] && !ok[1])
        rc = err_set(e, ERR_USAGE, "%s", why[1].msg[0] ? why[1].msg : why[0].msg);
    else if (rc == 0 && f->json)
        print_json(f, p, ok, types, n_type);
    else if (rc == 0)
        print_text(f, p, ok, why, types, n_type);
    if (rc == 0 && f->simulate)
        rc = simulate(f, p, ok, e);
    for (int i = 0; i < 2; i++)
        if (ok[i])
            plan_free(&p[i]);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct cli_row own[] = {
        {.flag = "ram",
         .group = 2,
         .doc = "Main memory that weights and, with --cpu, the KV cache may use; 0 is 64 GiB, with "
                "--cpu here what this process may still take."},
        {.flag = "threads",
         .group = 2,
         .doc = "Cores of the CPU that compute; 0 is 8, with --cpu all of the host."},
        {.flag = "isa",
         .group = 2,
         .choices = CPU_RATE_ISAS,
         .doc = "Instruction set of the CPU that the figures assume; auto is the best of this "
                "processor with --cpu here, otherwise avx2."},
        {.flag = "ctx",
         .group = 3,
         .doc = "Tokens that a sequence holds, on average; by default 900, or the model's limit if "
                "that is less.",
         .otherwise = ""},
        {.flag = "kv-type", .group = 3, .otherwise = "q8_0"},
        {.flag = "sequences",
         .group = 3,
         .doc = "Sequences computed together; 0 is the fastest number, up to 256."},
        {.flag = "placement", .group = 3},
        {.flag = "split", .group = 3},
        {.flag = "cpu-layers", .group = 3}};
    struct cli_rows rows;
    struct fit f = {.gpu = STR_INIT,
                    .mix = MIX_Q4_K_M,
                    .knobs = &rows,
                    .path = STR_INIT,
                    .draft_path = STR_INIT};
    const struct argp_child children[] = {{&rows.argp, 0, NULL, 3}, {0}};
    const struct argp argp = {
        options,
        parse,
        NULL,
        "Predicts the placement of a model on a card or several, and its speed, also on a CPU. "
        "All figures are predictions from sizes and bandwidths; measure "
        "with mas bench.",
        children,
        NULL,
        NULL};
    struct err e = {0};
    cli_rows_some(&rows, &engine_option_set, own, sizeof own / sizeof own[0], &f.opt);
    f.opt.n_ctx = 0; /* not given */
    const int done = cli_parse(&argp, argc, argv, &f);
    const int rc = done >= 0 ? 0 : fit(&f, &e);
    ops_close(f.ops);
    sim_close(f.sim);
    sketch_close(&f.of);
    str_free(&f.gpu);
    str_free(&f.path);
    str_free(&f.draft_path);
    return done >= 0 ? done : rc < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_fit = {"fit", "predict where a model lies on a card, and how fast it is",
                            "mas fit --shape llama3-70b --gpu rtx4090\n"
                            "mas fit --shape llama3-70b --gpu rtx4090,rtx4090\n"
                            "mas fit --shape llama3-70b --gpu rtx4090 --simulate steps.svg\n"
                            "mas fit -m model.gguf --gpu rtx3090 --vram 22GiB --ram 32GiB --json\n"
                            "mas fit --shape llama3-8b --cpu 2x64 --host 200GB/s",
                            run};
