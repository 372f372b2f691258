/*
 * sim: devices that compute nothing and keep a clock, for absent machines and models. The whole
 * engine runs on them. The result is time, not text.
 *
 * Each device ("card") has three engines: its arithmetic and two copy engines (up: to the device,
 * down: from it). All of them and the CPU work beside one another. Ops and copies wait in their
 * streams in order. An engine takes the work that can start first. Work takes
 *
 *   an op             max(bytes of weights and cache / vram, operations / device_ops)  (traffic.h)
 *                     + launches of the CUDA backend x launch_s
 *                     bytes that lie in an L2 cache cost nothing
 *   a copy            bytes / link, or bytes / limit on a stream with a lower one (device.h)
 *   a peer copy       bytes / peer, on the engine "up" of the card that receives
 *   an op on the CPU  max(bytes / host, bytes / host_row, operations / host_ops), by which the
 *                     host's clock advances
 *
 * While copies go up, the CPU has dram minus their rates, and at least a tenth of host. Cards have
 * links of their own.
 *
 * Work starts at the earliest hop_s after it was queued. A thread that waits for a stream learns of
 * its end hop_s later. Host code takes no time, unless sim_calls says so. Memory of the device is
 * address space that must not be touched. A copy from the device delivers zeros (token 0). Nothing
 * is read from the model file (struct device, hollow), and the disk takes no time.
 *
 * A sim outlives the backends opened on it: ops_open("sim", &(struct ops_options){.sim = s}, ..).
 * Calls may come from any thread.
 */
#ifndef MAS_SIM_H
#define MAS_SIM_H

#include "ops.h"

enum { SIM_CARDS = 8 };

struct sim_card {
    uint64_t vram_bytes;
    /* part of vram_bytes that counts as free and is refused when asked for */
    uint64_t lost_bytes;
    double vram, link; /* bytes/s */
    double device_ops; /* operations/s; 0 = not a limit */
};

struct sim_config {
    struct sim_card card[SIM_CARDS]; /* (n_card) the devices 0 .. n_card - 1 */
    int n_card;
    double peer;     /* bytes/s from card to card; 0 = no peer access */
    double host;     /* bytes/s */
    double host_row; /* bytes/s that the CPU's arithmetic takes; 0 = not a limit */
    double dram;     /* bytes/s that CPU and link share; 0 = no limit */
    double host_ops; /* operations/s; 0 = not a limit */
    double hop_s;    /* seconds */
    double launch_s; /* seconds of a launch on a card, beside its work */
    size_t n_span;   /* trace: spans kept at most */
};

enum sim_engine { SIM_DEVICE, SIM_UP, SIM_DOWN, SIM_CPU, SIM_ENGINES };

struct sim_span { /* one piece of work; seconds of the clock */
    enum sim_engine engine;
    int card;         /* 0 for the CPU */
    const char *name; /* name of the op; "copy", "peer copy", "fill" */
    double start, end, bytes;
};

struct sim;

int sim_open(const struct sim_config *c, struct sim **out, struct err *e);
void sim_close(struct sim *s); /* accepts NULL; after its backends */
double sim_now(struct sim *s); /* the host's clock, seconds from 0 */
/* The host is busy for this number of seconds, with nothing that a card or the memory notices. */
void sim_spend(struct sim *s, double seconds);
int sim_cards(const struct sim *s);
/* From now on a call that queues a kernel, a copy, a record or a wait takes call_s of the host's
 * clock. A copy between host and card, or between cards, takes copy_s more. Both are 0 at first. An
 * op counts its kernels: those of the CUDA backend with quantised weights (kernels/CUDA.md). */
void sim_calls(struct sim *s, double call_s, double copy_s);
/* seconds of all work started on this engine of a card; SIM_CPU belongs to none */
double sim_busy(struct sim *s, int card, enum sim_engine engine);
/* The spans since the last clear, in order of their start on each engine; valid until the next call
 * of any function here. */
size_t sim_trace(struct sim *s, const struct sim_span **out);
void sim_trace_clear(struct sim *s);

#endif
