/*
 * prompt: the texts of a role, read once at start-up and checked completely there.
 *
 * A prompt file <strategy>/<role>.txt has two sections, each begun by a line of its own:
 *     [system]  constant for a whole evaluation; its slots are filled when the file is read
 *     [user]    filled for every call
 * A slot is {name}; {{ and }} stand for braces. Every slot must be known, and every slot that the
 * program offers must be used. So a typo is an error with its line, never a hole in a prompt. The
 * text that most calls share stands first, so that the KV cache of a common beginning is computed
 * once.
 *
 * Untrusted text enters only as the value of a slot, in the user section; a value is not searched
 * for slots.
 */
#ifndef MAS_PROMPT_H
#define MAS_PROMPT_H

#include <stddef.h>

#include "err.h"
#include "str.h"

struct prompt;

struct prompt_constant { /* a slot of the system section, or of a schema */
    const char *name, *value;
};

/* The source of prompts; dir "" = built in. */
struct prompt_source {
    const char *dir;
    const char *strategy;
};

/* slots: names of the user section's slots, NULL-terminated; values are given to prompt_render in
 * the same order. ERR_NOINPUT, ERR_CONFIG "path:line: ...", ERR_NOMEM. */
int prompt_open(const struct prompt_source *src, const char *role,
                const struct prompt_constant *constants, size_t n_constants,
                const char *const *slots, struct prompt **out, struct err *e);
void prompt_close(struct prompt *p); /* accepts NULL */

const char *prompt_system(const struct prompt *p, size_t *len);
const char *prompt_hash(const struct prompt *p); /* 16 hex digits over path and filled text */
const char *prompt_name(const struct prompt *p); /* "panel/planner" */
/* Appends the user section with values[i] in place of slots[i]. */
void prompt_render(const struct prompt *p, const char *const *values, struct str *out);

/* Reads <strategy>/<name> and appends it. The JSON text of a constant replaces each "{slot}"; the
 * quotes around a slot make the file itself valid JSON. Errors as prompt_open. */
int prompt_schema(const struct prompt_source *src, const char *name,
                  const struct prompt_constant *constants, size_t n_constants, struct str *out,
                  struct err *e);
/* The text of a file that has no slots (a system text shared by several roles), without its last
 * newline. */
int prompt_text(const struct prompt_source *src, const char *name, struct str *out, struct err *e);

#endif
