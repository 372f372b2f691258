/* The hub of models: one resident model for many requests, lives that end, and waits that are given
 * up. Models that cannot be loaded, and models that need room in memory. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hub.h"
#include "outfile.h"
#include "rng.h"
#include "serve.h"
#include "test.h"

enum { N_THREAD = 6, N_TURN = 25 };

static const char *const names[] = {"a", "b:latest", "broken"};
static const char *const demo[] = {"demo", "demo", "no/such/file.gguf"};

static struct hub *open_hub(int n, int resident, int64_t keep_ms,
                            bool (*available)(uint64_t *, void *), void *user)
{
    struct hub_options o = {.name = names,
                            .path = demo,
                            .n = n,
                            .resident = resident,
                            .keep_ms = keep_ms,
                            .available = available,
                            .user = user};
    struct hub *h = NULL;
    struct err e = {0};
    o.engine.n_threads = 1;
    o.engine.n_ctx = 64;
    o.engine.n_seq = 1;
    o.engine.backend = "cpu";
    if (hub_open(&o, &h, &e) < 0)
        fail_msg("%s", e.msg);
    return h;
}

struct waiter { /* a wait that a thread can sleep on */
    struct hub_wait w;
    pthread_mutex_t lock;
    pthread_cond_t news;
    bool answered;
    struct hub_model *m;
    struct err why;
};

static void on_ready(struct hub_wait *w, struct hub_model *m, const struct err *why)
{
    struct waiter *x = w->user;
    pthread_mutex_lock(&x->lock);
    assert_false(x->answered);
    x->answered = true;
    x->m = m;
    if (why)
        x->why = *why;
    pthread_cond_signal(&x->news);
    pthread_mutex_unlock(&x->lock);
}

static void want(struct hub *h, struct waiter *x, int index)
{
    memset(x, 0, sizeof *x);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->news, NULL);
    x->w.ready = on_ready;
    x->w.user = x;
    x->w.index = index;
    hub_want(h, &x->w);
}

static struct hub_model *await(struct waiter *x)
{
    pthread_mutex_lock(&x->lock);
    while (!x->answered)
        pthread_cond_wait(&x->news, &x->lock);
    pthread_mutex_unlock(&x->lock);
    pthread_cond_destroy(&x->news);
    pthread_mutex_destroy(&x->lock);
    return x->m;
}

static struct hub_model *get(struct hub *h, int index)
{
    struct waiter x;
    want(h, &x, index);
    return await(&x);
}

static bool resident(struct hub *h, int index)
{
    struct hub_entry m;
    hub_entry(h, index, &m);
    return m.resident;
}

/* Waits until a model is gone; false after some seconds. */
static bool goes(struct hub *h, int index)
{
    for (int i = 0; i < 500 && resident(h, index); i++)
        usleep(10000);
    return !resident(h, index);
}

static void names_have_tags(void **state)
{
    struct hub *h = open_hub(3, 1, HUB_FOR_EVER, NULL, NULL);
    struct err e = {0};
    int index;
    (void)state;
    assert_int_equal(hub_find(h, NULL), 0);
    assert_int_equal(hub_find(h, ""), 0);
    assert_int_equal(hub_find(h, "a"), 0);
    assert_int_equal(hub_find(h, "a:latest"), 0);
    assert_int_equal(hub_find(h, "b"), 1);
    assert_int_equal(hub_find(h, "b:latest"), 1);
    assert_int_equal(hub_find(h, "b:8b"), -1);
    assert_int_equal(hub_find(h, ":latest"), -1);
    assert_int_equal(hub_find(h, "A"), -1);
    assert_int_equal(hub_add(h, "c", "demo", &index, &e), 0);
    assert_int_equal(index, 3);
    assert_int_equal(hub_add(h, "c:latest", "demo", &index, &e), 0);
    assert_int_equal(index, 3);
    assert_int_equal(hub_count(h), 4);
    assert_int_equal(hub_add(h, "", "demo", &index, &e), ERR_USAGE);
    struct hub_model *m = get(h, 3);
    assert_string_equal(m->name, "c");
    hub_release(h, m, -1);
    hub_close(h);

    const char *const twice[] = {"a", "a:latest"};
    struct hub_options o = {.name = twice, .path = demo, .n = 2, .resident = 1};
    assert_int_equal(hub_open(&o, &h, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "two models have the name 'a:latest'"));
}

