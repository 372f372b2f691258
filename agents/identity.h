/*
 * identity: two JSON objects that trace_open compares and records. The first decides whether two
 * runs are the same run. The second holds further facts about a run.
 */
#ifndef MAS_IDENTITY_H
#define MAS_IDENTITY_H

#include "strategy.h"

/* Everything that a result depends on:
 * - the options that affect results, and whether the answers' options are shuffled;
 * - hashes of prompts, catalogue, model and data, and the choice among the data's records,
 *   and the tokens of another run that are matched;
 * - the kind of backend, and the parts that the CPU computes beside it.
 *
 * Instruction set, threads, sequences, pages, drafts and the places of weights change no bit and
 * are left out. */
void identity_json(const struct strategy_env *env, const char *data_sha256, struct str *out);
/* Every option, code version, device, placement, data path, and how energy is measured. */
void identity_about(const struct strategy_env *env, const char *version, const char *data_path,
                    const char *energy, struct str *out);

#endif
