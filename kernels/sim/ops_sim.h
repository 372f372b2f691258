/* ops_sim: the device of a sim as a backend, and the CPU beside it. backend.c alone opens them. */
#ifndef MAS_OPS_SIM_H
#define MAS_OPS_SIM_H

#include "sim.h"

int ops_sim_open(const struct ops_options *opt, struct ops **out, struct err *e); /* "sim" */
/* "sim-cpu" */
int ops_sim_host_open(const struct ops_options *opt, struct ops **out, struct err *e);

#endif
