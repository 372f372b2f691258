/*
 * rapl: energy counters of the processor's packages, from the powercap folder of sysfs
 * (Documentation/power/powercap in Linux). Intel's and AMD's processors have them.
 *
 * A package is a folder intel-rapl:N with the name "package-..". Folders intel-rapl:N:M are parts
 * of a package, "psys" is the whole machine, and intel-rapl-mmio:N is a second view of a package:
 * none of them counts. The counter energy_uj returns to 0 after max_energy_range_uj.
 */
#ifndef MAS_RAPL_H
#define MAS_RAPL_H

#include "err.h"

struct rapl;

/* ERR_NODEV: there is no package, or its counter cannot be read; names the file. */
int rapl_open(const char *powercap, struct rapl **out, struct err *e);
void rapl_close(struct rapl *r); /* accepts NULL */
int rapl_packages(const struct rapl *r);
/* Joules of all packages since the opening. Needs the caller's lock, and a call at least once a
 * period of a counter (a minute at 1 kW). ERR_IO names the file: the joules of a gap are not
 * known, so that the caller ends here. */
int rapl_joules(struct rapl *r, double *out, struct err *e);

#endif
