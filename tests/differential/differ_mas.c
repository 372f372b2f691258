/*
 * differ_mas: compares random commands of mas, in random settings that must not change the result,
 * with the plainest command.
 *
 *   differ_mas [--seed S] [--count N] [--variants V] [--minutes M] [--keep-going]
 *   differ_mas --seed S --variant I                                     repeats one pair
 *
 * Command i has seed S + i. V variants are compared with its plain run. MAS is the program and
 * MAS_SOURCE the root of the tree. A failing pair is reduced; the commands that show it are
 * printed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mas_essence.h"
#include "mas_trial.h"
#include "rng.h"
#include "test.h"

#define PLAIN_SECONDS 200 /* CPU time that a plain command may use */

enum verdict { SAME, REFUSED, DIFFERENT, HUNG, CRASHED };

struct outcome {
    int status;
    bool hung;
    double seconds, cpu;
    struct str essence;
};

struct mas_test {
    struct mas_place place;
    char dir[256], plain_dir[300], run_dir[300], out[300], log[300];
    char shard_log[TRIAL_SHARDS][300];
    char key[1 << 14]; /* of the plain outcome */
    struct outcome plain;
    bool have_plain;
    /* a variant may use patience + slower * (CPU seconds of the plain command) */
    double patience, slower;
    long plains, thinking, runs, lives, killed, failed, refused, merged;
    double shrink_seconds;
    enum verdict
        sought; /* by the search for a smaller trial, and whether the plain command ended well */
    bool sought_good;
    int sought_status;
};

static bool good_status(int status)
{
    return status == 0 || status == 1; /* 1: some questions failed */
}

static bool refused_status(int status)
{
    return status == 64 || status == 65 || status == 78;
}

/* Empties the folder of a run. */
static void empty(const char *dir)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf -- '%s' && mkdir '%s'", dir, dir);
    if (system(command) != 0) {
        fprintf(stderr, "cannot empty %s\n", dir);
        exit(70);
    }
}

static int take_essence(const struct mas_test *t, const struct mas_trial *trial, const char *dir,
                        struct str *out, struct err *e)
{
    char logits[400], run[400];
    snprintf(logits, sizeof logits, "%s/logits", dir);
    snprintf(run, sizeof run, "%s/run", dir);
    str_free(out);
    return trial->command == TRIAL_EVAL       ? essence_of_eval(run, out, e)
           : trial->command == TRIAL_GENERATE ? essence_of_generate(t->out, out, e)
                                              : essence_of_perplexity(t->out, logits, out, e);
}

static void start(struct mas_test *t, const struct mas_trial *trial,
                  const struct trial_settings *free, int shard, const char *dir, struct child *c)
{
    static char text[1 << 15];
    char *argv[TRIAL_ARGS], run[400];
    snprintf(run, sizeof run, "%s%s", dir, trial->command == TRIAL_EVAL ? "/run" : "");
    trial_argv(trial, free, shard, &t->place, run, argv, text, sizeof text);
    child_exec(c, t->place.source, t->out, shard ? t->shard_log[shard - 1] : t->log, argv);
}

static void finish(struct mas_test *t, const struct mas_trial *trial, const char *dir,
                   struct child *c, double limit, struct outcome *o)
{
    struct err e = {0};
    child_wait(c, &limit);
    o->status = c->status;
    o->hung = c->hung;
    o->seconds = c->seconds;
    o->cpu = c->cpu;
    str_free(&o->essence);
    if (!o->hung && good_status(o->status) && take_essence(t, trial, dir, &o->essence, &e) < 0) {
        printf("cannot read the results: %s\n", e.msg);
        o->status = 70;
    }
}

static double limit_of(const struct mas_test *t)
{
    return t->patience + t->slower * t->plain.cpu;
}

