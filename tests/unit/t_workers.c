/* Several worker processes with the scripted llm: every question once, whatever ends them. */
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "script.h"
#include "test.h"
#include "workers.h"

struct scene {
    const struct medqa *m;
    const char *dir;
    const char *killer; /* id of a question that ends its worker; "" = none */
    int how;            /* signal; 0 = exit code 3; -1 = before the worker is ready */
    int spared;         /* deaths after which the killer question is harmless; 0 = never */
    int kills;          /* a random question ends its worker, so many of 100 starts; 0 = none */
    int slots;
    const char *identity[2]; /* of even and odd workers */
    int error;               /* each worker reports this error */
    double silence_s;
    struct workers_outcome *out;
    pid_t pid[8]; /* by number, of the parent */
    const struct run_feed *inner;
    int held; /* in the child: questions in flight */
    uint64_t rng;
    struct shared *all;
    int most; /* out: questions in flight in one worker */
};

struct shared {        /* by parent and workers */
    atomic_int deaths; /* by the killer question */
    atomic_int most;   /* questions in flight in one worker */
};

static const char good[] = "{\"seed\": 1}";

/* In the child: takes from the real feed, and dies when the scene says so. */
static int take(void *user, bool room, bool idle, struct run_given *out, struct err *e)
{
    struct scene *s = user;
    TRY(s->inner->take(s->inner->user, room, idle, out, e));
    if (!out->q || out->fail)
        return 0;
    s->held++;
    if (s->held > atomic_load(&s->all->most))
        atomic_store(&s->all->most, s->held);
    s->rng = s->rng * 6364136223846793005u + 1442695040888963407u;
    const bool kills = *s->killer && !strcmp(out->q->id, s->killer) &&
                       (!s->spared || atomic_fetch_add(&s->all->deaths, 1) < s->spared);
    const bool dies = kills || (s->kills && (int)((s->rng >> 33) % 100) < s->kills);
    if (dies && s->how == 0)
        _exit(3);
    if (dies) {
        signal(s->how, SIG_DFL);
        raise(s->how);
    }
    return 0;
}

static int record(void *user, const struct consult *c, struct err *e)
{
    struct scene *s = user;
    s->held--;
    return s->inner->record(s->inner->user, c, e);
}

static int child(int fd, int number, void *user)
{
    struct scene s = *(struct scene *)user;
    struct worker *w = NULL;
    struct bench b;
    struct err e = {.code = 0};
    if (s.how < 0)
        _exit(9);
    s.rng = (uint64_t)getpid() * 7919 + (uint64_t)clock_ns();
    bench_open(&b, (uint64_t)number + 1, (const char *[]){"planner.top_k=2", NULL});
    if (worker_open(fd, s.identity[number % 2], "{}", s.m->question, s.m->n, s.slots, &w, &e) < 0)
        return 70;
    if (s.error) {
        err_set(&e, s.error, "the disk of worker %d is full", number);
        worker_end(w, "", s.error, &e);
        return 74;
    }
    s.inner = worker_feed(w);
    const struct run_feed feed = {.take = take, .record = record, .user = &s};
    const struct run_options ro = {
        .env = &b.env, .feed = &feed, .n = s.m->n, .concurrency = s.slots, .clock = bench_clock};
    const int rc = run_questions(&ro, NULL, &e);
    worker_end(w, "{\"x\": 1}", rc, &e);
    worker_close(w);
    bench_close(&b);
    return rc < 0 ? 75 : 0;
}

static int start(const struct worker_start *w, pid_t *pid, void *user, struct err *e)
{
    fflush(NULL);
    *pid = fork();
    if (*pid < 0)
        return err_set(e, ERR_AGAIN, "no process");
    if (*pid) {
        ((struct scene *)user)->pid[w->number] = *pid;
        return 0;
    }
    for (int i = 0; i < w->n_close; i++)
        close(w->close[i]);
    _exit(child(w->fd, w->number, user));
}

static int ready(const char *identity, const char *about, struct trace **t, void *user,
                 struct err *e)
{
    struct scene *s = user;
    const struct trace_options to = {
        .dir = s->dir, .identity = identity, .about = about, .data = s->m};
    return trace_open(&to, t, e);
}

static bool is_stopped(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const char *end = strrchr(text, ')');
    return end && (end[2] == 'T' || end[2] == 't');
}

/* Does what the warning of a silent worker says: it ends that worker. */
static void end_the_silent(const struct run_progress *p, void *user)
{
    const struct scene *s = user;
    (void)p;
    for (int i = 0; i < 8; i++)
        if (s->pid[i] && s->out->silent > s->out->deaths && is_stopped(s->pid[i]))
            kill(s->pid[i], SIGKILL);
}

