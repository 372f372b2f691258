#include "cli.h"
#include "test.h"

/* The destination of a test's command line. */
struct line {
    struct cli_rows rows;
    struct engine_options opt;
    FILE *errors;
    char *message; /* the text printed to errors */
    size_t size;
};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct line *l = st->input;
    (void)arg;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    st->err_stream = l->errors;
    st->child_inputs[0] = &l->rows;
    return 0;
}

/* Parses the words up to NULL; the status of argp. */
static error_t parsed(struct line *l, char *const *words)
{
    char *argv[8] = {(char *)(uintptr_t) "mas"};
    int argc = 1;
    const struct argp_child children[] = {{&l->rows.argp, 0, NULL, 0}, {0}};
    const struct argp argp = {NULL, parse, NULL, NULL, children, NULL, NULL};
    while (words[argc - 1]) {
        argv[argc] = words[argc - 1];
        argc++;
    }
    free(l->message);
    l->errors = open_memstream(&l->message, &l->size);
    assert_non_null(l->errors);
    error_t rc = argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, l);
    assert_int_equal(fclose(l->errors), 0);
    return rc;
}

#define parse_words(l, ...) parsed(l, (char *[]){__VA_ARGS__, NULL})

static const struct cli_row some[] = {
    {.flag = "ctx", .doc = "Tokens of a window.", .otherwise = "512"},
    {.flag = "device", .letter = 'd'},
    {.flag = "threads"},
    {.flag = "kv-type", .group = 4},
    {.flag = "lookup"},
    {.flag = "no-prefix-cache"}};

static void a_command_takes_rows_by_name(void **state)
{
    (void)state;
    struct line l = {0};
    cli_rows_some(&l.rows, &engine_option_set, some, 6, &l.opt);
    assert_int_equal(l.rows.n, 6);
    assert_int_equal(l.opt.n_ctx, 512);
    assert_int_equal(l.opt.kv_fmt, FMT_F16);
    assert_int_equal(l.opt.page_tokens, 32); /* the table's default of a row that is not taken */
    assert_false(l.opt.lookup);              /* off, though the table says on */
    assert_string_equal(l.rows.option[0].doc, "tokens of a window (default 512)");
    assert_int_equal(l.rows.option[1].key, 'd');
    assert_int_equal(l.rows.option[2].key, 't');
    assert_int_equal(l.rows.option[3].group, 4);
    assert_int_equal(parse_words(&l, "--ctx=9", "-d", "3", "-t5", "--kv-type", "q8_0"), 0);
    assert_int_equal(l.opt.n_ctx, 9);
    assert_int_equal(l.opt.device, 3);
    assert_int_equal(l.opt.n_threads, 5);
    assert_int_equal(l.opt.kv_fmt, FMT_Q8_0);
    assert_int_equal(parse_words(&l, "--lookup", "--no-prefix-cache"), 0);
    assert_true(l.opt.lookup && l.opt.no_prefix_cache);
    assert_int_not_equal(parse_words(&l, "--vram=1GiB"), 0); /* a row that is not taken */
    free(l.message);
}

static void a_value_outside_its_row_is_refused_with_the_rule(void **state)
{
    (void)state;
    struct line l = {0};
    cli_rows_some(&l.rows, &engine_option_set, some, 6, &l.opt);
    static const char *const bad[][2] = {
        {"--ctx=0", "mas: --ctx is '0'; it takes a whole number from 1 to 1048576 (tokens)\n"},
        {"-d64", "mas: --device is '64'; it takes a whole number from 0 to 63\n"},
        {"-tx", "mas: --threads is 'x'; it takes a whole number from 0 to 256 (threads)\n"},
        {"--kv-type=q4", "mas: --kv-type is 'q4'; it takes one of "}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char word[32];
        snprintf(word, sizeof word, "%s", bad[i][0]);
        assert_int_equal(parse_words(&l, word), EINVAL);
        if (strncmp(l.message, bad[i][1], strlen(bad[i][1])))
            fail_msg("%s: %s", word, l.message);
    }
    assert_int_equal(l.opt.n_ctx, 512); /* as it was */
    assert_int_equal(l.opt.kv_fmt, FMT_F16);
    free(l.message);
}

/* A command that takes some of a row's choices names only these, and refuses the others. */
static void a_command_may_take_fewer_choices(void **state)
{
    (void)state;
    static const struct cli_row own[] = {{.flag = "isa", .choices = "auto|avx2"}};
    struct line l = {0};
    cli_rows_some(&l.rows, &engine_option_set, own, 1, &l.opt);
    assert_non_null(strstr(l.rows.option[0].doc, "; one of auto|avx2 (default auto)"));
    assert_int_equal(parse_words(&l, "--isa=avx2"), 0);
    assert_string_equal(l.opt.isa, "avx2");
    assert_int_equal(parse_words(&l, "--isa=amx"), EINVAL);
    assert_non_null(strstr(l.message, "--isa is 'amx'; it takes one of auto|avx2\n"));
    assert_string_equal(l.opt.isa, "avx2"); /* as it was */
    free(l.message);
}

static void all_rows_but_the_absent_ones_are_options(void **state)
{
    (void)state;
    static const struct cli_row own[] = {{.flag = "ctx", .absent = true},
                                         {.flag = "vram", .doc = "Memory of the card."}};
    struct line l = {0};
    cli_rows_all(&l.rows, &engine_option_set, own, 2, 10, &l.opt);
    assert_int_equal(l.rows.n, engine_option_set.n - 1);
    for (int i = 0; i < l.rows.n; i++) {
        assert_string_not_equal(l.rows.option[i].name, "ctx");
        assert_int_equal(l.rows.option[i].group, 10);
        if (!strcmp(l.rows.option[i].name, "vram"))
            assert_string_equal(l.rows.option[i].doc, "memory of the card (default 0)");
    }
    assert_int_not_equal(parse_words(&l, "--ctx=9"), 0);
    assert_int_equal(parse_words(&l, "--vram=1GiB"), 0);
    assert_true(l.opt.vram_bytes == 1073741824);
    free(l.message);
}

static void the_engines_parser_knows_what_was_given(void **state)
{
    (void)state;
    static const struct cli_row own[] = {{.flag = "ctx", .otherwise = "512"}};
    struct cli_engine ce;
    cli_engine_init(&ce, own, 1);
    assert_null(ce.opt.model);
    assert_int_equal(ce.opt.n_ctx, 512);
    cli_engine_init(&ce, NULL, 0);
    assert_int_equal(ce.opt.n_ctx, 0); /* the model's own limit may be less than the default */
    assert_false(ce.opt.lookup || ce.opt.no_prefix_cache || ce.opt.map_weights);
    char *argv[] = {(char *)(uintptr_t) "mas",
                    (char *)(uintptr_t) "-m",
                    (char *)(uintptr_t) "demo",
                    (char *)(uintptr_t) "--quiet",
                    (char *)(uintptr_t) "--lookup",
                    (char *)(uintptr_t) "--max-draft=4",
                    NULL};
    assert_int_equal(argp_parse(&ce.rows.argp, 6, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, &ce), 0);
    assert_true(ce.quiet && ce.drafts);
    assert_string_equal(ce.opt.model, "demo");
    assert_int_equal(ce.opt.max_draft, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_takes_rows_by_name),
        cmocka_unit_test(a_value_outside_its_row_is_refused_with_the_rule),
        cmocka_unit_test(a_command_may_take_fewer_choices),
        cmocka_unit_test(all_rows_but_the_absent_ones_are_options),
        cmocka_unit_test(the_engines_parser_knows_what_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
