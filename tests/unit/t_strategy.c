/* Every strategy of the registry, with good replies of a model and with bad ones. */
#include <jansson.h>
#include <math.h>

#include "embed.h"
#include "script.h"
#include "test.h"
#include "tool_options.h"

static unsigned letters_seen; /* bit i: option i was an answer */

/* Called with each case before it is freed, for the checks of a test; NULL = no checks. */
static void (*look)(const struct consult *c, const struct result *r);

static void finished(const struct consult *c, const struct result *r, void *user)
{
    (void)user;
    if (look)
        look(c, r);
}

/* One case through the bench; the result is copied out (its strings stay with rs). */
static int one(struct bench *b, const struct medqa *m, struct results *rs, struct err *e)
{
    char dir[256];
    struct trace *t = NULL;
    struct trace_options to = {.dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = m};
    int rc = trace_open(&to, &t, e);
    assert_int_equal(rc, 0);
    struct run_options o = {.env = &b->env,
                            .question = m->question,
                            .n = m->n,
                            .trace = t,
                            .clock = bench_clock,
                            .finished = finished};
    rc = run_questions(&o, NULL, e);
    trace_close(t);
    if (rc == 0) {
        struct err e2;
        struct trace_run run = {.asked = 0};
        if (trace_read(dir, &run, &e2) < 0)
            fail_msg("%s", e2.msg);
        *rs = run.results;
        run.results = (struct results){.n = 0};
        trace_run_free(&run);
    }
    test_rmdir(dir);
    return rc;
}

static void with(const char *strategy, enum script_mood mood, const char *role, int index,
                 int error, struct result *out, int want_rc)
{
    char set[64];
    const char *sets[] = {set, NULL};
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    struct err e = {.code = 0};
    snprintf(set, sizeof set, "strategy=%s", strategy);
    bench_open(&b, 3, sets);
    b.script =
        (struct script){.mood = mood, .only_role = role, .only_index = index, .error = error};
    bench_questions(&m, 1);
    int rc = one(&b, &m, &rs, &e);
    if (rc != want_rc)
        fail_msg("%s mood %d: %d %s, want %d", strategy, (int)mood, rc, e.msg, want_rc);
    if (out && !rc) {
        assert_int_equal(rs.n, 1);
        *out = rs.r[0];
        char *why = strdup(rs.r[0].why);
        out->why = why; /* freed by the caller's check() */
    }
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
}

static void check(struct result *r, enum consult_state state, const char *why)
{
    if (r->state != state || !strstr(r->why, why))
        fail_msg("state %s, \"%s\"; want %s with \"%s\"", consult_state_name(r->state), r->why,
                 consult_state_name(state), why);
    free((char *)(uintptr_t)r->why);
}

static void every_strategy_answers_with_a_letter_when_the_model_behaves(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        struct result r;
        with((*s)->name, SCRIPT_GOOD, NULL, -1, 0, &r, 0);
        check(&r, CONSULT_ANSWERED, "");
        assert_in_range(r.predicted, 0, 3);
        assert_int_equal(r.correct, r.predicted == r.key);
    }
}

/* A wrong form is unparsed, shown as such, and never becomes a letter. */
static void every_strategy_reports_unusable_replies_as_unparsed(void **state)
{
    (void)state;
    static const enum script_mood moods[] = {SCRIPT_GARBAGE, SCRIPT_REFUSAL, SCRIPT_CUT, SCRIPT_ODD,
                                             SCRIPT_EMPTY};
    for (const struct strategy *const *s = strategy_all(); *s; s++)
        for (size_t i = 0; i < sizeof moods / sizeof moods[0]; i++) {
            struct result r;
            with((*s)->name, moods[i], NULL, -1, 0, &r, 0);
            check(&r, CONSULT_UNPARSED, "");
            assert_int_equal(r.predicted, -1);
            assert_false(r.correct);
        }
}

static void every_strategy_records_a_failed_case_for_bad_data_and_goes_on(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        struct result r;
        with((*s)->name, SCRIPT_ERROR, NULL, -1, ERR_DATA, &r, 0);
        check(&r, CONSULT_FAILED, "the model fell over");
        assert_int_equal(r.predicted, -1);
    }
}

static void a_lost_device_ends_the_run_and_records_nothing(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        with((*s)->name, SCRIPT_ERROR, NULL, -1, ERR_NODEV, NULL, ERR_NODEV);
        with((*s)->name, SCRIPT_CANCEL, NULL, -1, 0, NULL, ERR_CANCEL);
    }
}

static void panel_goes_on_without_one_specialist_and_says_so(void **state)
{
    (void)state;
    struct result r;
    with("panel", SCRIPT_REFUSAL, "specialist", 2, 0, &r, 0);
    check(&r, CONSULT_ANSWERED, "");
    assert_int_equal(r.n_selected, 5);
    assert_int_equal(r.n_reports, 4);
    assert_int_equal(r.calls, 7);
}

static int repeats;
static void repeated_look(const struct consult *c, const struct result *r)
{
    (void)r;
    repeats +=
        c->warnings.len && strstr(c->warnings.s, "names repeat a specialty and are left out");
}

/* Some servers do not know uniqueItems. The specialties that were named are asked all the same. */
static void a_specialty_that_is_named_twice_is_asked_once(void **state)
{
    (void)state;
    struct result r;
    look = repeated_look;
    repeats = 0;
    with("panel", SCRIPT_TWICE, "planner", -1, 0, &r, 0);
    check(&r, CONSULT_ANSWERED, "");
    assert_int_equal(r.n_selected, 4);
    assert_int_equal(r.n_reports, 4);
    assert_int_equal(r.calls, 6);
    assert_int_equal(repeats, 1);
    with("medagents", SCRIPT_TWICE, NULL, -1, 0, &r, 0);
    check(&r, CONSULT_ANSWERED, "");
    assert_int_equal(repeats, 2);
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        with((*s)->name, SCRIPT_TWICE, NULL, -1, 0, &r, 0);
        check(&r, CONSULT_ANSWERED, "");
    }
    look = NULL;
}

