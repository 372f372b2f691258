/*
 * differ_engine: random crowds of requests on random engines. Each request must have the result
 * that it has alone, bit for bit.
 *
 *   differ_engine [--seed S] [--count N] [--minutes M] [--keep-going]
 *   differ_engine --seed S [--plain OPTION,..] [--only REQUEST,..]
 *                                     repeats one crowd with plain options or fewer requests
 *
 * Trial i has seed S + i. A failing trial is reduced; the command that repeats it is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crowd.h"
#include "differ.h"
#include "request.h"
#include "test.h"

enum { BLOCKS = 2 * CROWD_REQUESTS - 1 }; /* of 64, 32, .., 1 requests */

struct engine_test {
    struct crowd_place place;
    struct crowd_told *told;
    char dir[256], log[300];
    const struct crowd_trial *running;
    long trials, failed, refused;
    double shrink_seconds;
    bool shrinking;
};

static int in_child(void *user)
{
    struct engine_test *t = user;
    return crowd_run(t->running, &t->place, t->told);
}

static struct child run(struct engine_test *t, const struct crowd_trial *trial)
{
    struct child c;
    t->running = trial;
    t->told->limit = 300; /* until the child sets its own */
    t->told->patience = t->shrinking ? 3 : 20;
    child_fork(&c, t->log, in_child, t);
    child_wait(&c, &t->told->limit);
    return c;
}

static bool is_failure(const struct child *c)
{
    return c->hung || (c->status != CROWD_EQUAL && c->status != CROWD_REFUSED);
}

static bool still_fails(const void *trial, void *user)
{
    struct child c = run(user, trial);
    return is_failure(&c);
}

static int requests_left(const struct crowd_trial *t)
{
    int n = 0;
    for (int i = 0; i < t->n; i++)
        n += !t->request[i].dropped;
    return n;
}

static bool drop_block(struct crowd_trial *t, int block)
{
    int size = CROWD_REQUESTS, before = requests_left(t);
    for (; block >= CROWD_REQUESTS / size; size /= 2)
        block -= CROWD_REQUESTS / size;
    for (int i = block * size; i < (block + 1) * size && i < t->n; i++)
        t->request[i].dropped = true;
    int after = requests_left(t);
    return after > 0 && after < before;
}

static bool drop(void *trial, int part)
{
    struct crowd_trial *t = trial;
    if (part < BLOCKS)
        return drop_block(t, part);
    int option = part - BLOCKS, plain = crowd_option_plain(option);
    bool given = t->option[option] != plain;
    t->option[option] = plain;
    return given;
}

/* Prints the command that runs the trial again. */
static void print_command(const struct crowd_trial *t, const struct crowd_place *p)
{
    static struct crowd_trial whole;
    crowd_draw(&whole, p, t->seed);
    printf("differ_engine --seed %llu", (unsigned long long)t->seed);
    const char *comma = " --plain ";
    for (int i = 0; i < CROWD_N_OPTION; i++)
        if (t->option[i] != whole.option[i]) {
            printf("%s%s", comma, crowd_option_name(i));
            comma = ",";
        }
    comma = " --only ";
    for (int i = 0; i < t->n && requests_left(t) < t->n; i++)
        if (!t->request[i].dropped) {
            printf("%s%d", comma, i);
            comma = ",";
        }
    printf("\n");
}

static void print_log(const struct engine_test *t)
{
    char *text = differ_read(t->log);
    printf("%s%s", text, *text && text[strlen(text) - 1] != '\n' ? "\n" : "");
    free(text);
}

static void report(struct engine_test *t, const struct crowd_trial *trial, const struct child *c)
{
    if (c->hung)
        printf("FAILED: no end after %.0f s", c->seconds);
    else if (c->status == CROWD_DIFFERENT)
        printf("FAILED: results differ");
    else
        printf("FAILED: exit status %d", c->status);
    printf(" (%.1f s): ", c->seconds);
    crowd_print(trial);
    print_log(t);
    fflush(stdout);
    static struct crowd_trial small;
    small = *trial;
    struct shrink s = {.trial = &small,
                       .size = sizeof small,
                       .n_part = BLOCKS + CROWD_N_OPTION,
                       .drop = drop,
                       .fails = still_fails,
                       .user = t,
                       .seconds = t->shrink_seconds};
    struct crowd_told told = *t->told; /* figures of the trials, without those of the search */
    t->shrinking = true;
    shrink_run(&s);
    t->shrinking = false;
    printf("smallest that still fails, after %d tries: ", s.tries);
    crowd_print(&small);
    struct child again = run(t, &small);
    if (!is_failure(&again))
        printf("it does not always fail; this time it passed\n");
    print_log(t);
    *t->told = told;
    print_command(&small, &t->place);
    fflush(stdout);
}