static int run(struct scene *s, int n, const atomic_int *stop, struct workers_outcome *out,
               struct err *e)
{
    struct trace *t = NULL;
    struct err ignored;
    if (!s->identity[0])
        s->identity[0] = s->identity[1] = good;
    s->slots = s->slots ? s->slots : 4;
    s->killer = s->killer ? s->killer : "";
    const struct workers_options o = {.n = n,
                                      .question = s->m->question,
                                      .n_question = s->m->n,
                                      .start = start,
                                      .ready = ready,
                                      .stop = stop,
                                      .progress = s->silence_s > 0 ? end_the_silent : NULL,
                                      .silence_s = s->silence_s,
                                      .user = s};
    s->out = out;
    s->all = mmap(NULL, sizeof *s->all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s->all != MAP_FAILED);
    const int rc = workers_run(&o, &t, out, e);
    if (t && rc == 0)
        (void)trace_seal(t, &ignored);
    trace_close(t);
    s->most = atomic_load(&s->all->most);
    munmap(s->all, sizeof *s->all);
    return rc;
}

/* The cases as one process writes them. */
static void want(const struct medqa *m, struct str *out)
{
    struct bench b;
    struct err e;
    char dir[256];
    bench_mkdir(dir);
    bench_open(&b, 1, (const char *[]){"planner.top_k=2", NULL});
    ok(bench_run(&b, m, dir, 3, NULL, &e));
    bench_cases(dir, out);
    bench_close(&b);
    test_rmdir(dir);
}

static void check_same(const struct medqa *m, const char *dir)
{
    struct str a = STR_INIT, b = STR_INIT;
    want(m, &a);
    bench_cases(dir, &b);
    assert_string_equal(a.s, b.s);
    str_free(&a);
    str_free(&b);
}

struct stage { /* the questions, folder and outcome of a test */
    struct medqa m;
    struct workers_outcome out;
    char dir[256];
};

static void stage_open(struct stage *g, int n_question)
{
    *g = (struct stage){.m = {.n = 0}};
    bench_mkdir(g->dir);
    bench_questions(&g->m, n_question);
}

static void stage_close(struct stage *g)
{
    str_free(&g->out.figures);
    medqa_free(&g->m);
    test_rmdir(g->dir);
}

static void the_replies_are_those_of_one_process(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n += 2) {
        struct stage g;
        struct err e;
        stage_open(&g, 40);
        struct scene s = {.m = &g.m, .dir = g.dir};
        ok(run(&s, n, NULL, &g.out, &e));
        assert_int_equal(g.out.progress.done, 40);
        assert_int_equal(g.out.progress.fresh, 40);
        assert_int_equal(g.out.deaths, 0);
        if (n == 1)
            assert_string_equal(g.out.figures.s, "[{\"x\": 1}]");
        check_same(&g.m, g.dir);
        str_free(&g.out.figures);
        ok(run(&s, n, NULL, &g.out, &e)); /* nothing is asked again */
        assert_int_equal(g.out.progress.fresh, 0);
        assert_int_equal(g.out.progress.done, 40);
        stage_close(&g);
    }
}

static void a_question_that_ends_workers_is_failed_by_name(void **state)
{
    (void)state;
    static const int how[] = {SIGSEGV, SIGKILL, 0};
    for (size_t i = 0; i < 3; i++) {
        for (int n = 1; n <= 2; n++) {
            struct stage g;
            struct err e;
            struct trace_run r;
            stage_open(&g, 30);
            struct scene s = {
                .m = &g.m, .dir = g.dir, .killer = g.m.question[11].id, .how = how[i]};
            ok(run(&s, n, NULL, &g.out, &e));
            assert_int_equal(g.out.deaths, WORKERS_KILLS);
            assert_int_equal(g.out.failed_by_deaths, 1);
            assert_int_equal(g.out.progress.failed, 1);
            ok(trace_read(g.dir, &r, &e));
            assert_int_equal(r.results.n, 30);
            for (size_t k = 0; k < 30; k++)
                assert_int_equal(r.results.r[k].state == CONSULT_FAILED, k == 11);
            assert_non_null(strstr(r.results.r[11].why, "4 worker processes ended"));
            trace_run_free(&r);
            stage_close(&g);
        }
    }
}

