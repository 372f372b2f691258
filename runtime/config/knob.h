/*
 * knob: one row of the table in config.h at work: found by name, read from text into its field,
 * written back as text. config.c brings the text from files and from --set.
 */
#ifndef MAS_KNOB_H
#define MAS_KNOB_H

#include "config.h"

#define KNOB_DISPLAY 80 /* bytes of an offending value that a message shows */

/* A value as it was written: one item, or several in a list. Borrowed. */
struct knob_value {
    const char *const *item; /* (n) NUL-terminated */
    int n;
    bool is_list; /* written as a list; otherwise n is 1 */
    bool quoted;  /* written in quotes: text, never a number or a switch */
};

const struct config_knob *knob_find(const char *key); /* NULL if there is none */
bool knob_is_group(const char *key);                  /* "planner": keys "planner.*" exist */
/* Appends "'temperature'", or "'top_p' or 'top_k'" when several known keys or groups are equally
 * near; nothing when none is near. */
void knob_nearest(const char *key, struct str *out);

/* Reads v into the field of k. The error (ERR_CONFIG, ERR_NOMEM) names key, value and rule; the
 * field keeps its old value then. */
int knob_set(struct config *c, const struct config_knob *k, const struct knob_value *v,
             struct err *e);
/* Copies the field of k from one config to another, which gives up what it held. */
int knob_copy(struct config *to, const struct config *from, const struct config_knob *k,
              struct err *e);
void knob_clear(struct config *c, const struct config_knob *k); /* frees strings; numbers stay */
/* What the knob takes, for messages and docs: "a whole number from 1 to 28 (specialties)". */
void knob_rule(const struct config_knob *k, struct str *out);
/* The value as JSON (or, but for bytes, as YAML: JSON's quoted strings and lists are YAML as well).
 */
void knob_json(const struct config *c, const struct config_knob *k, struct str *out);

/* The items of a list field; *n items. */
char *const *knob_items(const struct config *c, const struct config_knob *k, int *n);

#endif
