/*
 * schema_build: a schema while it is compiled. Private to the files of the schema:
 *
 *   schema.c         the table of nodes
 *   schema_layers.c  the schemas that one value must fit
 *   schema_type.c    one node of each type
 *   schema_value.c   enum, const
 *   schema_union.c   alternatives
 *
 * A value must fit several schemas at once: its own, the target of its $ref, each of its allOf.
 * Each of these schemas is a layer. anyOf and oneOf make a union. Each alternative is a node; its
 * layers are the layers of the union and the alternative's own.
 */
#ifndef MAS_SCHEMA_BUILD_H
#define MAS_SCHEMA_BUILD_H

#include <jansson.h>

#include "schema.h"
#include "str.h"

/* Forms of a value that a schema can describe. */
enum form { OBJECT, ARRAY, STRING, INTEGER, NUMBER, BOOLEAN, NIL, ENUM, CONST, FORMS };

#define BIT(form) (1u << (form))
#define EVERY (BIT(FORMS) - 1)
#define TYPES (BIT(ENUM) - 1)
#define SCALARS (BIT(STRING) | BIT(NUMBER) | BIT(INTEGER) | BIT(BOOLEAN) | BIT(NIL))

enum layer_kind {
    LAYER_RAW,   /* a schema whose $ref, allOf, anyOf and oneOf are not expanded yet */
    LAYER_PLAIN, /* an expanded schema: only its other keywords count */
    LAYER_TRUE,  /* allows everything */
    LAYER_ANY,   /* an array of schemas: at least one must fit */
    LAYER_ONE,   /* an array of schemas: exactly one must fit */
};

struct origin { /* the chain of $ref and allOf that led to a schema */
    const json_t *json;
    const struct origin *up; /* NULL = the root */
};

struct layer {
    json_t *json;
    const char *path;
    enum layer_kind kind;
    const struct origin *origin; /* its own; the chain goes up to the root */
};

struct work { /* the layers of a node that is not made yet; work i becomes node i */
    struct layer *layer;
    size_t n;
    unsigned only; /* types */
    int depth, turns;
};

/* Facts about the values of a node that the node does not keep; oneOf compares them. */
struct facts {
    const char *const *name; /* (n) properties of an object */
    const bool *required;    /* (n) */
    bool closed;             /* no other properties are allowed */
    double lo, hi;           /* of a number, infinite = none */
    bool lo_open, hi_open;
    size_t min, max; /* items, characters */
    bool exclusive;  /* union: exactly one alternative */
    const char *path;
};

struct build {
    struct schema *sc;
    const char *name;
    json_t *root;
    struct work *work;   /* (n_work) */
    struct facts *facts; /* (n_work) */
    size_t n_work, cap_work, cap_node, cap_facts;
    struct layer *layer; /* scratch: the layers of one node */
    size_t n_layer, cap_layer;
    struct pattern_budget budget;
    bool own; /* x-pairs and x-pair are keywords */
    struct err *e;
};

#define BAD(b, path, ...) return schema_bad((b), (path), __VA_ARGS__)
/* BAD at path/key. */
#define BAD_KEY(b, path, key, ...)                                                                 \
    do {                                                                                           \
        const char *at_ = schema_path((b), (path), (key));                                         \
        return at_ ? schema_bad((b), at_, __VA_ARGS__) : ERR_NOMEM;                                \
    } while (0)

int schema_bad(struct build *b, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* path/key, with "~" and "/" of the key escaped as RFC 6901 says; NULL when memory is out. */
const char *schema_path(struct build *b, const char *path, const char *key);
int schema_keep(struct build *b, struct str *s, struct schema_text *out);
/* Adds a node of these layers, which are copied. */
int schema_add(struct build *b, const struct layer *layer, size_t n, unsigned only, int depth,
               int turns);

/* schema_layers.c: appends to b->layer; path NULL = memory was out. */
int layers_push(struct build *b, json_t *json, const char *path, enum layer_kind kind,
                const struct origin *up);
/* Replaces the layers of node `at` by all layers that $ref, allOf.. lead to, and checks them. */
int layers_expand(struct build *b, size_t at);
/* *types: the types that all layers allow; *said: some layer names a type. */
int layers_types(struct build *b, const struct work *w, unsigned *types, bool *said);
const char *form_name(enum form f);

/* schema_type.c: makes *node a node of this type. */
int type_node(struct build *b, size_t at, enum form form, struct schema_node *node);
/* schema_value.c: a layer has an enum or const; makes *node a choice of their values. */
bool value_listed(const struct work *w);
int value_node(struct build *b, size_t at, unsigned types, struct schema_node *node);
int text_order(const void *a, const void *b); /* of struct schema_text, by bytes */
/* The decimal of a bound: *scaled / 10^*decimals. *beyond: -1 or 1 when the bound lies below or
 * above +-NUMBER_LIMIT. false: it has more than NUMBER_DECIMALS digits after the point. */
bool value_decimal(const json_t *v, int64_t *scaled, int *decimals, int *beyond);
/* schema_union.c: makes a union over the first anyOf or oneOf, or over types. union_finish
 * completes the union once its alternatives are complete. */
int union_of_layers(struct build *b, size_t at, size_t which, struct schema_node *node);
int union_of_types(struct build *b, size_t at, unsigned types, struct schema_node *node);
int union_finish(struct build *b, size_t at);

#endif
