/*
 * energy: health.h for the commands. It is opened for the device of a command, read as joules of a
 * run, and printed as members of JSON and as lines.
 */
#ifndef MAS_ENERGY_H
#define MAS_ENERGY_H

#include "health.h"

enum { ENERGY_GPUS = 8 };

struct energy {
    struct health *h; /* NULL: not opened, a simulated device, or a server */
    /* (n_more) of the other GPUs: their joules are added, their gauges are not read */
    struct health *more[ENERGY_GPUS - 1];
    int n_more;
    struct health_now now;
};

/* backend, pci: of the device that computes; of several GPUs pci has a comma between two. Of a
 * simulated device and of a server nothing is measured, and the text says so. ERR_NOMEM, ERR_IO. */
int energy_open(struct energy *n, const char *backend, const char *pci, struct err *e);
void energy_close(struct energy *n); /* accepts a zeroed one */

/* Reads the counters, into n->now too. As run_options.joules. */
double energy_joules(struct energy *n, const char **source);

/* The joules and the state of a stretch of work. */
struct energy_span {
    double seconds, joules, gpu_joules, cpu_joules; /* NaN = not measured */
    struct health_now end;
};
void energy_begin(struct energy *n);
void energy_end(struct energy *n, struct energy_span *out); /* since energy_begin */

/* Appends the members "energy" and "health" of a JSON object, with a comma before each. health is
 * null when nothing is known. tokens: the work of the span, 0 = its joules have no such
 * measure. */
void energy_json(const struct energy_span *s, double tokens, struct str *out);
/* Appends the same for a person: "0.32 J a token, 40.1 J in 0.5 s, SM clock 345 to 1980 MHz, not
 * throttled". Appends nothing if nothing is known; s->end.source has the reason. */
void energy_line(const struct energy_span *s, double tokens, struct str *out);
/* Appends the end of a table: the source of the joules, then energy_line below it. */
void energy_foot(const struct energy_span *s, struct str *out);

#endif