/* The outcome of the plain command; the previous outcome if the command is the same. */
static enum verdict run_plain(struct mas_test *t, const struct mas_trial *trial)
{
    char key[sizeof t->key];
    trial_key(trial, key, sizeof key);
    if (!t->have_plain || strcmp(key, t->key)) {
        struct child c;
        empty(t->plain_dir);
        start(t, trial, NULL, 0, t->plain_dir, &c);
        finish(t, trial, t->plain_dir, &c, PLAIN_SECONDS, &t->plain);
        memcpy(t->key, key, sizeof key);
        t->have_plain = true;
        t->plains++;
    }
    return t->plain.hung                     ? HUNG
           : refused_status(t->plain.status) ? REFUSED
           : good_status(t->plain.status)    ? SAME
                                             : CRASHED;
}

/* Stops and restarts the command, each time with other settings. A last run must finish the
 * rest. */
static enum verdict run_lives(struct mas_test *t, const struct mas_trial *trial)
{
    for (int i = 0; i < trial->n_life; i++) {
        struct child c;
        start(t, trial, &trial->life[i].free, trial->n_shard ? trial->life[i].shard : 0, t->run_dir,
              &c);
        t->killed +=
            child_signal_after(&c, trial->life[i].share * t->plain.seconds, trial->life[i].signal);
        t->lives++;
        double limit = limit_of(t);
        child_wait(&c, &limit);
        if (c.hung)
            return HUNG;
        if (!good_status(c.status) && c.status != 75 && c.status != 128 + trial->life[i].signal) {
            printf("life %d: exit status %d\n", i + 1, c.status);
            return CRASHED;
        }
    }
    return SAME;
}

static void print_end(const char *path)
{
    char *text = differ_read(path);
    size_t n = strlen(text);
    printf("%s%s", n > 6000 ? text + n - 6000 : text, n && text[n - 1] != '\n' ? "\n" : "");
    free(text);
}

/* Starts all shards together and waits for them. */
static enum verdict run_shards(struct mas_test *t, const struct mas_trial *trial)
{
    struct child c[TRIAL_SHARDS];
    enum verdict v = SAME;
    for (int i = 0; i < trial->n_shard; i++)
        start(t, trial, &trial->free, i + 1, t->run_dir, &c[i]);
    for (int i = 0; i < trial->n_shard; i++) {
        double limit = limit_of(t);
        child_wait(&c[i], &limit);
        if (!c[i].hung && good_status(c[i].status))
            continue;
        v = c[i].hung ? HUNG : CRASHED;
        printf("shard %d of %d: exit status %d\n", i + 1, trial->n_shard, c[i].status);
        print_end(t->shard_log[i]);
    }
    return v;
}

/* The last run: one command, or all shards and their merge. */
static void start_last(struct mas_test *t, const struct mas_trial *trial, struct child *c)
{
    static char text[1 << 12];
    char *argv[TRIAL_ARGS], run[400];
    if (!trial->n_shard) {
        start(t, trial, &trial->free, 0, t->run_dir, c);
        return;
    }
    snprintf(run, sizeof run, "%s/run", t->run_dir);
    trial_merge_argv(&t->place, run, argv, text, sizeof text);
    child_exec(c, t->place.source, t->out, t->log, argv);
    t->merged++;
}

static enum verdict run_trial(struct mas_test *t, const struct mas_trial *trial, struct outcome *o)
{
    enum verdict v = run_plain(t, trial);
    if (v != SAME)
        return v;
    empty(t->run_dir);
    if ((v = run_lives(t, trial)) != SAME || (v = run_shards(t, trial)) != SAME)
        return v;
    struct child c;
    start_last(t, trial, &c);
    finish(t, trial, t->run_dir, &c, limit_of(t), o);
    t->runs++;
    if (o->hung)
        return HUNG;
    if (o->status != t->plain.status)
        return CRASHED;
    return strcmp(o->essence.s, t->plain.essence.s) ? DIFFERENT : SAME;
}

static bool is_failure(enum verdict v)
{
    return v != SAME && v != REFUSED;
}

/* True for a failure of the same kind; a missing setting that another one needs does not count. */
static bool still_fails(const void *trial, void *user)
{
    struct mas_test *t = user;
    struct outcome o = {.essence = STR_INIT};
    bool is = run_trial(t, trial, &o) == t->sought &&
              good_status(t->plain.status) == t->sought_good &&
              (t->sought != CRASHED || o.status == t->sought_status);
    str_free(&o.essence);
    return is;
}