/* Makes the options of "a,b,c" plain. */
static void set_plain(struct crowd_trial *t, char *names)
{
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        int i = 0;
        while (i < CROWD_N_OPTION && strcmp(crowd_option_name(i), name))
            i++;
        if (i == CROWD_N_OPTION) {
            fprintf(stderr, "differ_engine: no option '%s'\n", name);
            exit(64);
        }
        t->option[i] = crowd_option_plain(i);
    }
}

static void keep_only(struct crowd_trial *t, char *numbers)
{
    for (int i = 0; i < t->n; i++)
        t->request[i].dropped = true;
    for (char *s = strtok(numbers, ","); s; s = strtok(NULL, ",")) {
        int i = atoi(s);
        if (i >= 0 && i < t->n)
            t->request[i].dropped = false;
    }
}

/* Runs one trial; true when the caller may continue. */
static bool one_trial(struct engine_test *t, const struct crowd_trial *trial)
{
    struct child c = run(t, trial);
    t->trials++;
    t->refused += c.status == CROWD_REFUSED;
    if (c.status == CROWD_REFUSED) {
        printf("refused, seed %llu: ", (unsigned long long)trial->seed);
        print_log(t);
    }
    if (!is_failure(&c))
        return true;
    t->failed++;
    report(t, trial, &c);
    return false;
}

/* False when many trials together never reached a limit of the engine: such a run tests nothing. */
static bool enough(const struct engine_test *t)
{
    const struct crowd_told *w = t->told;
    printf("%ld crowds, %ld failed, %ld refused; %ld requests compared, %ld cancelled; %ld "
           "preempted, %ld prompt tokens "
           "cached, %ld of %ld drafts accepted, %ld branches taken, %ld pages swapped in, %ld with "
           "streamed weights, %ld on several GPUs, %ld with packed weights; thinking closed by %ld "
           "models, %ld budgets, %ld end tokens; %ld "
           "prompts scored, %ld requests with biases or penalties\n",
           t->trials, t->failed, t->refused, w->compared, w->cancelled, w->preempted, w->cached,
           w->accepted, w->drafted, w->branched, w->swapped, w->limited, w->spread, w->packed,
           w->thought[THOUGHT_CLOSED], w->thought[THOUGHT_CUT], w->thought[THOUGHT_EOS], w->scored,
           w->changed);
    if (t->trials < 100)
        return true;
    bool met = w->cancelled && w->preempted && w->cached && w->accepted &&
               w->accepted < w->drafted && w->branched && w->swapped &&
               w->thought[THOUGHT_CLOSED] && w->thought[THOUGHT_CUT] && w->thought[THOUGHT_EOS] &&
               w->scored && w->changed && w->packed &&
               ((w->limited && w->spread) || !t->place.has_cudahost);
    if (!met)
        printf("FAILED: a figure above is 0: these crowds exercise too little\n");
    if (t->refused * 20 > t->trials)
        printf("FAILED: more than one crowd in twenty was refused: nothing was compared there\n");
    return met && t->refused * 20 <= t->trials;
}

struct words { /* of the command line */
    char *plain, *only;
};

static void take_option(int key, char *value, void *user)
{
    struct words *w = user;
    *(key == 'p' ? &w->plain : &w->only) = value;
}

/* Starts this program again with three GPUs of cudahost, whose driver reads their number before
 * main. */
static void have_gpus(char **argv)
{
    if (getenv("CUSHIM_DEVICES"))
        return;
    setenv("CUSHIM_DEVICES", "3", 1);
    execv("/proc/self/exe", argv);
    perror("execv");
    exit(70);
}

int main(int argc, char **argv)
{
    have_gpus(argv);
    static const struct option own[] = {{"plain", 1, 0, 'p'}, {"only", 1, 0, 'o'}, {0}};
    struct differ_options o;
    struct words words = {NULL, NULL};
    differ_options_read(argc, argv, own, take_option, &words, &o);
    struct engine_test t = {.shrink_seconds = o.shrink_seconds};
    t.told = mmap(NULL, sizeof *t.told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t.told == MAP_FAILED) {
        perror("mmap");
        return 70;
    }
    snprintf(t.log, sizeof t.log, "%s/log", test_mkdir(t.dir));
    t.place = (struct crowd_place){
        .golden = TEST_GOLDEN, .dir = t.dir, .has_cudahost = test_backend("cudahost")};
    static struct crowd_trial trial;
    double start = now_seconds();
    for (long i = 0; i < o.count && now_seconds() - start < o.minutes * 60; i++) {
        crowd_draw(&trial, &t.place, o.seed + (uint64_t)i);
        if (words.plain)
            set_plain(&trial, strdup(words.plain));
        if (words.only)
            keep_only(&trial, strdup(words.only));
        if (o.count == 1)
            crowd_print(&trial);
        if (!one_trial(&t, &trial) && !o.keep_going)
            break;
    }
    bool good = (enough(&t) || t.failed) && !t.failed;
    printf("seeds from %llu, %.1f s\n", (unsigned long long)o.seed, now_seconds() - start);
    test_rmdir(t.dir);
    return good ? 0 : 1;
}
