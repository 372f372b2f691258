/*
 * option: a setting of the program is one row of a table. The row names the setting's key in a
 * configuration, its flag on the command line, its type, range, default, unit and meaning. The
 * member of the C struct, the checks, the messages, --help and the reference file come from the
 * row.
 *
 * A table is written once, as lines X(columns..) of a .def file or of a list macro:
 *
 *     X(ctype, member, TYPE, key, flag, letter, arg, lo, hi, default, choices, unit, marks, doc)
 *
 * OPTION_MEMBER makes the struct of it, OPTION_ROW the rows. Strings are borrowed: they live as
 * long as the arena that option_set was given.
 */
#ifndef MAS_OPTION_H
#define MAS_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "mem.h"
#include "str.h"

enum option_type {                /* C type of the member */
                   OPTION_BOOL,   /* bool */
                   OPTION_NOT,    /* bool, true when the text says false: no_prefix_cache */
                   OPTION_INT,    /* int or int64_t */
                   OPTION_POWER,  /* int, a power of two */
                   OPTION_AUTO,   /* struct option_auto, not set when the text is -1 */
                   OPTION_FLOAT,  /* double */
                   OPTION_BYTES,  /* uint64_t */
                   OPTION_RATE,   /* double, bytes/s; 0 = no limit */
                   OPTION_STRING, /* const char * */
                   OPTION_WORD,   /* const char *, one of the choices */
                   OPTION_ENUM,   /* an enum whose values are the places of the choices, from 0 */
                   OPTION_FORMAT, /* enum fmt, one of the choices */
                   OPTION_LIST,   /* struct option_list */
                   OPTION_MAP_OF_INT,  /* struct option_map, whole numbers */
                   OPTION_MAP_OF_FLOAT /* struct option_map */
};

enum option_mark {
    /* Part of what a resumed evaluation must have unchanged. Backend and placement are not: a run's
     * identity has what they came to. */
    OPTION_RESULT = 1,
    /* Values beyond the choices exist, for simulations; who takes the value checks it. */
    OPTION_OPEN = 2
};

struct option_auto {
    bool set; /* false = the program chooses */
    int value;
};

#define OPTION_LIST_MAX 32
struct option_list {
    const char *item[OPTION_LIST_MAX];
    int n;
};

/* name -> number, such as role_tokens.NAME. Any name is taken; the owner of the table checks it. */
#define OPTION_MAP_MAX 32
struct option_map {
    struct option_map_item {
        const char *name;
        double value;
        const char *origin; /* "file.yaml:12" or "--set": where it was written */
    } item[OPTION_MAP_MAX];
    int n;
};
/* The value of that name, `otherwise` when it is not set. */
double option_map_get(const struct option_map *m, const char *name, double otherwise);

struct option_row {
    const char *key;  /* "kv.page_tokens" */
    const char *flag; /* "page-tokens"; NULL = none */
    const char *arg;  /* what --help calls the value of the flag, "N"; NULL = it takes none */
    int letter;       /* 't' as in -t; 0 = none */
    enum option_type type;
    size_t offset, size;   /* of the member */
    double lo, hi;         /* numbers: inclusive range; strings: bytes */
    const char *otherwise; /* the default, as it would be written in YAML */
    const char *choices;   /* "f16|q8_0" */
    const char *unit;      /* "tokens", "" */
    unsigned marks;        /* enum option_mark */
    const char *doc;       /* one sentence */
};

struct config;
struct option_set { /* a table and the struct that it describes */
    const struct option_row *row;
    int n;
    size_t size; /* of the struct */
    /* Checks that need more than one value; NULL = none. ERR_CONFIG. */
    int (*check)(const struct config *c, struct err *e);
    /* The name at place i of those that entries of the map r may have; NULL after the last one.
     * NULL = the table has no maps. */
    const char *(*name)(const struct option_row *r, int i);
};

#define OPTION_MEMBER(ctype, member, ...) ctype member;
#define OPTION_ROW(object, ctype, member, type_, key_, flag_, letter_, arg_, lo_, hi_, otherwise_, \
                   choices_, unit_, marks_, doc_)                                                  \
    {.key = key_,                                                                                  \
     .flag = flag_,                                                                                \
     .arg = arg_,                                                                                  \
     .letter = letter_,                                                                            \
     .type = OPTION_##type_,                                                                       \
     .offset = offsetof(object, member),                                                           \
     .size = sizeof(((object *)0)->member),                                                        \
     .lo = lo_,                                                                                    \
     .hi = hi_,                                                                                    \
     .otherwise = otherwise_,                                                                      \
     .choices = choices_,                                                                          \
     .unit = unit_,                                                                                \
     .marks = marks_,                                                                              \
     .doc = doc_},

#define OPTION_DISPLAY 80 /* bytes of an offending value that a message shows */

/* A value as it was written: one item, or several in a list. Borrowed. */
struct option_value {
    const char *const *item; /* (n) NUL-terminated */
    int n;
    bool is_list;       /* written as a list; otherwise n is 1 */
    bool quoted;        /* written in quotes: text, never a number or a switch */
    const char *name;   /* of a map's entry */
    const char *origin; /* where it was written */
};

bool option_is_map(const struct option_row *r);

/* Every member becomes its default. */
void option_defaults(const struct option_set *s, void *at);
/* A caller in C leaves members zero. Those whose range has no zero become their default. */
void option_fill(const struct option_set *s, void *at);
/* Reads v into the member of the struct at `at`. name: how messages call the option. keep: gets a
 * copy of each string; NULL = they outlive the struct. The error (ERR_CONFIG, ERR_NOMEM) names
 * option, value and rule; the member keeps its old value then. */
int option_set(const struct option_row *r, const char *name, const struct option_value *v, void *at,
               struct arena *keep, struct err *e);
/* Holds every member to its row: what a caller in C gave meets the same rule as text. ERR_USAGE. */
int option_check(const struct option_set *s, const void *at, struct err *e);

/* What the option takes: "a whole number from 1 to 28 (specialties)". */
void option_rule(const struct option_row *r, struct str *out);
/* The line of --help: meaning, choices, default. */
void option_help(const struct option_row *r, struct str *out);
/* The value as JSON; but for sizes it is YAML as well. No maps. */
void option_json(const struct option_row *r, const void *at, struct str *out);
/* The value as text: "0.3", "f16", "[a, b]". No maps. */
void option_text(const struct option_row *r, const void *at, struct str *out);

/* The row whose flag or letter it is; NULL if there is none. */
const struct option_row *option_of_flag(const struct option_set *s, const char *flag);

#endif
