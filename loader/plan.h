/*
 * plan: the place of every part of a model, as plain data; a pure function of sizes, budgets and
 * rates makes it.
 *
 * Without a device every part is PLAN_HOST. With a device:
 *   embed   VRAM or HOST: the host gathers rows and sends them
 *   attn    VRAM or STREAM, so the KV cache always lies in VRAM
 *   ffn     VRAM, STREAM or HOST: activations go to the CPU backend and come back
 *   output  VRAM or STREAM; VRAM if embed is there and the two share a matrix
 *
 * All parts that fit are resident. The mode decides about the others:
 *   latency     keeps KV for one context and fills VRAM with weights. The CPU takes the number of
 *               other ffn parts that makes a step shortest.
 *   throughput  keeps KV for all n_seq contexts first. It streams the weights that do not fit
 *               beside that.
 *   auto        takes the mode with more tokens a second for n_seq sequences (cost.h). At equal
 *               speed it takes the mode with more KV.
 *
 * Resident, streamed and host parts are spread evenly over the layers, so that link, CPU and GPU
 * work at the same time.
 *
 * Several devices (struct plan_input, device):
 *   - Each device has a run of consecutive layers, both parts of a layer on one device. Runs follow
 *     the order of the devices. A device may have no layer; then it is not used at all.
 *   - embed belongs to the first used device, output and sampling to the last.
 *   - Each used device has its own ring, workspace and KV pool. The pool holds K and V of its own
 *     layers for kv_tokens tokens: page numbers mean the same tokens on every device.
 *   - A streamed part is copied by the link of its device. A part on the host lies between two
 *     parts of its device.
 *   - A border lies before the first layer of each used device but the first. The activations of
 *     the rows, row_bytes each, cross it.
 *   - Runs are chosen by cost: the mode and its speed decide as with one device.
 *   - A matrix that embed and output share lies on both devices if both are PLAN_VRAM.
 *   - One device gets exactly the plan that it gets without `device`.
 *
 * Micro-batches keep several devices busy. plan_n_micro divides the rows of a step, in order, into
 * groups whose sizes differ by at most one:
 *   - Each group passes all devices in order; a device takes the groups in order. So K and V of
 *     earlier rows are written before later rows read them, even within a sequence.
 *   - More than one group occurs only when no layer is streamed or on the host.
 *   - Replies do not depend on the number of groups.
 *
 * Tensor parallel (PLAN_ROWS) divides every matrix by rows of its output among n devices:
 *   - Device d has rows d / n .. (d + 1) / n - 1 of q, k, v, the matrix after attention, gate, up
 *     and down. These are whole heads of q, k and v, so attention and the KV cache are local.
 *   - No matrix is divided by columns. So each output element is one dot product, by the kernel of
 *     a single device, and replies have the bits of a single device. Columns would need half as
 *     many exchanges (all-reduces), which add partial sums in another order: other bits.
 *   - Four gathers a layer bring all shares of a result to all devices: after attention (n_head x
 *     head_dim elements a row), after its matrix (n_embd), after gate and up (n_ff), after down
 *     (n_embd).
 *   - The first device embeds and sends the rows to the others. The last one samples. The output
 *     matrix is divided if n divides the vocabulary. Otherwise the last device has it whole.
 *   - All weights are resident: no part is streamed or on the host.
 *   - n divides n_kv_head, n_ff and n_embd. Shares are equal, so the smallest and the slowest
 *     device count.
 *   - The plan compares both ways by cost and takes the faster, unless the caller asks for one.
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

/* Pages that do not fit the KV pool: off drops them and computes them again on demand, on keeps
 * them on the host. auto keeps them under three conditions:
 *   - the pool is smaller than n_seq contexts
 *   - all weights are resident: streamed weights occupy the link, and hide the time of computing
 *   - fetching K and V of a token costs less time than computing them */
enum plan_swap { PLAN_SWAP_AUTO, PLAN_SWAP_OFF, PLAN_SWAP_ON, PLAN_SWAP_COUNT };

#define PLAN_ANY (-1) /* n_host: the mode decides */

enum { PLAN_DEVICES = COST_DEVICES };

/* One of several devices. */
struct plan_device {
    uint64_t vram_bytes;                     /* memory that may be used; not 0 */
    uint64_t workspace_bytes;                /* 0 = plan_input.workspace_bytes */
    double vram, link, device_ops, launch_s; /* as in struct plan_rates */
};