/* ---- many requests --------------------------------------------------------------------------- */

struct crowd {
    struct hub *h;
    atomic_int using[2]; /* holders of each model */
    atomic_int got, given_up;
};

static void *visitor(void *arg)
{
    struct crowd *c = ((void **)arg)[0];
    uint64_t seed = (uint64_t)(uintptr_t)((void **)arg)[1];
    for (uint64_t i = 0; i < N_TURN; i++) {
        uint64_t r = rng_u64(seed, i);
        int index = (int)(r % 2);
        struct waiter x;
        want(c->h, &x, index);
        if (r % 5 == 0 && hub_give_up(c->h, &x.w)) {
            atomic_fetch_add(&c->given_up, 1);
            continue;
        }
        struct hub_model *m = await(&x);
        assert_non_null(m);
        atomic_fetch_add(&c->using[index], 1);
        assert_int_equal(atomic_load(&c->using[!index]), 0);
        assert_non_null(m->en);
        assert_ptr_equal(m->info, engine_info(m->en));
        if (r % 3 == 0)
            usleep((unsigned)(r >> 40) % 2000);
        atomic_fetch_sub(&c->using[index], 1);
        atomic_fetch_add(&c->got, 1);
        static const int64_t keep[] = {-1, 0, 1, 1000};
        hub_release(c->h, m, keep[(r >> 8) % 4]);
    }
    return NULL;
}

static void one_resident_model_for_many_requests(void **state)
{
    struct crowd c = {.h = open_hub(2, 1, HUB_FOR_EVER, NULL, NULL)};
    pthread_t thread[N_THREAD];
    void *arg[N_THREAD][2];
    (void)state;
    for (int i = 0; i < N_THREAD; i++) {
        arg[i][0] = &c;
        arg[i][1] = (void *)(uintptr_t)(i + 1);
        assert_int_equal(pthread_create(&thread[i], NULL, visitor, arg[i]), 0);
    }
    for (int i = 0; i < 200; i++) {
        struct engine_stats st;
        struct hub_entry m;
        struct hub_model *p = hub_peek(c.h, i % 2);
        if (p)
            hub_unpeek(c.h, p);
        hub_stats(c.h, i % 2, &st);
        hub_entry(c.h, i % 2, &m);
        usleep(1000);
    }
    for (int i = 0; i < N_THREAD; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&c.got) + atomic_load(&c.given_up), N_THREAD * N_TURN);
    hub_close(c.h);
}

/* A model that is never idle: its holders overlap. */
struct busy {
    struct hub *h;
    atomic_bool stop;
};

static void *never_idle(void *arg)
{
    struct busy *b = arg;
    struct hub_model *held = get(b->h, 0);
    while (!atomic_load(&b->stop)) {
        struct waiter x;
        want(b->h, &x, 0);
        usleep(1000);
        pthread_mutex_lock(&x.lock);
        bool now = x.answered;
        pthread_mutex_unlock(&x.lock);
        if (now) { /* the next holder is there before the last one leaves */
            hub_release(b->h, held, -1);
            held = await(&x);
        } else { /* the model takes no more requests */
            hub_release(b->h, held, -1);
            held = await(&x);
        }
    }
    hub_release(b->h, held, -1);
    return NULL;
}

static void a_busy_model_makes_room(void **state)
{
    struct busy b = {.h = open_hub(2, 1, HUB_FOR_EVER, NULL, NULL)};
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, never_idle, &b), 0);
    for (int i = 0; i < 5; i++) {
        struct hub_model *m = get(b.h, 1);
        assert_string_equal(m->name, "b:latest");
        hub_release(b.h, m, -1);
    }
    atomic_store(&b.stop, true);
    pthread_join(thread, NULL);
    hub_close(b.h);
}

