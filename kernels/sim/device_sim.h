/* device_sim: memory, streams and events of a sim, as the table of device.h. */
#ifndef MAS_DEVICE_SIM_H
#define MAS_DEVICE_SIM_H

#include "sim_clock.h"

struct device_sim {
    struct device dev;
    struct sim *sim;
    struct card *card;
};

void device_sim_init(struct device_sim *d, struct sim *s, int card); /* nothing to free */

#endif