/* How a model is divided among several devices. */
enum plan_split {
    PLAN_SPLIT_AUTO, /* a request only: the faster way */
    PLAN_LAYERS,     /* a pipeline: runs of layers */
    PLAN_ROWS,       /* tensor parallel: each device has a share of every matrix */
    PLAN_SPLIT_COUNT
};

/* Fixed time of a copy and of a call that queues work (struct cost_rows): assumed, not measured.
 * Published traces of CUDA have 5 to 10 us from kernel to kernel over a small copy, and 2 to 3 us
 * for a launch. */
#define PLAN_COPY_S 1e-5
#define PLAN_CALL_S 2.5e-6

/* Tensor parallel: what it needs to know of the model, of the program and of the machine. */
struct plan_rows {
    int units;   /* n devices divide the model if this is a multiple of n */
    int n_vocab; /* rows of the output matrix */
    /* bytes of a row, f32: results of attention, of gate and up */
    uint64_t head_bytes, ffn_bytes;
    /* bytes that a device has beyond 1 / n: of a layer, of the output */
    uint64_t more_bytes, output_more;
    uint64_t workspace_bytes; /* 0 = plan_input.workspace_bytes */
    double copy_s, call_s;    /* struct cost_rows */
};

struct plan_input {
    int n_layer;
    const uint64_t *attn_bytes, *ffn_bytes; /* (n_layer) of PART_ATTN and PART_FFN */
    uint64_t embed_bytes, output_bytes;     /* of PART_EMBED and PART_OUTPUT */
    uint64_t tied_bytes;                    /* of a matrix that both counts include, 0 = none */
    uint64_t kv_bytes_per_token;            /* all layers */
    uint64_t kv_bytes;                      /* requested; 0 = n_seq sequences of n_ctx tokens */
    enum plan_swap swap;
    uint64_t swap_bytes; /* requested size of the swap; 0 = the plan chooses */
    int n_ctx, n_seq;
    uint64_t workspace_bytes; /* in the memory of the computing backend */
    bool on_device;           /* the backend has its own memory; then weights are not mapped */
    /* weights are read from the page cache and cost no anonymous memory */
    bool weights_mapped;
    /* not on_device: weights are copied into an order that is faster to read, if ram_bytes has room
     * for the copy beside KV and workspace */
    bool weights_packed;
    /* on_device: memory of the device that may be used; 0 = unknown, not checked */
    uint64_t vram_bytes;
    uint64_t ram_bytes; /* memory of the host that may be used; 0 = unknown, not checked */
    /* The following fields are for devices only. Rates matter only if some part is not resident. */
    enum plan_mode mode;
    int n_host; /* exact number of ffn parts on the host; PLAN_ANY = the mode decides */
    struct plan_rates rates;
    int kv_len;             /* tokens of a sequence in predictions; 0 = n_ctx / 2 */
    uint64_t row_bytes;     /* activations of one token between parts, n_embd x 4 */
    double ops_per_byte;    /* 2 x parameters / bytes of the weights */
    double attn_more;       /* cost.h; mean of all layers */
    int n_windowed, window; /* cost.h */
    /* Several devices, in the order of their layers. n_device 0 or 1: the fields above describe the
     * one device. Otherwise `device` replaces vram_bytes and four fields of rates. hop: (n_device,
     * n_device), from x to. */
    int n_device; /* at most PLAN_DEVICES */
    const struct plan_device *device;
    const struct cost_hop *hop;
    bool steps_overlap;    /* the engine starts the next step of a micro-batch early (cost.h) */
    enum plan_split split; /* several devices: the way that is asked for */
    struct plan_rows rows;
};

/* The share of one device in a plan. Bytes are of this device alone. */
struct plan_share {
    int first, n; /* its layers are first .. first + n - 1; n = 0: it is not used */
    uint64_t vram_weight_bytes, stream_bytes, host_bytes;
    uint64_t ring_bytes, pinned_bytes; /* as in struct plan */
    uint64_t kv_bytes, workspace_bytes;
    uint64_t total_bytes; /* in the memory of this device */
};

/* Activations cross here from one device to the next used one. */
struct plan_border {
    int layer;          /* the first layer after it */
    int from, to;       /* devices */
    bool peer;          /* cost.h: struct cost_hop */
    uint64_t row_bytes; /* of one row */
};