static void panel_without_any_report_plan_or_decision_is_unparsed(void **state)
{
    (void)state;
    struct result r;
    with("panel", SCRIPT_GARBAGE, "specialist", -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED, "no specialist's report could be used");
    assert_int_equal(r.calls, 6);
    with("panel", SCRIPT_GARBAGE, "planner", -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED, "planner: ");
    assert_int_equal(r.calls, 1);
    with("panel", SCRIPT_CUT, "aggregator", -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED, "aggregator: the reply was cut at its limit of 800 tokens");
}

/* ---- replies closed at their limit ----------------------------------------------------------- */

#define OWN_MOST 600 /* bytes; longer than every reply of the script */

/* result of a case whose reply was closed after `number of the case` bytes */
struct closed {
    enum consult_state state;
    int predicted, n_selected, selected[CATALOG_MAX], n_dx;
    char warned;
};
static struct closed closed_case[OWN_MOST];

/* A page that counts the diagnoses of reports: "  0.60  " stands before each. */
static void count_text(void *user, const char *head, const char *text)
{
    (void)text;
    *(int *)user += head[0] == ' ' && head[1] == ' ' && head[2] >= '0' && head[2] <= '9';
}

static void count_line(void *user, const char *text)
{
    (void)user;
    assert_true(text[0]);
}

static void closed_look(const struct consult *c, const struct result *r)
{
    struct closed *k = &closed_case[c->q->index];
    *k = (struct closed){.state = c->state, .predicted = r->predicted};
    for (int i = 0; i < c->n_selected; i++)
        k->selected[k->n_selected++] = c->selected[i];
    const struct strategy_page page = {count_line, count_text, count_line, &k->n_dx};
    c->env->strategy->show(c, STRATEGY_WORK, &page);
    k->warned = strstr(c->warnings.s, "closed at its limit") != NULL;
}

static void closed_run(const char *const *sets, const struct script *mood, struct closed *out)
{
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    struct err e;
    bench_open(&b, 3, sets);
    b.script = *mood;
    bench_questions(&m, OWN_MOST);
    look = closed_look;
    ok(one(&b, &m, &rs, &e));
    look = NULL;
    memcpy(out, closed_case, sizeof closed_case);
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
}

/* A reply closed after every number of bytes: the letter is the one of the whole reply, or there is
 * none. */
static void a_letter_that_the_closer_chose_never_counts(void **state)
{
    (void)state;
    static const struct {
        const char *strategy, *role;
    } ways[] = {{"cot", "answer"}, {"panel", "aggregator"}};
    struct closed *whole = malloc(2 * sizeof closed_case), *closed = whole + OWN_MOST;
    for (int w = 0; w < 2; w++) {
        char set[64];
        int answered = 0, unparsed = 0;
        snprintf(set, sizeof set, "strategy=%s", ways[w].strategy);
        const char *sets[] = {set, NULL};
        struct script mood = {.mood = SCRIPT_CLOSED,
                              .only_role = ways[w].role,
                              .only_index = -1,
                              .own_by_question = true};
        closed_run(sets, &(struct script){.only_index = -1}, whole);
        closed_run(sets, &mood, closed);
        for (int i = 0; i < OWN_MOST; i++) {
            assert_int_equal(whole[i].state, CONSULT_ANSWERED);
            assert_in_range(whole[i].predicted, 0, 3);
            if (closed[i].state == CONSULT_ANSWERED)
                assert_int_equal(closed[i].predicted, whole[i].predicted);
            else
                assert_int_equal(closed[i].predicted, -1);
            answered += closed[i].state == CONSULT_ANSWERED;
            unparsed += closed[i].state == CONSULT_UNPARSED;
        }
        assert_int_equal(answered + unparsed, OWN_MOST);
        assert_in_range(unparsed, 40, 200); /* the reply has its letter near its end */
    }
    free(whole);
}

/* A planner's ids stand or fall together; a closed report keeps no diagnosis that the whole one has
 * not. */
static void ids_and_diagnoses_that_the_closer_chose_never_count(void **state)
{
    (void)state;
    static const char *const selections[] = {"planner.selection=compact", "planner.selection=full"};
    struct closed *whole = malloc(2 * sizeof closed_case), *closed = whole + OWN_MOST;
    for (int w = 0; w < 2; w++) {
        int planned = 0, unparsed = 0;
        const char *sets[] = {selections[w], "role_tokens.planner=2600", "planner.top_k=3", NULL};
        struct script mood = {.mood = SCRIPT_CLOSED,
                              .only_role = "planner",
                              .only_index = -1,
                              .own_by_question = true};
        closed_run(sets, &(struct script){.only_index = -1}, whole);
        closed_run(sets, &mood, closed);
        for (int i = 0; i < OWN_MOST; i++) {
            planned += closed[i].n_selected > 0;
            unparsed += closed[i].state == CONSULT_UNPARSED;
            assert_int_equal(closed[i].n_selected > 0, closed[i].state == CONSULT_ANSWERED);
            if (closed[i].n_selected)
                assert_memory_equal(closed[i].selected, whole[i].selected,
                                    sizeof whole[i].selected);
        }
        assert_int_equal(planned + unparsed, OWN_MOST);
        /* a scored catalogue is longer than OWN_MOST */
        assert_true(unparsed > 80 && (w == 1 ? planned == 0 : planned > 300));
    }
    const char *sets[] = {"planner.selection=fixed", "planner.fixed=[ent, cardiology]", NULL};
    struct script mood = {
        .mood = SCRIPT_CLOSED, .only_role = "specialist", .only_index = 1, .own_by_question = true};
    int fewer = 0, warned = 0;
    closed_run(sets, &(struct script){.only_index = -1}, whole);
    closed_run(sets, &mood, closed);
    for (int i = 0; i < OWN_MOST; i++) {
        assert_int_equal(closed[i].state, CONSULT_ANSWERED); /* the other one has reported */
        assert_in_range(closed[i].n_dx, 1, whole[i].n_dx);
        fewer += closed[i].n_dx < whole[i].n_dx;
        warned += closed[i].warned;
    }
    assert_true(fewer > 80 && warned > 40);
    free(whole);
}

