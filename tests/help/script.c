#include "script.h"

#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "grammar_vocab.h"
#include "rng.h"
#include "test.h"
#include "tool_options.h"

static uint64_t script_key(const struct llm_call *c)
{
    uint64_t h = rng_key(c->seed, c->id, 0);
    for (size_t i = 0; i < c->user_len; i++)
        h = rng_mix(h ^ (unsigned char)c->user[i]);
    return h;
}

static void script_planner(struct llm_call *c, const struct consult *of, uint64_t key)
{
    const struct catalog *cat = of->env->catalog;
    int k = (int)config_int(of->env->config, "planner.top_k"),
        at = (int)rng_below(key, 1, (uint32_t)cat->n);
    str_addf(&c->reply, "{\"triage_generalist\": \"%s\"", cat->entry[rng_below(key, 0, 3)].id);
    struct str how = STR_INIT;
    config_value(of->env->config, "planner.selection", &how);
    bool full = !strcmp(how.s, "full");
    str_free(&how);
    if (full) {
        str_adds(&c->reply, ", \"scored_catalog\": [");
        for (int i = 0; i < cat->n; i++)
            str_addf(&c->reply,
                     "%s{\"specialty_id\": \"%s\", \"relevance\": 0.%u, \"coverage_gain\": 0.5, "
                     "\"urgency_alignment\": 1, \"procedural_signal\": 0, \"reason\": \"r%d\"}",
                     i ? ", " : "", cat->entry[i].id, rng_below(key, 20 + (uint64_t)i, 100), i);
        str_adds(&c->reply, "]");
    }
    str_adds(&c->reply, ", \"selected_specialties\": [");
    for (int i = 0; i < k; i++)
        str_addf(&c->reply, "%s\"%s\"", i ? ", " : "", cat->entry[(at + 3 * i) % cat->n].id);
    str_addf(&c->reply, "], \"rationale\": \"because %u \\\"so\\\"\"}", rng_below(key, 2, 1000));
}

static void script_specialist(struct llm_call *c, const struct consult_call *k, uint64_t key)
{
    const struct catalog *cat = k->of->env->catalog;
    str_addf(&c->reply, "{\"specialty_id\": \"%s\", \"differential\": [",
             cat->entry[k->specialty].id);
    for (unsigned i = 0, n = 1 + rng_below(key, 0, 3); i < n; i++)
        str_addf(&c->reply,
                 "%s{\"dx\": \"Disease %u\", \"p\": 0.%02u, \"evidence_for\": [\"fever\"], "
                 "\"evidence_against\": [], \"discriminators\": [\"a test\"]}",
                 i ? ", " : "", rng_below(key, 1 + i, 3), rng_below(key, 10 + i, 60));
    str_adds(&c->reply, "], \"notes\": \"seen\"}");
}

static void script_final(struct llm_call *c, const struct consult *of, uint64_t key, bool cot)
{
    char answer[64] = "Acute something";
    if (of->q->n_options)
        snprintf(answer, sizeof answer, "%c",
                 'A' + (int)rng_below(key, 7, (uint32_t)of->q->n_options));
    if (cot)
        str_addf(&c->reply, "{\"reasoning\": \"step by step\", \"final_answer\": \"%s\"}", answer);
    else
        str_addf(&c->reply,
                 "{\"ordered_differential\": [\"x\", \"y\"], \"justification\": \"weighed\", "
                 "\"final_answer\": \"%s\", \"warnings\": []}",
                 answer);
}

/* A value that the schema allows, drawn by key. A list of different items walks through an enum. */
static void script_value(const json_t *form, uint64_t key, int item, struct str *out)
{
    const json_t *list = json_object_get(form, "enum"), *part = NULL;
    const char *type = json_string_value(json_object_get(form, "type")), *name;
    if (json_object_get(form, "const")) {
        str_add_json(out, json_string_value(json_object_get(form, "const")),
                     json_string_length(json_object_get(form, "const")));
    } else if (list) {
        uint32_t n = (uint32_t)json_array_size(list);
        const json_t *v = json_array_get(list, (rng_below(key, 0, n) + (uint32_t)item) % n);
        str_add_json(out, json_string_value(v), json_string_length(v));
    } else if (!strcmp(type, "string")) {
        str_addf(out, "\"text %u\"", rng_below(key, 1, 100));
    } else if (!strcmp(type, "number")) {
        str_addf(out, "0.%02u", rng_below(key, 2, 100));
    } else if (!strcmp(type, "boolean")) {
        str_adds(out, rng_below(key, 3, 2) ? "true" : "false");
    } else if (!strcmp(type, "array")) {
        int n = (int)json_integer_value(json_object_get(form, "minItems"));
        str_addc(out, '[');
        for (int i = 0; i < n; i++) {
            str_adds(out, i ? ", " : "");
            script_value(json_object_get(form, "items"), key, i, out);
        }
        str_addc(out, ']');
    } else {
        const char *comma = "";
        assert_string_equal(type, "object");
        str_addc(out, '{');
        json_object_foreach((json_t *)(uintptr_t)json_object_get(form, "properties"), name, part)
        {
            str_addf(out, "%s\"%s\": ", comma, name);
            script_value(part, rng_mix(key ^ (unsigned char)name[0]), 0, out);
            comma = ", ";
        }
        str_addc(out, '}');
    }
}