static void a_wait_that_is_given_up_frees_the_model(void **state)
{
    struct hub *h = open_hub(2, 1, HUB_FOR_EVER, NULL, NULL);
    struct hub_model *a = get(h, 0);
    struct waiter b, next;
    (void)state;
    want(h, &b, 1); /* a must go */
    usleep(20000);
    want(h, &next, 0);
    usleep(20000);
    assert_false(next.answered); /* nothing writes it: a takes no request */
    assert_true(hub_give_up(h, &b.w));
    assert_false(hub_give_up(h, &b.w));
    assert_ptr_equal(await(&next), a); /* a stays after all */
    hub_release(h, a, -1);
    hub_release(h, a, -1);
    hub_close(h);
}

/* ---- lives ----------------------------------------------------------------------------------- */

static void lives_end(void **state)
{
    struct hub *h = open_hub(2, 2, 30, NULL, NULL);
    struct hub_entry m;
    (void)state;
    struct hub_model *a = get(h, 0);
    hub_entry(h, 0, &m);
    assert_true(m.resident && m.held == 1 && m.loads == 1);
    usleep(60000);
    assert_true(resident(h, 0)); /* held */
    hub_release(h, a, -1);
    assert_true(goes(h, 0));

    a = get(h, 0);
    hub_release(h, a, HUB_FOR_EVER);
    hub_entry(h, 0, &m);
    assert_int_equal(m.ends_ms, -1);
    assert_int_equal(m.loads, 2);
    usleep(60000);
    assert_true(resident(h, 0));
    hub_keep(h, 0, 3600000);
    hub_entry(h, 0, &m);
    assert_in_range(m.ends_ms, 3590000, 3600000);
    hub_keep(h, 1, 0); /* absent: nothing happens */
    hub_keep(h, 0, 0);
    assert_true(goes(h, 0));

    a = get(h, 0);
    hub_keep(h, 0, 0); /* held: after its request */
    usleep(20000);
    assert_true(resident(h, 0));
    hub_release(h, a, -1);
    assert_true(goes(h, 0));
    hub_close(h);
}