static void a_closed_reply_names_the_limit_to_raise(void **state)
{
    (void)state;
    struct result r;
    with("cot", SCRIPT_CLOSED, NULL, -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED, "closed at its limit of 800 tokens; raise role_tokens.cot");
    with("panel", SCRIPT_CLOSED, NULL, -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED, "planner: ");
    with("panel", SCRIPT_CLOSED, "specialist", -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED, "raise role_tokens.specialist");
    with("panel", SCRIPT_CLOSED, "aggregator", -1, 0, &r, 0);
    check(&r, CONSULT_UNPARSED,
          "key 'final_answer' is missing; the reply was closed at its limit of 800 tokens; raise "
          "role_tokens.aggregator");
}

/* ---- selections ------------------------------------------------------------------------------ */

static void selection(const char *name, const char *extra, int calls, int selected)
{
    char set[64];
    const char *sets[] = {set, extra, NULL};
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    struct err e = {.code = 0};
    snprintf(set, sizeof set, "planner.selection=%s", name);
    bench_open(&b, 11, sets);
    bench_questions(&m, 1);
    ok(one(&b, &m, &rs, &e));
    assert_int_equal(rs.r[0].state, CONSULT_ANSWERED);
    assert_int_equal(rs.r[0].calls, calls);
    assert_int_equal(rs.r[0].n_selected, selected);
    for (int i = 0; i < selected; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(rs.r[0].selected[i], rs.r[0].selected[j]);
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
}

static void each_selection_asks_as_many_calls_as_it_says(void **state)
{
    (void)state;
    selection("compact", NULL, 7, 5);
    selection("compact", "planner.top_k=3", 5, 3);
    selection("full", "role_tokens.planner=2600", 7, 5);
    selection("logit", NULL, 7, 5);
    selection("all", NULL, 29, 28);
    selection("random", NULL, 6, 5);
    selection("fixed", "planner.fixed=[cardiology, ent]", 3, 2);
}

/* ---- everything with everything -------------------------------------------------------------- */

/* Open questions and questions of 2 options to as many as there may be. */
static void all_option_counts(struct medqa *m)
{
    struct err e;
    bench_questions(m, 1);
    struct medqa_question like = m->question[0];
    m->n = m->n_records = 0;
    for (int n = 0; n <= MEDQA_OPTIONS; n++) {
        struct medqa_question q = like;
        if (n == 1)
            continue;
        snprintf(q.id, sizeof q.id, "%04d-0000000%d", (int)m->n, n % 10);
        q.index = (int64_t)m->n;
        q.n_options = n;
        q.key = n ? n - 1 : -1;
        for (int i = 0; i < n; i++)
            q.option[i] = like.option[i % 4];
        ok(mem_grow(&m->question, &m->cap, m->n + 1, sizeof q, "questions", &e));
        ok(mem_grow(&m->record, &m->cap_records, m->n_records + 1, sizeof *m->record, "records",
                    &e));
        m->record[m->n_records++] = (struct medqa_record){
            .kind = MEDQA_QUESTION, .line = (int64_t)m->n + 1, .question = m->n};
        m->question[m->n++] = q;
    }
}

static enum consult_state want_of(enum script_mood mood, const struct strategy *s, int n_options)
{
    bool closes = false;
    for (const struct strategy_role *r = s->role; r->name; r++)
        closes = closes || (r->needs & LLM_CAN_SCHEMA);
    if (s->needs_options && !n_options)
        return CONSULT_FAILED;
    switch (mood) {
    case SCRIPT_GOOD:
        return CONSULT_ANSWERED;
    case SCRIPT_ERROR:
        return CONSULT_FAILED;
    case SCRIPT_CLOSED: /* a score or a free text has nothing to close */
        return closes ? CONSULT_UNPARSED : CONSULT_ANSWERED;
    default:
        return CONSULT_UNPARSED;
    }
}

static void all_moods(const char *const *sets)
{
    struct medqa m = {.n = 0};
    all_option_counts(&m);
    for (int mood = SCRIPT_GOOD; mood <= SCRIPT_EMPTY; mood++) {
        struct bench b;
        struct results rs = {.n = 0};
        struct err e = {.code = 0};
        bench_open(&b, 7, sets);
        b.script = (struct script){
            .mood = (enum script_mood)mood, .only_index = -1, .error = ERR_DATA, .own = 4};
        int rc = one(&b, &m, &rs, &e);
        assert_int_equal(rc, mood == SCRIPT_CANCEL ? ERR_CANCEL : 0);
        assert_int_equal(rs.n, mood == SCRIPT_CANCEL ? 0 : m.n);
        for (size_t i = 0; i < rs.n; i++) {
            const struct result *r = &rs.r[i];
            const int n = m.question[r->index].n_options;
            enum consult_state want = want_of((enum script_mood)mood, b.env.strategy, n);
            if (r->state != want)
                fail_msg("%s, mood %d, %d options: %s: %s", sets[0], mood, n,
                         consult_state_name(r->state), r->why);
            if (want == CONSULT_ANSWERED && n)
                assert_in_range(r->predicted, 0, n - 1);
            else
                assert_int_equal(r->predicted, -1);
            assert_int_equal(r->answer[0] != 0, want == CONSULT_ANSWERED && !n);
        }
        results_free(&rs);
        bench_close(&b);
    }
    medqa_free(&m);
}

/* Every strategy with the settings it has by itself, whichever strategies there are. */
static void every_strategy_meets_every_reply_and_every_number_of_options(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        all_moods((const char *[]){set, NULL});
    }
}

