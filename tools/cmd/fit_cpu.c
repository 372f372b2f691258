#include "fit_cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cpu_rate.h"
#include "fit_say.h"
#include "pool.h"

static const double node_rate = 55e9; /* bytes/s of two channels of DDR5 */
static const int sequences[] = {1, 8, 64};
enum { N_RATES = sizeof sequences / sizeof *sequences, MOST_NODES = 64, MOST_CORES = 1024 };

error_t fit_cpu_arg(struct fit *f, struct argp_state *st, const char *arg)
{
    int end = 0;
    f->cpu = arg;
    f->here = !strcmp(arg, "here");
    if (f->here) {
        struct topology t;
        topology_here(&t);
        f->nodes = t.n_node;
        f->cores = pool_cores();
        return 0;
    }
    if (sscanf(arg, "%4dx%5d%n", &f->nodes, &f->cores, &end) == 2 && !arg[end] && f->nodes >= 1 &&
        f->nodes <= MOST_NODES && f->cores >= 1 && f->cores <= MOST_CORES) {
        f->cores *= f->nodes;
        return 0;
    }
    argp_error(st,
               "--cpu is '%s'; it takes NODESxCORES, 1 to %d nodes of memory and 1 to %d cores of "
               "each, such as 2x64, or here",
               arg, MOST_NODES, MOST_CORES);
    return EINVAL;
}

struct cpu_fit {
    uint64_t weights, step, kv; /* bytes: all weights; those of a step; of a token's K and V */
    double rate;                /* bytes/s of all nodes */
    double tokens[N_RATES];     /* tokens/s of so many sequences together */
    double prompt;              /* tokens/s of a long prompt */
};

/* Seconds of a decode step. */
static double cpu_step(const struct fit *f, const struct cpu_fit *c, int n)
{
    const double row = cpu_rate_row(&f->of.m.w, f->isa, f->cores); /* arithmetic, one row */
    const double memory = (double)c->step / c->rate, one = (double)c->step / row;
    const double many = n / c->prompt;
    double s = memory > one ? memory : one;
    s = n > 1 && many > s ? many : s;
    return s + n * (double)c->kv * f->opt.n_ctx / c->rate;
}

static uint64_t cpu_step_bytes(const struct weights *w)
{
    uint64_t n = weights_part_bytes(w, PART_OUTPUT, 0);
    for (int l = 0; l < w->n_layer; l++)
        n += weights_part_bytes(w, PART_ATTN, l) + weights_part_bytes(w, PART_FFN, l);
    return n;
}

static int cpu_predict(struct fit *f, struct cpu_fit *c, struct err *e)
{
    const struct model *m = &f->of.m;
    const uint64_t ram = f->opt.ram_bytes;
    *c = (struct cpu_fit){.weights = weights_bytes(&m->w),
                          .step = cpu_step_bytes(&m->w),
                          .kv = fit_kv_token_bytes(f, &m->hp),
                          .rate = f->nodes * f->rates.host,
                          .prompt = f->cores * cpu_rate_ops(f->isa) / (2.0 * (double)m->n_params)};
    const uint64_t one = c->weights + c->kv * (uint64_t)f->opt.n_ctx;
    if (!c->kv)
        FAIL(e, ERR_USAGE, "--kv-type %s cannot hold heads of %d elements; use f16",
             fmt_info(f->opt.kv_fmt)->name, m->hp.head_dim);
    if (one > ram)
        FAIL(e, ERR_USAGE,
             "weights and the KV cache of one sequence take %.1f GB, %s %.1f GB; take %s%s",
             (double)one * 1e-9, f->ram_here ? "this process may take" : "--ram is",
             (double)ram * 1e-9,
             f->shape ? "a smaller --type or --ctx" : "a smaller model or --ctx",
             f->ram_here ? ", or give the --ram of a larger host" : ", or more --ram");
    for (int i = 0; i < N_RATES; i++)
        if (c->weights + c->kv * (uint64_t)f->opt.n_ctx * (uint64_t)sequences[i] <= ram)
            c->tokens[i] = sequences[i] / cpu_step(f, c, sequences[i]);
    return 0;
}

