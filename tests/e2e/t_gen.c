/* One reply of the server: stop strings wherever tokens end, whole characters, thinking, and
 * cancels. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "gen.h"
#include "serve.h"
#include "test.h"

enum { NEW = 48 };

struct bench {
    struct engine *en;
    struct hub_model m;
    struct work *work;
};

struct trial {
    struct gen g;
    struct str text, think; /* the pieces, one after another */
    int pieces, cancel_at;
    size_t end[NEW + 8]; /* of each piece in text */
    int n_end;
    atomic_bool done;
};

static void setup(struct bench *b)
{
    struct err e;
    struct engine_options o = serve_options();
    memset(b, 0, sizeof *b);
    ok(engine_open(&o, &b->en, &e));
    ok(work_open(2, &b->work, &e));
    b->m.name = "tiny";
    b->m.en = b->en;
    b->m.tok = engine_tokenizer(b->en);
    b->m.info = engine_info(b->en);
}

static void teardown(struct bench *b)
{
    work_close(b->work);
    engine_close(b->en);
}

static void on_piece(struct gen *g, const char *text, size_t n, bool thinking)
{
    struct trial *t = g->user;
    str_add(thinking ? &t->think : &t->text, text, n);
    if (!thinking)
        t->end[t->n_end++] = t->text.len;
    if (++t->pieces == t->cancel_at)
        gen_cancel(g);
}

static void on_done(struct gen *g)
{
    struct trial *t = g->user;
    assert_false(atomic_load(&t->done));
    atomic_store(&t->done, true);
}

static void begin(struct bench *b, struct trial *t, uint64_t seed)
{
    struct err e;
    memset(t, 0, sizeof *t);
    t->text = t->think = (struct str)STR_INIT;
    gen_init(&t->g, &b->m, b->work);
    for (int i = 0; i < 5; i++)
        ok(token_list_push(&t->g.prompt, 40 + i * 3, &e));
    t->g.continues = true;
    t->g.r.id = 1;
    t->g.r.seed = seed;
    t->g.r.temperature = 0.9f;
    t->g.r.max_new = NEW;
    t->g.r.ignore_eos = true;
    t->g.on_piece = on_piece;
    t->g.done = on_done;
    t->g.user = t;
}

static void submit(struct trial *t)
{
    struct err e;
    ok(gen_submit(&t->g, &e));
}

/* No piece ends within a character. The model writes bytes that are none, too. */
static void whole_characters(const struct trial *t)
{
    int at = 0;
    for (size_t i = 0; i < t->text.len;) {
        uint32_t cp;
        int k = utf8_decode(t->text.s + i, t->text.len - i, &cp);
        i += k ? (size_t)k : 1;
        while (at < t->n_end && t->end[at] < i)
            fail_msg("piece %d ends within a character of '%s'", at, t->text.s);
        at += at < t->n_end && t->end[at] == i;
    }
}

static void wait_for(struct trial *t)
{
    for (int i = 0; !atomic_load(&t->done); i++) {
        if (i == 60000)
            fail_msg("a reply has no end");
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    whole_characters(t);
    assert_string_equal(t->text.s, t->g.text.s);
    assert_string_equal(t->think.s, t->g.think.s);
}

static void clear(struct trial *t)
{
    gen_free(&t->g);
    str_free(&t->text);
    str_free(&t->think);
}

/* The reply without stop strings. */
static char *whole(struct bench *b, uint64_t seed)
{
    struct trial t;
    begin(b, &t, seed);
    submit(&t);
    wait_for(&t);
    assert_int_equal(t.g.finish, GEN_LENGTH);
    assert_int_equal(t.g.n_text, NEW);
    assert_int_equal(gen_tokens(&t.g), NEW);
    assert_int_equal(t.g.stopped, -1);
    char *s = strdup(t.g.text.s);
    clear(&t);
    return s;
}

/* Every part of the reply as a stop string, and its first bytes as one that never comes. */
static void stops_anywhere(void **state)
{
    (void)state;
    static const size_t len[] = {1, 2, 3, 5, 8, 13, 40};
    struct bench b;
    struct err e;
    int n = 0;
    setup(&b);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        char *all = whole(&b, seed);
        size_t size = strlen(all);
        assert_true(size > 20);
        for (size_t l = 0; l < sizeof len / sizeof *len; l++) {
            size_t most = size > len[l] ? size - len[l] + 1 : 0;
            struct trial *t = calloc(most + 1, sizeof *t);
            char(*never)[64] = calloc(most + 1, sizeof *never);
            for (size_t i = 0; i < most; i++) {
                memcpy(never[i], all + i, len[l]);
                strcpy(never[i] + len[l], "\x01\x02");
                begin(&b, &t[i], seed);
                ok(gen_add_stop(&t[i].g, never[i], len[l] + 2, &e));
                ok(gen_add_stop(&t[i].g, all + i, len[l], &e));
                submit(&t[i]);
            }
            for (size_t i = 0; i < most; i++, n++) {
                wait_for(&t[i]);
                char part[64] = {0};
                memcpy(part, all + i, len[l]);
                size_t want = (size_t)(strstr(all, part) - all);
                if (t[i].g.text.len != want || memcmp(all, t[i].g.text.s, want) != 0)
                    fail_msg("seed %d, stop string '%s': text '%s'", (int)seed, part,
                             t[i].g.text.s);
                assert_int_equal(t[i].g.finish, GEN_STOP);
                assert_int_equal(t[i].g.stopped, 1);
                clear(&t[i]);
            }
            struct trial one; /* a stop string that begins like the reply's end, and never comes */
            begin(&b, &one, seed);
            char tail[64] = {0};
            snprintf(tail, sizeof tail, "%s!", all + (size > len[l] ? size - len[l] : 0));
            ok(gen_add_stop(&one.g, tail, strlen(tail), &e));
            submit(&one);
            wait_for(&one);
            assert_string_equal(one.g.text.s, all);
            assert_int_equal(one.g.finish, GEN_LENGTH);
            clear(&one);
            free(t);
            free(never);
        }
        free(all);
    }
    print_message("%d stop strings\n", n);
    teardown(&b);
}

