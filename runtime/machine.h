/*
 * machine: walks a schema byte by byte. The frames of a grammar_state are the schema nodes being
 * written, outermost first; the last one reads the next byte. Every function is a pure function of
 * (schema, state): nothing is allocated or kept.
 */
#ifndef MAS_MACHINE_H
#define MAS_MACHINE_H

#include "grammar.h"
#include "quoted.h"
#include "schema.h"

void machine_start(const struct schema *sc, struct grammar_state *s);
/* Advances by one byte; false (s unchanged) when no reply continues so. */
bool machine_step(const struct schema *sc, struct grammar_state *s, unsigned char b);
/* The next byte of the shortest-by-rule completion: -1 when s is done. Following these bytes ends
 * in at most SCHEMA_CLOSE of them. Rules: an array stops at minItems, a string at minLength (filled
 * with '.'), an enum takes its shortest value still possible (of equals the first by bytes), a
 * number the shortest text, then the least magnitude. */
int machine_close_byte(const struct schema *sc, const struct grammar_state *s);

/* Inside a free string, after its opening quote. A character that has begun is not completed yet:
 * it still takes one of `room`. */
struct machine_string {
    enum quoted q;
    size_t room; /* maxLength - characters completed */
    size_t need; /* minLength - characters completed, or 0 */
};
bool machine_in_string(const struct schema *sc, const struct grammar_state *s,
                       struct machine_string *out);
/* Leaves the string of the last frame as its closing quote would. */
void machine_leave(const struct schema *sc, struct grammar_state *s);

/* What of s can still matter for texts of at most `reach` bytes, every other detail made equal,
 * unused frames and padding zeroed: two states with equal bytes here allow the same texts. */
void machine_class(const struct schema *sc, const struct grammar_state *s, size_t reach,
                   struct grammar_state *key);
/* The same for the completion: states with equal bytes here have the same closing text. */
void machine_close_class(const struct schema *sc, const struct grammar_state *s,
                         struct grammar_state *key);
/* Bytes of a state that are in use, as laid out by the two above. */
size_t machine_class_size(const struct grammar_state *key);

#endif
