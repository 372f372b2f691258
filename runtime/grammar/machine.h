/*
 * machine: walks a schema byte by byte. The frames of a grammar_way are the schema nodes being
 * written, outermost first; the last one reads the next byte. Every function is a pure function of
 * (schema, state): nothing is allocated or kept.
 *
 * A union's frame is replaced by that of an alternative when the value's first byte comes: by one
 * way for each alternative that the byte fits. Ways that come to the same frames are one again.
 */
#ifndef MAS_MACHINE_H
#define MAS_MACHINE_H

#include "grammar.h"
#include "quoted.h"
#include "schema.h"

void machine_start(const struct schema *sc, struct grammar_state *s);
/* Advances by one byte; false (s unchanged) when no reply continues so. */
bool machine_step(const struct schema *sc, struct grammar_state *s, unsigned char b);
/* The same where no union is met: closing texts. */
bool machine_way_step(const struct schema *sc, struct grammar_way *w, unsigned char b);
/* Copies what counts. */
void machine_copy(struct grammar_state *to, const struct grammar_state *from);

/* The next byte of the shortest completion of one way: -1 when it is complete. A union in its last
 * frame is replaced by its shortest alternative (of equals the first) before. Following these bytes
 * ends in at most SCHEMA_CLOSE of them. Rules: an array stops at minItems, a string at minLength
 * (filled with '.' where that is allowed), an enum takes its shortest value still possible (of
 * equals the first by bytes), a number the shortest text, then the least magnitude, an object only
 * what it needs. */
int machine_close_byte(const struct schema *sc, struct grammar_way *w);

/* Inside a free string, after its opening quote. A character that has begun is not completed yet:
 * it still takes one of `room`. */
struct machine_string {
    enum quoted q;
    size_t room; /* maxLength - characters completed */
    size_t need; /* minLength - characters completed, or 0 */
};
bool machine_in_string(const struct schema *sc, const struct grammar_way *w,
                       struct machine_string *out);
/* Leaves the string of the last frame as its closing quote would. */
void machine_leave(const struct schema *sc, struct grammar_way *w);

/* What of w can still matter for texts of at most `reach` bytes, every other detail made equal,
 * unused frames and padding zeroed: two ways with equal bytes here allow the same texts. */
void machine_class(const struct schema *sc, const struct grammar_way *w, size_t reach,
                   struct grammar_way *key);
/* The same for the completion: ways with equal bytes here have the same closing text. */
void machine_close_class(const struct schema *sc, const struct grammar_way *w,
                         struct grammar_way *key);
/* Bytes of a way that are in use, as laid out by the two above. */
size_t machine_class_size(const struct grammar_way *key);

#endif
