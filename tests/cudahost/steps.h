/*
 * steps: a few steps of several sequences on devices that the host runs, and their logits, for
 * tests of plans. The plan under test is compared with one device.
 */
#ifndef MAS_STEPS_H
#define MAS_STEPS_H

#include "forward.h"
#include "gguf.h"
#include "place.h"
#include "tokenizer.h"

enum { STEPS_CTX = 64, STEPS_PAGE = 16, STEPS_SEQ = 5, STEPS_DECODE = 3, STEPS_DEVICES = 4 };
enum { STEPS_LAYERS = 16, STEPS = 2 + STEPS_DECODE };

struct steps { /* a model, its devices, and a plan for the test to change */
    struct gguf *g;
    struct tokenizer *tok;
    struct model m;
    struct ops *gpu[STEPS_DEVICES], *cpu;
    struct plan plan;
    enum plan_place place[2 * STEPS_LAYERS];
    enum fmt kv_fmt;
    bool record;
    bool ahead; /* device 0 runs all of a step before the others begin */
    int lost;   /* 1 + the device that is lost when the last step is queued; 0 = none */
    struct ops *on[STEPS_DEVICES * STEPS_LAYERS];
    float *want, *got; /* (STEPS, STEPS_SEQ, n_vocab) logits */
    size_t n_logits;
};

/* Opens the model and STEPS_DEVICES devices, and computes `want` with a plan of one device. */
void steps_open(struct steps *sc, const char *model);
/* Closes all. Fails the test if the shim has findings, or if an object is left. */
void steps_close(struct steps *sc);
void steps_open_devices(struct steps *sc);
void steps_close_devices(struct steps *sc);
/* A plan without layers on n_device devices: all parts resident. */
void steps_plan(struct steps *sc, int n_device);
/* All parts resident; device d has layers cut[d] .. cut[d + 1] - 1. */
void steps_layers(struct steps *sc, int n_device, const int *cut);
/* Runs all steps with the plan: prompts in two chunks, the first without logits, then decode steps.
 * The logits of a step come in falling order of the sequences. out: like want. */
int steps_run(struct steps *sc, float *out, struct err *e);
/* Fails the test unless the plan gives the bits of `want`. */
void steps_same_bits(struct steps *sc, const char *what);

/* Runs the plan while calls for the device fail, as the test has asked for (cushim_test.h). True:
 * the run ended with an error. Fails the test if that does not name the device, if an object is
 * left, or if there is no error and other logits. n, how: of the message. */
bool steps_failed(struct steps *sc, int device, long n, const char *how);
/* Number of calls of a run for this device. */
long steps_calls(struct steps *sc, int device);
/* Lets each of the first calls for device 0 fail, then for device 1, and later every n-th. Most
 * failures must end the run. */
void steps_fail_calls(struct steps *sc, long first, long every);
/* Loses device 0 and then device 1 at about this number of calls of a run, which must end it. */
void steps_lose_devices(struct steps *sc, long times);

#endif
