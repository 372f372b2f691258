/*
 * script: replies for the scripted llm, as a model would give them to each role. A reply depends
 * only on the call's id, seed and text, never on the order of calls.
 */
#ifndef MAS_SCRIPT_H
#define MAS_SCRIPT_H

#include "consult.h"
#include "run.h"
#include "strategy.h"

enum script_mood {
    SCRIPT_GOOD,
    SCRIPT_GARBAGE, /* bytes that are not JSON */
    SCRIPT_REFUSAL, /* polite prose */
    SCRIPT_CUT,     /* half a reply, LLM_CUT */
    /* the first script.own bytes of a good reply, closed by the grammar, LLM_CLOSED */
    SCRIPT_CLOSED,
    SCRIPT_ERROR,  /* LLM_ERROR with script.error */
    SCRIPT_CANCEL, /* LLM_CANCEL from the model */
    SCRIPT_ODD,    /* valid JSON of another form than the schema's */
    SCRIPT_EMPTY,
    SCRIPT_TWICE, /* a good reply; the second item of a list of specialties repeats the first */
};

struct script {
    enum script_mood mood;
    const char *only_role; /* the mood applies to this role only; NULL = to all */
    int only_index;        /* and to this index; -1 = to all */
    int error;
    /* calls whose letter is wanted get no probabilities, as of a server */
    bool no_choice;
    size_t own; /* SCRIPT_CLOSED: bytes of the reply that are the model's */
    /* SCRIPT_CLOSED: the question's number replaces own; a shorter reply stays whole */
    bool own_by_question;
    long calls;
    /* of calls that may think: the end of the block (LLM_THOUGHT_NONE: closed by the model), and
     * the text in place of the script's own */
    enum llm_thought thought;
    const char *think;
};

void script_answer(struct llm_call *c, void *user); /* user: struct script */

/* The objects that a run over the scripted llm needs. */
struct bench {
    struct config config;
    struct catalog catalog;
    struct script script;
    struct llm *llm;
    struct strategy_env env;
};
/* sets: assignments for config_set, NULL-terminated. Fails the test on error. */
void bench_open(struct bench *b, uint64_t order, const char *const *sets);
/* The same with a model that thinks; on failure nothing stays open. */
int bench_think(struct bench *b, uint64_t order, const char *const *sets, struct err *e);
void bench_close(struct bench *b);

/* Like test_mkdir, but in memory if the machine has such a folder: thousands of fsyncs would only
 * measure the disk. */
char *bench_mkdir(char buf[256]);
/* Makes n questions with 4 options; texts differ by index. Free with medqa_free. */
void bench_questions(struct medqa *m, int n);
/* A clock that stands still, so that results can be compared byte for byte. */
int64_t bench_clock(void *user);
/* Runs all questions of m into dir; returns the code of run_questions. */
int bench_run(struct bench *b, const struct medqa *m, const char *dir, int concurrency,
              struct run_progress *p, struct err *e);
/* Appends the case lines of a folder's trace, sorted by question and without checksums, as one text
 * to compare. */
void bench_cases(const char *dir, struct str *out);

#endif
