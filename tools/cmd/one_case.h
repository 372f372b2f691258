/* one_case: one case through a strategy, the common part of `mas run` and `mas plan`. */
#ifndef MAS_ONE_CASE_H
#define MAS_ONE_CASE_H

#include <stdbool.h>

/* A whole command: reads its options, asks the case and prints it; returns the exit code.
 * plan_only: as with the option --plan-only. doc: the sentences below the usage line. */
int one_case(int argc, char **argv, bool plan_only, const char *doc);

#endif
