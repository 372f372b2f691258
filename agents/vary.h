/*
 * vary: a question file made of another, for tests of robustness. Each variant is a question of its
 * own, with an id of its own. So a run on the new file is a run like any other.
 *
 * - cyclic: each question in all cyclic orders of its options (Pezeshkpour and Hruschka, NAACL
 *   Findings 2024, study the order of options). A question with n options gives n records.
 * - none: the right option's text becomes "None of the other answers". The key stays at its place.
 */
#ifndef MAS_VARY_H
#define MAS_VARY_H

#include "medqa.h"
#include "str.h"

enum vary_kind { VARY_CYCLIC, VARY_NONE };
#define VARY_NONE_TEXT "None of the other answers"

/* Appends JSON Lines in the form medqa. Each record has the id of its origin as "of". Rejected and
 * duplicate records are left out. */
void vary_write(const struct medqa *m, enum vary_kind kind, struct str *out);

#endif
