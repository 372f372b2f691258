#include "fit_machine.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cpu_rate.h"

static const double ops_share = 0.5;   /* of a card's int8 peak that long prompts reach */
static const double step_s = 1e-4;     /* scheduling between two steps */
static const double launch_s = 1.5e-6; /* cost.h */
static const double host_rate = 55e9;  /* bytes/s of two channels of DDR5 */
/* of that rate: what CPU and link together get of the same memory */
static const double dram_share = 65.0 / 55;
enum { HOST_CORES = 8 }; /* of a desktop CPU */
#define HOST_RAM ((uint64_t)64 << 30)

struct sheet { /* of a card */
    const char *name;
    uint64_t vram;
    double gbs, link, tops, peer;
};

static const struct sheet sheets[] = {
#define X(name, vram, gbs, link, tops, peer) {name, vram, gbs, link, tops, peer},
#include "cards.def"
#undef X
};
enum { SHEETS = sizeof sheets / sizeof *sheets };

/* In either case of letters. */
static bool same_word(const char *low, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (low[i] != tolower((unsigned char)name[i]))
            return false;
    return true;
}

static const struct sheet *sheet_find(const char *name, size_t len)
{
    for (int i = 0; i < SHEETS; i++)
        if (strlen(sheets[i].name) == len && same_word(sheets[i].name, name, len))
            return &sheets[i];
    return NULL;
}

static error_t unknown_card(struct argp_state *st, const char *name, int len)
{
    struct str all = STR_INIT;
    for (int i = 0; i < SHEETS; i++)
        str_addf(&all, "%s%s", i ? ", " : "", sheets[i].name);
    argp_error(
        st,
        "unknown --gpu '%.*s'; known: %s; for another card name the nearest one and give its "
        "--vram and --link",
        len, name, all.s ? all.s : "");
    str_free(&all);
    return EINVAL;
}

/* Takes a word of a list with commas, without the blanks around it. Returns the comma or the end
 * after it. */
static const char *take_word(const char *at, const char **word, size_t *len)
{
    const char *end = at + strcspn(at, ",");
    *word = at;
    *len = (size_t)(end - at);
    while (*len && **word == ' ')
        ++*word, --*len;
    while (*len && (*word)[*len - 1] == ' ')
        --*len;
    return end;
}

error_t fit_machine_cards(struct fit *f, struct argp_state *st, const char *arg)
{
    for (const char *at = arg;; at++) {
        const char *name;
        size_t len;
        at = take_word(at, &name, &len);
        if (!len && *arg) {
            argp_error(st, "--gpu '%s': a name is missing %s; a comma stands between two names",
                       arg, *at ? "before a comma" : "after the last comma");
            return EINVAL;
        }
        const struct sheet *s = sheet_find(name, len);
        if (!s)
            return unknown_card(st, name, (int)len);
        if (f->n_card == PLAN_DEVICES) {
            argp_error(st, "--gpu %s: more than %d cards; name %d at most", arg, PLAN_DEVICES,
                       PLAN_DEVICES);
            return EINVAL;
        }
        f->card[f->n_card++] = (struct fit_card){.name = s->name,
                                                 .vram_bytes = s->vram,
                                                 .vram = s->gbs * 1e9,
                                                 .link = s->link * 1e9,
                                                 .device_ops = s->tops * 1e12 * ops_share,
                                                 .peer = s->peer * 1e9};
        str_addf(&f->gpu, "%s%s", f->n_card > 1 ? "," : "", s->name);
        if (!*at)
            return 0;
    }
}

error_t fit_machine_list(struct fit_list *list, struct argp_state *st, const char *flag,
                         const char *arg, fit_value *read)
{
    if (list->n) {
        argp_error(st, "%s was given twice; give one value, or one for each card with commas",
                   flag);
        return EINVAL;
    }
    for (const char *at = arg;; at++) {
        char one[48];
        const char *word;
        size_t len;
        at = take_word(at, &word, &len);
        snprintf(one, sizeof one, "%.*s", (int)(len < sizeof one ? len : sizeof one - 1), word);
        if (list->n == PLAN_DEVICES) {
            argp_error(st, "%s %s: more than %d values; give %d at most", flag, arg, PLAN_DEVICES,
                       PLAN_DEVICES);
            return EINVAL;
        }
        const error_t bad = read(st, flag, one, &list->value[list->n]);
        if (bad)
            return bad;
        list->n++;
        if (!*at)
            return 0;
    }
}

/* The value of a card; 0 = none was given. */
static double of_card(const struct fit_list *l, int card)
{
    return l->n > 1 ? l->value[card] : l->n ? l->value[0] : 0;
}

static int check_list(const struct fit *f, const char *flag, const struct fit_list *l,
                      struct err *e)
{
    if (l->n > 1 && l->n != f->n_card)
        FAIL(e, ERR_USAGE,
             "%s has %d values and --gpu %d card%s; give one value, or one for each "
             "card",
             flag, l->n, f->n_card, f->n_card == 1 ? "" : "s");
    return 0;
}