static void a_failure_reaches_every_wait(void **state)
{
    struct hub *h = open_hub(3, 1, HUB_FOR_EVER, NULL, NULL);
    struct waiter x[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        want(h, &x[i], 2);
    for (int i = 0; i < 4; i++) {
        assert_null(await(&x[i]));
        assert_int_equal(x[i].why.code, ERR_NOINPUT);
    }
    struct hub_model *a = get(h, 0);
    assert_non_null(a);
    hub_release(h, a, -1);
    hub_close(h);
}

static void closing_ends_waits(void **state)
{
    struct hub *h = open_hub(2, 1, HUB_FOR_EVER, NULL, NULL);
    struct waiter x[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        want(h, &x[i], i % 2);
    int held = 0;
    for (int i = 0; i < 4; i += 2) { /* one of them is loaded first */
        struct hub_model *m = await(&x[i]);
        held += m != NULL;
        if (m)
            hub_release(h, m, -1);
    }
    assert_int_equal(held, 2);
    struct hub_model *a = get(h, 1);
    for (int i = 1; i < 4; i += 2)
        assert_ptr_equal(await(&x[i]), a);
    for (int i = 0; i < 3; i++)
        hub_release(h, a, -1);
    hub_close(h); /* nothing is held */
    hub_close(NULL);
}

/* ---- engines that end ------------------------------------------------------------------------ */

/* One reply: its error, 0 = none. */
static int reply_of(struct hub_model *m)
{
    struct jobs *js = jobs_make(1, 3, 3, 4, 7, m->info->n_vocab);
    jobs_run(m->en, js);
    const int code = js->job[0].r.err.code;
    assert_int_equal(js->job[0].r.finish == FINISH_ERROR, code != 0);
    jobs_free(js);
    return code;
}

/* Another file takes the place of the model. */
static void replace(const char *path, const void *bytes, size_t n)
{
    struct err e;
    ok(outfile_save(path, bytes, n, &e));
}

static void a_model_whose_file_changed_is_loaded_again(void **state)
{
    char dir[256], path[300];
    const char *const file[] = {path};
    struct hub_options o = {
        .name = names, .path = file, .n = 1, .resident = 1, .keep_ms = HUB_FOR_EVER};
    const struct timespec times[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
    struct hub_entry entry;
    struct waiter x;
    struct hub *h;
    struct err e = {0};
    size_t n;
    (void)state;
    snprintf(path, sizeof path, "%s/m.gguf", test_mkdir(dir));
    char *bytes = test_read(TEST_GOLDEN "/stories260K-Q4_1.gguf", &n);
    replace(path, bytes, n);
    o.engine.n_threads = 1;
    o.engine.n_ctx = 64;
    o.engine.n_seq = 1;
    o.engine.backend = "cpu";
    o.engine.map_weights = true;
    if (hub_open(&o, &h, &e) < 0)
        fail_msg("%s", e.msg);
    struct hub_model *m = get(h, 0);
    assert_int_equal(reply_of(m), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(reply_of(m), ERR_IO);
    want(h, &x, 0);
    usleep(20000);
    assert_false(x.answered); /* the model takes no more requests */
    hub_release(h, m, -1);
    m = await(&x);
    assert_non_null(m);
    assert_int_equal(reply_of(m), 0);
    hub_entry(h, 0, &entry);
    assert_int_equal(entry.loads, 2);
    assert_false(hub_broken(h, 0));

    replace(path, "no model", 8);
    assert_int_equal(reply_of(m), ERR_IO);
    hub_release(h, m, -1);
    assert_true(goes(h, 0)); /* without a request that waits, too */
    assert_false(hub_broken(h, 0));
    assert_null(get(h, 0));
    assert_true(hub_broken(h, 0));
    replace(path, bytes, n);
    m = get(h, 0);
    assert_non_null(m);
    assert_false(hub_broken(h, 0));
    assert_int_equal(reply_of(m), 0);
    hub_release(h, m, -1);
    hub_close(h);
    free(bytes);
    test_rmdir(dir);
}

/* ---- room ------------------------------------------------------------------------------------ */

static bool memory(uint64_t *bytes, void *user)
{
    *bytes = *(const uint64_t *)user;
    return true;
}

/* The models of this test are files: the hub knows their size. */
static void a_second_model_needs_room(void **state)
{
    static const char *const file[] = {TEST_GOLDEN "/stories260K-Q4_1.gguf",
                                       TEST_GOLDEN "/stories260K-Q4_1.gguf"};
    uint64_t free_bytes = 1000;
    struct hub_options o = {.name = names,
                            .path = file,
                            .n = 2,
                            .resident = 2,
                            .keep_ms = HUB_FOR_EVER,
                            .available = memory,
                            .user = &free_bytes};
    struct hub_entry m;
    struct hub *h;
    struct err e = {0};
    (void)state;
    o.engine.n_threads = 1;
    o.engine.n_ctx = 64;
    o.engine.n_seq = 1;
    o.engine.backend = "cpu";
    for (int large = 0; large < 2; large++) {
        free_bytes = large ? (uint64_t)1 << 40 : 1000;
        if (hub_open(&o, &h, &e) < 0)
            fail_msg("%s", e.msg);
        hub_entry(h, 0, &m);
        assert_true(m.bytes > 100000 && m.modified > 0);
        for (int i = 0; i < 2; i++)
            hub_release(h, get(h, i), -1);
        assert_int_equal(resident(h, 0), large);
        assert_true(resident(h, 1));
        hub_close(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_tags),
        cmocka_unit_test(one_resident_model_for_many_requests),
        cmocka_unit_test(a_busy_model_makes_room),
        cmocka_unit_test(a_wait_that_is_given_up_frees_the_model),
        cmocka_unit_test(lives_end),
        cmocka_unit_test(a_failure_reaches_every_wait),
        cmocka_unit_test(closing_ends_waits),
        cmocka_unit_test(a_model_whose_file_changed_is_loaded_again),
        cmocka_unit_test(a_second_model_needs_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
