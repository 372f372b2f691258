/*
 * probe: measures how fast this machine moves weights, in a few tenths of a second, with the ops
 * and copies of a step. The rates are rounded to powers of 1.2, so the next start gives the same
 * plan.
 */
#ifndef MAS_PROBE_H
#define MAS_PROBE_H

#include "cost.h"
#include "ops.h"

/* ops: of the device; host: the CPU backend; fmt: of the weights that the CPU may compute with.
 * Measures vram, link, host, dram (bytes/s), host_ops (operations/s) and hop_s. step_s and launch_s
 * are assumed; disk and device_ops are 0 = unknown; host_row is 0, because host includes it. Takes
 * 128 MiB of the device and 96 MiB of the host during the call, or less if memory is short. */
int probe_rates(struct ops *ops, struct ops *host, enum fmt fmt, struct plan_rates *out,
                struct err *e);

/* *rate: bytes/s of a copy from memory of one device to that of another with peer access, rounded
 * like the others. Takes up to 64 MiB of each during the call. */
int probe_peer(struct device *from, struct device *to, double *rate, struct err *e);

#endif