static void every_selection_meets_every_reply_and_every_number_of_options(void **state)
{
    (void)state;
    static const char *const selections[] = {"compact", "full", "logit", "all", "random", "fixed"};
    static const int ks[] = {1, 3, 28};
    for (int s = 0; s < 6; s++)
        for (int k = 0; k < 3; k++) {
            char set[64], top[64];
            const char *sets[] = {set, top, "role_tokens.planner=2600",
                                  "planner.fixed=[ent, cardiology]", NULL};
            if (k && (s == 3 || s == 5)) /* these have a K of their own */
                continue;
            snprintf(set, sizeof set, "planner.selection=%s", selections[s]);
            snprintf(top, sizeof top, "planner.top_k=%d", ks[k]);
            all_moods(sets);
        }
}

/* Letters of the last options are reached, too. */
static void letters_look(const struct consult *c, const struct result *r)
{
    (void)c;
    if (r->predicted >= 0)
        letters_seen |= 1u << r->predicted;
}

static void every_letter_can_be_the_answer(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char name[64];
        struct medqa m = {.n = 0};
        snprintf(name, sizeof name, "strategy=%s", (*s)->name);
        struct err e;
        letters_seen = 0;
        look = letters_look;
        all_option_counts(&m);
        for (int seed = 1; seed <= 40; seed++) {
            char set[32];
            const char *sets[] = {name, set, NULL};
            struct bench b;
            struct results rs = {.n = 0};
            snprintf(set, sizeof set, "seed=%d", seed);
            bench_open(&b, 5, sets);
            ok(one(&b, &m, &rs, &e));
            results_free(&rs);
            bench_close(&b);
        }
        look = NULL;
        assert_int_equal(letters_seen, (1u << MEDQA_OPTIONS) - 1);
        medqa_free(&m);
    }
}

static void logit_look(const struct consult *c, const struct result *r)
{
    (void)r;
    const struct catalog *cat = c->env->catalog;
    struct str facts = STR_INIT;
    double log_p[CATALOG_MAX];
    c->env->strategy->facts(c, STRATEGY_JSON, &facts);
    facts.s[0] = '{'; /* in place of the comma */
    str_addc(&facts, '}');
    json_t *doc = json_loads(facts.s, 0, NULL);
    for (int i = 0; i < cat->n; i++) {
        const json_t *lp = json_object_get(json_object_get(doc, "log_p"), cat->entry[i].id);
        assert_true(json_is_real(lp));
        log_p[i] = json_real_value(lp);
    }
    json_decref(doc);
    str_free(&facts);
    for (int j = 0; j < c->n_selected; j++)
        for (int i = 0; i < cat->n; i++) {
            bool before = false;
            for (int h = 0; h <= j; h++)
                before |= c->selected[h] == i;
            assert_true(before || log_p[i] <= log_p[c->selected[j]]);
        }
}

static void logit_takes_the_likeliest_in_order(void **state)
{
    (void)state;
    look = logit_look;
    selection("logit", NULL, 7, 5);
    look = NULL;
}

static void fixed_look(const struct consult *c, const struct result *r)
{
    (void)r;
    assert_string_equal(c->env->catalog->entry[c->selected[0]].id, "ent");
    assert_string_equal(c->env->catalog->entry[c->selected[1]].id, "cardiology");
    const char *text = NULL;
    for (const struct consult_call *k = c->first; k; k = k->next)
        if (!strcmp(k->role->name, "aggregator"))
            text = k->llm.user;
    assert_non_null(text);
    assert_true(strstr(text, "Otolaryngology:") < strstr(text, "Cardiology:"));
}

/* Reports keep the order of selection in every order of their ends. */
static void reports_stand_in_the_order_of_selection(void **state)
{
    (void)state;
    look = fixed_look;
    for (int i = 0; i < 5; i++)
        selection("fixed", "planner.fixed=[ent, cardiology]", 3, 2);
    look = NULL;
}

static void common_look(const struct consult *c, const struct result *r)
{
    (void)r;
    const struct consult_call *first = NULL;
    for (const struct consult_call *k = c->first; k; k = k->next) {
        if (strcmp(k->role->name, "specialist") != 0)
            continue;
        if (first) {
            assert_ptr_equal(k->llm.system, first->llm.system);
            const char *last_line = strstr(first->llm.user, "You report as ");
            assert_non_null(last_line);
            assert_memory_equal(k->llm.user, first->llm.user,
                                (size_t)(last_line - first->llm.user));
        } else {
            first = k;
        }
    }
}

static void specialists_share_everything_but_their_name_and_scope(void **state)
{
    (void)state;
    look = common_look;
    selection("compact", NULL, 7, 5);
    look = NULL;
}

/* Text of a built-in prompt file. */
static const char *prompt_of(const char *path)
{
    const struct embed_file *f = embed_find(path);
    assert_non_null(f);
    return (const char *)f->data; /* ends in a NUL */
}

/* A letter that stands before its reasons is chosen without them. */
static void the_answer_stands_after_its_reasons(void **state)
{
    (void)state;
    static const struct {
        const char *path, *form, *reasons;
    } files[] = {{"configs/prompts/panel/aggregator.txt", "{{", "\"justification\""},
                 {"configs/prompts/panel/aggregator.json", "{", "\"justification\""},
                 {"configs/prompts/panel/aggregator.json", "\"required\"", "\"justification\""},
                 {"configs/prompts/cot/answer.txt", "{{", "\"reasoning\""},
                 {"configs/prompts/cot/answer.json", "{", "\"reasoning\""}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *form = strstr(prompt_of(files[i].path), files[i].form);
        assert_non_null(form);
        const char *reasons = strstr(form, files[i].reasons),
                   *answer = strstr(form, "\"final_answer\"");
        assert_true(reasons && answer && reasons < answer);
    }
}

/* ---- start-up -------------------------------------------------------------------------------- */

static void refuses(const char *const *sets, int code, const char *text)
{
    struct config c;
    struct catalog cat = {.n = 0};
    struct llm *l = NULL;
    struct err e;
    struct script s = {.mood = SCRIPT_GOOD, .only_index = -1};
    ok(tool_config_init(&c, &e));
    for (; *sets; sets++)
        ok(config_set(&c, *sets, &e));
    ok(catalog_read("", &cat, &e));
    ok(llm_script_open(script_answer, &s, 0, &l, &e));
    struct strategy_env env = {.llm = l, .config = &c, .catalog = &cat};
    fails(strategy_open(&env, &e), code, text);
    strategy_close(&env);
    llm_close(l);
    catalog_free(&cat);
    config_free(&c);
}