/* One death alone may have another cause: the question is asked once more. */
static void a_question_may_end_one_worker_alone(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    stage_open(&g, 30);
    struct scene s = {.m = &g.m,
                      .dir = g.dir,
                      .killer = g.m.question[11].id,
                      .how = SIGKILL,
                      .spared = WORKERS_ALONE + 1};
    ok(run(&s, 2, NULL, &g.out, &e));
    assert_int_equal(g.out.deaths, WORKERS_ALONE + 1);
    assert_int_equal(g.out.progress.failed, 0);
    check_same(&g.m, g.dir);
    stage_close(&g);
}

/* With room for all questions a worker takes two thirds of its part, so that some are left for the
 * quicker one. */
static void a_worker_leaves_questions_to_others(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    stage_open(&g, 120);
    struct scene s = {.m = &g.m, .dir = g.dir, .slots = 120};
    ok(run(&s, 2, NULL, &g.out, &e));
    print_message("at most %d of 120 questions in flight in one of two workers\n", s.most);
    assert_true(s.most > 4 && s.most <= 120 / 2 * 2 / 3);
    check_same(&g.m, g.dir);
    stage_close(&g);
}

/* Deaths at random questions: no case is lost, none is there twice. */
static void random_deaths_lose_nothing(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    struct trace_run r;
    stage_open(&g, 200);
    struct scene s = {.m = &g.m, .dir = g.dir, .how = SIGKILL, .kills = 8, .slots = 3};
    ok(run(&s, 3, NULL, &g.out, &e));
    assert_true(g.out.deaths >= 5);
    ok(trace_read(g.dir, &r, &e));
    assert_int_equal(r.results.n, 200);
    assert_int_equal(g.out.progress.done, 200);
    if (!g.out.failed_by_deaths)
        check_same(&g.m, g.dir);
    trace_run_free(&r);
    stage_close(&g);
}

static void a_worker_that_never_gets_ready_ends_the_run(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    stage_open(&g, 3);
    struct scene s = {.m = &g.m, .dir = g.dir, .how = -1};
    fails(run(&s, 2, NULL, &g.out, &e), ERR_AGAIN, "the last one with exit code 9");
    stage_close(&g);
}

static void errors_of_a_worker_end_the_run(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    stage_open(&g, 30);
    struct scene s = {.m = &g.m, .dir = g.dir, .error = ERR_IO};
    fails(run(&s, 2, NULL, &g.out, &e), ERR_IO, "the disk of worker");
    str_free(&g.out.figures);
    test_rmdir(g.dir); /* either worker may be ready first, and its identity begins the run */
    bench_mkdir(g.dir);
    s = (struct scene){.m = &g.m, .dir = g.dir, .identity = {good, "{\"seed\": 2}"}, .slots = 1};
    fails(run(&s, 2, NULL, &g.out, &e), ERR_CONFIG, "another model, prompts or options");
    stage_close(&g);
}

static void a_stop_keeps_the_finished_cases(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    atomic_int stop = 1;
    stage_open(&g, 50);
    struct scene s = {.m = &g.m, .dir = g.dir};
    fails(run(&s, 2, &stop, &g.out, &e), ERR_CANCEL, "stopped");
    str_free(&g.out.figures);
    stop = 0;
    ok(run(&s, 2, &stop, &g.out, &e));
    assert_int_equal(g.out.progress.done, 50);
    str_free(&g.out.figures);
    check_same(&g.m, g.dir);
    stage_close(&g);
}

/* A worker that hangs is named, and its questions are asked again once it has been ended. */
static void a_silent_worker_is_named(void **state)
{
    (void)state;
    struct stage g;
    struct err e;
    stage_open(&g, 20);
    struct scene s = {
        .m = &g.m, .dir = g.dir, .killer = g.m.question[7].id, .how = SIGSTOP, .silence_s = 0.3};
    ok(run(&s, 2, NULL, &g.out, &e));
    assert_int_equal(g.out.silent, WORKERS_KILLS);
    assert_int_equal(g.out.deaths, WORKERS_KILLS);
    assert_int_equal(g.out.progress.done, 20);
    assert_int_equal(g.out.progress.failed, 1);
    stage_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_worker_is_named),
        cmocka_unit_test(the_replies_are_those_of_one_process),
        cmocka_unit_test(a_question_that_ends_workers_is_failed_by_name),
        cmocka_unit_test(a_question_may_end_one_worker_alone),
        cmocka_unit_test(a_worker_leaves_questions_to_others),
        cmocka_unit_test(random_deaths_lose_nothing),
        cmocka_unit_test(a_worker_that_never_gets_ready_ends_the_run),
        cmocka_unit_test(errors_of_a_worker_end_the_run),
        cmocka_unit_test(a_stop_keeps_the_finished_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
