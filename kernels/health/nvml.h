/*
 * nvml: one GPU seen through NVIDIA's management library, which dlopen finds at run time.
 *
 * The functions are those of the NVML API Reference Guide, chapters "Device Queries" and
 * "nvmlClocksEventReasons" (docs.nvidia.com/deploy/nvml-api); nvml.c declares them. A driver that
 * lacks one of them gives no value for it. nvml_joules needs the caller's lock; the gauges may be
 * read beside it.
 */
#ifndef MAS_NVML_H
#define MAS_NVML_H

#include "health.h"

struct nvml;

/* pci: bus id of the GPU. ERR_NODEV names the reason: no library, no driver, no such GPU. */
int nvml_open(const char *library, const char *pci, struct nvml **out, struct err *e);
void nvml_close(struct nvml *n); /* accepts NULL */

/* "NVML energy counter", or "NVML power, integrated" on a GPU or driver without the counter; NULL:
 * neither is known, and nvml_joules fails */
const char *nvml_how(const struct nvml *n);
/* Joules since the opening. now_ns: of clock_ns. Fails with NVML's text: ERR_NODEV when the GPU is
 * lost, ERR_IO for another reason. The joules of a gap are not known, so that the caller ends
 * here. */
int nvml_joules(struct nvml *n, int64_t now_ns, double *out, struct err *e);
/* NaN where there is no reading. The throughput takes about 40 ms, and is left out unless
 * wanted. */
void nvml_gauges(struct nvml *n, bool throughput, double out[HEALTH_COUNT], bool *has_reasons,
                 uint64_t *reasons);

#endif