static void what_cannot_work_is_refused_at_the_start(void **state)
{
    (void)state;
    refuses((const char *[]){"strategy=oracle", NULL}, ERR_CONFIG, "there are panel, direct, cot");
    refuses((const char *[]){"planner.selection=full", NULL}, ERR_CONFIG,
            "max_output_tokens is 800, at least 2400 are needed for role planner; "
            "raise role_tokens.planner");
    refuses((const char *[]){"role_tokens.planner=50", NULL}, ERR_CONFIG, "at least 92");
    refuses((const char *[]){"role_tokens.aggregator=50", NULL}, ERR_CONFIG, "at least 64");
    refuses((const char *[]){"role_tokens.specialist=50", NULL}, ERR_CONFIG, "at least 96");
    refuses((const char *[]){"strategy=cot", "role_tokens.cot=50", NULL}, ERR_CONFIG,
            "at least 64");
    /* by the key that the user wrote */
    refuses(
        (const char *[]){"strategy=cot", "max_output_tokens=24", NULL}, ERR_CONFIG,
        "max_output_tokens is 24, at least 64 are needed for role answer; raise role_tokens.cot");
    refuses((const char *[]){"strategy=cot", "max_output_tokens=900", "role_tokens.cot=24", NULL},
            ERR_CONFIG, "role_tokens.cot is 24, at least 64 are needed for role answer; raise it");
    refuses((const char *[]){"planner.selection=fixed", "planner.fixed=[radiology]", NULL},
            ERR_CONFIG, "no specialty 'radiology'");
    refuses((const char *[]){"planner.selection=fixed", NULL}, ERR_CONFIG, "needs planner.fixed");
    refuses((const char *[]){"prompts_dir=/nowhere", NULL}, ERR_NOINPUT,
            "/nowhere/panel/system.txt");
}

/* ---- needs ----------------------------------------------------------------------------------- */

/* Opens by `sets` on an llm that lacks some capabilities. */
static int open_lacking(const char *const *sets, unsigned lacks, bool plan_only, struct err *out)
{
    struct err e;
    struct config c;
    struct catalog cat = {.n = 0};
    struct llm *l = NULL;
    struct script s = {.mood = SCRIPT_GOOD, .only_index = -1};
    ok(tool_config_init(&c, &e));
    for (; *sets; sets++)
        ok(config_set(&c, *sets, &e));
    ok(catalog_read("", &cat, &e));
    ok(llm_script_open(script_answer, &s, 0, &l, &e));
    llm_script_can(l, LLM_CAN_ALL & ~lacks);
    struct strategy_env env = {.llm = l, .config = &c, .catalog = &cat, .plan_only = plan_only};
    *out = (struct err){.code = 0};
    int rc = strategy_open(&env, out);
    strategy_close(&env);
    llm_close(l);
    catalog_free(&cat);
    config_free(&c);
    return rc;
}

/* Whatever a role declares: an llm without it is refused, and the message names strategy, role,
 * need and provider. */
static void every_need_of_every_role_is_checked_at_the_start(void **state)
{
    (void)state;
    int refused = 0;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64], text[160], want[256];
        const char *sets[] = {set, NULL};
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        for (unsigned can = 1; can & LLM_CAN_ALL; can <<= 1) {
            struct err e = {.code = 0};
            const struct strategy_role *r = (*s)->role;
            struct config c;
            ok(tool_config_init(&c, &e));
            ok(config_set(&c, set, &e));
            const struct strategy_env env = {.config = &c};
            while (r->name && (!(r->needs & can) || ((*s)->asks && !(*s)->asks(&env, r))))
                r++;
            config_free(&c);
            int rc = open_lacking(sets, can, false, &e);
            assert_int_equal(rc, r->name ? ERR_CONFIG : 0);
            if (!r->name)
                continue;
            refused++;
            snprintf(want, sizeof want,
                     "strategy %s needs for its role %s an llm that %s; provider script does not",
                     (*s)->name, r->name, llm_can_text(can, text));
            if (!strstr(e.msg, want))
                fail_msg("\"%s\", want \"%s\"", e.msg, want);
        }
    }
    assert_in_range(refused, 4, 1000);
}

/* A need holds only where the settings ask that role. */
static void needs_follow_the_settings(void **state)
{
    (void)state;
    struct err e = {.code = 0};
    const char *const logit[] = {"strategy=panel", "planner.selection=logit", NULL};
    const char *const compact[] = {"strategy=panel", NULL};
    const char *const all[] = {"strategy=panel", "planner.selection=all", NULL};
    ok(open_lacking(compact, LLM_CAN_SCORE | LLM_CAN_PREFIX, false, &e));
    fails(open_lacking(logit, LLM_CAN_SCORE, false, &e), ERR_CONFIG,
          "for its role planner an llm that scores options;");
    fails(open_lacking(logit, LLM_CAN_SCORE | LLM_CAN_PREFIX, false, &e), ERR_CONFIG,
          "scores options, goes on from a given beginning;");
    fails(open_lacking(all, LLM_CAN_SCHEMA, false, &e), ERR_CONFIG, "its role specialist");
    fails(open_lacking(logit, LLM_CAN_SCHEMA, false, &e), ERR_CONFIG, "its role specialist");
    ok(open_lacking(logit, LLM_CAN_SEED | LLM_CAN_LOGPROBS, true, &e));
}

static void a_plan_is_had_only_of_strategies_that_make_one(void **state)
{
    (void)state;
    int planning = 0;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64], want[80];
        const char *sets[] = {set, NULL};
        struct err e = {.code = 0};
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        snprintf(want, sizeof want, "strategy %s makes no plan; these do: ", (*s)->name);
        int rc = open_lacking(sets, 0, true, &e);
        assert_int_equal(rc, (*s)->plans ? 0 : ERR_CONFIG);
        assert_true((*s)->plans || strstr(e.msg, want));
        planning += (*s)->plans;
    }
    assert_in_range(planning, 1, 100);
}

