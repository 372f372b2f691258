/* agent_options: the options of every strategy (agent_options.def), and the tables of all of them.
 */
#ifndef MAS_AGENT_OPTIONS_H
#define MAS_AGENT_OPTIONS_H

#include "config.h"

struct agent_options {
#define X(...) OPTION_MEMBER(__VA_ARGS__)
#include "agent_options.def"
#undef X
};
extern const struct option_set agent_option_set;

/* Writes the agents' table, then each strategy's own, to out (most). Returns their number. */
int agent_option_sets(const struct option_set **out, int most);

#endif
