/* script: replies for the scripted llm, as a model would give them to each role. A reply depends
 * only on the call's id, seed and text, never on the order of calls. */
#ifndef MAS_SCRIPT_H
#define MAS_SCRIPT_H

#include "consult.h"
#include "run.h"
#include "strategy.h"

enum script_mood {
    SCRIPT_GOOD,
    SCRIPT_GARBAGE, /* bytes that are no JSON */
    SCRIPT_REFUSAL, /* polite prose */
    SCRIPT_CUT,     /* half a reply, LLM_CUT */
    /* the beginning of a good reply, closed by the grammar, LLM_CLOSED; script.own */
    SCRIPT_CLOSED,
    SCRIPT_ERROR,  /* LLM_ERROR with script.error */
    SCRIPT_CANCEL, /* LLM_CANCEL from the model's side */
    SCRIPT_ODD,    /* valid JSON of another form */
    SCRIPT_EMPTY,
};

struct script {
    enum script_mood mood;
    const char *only_role; /* the mood holds for this role only; NULL = for all */
    int only_index;        /* and this index; -1 = all */
    int error;
    size_t own; /* SCRIPT_CLOSED: so many bytes of the reply are the model's.. */
    /* ..or as many as the question's number says; a shorter reply stays whole */
    bool own_by_question;
    long calls;
};

void script_answer(struct llm_call *c, void *user); /* user: struct script */

/* Everything that a run over the scripted llm needs. */
struct bench {
    struct config config;
    struct catalog catalog;
    struct script script;
    struct llm *llm;
    struct strategy_env env;
};
/* sets: assignments for config_set, NULL-terminated. Fails the test on error. */
void bench_open(struct bench *b, uint64_t order, const char *const *sets);
void bench_close(struct bench *b);

/* As test_mkdir, in memory where the machine has such a folder: thousands of fsyncs on a disk would
 * only measure the disk. */
char *bench_mkdir(char buf[256]);
/* n made-up questions with 4 options; text differs by index. Free with medqa_free. */
void bench_questions(struct medqa *m, int n);
/* A clock that always says the same, so that results can be compared byte for byte. */
int64_t bench_clock(void *user);
/* Runs all of m into dir; returns run_questions' code. */
int bench_run(struct bench *b, const struct medqa *m, const char *dir, int concurrency,
              struct run_progress *p, struct err *e);
/* The case lines of a folder's trace, sorted by question, without checksums: one string to
 * compare. */
void bench_cases(const char *dir, struct str *out);

#endif
