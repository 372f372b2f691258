/*
 * crowd: compares each request's result in a crowd of random requests with its result alone.
 *
 * A trial is plain data. Held settings (model, KV format, context, contents of requests) are the
 * same in both engines. Options must not change a result: they are random in the crowd's engine and
 * plain in the engine that runs requests one by one.
 */
#ifndef MAS_CROWD_H
#define MAS_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CROWD_REQUESTS 64
#define CROWD_CONTS 24
#define CROWD_BIASES 8
#define CROWD_KV_FORMATS 4
#define CROWD_SCHEMAS 2

/* X(NAME, name, plain value): settings of the crowd's engine, then arrival of the requests. */
#define CROWD_OPTIONS(X)                                                                           \
    X(THREADS, "threads", 1)                                                                       \
    X(ISA, "isa", 0) /* index of the names in crowd.c */                                           \
    X(N_SEQ, "n_seq", 1)                                                                           \
    X(BATCH_TOKENS, "batch_tokens", 0)                                                             \
    X(PAGE_TOKENS, "page_tokens", 0)                                                               \
    X(POOL, "kv_bytes", 0) /* pages of a context, and this many less 1; 0 = as the engine */       \
    X(SWAP, "swap", 0)     /* enum plan_swap */                                                    \
    X(SWAP_PAGES, "swap_bytes", 0) /* pages; 0 = the engine's choice */                            \
    X(NO_CACHE, "no_prefix_cache", 1)                                                              \
    X(LOOKUP, "lookup", 0)                                                                         \
    X(DRAFT, "draft_model", 0) /* 0 = none, else the noise of the copy is this less 1, % */        \
    X(MAX_DRAFT, "max_draft", 0)                                                                   \
    X(MAX_BRANCH, "max_branch", 0)                                                                 \
    X(ALWAYS, "always_draft", 0)                                                                   \
    X(SPOIL, "spoil_drafts", 0) /* % */                                                            \
    X(MAP, "map_weights", 0)                                                                       \
    X(NO_RECORD, "no_record", 0)                                                                   \
    X(PLACEMENT, "placement", 0) /* enum plan_mode; cudahost only, as the next one */              \
    X(VRAM, "vram_bytes", 0)     /* room for this % of the weights; 0 = no limit */                \
    X(LINK, "link_limit", 0)     /* MB/s; cudahost only, as the next one */                        \
    X(RAM, "ram_bytes", 0)       /* MiB */                                                         \
    X(DEVICES, "devices", 0)     /* GPUs; 0 = one; cudahost only, as the next one */               \
    X(SPLIT, "split", 0)         /* enum plan_split */                                             \
    X(PACKED, "packed_cache", 0) /* packed weights in a file that other trials have, too */        \
    X(SPANS, "spans", 0)                                                                           \
    X(PROGRESS, "progress", 0)                                                                     \
    X(RANKS, "ranks", 0)     /* requests have different ranks */                                   \
    X(LATE, "late", 0)       /* requests arrive while others run */                                \
    X(CANCELS, "cancels", 0) /* some are cancelled */

enum crowd_option {
#define X(id, name, plain) CROWD_##id,
    CROWD_OPTIONS(X)
#undef X
        CROWD_N_OPTION
};
const char *crowd_option_name(int option);
int crowd_option_plain(int option);
const char *crowd_isa(int option); /* its name; NULL: as the engine chooses */

enum crowd_kind { CROWD_FREE, CROWD_GRAMMAR, CROWD_SCORE, CROWD_LOGITS };

enum crowd_arrival {
    ARRIVE_FIRST, /* before the first step */
    ARRIVE_AFTER, /* on the engine's thread, when request `after` has `at` tokens or is done */
    ARRIVE_STEP,  /* from another thread, after `at` steps */
};

struct crowd_request {
    bool dropped;
    enum crowd_kind kind;
    int len, family, shared; /* prompt: all prompts of a family begin with `shared` equal tokens */
    int max_new, top_k, grammar, logits_from;
    float temperature, top_p, min_p;
    bool ignore_eos;
    /* thinking before the reply: budget (0 = none), the text of a token that ends it, tokens that
     * the engine adds */
    int max_think, think_close, n_think_end, n_think_after;
    /* extras of request.h: lists, scores of the prompt from a position on (-1 = none), biases of
     * random tokens, penalties */
    int n_top, prompt_from, n_bias, repeat_last_n;
    bool prompt_top;
    float presence, frequency, repeat;
    uint64_t seed;
    int n_cont, cont_len[CROWD_CONTS],
        cont_shared; /* common tokens at the start of all continuations */
    uint32_t rank;
    enum crowd_arrival arrival;
    int after, at;
    int cancel_step; /* -1 = never */
};

struct crowd_trial {
    uint64_t seed;
    bool cudahost;
    int model, n_ctx, n;
    int mixture; /* 0 = none, else random weights in enum mixture + 1, instead of the model */
    /* formats in order; the first one that fits the model's heads is used */
    int kv_order[CROWD_KV_FORMATS];
    int option[CROWD_N_OPTION];
    struct crowd_request request[CROWD_REQUESTS];
};

/* Memory that parent and child share. */
struct crowd_told {
    volatile double limit; /* in and out: CPU seconds of the child */
    /* in: CPU seconds that a crowd may take, in addition to 20 times those of its requests alone */
    double patience;
    volatile long compared, cancelled, preempted, cached, drafted, accepted, branched, swapped,
        limited, spread, packed; /* with streamed weights, several GPUs, a file of packed weights */
    volatile long thought[5];    /* blocks by enum thought */
    volatile long scored,
        changed; /* requests with scores of their prompt; with biases, penalties */
};

struct crowd_place {
    const char *golden; /* folder of the models */
    const char *dir;    /* for draft models, random weights, packed weights */
    bool has_cudahost;
};

const char *crowd_model(const struct crowd_trial *t); /* its name, where it has no mixture */
void crowd_draw(struct crowd_trial *t, const struct crowd_place *p, uint64_t seed);
enum { CROWD_EQUAL = 0, CROWD_DIFFERENT = 1, CROWD_REFUSED = 3 };
/* Runs the trial in this process. Prints the differences, or the reason of a refusal. */
int crowd_run(const struct crowd_trial *t, const struct crowd_place *p, struct crowd_told *told);
/* Prints one line with every setting that is not plain. */
void crowd_print(const struct crowd_trial *t);

#endif
