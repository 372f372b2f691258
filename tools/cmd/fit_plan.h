/* fit_plan: the predictions of mas fit: plans of a model on a card, with a draft, and of
 * changes. */
#ifndef MAS_FIT_PLAN_H
#define MAS_FIT_PLAN_H

#include "cli.h"
#include "plan.h"
#include "shape.h"
#include "sim.h"

enum {
    FIT_DRAFT = 8, /* tokens that a draft model drafts at a time */
    FIT_ADVICE = 6
};

struct fit_card {
    const char *name;
    uint64_t vram_bytes;
    double vram, link, device_ops; /* as in struct plan_rates */
    double peer;                   /* bytes/s to another card; 0 = through main memory */
};

struct fit_list { /* values of an option; 0 = not given, 1 = of all cards */
    double value[PLAN_DEVICES];
    int n;
};

/* A question to mas fit: the command line, then the model and the machine that it names. */
struct fit {
    const char *model, *shape, *simulate, *draft;
    struct str gpu; /* the names of the cards, with commas */
    int accepted;   /* tokens of the draft that a pass accepts, on average */
    bool typed;     /* --type was given */
    enum mixture mix;
    /* n_ctx = what a sequence holds on average; vram_bytes, ram_bytes, kv_fmt, placement, n_seq and
     * cpu_layers as for an engine */
    struct engine_options opt;
    struct cli_rows *knobs;
    uint64_t kv_bytes;          /* of the KV cache; 0 = the plan's choice */
    struct fit_list vram, link; /* bytes, bytes/s */
    double peer, host;
    bool json;
    /* (n_card) in the order of --gpu; opt.vram_bytes and rates are those of the first */
    struct fit_card card[PLAN_DEVICES];
    int n_card;
    struct cost_hop hop[PLAN_DEVICES * PLAN_DEVICES]; /* (n_card, n_card) */
    /* made */
    struct str path, draft_path; /* of the files that the names mean */
    struct sketch of;
    const char *cpu; /* --cpu, as given */
    bool here;       /* --cpu here */
    int nodes;       /* of memory, of a host without a card (--cpu); 0 = a card is asked about */
    int cores;       /* of the CPU, that compute */
    const char *isa; /* the instruction set whose rates the figures assume */
    const char *isa_note; /* after it, for people: " (amx is not measured)", or "" */
    /* neither given nor those of this host */
    bool isa_assumed, host_assumed, cores_assumed, ram_assumed;
    bool ram_here; /* opt.ram_bytes is what this process may still take */
    /* host_row is that of the model; predictions of another type have its own */
    struct plan_rates rates;
    struct sim *sim; /* the first card */
    struct ops *ops; /* of it, asked for the room that its kernels need */
};

/* Layers whose feed-forward part the CPU computes; PLAN_ANY = the mode decides. */
int fit_n_host(const struct fit *f);
/* Bytes of K and V of a token, all layers; 0: the format cannot hold the heads. */
uint64_t fit_kv_token_bytes(const struct fit *f, const struct hparams *hp);
/* Tokens/s of all sequences together; 0 without a prediction. */
double fit_batch_rate(const struct plan *p);
/* The best number of sequences for the mode, unless it was given. Errors of plan_make. */
int fit_best_plan(const struct fit *f, enum plan_mode mode, struct plan *best, struct err *e);
/* Hours of a MedQA evaluation: output at the batch's rate, prompts at the card's arithmetic. */
double fit_eval_hours(const struct fit *f, const struct plan *p);

struct fit_speculation {
    uint64_t draft_bytes;
    double pass_s, draft_s, rate; /* rate: tokens/s */
};
/* Opens the draft: a shape, or a file. */
int fit_draft_open(const struct fit *f, struct sketch *out, struct err *e);
/* One sequence. The draft model, resident, drafts tokens one by one. A pass of the model over the
 * last token and all drafts accepts some drafts and adds one token. ERR_USAGE: another vocabulary,
 * or no room. */
int fit_speculate(const struct fit *f, struct fit_speculation *out, struct err *e);

struct fit_advice {
    char what[64];
    double gain; /* factor of the batch's rate; 0 = it does not fit */
};
/* Changes of machine and settings, the largest gain first; now: the batch's rate. Returns their
 * number. */
int fit_advise(const struct fit *f, double now, struct fit_advice out[FIT_ADVICE]);

struct fit_type { /* the shape in a type of number format */
    enum mixture mix;
    uint64_t bytes;
    bool fits, whole; /* in the plan for one sequence; whole: all weights in VRAM */
    /* tokens/s, of one sequence and of the batch, by the better of both modes; 0 = does not fit */
    double one, batch;
};
/* The shape in its own type, then in each smaller one, the largest first, until three lie on the
 * card whole. 0 of them if its own type does, or for a file. */
int fit_other_types(const struct fit *f, struct fit_type out[MIX_COUNT], int *n, struct err *e);

#endif
