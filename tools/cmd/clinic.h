/*
 * clinic: the shared parts of run, plan and eval. These are common options, opening a strategy's
 * surroundings, the signals that stop a run, the folder of a run, text wrapped for a terminal.
 */
#ifndef MAS_CLINIC_H
#define MAS_CLINIC_H

#include <argp.h>
#include <stdatomic.h>
#include <stdio.h>

#include "config.h"
#include "energy.h"
#include "medqa.h"
#include "ranges.h"
#include "recording.h"
#include "run.h"
#include "strategy.h"

#define CLINIC_SETS 192  /* --set, or every setting of a recorded run */
#define CLINIC_ENGINE 64 /* rows of the engine's table */

struct clinic_options { /* input of clinic_argp */
    const char *config;
    const char *model;            /* NULL = the configuration's */
    const char *set[CLINIC_SETS]; /* "key=value" */
    int n_set;
    const char *strategy; /* NULL = the configuration's */
    const char *seed;     /* NULL likewise */
    /* by row of engine_option_set: the text of its flag, "" of a switch; NULL likewise */
    const char *engine[CLINIC_ENGINE];
    const char *prompt_form; /* NULL likewise */
    const char *data_format; /* NULL likewise */
    bool quiet;
    const char *node_copy; /* folder of this host that the model is copied to; NULL = none */
    const char *timeline;  /* path of a Trace Event file; NULL = none */
    char **word;           /* the command line */
    int n_word;
    struct ranges ranges;
    /* many cases at once: engine.sequences 0 means as many as make a batch fast, not those of one
     * case */
    bool many;
    /* without -c: takes the built-in demo configuration and says so (one case; never an
     * evaluation) */
    bool or_demo;
    bool experiment; /* the configuration may hold an experiment (grid.h) */
};
/* -c, --set, -s/--strategy, --seed, --prompt-form, --quiet, --timeline, those of ranges.h, and
 * every flag of the engine's table, which sets its key: child parser. */
extern const struct argp clinic_argp;
/* The flag of the engine's table that was given, from row *at on, and its key; *at moves after it.
 * NULL = no more. The model's flag is left out. */
const char *clinic_flag(const struct clinic_options *o, int *at, const char **key);

struct clinic {
    struct config config;
    struct catalog catalog;
    struct llm *llm;
    bool lent; /* the llm is the caller's */
    struct strategy_env env;
    struct recording recording;
    struct energy energy; /* of the llm's device */
    struct ranges ranges;
};

/* The one case of run and plan, by its text or its file ("-" = standard input). Byte order marks
 * and line ends do not change it. UTF-16 and NUL bytes are refused. */
int clinic_case(const char *text, const char *file, const char *options, struct medqa *out,
                struct err *e);

/* Reads and checks all settings before the model is loaded. hash: also hash the model file (slow).
 * shuffle, plan_only: as in strategy_env. plan_only takes the first strategy that makes a plan when
 * the configuration's own makes none and the command line names none. */
int clinic_open(const struct clinic_options *o, bool hash, bool shuffle, bool plan_only,
                struct clinic *out, struct err *e);
/* Reads and checks the configuration that the options name. */
int clinic_config(const struct clinic_options *o, struct config *out, struct err *e);
/* Opens the llm of a configuration, with the hash of its model. */
int clinic_llm(const struct clinic_options *o, const struct config *config, struct llm **out,
               struct err *e);
/* As clinic_open, for one of several runs on an llm, which stays the caller's. */
int clinic_open_on(const struct config *config, struct llm *llm, bool shuffle, struct clinic *out,
                   struct err *e);
/* Appends the path of the questions: those of the command line (NULL: none), or else of the
 * configuration. A name of the list (sources.h) becomes its file. Without any appends nothing. */
int clinic_data(const struct clinic_options *o, const char *given, struct str *path, struct err *e);
/* After a run that returned rc: writes the timeline, if one is wanted. Returns rc, or the error of
 * the timeline when rc is 0. Prints that error when rc is another one. */
int clinic_ran(const struct clinic_options *o, struct clinic *c, int rc, struct err *e);
/* The key of the provider's server, from the environment's variable that the configuration names;
 * NULL = none. ERR_CONFIG when the variable is not set. */
int clinic_key(const struct config *c, const char **key, struct err *e);
void clinic_close(struct clinic *c); /* accepts a zeroed one */

/* ERR_USAGE when the timeline exists and the folder of the run has finished questions. The rest of
 * the run would replace the timeline of its beginning. dir NULL: a new folder. */
int clinic_timeline_apart(const struct clinic_options *o, const char *dir, struct err *e);

/* Appends the command line for a shell, without these n options and their values. */
void clinic_words(const struct clinic_options *o, const char *const *without, size_t n,
                  struct str *out);

/* Opens the trace of a run. dir NULL: a new folder traces_dir/NAME-DATE-TIME, whose name goes to
 * out_dir (1,024 bytes). Prints the trace's notes. */
struct clinic_trace {
    const char *dir, *name;
    const char *data_path;
    const struct medqa *data;
    size_t asked;                  /* its first records; 0 = all */
    const struct str *paraphrases; /* as in struct runfolder */
    bool fresh, repair, retry_failed;
    struct lease *lease; /* as in trace_options */
};
int clinic_trace(struct clinic *c, const struct clinic_trace *o, char *out_dir, struct trace **out,
                 struct err *e);

/* SIGINT, SIGTERM, SIGHUP: the first signal makes the returned flag non-zero. The second ends the
 * process at once (exit code 75; the trace is safe). */
const atomic_int *clinic_signals(void);

/* Prints n bytes of text on one line: control characters and invalid bytes become '?'. */
void clinic_clean(FILE *f, const char *s, size_t n);
int clinic_width(FILE *f); /* columns of the terminal, 40 to 200; 80 if f is no terminal */
/* Prints text wrapped at width, the first line after `head`, the others indented by its length.
 * Control characters become '?', so that a model's text cannot draw on the terminal. */
void clinic_wrap(FILE *f, int width, const char *head, const char *text);
void clinic_wrapf(FILE *f, int width, const char *head, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Prints the error in the terms of a configuration (advice.h) and returns its exit code. */
int clinic_fail(struct err *e);

/* Prints the warning of every command that prints a decision, once, on standard error. */
void clinic_notice(void);

#endif
