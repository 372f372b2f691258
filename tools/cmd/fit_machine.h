/* fit_machine: the cards and the host that mas fit predicts for. */
#ifndef MAS_FIT_MACHINE_H
#define MAS_FIT_MACHINE_H

#include <argp.h>

#include "fit_plan.h"

/* Reads --gpu, names of cards.def with commas between them, and appends them to f->card. */
error_t fit_machine_cards(struct fit *f, struct argp_state *st, const char *arg);
/* Reads one value of an option, as cli_rate does. */
typedef error_t fit_value(struct argp_state *st, const char *flag, const char *word, double *out);
/* Reads one value, or one for each card with commas between them. A second time is
 * an error. */
error_t fit_machine_list(struct fit_list *list, struct argp_state *st, const char *flag,
                         const char *arg, fit_value *read);
/* Chooses the instruction set that the figures assume, f->isa: the given one. With auto it is the
 * best of this processor under --cpu here, or else avx2, which a desktop CPU has. ERR_USAGE:
 * nothing is measured for this processor's. */
int fit_machine_isa(struct fit *f, struct err *e);
/* Fills the main memory, opt.ram_bytes in bytes, where it was not given. Under --cpu here it is the
 * memory that this process may still take, its control groups included, as the engine counts it.
 * Otherwise it is assumed. ERR_IO: the system does not say it. */
int fit_machine_ram(struct fit *f, struct err *e);
/* Fills the memory and rates of the cards and of the host, and opens the first card. ERR_USAGE: no
 * card was named. */
int fit_machine_read(struct fit *f, struct err *e);

#endif
