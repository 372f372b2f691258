/* Strategy direct in the forms of its prompt. That of lm-evaluation-harness is compared with facts
 * of its task medqa_4options. */
#include "chat.h"
#include "report.h"
#include "script.h"
#include "test.h"
#include "tokenizer.h"
#include "trace.h"

#define LLAMA3 "vocab/ggml-vocab-llama-bpe.gguf"
#define LLAMA2 "vocab/ggml-vocab-llama-spm.gguf"
#define MEDQA "medqa/test_4opt.jsonl"

static const char two[] =
    "{\"question\": \"Which one?\", \"answer\": \"b b\", \"options\": {\"A\": \"a\", \"B\": \"b "
    "b\", "
    "\"C\": \"c\", \"D\": \"d\"}, \"meta_info\": \"step1\", \"answer_idx\": \"B\"}\n"
    "{\"question\": \"And\\nwhich now?\", \"answer\": \"a\", \"options\": {\"A\": \"a\", \"B\": "
    "\"f\", "
    "\"C\": \"e\"}, \"meta_info\": \"step2&3\", \"answer_idx\": \"A\"}\n";

struct asked { /* by the strategy */
    int n;
    bool bos, shuffled;
    struct token_list tokens;    /* of all prompts, if tok is given */
    const struct tokenizer *tok; /* or NULL */
};

/* Adds the tokens of the prompt. Encoding it with an option behind it adds one token, that of the
 * letter. */
static void count_tokens(const struct llm_call *c, struct asked *a)
{
    struct err e;
    struct token_list prompt = {0}, rest = {0};
    struct chat_option o[4];
    int len[4];
    size_t before = a->tokens.n;
    assert_int_equal(c->n_options, 4);
    for (int i = 0; i < 4; i++)
        o[i] = (struct chat_option){c->options[i].s, c->options[i].n};
    ok(tokenizer_encode(a->tok, c->user, c->user_len, 0, &a->tokens, &e));
    ok(chat_raw_options(a->tok, c->user, c->user_len, 0, o, 4, &prompt, &rest, len, &e));
    assert_int_equal(prompt.n, a->tokens.n - before);
    assert_memory_equal(prompt.id, a->tokens.id + before, prompt.n * sizeof *prompt.id);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(len[i], 1);
        assert_int_equal(rest.id[i], tokenizer_find(a->tok, o[i].s, o[i].n));
    }
    token_list_free(&prompt);
    token_list_free(&rest);
}

/* Scores an option by the first letter of its text. */
static void answer(struct llm_call *c, void *user)
{
    struct asked *a = user;
    assert_true(c->raw && !c->system_len && !c->reply_prefix && c->max_tokens == 0);
    assert_int_equal(c->no_bos, !a->bos);
    a->n++;
    for (int i = 0; i < c->n_options; i++) {
        const char want[] = {' ', (char)('A' + i), 0};
        const char head[] = {'\n', (char)('A' + i), '.', ' ', 0};
        assert_string_equal(c->options[i].s, want);
        assert_int_equal(c->options[i].n, 2);
        c->option_lp[i] = -1 - (strstr(c->user, head)[4] - 'a') / 8.0;
    }
    if (a->tok)
        count_tokens(c, a);
    else if (!a->shuffled)
        assert_string_equal(c->user, c->n_options == 4
                                         ? "Question: Which one?\nA. a\nB. b b\nC. c\nD. d\nAnswer:"
                                         : "Question: And\nwhich now?\nA. a\nB. f\nC. e\nAnswer:");
}

static void run(struct asked *a, const struct medqa *m, const char *form, const char *dir)
{
    struct err e;
    struct bench b;
    struct run_progress p = {.done = 0};
    bench_open(&b, 5, (const char *[]){"strategy=direct", form, NULL});
    llm_close(b.llm);
    if (!a->tok)
        assert_int_equal(m->n, 2);
    ok(llm_script_open(answer, a, 0, &b.llm, &e));
    b.env.llm = b.llm;
    b.env.shuffle = a->shuffled;
    ok(bench_run(&b, m, dir, 4, &p, &e));
    bench_close(&b);
}