/* Names are unique in traces; keys, where two roles of a strategy share one, belong to one name. */
static void every_strategy_declares_its_roles(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        assert_true((*s)->name[0] && (*s)->doc[0] && (*s)->role && (*s)->role->name);
        for (const struct strategy_role *r = (*s)->role; r->name; r++) {
            assert_true(r->name[0] && r->doc && r->doc[0]);
            assert_true((r->needs & LLM_CAN_SCORE) || r->key); /* a reply has a limit to raise */
            for (const struct strategy_role *q = (*s)->role; q != r; q++)
                assert_true(!r->key || !q->key ||
                            !strcmp(r->key, q->key) == !strcmp(r->name, q->name));
        }
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void an_open_question_is_answered_in_words(void **state)
{
    (void)state;
    struct err e;
    static const char *const names[] = {"panel", "cot", "direct"};
    for (int i = 0; i < 3; i++) {
        char set[64];
        const char *sets[] = {set, NULL};
        struct bench b;
        struct medqa m = {.n = 0};
        struct results rs = {.n = 0};
        snprintf(set, sizeof set, "strategy=%s", names[i]);
        bench_open(&b, 5, sets);
        ok(medqa_single("What ails him?", NULL, &m, &e));
        ok(one(&b, &m, &rs, &e));
        assert_int_equal(rs.r[0].state, i < 2 ? CONSULT_ANSWERED : CONSULT_FAILED);
        assert_string_equal(rs.r[0].answer, i < 2 ? "Acute something" : "");
        assert_int_equal(rs.r[0].predicted, -1);
        assert_false(rs.r[0].correct);
        results_free(&rs);
        medqa_free(&m);
        bench_close(&b);
    }
}

static void a_prompt_beyond_the_context_fails_its_case_with_both_numbers(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    char *text = malloc(40001);
    memset(text, 'x', 40000);
    text[40000] = 0;
    bench_open(&b, 5, NULL);
    ok(medqa_single(text, "A. a||B. b", &m, &e));
    ok(one(&b, &m, &rs, &e));
    assert_int_equal(rs.r[0].state, CONSULT_FAILED);
    assert_non_null(strstr(rs.r[0].why, "exceed the context of 8192"));
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
    free(text);
}

/* The record of a case that cannot be asked must not depend on the progress of its other calls. */
static void specialists_are_asked_only_if_every_prompt_fits(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    int first = 0, second = 0;
    bench_open(&b, 5,
               (const char *[]){"planner.selection=fixed",
                                "planner.fixed=[ent, infectious_disease]", NULL});
    for (int len = 27500; len < 29200; len += 8) { /* bytes; the second scope is the longer one */
        struct medqa m = {.n = 0};
        struct results rs = {.n = 0};
        char *text = malloc((size_t)len + 1);
        memset(text, 'x', (size_t)len);
        text[len] = 0;
        ok(medqa_single(text, "A. a||B. b", &m, &e));
        ok(one(&b, &m, &rs, &e));
        if (strstr(rs.r[0].why, "specialist ")) {
            assert_int_equal(rs.r[0].state, CONSULT_FAILED);
            assert_non_null(strstr(rs.r[0].why, "exceed the context of 8192"));
            assert_int_equal(rs.r[0].calls, 0);
            first += strstr(rs.r[0].why, "specialist 1 of 2") != NULL;
            second += strstr(rs.r[0].why, "specialist 2 of 2") != NULL;
        }
        results_free(&rs);
        medqa_free(&m);
        free(text);
    }
    assert_true(first > 0 && second > 0);
    bench_close(&b);
}

/* A call that ends in an error waits for those beside it: whichever order they end in, the record
 * is one. */
static void a_failed_call_leaves_the_same_record_in_every_order(void **state)
{
    (void)state;
    struct str want = STR_INIT;
    for (int order = 0; order < 12; order++) {
        struct bench b;
        struct medqa m = {.n = 0};
        struct err e;
        struct str got = STR_INIT;
        char dir[256];
        bench_open(&b, (uint64_t)order, NULL);
        b.script = (struct script){.mood = SCRIPT_ERROR,
                                   .only_role = "specialist",
                                   .only_index = order < 6 ? 2 : -1,
                                   .error = ERR_DATA};
        bench_questions(&m, 4);
        ok(bench_run(&b, &m, bench_mkdir(dir), 1 + order % 4, NULL, &e));
        bench_cases(dir, &got);
        assert_non_null(strstr(got.s, "failed"));
        if (order % 6)
            assert_string_equal(got.s, want.s);
        str_clear(&want);
        str_add(&want, got.s, got.len);
        str_free(&got);
        test_rmdir(dir);
        medqa_free(&m);
        bench_close(&b);
    }
    str_free(&want);
}

static void a_spent_token_budget_fails_the_case(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    bench_open(&b, 5, (const char *[]){"budgets.max_tokens_per_case=600", NULL});
    bench_questions(&m, 1);
    ok(one(&b, &m, &rs, &e));
    assert_int_equal(rs.r[0].state, CONSULT_FAILED);
    assert_non_null(strstr(rs.r[0].why, "budgets.max_tokens_per_case is 600"));
    assert_int_equal(rs.r[0].calls, 1);
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
}

/* Also where the last call takes too much: nothing is asked after it that a check before could
 * stop. */
static void a_case_that_took_more_than_its_budget_fails(void **state)
{
    (void)state;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        int64_t took = 0;
        char set[64];
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        for (int less = 0; less < 2; less++) {
            struct err e;
            struct bench b;
            struct medqa m = {.n = 0};
            struct results rs = {.n = 0};
            char budget[64];
            snprintf(budget, sizeof budget, "budgets.max_tokens_per_case=%lld",
                     less ? (long long)took - 1 : 1000000);
            bench_open(&b, 5, (const char *[]){set, budget, NULL});
            bench_questions(&m, 1);
            ok(one(&b, &m, &rs, &e));
            took = rs.r[0].prompt_tokens + rs.r[0].new_tokens;
            assert_true(took > 1);
            assert_int_equal(rs.r[0].state, less ? CONSULT_FAILED : CONSULT_ANSWERED);
            if (less)
                assert_non_null(strstr(rs.r[0].why, "token budget exceeded"));
            results_free(&rs);
            medqa_free(&m);
            bench_close(&b);
        }
    }
}

