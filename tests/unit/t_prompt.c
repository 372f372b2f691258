/* Prompt files: every slot known, every slot used, values never searched again. */
#include <sys/stat.h>

#include "embed.h"
#include "prompt.h"
#include "test.h"

static char dir[256];
static const char *const slots[] = {"question", "options", NULL};
static const struct prompt_constant constants[] = {{"k", "5"}};

static int setup(void **state)
{
    (void)state;
    char sub[300];
    snprintf(sub, sizeof sub, "%s/s", test_mkdir(dir));
    return mkdir(sub, 0777);
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void put(const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int load(const char *text, struct prompt **p, struct err *e)
{
    struct prompt_source src = {dir, "s"};
    put("role.txt", text);
    return prompt_open(&src, "role", constants, 1, slots, p, e);
}

static void slots_are_filled_once_and_braces_unescaped(void **state)
{
    (void)state;
    struct err e;
    struct prompt *p = NULL;
    struct str s = STR_INIT;
    size_t n;
    ok(load("[system]\n\nChoose {k} as {{\"a\": 1}}.\n\n[user]\n\n{question}\n--\n{options} {question}\n", &p, &e));
    assert_string_equal(prompt_system(p, &n), "Choose 5 as {\"a\": 1}.");
    assert_int_equal(n, 21);
    prompt_render(p, (const char *const[]){"Q {options} {k} {{", "O"}, &s);
    assert_string_equal(s.s, "Q {options} {k} {{\n--\nO Q {options} {k} {{");
    assert_string_equal(prompt_name(p), "s/role");
    assert_int_equal(strlen(prompt_hash(p)), 16);
    prompt_close(p);
    str_free(&s);
}

static void faults_are_found_when_the_file_is_read(void **state)
{
    (void)state;
    struct err e;
    struct prompt *p = NULL;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "role.txt:1: must begin with the line [system]"},
        {"x\n[system]\n{k}\n[user]\n{question}{options}", "must begin with the line [system]"},
        {"[system]\n{k}\n", "has no line [user]"},
        {"[system]\n{k}\n[user] \n{question}{options}", "has no line [user]"},
        {"[system]\n{k}\n[user]\n{question}\n", "section [user] has no slot {options}"},
        {"[system]\n\n[user]\n{question}{options}", "section [system] has no slot {k}"},
        {"[system]\n{k}\n[user]\n{question}\n{optoins}", "role.txt:5: unknown slot {optoins} in section [user]"},
        {"[system]\n{k} {question}\n[user]\n{question}{options}", "role.txt:2: unknown slot {question} in section [system]"},
        {"[system]\n{k}\n[user]\n{question} {options", "role.txt:4: a single '{'"},
        {"[system]\n{k}\n[user]\n{question} } {options}", "role.txt:4: a single '}'"},
        {"[system]\n{k}\n[user]\n{question} {} {options}", "a single '{'"},
        {"[system]\n{k}\n[user]\n{Question} {options}", "a single '{'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        fails(load(bad[i].text, &p, &e), ERR_CONFIG, bad[i].why);
    struct prompt_source src = {dir, "s"};
    fails(prompt_open(&src, "absent", constants, 1, slots, &p, &e), ERR_NOINPUT, "s/absent.txt");
    src.dir = "";
    fails(prompt_open(&src, "absent", constants, 1, slots, &p, &e), ERR_NOINPUT, "no built-in prompt");
}

static void the_hash_changes_with_the_text_and_with_constants(void **state)
{
    (void)state;
    struct err e;
    static const char *const texts[] = {"[system]\n{k}\n[user]\n{question}{options}",
                                        "[system]\n{k}!\n[user]\n{question}{options}",
                                        "[system]\n{k}\n[user]\n{options}{question}"};
    char hash[4][20];
    for (int i = 0; i < 4; i++) {
        struct prompt *p = NULL;
        struct prompt_source src = {dir, "s"};
        struct prompt_constant c = {"k", i == 3 ? "6" : "5"};
        put("role.txt", texts[i % 3]);
        ok(prompt_open(&src, "role", &c, 1, slots, &p, &e));
        snprintf(hash[i], sizeof hash[i], "%s", prompt_hash(p));
        prompt_close(p);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(hash[i], hash[j]);
    }
}

static void schemas_get_json_in_place_of_quoted_slots(void **state)
{
    (void)state;
    struct err e;
    struct str s = STR_INIT;
    struct prompt_source src = {dir, "s"};
    put("a.json", "{\"enum\": \"{ids}\", \"maxItems\": \"{k}\", \"title\": \"{not a slot}\"}");
    struct prompt_constant c[] = {{"ids", "[\"x\"]"}, {"k", "5"}, {"extra", "1"}};
    ok(prompt_schema(&src, "a.json", c, 2, &s, &e));
    assert_string_equal(s.s, "{\"enum\": [\"x\"], \"maxItems\": 5, \"title\": \"{not a slot}\"}");
    fails(prompt_schema(&src, "a.json", c, 1, &s, &e), ERR_CONFIG, "a.json:1: unknown slot {k}");
    fails(prompt_schema(&src, "a.json", c, 3, &s, &e), ERR_CONFIG, "has no slot \"{extra}\"");
    str_free(&s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(slots_are_filled_once_and_braces_unescaped),
        T(faults_are_found_when_the_file_is_read),
        T(the_hash_changes_with_the_text_and_with_constants),
        T(schemas_get_json_in_place_of_quoted_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