struct plan {
    int n_layer;
    enum plan_place embed, output;
    enum plan_place *attn, *ffn; /* (n_layer) each; owned by attn, one allocation */
    /* the chosen mode; PLAN_AUTO without a choice: all parts are resident, or there is no device */
    enum plan_mode mode;
    int n_resident;        /* parts in VRAM */
    uint64_t weight_bytes; /* all weights; a tied matrix counts once */
    /* of weight_bytes, by place; every step copies stream_bytes */
    uint64_t vram_weight_bytes, stream_bytes, host_bytes;
    uint64_t ring_bytes; /* on the device, for streamed parts; 0 = nothing is streamed */
    /* on the host: all streamed bytes (keep_pinned), or a ring of pieces */
    uint64_t pinned_bytes;
    bool keep_pinned;
    uint64_t kv_bytes, workspace_bytes;
    /* pinned, on the host, for pages of the KV cache; 0 = they are computed again */
    uint64_t swap_bytes;
    /* memory that the program allocates for the computing backend: KV, workspace, ring, and its
     * weights unless they are mapped */
    uint64_t total_bytes;
    int64_t kv_tokens;   /* capacity of the KV pool */
    bool weights_mapped; /* place reads weights from the mapping; false: from a copy */
    /* sequences of n_ctx that the pool holds, at most the requested number */
    int n_seq;
    /* predicted decode step of 1 and of n_seq sequences; step_s 0: no rates were given */
    struct cost one, all;
    /* Devices of the input: 0 without a device, else at least 1. All bytes above are sums over
     * them. PLAN_ROWS: every used device has all layers and 1 / n of each part's bytes. */
    int n_device;
    struct plan_share share[PLAN_DEVICES];
    int n_border; /* used devices - 1; 0 with PLAN_ROWS */
    struct plan_border border[PLAN_DEVICES - 1];
    int n_micro, micro_rows; /* plan_n_micro: n_micro groups from micro_rows rows on */
    enum plan_split split;   /* PLAN_LAYERS, also of one device, or PLAN_ROWS */
    bool rows_output;        /* PLAN_ROWS: the output matrix is divided, too */
    char why[160];           /* several devices: why it is this split, for people */
    /* several devices: predicted steps of 1 and of all sequences for both ways; step_s 0: not
     * possible, or no rates were given */
    struct cost layers_one, layers_all, rows_one, rows_all;
    int layers_n_seq, rows_n_seq; /* sequences of layers_all and of rows_all */
};

/* Makes a deterministic plan. If kv_bytes is 0 and the budget is known, the KV pool takes:
 *   without a device   at most half of ram_bytes
 *   all resident       nearly all that weights and workspace leave
 *   in any case        at least one context of n_ctx
 * ERR_USAGE: KV, workspace and the smallest ring do not fit. The message has the needed and the
 * available bytes and the knob: lower --ctx, --sequences or --kv-type q8_0. ERR_BUG: weights must
 * be streamed and rates.vram or rates.link is missing. With rates.host 0 the host computes
 * nothing. ERR_USAGE: PLAN_ROWS was asked for and is not possible; the message has the reason. */
int plan_make(const struct plan_input *in, struct plan *out, struct err *e);
void plan_free(struct plan *p);
/* A copy that the caller frees. ERR_NOMEM. */
int plan_clone(const struct plan *p, struct plan *out, struct err *e);
/* Predicts the steps of a plan again, for other rates or another kv_len: sets one and all. in: the
 * input that the plan was made from, but for those. Errors of cost_step. */
int plan_predict(const struct plan_input *in, struct plan *p, struct err *e);
/* layer: index for attn and ffn */
enum plan_place plan_at(const struct plan *p, enum plan_part part, int layer);
/* The device of a part, an index of share; 0 with one device or none. PLAN_ROWS: the last one for
 * PART_OUTPUT, also if all have a share of it, else the first. */
int plan_device_of(const struct plan *p, enum plan_part part, int layer);
/* Micro-batches of a step of this many rows, at least 1. */
int plan_n_micro(const struct plan *p, int rows);
/* Rows of micro-batch k of n: the first one is *first. */
int plan_micro_rows(int rows, int n, int k, int *first);
/* True when all parts are in VRAM, or all on the host. */
bool plan_is_resident(const struct plan *p);
void plan_describe(const struct plan *p, struct str *out); /* a small table for people */
/* One line: "all resident; ..", or "latency; embed: host; attn: 80 VRAM; ffn: 35 VRAM, 18 streamed,
 * 27 host; .." */
void plan_line(const struct plan *p, struct str *out);

const char *plan_place_name(enum plan_place place); /* "VRAM", "streamed", "host" */
const char *plan_mode_name(enum plan_mode mode);    /* "auto", "latency", "throughput" */
const char *plan_split_name(enum plan_split split); /* "auto", "layers", "rows" */

#endif