/* A role that this file does not know: any reply that its schema allows, or an answer in words. */
static void script_any(struct llm_call *c, const struct consult *of, uint64_t key)
{
    if (!c->schema && of->q->n_options) {
        str_addc(&c->reply, (char)('A' + rng_below(key, 7, (uint32_t)of->q->n_options)));
        return;
    }
    if (!c->schema) {
        str_adds(&c->reply, "Acute something");
        return;
    }
    json_t *form = json_loads(llm_script_schema(c->schema), JSON_DECODE_ANY, NULL);
    assert_non_null(form);
    script_value(form, key, 0, &c->reply);
    json_decref(form);
}

/* Probabilities of the letters; the drawn letter need not be the likeliest. */
static void script_choice(struct llm_call *c, uint64_t key)
{
    double sum = 0;
    for (int i = 0; i < c->n_choice; i++)
        sum += 0.1 + (double)rng_uniform(key, 40 + (uint64_t)i);
    for (int i = 0; i < c->n_choice; i++)
        c->choice_lp[i] = log((0.1 + (double)rng_uniform(key, 40 + (uint64_t)i)) / sum);
    c->has_choice = true;
}

static void script_good(struct llm_call *c, const struct consult_call *k)
{
    uint64_t key = script_key(c);
    const char *strategy = k->of->env->strategy->name;
    bool panel = !strcmp(strategy, "panel") || !strcmp(strategy, "review");
    for (int i = 0; i < c->n_options; i++)
        c->option_lp[i] = -0.1 - (double)rng_uniform(key, (uint64_t)i);
    if (c->n_options)
        return;
    if (panel && !strcmp(k->role->name, "planner"))
        script_planner(c, k->of, key);
    else if (panel && !strcmp(k->role->name, "specialist"))
        script_specialist(c, k, key);
    else if (!strcmp(k->role->name, "aggregator"))
        script_final(c, k->of, key, false);
    else if (c->schema && strstr(llm_script_schema(c->schema), "\"reasoning\""))
        script_final(c, k->of, key, true);
    else
        script_any(c, k->of, key);
}

/* Keeps the first `own` bytes of the reply and closes it, as the engine does at a token limit. */
static void script_close(struct llm_call *c, size_t own)
{
    struct err e;
    struct grammar *g = NULL;
    struct grammar_state at;
    const char *schema = c->schema ? llm_script_schema(c->schema) : "";
    if (!c->schema || own >= c->reply.len)
        return;
    ok(grammar_compile(schema, strlen(schema), "script", &g, &e));
    grammar_start(g, &at);
    if (!grammar_feed(g, &at, c->reply.s, c->reply.len) || !at.done)
        fail_msg("a good reply breaks its schema: %s", c->reply.s);
    c->reply.len = own;
    c->finish = LLM_CLOSED;
    grammar_start(g, &at);
    assert_true(grammar_feed(g, &at, c->reply.s, own));
    c->own_len = own + grammar_forced(g, &at);
    assert_int_equal(at.n, 1); /* these schemas have no unions */
    for (int b; (b = machine_close_byte(&g->sc, &at.way[0])) >= 0;) {
        assert_true(machine_way_step(&g->sc, &at.way[0], (unsigned char)b));
        str_addc(&c->reply, (char)b);
    }
    grammar_free(g);
}

/* The thinking before a reply. It depends on the call alone, as the reply does. */
static void script_think(struct llm_call *c, const struct script *s)
{
    if (s->thought != LLM_THOUGHT_NONE)
        c->thought = s->thought;
    if (s->think)
        str_adds(&c->think, s->think);
    else
        str_addf(&c->think, "Case %u: \"final_answer\": \"A\"? No.\n",
                 rng_below(script_key(c), 90, 1000));
}

/* Repeats the first specialty of a list, as servers that do not know uniqueItems do. */
static void script_repeat(struct llm_call *c)
{
    static const char *const keys[] = {"selected_specialties", "specialties"};
    json_t *doc = json_loadb(c->reply.s, c->reply.len, 0, NULL);
    for (size_t i = 0; i < 2; i++) {
        json_t *list = json_object_get(doc, keys[i]);
        if (json_array_size(list) > 1)
            json_array_set(list, 1, json_array_get(list, 0));
    }
    char *text = doc ? json_dumps(doc, 0) : NULL;
    if (text) {
        c->reply.len = 0;
        str_adds(&c->reply, text);
    }
    free(text);
    json_decref(doc);
}

