/* Prompt files: every slot is known and used, and values are never searched for slots. */
#include <sys/stat.h>
#include <unistd.h>

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

static void put_bytes(const char *name, const char *text, size_t n)
{
    char path[400];
    snprintf(path, sizeof path, "%s/s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
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
    ok(load("[system]\n\nChoose {k} as {{\"a\": 1}}.\n\n[user]\n\n{question}\n--\n{options} "
            "{question}\n",
            &p, &e));
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
        {"[system]\n{k}\n[user]\n{question}\n{optoins}",
         "role.txt:5: unknown slot {optoins} in section [user]"},
        {"[system]\n{k} {question}\n[user]\n{question}{options}",
         "role.txt:2: unknown slot {question} in section [system]"},
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
    fails(prompt_open(&src, "absent", constants, 1, slots, &p, &e), ERR_NOINPUT,
          "no built-in prompt");
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

/* Editors of other systems end lines in CR LF and begin a file with a byte order mark: prompt and
 * hash stay the same. */
static void line_ends_and_a_mark_at_the_beginning_change_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[system]\n\nA {k}\nB {{\"a\"}}\n\n[user]\n{question}\n\n{options}\n",
        "[system]\r\n\r\nA {k}\r\nB {{\"a\"}}\r\n\r\n[user]\r\n{question}\r\n\r\n{options}\r\n",
        "\xef\xbb\xbf[system]\n\nA {k}\nB {{\"a\"}}\n\n[user]\n{question}\n\n{options}\n",
        "\xef\xbb\xbf[system]\r\n\nA {k}\r\nB {{\"a\"}}\n\r\n[user]\r\n{question}\n\r\n{options}"};
    struct prompt_source src = {dir, "s"};
    char hash[20] = "";
    for (int i = 0; i < 3; i++) {
        struct err e;
        struct prompt *p = NULL;
        struct str s = STR_INIT;
        size_t n;
        ok(load(texts[i], &p, &e));
        assert_string_equal(prompt_system(p, &n), "A 5\nB {\"a\"}");
        prompt_render(p, (const char *const[]){"Q\r\n", "O"}, &s);
        assert_string_equal(s.s, "Q\r\n\n\nO"); /* values are not changed */
        if (i)
            assert_string_equal(prompt_hash(p), hash);
        snprintf(hash, sizeof hash, "%s", prompt_hash(p));
        prompt_close(p);
        str_free(&s);
    }
    struct err e;
    struct prompt *p = NULL;
    struct str s = STR_INIT;
    ok(load(texts[3], &p, &e));
    prompt_close(p);
    put("system.txt", "\xef\xbb\xbfone\r\ntwo\r lone\r\n\r\n");
    ok(prompt_text(&src, "system.txt", &s, &e));
    assert_string_equal(s.s, "one\ntwo\n lone");
    str_clear(&s);
    put("a.json", "\xef\xbb\xbf{\r\n\"a\": \"{k}\"\r\n}\r\n");
    ok(prompt_schema(&src, "a.json", constants, 1, &s, &e));
    assert_string_equal(s.s, "{\n\"a\": 5\n}\n");
    str_free(&s);
    fails(load("[system]\r\n{k}\r\n[user]\r\n{question}\r\n{optoins}\r\n", &p, &e), ERR_CONFIG,
          "role.txt:5: unknown slot {optoins}");
}

static void other_encodings_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *why;
    } bad[] = {
        {"\xff\xfe[\0s\0y\0", 8, "is UTF-16LE text, UTF-8 is needed"},
        {"\xfe\xff\0[\0s\0y", 8, "is UTF-16BE text"},
        {"[\0s\0y\0s\0", 8, "is UTF-16LE text"},
        {"\0[\0s\0y\0s", 8, "is UTF-16BE text"},
        {"[system]\n{k}\n[user]\n{question}\0{options}", 40, "role.txt has a NUL byte at 30 of 40"},
        {"[system]\n{k} caf\xe9\n[user]\n{question}{options}", 43,
         "role.txt:2: byte 0xe9 is not UTF-8; save the file as UTF-8"},
    };
    struct prompt_source src = {dir, "s"};
    struct str s = STR_INIT;
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct prompt *p = NULL;
        put_bytes("role.txt", bad[i].text, bad[i].n);
        fails(prompt_open(&src, "role", constants, 1, slots, &p, &e), ERR_CONFIG, bad[i].why);
        fails(prompt_text(&src, "role.txt", &s, &e), ERR_CONFIG, bad[i].why);
        fails(prompt_schema(&src, "role.txt", NULL, 0, &s, &e), ERR_CONFIG, bad[i].why);
    }
    str_free(&s);
}

static void a_prompt_from_another_system_is_accepted(void **state)
{
    (void)state;
    struct err e;
    struct prompt *p = NULL;
    struct prompt_source src = {dir, "s"};
    size_t n;
    if (access(TEST_DATA "/../cases/text/prompt_crlf_answer.txt", R_OK) != 0) {
        print_message("skipped: no cases/text/prompt_crlf_answer.txt\n");
        skip();
    }
    char *text = test_read(TEST_DATA "/../cases/text/prompt_crlf_answer.txt", &n);
    put_bytes("answer.txt", text, n);
    free(text);
    ok(prompt_open(&src, "answer", NULL, 0, slots, &p, &e));
    assert_null(strchr(prompt_system(p, &n), '\r'));
    prompt_close(p);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(slots_are_filled_once_and_braces_unescaped),
        T(faults_are_found_when_the_file_is_read),
        T(the_hash_changes_with_the_text_and_with_constants),
        T(schemas_get_json_in_place_of_quoted_slots),
        T(line_ends_and_a_mark_at_the_beginning_change_nothing),
        T(other_encodings_are_refused_by_name),
        T(a_prompt_from_another_system_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
