/*
 * plan: where every part of a model lies, as plain data made by a pure function of sizes, budgets
 * and rates.
 *
 * Without a device everything is PLAN_HOST. With one:
 *   embed   VRAM or HOST: rows are gathered on the host and sent
 *   attn    VRAM or STREAM, so that the KV cache always lies in VRAM
 *   ffn     VRAM, STREAM or HOST: activations go down to the CPU backend and come back
 *   output  VRAM or STREAM; with embed in VRAM when the two share a matrix
 *
 * What fits is resident. What does not is decided by a mode: `latency` keeps KV for one context,
 * fills VRAM with weights, and gives as many of the remaining ffn parts to the CPU as makes a step
 * shortest; `throughput` keeps KV for all n_seq contexts first and streams what does not fit beside
 * it. `auto` takes the one with more tokens a second for n_seq sequences (cost.h); at equal speed
 * the one with more KV. Resident, streamed and host parts are spread evenly over the layers, so
 * that link, CPU and GPU work at the same time.
 */
#ifndef MAS_PLAN_H
#define MAS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cost.h"
#include "err.h"
#include "str.h"

enum plan_mode { PLAN_AUTO, PLAN_LATENCY, PLAN_THROUGHPUT, PLAN_MODE_COUNT };

/* Pages that the KV pool has no room for: thrown away and computed again when they are wanted, or
 * kept on the host. auto: kept where the pool is smaller than n_seq contexts, all weights are
 * resident, and fetching a token's K and V back is cheaper than computing it; with streamed
 * weights the computation hides behind the stream, and the link has no time. */
enum plan_swap { PLAN_SWAP_AUTO, PLAN_SWAP_OFF, PLAN_SWAP_ON, PLAN_SWAP_COUNT };

#define PLAN_ANY (-1) /* no bound, and the mode decides */

struct plan_input {
    int n_layer;
    const uint64_t *attn_bytes, *ffn_bytes; /* (n_layer) of PART_ATTN and PART_FFN */
    uint64_t embed_bytes, output_bytes;     /* of PART_EMBED and PART_OUTPUT */
    uint64_t tied_bytes;                    /* of a matrix counted in both, 0 = none */
    uint64_t kv_bytes_per_token;            /* all layers */
    uint64_t kv_bytes;                      /* asked for; 0 = for n_seq sequences of n_ctx tokens */
    enum plan_swap swap;
    uint64_t swap_bytes; /* size for it, where there is any; 0 = the plan's choice */
    int n_ctx, n_seq;
    uint64_t workspace_bytes; /* where the backend computes */
    bool on_device;           /* it has memory of its own; then weights are not mapped */
    /* weights are read from the page cache and cost no anonymous memory */
    bool weights_mapped;
    /* not on_device: but where ram_bytes has room for a copy beside KV and workspace they are
     * copied, into an order that is faster to read */
    bool weights_packed;
    /* on_device: memory of the device that may be used; 0 = unknown, not checked */
    uint64_t vram_bytes;
    uint64_t ram_bytes; /* memory of the host that may be used; 0 = unknown, not checked */
    /* what follows is not looked at without a device, and the rates only when not all is
     * resident */
    enum plan_mode mode;
    int n_host; /* ffn parts on the host, exactly; PLAN_ANY = as the mode says */
    struct plan_rates rates;
    int kv_len;          /* tokens of a sequence in predictions; 0 = n_ctx / 2 */
    uint64_t row_bytes;  /* of one token's activations between parts, n_embd x 4 */
    double ops_per_byte; /* 2 x parameters / bytes of the weights */
};

struct plan {
    int n_layer;
    enum plan_place embed, output;
    enum plan_place *attn, *ffn; /* (n_layer) each; owned by attn, one allocation */
    /* the one taken; PLAN_AUTO when there was nothing to choose: all resident, or no device */
    enum plan_mode mode;
    int n_resident;        /* parts in VRAM */
    uint64_t weight_bytes; /* all; a tied matrix once */
    /* of it, by place; stream: copied in every step */
    uint64_t vram_weight_bytes, stream_bytes, host_bytes;
    uint64_t ring_bytes; /* on the device for streamed parts, 0 = nothing is streamed */
    /* on the host: all streamed bytes (keep_pinned), or a ring of them */
    uint64_t pinned_bytes;
    bool keep_pinned;
    uint64_t kv_bytes, workspace_bytes;
    /* on the host, pinned, for pages of the KV cache; 0 = they are computed again */
    uint64_t swap_bytes;
    /* memory of our own where the backend computes: KV, workspace, ring, and the weights there
     * unless they are mapped */
    uint64_t total_bytes;
    int64_t kv_tokens;   /* capacity of the KV pool */
    bool weights_mapped; /* place reads them from the mapping, or copies them */
    /* sequences of n_ctx that the pool holds, at most as asked for */
    int n_seq;
    /* predicted decode step of 1 and of n_seq sequences; step_s 0 = no rates */
    struct cost one, all;
};

/* kv_bytes 0 and the budget known: without a device at most half of ram_bytes; with one, all
 * resident, nearly all that weights and workspace leave; but at least one context of n_ctx.
 * Deterministic. ERR_USAGE with needed, available and the knob (lower --ctx, --sequences or
 * --kv-type q8_0) when KV, workspace and the smallest ring do not fit. ERR_BUG when weights must be
 * streamed and the rates of vram and link are not given (rates.host 0: nothing is computed on
 * the host). */
int plan_make(const struct plan_input *in, struct plan *out, struct err *e);
void plan_free(struct plan *p);
/* layer: of attn and ffn */
enum plan_place plan_at(const struct plan *p, enum plan_part part, int layer);
/* True when everything is in VRAM, or everything on the host. */
bool plan_is_resident(const struct plan *p);
void plan_describe(const struct plan *p, struct str *out); /* a small table for humans */
/* One line: "all resident; ..", or "latency; embed: host; attn: 80 VRAM; ffn: 35 VRAM, 18 streamed,
 * 27 host; .." */
void plan_line(const struct plan *p, struct str *out);

const char *plan_place_name(enum plan_place place); /* "VRAM", "streamed", "host" */
const char *plan_mode_name(enum plan_mode mode);    /* "auto", "latency", "throughput" */
bool plan_mode_from_name(const char *name, enum plan_mode *out);
bool plan_swap_from_name(const char *name, enum plan_swap *out); /* "auto", "off", "on" */

#endif
