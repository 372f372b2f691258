/*
 * fit_cpu: what mas fit predicts for a host without a card. The memory of all nodes is read at once
 * (kernels/CPU.md), so a step takes
 *
 *   the larger of  weights / (nodes x rate)  and the arithmetic of its rows,  plus the KV cache /
 *   (nodes x rate)
 *
 * Left out: what threads cost each other, and rows that another node multiplies. So large hosts
 * will be slower.
 */
#ifndef MAS_FIT_CPU_H
#define MAS_FIT_CPU_H

#include <argp.h>

#include "fit_plan.h"

/* Reads --cpu: NODESxCORES, such as 2x64, or here. */
error_t fit_cpu_arg(struct fit *f, struct argp_state *st, const char *arg);
/* Predicts and prints. ERR_USAGE: an option of cards was given, --threads exceeds the host's cores,
 * or weights and KV cache do not fit into --ram. */
int fit_cpu(struct fit *f, struct err *e);

#endif
