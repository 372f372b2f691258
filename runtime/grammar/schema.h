/*
 * schema: a JSON Schema compiled into a table of nodes that decide the bytes of a reply.
 *
 * Invariants:
 *   - Nodes stand in breadth-first order: a parent precedes its children, and the children of one
 *     node are neighbours.
 *   - Every text is canonical JSON, as str_add_json writes it.
 *   - There are finitely many replies: a schema has no recursion and every length is bounded.
 *     `least` and `most` bound the sizes of a node's texts.
 *   - Each reply validates against the schema (drafts 7 to 2020-12, formats asserted).
 *
 * Some valid values are never written:
 *   - Properties keep the order of their declaration; undeclared ones never occur. Those of
 *     `required` always occur; the model chooses the others. Without `required` every property is
 *     written.
 *   - A string without bounds has at most SCHEMA_DEFAULT_CHARS characters.
 *   - An array without bounds has at most SCHEMA_DEFAULT_ITEMS items, or minItems if that is more;
 *     with prefixItems, at most as many as those.
 *   - A missing bound of a number is +-SCHEMA_DEFAULT_NUMBER, unless the other bound exceeds it.
 *     Numbers beyond +-NUMBER_LIMIT are never written.
 *   - A number has at most two digits after the point, or as many as its bounds and multipleOf
 *     have, or "x-decimals" (a keyword of this program).
 *   - Without `type` the keywords imply it: properties an object, items an array, pattern a
 *     string..
 *   - An array without `items` holds strings, numbers, booleans and null. A schema that allows
 *     everything ({} or true) allows these, {} and arrays of these; as the root, no number.
 *   - A string with `pattern` or `format` has few escapes (pattern.h). A format has its plain forms
 *     only (text_format.c).
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
#define SCHEMA_UNIQUE 64        /* of an enum under uniqueItems: a bit set holds them */
#define SCHEMA_ITEMS 1000       /* of one array */
#define SCHEMA_ALTERNATIVES 256 /* of one anyOf or oneOf */
#define SCHEMA_JOINED 4096      /* values of enums that are alternatives of a union */
#define SCHEMA_LAYERS 64        /* schemas that one value must fit together ($ref, allOf) */
#define SCHEMA_TURNS 16         /* nesting of anyOf, oneOf and lists of types */
#define SCHEMA_CHARS 4000       /* of one string */
#define SCHEMA_TEXT 1000        /* bytes of a property name or an enum value */
#define SCHEMA_DEFAULT_CHARS 1000
#define SCHEMA_DEFAULT_ITEMS 32
#define SCHEMA_DEFAULT_NUMBER 1000000000
#define SCHEMA_CLOSE (64u << 10) /* most bytes that complete a reply */

enum schema_kind {
    SCHEMA_OBJECT,  /* every property is written */
    SCHEMA_MEMBERS, /* an object with optional properties */
    SCHEMA_ARRAY,
    SCHEMA_STRING,  /* free text */
    SCHEMA_PATTERN, /* text that fits a pattern or a format */
    SCHEMA_CHOICE,  /* one of several texts: enum, const, boolean, null. A text that begins with
                     * another one is a number. */
    SCHEMA_NUMBER,
    SCHEMA_UNION, /* one of several nodes; several ways are read as long as the bytes fit them */
};

/* Sorts of a value by its first byte: one byte tells alternatives of different sorts apart. */
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
    /* properties of an object, first items of an array with nodes of their own (prefixItems), texts
     * of a choice, alternatives of a union */
    uint16_t n;
    uint16_t child;    /* node of the first property, of the first item */
    uint16_t min, max; /* items of an array, characters of a string, properties of a MEMBERS */
    bool unique;       /* array: items differ; its items are a choice of <= SCHEMA_UNIQUE */
    bool counted;      /* MEMBERS: min or max can matter */
    /* ARRAY: the text is an object whose names are free. Its items are pairs: an OBJECT of two
     * values with the literals "", ": " and "". */
    bool map;
    /* OBJECT: (n + 1) the literals before the 1st, 2nd, .. value and after the last; MEMBERS: (n)
     * names with their ": "; choice: (n) texts sorted by bytes */
    const struct schema_text *text;
    const bool *required; /* MEMBERS: (n) */
    /* MEMBERS: (n + 1, min + 1) [i][k] least bytes that complete the object. The first i properties
     * are decided, at least one is written, and k more must be written. */
    const size_t *tail;
    const uint16_t *other; /* union: (n) nodes */
    const struct pattern *pattern;
    struct number_range range;
    uint16_t width[SCHEMA_SORTS]; /* most ways open at once in this node, by sort of first byte */
    size_t least;                 /* bytes: no text of this node is shorter */
    size_t most; /* bytes: most that any prefix of this node needs to complete it */
};

struct schema {
    struct schema_node *node; /* (n), node 0 is the reply */
    size_t n;
    uint64_t hash; /* of the table's meaning: equal tables have equal hashes */
    struct arena arena;
};

/* Compiles text[0..n). ERR_CONFIG names the schema and the JSON path at fault; ERR_NOMEM. */
int schema_compile(const char *text, size_t n, const char *name, struct schema *out, struct err *e);
/* The same, with two keywords of this program. "x-pairs": SCHEMA makes an object with free names of
 * up to SCHEMA_DEFAULT_ITEMS pairs, each as SCHEMA says. "x-pair": true makes a pair of the two
 * properties, the name first. */
int schema_compile_own(const char *text, size_t n, const char *name, struct schema *out,
                       struct err *e);
void schema_free(struct schema *sc);

#endif
