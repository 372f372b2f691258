/*
 * field: the members of a request's JSON body, as rows of a table. The reading, the checks, the
 * messages and the OpenAPI document come from the row.
 *
 *     X(ctype, member, TYPE, name, lo, hi, otherwise, choices, marks, doc)
 *
 * FIELD_MEMBER turns the lines into a struct, FIELD_ROW into rows. null is the same as absent,
 * everywhere. An unknown member is refused, with the nearest known one.
 */
#ifndef MAS_FIELD_H
#define MAS_FIELD_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

enum field_type {               /* C type of the member; value if absent */
                  FIELD_BOOL,   /* bool; otherwise != 0 */
                  FIELD_INT,    /* int64_t; otherwise, FIELD_UNSET for NAN */
                  FIELD_NUMBER, /* double; otherwise (NAN = unset) */
                  FIELD_STRING, /* const char *: lo..hi bytes, no NUL inside; NULL */
                  FIELD_WORD,   /* const char *, one of the choices; NULL */
                  FIELD_OBJECT, /* json_t *, borrowed from the body; NULL */
                  FIELD_ARRAY,  /* json_t *: lo..hi items; NULL */
                  FIELD_ANY,    /* json_t *; NULL */
                  FIELD_IDLE,   /* json_t *: accepted, and has no effect here (doc says why) */
                  FIELD_UNMET,  /* json_t *: refused unless absent, null, or the JSON text in
                                   choices ("" = nothing else) */
};
#define FIELD_UNSET INT64_MIN

enum field_mark {
    FIELD_NEEDED = 1, /* absent is an error */
};

struct field_row {
    const char *name;
    enum field_type type;
    size_t offset;
    double lo, hi;    /* inclusive range: numbers, bytes of a string, items of an array */
    double otherwise; /* the default */
    /* "auto|none"; of an object the name of its schema, of a list that of its items, or NULL */
    const char *choices;
    unsigned marks;
    const char *doc; /* one sentence */
};

struct field_set {
    const char *name; /* of the schema in the OpenAPI document: "ChatRequest" */
    const struct field_row *row;
    int n;
    size_t size; /* of the struct */
};

#define FIELD_MEMBER(ctype, member, ...) ctype member;
#define FIELD_ROW(object, ctype, member, type_, name_, lo_, hi_, otherwise_, choices_, marks_,     \
                  doc_)                                                                            \
    {.name = name_,                                                                                \
     .type = FIELD_##type_,                                                                        \
     .offset = offsetof(object, member),                                                           \
     .lo = lo_,                                                                                    \
     .hi = hi_,                                                                                    \
     .otherwise = otherwise_,                                                                      \
     .choices = choices_,                                                                          \
     .marks = marks_,                                                                              \
     .doc = doc_},

/* Fills *at by the rows. Texts are borrowed from the object. ERR_DATA: the message names member,
 * value and limit; *member gets the member's name, NULL = none in particular. */
int field_read(const struct field_set *s, const json_t *object, void *at, const char **member,
               struct err *e);
/* Appends the set's JSON Schema. */
void field_schema(const struct field_set *s, struct str *out);

/* Parses a request's body: an object, at most FIELD_DEPTH deep, with at most FIELD_PARTS lists and
 * objects, without duplicate members, valid UTF-8. A parsed list takes 40 times its text.
 * The caller owns *out (json_decref). ERR_DATA with the place of the fault. */
#define FIELD_DEPTH 64
#define FIELD_PARTS 100000
int field_parse(const char *s, size_t n, json_t **out, struct err *e);

#endif
