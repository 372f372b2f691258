/*
 * option: a setting of the program, as one row of a table. The row has the setting's key in a
 * configuration, its flag on the command line, its type, range, default, unit and meaning. The
 * member of
 * the C struct, the checks, the messages, --help and the reference file come from the row.
 *
 * A table is written once, as lines X(columns..) of a .def file or of a list macro:
 *
 *     X(ctype, member, TYPE, key, flag, letter, arg, lo, hi, default, choices, unit, marks, doc)
 *
 * OPTION_MEMBER turns the lines into a struct, OPTION_ROW into rows. Strings are borrowed: they
 * live as long as the arena passed to option_set.
 */
#ifndef MAS_OPTION_H
#define MAS_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "mem.h"
#include "str.h"

enum option_type {                     /* C type of the member */
                   OPTION_BOOL,        /* bool */
                   OPTION_NOT,         /* bool, true when the text says false: no_prefix_cache */
                   OPTION_INT,         /* int or int64_t */
                   OPTION_POWER,       /* int, a power of two */
                   OPTION_AUTO,        /* struct option_auto, not set when the text is -1 */
                   OPTION_FLOAT,       /* double */
                   OPTION_BYTES,       /* uint64_t */
                   OPTION_RATE,        /* double, bytes/s; 0 = no limit */
                   OPTION_STRING,      /* const char * */
                   OPTION_WORD,        /* const char *, one of the choices */
                   OPTION_ENUM,        /* an enum whose values are the indices of the choices */
                   OPTION_FORMAT,      /* enum fmt, one of the choices */
                   OPTION_LIST,        /* struct option_list */
                   OPTION_MAP_OF_INT,  /* struct option_map, whole numbers */
                   OPTION_MAP_OF_FLOAT /* struct option_map */
};

enum option_mark {
    /* A resumed evaluation must have the same value. Backend and placement lack the mark: the
     * identity of a run has the chosen ones. */
    OPTION_RESULT = 1,
    /* Values beyond the choices exist, for simulations; the code that uses the value checks it. */
    OPTION_OPEN = 2,
    /* A client of the server may set it for its own case or evaluation. */
    OPTION_CLIENT = 4
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

/* name -> number, such as role_tokens.NAME. Any name is accepted; the owner of the table checks
 * it. */
#define OPTION_MAP_MAX 32
struct option_map {
    struct option_map_item {
        const char *name;
        double value;
        const char *origin; /* its place: "file.yaml:12" or "--set" */
    } item[OPTION_MAP_MAX];
    int n;
};
/* The value of that name, or `otherwise` when it is not set. */
double option_map_get(const struct option_map *m, const char *name, double otherwise);

struct option_row {
    const char *key;  /* "kv.page_tokens" */
    const char *flag; /* "page-tokens"; NULL = none */
    const char *arg;  /* placeholder of the flag's value in --help, "N"; NULL = no value */
    int letter;       /* 't' as in -t; 0 = none */
    enum option_type type;
    size_t offset, size;   /* of the member */
    double lo, hi;         /* numbers: inclusive range; strings: bytes */
    const char *otherwise; /* the default, as YAML text */
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

/* A value in the form of its text: one item, or several in a list. Borrowed. */
struct option_value {
    const char *const *item; /* (n) NUL-terminated */
    int n;
    bool is_list;       /* written as a list; otherwise n is 1 */
    bool quoted;        /* written in quotes: text, never a number or a switch */
    const char *name;   /* of a map's entry */
    const char *origin; /* its place: "file.yaml:12" or "--set" */
};

bool option_is_map(const struct option_row *r);

/* Returns the choice with index i of "a|b|c"; it has *n bytes. *n is 0 after the last one. */
const char *option_choice(const char *choices, int i, size_t *n);

/* Sets every member to its default. */
void option_defaults(const struct option_set *s, void *at);
/* Sets the zero members of a caller in C to their defaults, if their range has no zero. */
void option_fill(const struct option_set *s, void *at);
/* Reads v into the member of the struct at `at`. name: name of the option in messages. keep: gets a
 * copy of each string; NULL = the strings outlive the struct. On an error (ERR_CONFIG, ERR_NOMEM)
 * the member keeps its value; the message names option, value and rule. */
int option_set(const struct option_row *r, const char *name, const struct option_value *v, void *at,
               struct arena *keep, struct err *e);
/* Checks every member against its row, as text is checked: for a caller in C. ERR_USAGE. */
int option_check(const struct option_set *s, const void *at, struct err *e);

/* Appends the rule of the option: "a whole number from 1 to 28 (specialties)". */
void option_rule(const struct option_row *r, struct str *out);
/* Appends the line of --help: meaning, choices, default. */
void option_help(const struct option_row *r, struct str *out);
/* Appends the value as JSON, which is also YAML except for sizes. No maps. */
void option_json(const struct option_row *r, const void *at, struct str *out);
/* Appends the value as text: "0.3", "f16", "[a, b]". No maps. */
void option_text(const struct option_row *r, const void *at, struct str *out);

/* The row with this flag or letter; NULL if there is none. */
const struct option_row *option_of_flag(const struct option_set *s, const char *flag);

#endif
