/* Leases with a clock of the test's own. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "lease.h"
#include "test.h"

/* Time passes only while somebody sleeps; every `every` seconds another holder beats. */
struct world {
    int64_t now;
    struct lease *beats; /* NULL = nobody beats */
    double until;        /* it beats up to this time */
    bool alive;
    int slept;
    struct lease *gives;
};

static int64_t world_clock(void *user)
{
    return ((struct world *)user)->now;
}

static void world_sleep(void *user, double s)
{
    struct world *w = user;
    struct err e;
    w->now += (int64_t)(s * 1e9);
    w->slept++;
    if (w->beats && (double)w->now * 1e-9 <= w->until)
        ok(lease_beat(w->beats, &e));
    if (w->gives && w->slept == 3) {
        lease_give(w->gives);
        w->gives = NULL;
    }
}

static bool world_alive(void *user, const struct lease_self *holder)
{
    (void)holder;
    return ((struct world *)user)->alive;
}

static const struct lease_self one = {"n1", "boot-1", "space", 10, 100};
static const struct lease_self two = {"n1", "boot-1", "space", 11, 101}; /* same host */
static const struct lease_self far = {"n2", "boot-2", "space", 10, 100};
static const struct lease_self jail = {"n1", "boot-1", "other space", 10, 100};

static struct lease_options options(const char *dir, const struct lease_self *self, struct world *w)
{
    return (struct lease_options){.dir = dir,
                                  .what = "the shard",
                                  .self = self,
                                  .clock = world_clock,
                                  .sleep = world_sleep,
                                  .alive = world_alive,
                                  .user = w};
}

static void a_lease_that_was_given_back_is_taken_at_once(void **state)
{
    (void)state;
    char dir[256];
    struct world w = {.alive = true};
    struct lease *l = NULL;
    struct err e;
    test_mkdir(dir);
    for (int i = 1; i <= 3; i++) {
        struct lease_options o = options(dir, i == 2 ? &far : &one, &w);
        ok(lease_take(&o, &l, &e));
        assert_int_equal(lease_number(l), i);
        assert_string_equal(lease_notes(l), "");
        ok(lease_check(l, &e));
        ok(lease_beat(l, &e));
        lease_give(l);
    }
    assert_int_equal(w.slept, 0);
    ok(lease_refuse_held(dir, &e));
    test_rmdir(dir);
}

static void on_one_host_the_process_decides(void **state)
{
    (void)state;
    char dir[256];
    struct world w = {.alive = true};
    struct lease *a = NULL, *b = NULL;
    struct err e;
    test_mkdir(dir);
    struct lease_options o = options(dir, &one, &w), p = options(dir, &two, &w);
    ok(lease_take(&o, &a, &e));
    fails(lease_take(&p, &b, &e), ERR_CREATE, "the shard is held by process 10 on host n1 since 2");
    w.alive = false;
    ok(lease_take(&p, &b, &e));
    assert_int_equal(w.slept, 0);
    assert_non_null(strstr(lease_notes(b), "taken over from process 10 on host n1"));
    /* the former holder notices before it writes */
    fails(lease_check(a, &e), ERR_CREATE, "taken over by process 11 on host n1");
    ok(lease_check(b, &e));
    lease_give(a); /* gives back its own number only */
    ok(lease_check(b, &e));
    fails(lease_refuse_held(dir, &e), ERR_CREATE, "held by process 11");
    lease_give(b);
    test_rmdir(dir);
}

static void on_another_host_the_heartbeat_decides(void **state)
{
    (void)state;
    const struct lease_self *const claimant[] = {&far, &jail};
    for (int k = 0; k < 2; k++) {
        char dir[256];
        struct world w = {.alive = false};
        struct lease *a = NULL, *b = NULL;
        struct err e;
        test_mkdir(dir);
        struct lease_options o = options(dir, &one, &w), p = options(dir, claimant[k], &w);
        ok(lease_take(&o, &a, &e));
        /* it beats: refused at the first beat, whatever the clocks say */
        w.beats = a;
        w.until = 1e9;
        fails(lease_take(&p, &b, &e), ERR_CREATE, "held by process 10 on host n1");
        assert_true(w.slept <= 2);
        /* it is silent: taken over after wait_s of the claimant's own time */
        const int64_t begin = w.now;
        w.beats = NULL;
        ok(lease_take(&p, &b, &e));
        const double waited = (double)(w.now - begin) * 1e-9;
        assert_true(waited >= LEASE_WAIT_S && waited < LEASE_WAIT_S + LEASE_BEAT_S);
        assert_int_equal(lease_number(b), 2);
        fails(lease_check(a, &e), ERR_CREATE, "taken over");
        lease_give(a);
        lease_give(b);
        test_rmdir(dir);
    }
}

