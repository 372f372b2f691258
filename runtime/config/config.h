/*
 * config: the settings of a command, read from YAML files and from --set.
 *
 * A configuration is a set of option tables (option.h), each with the struct that it describes.
 * Every room registers its own table: config knows no engine and no strategy by name. libyaml is
 * used in config.c only.
 *
 * Files are untrusted. Size, depth and node counts are bounded. Aliases, anchors, tags and
 * duplicate keys are errors. An unknown key is an error with its line and the nearest known key.
 */
#ifndef MAS_CONFIG_H
#define MAS_CONFIG_H

#include "option.h"

#define CONFIG_SETS_MAX 16

struct config {
    const struct option_set *set[CONFIG_SETS_MAX];
    size_t offset[CONFIG_SETS_MAX]; /* of the struct of each table in values */
    int n;
    void *values; /* (bytes) the structs of the tables, in order */
    size_t bytes;
    struct arena words;         /* texts of strings, lists and maps */
    const char *group;          /* see config_entry; NULL = there is no such group */
    struct config_entry *entry; /* (n_entry), in the order of reading */
    size_t n_entry, cap_entry;
};

/* A key of a group that no table describes, as its text. The owner of the configuration sets
 * `group` after config_init. Keys below that group may be nested CONFIG_DEPTH deep. */
#define CONFIG_DEPTH 4
struct config_entry {
    const char *key;         /* without the group: "factors.planner.top_k" */
    const char *const *item; /* (n) */
    int n;
    bool is_list;
    bool replaced;      /* a later entry has the same key */
    const char *origin; /* its place: "file.yaml:12" or "--set" */
};

/* Sets the defaults of the tables, which are in the order of printing. */
int config_init(struct config *c, const struct option_set *const *sets, int n, struct err *e);
void config_free(struct config *c); /* accepts a zeroed one */
/* A configuration with the values of `from`, which must outlive it. It has no group. ERR_NOMEM. */
int config_copy(const struct config *from, struct config *out, struct err *e);
/* The struct of a table; c must have that table. */
const void *config_of(const struct config *c, const struct option_set *set);

/* Reads a file over the present values. `_base: other.yaml` (relative to the file) is read first,
 * at most 8 deep; a cycle is an error. A name without '/' and '.' means the built-in
 * configs/NAME.yaml, unless a file has that name. c is unchanged on failure. ERR_NOINPUT,
 * ERR_CONFIG "file:line: ...". */
int config_load(struct config *c, const char *path, struct err *e);
/* Sets one option from "key=value", the form of --set. */
int config_set(struct config *c, const char *assignment, struct err *e);
/* Sets one option from its text. origin: the place of the text, for messages. */
int config_assign(struct config *c, const char *key, const char *value, const char *origin,
                  struct err *e);
/* Runs each table's checks of several values. Call it after files and --set are read. */
int config_check(const struct config *c, struct err *e);

/* The row of a key; for "map.name" the row of the map. *at: its struct, if not NULL. NULL: none. */
const struct option_row *config_find(const struct config *c, const char *key, const void **at);
/* True for "kv" when keys "kv.*" or a map of that name exist. */
bool config_is_group(const struct config *c, const char *key);
/* Appends the nearest known key or group, or several at equal distance: "'temperature'", "'top_p'
 * or 'top_k'". Appends nothing when none is near. */
void config_nearest(const struct config *c, const char *key, struct str *out);

/* The value of a key that takes one whole number; the key must exist. Allocates nothing. */
int64_t config_int(const struct config *c, const char *key);
/* The value of one key as text ("0.3", "f16", "[a, b]"); the key must exist. */
void config_value(const struct config *c, const char *key, struct str *out);
/* Every option as a JSON object {"key": value, ..} in the order of the tables. A map writes
 * "map.name" for each entry that is set. */
void config_json(const struct config *c, bool only_results, struct str *out);
/* Appends the defaults of all options in the same form. ERR_NOMEM. */
int config_json_defaults(const struct config *c, struct str *out, struct err *e);
/* Every option with its default as a commented YAML file: the reference for users. */
void config_reference(const struct config *c, struct str *out);

/* Appends a YAML document that is no configuration (the catalogue of specialties) to json as JSON
 * text: mappings, sequences, and every scalar as a string. It has the bounds and refusals of config
 * files. ERR_CONFIG "name:line: ...", ERR_NOMEM. */
int config_yaml_to_json(const char *text, size_t n, const char *name, struct str *json,
                        struct err *e);

#endif