/* Of two stop strings the one that begins first ends the reply; of two at one place the longer. */
static void first_stop_wins(void **state)
{
    (void)state;
    struct bench b;
    struct err e;
    setup(&b);
    char *all = whole(&b, 1);
    char one[2] = {all[10], 0}, two[3] = {all[10], all[11], 0};
    struct trial t;
    begin(&b, &t, 1);
    ok(gen_add_stop(&t.g, two, 2, &e));
    ok(gen_add_stop(&t.g, one, 1, &e));
    submit(&t);
    wait_for(&t);
    size_t want = (size_t)(strchr(all, one[0]) - all);
    assert_int_equal(t.g.text.len, want);
    clear(&t);
    fails(gen_add_stop(&t.g, "", 0, &e), ERR_DATA, "0 bytes");
    free(all);
    teardown(&b);
}

static void cancel_at_every_piece(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    char *all = whole(&b, 2);
    for (int at = 1; at <= 30; at++) {
        struct trial t;
        begin(&b, &t, 2);
        t.cancel_at = at;
        submit(&t);
        wait_for(&t);
        assert_true(t.g.finish == GEN_CANCEL || t.g.finish == GEN_LENGTH);
        assert_true(!strncmp(all, t.g.text.s, t.g.text.len));
        assert_true(t.pieces <= at + 2);
        clear(&t);
    }
    /* At once. On a loaded machine the engine may be faster than this thread, but not each time. */
    int at_once = 0;
    for (int i = 0; i < 200 && !at_once; i++) {
        struct trial t;
        begin(&b, &t, 2);
        submit(&t);
        gen_cancel(&t.g);
        wait_for(&t);
        assert_true(t.g.finish == GEN_CANCEL || t.g.finish == GEN_LENGTH);
        assert_true(!strncmp(all, t.g.text.s, t.g.text.len));
        at_once = t.g.finish == GEN_CANCEL && !t.pieces;
        clear(&t);
    }
    assert_true(at_once);
    free(all);
    teardown(&b);
}

/* A block of thinking of every length before the reply: its pieces are thought, the rest is
 * text. */
static void thinking_is_apart(void **state)
{
    (void)state;
    static const int32_t end[] = {60, 61};
    struct bench b;
    setup(&b);
    for (int max = 1; max < 24; max++) {
        char *all = whole(&b, (uint64_t)max);
        for (int i = 0; i < 3; i++) { /* closed by its text, if that is one the model writes */
            char close[3] = {i ? all[4 * i] : '\x03', i ? all[4 * i + 1] : '\x04', 0};
            struct trial t;
            begin(&b, &t, (uint64_t)max);
            t.g.r.think = (struct request_think){
                .max = max, .close = close, .n_close = 2, .end = end, .n_end = 2};
            submit(&t);
            wait_for(&t);
            assert_int_equal(t.g.r.n_out - t.g.r.n_think, t.g.n_text);
            assert_null(strstr(t.g.think.s, close));
            assert_true(t.g.r.n_think >= 1 && t.g.r.n_think <= max + 2);
            assert_int_equal(t.g.finish, GEN_LENGTH);
            clear(&t);
        }
        free(all);
    }
    teardown(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_anywhere),
        cmocka_unit_test(first_stop_wins),
        cmocka_unit_test(cancel_at_every_piece),
        cmocka_unit_test(thinking_is_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