void script_answer(struct llm_call *c, void *user)
{
    struct script *s = user;
    const struct consult_call *k = c->user_data;
    bool here = (!s->only_role || !strcmp(s->only_role, k->role->name)) &&
                (s->only_index < 0 || s->only_index == k->index);
    s->calls++;
    c->finish = LLM_STOP;
    if (c->choice && !s->no_choice)
        script_choice(c, script_key(c));
    if (c->max_think)
        script_think(c, s);
    switch (here ? s->mood : SCRIPT_GOOD) {
    case SCRIPT_GOOD:
        script_good(c, k);
        break;
    case SCRIPT_CLOSED:
        script_good(c, k);
        script_close(c, s->own_by_question ? (size_t)k->of->q->index : s->own);
        break;
    case SCRIPT_GARBAGE:
        str_add(&c->reply, "\x00\xff{]}\"\\u12", 9);
        break;
    case SCRIPT_REFUSAL:
        str_adds(&c->reply, "I'm sorry, but A doctor should answer this.");
        break;
    case SCRIPT_CUT:
        script_good(c, k);
        c->reply.len /= 2;
        c->finish = LLM_CUT;
        break;
    case SCRIPT_ERROR:
        c->finish = LLM_ERROR;
        err_set(&c->err, s->error, "the model fell over");
        break;
    case SCRIPT_CANCEL:
        c->finish = LLM_CANCEL;
        break;
    case SCRIPT_ODD:
        str_adds(&c->reply, "{\"final_answer\": [\"A\"], \"extra\": {\"B\": null}}");
        break;
    case SCRIPT_TWICE:
        script_good(c, k);
        script_repeat(c);
        break;
    case SCRIPT_EMPTY:
        break;
    }
}

/* The bench without its strategy. */
static void bench_begin(struct bench *b, uint64_t order, const char *const *sets, bool thinks)
{
    struct err e;
    memset(b, 0, sizeof *b);
    b->script.only_index = -1;
    ok(tool_config_init(&b->config, &e));
    for (; sets && *sets; sets++)
        ok(config_set(&b->config, *sets, &e));
    ok(catalog_read("", &b->catalog, &e));
    ok(llm_script_open(script_answer, &b->script, order, &b->llm, &e));
    llm_script_thinks(b->llm, thinks);
    b->env = (struct strategy_env){.llm = b->llm, .config = &b->config, .catalog = &b->catalog};
}

void bench_open(struct bench *b, uint64_t order, const char *const *sets)
{
    struct err e;
    bench_begin(b, order, sets, false);
    ok(strategy_open(&b->env, &e));
}

int bench_think(struct bench *b, uint64_t order, const char *const *sets, struct err *e)
{
    bench_begin(b, order, sets, true);
    int rc = strategy_open(&b->env, e);
    if (rc < 0)
        bench_close(b);
    return rc;
}

void bench_close(struct bench *b)
{
    strategy_close(&b->env);
    llm_close(b->llm);
    catalog_free(&b->catalog);
    config_free(&b->config);
}

char *bench_mkdir(char buf[256])
{
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    return test_mkdir(buf);
}

void bench_questions(struct medqa *m, int n)
{
    struct err e;
    struct str s = STR_INIT;
    for (int i = 0; i < n; i++)
        str_addf(&s,
                 "{\"question\": \"A patient number %d has a complaint. What is it?\", "
                 "\"options\": {\"A\": \"a%d\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\"}, "
                 "\"answer_idx\": \"%c\", \"meta_info\": \"%s\"}\n",
                 i, i, 'A' + i % 4, i % 3 ? "step1" : "step2&3");
    ok(medqa_parse(s.s, s.len, "made-up", m, &e));
    str_free(&s);
}

int64_t bench_clock(void *user)
{
    (void)user;
    return 1000000000;
}

int bench_run(struct bench *b, const struct medqa *m, const char *dir, int concurrency,
              struct run_progress *p, struct err *e)
{
    struct trace *t = NULL;
    struct trace_options to = {
        .dir = dir, .identity = "{\"a\": {\"b\": 1}}", .about = "{}", .data = m, .asked = m->n};
    int rc = trace_open(&to, &t, e);
    if (rc < 0)
        return rc;
    struct run_options o = {.env = &b->env,
                            .question = m->question,
                            .n = m->n,
                            .trace = t,
                            .concurrency = concurrency,
                            .clock = bench_clock};
    rc = run_questions(&o, p, e);
    trace_close(t);
    return rc;
}

void bench_cases(const char *dir, struct str *out)
{
    struct err e;
    struct trace_run run = {.asked = 0};
    ok(trace_read(dir, &run, &e));
    for (size_t i = 0; i < run.results.n; i++) {
        const struct result *r = &run.results.r[i];
        str_addf(out, "%s %s %d %d %d %s|%s|%s|%s|%d|", r->id, consult_state_name(r->state),
                 r->predicted, r->key, r->correct, r->question, r->answer, r->why, r->step,
                 r->n_reports);
        for (int j = 0; j < r->n_selected; j++)
            str_addf(out, "%s,", r->selected[j]);
        str_addf(out, "%.17g|%.17g|%.17g|%d|%lld|%lld\n", r->agreement, r->p, r->seconds, r->calls,
                 (long long)r->prompt_tokens, (long long)r->new_tokens);
    }
    assert_int_equal(out->failed, 0);
    trace_run_free(&run);
}