/* The way between two cards: one copy, or two through main memory. */
static void fit_ways(struct fit *f)
{
    const int n = f->n_card;
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++) {
            const struct fit_card *x = &f->card[a], *y = &f->card[b];
            struct cost_hop *h = &f->hop[a * n + b];
            *h = (struct cost_hop){.hop_s = f->rates.hop_s, .peer = x->peer > 0 && y->peer > 0};
            h->rate =
                h->peer ? (x->peer < y->peer ? x->peer : y->peer) : 1 / (1 / x->link + 1 / y->link);
        }
}

/* A card without arithmetic: it knows what its kernels need. */
static int open_card(struct fit *f, struct err *e)
{
    const struct sim_config c = {
        .card = {{.vram_bytes = f->opt.vram_bytes, .vram = f->rates.vram, .link = f->rates.link}},
        .n_card = 1,
        .host = f->rates.host};
    TRY(sim_open(&c, &f->sim, e));
    return ops_open("sim", &(struct ops_options){.sim = f->sim}, &f->ops, e);
}

int fit_machine_isa(struct fit *f, struct err *e)
{
    const bool chosen = !strcmp(f->opt.isa, "auto");
    struct ops *ops = NULL;
    const char *best;
    f->isa_assumed = chosen && !f->here;
    f->isa_note = "";
    f->isa = chosen ? "avx2" : f->opt.isa;
    if (!chosen || !f->here)
        return 0;
    TRY(ops_open("cpu", &(struct ops_options){.n_threads = 1, .isa = "auto"}, &ops, e));
    best = ops->isa; /* a name of the program's list */
    ops_close(ops);
    f->isa = cpu_rate_isa(best);
    if (!f->isa)
        FAIL(e, ERR_USAGE,
             "--cpu here: the best instruction set of this processor is %s, and nothing is "
             "measured for it; give --isa, one of %s",
             best, strchr(CPU_RATE_ISAS, '|') + 1);
    if (strcmp(f->isa, best))
        f->isa_note = " (amx is not measured)";
    return 0;
}

int fit_machine_ram(struct fit *f, struct err *e)
{
    struct ops *ops = NULL;
    size_t available, total;
    f->ram_assumed = !f->opt.ram_bytes && !f->here;
    if (f->ram_assumed)
        f->opt.ram_bytes = HOST_RAM;
    if (f->opt.ram_bytes)
        return 0;
    TRY(ops_open("cpu", &(struct ops_options){.n_threads = 1, .isa = "auto"}, &ops, e));
    const int rc = ops->dev->api->memory(ops->dev, &available, &total, e);
    ops_close(ops);
    if (rc < 0)
        return err_wrap(e, rc, "--cpu here without --ram");
    f->ram_here = true;
    f->opt.ram_bytes = available ? available : 1; /* 0 would mean that it was not asked */
    return 0;
}

int fit_machine_read(struct fit *f, struct err *e)
{
    if (!f->n_card)
        FAIL(
            e, ERR_USAGE,
            "no card; name one with --gpu, such as rtx4090; --vram and --link change it; or a host "
            "without a card with --cpu, such as 1x16");
    TRY(check_list(f, "--vram", &f->vram, e));
    TRY(check_list(f, "--link", &f->link, e));
    if (f->peer > 0 && f->n_card < 2)
        FAIL(e, ERR_USAGE,
             "--peer is the rate from card to card, and --gpu names one card; name "
             "several, as rtx3090,rtx3090, or leave --peer out");
    f->cores_assumed = !f->opt.n_threads;
    f->cores = f->cores_assumed ? HOST_CORES : f->opt.n_threads;
    f->host_assumed = !(f->host > 0);
    for (int i = 0; i < f->n_card; i++) {
        struct fit_card *c = &f->card[i];
        const double vram = of_card(&f->vram, i), link = of_card(&f->link, i);
        c->vram_bytes = vram > 0 ? (uint64_t)vram : c->vram_bytes - ((uint64_t)1 << 30);
        c->link = link > 0 ? link : c->link;
        c->peer = f->peer > 0 ? f->peer : c->peer;
    }
    f->opt.vram_bytes = f->card[0].vram_bytes;
    f->rates = (struct plan_rates){.vram = f->card[0].vram,
                                   .link = f->card[0].link,
                                   .host = f->host > 0 ? f->host : host_rate,
                                   .host_row = cpu_rate_row(&f->of.m.w, f->isa, f->cores),
                                   .host_ops = f->cores * cpu_rate_ops(f->isa),
                                   .dram = (f->host > 0 ? f->host : host_rate) * dram_share,
                                   .device_ops = f->card[0].device_ops,
                                   .hop_s = 3e-5,
                                   .step_s = step_s,
                                   .launch_s = launch_s};
    fit_ways(f);
    return open_card(f, e);
}
