/*
 * cli: the shared parts of the subcommands that open an engine: its options, text arguments,
 * running one request, the progress bar of loading.
 */
#ifndef MAS_CLI_H
#define MAS_CLI_H

#include <argp.h>

#include "engine.h"
#include "ranges.h"

/* A row of a table in a command, by the name of its flag. The rest says how the command's option
 * differs from the row. */
struct cli_row {
    const char *flag;
    const char *doc;       /* one sentence, as in the table; NULL = the row's */
    const char *otherwise; /* the default; NULL = the row's, "" = the caller sets one */
    const char *choices;   /* those of the row's choices that the command takes; NULL = all */
    int letter;            /* 'd' as in -d; 0 = the row's */
    int group;             /* of --help; 0 = the group of the other rows */
    bool absent;           /* the command has no such option */
};

#define CLI_ROWS_MAX 40
#define CLI_DOC_MAX 320

/* Options that are rows of a table, as a child parser. The parser's input is the structure. */
struct cli_rows {
    struct argp argp;
    const struct option_set *set;
    void *at; /* the struct that the table describes */
    int n;
    const struct option_row *row[CLI_ROWS_MAX];
    const char *choices[CLI_ROWS_MAX];           /* of each row in this command */
    struct argp_option option[CLI_ROWS_MAX + 2]; /* room for one more */
    char doc[CLI_ROWS_MAX][CLI_DOC_MAX];
};
/* The rows that are named, in that order. *at gets every default of the table; a switch is off. */
void cli_rows_some(struct cli_rows *r, const struct option_set *set, const struct cli_row *some,
                   int n, void *at);
/* Every row with a flag; `own` names those that differ in this command. */
void cli_rows_all(struct cli_rows *r, const struct option_set *set, const struct cli_row *own,
                  int n, int group, void *at);

#define CLI_MODELS 16

/* The options of options.def, of ranges.h and --quiet, as a child parser; its input is the
 * structure. The structure stays at its place from cli_engine_init on. */
struct cli_engine {
    struct engine_options opt;
    bool quiet;                    /* no progress of loading */
    bool drafts;                   /* --max-draft was given */
    bool batched;                  /* --batch-tokens was given */
    const char *model[CLI_MODELS]; /* (n_model) each -m, in their order; opt.model is the last */
    bool said_threads; /* that --threads is more than the cores that this process may use */
    int n_model;
    bool several; /* the command takes more than one model; otherwise a second -m is refused */
    struct engine_options plain; /* every default of this command */
    struct ranges ranges;
    struct cli_rows rows;
    struct argp_child ranged[2];
};
/* Makes the parser rows.argp and the defaults of opt. The user must name the model. Call it before
 * cli_parse. */
void cli_engine_init(struct cli_engine *ce, const struct cli_row *own, int n);

/* The options of sampling.def. */
struct cli_sampling {
#define X(...) OPTION_MEMBER(__VA_ARGS__)
#include "sampling.def"
#undef X
};
extern const struct option_set cli_sampling_set;

/* One option of a table, for a command with help of its own. `flag`: the flag of its row. arg: NULL
 * for a switch. at: the table's struct. A bad value prints the message and returns EINVAL. */
error_t cli_option(struct argp_state *st, const struct option_set *set, const char *flag,
                   const char *arg, void *at);

/* Parses with ARGP_NO_EXIT. Returns -1 to go on, or the exit code to return at once (0 after
 * --help). */
int cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Option values. A bad one prints the message (value, range) and returns EINVAL for argp. */
error_t cli_int(struct argp_state *st, const char *name, const char *arg, int64_t lo, int64_t hi,
                int *out);
/* "1,2,8": at most `most` numbers to out. */
error_t cli_list(struct argp_state *st, const char *name, const char *arg, int lo, int hi, int most,
                 int *out, int *n);
error_t cli_float(struct argp_state *st, const char *name, const char *arg, double lo, double hi,
                  float *out);
/* The one argument without a flag. A second one prints "more than one NAME: .."; name: "file". */
error_t cli_one(struct argp_state *st, const char *name, const char *arg, const char **out);
/* bytes/s */
error_t cli_rate(struct argp_state *st, const char *name, const char *arg, double *out);
/* choices: "md|csv|json". *out = arg. */
error_t cli_word(struct argp_state *st, const char *name, const char *arg, const char *choices,
                 const char **out);

/* The text of -p TEXT or -f FILE ("-" = standard input), at most 64 MiB; exactly one must be
 * given. */
int cli_text(const char *text, const char *file, struct str *out, struct err *e);
/* As cli_text, for text that people write: removes a byte order mark, and lines end in LF. UTF-16
 * and NUL bytes are refused. */
int cli_clean_text(const char *text, const char *file, struct str *out, struct err *e);
/* As cli_text, for bytes taken unchanged. Only a text with a mark of UTF-16 or UTF-32 is
 * refused. */
int cli_bytes_text(const char *text, const char *file, struct str *out, struct err *e);
/* Its name in messages: "the text", the file's name or "standard input". */
const char *cli_text_name(const char *file);

/* Flushes standard output. ERR_IO when this or an earlier write failed. The caller must then stop,
 * because nobody sees the rest. */
int cli_flush(struct err *e);

/* Prints the places of the weights on standard error, if there are several. */
void cli_show_plan(const struct engine *en);
/* engine_options.progress: a line on stderr that is overwritten, and cleared at the end. */
void cli_show_loading(uint64_t done, uint64_t total, void *user);

/* Threads of the host that compute, for a backend and --threads (0 = every core); ref has one. */
int cli_threads(const char *backend, int asked);
/* Appends the options that differ from the command's defaults, as " --page-tokens 64
 * --map-weights". skip: flags that are left out, "model" among them, and NULL at the end. */
void cli_add_changed(const struct cli_engine *ce, const char *const *skip, struct str *out);

/* Opens with a progress bar on a terminal. The engine reports to ce->ranges. ERR_USAGE also for an
 * --isa that has no effect. */
int cli_engine_open(struct cli_engine *ce, struct engine **out, struct err *e);
/* Closes the engine (NULL = none was opened), then the ranges. */
void cli_engine_close(struct cli_engine *ce, struct engine *en);

/* A request and its waiting thread. The callbacks of r get r, which is the job's first member. */
struct cli_job {
    struct request r;
    void *user;
    void *waiter; /* cli_run's */
};

/* Submits and waits until the request is done (r.done is cli's). Returns the request's own
 * error. */
int cli_run(struct engine *en, struct cli_job *j, struct err *e);
/* Submits n requests at once, then waits for all. Returns the first error after all are done. If
 * one is refused, none runs. */
int cli_run_all(struct engine *en, struct cli_job *j, int n, struct err *e);
/* The same; while it waits it calls tick(user) four times a second. */
int cli_run_watched(struct engine *en, struct cli_job *j, int n, void (*tick)(void *user),
                    void *user, struct err *e);

#endif
