/* agent_options: the options of every strategy (agent_options.def), and the tables of all of them.
 */
#ifndef MAS_AGENT_OPTIONS_H
#define MAS_AGENT_OPTIONS_H

#include "config.h"

/* A server whose fingerprint changes in the middle of a run, in the order of the row's choices. */
enum remote_changes { REMOTE_CHANGES_STOP, REMOTE_CHANGES_RECORD };

struct agent_options {
#define X(...) OPTION_MEMBER(__VA_ARGS__)
#include "agent_options.def"
#undef X
};
extern const struct option_set agent_option_set;

/* Writes the agents' table, then each strategy's own, to out (most). Returns their number. */
int agent_option_sets(const struct option_set **out, int most);

#endif