static void shuffled_look(const struct consult *c, const struct result *r)
{
    /* the shown letter maps back to the option of that text */
    static const char key[] = "\"final_answer\": \"";
    const char *answer = strstr(c->first->llm.reply.s, key);
    assert_non_null(answer);
    int shown = answer[sizeof key - 1] - 'A';
    const char *at = strstr(c->first->llm.user, "Options:");
    char want[64];
    assert_non_null(at);
    snprintf(want, sizeof want, "\n%c. %s", 'A' + shown, c->q->option[r->predicted]);
    assert_non_null(strstr(at, want));
}

static void shuffled_options_are_mapped_back(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    int moved = 0;
    bench_open(&b, 5, (const char *[]){"strategy=cot", NULL});
    b.env.shuffle = true;
    bench_questions(&m, 40);
    look = shuffled_look;
    ok(one(&b, &m, &rs, &e));
    look = NULL;
    for (size_t i = 0; i < m.n; i++) {
        struct consult *c = NULL, *again = NULL;
        ok(consult_open(&b.env, &m.question[i], &c, &e));
        ok(consult_open(&b.env, &m.question[i], &again, &e));
        assert_memory_equal(c->shown, again->shown, sizeof c->shown);
        moved += c->shown[0] != 0;
        consult_close(c);
        consult_close(again);
    }
    assert_in_range(moved, 20, 39); /* 3 in 4 */
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
}

static void tie(struct llm_call *c, void *user)
{
    const double *lp = user;
    for (int i = 0; i < c->n_options; i++)
        c->option_lp[i] = lp[i];
}

static void direct_has_no_answer_when_options_tie_or_are_unknown(void **state)
{
    (void)state;
    static const double lps[3][4] = {
        {-2, -1, -1, -3}, {-1, -2, (double)NAN, -4}, {-1, -2, -(double)INFINITY, -4}};
    static const char *const why[] = {"2 options are equally likely", "option C has no",
                                      "option C"};
    for (int i = 0; i < 3; i++) {
        struct err e;
        struct bench b;
        struct medqa m = {.n = 0};
        struct results rs = {.n = 0};
        bench_open(&b, 5, (const char *[]){"strategy=direct", NULL});
        llm_close(b.llm);
        ok(llm_script_open(tie, (void *)(uintptr_t)lps[i], 0, &b.llm, &e));
        b.env.llm = b.llm;
        bench_questions(&m, 1);
        ok(one(&b, &m, &rs, &e));
        assert_int_equal(rs.r[0].state, CONSULT_UNPARSED);
        assert_non_null(strstr(rs.r[0].why, why[i]));
        results_free(&rs);
        medqa_free(&m);
        bench_close(&b);
    }
}

static void call_ids_differ_by_question_role_and_index_only(void **state)
{
    (void)state;
    assert_true(consult_id("q", "specialist", 1) == consult_id("q", "specialist", 1));
    assert_true(consult_id("q", "specialist", 1) != consult_id("q", "specialist", 2));
    assert_true(consult_id("q", "planner", 1) != consult_id("q", "specialist", 1));
    assert_true(consult_id("qp", "lanner", 1) != consult_id("q", "planner", 1));
}

/* Opens the strategy of the bench again, after its parts have been set. */
static int reopen(struct bench *b, struct err *e)
{
    strategy_close(&b->env);
    return strategy_open(&b->env, e);
}

static struct arena *b_arena; /* of kept */

static int kept_reports(const struct consult *c, struct answer_report *out)
{
    int n = 0;
    for (const struct consult_call *k = c->first; k; k = k->next, n++) {
        struct err e;
        assert_true(k->parsed);
        assert_int_equal(answer_report(k->llm.reply.s, k->llm.reply.len, k->llm.own_len,
                                       c->env->catalog, k->specialty, b_arena, &out[n], &e),
                         0);
    }
    return n;
}

static struct answer_report kept[2];

static void keep(const struct consult *c, const struct result *r)
{
    assert_int_equal(r->state, CONSULT_REPORTED);
    assert_int_equal(kept_reports(c, kept), 2);
}

/* The given specialties report and nothing else happens; given reports lead to a decision. */
static void a_panel_reports_alone_and_decides_alone(void **state)
{
    (void)state;
    static const int specialty[] = {9, 4};
    const char *sets[] = {"strategy=panel", NULL};
    struct arena arena = {.head = NULL};
    struct bench b;
    struct medqa m = {.n = 0};
    struct results rs = {.n = 0};
    struct err e = {.code = 0};
    b_arena = &arena;
    bench_open(&b, 3, sets);
    b.script = (struct script){.mood = SCRIPT_GOOD, .only_index = -1};
    bench_questions(&m, 1);
    b.env.reports_only = true;
    b.env.specialty = specialty;
    b.env.n_specialty = 2;
    assert_int_equal(reopen(&b, &e), 0);
    look = keep;
    assert_int_equal(one(&b, &m, &rs, &e), 0);
    look = NULL;
    assert_int_equal(rs.r[0].calls, 2);
    assert_int_equal(rs.r[0].n_reports, 2);
    assert_string_equal(rs.r[0].selected[0], b.env.catalog->entry[9].id);
    results_free(&rs);
    rs = (struct results){.n = 0};
    b.env.reports_only = false;
    b.env.given = kept;
    b.env.n_given = 2;
    assert_int_equal(reopen(&b, &e), 0);
    assert_int_equal(one(&b, &m, &rs, &e), 0);
    assert_int_equal(rs.r[0].state, CONSULT_ANSWERED);
    assert_int_equal(rs.r[0].calls, 1);
    results_free(&rs);
    medqa_free(&m);
    bench_close(&b);
    arena_free(&arena);
    const char *direct[] = {"strategy=direct", NULL};
    bench_open(&b, 3, direct);
    b.env.reports_only = true;
    assert_int_equal(reopen(&b, &e), ERR_CONFIG);
    assert_non_null(strstr(e.msg, "strategy direct has no reports"));
    bench_close(&b);
}

