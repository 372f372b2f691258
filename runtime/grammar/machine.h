/*
 * machine: walks a schema byte by byte.
 *
 * The frames of a grammar_way are the schema nodes that are being written, outermost first. The
 * last frame reads the next byte.
 *
 * Invariants:
 *   - Every function is a pure function of (schema, state): nothing is allocated or kept.
 *   - The first byte of a value replaces the frame of a union. Each alternative that the byte fits
 *     gives one way with the frame of that alternative.
 *   - Ways whose frames become equal are merged into one.
 */
#ifndef MAS_MACHINE_H
#define MAS_MACHINE_H

#include "grammar.h"
#include "quoted.h"
#include "schema.h"

void machine_start(const struct schema *sc, struct grammar_state *s);
/* Advances by one byte; false (s unchanged) when no reply continues so. */
bool machine_step(const struct schema *sc, struct grammar_state *s, unsigned char b);
/* Advances one way along a closing text, which never meets a union; false as machine_step. */
bool machine_way_step(const struct schema *sc, struct grammar_way *w, unsigned char b);
/* Copies the ways and frames in use. */
void machine_copy(struct grammar_state *to, const struct grammar_state *from);

/* The next byte of the shortest completion of one way; -1 when the way is complete. At most
 * SCHEMA_CLOSE of these bytes complete any reply. A union in the last frame is first replaced by
 * its shortest alternative, the first among equals. Rules:
 *   - an array stops at minItems
 *   - a string stops at minLength; '.' fills it, if the schema allows that character
 *   - an enum takes the shortest value still possible, the first by bytes among equals
 *   - a number takes the shortest text, then the least magnitude
 *   - an object takes only the properties that it needs */
int machine_close_byte(const struct schema *sc, struct grammar_way *w);

/* A place inside a free string, after its opening quote. A begun character is not completed yet: it
 * still uses one of `room`. */
struct machine_string {
    enum quoted q;
    size_t room; /* maxLength - characters completed */
    size_t need; /* minLength - characters completed, or 0 */
};
bool machine_in_string(const struct schema *sc, const struct grammar_way *w,
                       struct machine_string *out);
/* Leaves the string of the last frame, as its closing quote does. */
void machine_leave(const struct schema *sc, struct grammar_way *w);

/* Writes to *key the details of w that can matter for texts of at most `reach` bytes. All other
 * details become equal values; unused frames and padding become zero. Two ways with equal keys
 * allow the same texts. */
void machine_class(const struct schema *sc, const struct grammar_way *w, size_t reach,
                   struct grammar_way *key);
/* Writes to *key the details of w that matter for its completion. Two ways with equal keys have the
 * same closing text. */
void machine_close_class(const struct schema *sc, const struct grammar_way *w,
                         struct grammar_way *key);
/* Bytes in use of a key that either of the two functions above wrote. */
size_t machine_class_size(const struct grammar_way *key);

#endif
