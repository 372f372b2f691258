/*
 * schema: a JSON Schema compiled into a table of nodes that say what bytes may be written.
 *
 * Nodes stand in breadth-first order: a parent comes before its children, the children of an object
 * are neighbours. Every text is canonical JSON as str_add_json writes it. A schema without
 * recursion and with every length bounded has finitely many replies; `least` and `most` bound their
 * sizes.
 */
#ifndef MAS_SCHEMA_H
#define MAS_SCHEMA_H

#include "mem.h"
#include "number.h"

#define SCHEMA_BYTES (1u << 20) /* of schema text */
#define SCHEMA_NODES 4096
#define SCHEMA_PROPERTIES 256    /* of one object */
#define SCHEMA_VALUES 256        /* of one enum */
#define SCHEMA_UNIQUE 64         /* of an enum under uniqueItems: one bit each */
#define SCHEMA_ITEMS 1000        /* of one array */
#define SCHEMA_CHARS 4000        /* of one string */
#define SCHEMA_TEXT 1000         /* bytes of a property name or an enum value */
#define SCHEMA_CLOSE (64u << 10) /* bytes that may be needed to complete a reply */

enum schema_kind {
    SCHEMA_OBJECT,
    SCHEMA_ARRAY,
    SCHEMA_STRING, /* free text */
    SCHEMA_CHOICE, /* one of some texts: enum, const, boolean, null; none is a prefix of another */
    SCHEMA_NUMBER,
};

struct schema_text {
    const char *s;
    size_t n;
};

struct schema_node {
    enum schema_kind kind;
    uint16_t n;        /* properties of an object, texts of a choice */
    uint16_t child;    /* node of the first property, of the items */
    uint16_t min, max; /* items of an array, characters of a string */
    bool unique;       /* array: items differ; its items are a choice of <= SCHEMA_UNIQUE */
    /* object: (n + 1) what stands before the 1st, 2nd, .. value, and after the last; choice: (n)
     * sorted by bytes */
    const struct schema_text *text;
    struct number_range range;
    size_t least; /* bytes: no text of this node is shorter */
    size_t most;  /* bytes: from anywhere inside this node its rest can be written with so many */
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