static void cpu_text(const struct fit *f, const struct cpu_fit *c, struct str *s)
{
    fit_say_model(f, s);
    str_addf(s, "on a CPU: %d node%s of memory, %.0f GB/s%s, ", f->nodes, f->nodes == 1 ? "" : "s",
             c->rate / f->nodes * 1e-9, f->nodes == 1 ? "" : " each");
    fit_say_cpu(f, s);
    str_addf(s, ";\n  RAM %.1f GB%s; %d tokens a sequence, KV cache %s\n",
             (double)f->opt.ram_bytes * 1e-9, f->ram_here ? " available" : "", f->opt.n_ctx,
             fmt_info(f->opt.kv_fmt)->name);
    fit_say_assumed(f, s);
    str_addc(s, '\n');
    str_addf(s, "  prompts           %8.0f tok/s\n", c->prompt);
    for (int i = 0; i < N_RATES; i++) {
        if (c->tokens[i] > 0)
            str_addf(s, "  %2d sequence%s      %8.1f tok/s%s\n", sequences[i],
                     sequences[i] > 1 ? "s" : " ", c->tokens[i],
                     sequences[i] > 1 ? " together" : "");
        else
            str_addf(s, "  %2d sequences      do not fit into %s\n", sequences[i],
                     f->ram_here ? "the available RAM" : "--ram");
    }
    str_addf(
        s,
        "\nA step reads %.1f GB of weights from all nodes at once. 'mas bench ceiling' measures "
        "the rate of a host.\n"
        "All figures are predictions from sizes and bandwidths; measure with mas bench.\n",
        (double)c->step * 1e-9);
}

static void cpu_number(struct str *s, const char *key, double v)
{
    str_addf(s, ", \"%s\": ", key);
    str_add_number(s, v, 6);
}

static void cpu_json(const struct fit *f, const struct cpu_fit *c, struct str *s)
{
    str_addf(s, "{\"predicted\": true, \"weight_bytes\": %" PRIu64 ", \"parameters\": %" PRIu64,
             c->weights, f->of.m.n_params);
    fit_say_inputs(f, c->rate / f->nodes, s);
    str_addf(s, ", \"cpu\": {\"nodes\": %d, \"cores\": %d", f->nodes, f->cores);
    cpu_number(s, "node_bytes_per_second", c->rate / f->nodes);
    cpu_number(s, "tokens_per_second_prompt", c->prompt);
    for (int i = 0; i < N_RATES; i++) {
        char key[32];
        snprintf(key, sizeof key, "tokens_per_second_%d", sequences[i]);
        if (c->tokens[i] > 0)
            cpu_number(s, key, c->tokens[i]);
    }
    str_adds(s, "}}\n");
}

/* Options that only a card has. */
static const char *card_option(const struct fit *f)
{
    return f->n_card                       ? "--gpu"
           : f->link.n                     ? "--link"
           : f->peer > 0                   ? "--peer"
           : f->vram.n                     ? "--vram"
           : f->draft                      ? "--draft"
           : f->simulate                   ? "--simulate"
           : f->opt.n_seq                  ? "--sequences"
           : f->opt.cpu_layers.set         ? "--cpu-layers"
           : f->opt.placement != PLAN_AUTO ? "--placement"
                                           : NULL;
}

int fit_cpu(struct fit *f, struct err *e)
{
    struct cpu_fit c;
    struct str s = STR_INIT;
    const char *other = card_option(f);
    if (other)
        FAIL(e, ERR_USAGE,
             "%s with --cpu: it is about cards, and --cpu is a host without one; "
             "leave out one of them",
             other);
    if (f->opt.n_threads > f->cores)
        FAIL(e, ERR_USAGE,
             "--threads %d with --cpu %s: %s %d core%s; give no more threads, or describe a "
             "larger host",
             f->opt.n_threads, f->cpu, f->here ? "this process may use" : "that host has", f->cores,
             f->cores == 1 ? "" : "s");
    if (f->opt.n_threads)
        f->cores = f->opt.n_threads;
    f->host_assumed = !(f->host > 0);
    f->rates.host = f->host_assumed ? node_rate : f->host;
    TRY(cpu_predict(f, &c, e));
    if (f->json)
        cpu_json(f, &c, &s);
    else
        cpu_text(f, &c, &s);
    int rc = str_ok(&s, "a prediction", e);
    if (rc == 0)
        fputs(s.s, stdout);
    str_free(&s);
    return rc;
}
