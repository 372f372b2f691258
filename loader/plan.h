/*
 * plan: where every layer lies, as plain data made by a pure function of sizes and budgets. Today
 * there is one place for all of a model: the host, read in place from the mapping, or the memory of a
 * device. Streaming and layers on the CPU beside a device come behind the same struct.
 */
#ifndef MAS_PLAN_H
#define MAS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

/* What is placed as a whole. */
enum plan_part {
    PART_EMBED,  /* the token embedding */
    PART_ATTN,   /* of each layer: the norm before attention, q, k, v with biases and norms, the output matrix */
    PART_FFN,    /* of each layer: the norm before it, gate, up, down */
    PART_OUTPUT, /* the last norm and the output matrix */
};

enum plan_place {
    PLAN_HOST,   /* computed by the CPU backend from host memory */
    PLAN_VRAM,   /* resident on the device */
    PLAN_STREAM, /* copied to the device for every step */
};

struct plan_input {
    int n_layer;
    const uint64_t *layer_bytes; /* (n_layer) */
    uint64_t shared_bytes;       /* embedding, output, final norm */
    uint64_t kv_bytes_per_token; /* all layers */
    uint64_t kv_bytes;           /* asked for; 0 = for n_seq sequences of n_ctx tokens */
    int n_ctx, n_seq;
    uint64_t workspace_bytes;
    uint64_t ram_bytes;          /* memory that may be used, the device's where there is one; 0 = unknown,
                                    not checked */
    bool weights_mapped;         /* weights are read from the page cache and cost no anonymous memory */
    bool on_device;              /* everything goes into a device's own memory; weights are not mapped */
};

struct plan {
    int n_layer;
    enum plan_place embed, output;
    enum plan_place *attn, *ffn; /* (n_layer) each; owned by attn, one allocation */
    uint64_t ring_bytes;   /* on the device for streamed parts */
    uint64_t pinned_bytes; /* on the host: all streamed bytes (keep_pinned), or a ring of them */
    bool keep_pinned;
    uint64_t weight_bytes, kv_bytes, workspace_bytes, total_bytes;
    int64_t kv_tokens; /* capacity of the KV pool */
    bool weights_mapped; /* as asked for: place reads them from the mapping, or copies them */
};

/* kv_bytes 0 with ram_bytes known: at most half of ram_bytes (on a device: nearly all that weights and
 * workspace leave), but at least one context of n_ctx.
 * total_bytes is memory of our own: KV, workspace, and the weights unless they are mapped.
 * ERR_USAGE with needed, available and the knob (lower --ctx, --sequences or --kv-type q8_0) when KV
 * and workspace do not fit. */
int plan_make(const struct plan_input *in, struct plan *out, struct err *e);
enum plan_place plan_at(const struct plan *p, enum plan_part part, int layer); /* layer: of attn and ffn */
void plan_free(struct plan *p);
void plan_describe(const struct plan *p, struct str *out); /* a small table for humans */

#endif
