/*
 * cost: predicts the duration of a step from the bytes of each part, its place and the rates of the
 * machine.
 *
 * A step uses its parts in order: embed, then attn and ffn of each layer, then output. Three
 * engines work at the same time:
 *
 *   link    copies streamed parts in order, one at a time. A copy starts when the ring has room.
 *   device  computes attn, ffn in VRAM or streamed, and output. A streamed part waits for its copy.
 *           time = max(bytes / vram, rows x ops / device_ops)
 *                + bytes of KV / vram      (attn only; layers with a sliding window read no more
 *                                           than the window, and the mean over layers counts)
 *                + COST_LAUNCHES x launch_s
 *   host    computes the ffn parts placed there.
 *           time = max(bytes / host, bytes / host_row, rows x ops / host_ops)
 *
 * Rules of the clock:
 *   - Device and host alternate along the layers. Each crossing costs hop_s + activations / link.
 *   - The room of a part in the ring is free when its computation has ended.
 *   - A step starts step_s (sampling, scheduling) after the last part of the previous one. The link
 *     keeps copying during that time.
 *   - Link and CPU read the same memory. While the link copies, the CPU has dram - link, at least a
 *     tenth of its own rate. A step is never shorter than (streamed + host bytes) / dram.
 *   - cost_step runs this clock until it repeats and returns the duration of one step.
 *
 * Several devices form a pipeline. Each has a run of consecutive layers, its own link and its own
 * ring; all share the host and its memory.
 *
 *   - A border lies between the last part of one device and the first part of the next. The
 *     activations of a micro-batch take hop_s + bytes / rate of struct cost_hop to cross it.
 *   - A step of n_micro micro-batches: each passes all devices in order. A device computes one
 *     micro-batch at a time, in order, and reads its weights again for each.
 *   - Micro-batch k of the next step starts step_s after micro-batch k of this step has left the
 *     last part. Without overlap it starts after all of this step's micro-batches have. Then the
 *     output is computed once, for all of them together.
 *   - While n devices copy, the CPU has dram - the sum of their links.
 *
 * Closed forms that follow. W: bytes of weights, V: those resident, n: sequences of L tokens, k:
 * bytes of KV a token.
 *   all resident       step = (W + n L k) / vram
 *   the rest streamed  step = (W - V) / link              (while compute stays hidden)
 *   the rest on host   step = (W - V) / host + V / vram
 *   resident on several devices, weights W_d and time t_d of device d for B / m sequences:
 *     one micro-batch               step = sum of t_d + hops
 *     m >= n devices, with overlap  step = m x max t_d
 *
 * Tensor parallel (struct cost_rows): n devices compute the same rows at the same time, each with
 * 1 / n of every matrix and of the KV cache. All parts are resident.
 *   - The slowest device counts in each part.
 *   - A gather brings the shares of a result to all devices. It takes one copy to pinned memory and
 *     n - 1 copies from it, or n - 1 copies with peer access. Each takes copy_s + bytes / rate.
 *   - One thread of the host queues the kernels and copies of all devices, call_s each. Work starts
 *     after its call. A step begins and ends with a hop.
 *     all resident  step = (W / n + embed row + n L k / n) / vram + (4 n_layer + 2) gathers
 */
#ifndef MAS_COST_H
#define MAS_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* The units of placement: each part has one place. */
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
    double vram; /* bytes/s that a kernel reads from device memory */
    double link; /* bytes/s from pinned memory to the device */
    double host; /* bytes/s of weights that the CPU backend reads; 0 = no CPU backend */
    /* bytes/s of weights that the CPU's arithmetic takes for a single row; 0 = not a limit, or part
     * of host. Formats with code books have a rate below that of memory. */
    double host_row;
    double disk;       /* bytes/s; 0 = not a limit */
    double dram;       /* bytes/s of the host's memory, shared by CPU and link; 0 = not a limit */
    double device_ops; /* operations/s (a multiply-add is two); 0 = not a limit */
    double host_ops;   /* operations/s; 0 = not a limit */
    double hop_s;      /* fixed cost of moving activations from device to host, or back */
    double step_s;     /* fixed cost of a step */
    /* fixed cost of a kernel on the device: the gap before it, filling and draining */
    double launch_s;
};

/* the most devices of a plan, and micro-batches of a step */
enum { COST_DEVICES = 8, COST_MICRO = 16 };

/* One of several devices. */
struct cost_device {
    double vram, link, device_ops, launch_s; /* as in struct plan_rates */
    uint64_t ring_bytes;                     /* at least its largest streamed part, if any */
};

/* The way of activations from one device to another. */
struct cost_hop {
    double rate;  /* bytes/s, from the memory of one to that of the other */
    double hop_s; /* fixed: until the other device starts */
    /* true: one copy, device to device. false: a copy to pinned memory, then one from there; rate
     * counts both. */
    bool peer;
};