static void a_holder_with_slow_beats_is_given_more_time(void **state)
{
    (void)state;
    char dir[256];
    struct world w = {.alive = false};
    struct lease *a = NULL, *b = NULL;
    struct err e;
    test_mkdir(dir);
    struct lease_options o = options(dir, &one, &w), p = options(dir, &far, &w);
    o.beat_s = 100;
    p.beat_s = 1;
    p.wait_s = 9;
    ok(lease_take(&o, &a, &e));
    ok(lease_take(&p, &b, &e));
    assert_true((double)w.now * 1e-9 >= 600);
    lease_give(a);
    lease_give(b);
    test_rmdir(dir);
}

static void waiting_ends_when_the_holder_gives_it_back_or_a_signal_comes(void **state)
{
    (void)state;
    char dir[256];
    struct world w = {.alive = false};
    struct lease *a = NULL, *b = NULL;
    atomic_int stop = 0;
    struct err e;
    test_mkdir(dir);
    struct lease_options o = options(dir, &one, &w), p = options(dir, &far, &w);
    ok(lease_take(&o, &a, &e));
    w.gives = a;
    ok(lease_take(&p, &b, &e));
    assert_int_equal(w.slept, 3);
    p = options(dir, &one, &w);
    p.stop = &stop;
    stop = 1;
    fails(lease_take(&p, &a, &e), ERR_CANCEL, "stopped while waiting");
    lease_give(b);
    test_rmdir(dir);
}

static void a_lease_in_the_making_or_damaged_is_no_free_lease(void **state)
{
    (void)state;
    char dir[256], path[300];
    struct world w = {.alive = false};
    struct lease *b = NULL;
    struct err e;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/lease-0001", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    struct lease_options p = options(dir, &far, &w);
    ok(lease_take(&p, &b, &e)); /* empty: watched like a holder on another host */
    assert_true((double)w.now * 1e-9 >= LEASE_WAIT_S);
    assert_int_equal(lease_number(b), 2);
    lease_give(b);
    snprintf(path, sizeof path, "%s/lease-0003", dir);
    close(fd);
    fd = open(path, O_WRONLY | O_CREAT, 0666);
    assert_int_equal(write(fd, "{\"host\": 3}\nheld 1\n", 19), 19);
    close(fd);
    fails(lease_take(&p, &b, &e), ERR_DATA, "lease-0003");
    test_rmdir(dir);
}

static void a_removed_lease_is_noticed(void **state)
{
    (void)state;
    char dir[256], path[300];
    struct world w = {.alive = true};
    struct lease *a = NULL;
    struct err e;
    test_mkdir(dir);
    struct lease_options o = options(dir, &one, &w);
    ok(lease_take(&o, &a, &e));
    snprintf(path, sizeof path, "%s/lease-0001", dir);
    unlink(path);
    fails(lease_check(a, &e), ERR_IO, "is gone");
    fails(lease_beat(a, &e), ERR_IO, "heartbeat");
    lease_give(a);
    test_rmdir(dir);
}

/* The real process, clock and thread. */
static void the_thread_beats(void **state)
{
    (void)state;
    char dir[256], path[300];
    struct lease *a = NULL, *b = NULL;
    struct err e;
    size_t n = 0;
    test_mkdir(dir);
    struct lease_options o = {.dir = dir, .what = "the shard", .beat_s = 0.02};
    ok(lease_take(&o, &a, &e));
    snprintf(path, sizeof path, "%s/lease-0001", dir);
    char *before = test_read(path, &n), *after = NULL;
    for (int i = 0; i < 500; i++) {
        free(after);
        after = test_read(path, &n);
        if (strcmp(before, after) != 0)
            break;
        usleep(10000);
    }
    assert_string_not_equal(before, after);
    free(before);
    free(after);
    fails(lease_take(&o, &b, &e), ERR_CREATE, "is held by process"); /* this process lives */
    lease_give(a);
    ok(lease_take(&o, &b, &e));
    lease_give(b);
    test_rmdir(dir);
}

static void a_name_is_published_once(void **state)
{
    (void)state;
    char dir[256], path[300];
    struct folder f = {.lock = -1};
    struct err e;
    bool made = false;
    size_t n = 0;
    test_mkdir(dir);
    ok(folder_make(&f, dir, &e));
    ok(folder_publish(&f, "x", "one", 3, &made, &e));
    assert_true(made);
    ok(folder_publish(&f, "x", "two", 3, &made, &e));
    assert_false(made);
    snprintf(path, sizeof path, "%s/x", dir);
    char *text = test_read(path, &n);
    assert_string_equal(text, "one");
    free(text);
    assert_int_equal(test_count(dir), 1);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_that_was_given_back_is_taken_at_once),
        cmocka_unit_test(on_one_host_the_process_decides),
        cmocka_unit_test(on_another_host_the_heartbeat_decides),
        cmocka_unit_test(a_holder_with_slow_beats_is_given_more_time),
        cmocka_unit_test(waiting_ends_when_the_holder_gives_it_back_or_a_signal_comes),
        cmocka_unit_test(a_lease_in_the_making_or_damaged_is_no_free_lease),
        cmocka_unit_test(a_removed_lease_is_noticed),
        cmocka_unit_test(the_thread_beats),
        cmocka_unit_test(a_name_is_published_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
