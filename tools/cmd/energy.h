/*
 * energy: health.h for the commands. It is opened for the GPUs of a command, read as joules of a
 * run, and printed as members of JSON and as lines. Every GPU is read; the processor is read once.
 */
#ifndef MAS_ENERGY_H
#define MAS_ENERGY_H

#include "health.h"

enum { ENERGY_GPUS = 8 };

struct energy_gpu { /* and the processor, in the first one */
    int number;     /* of the GPU on this machine */
    struct health *h;
    struct health_now now; /* as last read by energy_joules, energy_begin or energy_end */
};

struct energy {
    /* (n_gpu) n_gpu 0: not opened, a simulated device, or a server. Without a GPU in use there is
     * one, of the processor alone. */
    struct energy_gpu gpu[ENERGY_GPUS];
    int n_gpu;
    struct health_now now; /* of all, by energy_sum */
};

/* backend, pci: of the device that computes; of several GPUs pci has a comma between two. gpu:
 * their numbers; NULL = 0. Of a simulated device and of a server nothing is measured, and the text
 * says so. ERR_NOMEM, ERR_IO. */
int energy_open(struct energy *n, const char *backend, const char *pci, const int *gpu,
                struct err *e);
void energy_close(struct energy *n); /* accepts a zeroed one */

/* Reads the counters, into n->now and the GPUs' own too. As run_options.joules. */
double energy_joules(struct energy *n, const char **source);
/* Reads each of the n_gpu into each, and changes nothing of n: for several threads. */
void energy_read(const struct energy *n, struct health_now each[ENERGY_GPUS]);

/* The joules and the state of a stretch of work. */
struct energy_span {
    double seconds, joules, gpu_joules, cpu_joules; /* NaN = not measured */
    struct health_now end;                          /* of all */
    int n_gpu;                                      /* with a state of their own; 0 = `end` alone */
    struct energy_share {
        int number;
        double joules;
        struct health_now end;
    } gpu[ENERGY_GPUS];
};
void energy_begin(struct energy *n);
void energy_end(struct energy *n, struct energy_span *out); /* since energy_begin */

/* Puts the readings of n GPUs (n > 0) together:
 *   - joules, watts, and bytes of memory are sums, NaN if one of them is
 *   - reasons are those of any GPU
 *   - other gauges are those of the one GPU, and NaN of several
 *   - the texts are those of the first GPU, or name the first one that is not measured */
void energy_sum(const struct health_now *each, const int *number, int n, struct health_now *out);

/* Appends the members "energy" and "health" of a JSON object, with a comma before each. health is
 * null when nothing is known. Of several GPUs it is a list; each item also has "gpu", the number,
 * and "joules". tokens: the work of the span, 0 = its joules have no such measure. */
void energy_json(const struct energy_span *s, double tokens, struct str *out);
/* Appends the same for a person: "0.32 J a token, 40.1 J in 0.5 s, SM clock 345 to 1980 MHz, not
 * throttled". Of several GPUs: "40.1 J in 0.5 s; GPU 0: 19 J, SM clock ..; GPU 1: ..". Appends
 * nothing if nothing is known; s->end.source has the reason. */
void energy_line(const struct energy_span *s, double tokens, struct str *out);
/* Appends the end of a table: the source of the joules, then energy_line below it. */
void energy_foot(const struct energy_span *s, struct str *out);

#endif
