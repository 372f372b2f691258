/*
 * advice: a message names a remedy, in settings that the current command has. The lower rooms name
 * the options of commands that open an engine (options.def): --ctx, --kv-type. Other commands
 * translate them into their own terms before they print. tests/lint/options.sh checks every
 * message.
 */
#ifndef MAS_ADVICE_H
#define MAS_ADVICE_H

#include "err.h"

/* For commands with a configuration: options become its keys ("--ctx" is max_context_length). */
void advice_as_keys(struct err *e);
/* For commands with other options than those that open an engine: puts theirs in place. own: ends
 * with a flag of NULL. */
struct advice_option {
    const char *flag, *own; /* "--ctx", "-p/-n" */
};
void advice_as_options(struct err *e, const struct advice_option *own);
/* Puts text in place of the advice (after the last "; ") of a message that names the option. */
void advice_instead(struct err *e, const char *option, const char *text);

#endif
