/*
 * schema_build: a schema while it is compiled; shared by schema.c (the table), schema_layers.c
 * (what a value must fit), schema_type.c (one node of each type), schema_value.c (enum, const) and
 * schema_union.c (alternatives). Private to the schema.
 *
 * A value must fit several schemas at once: the one that stands there, what its $ref names, each of
 * its allOf. Such a schema is a layer. anyOf and oneOf make a union; each alternative is a node
 * with the layers around it and its own.
 */
#ifndef MAS_SCHEMA_BUILD_H
#define MAS_SCHEMA_BUILD_H

#include <jansson.h>

#include "schema.h"
#include "str.h"

/* What a schema object says it describes. */
enum form { OBJECT, ARRAY, STRING, INTEGER, NUMBER, BOOLEAN, NIL, ENUM, CONST, FORMS };

#define BIT(form) (1u << (form))
#define EVERY (BIT(FORMS) - 1)
#define TYPES (BIT(ENUM) - 1)
#define SCALARS (BIT(STRING) | BIT(NUMBER) | BIT(INTEGER) | BIT(BOOLEAN) | BIT(NIL))

enum layer_kind {
    LAYER_RAW,   /* a schema whose $ref, allOf, anyOf and oneOf are not looked at yet */
    LAYER_PLAIN, /* one of which only its other keywords count */
    LAYER_TRUE,  /* allows everything */
    LAYER_ANY,   /* an array: one of these must fit */
    LAYER_ONE,   /* exactly one */
};

struct origin { /* how a schema came to stand here: what led to what led to it */
    const json_t *json;
    const struct origin *up; /* NULL = the root */
};

struct layer {
    json_t *json;
    const char *path;
    enum layer_kind kind;
    const struct origin *origin; /* its own, then those above */
};

struct work { /* layers that wait to become the node of the same number */
    struct layer *layer;
    size_t n;
    unsigned only; /* types */
    int depth, turns;
};

/* What the schema of a node says, beyond what is written: for oneOf. */
struct facts {
    const char *const *name; /* (n) properties of an object */
    const bool *required;    /* (n) */
    bool closed;             /* no others */
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
    struct err *e;
};

#define BAD(b, path, ...) return schema_bad((b), (path), __VA_ARGS__)
/* The same at path/key. */
#define BAD_KEY(b, path, key, ...)                                                                 \
    do {                                                                                           \
        const char *at_ = schema_path((b), (path), (key));                                         \
        return at_ ? schema_bad((b), at_, __VA_ARGS__) : ERR_NOMEM;                                \
    } while (0)

int schema_bad(struct build *b, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* path/key, with "~" and "/" inside the key written as RFC 6901 says; NULL when memory is out. */
const char *schema_path(struct build *b, const char *path, const char *key);
int schema_keep(struct build *b, struct str *s, struct schema_text *out);
/* A node more, of these layers (copied). */
int schema_add(struct build *b, const struct layer *layer, size_t n, unsigned only, int depth,
               int turns);

/* schema_layers.c: appends to b->layer; path NULL = memory was out. */
int layers_push(struct build *b, json_t *json, const char *path, enum layer_kind kind,
                const struct origin *up);
/* The layers of node `at` become all that they lead to, checked. */
int layers_expand(struct build *b, size_t at);
/* The types that all layers allow; *said: some layer names one. */
int layers_types(struct build *b, const struct work *w, unsigned *types, bool *said);
const char *form_name(enum form f);

/* schema_type.c: *node becomes one of this type. */
int type_node(struct build *b, size_t at, enum form form, struct schema_node *node);
/* schema_value.c: a choice of the values of enum and const. */
bool value_listed(const struct work *w);
int value_node(struct build *b, size_t at, unsigned types, struct schema_node *node);
int text_order(const void *a, const void *b); /* of struct schema_text, by bytes */
/* The decimal of a bound: *scaled / 10^*decimals; *beyond: -1 or 1 when it is beyond
 * +-NUMBER_LIMIT. false: more digits than NUMBER_DECIMALS after the point. */
bool value_decimal(const json_t *v, int64_t *scaled, int *decimals, int *beyond);
/* schema_union.c: a union over the first anyOf or oneOf, or over types; then its last steps, when
 * its alternatives are complete. */
int union_of_layers(struct build *b, size_t at, size_t which, struct schema_node *node);
int union_of_types(struct build *b, size_t at, unsigned types, struct schema_node *node);
int union_finish(struct build *b, size_t at);

#endif
