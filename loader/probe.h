/*
 * probe: how fast this machine moves weights, measured in a few tenths of a second with the ops and
 * copies that a step uses. The figures are rounded to steps of a fifth, so that a plan made of them
 * is the same at the next start.
 */
#ifndef MAS_PROBE_H
#define MAS_PROBE_H

#include "cost.h"
#include "ops.h"

/* ops: the device's; host: the CPU backend; fmt: of the weights that the CPU may compute with. Sets
 * vram, link, host, dram (bytes/s), host_ops (operations/s) and hop_s; step_s and launch_s are
 * assumed; what is not measured (disk, device_ops) is 0.
 * Takes 128 MiB of the device and 96 MiB of the host for its time, less where so much is not to
 * be had. */
int probe_rates(struct ops *ops, struct ops *host, enum fmt fmt, struct plan_rates *out,
                struct err *e);

#endif
