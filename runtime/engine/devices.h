/*
 * devices: the backends of an engine. One computes, or several GPUs share a model: each has some of
 * its layers, or a share of every matrix (plan.h).
 */
#ifndef MAS_DEVICES_H
#define MAS_DEVICES_H

#include "engine_options.h"
#include "ops.h"
#include "plan.h"

struct devices {                   /* zero before devices_open */
    struct ops *ops[PLAN_DEVICES]; /* (n) in the order of the option; the plan's order, too */
    int n;
    struct plan_rates rates[PLAN_DEVICES]; /* of each with the host; vram 0 = not measured */
    struct plan_device plan[PLAN_DEVICES];
    struct cost_hop hop[PLAN_DEVICES * PLAN_DEVICES];
    char name[PLAN_DEVICES * 140]; /* of one: its name; of several: "GPU 0: ..; GPU 1: .." */
    int number[PLAN_DEVICES];      /* (n) of the GPUs on this machine */
    char pci[PLAN_DEVICES * 17];   /* engine.h: engine_info.pci */
};

/* Opens the backend of opt, or one for each of opt->devices. ERR_USAGE names an entry of the list
 * that is no number, occurs twice or is too many. ERR_NODEV: no such GPU, or the backend has
 * none. */
int devices_open(const struct engine_options *opt, struct devices *d, struct err *e);
void devices_close(struct devices *d);

/* Writes the name of device i of the list, for a message: of several "GPU 1 (..)". */
void devices_one(const struct devices *d, int i, char *out, size_t n);

/* Fills the fields of a plan for several devices: memory, rates and ways between them. No more
 * than limit[i] bytes of device i, 0 = no limit. The rates are measured unless opt->rates gives
 * them. fmt: of weights on the host. With one device nothing is changed. */
int devices_plan(struct devices *d, const struct engine_options *opt, struct ops *host,
                 enum fmt fmt, const uint64_t *limit, struct plan_input *in, struct err *e);

#endif
