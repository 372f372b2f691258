#include "cases.h"

#include <jansson.h>
#include <math.h>

#include "test.h"

/* Called with each case before it is freed; NULL = no checks. */
static void (*look)(const struct consult *c, const struct result *r);

static void finished(const struct consult *c, const struct result *r, void *user)
{
    (void)user;
    if (look)
        look(c, r);
}

void cases_run(struct bench *b, const struct medqa *m,
               void (*see)(const struct consult *c, const struct result *r))
{
    char dir[256];
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = {.dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = m};
    ok(trace_open(&to, &t, &e));
    struct run_options o = {.env = &b->env,
                            .question = m->question,
                            .n = m->n,
                            .trace = t,
                            .clock = bench_clock,
                            .finished = finished};
    look = see;
    ok(run_questions(&o, NULL, &e));
    look = NULL;
    trace_close(t);
    test_rmdir(dir);
}

void cases(const char *const *sets, const struct script *mood, int n,
           void (*see)(const struct consult *c, const struct result *r))
{
    struct bench b;
    struct medqa m = {.n = 0};
    bench_open(&b, 5, sets);
    if (mood)
        b.script = *mood;
    b.env.shuffle = true;
    bench_questions(&m, n);
    cases_run(&b, &m, see);
    medqa_free(&m);
    bench_close(&b);
}

void cases_scripted(const char *const *sets, llm_script_fn fn, void *user,
                    void (*see)(const struct consult *c, const struct result *r))
{
    struct bench b;
    struct medqa m = {.n = 0};
    struct err e;
    bench_open(&b, 5, sets);
    strategy_close(&b.env);
    llm_close(b.llm);
    ok(llm_script_open(fn, user, 3, &b.llm, &e));
    b.env.llm = b.llm;
    ok(strategy_open(&b.env, &e));
    bench_questions(&m, 1);
    cases_run(&b, &m, see);
    medqa_free(&m);
    bench_close(&b);
}

struct cases_got got;

static void got_text(void *user, const char *head, const char *text)
{
    (void)user;
    assert_true(head[0] && text[0]);
    if (!strncmp(head, "because", 7))
        snprintf(got.justification, sizeof got.justification, "%s", text);
}

static void got_line(void *user, const char *text)
{
    (void)user;
    assert_true(text[0]);
}

/* The members that a strategy adds; they are JSON, and no key occurs twice. */
static void facts_of(const struct consult *c, enum strategy_form form, struct str *out)
{
    json_error_t why;
    str_adds(out, "{\"case\": \"x\"");
    if (c->env->strategy->facts)
        c->env->strategy->facts(c, form, out);
    str_addc(out, '}');
    json_t *doc = json_loadb(out->s, out->len, JSON_REJECT_DUPLICATES, &why);
    if (!doc)
        fail_msg("%s: %s", why.text, out->s);
    json_decref(doc);
}

void got_look(const struct consult *c, const struct result *r)
{
    struct str facts = STR_INIT;
    const struct strategy_page page = {got_line, got_text, got_line, NULL};
    memset(&got, 0, sizeof got);
    got.state = r->state;
    got.predicted = r->predicted;
    got.calls = r->calls;
    got.has_p = r->has_p;
    memcpy(got.p, r->p_option, sizeof got.p);
    snprintf(got.why, sizeof got.why, "%s", r->why);
    snprintf(got.notes, sizeof got.notes, "%s", c->warnings.s);
    c->env->strategy->show(c, STRATEGY_WORK, &page);
    c->env->strategy->show(c, STRATEGY_GROUNDS, &page);
    facts_of(c, STRATEGY_JSON, &facts);
    facts.len = 0;
    facts_of(c, STRATEGY_TRACE, &facts);
    snprintf(got.facts, sizeof got.facts, "%s", facts.s ? facts.s : "");
    str_free(&facts);
}

int cases_letter(const struct consult *c, const struct consult_call *k)
{
    static const char key[] = "\"final_answer\": \"";
    const char *at = strstr(k->llm.reply.s, key);
    return at ? c->shown[at[sizeof key - 1] - 'A'] : -1;
}

const struct consult_call *cases_call(const struct consult *c, const char *role, int index)
{
    const struct consult_call *k = c->first;
    while (k && (strcmp(k->role->name, role) != 0 || k->index != index))
        k = k->next;
    return k;
}

void cases_share_beginning(const struct consult *c, const char *role, int first, int n)
{
    const struct consult_call *k = cases_call(c, role, first);
    assert_non_null(k);
    const char *user = k->llm.user, *last = user;
    for (const char *p = user; (p = strstr(p, "\n\n")); p++)
        last = p;
    for (int i = 1; i < n; i++) {
        const struct consult_call *other = cases_call(c, role, first + i);
        assert_memory_equal(other->llm.user, user, (size_t)(last - user));
        assert_ptr_equal(other->llm.system, k->llm.system);
    }
}
