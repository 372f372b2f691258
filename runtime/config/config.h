/*
 * config: the settings of a command, read from YAML files and from --set. A configuration is a set
 * of option tables (option.h), each with the struct that it describes. Every room registers its
 * own table: this one knows no engine and no strategy by name. libyaml lives in config.c only.
 *
 * Files are untrusted: size, depth and node counts are bounded, aliases/anchors/tags/duplicate keys
 * are errors, an unknown key is an error with its line and the nearest known key.
 */
#ifndef MAS_CONFIG_H
#define MAS_CONFIG_H

#include "option.h"

#define CONFIG_SETS_MAX 16

struct config {
    const struct option_set *set[CONFIG_SETS_MAX];
    size_t offset[CONFIG_SETS_MAX]; /* of the struct of each table in values */
    int n;
    void *values; /* (bytes) the structs, one after the other */
    size_t bytes;
    struct arena words; /* what strings, lists and maps point to */
};

/* The defaults of the tables, in the order in which they are printed. */
int config_init(struct config *c, const struct option_set *const *sets, int n, struct err *e);
void config_free(struct config *c); /* accepts a zeroed one */
/* The struct of that table, which c must have. */
const void *config_of(const struct config *c, const struct option_set *set);

/* Reads a file over the present values; `_base: other.yaml` (relative to the file) is read first,
 * at most 8 deep, a cycle is an error. A name without '/' and '.' that is no file here means the
 * built-in configs/NAME.yaml. On failure c is as it was. ERR_NOINPUT, ERR_CONFIG "file:line:
 * ...". */
int config_load(struct config *c, const char *path, struct err *e);
/* "key=value", as given to --set. */
int config_set(struct config *c, const char *assignment, struct err *e);
/* Checks that need more than one value, each table's own. Call it when files and --set have been
 * read. */
int config_check(const struct config *c, struct err *e);

/* The row of a key; for "map.name" the row of the map. *at: its struct, if not NULL. NULL: none. */
const struct option_row *config_find(const struct config *c, const char *key, const void **at);
/* "kv": keys "kv.*" exist, or a map of that name. */
bool config_is_group(const struct config *c, const char *key);
/* Appends "'temperature'", or "'top_p' or 'top_k'" when several known keys or groups are equally
 * near; nothing when none is near. */
void config_nearest(const struct config *c, const char *key, struct str *out);

/* The whole number of that key, which must exist. */
int64_t config_int(const struct config *c, const char *key);
/* The value of one key as text ("0.3", "f16", "[a, b]"); the key must exist. */
void config_value(const struct config *c, const char *key, struct str *out);
/* Every option as a JSON object {"key": value, ..} in the order of the tables. A map writes
 * "map.name" for each entry that is set. */
void config_json(const struct config *c, bool only_results, struct str *out);
/* Every option with its default as a commented YAML file: the reference for users. */
void config_reference(const struct config *c, struct str *out);

/* A YAML document that is no configuration (the catalogue of specialties) as JSON text appended to
 * json: mappings, sequences, and every scalar as a string. The bounds and refusals of config files
 * hold; ERR_CONFIG "name:line: ...", ERR_NOMEM. */
int config_yaml_to_json(const char *text, size_t n, const char *name, struct str *json,
                        struct err *e);

#endif
