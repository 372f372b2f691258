/*
 * mas_trial: a random command of mas. Held settings change its result, free settings must not.
 *
 * A trial is plain data. The plain command has the held settings and the plain value of each free
 * setting.
 */
#ifndef MAS_MAS_TRIAL_H
#define MAS_MAS_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "differ.h"

#define TRIAL_SETTINGS 32
#define TRIAL_VALUE 600
#define TRIAL_LIVES 3
#define TRIAL_SHARDS 4
#define TRIAL_ARGS 128

enum trial_command { TRIAL_EVAL, TRIAL_GENERATE, TRIAL_PERPLEXITY };

/*
 * "kv.type" is given as --set kv.type=VALUE, "--isa=" as --isa=VALUE, "--lookup" as written. An
 * empty value means: not given.
 */
struct trial_setting {
    const char *name;
    const char *plain; /* of a free setting: its value in the plain command */
    char value[TRIAL_VALUE];
};

struct trial_settings {
    int n;
    struct trial_setting s[TRIAL_SETTINGS];
};

/* The command is stopped while it runs, and continued under other free settings. */
struct trial_life {
    int shard; /* of n_shard, the one that is stopped; 1 if there are none */
    struct trial_settings free;
    double share; /* time of the stop, as a share of the plain command's time */
    int signal;
};

struct mas_trial {
    uint64_t seed;
    enum trial_command command;
    struct trial_settings held, free;
    /* 0 = one command; otherwise n_shard commands `eval --shard`, which start together, and a merge
     * of their results. */
    int n_shard;
    int n_life;
    struct trial_life life[TRIAL_LIVES];
};

struct trial_model {
    const char *name, *path; /* path: for --model and model */
    uint64_t kv_elems;       /* of one token in the KV cache */
    int head_dim;
    bool chats;      /* the toy models */
    char draft[300]; /* a noisy copy, "" = none */
};

/* Facts of this machine and build. */
struct mas_place {
    const char *mas, *source, *dir; /* the program, the root of the tree, a scratch folder */
    char isas[200], fast_isas[200]; /* "auto|scalar|.."; those fast enough for larger models */
    bool has_cudahost;
    int n_model;
    struct trial_model model[8]; /* the first two are the toy models */
    struct trial_model thinks;   /* the second one, with the control tokens of Qwen3 */
    char thinks_path[300];
    char words[300]; /* paraphrases of most questions of both data files */
};

/* Reads the facts of the machine; makes draft models, schema files and paraphrases in dir. */
void mas_place_init(struct mas_place *p, const char *mas, const char *source, const char *dir);

/* Held and free settings have streams of draws of their own: many variants share one plain
 * command. */
void trial_draw_held(struct mas_trial *t, const struct mas_place *p, uint64_t seed);
void trial_draw_free(struct mas_trial *t, const struct mas_place *p, uint64_t seed);

bool trial_thinks(const struct mas_trial *t); /* its model may think before it replies */

/* Drops a part; the number of parts is the same for every trial. */
enum { TRIAL_PARTS = 2 + TRIAL_LIVES + 2 * TRIAL_SETTINGS };
bool trial_drop(void *trial, int part);

/*
 * The arguments of the command after the program's name, NULL-terminated; text holds them. free
 * NULL: the plain command. shard: number of the shard, 0 = none. dir: the folder of an eval run;
 * for other commands, the folder of their files.
 */
void trial_argv(const struct mas_trial *t, const struct trial_settings *free, int shard,
                const struct mas_place *p, const char *dir, char *argv[TRIAL_ARGS], char *text,
                size_t size);
/* The command that merges the shards in dir. */
void trial_merge_argv(const struct mas_place *p, const char *dir, char *argv[TRIAL_ARGS],
                      char *text, size_t size);
/* The held settings as one text: two trials that share a plain command have equal texts. */
void trial_key(const struct mas_trial *t, char *key, size_t size);

#endif
