/*
 * advice: a message says what to do, and must name settings that the command at hand has. The rooms
 * below speak of the options of commands that open an engine (options.def): --ctx, --kv-type. Other
 * commands say it in their own terms before they print. tests/lint/options.sh holds every
 * message to that.
 */
#ifndef MAS_ADVICE_H
#define MAS_ADVICE_H

#include "err.h"

/* For commands with a configuration: options become its keys ("--ctx" is max_context_length). */
void advice_as_keys(struct err *e);
/* Puts text in place of the advice (after the last "; ") of a message that names the option. */
void advice_instead(struct err *e, const char *option, const char *text);

#endif