static void the_form_of_lm_eval_is_its_text_and_nothing_more(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    char dir[256];
    ok(medqa_parse(two, sizeof two - 1, "test", &m, &e));
    struct asked a = {.bos = false}, b = {.bos = true};
    run(&a, &m, "direct.prompt_form=lm-eval", bench_mkdir(dir));
    test_rmdir(dir);
    run(&b, &m, "direct.prompt_form=lm-eval-bos", bench_mkdir(dir));
    test_rmdir(dir);
    assert_true(a.n == 2 && b.n == 2);
    medqa_free(&m);
}

/* The trace and the table have the log-probability of each option, in the order of the file. */
static void log_probabilities_are_recorded_by_option(void **state)
{
    (void)state;
    static const double want[2][4] = {{-1, -1.125, -1.25, -1.375}, {-1, -1.625, -1.5, 0}};
    struct err e;
    for (int shuffled = 0; shuffled < 2; shuffled++) {
        struct medqa m = {.n = 0};
        struct trace_run t = {.asked = 0};
        struct str csv = STR_INIT;
        struct asked a = {.shuffled = shuffled};
        char dir[256];
        ok(medqa_parse(two, sizeof two - 1, "test", &m, &e));
        run(&a, &m, "direct.prompt_form=lm-eval", bench_mkdir(dir));
        ok(trace_read(dir, &t, &e));
        assert_int_equal(t.results.n, 2);
        for (int k = 0; k < 2; k++) {
            const struct result *r = &t.results.r[k];
            assert_true(r->has_lp && r->predicted == 0);
            assert_int_equal(r->n_options, k ? 3 : 4);
            assert_memory_equal(r->option_lp, want[k], (size_t)r->n_options * sizeof(double));
        }
        ok(report_csv(&t, &csv, &e));
        assert_non_null(strstr(csv.s, ",joules_per_token,lp_A,lp_B,lp_C,lp_D,p_A,p_B,p_C,p_D\r\n"));
        assert_non_null(strstr(csv.s, ",-1,-1.125,-1.25,-1.375,0."));
        assert_non_null(strstr(csv.s, ",-1,-1.625,-1.5,,0."));
        str_free(&csv);
        trace_run_free(&t);
        medqa_free(&m);
        test_rmdir(dir);
    }
}

/* Number of tokens of all prompts of MedQA; the test is skipped without the files. */
static size_t medqa_tokens(const char *vocab)
{
    struct err e;
    char path[1024], medqa[1024], dir[256];
    struct medqa m = {.n = 0};
    struct gguf *g = NULL;
    struct tokenizer *tok = NULL;
    need_data(vocab, path);
    need_data(MEDQA, medqa);
    ok(medqa_read(medqa, &m, &e));
    ok(gguf_open(path, &g, &e));
    ok(tokenizer_open(g, NULL, &tok, &e));
    struct asked a = {.tok = tok};
    run(&a, &m, "direct.prompt_form=lm-eval", bench_mkdir(dir));
    assert_int_equal(a.n, 1273);
    size_t n = a.tokens.n;
    test_rmdir(dir);
    token_list_free(&a.tokens);
    tokenizer_close(tok);
    gguf_close(g);
    medqa_free(&m);
    return n;
}

static void the_prompts_of_medqa_have_the_tokens_of_lm_eval(void **state)
{
    (void)state;
    assert_int_equal(medqa_tokens(LLAMA3), 269052);
}

/* With SentencePiece, too, an option adds one token to the prompt. */
static void options_leave_the_prompt_as_it_is_in_sentencepiece(void **state)
{
    (void)state;
    assert_in_range(medqa_tokens(LLAMA2), 269053, 500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_form_of_lm_eval_is_its_text_and_nothing_more),
        cmocka_unit_test(log_probabilities_are_recorded_by_option),
        cmocka_unit_test(the_prompts_of_medqa_have_the_tokens_of_lm_eval),
        cmocka_unit_test(options_leave_the_prompt_as_it_is_in_sentencepiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
