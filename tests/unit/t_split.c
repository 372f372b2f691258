/* Models in several files: any part opens the whole, and each contradiction is named. */
#include <sys/stat.h>
#include <unistd.h>

#include "gguf_cut.h"
#include "gguf_make.h"
#include "mem.h"
#include "sha256.h"
#include "source.h"
#include "test.h"

#define TOY TEST_SOURCE "/configs/demo/toy_clinic.gguf" /* with 7 MiB of VRAM, streamed */
#define WHOLE TEST_GOLDEN "/stories260K-Q4_1.gguf"

static char dir[256], prefix[300], part[3][400];

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(prefix, sizeof prefix, "%s/m", dir);
    for (int i = 0; i < 3; i++)
        snprintf(part[i], sizeof part[i], "%s-%05d-of-00003.gguf", prefix, i + 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void same_tensors(const struct gguf *whole, const struct gguf *split)
{
    struct err e;
    assert_int_equal(gguf_n_tensors(split), gguf_n_tensors(whole));
    for (size_t i = 0; i < gguf_n_tensors(whole); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(whole, i), *b;
        char name[65] = {0}, *copy = malloc((size_t)a->bytes);
        uint64_t at;
        memcpy(name, a->name.s, a->name.len);
        b = gguf_tensor_find(split, name);
        assert_non_null(b);
        assert_int_equal(b->bytes, a->bytes);
        assert_memory_equal(b->t.data, a->t.data, a->bytes); /* mapped */
        ok(gguf_read(split, b->at, copy, (size_t)a->bytes, &e));
        assert_memory_equal(copy, a->t.data, a->bytes); /* read */
        ok(gguf_populate(split, b->at, b->bytes, &e));
        assert_true(gguf_offset(split, b->t.data, &at));
        assert_int_equal(at, b->at);
        struct gguf_part p = gguf_part(split, gguf_part_of(split, b->at));
        assert_true(b->at >= p.at && b->at + b->bytes <= p.at + p.bytes);
        free(copy);
    }
}

static void any_part_opens_the_whole_model(void **state)
{
    (void)state;
    struct gguf *whole, *split;
    struct err e;
    struct str out = STR_INIT;
    char hex[65];
    ok(gguf_open(WHOLE, &whole, &e));
    for (int empty = 0; empty < 2; empty++) {
        gguf_cut(WHOLE, prefix, 3, &(struct gguf_cut){.part = -1, .first_is_metadata = empty});
        for (int i = 0; i < 3; i++) {
            ok(source_open(part[i], &split, &e));
            assert_string_equal(gguf_path(split), part[0]);
            assert_int_equal(gguf_n_parts(split), 3);
            assert_int_equal(gguf_n_kv(split), gguf_n_kv(whole) + 3);
            same_tensors(whole, split);
            uint64_t bytes = 0;
            for (size_t k = 0; k < 3; k++) {
                assert_string_equal(gguf_part(split, k).path, part[k]);
                bytes += gguf_part(split, k).bytes;
            }
            assert_int_equal(gguf_file_bytes(split), bytes);
            ok(source_sha256(split, NULL, NULL, hex, &e));
            assert_int_equal(test_run(&out, "cat %s %s %s | sha256sum", part[0], part[1], part[2]),
                             0);
            assert_int_equal(strncmp(out.s, hex, 64), 0);
            fails(gguf_read(split, gguf_part(split, 1).at - 1, hex, 2, &e), ERR_BUG, "asked for");
            gguf_close(split);
            str_free(&out);
        }
    }
    gguf_close(whole);
}

static void a_missing_part_is_named(void **state)
{
    (void)state;
    struct gguf *g;
    struct err e;
    for (int gone = 0; gone < 3; gone++) {
        gguf_cut(WHOLE, prefix, 3, NULL);
        assert_int_equal(unlink(part[gone]), 0);
        for (int i = 0; i < 3; i++)
            if (i != gone) {
                char says[64];
                snprintf(says, sizeof says, "part %d of 3 of a model is missing", gone + 1);
                fails(source_open(part[i], &g, &e), ERR_NOINPUT, says);
                assert_non_null(strstr(e.msg, part[gone]));
            }
    }
}

static void contradictions_are_named(void **state)
{
    (void)state;
    static const struct {
        struct gguf_cut cut;
        const char *says;
    } cases[] = {
        {{.part = 1, .no = 1}, "m-00002-of-00003.gguf: split.no is 2, must be 1"},
        {{.part = 2, .no = 7}, "m-00003-of-00003.gguf: split.no is 9, but split.count is 3"},
        {{.part = 1, .count = 2}, "split.count is 5, in the first part 3"},
        {{.part = 2, .count = -3}, "split.count is 0, in the first part 3"},
        {{.part = -1, .tensors = 1}, "split.tensors.count is 49, but the 3 parts hold 48"},
        {{.part = 2, .twice = "output_norm.weight"}, "tensor 'output_norm.weight' stands in an"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gguf *g;
        struct err e;
        gguf_cut(WHOLE, prefix, 3, &cases[i].cut);
        fails(source_open(part[0], &g, &e), ERR_DATA, cases[i].says);
    }
}

static void a_part_must_have_its_name_and_be_whole(void **state)
{
    (void)state;
    struct gguf *g;
    struct err e;
    struct stat st;
    struct str out = STR_INIT;
    char other[400];
    gguf_cut(WHOLE, prefix, 3, NULL);
    snprintf(other, sizeof other, "%s/renamed.gguf", dir);
    assert_int_equal(test_run(&out, "cp %s %s", part[1], other), 0);
    fails(source_open(other, &g, &e), ERR_DATA, "its name must end in -00002-of-00003.gguf");
    assert_int_equal(unlink(part[0]), 0);
    assert_int_equal(rename(other, part[0]), 0); /* its keys contradict its name */
    fails(source_open(part[0], &g, &e), ERR_DATA, "its name must end in -00002-of-00003.gguf");
    assert_int_equal(unlink(part[0]), 0);
    gguf_cut(WHOLE, prefix, 3, NULL);
    assert_int_equal(stat(part[2], &st), 0);
    assert_int_equal(truncate(part[2], st.st_size - 1), 0);
    fails(source_open(part[0], &g, &e), ERR_DATA, "m-00003-of-00003.gguf: tensor");
    assert_non_null(strstr(e.msg, "download incomplete"));
    assert_int_equal(truncate(part[2], 0), 0);
    fails(source_open(part[0], &g, &e), ERR_DATA, "m-00003-of-00003.gguf is empty");
}

/* As in the Hugging Face cache: the names are links to files of other names. */
static void names_may_be_links(void **state)
{
    (void)state;
    struct gguf *whole, *split;
    struct err e;
    gguf_cut(WHOLE, prefix, 3, NULL);
    for (int i = 0; i < 3; i++) {
        char blob[400];
        snprintf(blob, sizeof blob, "%s/blob%d", dir, i);
        assert_int_equal(rename(part[i], blob), 0);
        assert_int_equal(symlink(strrchr(blob, '/') + 1, part[i]), 0);
    }
    ok(gguf_open(WHOLE, &whole, &e));
    ok(source_open(part[1], &split, &e));
    same_tensors(whole, split);
    gguf_close(split);
    gguf_close(whole);
}

static void a_changed_part_is_noticed(void **state)
{
    (void)state;
    struct gguf *g;
    struct err e;
    struct stat st;
    char byte;
    gguf_cut(WHOLE, prefix, 3, NULL);
    ok(source_open(part[0], &g, &e));
    ok(gguf_check_unchanged(g, &e));
    assert_int_equal(stat(part[2], &st), 0);
    assert_int_equal(truncate(part[2], st.st_size - 1), 0);
    fails(gguf_check_unchanged(g, &e), ERR_IO, "m-00003-of-00003.gguf became shorter");
    struct gguf_part last = gguf_part(g, 2);
    fails(gguf_read(g, last.at + last.bytes - 1, &byte, 1, &e), ERR_IO, "became shorter");
    gguf_close(g);
}

/* The options give the same text with the parts as with the whole file. */
static void same_text(const char *mas, const char *whole, const char *options)
{
    struct str a = STR_INIT, b = STR_INIT;
    static const char form[] = "'%s' generate --quiet -t 1 --temp 0 -p 'Once upon a time' %s -m %s";
    gguf_cut(whole, prefix, 3, NULL);
    int want = test_run(&a, form, mas, options, whole);
    if (want == 69) {
        print_message("skipped: no backend for %s\n", options);
    } else {
        if (want != 0)
            fail_msg("%s: %s", options, a.s);
        assert_int_equal(test_run(&b, form, mas, options, part[1]), 0);
        assert_string_equal(b.s, a.s);
    }
    str_free(&a);
    str_free(&b);
}

/* Resident, mapped and streamed weights, and the conversion of a model. */
static void commands_give_the_same_result(void **state)
{
    (void)state;
    const char *mas = getenv("MAS");
    struct str out = STR_INIT;
    if (!mas) {
        print_message("skipped: no MAS\n");
        skip();
    }
    same_text(mas, WHOLE, "-n 24 --backend cpu");
    same_text(mas, WHOLE, "-n 24 --backend cpu --map-weights");
    same_text(mas, WHOLE, "-n 3 --backend cudahost");
    same_text(mas, TOY, "-n 2 --backend cudahost --ctx 64 --batch-tokens 16 --vram 7MiB");
    gguf_cut(WHOLE, prefix, 3, NULL);
    if (test_run(&out,
                 "cd '%s' && '%s' quantize --quiet --allow-requantize '%s' whole.gguf Q8_0 && "
                 "'%s' quantize --quiet --allow-requantize '%s' split.gguf Q8_0 && cmp whole.gguf "
                 "split.gguf",
                 dir, mas, WHOLE, mas, part[0]) != 0)
        fail_msg("%s", out.s);
    str_clear(&out);
    assert_int_equal(test_run(&out, "'%s' quantize --quiet --allow-requantize '%s' '%s' Q8_0", mas,
                              part[0], part[2]),
                     64);
    assert_non_null(strstr(out.s, "is the input"));
    str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_part_opens_the_whole_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_part_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(contradictions_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_part_must_have_its_name_and_be_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_may_be_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_part_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(commands_give_the_same_result, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
