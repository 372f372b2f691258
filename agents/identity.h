/* identity: what makes two runs the same run, and what is only worth knowing, as the JSON objects
 * that trace_open compares and records. */
#ifndef MAS_IDENTITY_H
#define MAS_IDENTITY_H

#include "strategy.h"

/* Everything a result depends on: the knobs that affect results, hashes of prompts, catalogue,
 * model and data, whether options are shuffled, the kind of backend and which parts the CPU
 * computes beside it. The instruction set, threads, sequences, pages, guesses and where weights
 * lie change no bit and are left out. */
void identity_json(const struct strategy_env *env, const char *data_sha256, struct str *out);
/* Every knob, code version, device, placement, data path. */
void identity_about(const struct strategy_env *env, const char *version, const char *data_path,
                    struct str *out);

#endif