/* ---- reports ---- */

static void print_command(const struct mas_test *t, const struct mas_trial *trial,
                          const struct trial_settings *free, int shard, const char *label)
{
    static char text[1 << 15];
    char *argv[TRIAL_ARGS];
    trial_argv(trial, free, shard, &t->place, "DIR", argv, text, sizeof text);
    printf("  %s: mas", label);
    for (int i = 1; argv[i]; i++) {
        bool quote = strcspn(argv[i], " \"'{}[]()*$&|<>;") < strlen(argv[i]);
        printf(quote ? " '%s'" : " %s", argv[i]);
    }
    printf("\n");
}

static void print_trial(const struct mas_test *t, const struct mas_trial *trial, enum verdict v,
                        const struct outcome *o)
{
    static const char *const names[] = {"same result", "refused", "results differ", "no end",
                                        "exit status"};
    printf("%s", names[v]);
    if (v == CRASHED)
        printf(" %d, of the plain command %d", o->status, t->plain.status);
    printf("; plain %.1f s, here %.1f s\n", t->plain.seconds, o->seconds);
    print_command(t, trial, NULL, 0, "plain");
    for (int i = 0; i < trial->n_life; i++) {
        char label[80];
        snprintf(label, sizeof label, "signal %d after %.2f s", trial->life[i].signal,
                 trial->life[i].share * t->plain.seconds);
        print_command(t, trial, &trial->life[i].free, trial->n_shard ? trial->life[i].shard : 0,
                      label);
    }
    for (int i = !!trial->n_shard; i <= trial->n_shard; i++)
        print_command(t, trial, &trial->free, i, "here");
    if (trial->n_shard)
        printf("  then: mas merge --quiet DIR\n");
    if (v == DIFFERENT)
        essence_print_difference(t->plain.essence.s, o->essence.s);
    if (v == HUNG || v == CRASHED || v == REFUSED)
        print_end(t->log);
    fflush(stdout);
}

static void report(struct mas_test *t, const struct mas_trial *trial, int variant, enum verdict v,
                   struct outcome *o)
{
    static struct mas_trial small;
    printf("FAILED, seed %llu variant %d: ", (unsigned long long)trial->seed, variant);
    print_trial(t, trial, v, o);
    small = *trial;
    struct shrink s = {.trial = &small,
                       .size = sizeof small,
                       .n_part = TRIAL_PARTS,
                       .drop = trial_drop,
                       .fails = still_fails,
                       .user = t,
                       .seconds = t->shrink_seconds};
    long plains = t->plains, runs = t->runs, lives = t->lives, killed = t->killed,
         merged = t->merged;
    double patience = t->patience, slower = t->slower;
    t->patience = 3;
    t->slower = 8;
    t->sought = v;
    t->sought_good = good_status(t->plain.status);
    t->sought_status = o->status;
    shrink_run(&s);
    v = run_trial(t, &small, o);
    printf("smallest that still fails, after %d tries: ", s.tries);
    print_trial(t, &small, v, o);
    if (!is_failure(v))
        printf("it does not always fail; this time it passed\n");
    t->patience = patience;
    t->slower = slower;
    t->plains = plains, t->runs = runs, t->lives = lives, t->killed = killed;
    t->merged = merged;
    printf("the pair again: differ_mas --seed %llu --variant %d\n", (unsigned long long)trial->seed,
           variant);
    fflush(stdout);
}

/* ---- the test ---- */

/* Runs one variant; true when the caller may continue. */
static bool one_variant(struct mas_test *t, struct mas_trial *trial, int variant)
{
    struct outcome o = {.essence = STR_INIT};
    trial_draw_free(trial, &t->place, rng_mix(trial->seed) + (uint64_t)variant);
    enum verdict v = run_trial(t, trial, &o);
    if (v == REFUSED) {
        t->refused++;
        printf("seed %llu: ", (unsigned long long)trial->seed);
        print_trial(t, trial, v, &o);
    }
    if (is_failure(v)) {
        t->failed++;
        report(t, trial, variant, v, &o);
    }
    str_free(&o.essence);
    return !is_failure(v);
}