/* Number of kernels of each part in a decode step with quantised weights. These are the figures of
 * kernels/CUDA.md; t_cudahost_launches counts them. */
#define COST_LAUNCHES_EMBED 1 /* embed */
/* norm + quantise, q/k/v, rope + KV write, attention, its merge (contexts of more than
 * SCRATCH_ATTN_SPAN tokens), quantise, out */
#define COST_LAUNCHES_ATTN 7
#define COST_LAUNCHES_FFN 4     /* norm + quantise, gate/up, quantise, down */
#define COST_LAUNCHES_OUTPUT 3  /* gather, norm + quantise, the matrix */
#define COST_LAUNCHES_SAMPLE 10 /* sampling, for each COST_SAMPLE_ROWS rows */
#define COST_SAMPLE_ROWS 64

/* Gathers of a layer with tensor parallel: after attention, after its matrix, after gate and up,
 * after down. */
#define COST_GATHERS 4

/* Tensor parallel. Bytes are those of one row, all shares together. */
struct cost_rows {
    uint64_t head_bytes;  /* results of attention */
    uint64_t ffn_bytes;   /* results of gate and up */
    uint64_t logit_bytes; /* logits */
    bool output;          /* the output matrix is divided; false: the last device has it */
    double copy_s;        /* fixed time of a copy, from the kernel before to the one after it */
    double call_s;        /* time of the host to queue a kernel, a copy, a record or a wait */
};

struct cost_part {
    enum plan_part part;
    int layer;
    enum plan_place place;
    uint64_t bytes;
    int device; /* index; parts of a device follow one another */
};

struct cost_model {
    const struct cost_part *part; /* (n_part) in order of use */
    int n_part;
    struct plan_rates rates;
    /* (n_device) and (n_device, n_device), from x to. n_device 0: one device, described by rates
     * and ring_bytes. Otherwise the fields of a device replace those. */
    const struct cost_device *device;
    const struct cost_hop *hop;
    int n_device;
    /* Micro-batches of a step; 0 and 1: one. With more, only the embedding may be PLAN_HOST. */
    int n_micro;
    bool by_part;                /* part by part, also where one sum gives the same: for tests */
    bool steps_overlap;          /* of micro-batches; see above */
    bool from_disk;              /* every step reads the streamed bytes from the disk */
    uint64_t ring_bytes;         /* at least the largest streamed part, if there is one */
    uint64_t kv_bytes_per_token; /* all layers */
    int n_layer;
    int n_windowed, window; /* layers with a sliding window; positions of K and V that they read */
    uint64_t row_bytes;     /* activations of a token */
    double ops_per_byte;    /* operations of one row for a byte of weights */
    /* Tensor parallel: all n_device devices have a share of each part; NULL: a pipeline. The field
     * device of a part is then not used. */
    const struct cost_rows *rows;
    double attn_more; /* mean number of kernels of attention parts beyond COST_LAUNCHES_ATTN */
};

struct cost_load {
    int rows;   /* tokens computed in the step */
    int n_seq;  /* sequences whose KV is read */
    int kv_len; /* tokens of each sequence */
};

/* Number of kernels of a whole step with these rows, all parts on the device. */
double cost_launches(int n_layer, double attn_more, int rows);

struct cost { /* seconds of one step */
    double step_s;
    double link_s;   /* time that the link copies; of several devices the longest */
    double device_s; /* time that the device computes; of several devices the longest */
    double host_s;   /* time that the CPU computes */
    double hop_s;    /* time that activations cross between device and host, both ways */
    /* time that activations cross between devices; tensor parallel: time of a step in which the
     * device that computes most does not compute */
    double border_s;
    double call_s;               /* tensor parallel: time of the host's calls */
    double busy_s[COST_DEVICES]; /* of several devices: the time that each computes */
};

/* ERR_BUG unless rates.vram > 0, rates.link > 0 with streamed parts, and rates.host > 0 with ffn
 * parts on the host. Each of several devices needs the same, and each border a rate. */
int cost_step(const struct cost_model *m, const struct cost_load *load, struct cost *out,
              struct err *e);

/* Number of kernels of a part on a device. */
double cost_part_launches(const struct cost_model *m, enum plan_part part, int rows);
/* Seconds that a device computes a part from its own memory, with this number of operations. */
double cost_part_seconds(const struct cost_model *m, const struct cost_load *load,
                         const struct cost_device *on, const struct cost_part *p, double ops);
/* cost_step for tensor parallel: m->rows is not NULL. cost_rows.c. */
int cost_rows_step(const struct cost_model *m, const struct cost_load *load, struct cost *out,
                   struct err *e);

#endif
