/*
 * schema: a JSON Schema compiled into a table of nodes that say what bytes may be written.
 *
 * Nodes stand in breadth-first order: a parent comes before its children, the children of one node
 * are neighbours. Every text is canonical JSON as str_add_json writes it. A schema without
 * recursion and with every length bounded has finitely many replies; `least` and `most` bound their
 * sizes.
 *
 * Each reply validates against the schema (drafts 7 to 2020-12, formats asserted); not every valid
 * value can be written:
 *   - properties come in the order of their declaration, undeclared ones never; those of `required`
 *     always, the others as the model likes. Without `required` every property is written.
 *   - without bounds a string has at most SCHEMA_DEFAULT_CHARS characters, an array at most
 *     SCHEMA_DEFAULT_ITEMS items (or minItems; with prefixItems, those), a number lies within
 *     +-SCHEMA_DEFAULT_NUMBER (beyond, when its other bound does); numbers beyond +-NUMBER_LIMIT
 *     are never written
 *   - a number has at most two digits after the point, or as many as its bounds and multipleOf
 *     have, or "x-decimals" (a keyword of this program)
 *   - without `type` the keywords say it: properties an object, items an array, pattern a string..
 *   - an array without `items` holds strings, numbers, booleans and null; a schema that allows
 *     everything ({} or true) writes these, {} and arrays of these (as the root: no number)
 *   - a string with `pattern` or `format` is written with few escapes (pattern.h), and a format in
 *     its plain forms (text_format.c)
 */
#ifndef MAS_SCHEMA_H
#define MAS_SCHEMA_H

#include "mem.h"
#include "number.h"
#include "pattern.h"

#define SCHEMA_BYTES (1u << 20) /* of schema text */
#define SCHEMA_NODES 4096
#define SCHEMA_PROPERTIES 256   /* of one object */
#define SCHEMA_VALUES 256       /* of one enum */
#define SCHEMA_UNIQUE 64        /* of an enum under uniqueItems: one bit each */
#define SCHEMA_ITEMS 1000       /* of one array */
#define SCHEMA_ALTERNATIVES 256 /* of one anyOf or oneOf */
#define SCHEMA_JOINED 4096      /* values of enums that are alternatives */
#define SCHEMA_LAYERS 64        /* schemas that one value must fit together ($ref, allOf) */
#define SCHEMA_TURNS 16         /* anyOf, oneOf or lists of types within each other */
#define SCHEMA_CHARS 4000       /* of one string */
#define SCHEMA_TEXT 1000        /* bytes of a property name or an enum value */
#define SCHEMA_DEFAULT_CHARS 1000
#define SCHEMA_DEFAULT_ITEMS 32
#define SCHEMA_DEFAULT_NUMBER 1000000000
#define SCHEMA_CLOSE (64u << 10) /* bytes that may be needed to complete a reply */

enum schema_kind {
    SCHEMA_OBJECT,  /* every property is written */
    SCHEMA_MEMBERS, /* an object of which some properties may be left out */
    SCHEMA_ARRAY,
    SCHEMA_STRING,  /* free text */
    SCHEMA_PATTERN, /* text that fits a pattern or a format */
    SCHEMA_CHOICE,  /* one of some texts: enum, const, boolean, null; only a number may be the
                     * beginning of another */
    SCHEMA_NUMBER,
    SCHEMA_UNION, /* one of some nodes, or several as long as the bytes fit them all */
};

/* What a value can begin with: alternatives of different sorts are told apart by one byte. */
enum schema_sort {
    SCHEMA_IS_OBJECT,
    SCHEMA_IS_ARRAY,
    SCHEMA_IS_STRING,
    SCHEMA_IS_NUMBER,
    SCHEMA_IS_WORD,
    SCHEMA_SORTS,
};

struct schema_text {
    const char *s;
    size_t n;
};

struct schema_node {
    enum schema_kind kind;
    uint16_t n; /* properties of an object, first items of an array with nodes of their own, texts
                 * of a choice, alternatives of a union */
    uint16_t child;    /* node of the first property, of the first item */
    uint16_t min, max; /* items of an array, characters of a string, properties of a MEMBERS */
    bool unique;       /* array: items differ; its items are a choice of <= SCHEMA_UNIQUE */
    bool counted;      /* MEMBERS: min or max can matter */
    /* OBJECT: (n + 1) what stands before the 1st, 2nd, .. value, and after the last; MEMBERS: (n)
     * names with their ": "; choice: (n) sorted by bytes */
    const struct schema_text *text;
    const bool *required;  /* MEMBERS: (n) */
    const size_t *tail;    /* MEMBERS: (n + 1, min + 1) least bytes that complete the object when i
                            * properties are passed, some are written and k more are needed */
    const uint16_t *other; /* union: (n) nodes */
    const struct pattern *pattern;
    struct number_range range;
    uint16_t width[SCHEMA_SORTS]; /* ways of reading it that can be open at once, by first byte */
    size_t least;                 /* bytes: no text of this node is shorter */
    size_t most; /* bytes: from anywhere inside this node its rest can be written with so many */
};

struct schema {
    struct schema_node *node; /* (n), node 0 is the reply */
    size_t n;
    uint64_t hash; /* of what the nodes mean: equal for equal tables */
    struct arena arena;
};

/* Compiles text[0..n). ERR_CONFIG names the schema and the JSON path at fault; ERR_NOMEM. */
int schema_compile(const char *text, size_t n, const char *name, struct schema *out, struct err *e);
void schema_free(struct schema *sc);

#endif