static bool enough(const struct mas_test *t)
{
    printf("%ld plain commands, %ld of them with thinking, %ld variants, %ld of them merged from "
           "shards, %ld failed, %ld refused; %ld times started and %ld times stopped before\n",
           t->plains, t->thinking, t->runs, t->merged, t->failed, t->refused, t->lives, t->killed);
    bool most = t->refused * 20 <= t->plains, met = t->runs < 50 || t->killed;
    if (!most)
        printf("FAILED: more than one plain command in twenty was refused: nothing was compared "
               "there\n");
    if (!met)
        printf("FAILED: no command was stopped while it ran\n");
    return most && met;
}

static void run_all(struct mas_test *t, const struct differ_options *o, int first, int variants)
{
    static struct mas_trial trial;
    double begin = now_seconds();
    for (long i = 0; i < o->count; i++) {
        trial_draw_held(&trial, &t->place, o->seed + (uint64_t)i);
        t->thinking += trial_thinks(&trial);
        for (int k = first; k < first + variants; k++) {
            if (now_seconds() - begin > o->minutes * 60)
                return;
            if (!one_variant(t, &trial, k) && !o->keep_going)
                return;
            if (t->plain.status && refused_status(t->plain.status))
                break;
        }
        if (o->minutes < 1e9 && i % 50 == 49) {
            printf("%.0f s: ", now_seconds() - begin);
            enough(t);
            fflush(stdout);
        }
    }
}

static const char *need_env(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "differ_mas: %s is not set; see tests/README.md\n", name);
        exit(64);
    }
    return value;
}

struct range { /* of the variants of a seed */
    int first, n;
};

static void take_option(int key, char *value, void *user)
{
    struct range *r = user;
    if (key == 'v')
        r->n = atoi(value);
    else
        r->first = atoi(value), r->n = 1;
}

int main(int argc, char **argv)
{
    static const struct option own[] = {{"variants", 1, 0, 'v'}, {"variant", 1, 0, 'i'}, {0}};
    struct differ_options o;
    struct range variants = {.n = 4};
    static struct mas_test t = {.patience = 15, .slower = 20, .plain = {.essence = STR_INIT}};
    differ_options_read(argc, argv, own, take_option, &variants, &o);
    t.shrink_seconds = o.shrink_seconds;
    char asan[1024];
    const char *set = getenv("ASAN_OPTIONS");
    snprintf(asan, sizeof asan, "%s%shandle_abort=1", set ? set : "",
             set && *set ? ":" : ""); /* see traces_by_signals */
    setenv("ASAN_OPTIONS", asan, 1);
    test_mkdir(t.dir);
    snprintf(t.plain_dir, sizeof t.plain_dir, "%s/plain", t.dir);
    snprintf(t.run_dir, sizeof t.run_dir, "%s/here", t.dir);
    snprintf(t.out, sizeof t.out, "%s/out", t.dir);
    snprintf(t.log, sizeof t.log, "%s/log", t.dir);
    for (int i = 0; i < TRIAL_SHARDS; i++)
        snprintf(t.shard_log[i], sizeof t.shard_log[i], "%s/log-%d", t.dir, i + 1);
    mas_place_init(&t.place, need_env("MAS"), need_env("MAS_SOURCE"), t.dir);
    printf("instruction sets %s; cudahost %s\n", t.place.isas,
           t.place.has_cudahost ? "yes" : "not in this build: left out");
    double begin = now_seconds();
    run_all(&t, &o, variants.first, variants.n);
    bool good = enough(&t) && !t.failed;
    printf("seeds from %llu, %.1f s\n", (unsigned long long)o.seed, now_seconds() - begin);
    str_free(&t.plain.essence);
    if (t.failed)
        printf("draft models and schemas of failed commands are in %s\n", t.dir);
    else
        test_rmdir(t.dir);
    return good ? 0 : 1;
}
