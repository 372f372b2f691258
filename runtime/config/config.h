/*
 * config: every knob of the program as one row of a table (name, type, range, default, unit, doc).
 * YAML files, --set, --help, the trace header and the docs all come from that table. libyaml lives
 * in config.c only.
 *
 * Files are untrusted: size, depth and node counts are bounded, aliases/anchors/tags/duplicate keys
 * are errors, an unknown key is an error with its line and the nearest known key.
 */
#ifndef MAS_CONFIG_H
#define MAS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

enum config_type {
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_FLOAT,
    CONFIG_BYTES,
    CONFIG_STRING,
    CONFIG_ENUM,
    CONFIG_LIST
};

#define CONFIG_LIST_MAX 32

/* Field names follow the dotted YAML keys. Strings are owned by the config. */
struct config {
    char *model;     /* path or "demo" */
    char *provider;  /* "local" */
    char *backend;   /* auto | ref | cpu | cuda | cudahost */
    char *isa;       /* CPU: auto | scalar | avx2 | avxvnni | avx512vnni | neon */
    int64_t threads; /* 0 = all */
    int64_t seed;
    double temperature, top_p, min_p;
    int64_t top_k;
    struct {
        double planner, specialist, aggregator;
    } agent_temperatures; /* < 0 = temperature */
    int64_t max_output_tokens;
    /* 0 = max_output_tokens */
    struct {
        int64_t planner, specialist, aggregator, cot;
    } role_tokens;
    int64_t max_context_length;
    char *strategy;    /* panel | direct | cot | .. (strategies.def) */
    char *prompts_dir; /* "" = the ones built in */
    char *specialties; /* path of the catalogue, "" = built in */
    struct {
        int64_t top_k;
        char *selection; /* compact | full | logit | all | random | fixed */
        char *fixed[CONFIG_LIST_MAX];
        int n_fixed;
    } planner;
    struct {
        double timeout_seconds;
        int64_t max_tokens_per_case;
    } budgets; /* 0 = none */
    /* bytes 0 = from sequences x context */
    struct {
        char *type;
        int64_t page_tokens;
        uint64_t bytes;
        char *swap;
    } kv;
    struct {
        uint64_t vram, ram, link_limit;
        char *mode;
        int64_t cpu_layers;
        bool map_weights;
    } placement;
    struct {
        int64_t sequences, batch_tokens;
        bool prefix_cache;
    } engine; /* sequences 0 = auto */
    struct {
        char *draft_model;
        bool lookup;
        int64_t max_draft, max_branches;
    } speculative;
    struct {
        char *traces_dir;
        char *level;
    } logging;
    double price_kwh; /* USD, for cost per question */
};

struct config_knob { /* one row; offset and size address the field in struct config */
    const char *key; /* "planner.top_k" */
    enum config_type type;
    size_t offset;
    size_t count_offset; /* CONFIG_LIST: the int that counts the items */
    double lo, hi;       /* numbers: inclusive range; strings: length */
    const char *dflt;    /* as it would be written in YAML; NULL = required */
    const char *choices; /* CONFIG_ENUM: "f16|q8_0" */
    const char *unit;    /* "tokens", "" */
    const char *doc;     /* one sentence */
    /* part of what a resumed evaluation must have unchanged; backend and placement are not: a run's
     * identity has what they came to */
    bool affects_result;
};

const struct config_knob *config_knobs(size_t *n);

int config_init(struct config *c, struct err *e); /* the defaults */
void config_free(struct config *c);
/* Reads a file over the present values; `_base: other.yaml` (relative to the file) is read first,
 * at most 8 deep, a cycle is an error. A name without '/' and '.' that is no file here means the
 * built-in configs/NAME.yaml. On failure c is as it was. ERR_NOINPUT, ERR_CONFIG "file:line:
 * ...". */
int config_load(struct config *c, const char *path, struct err *e);
/* "key=value", as given to --set. */
int config_set(struct config *c, const char *assignment, struct err *e);
/* Checks that need more than one value (a reply must leave room for the prompt, ..). Call it when
 * files and --set have been read. */
int config_check(const struct config *c, struct err *e);
/* The value of one knob as text ("0.3", "f16", "[a, b]"). */
void config_value(const struct config *c, const struct config_knob *k, struct str *out);
/* Every knob as a JSON object {"key": value, ..} in table order. */
void config_json(const struct config *c, bool only_result_knobs, struct str *out);
/* Every knob as a commented YAML file: the reference for users. */
void config_reference(struct str *out);
/* A YAML document that is no configuration (the catalogue of specialties) as JSON text appended to
 * json: mappings, sequences, and every scalar as a string. The bounds and refusals of config files
 * hold; ERR_CONFIG "name:line: ...", ERR_NOMEM. */
int config_yaml_to_json(const char *text, size_t n, const char *name, struct str *json,
                        struct err *e);

#endif
