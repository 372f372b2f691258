/*
 * differ: shared by both differential tests: dice, watched child processes, and the search for the
 * smallest trial that still fails.
 *
 * A trial runs in a child process. A crash or a hang ends the child, not the test. A child that
 * exceeds its limit is a failure: the watch writes the backtraces of its threads and kills it. The
 * limit counts CPU time, because other programs may occupy the processor. A child that waits for
 * ever is killed after WALL_SECONDS plus WALL_SLOWER times its limit.
 */
#ifndef MAS_DIFFER_H
#define MAS_DIFFER_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- dice: a counted stream of draws, a function of the seed alone ---- */

struct dice {
    uint64_t seed, n;
};
int dice_int(struct dice *d, int lo, int hi); /* lo..hi, both included */
bool dice_chance(struct dice *d, int percent);
uint64_t dice_u64(struct dice *d);
/* One of the words in "a|b|c", copied to out; a word may be empty and may occur twice. */
void dice_word(struct dice *d, const char *words, char *out, size_t size);
#define dice_pick(d, ...)                                                                          \
    ((const int[]){__VA_ARGS__}[dice_int(                                                          \
        (d), 0, (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)) - 1)])

/* ---- children ---- */

struct child {
    pid_t pid;
    const char *log; /* file for its standard error, and for the backtraces after a hang */
    bool handlers;   /* the child has called child_traces */
    bool ended;      /* status is known */
    bool hung;       /* killed by the watch */
    int status;      /* exit status, or 128 + the signal that ended it */
    double seconds, started;
    double cpu; /* s */
};

double now_seconds(void); /* since an arbitrary start */

/* Forks a child that runs body(user); the result is the exit status. Both streams go to the log. */
void child_fork(struct child *c, const char *log, int (*body)(void *user), void *user);
/* Runs program argv[0] in folder dir; its standard output goes to `out`. */
void child_exec(struct child *c, const char *dir, const char *out, const char *log,
                char *const argv[]);
#define WALL_SECONDS 20
#define WALL_SLOWER 4
/* Waits until the child ends or has used *limit CPU seconds. The limit may lie in shared memory and
 * change during the wait. */
void child_wait(struct child *c, const volatile double *limit);
/* Waits at most this number of seconds, then sends the signal. False: the child ended before. */
bool child_signal_after(struct child *c, double seconds, int signal);
/* In a forked child: SIGUSR1 and fatal signals print the backtrace of the thread that gets them. */
void child_traces(void);
/* From now on gdb is not used, as on a machine without it. For the tests of the watch. */
void child_without_gdb(void);

/* ---- the smallest trial ---- */

struct shrink {
    void *trial; /* plain data: copied with memcpy */
    size_t size;
    int n_part;
    /* Removes a part of the trial, or sets it to its plain value. False: there is nothing to
     * remove. */
    bool (*drop)(void *trial, int part);
    bool (*fails)(const void *trial, void *user);
    void *user;
    double seconds; /* after this time no new try starts */
    int tries;      /* out */
};
/* Drops one part after another while the trial still fails, until no part can be dropped. */
void shrink_run(struct shrink *s);

/* ---- the command line ---- */

struct differ_options {
    uint64_t seed; /* of the first trial */
    long count;    /* trials; without --count or --minutes 1 */
    double minutes, shrink_seconds;
    bool keep_going; /* after a failure */
};

/* Reads the options of both programs; own: those of one program, ended by a row of zeros, whose
 * values go to take(key, value, user). An unknown option ends the program with status 64. */
void differ_options_read(int argc, char **argv, const struct option *own,
                         void (*take)(int key, char *value, void *user), void *user,
                         struct differ_options *out);

/* ---- files ---- */

char *differ_read(const char *path); /* the text, or an empty one; free() */
/* Writes a copy of a model with noise of this relative size in its F32 tensors: a draft model whose
 * drafts are mostly right. */
void differ_noisy_copy(const char *model, const char *path, double noise);

#endif