#define WATCHED 64
struct watched { /* of the calls of a case, by their numbers */
    enum { NEW, ASKED, ENDED, TAKEN } phase[WATCHED];
    struct str text[WATCHED];
    int n, open, ended;
    bool staging; /* between ended and taken */
};

static void saw_asked(const struct consult_call *k, void *user)
{
    struct watched *w = user;
    assert_int_equal(k->number, w->n++);
    assert_int_equal(w->phase[k->number], NEW);
    w->phase[k->number] = ASKED;
}

static void saw_text(const struct consult_call *k, const char *s, size_t n, bool thinking,
                     void *user)
{
    struct watched *w = user;
    assert_int_equal(w->phase[k->number], ASKED);
    assert_false(thinking);
    str_add(&w->text[k->number], s, n);
}

static void saw_ended(const struct consult_call *k, void *user)
{
    struct watched *w = user;
    assert_int_equal(w->phase[k->number], ASKED);
    assert_false(w->staging);
    w->phase[k->number] = ENDED;
    w->staging = true;
}

static void saw_taken(const struct consult_call *k, void *user)
{
    struct watched *w = user;
    assert_int_equal(w->phase[k->number], ENDED);
    assert_int_equal(w->text[k->number].len, k->llm.reply.len);
    assert_memory_equal(w->text[k->number].s, k->llm.reply.s, k->llm.reply.len);
    w->phase[k->number] = TAKEN;
    w->staging = false;
    w->ended++;
}

static void a_watcher_sees_each_call_in_order_and_all_of_its_text(void **state)
{
    (void)state;
    static const enum script_mood moods[] = {SCRIPT_GOOD, SCRIPT_GARBAGE, SCRIPT_REFUSAL};
    for (const struct strategy *const *s = strategy_all(); *s; s++)
        for (size_t i = 0; i < sizeof moods / sizeof moods[0]; i++) {
            char set[64];
            const char *sets[] = {set, NULL};
            struct watched w = {.n = 0};
            const struct consult_watch watch = {saw_asked, saw_text, saw_ended, saw_taken, &w};
            struct bench b;
            struct medqa m = {.n = 0};
            struct results rs = {.n = 0};
            struct err e = {.code = 0};
            for (int k = 0; k < WATCHED; k++)
                w.text[k] = (struct str)STR_INIT;
            snprintf(set, sizeof set, "strategy=%s", (*s)->name);
            bench_open(&b, 3, sets);
            b.script = (struct script){.mood = moods[i], .only_index = -1};
            b.env.watch = &watch;
            bench_questions(&m, 1);
            assert_int_equal(one(&b, &m, &rs, &e), 0);
            assert_int_equal(w.n, rs.r[0].calls);
            assert_int_equal(w.ended, w.n);
            for (int k = 0; k < WATCHED; k++)
                str_free(&w.text[k]);
            results_free(&rs);
            medqa_free(&m);
            bench_close(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_strategy_answers_with_a_letter_when_the_model_behaves),
        cmocka_unit_test(every_strategy_reports_unusable_replies_as_unparsed),
        cmocka_unit_test(every_strategy_records_a_failed_case_for_bad_data_and_goes_on),
        cmocka_unit_test(a_lost_device_ends_the_run_and_records_nothing),
        cmocka_unit_test(a_specialty_that_is_named_twice_is_asked_once),
        cmocka_unit_test(panel_goes_on_without_one_specialist_and_says_so),
        cmocka_unit_test(panel_without_any_report_plan_or_decision_is_unparsed),
        cmocka_unit_test(a_letter_that_the_closer_chose_never_counts),
        cmocka_unit_test(ids_and_diagnoses_that_the_closer_chose_never_count),
        cmocka_unit_test(a_closed_reply_names_the_limit_to_raise),
        cmocka_unit_test(each_selection_asks_as_many_calls_as_it_says),
        cmocka_unit_test(every_strategy_meets_every_reply_and_every_number_of_options),
        cmocka_unit_test(every_selection_meets_every_reply_and_every_number_of_options),
        cmocka_unit_test(every_letter_can_be_the_answer),
        cmocka_unit_test(logit_takes_the_likeliest_in_order),
        cmocka_unit_test(reports_stand_in_the_order_of_selection),
        cmocka_unit_test(specialists_share_everything_but_their_name_and_scope),
        cmocka_unit_test(the_answer_stands_after_its_reasons),
        cmocka_unit_test(what_cannot_work_is_refused_at_the_start),
        cmocka_unit_test(every_need_of_every_role_is_checked_at_the_start),
        cmocka_unit_test(needs_follow_the_settings),
        cmocka_unit_test(a_plan_is_had_only_of_strategies_that_make_one),
        cmocka_unit_test(every_strategy_declares_its_roles),
        cmocka_unit_test(a_panel_reports_alone_and_decides_alone),
        cmocka_unit_test(a_watcher_sees_each_call_in_order_and_all_of_its_text),
        cmocka_unit_test(an_open_question_is_answered_in_words),
        cmocka_unit_test(a_prompt_beyond_the_context_fails_its_case_with_both_numbers),
        cmocka_unit_test(specialists_are_asked_only_if_every_prompt_fits),
        cmocka_unit_test(a_failed_call_leaves_the_same_record_in_every_order),
        cmocka_unit_test(a_spent_token_budget_fails_the_case),
        cmocka_unit_test(a_case_that_took_more_than_its_budget_fails),
        cmocka_unit_test(shuffled_options_are_mapped_back),
        cmocka_unit_test(direct_has_no_answer_when_options_tie_or_are_unknown),
        cmocka_unit_test(call_ids_differ_by_question_role_and_index_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
