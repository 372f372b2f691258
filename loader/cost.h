/*
 * cost: how long a step takes, from the bytes of each part, where it lies, and the rates of the
 * machine.
 *
 * A step goes through its parts in order: embed, then attn and ffn of each layer, output. Three
 * engines work at the same time:
 *
 *   link     copies streamed parts in order, one after the other, each as soon as it has room in
 *            the ring
 *   device   computes attn, VRAM and streamed ffn, output: max(bytes / vram, rows x ops /
 *            device_ops), a streamed
 *            part not before it has been copied; attention adds the bytes of KV / vram, and each
 *            part the
 *            launches of its kernels (COST_LAUNCHES) x launch_s
 *   host     computes ffn parts placed there: max(bytes / host, rows x ops / host_ops)
 *
 * Device and host take turns along the layers, with hop_s + activations / link at each crossing. A
 * part's room in the ring is free when its computation has ended. Steps follow each other, step_s
 * (sampling, scheduling) after the last part; the link goes on meanwhile. cost_step runs this clock
 * until it repeats and returns the length of one step. Link and CPU read the same memory: beside a
 * link that streams the CPU has dram - link, a tenth of its rate at least, and a step is never
 * shorter than (streamed + host bytes) / dram.
 *
 * Closed forms that follow, W weights, V of them resident, n sequences of L tokens, k bytes of KV a
 * token:
 *   all resident       step = (W + n L k) / vram
 *   the rest streamed  step = (W - V) / link              (while compute stays hidden)
 *   the rest on host   step = (W - V) / host + V / vram
 */
#ifndef MAS_COST_H
#define MAS_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* What is placed as a whole. */
enum plan_part {
    PART_EMBED, /* the token embedding */
    /* of each layer: the norm before attention, q, k, v with biases and norms, the output matrix */
    PART_ATTN,
    PART_FFN,    /* of each layer: the norm before it, gate, up, down */
    PART_OUTPUT, /* the last norm and the output matrix */
};

enum plan_place {
    PLAN_HOST,   /* computed by the CPU backend from host memory */
    PLAN_VRAM,   /* resident on the device */
    PLAN_STREAM, /* copied to the device for every step */
};

struct plan_rates {
    double vram;       /* bytes/s a kernel reads of the device's memory */
    double link;       /* bytes/s from pinned memory to the device */
    double host;       /* bytes/s the CPU backend reads of weights; 0 = it computes nothing */
    double disk;       /* bytes/s; 0 = not a limit */
    double dram;       /* bytes/s of the host's memory, shared by CPU and link; 0 = not a limit */
    double device_ops; /* operations/s (a multiply-add is two); 0 = not a limit */
    double host_ops;   /* likewise */
    double hop_s;      /* fixed cost of handing activations from device to host, or back */
    double step_s;     /* fixed cost of a step */
    /* what a kernel costs on the device beside its work: the gap before it, filling and draining */
    double launch_s;
};

/* Kernels of a decode step of one sequence (kernels/CUDA.md), attention in parts that are
 * merged. */
#define COST_LAUNCHES_EMBED 1 /* embed */
/* norm + quantise, q/k/v, rope + KV write, attention, its merge, quantise, out */
#define COST_LAUNCHES_ATTN 7
#define COST_LAUNCHES_FFN 4    /* norm + quantise, gate/up, quantise, down */
#define COST_LAUNCHES_OUTPUT 9 /* gather, norm + quantise, the matrix, sampling */

struct cost_part {
    enum plan_part part;
    int layer;
    enum plan_place place;
    uint64_t bytes;
};

struct cost_model {
    const struct cost_part *part; /* (n_part) in order of use */
    int n_part;
    struct plan_rates rates;
    bool from_disk;              /* streamed bytes come from the disk in every step */
    uint64_t ring_bytes;         /* at least the largest streamed part, when any is streamed */
    uint64_t kv_bytes_per_token; /* all layers */
    int n_layer;
    uint64_t row_bytes;  /* activations of a token */
    double ops_per_byte; /* operations of one row for a byte of weights */
};

struct cost_load {
    int rows;   /* tokens computed in the step */
    int n_seq;  /* sequences that are attended to */
    int kv_len; /* tokens of each */
};

struct cost { /* seconds of one step */
    double step_s;
    double link_s;   /* the link copies */
    double device_s; /* the device computes */
    double host_s;   /* the CPU computes */
    double hop_s;    /* activations cross, both ways */
};

/* rates.vram > 0; rates.link > 0 with streamed, rates.host > 0 with host ffn parts: ERR_BUG
 * otherwise. */
int cost_step(const struct cost_model *m, const struct cost_load *load, struct cost *out,
              struct err *e);

#endif
