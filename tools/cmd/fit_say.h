/*
 * fit_say: the output that all predictions of mas fit share, with cards and without: the model, the
 * CPU, and in JSON all inputs.
 */
#ifndef MAS_FIT_SAY_H
#define MAS_FIT_SAY_H

#include "fit_plan.h"

/* Appends a line: "llama3-8b Q4_K_M: 4.9 GB, 32 layers, 8.03 billion parameters". */
void fit_say_model(const struct fit *f, struct str *s);
/* Appends cores and instruction set: "8 cores, avx2", of several nodes "in all 32 cores, ..". */
void fit_say_cpu(const struct fit *f, struct str *s);
/* Appends a line with the options of the host that were not given, and the values in their place:
 * "  assumed: --host 55GB/s, --threads 8, --isa avx2, --ram 64GiB". None: no line. */
void fit_say_assumed(const struct fit *f, struct str *s);
/* Appends a time: "10.9 hours", below one hour "12.5 minutes". */
void fit_say_hours(double hours, struct str *s);
/*
 * Appends the member of JSON
 *
 *   , "inputs": {"model": the file, or null, "shape": or null, "type": of the shape, or null,
 *                "context", "kv_type", "ram_bytes", "sequences": as asked, 0 = the best number,
 *                "placement", "split", "cpu_layers": null = chosen,
 *                "host": {"nodes": of memory, null with cards, "cores", "isa",
 *                         "bytes_per_second": at which a node reads weights,
 *                         and of ram_bytes, cores, isa and bytes_per_second a member such as
 *                         "isa_assumed": neither given nor that of this host},
 *                "cards": [{"name", "vram_bytes", "vram_bytes_per_second",
 *                           "link_bytes_per_second",
 *                           "peer_bytes_per_second": null = through main memory}]}
 *
 * node_rate: bytes/s of one node.
 */
void fit_say_inputs(const struct fit *f, double node_rate, struct str *s);

#endif
