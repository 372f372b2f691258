/*
 * The launches of decode steps, counted where the shim makes them, for each part. loader/cost.h has
 * the same figures for predictions, and kernels/CUDA.md for readers.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cost.h"
#include "cushim_test.h"
#include "grammar.h"
#include "log.h"
#include "model.h"
#include "scratch.h"
#include "serve.h"
#include "source.h"
#include "span.h"
#include "test.h"
#include "tokenizer.h"

enum { MOST_LAYERS = 64 };

/* Launches of the latest step, by part. */
struct counted {
    int embed, attn[MOST_LAYERS], ffn[MOST_LAYERS], output, sample, logprob, norms;
    int step; /* all of the step */
};

static struct watch {
    struct spans spans;
    uint64_t op_at, step_at;
    int matmuls; /* of the layer under way: two of attention, two of the ffn */
    struct counted now, last;
} w;

static void on_begin(struct spans *s, const struct span *span)
{
    (void)s;
    if (span->kind == SPAN_OP)
        w.op_at = cushim_stats().launches;
    if (span->kind == SPAN_PART)
        w.matmuls = 0;
    if (span->kind == SPAN_STEP) {
        w.step_at = cushim_stats().launches;
        w.now = (struct counted){0};
    }
}

static void on_op(const struct span *span, int n)
{
    const int l = span->layer;
    struct counted *c = &w.now;
    assert_true(l < MOST_LAYERS);
    if (span->op == OP_sample)
        c->sample += n;
    else if (span->op == OP_logprob)
        c->logprob += n;
    else if (l >= 0)
        *(w.matmuls < 2 ? &c->attn[l] : &c->ffn[l]) += n;
    else
        *(span->op == OP_embed ? &c->embed : &c->output) += n;
    c->norms += span->op == OP_rmsnorm ? n : 0;
    w.matmuls += span->op == OP_matmul;
}

static void on_end(struct spans *s, const struct span *span)
{
    (void)s;
    if (span->kind == SPAN_OP)
        on_op(span, (int)(cushim_stats().launches - w.op_at));
    if (span->kind != SPAN_STEP)
        return;
    w.now.step = (int)(cushim_stats().launches - w.step_at);
    if (w.now.sample >= w.last.sample)
        w.last = w.now;
}

/* ---- runs ------------------------------------------------------------------------------------ */

struct how {
    const char *model;
    int n_seq, n_prompt, n_new;
    bool record;
    const struct grammar *grammar;
    float temperature;
};

/* The counts of a step with all sequences: the last one among those that sample most. A sequence
 * that was queued late begins late, and the very last step can be without the others. */
static struct counted count(const struct how *h)
{
    struct err e;
    struct engine *en;
    struct engine_options o = {.model = h->model,
                               .backend = "cudahost",
                               .n_threads = 1,
                               .n_ctx = h->n_prompt + h->n_new,
                               .n_seq = h->n_seq,
                               .no_prefix_cache = true,
                               .no_record = !h->record,
                               .spans = &w.spans};
    w = (struct watch){.spans = {.begin = on_begin, .end = on_end}};
    ok(engine_open(&o, &en, &e));
    struct jobs *js =
        jobs_make(h->n_seq, h->n_prompt, h->n_prompt, h->n_new, 5, engine_info(en)->n_vocab);
    for (int i = 0; i < js->n; i++) {
        js->job[i].r.ignore_eos = true;
        js->job[i].r.grammar = h->grammar;
        js->job[i].r.temperature = h->temperature;
    }
    jobs_run(en, js);
    engine_close(en);
    jobs_free(js);
    assert_string_equal(cushim_findings(), "");
    return w.last;
}

static int sum(const struct counted *c)
{
    int n = c->embed + c->output + c->sample + c->logprob;
    for (int l = 0; l < MOST_LAYERS; l++)
        n += c->attn[l] + c->ffn[l];
    return n;
}

/* *n_layer, and launches beyond those of cost.h in all attention parts together. */
static int more(const char *path, int *n_layer)
{
    struct err e;
    struct gguf *g;
    struct tokenizer *tok;
    struct model m;
    ok(source_open(path, &g, &e));
    ok(tokenizer_open(g, NULL, &tok, &e));
    ok(model_init(g, tokenizer_n_vocab(tok), &m, &e));
    const int n = model_more_launches(&m);
    *n_layer = m.hp.n_layer;
    model_free(&m);
    tokenizer_close(tok);
    gguf_close(g);
    return n;
}

/* Each part has its figure, and the step their sum. merge: attention runs in splits. */
static void is_cost(const char *what, const struct counted *c, const char *path, bool merge,
                    int rows)
{
    int n_layer, attn = 0;
    const int beyond = more(path, &n_layer), splits = merge ? 0 : -1;
    print_message("%s: %d launches, of them sampling %d\n", what, c->step, c->sample);
    assert_int_equal(c->embed, COST_LAUNCHES_EMBED);
    for (int l = 0; l < n_layer; l++) {
        assert_int_equal(c->ffn[l], COST_LAUNCHES_FFN);
        assert_true(c->attn[l] >= COST_LAUNCHES_ATTN + splits);
        attn += c->attn[l];
    }
    assert_int_equal(attn, n_layer * (COST_LAUNCHES_ATTN + splits) + beyond);
    assert_int_equal(c->output, COST_LAUNCHES_OUTPUT);
    assert_int_equal(c->sample,
                     COST_LAUNCHES_SAMPLE * ((rows + COST_SAMPLE_ROWS - 1) / COST_SAMPLE_ROWS));
    assert_int_equal(c->step, sum(c));
    const double want = cost_launches(n_layer, (double)beyond / n_layer, rows) + splits * n_layer;
    assert_float_equal(c->step, want, 1e-9);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void the_embedded_model_has_the_figures(void **state)
{
    (void)state;
    int n_layer;
    const struct how longer = {"demo", 1, SCRATCH_ATTN_SPAN + 2, 3, false, NULL, 0},
                     shorter = {"demo", 1, 5, 3, false, NULL, 0.7f};
    struct counted c = count(&longer);
    is_cost("the embedded model, a context of two splits", &c, "demo", true, 1);
    c = count(&shorter);
    is_cost("the embedded model, a short context", &c, "demo", false, 1);
    assert_true(more("demo", &n_layer) > 0); /* v of some layers has a format of its own */
}

static char dir[256], path[300];

static int make_model(void **state)
{
    char command[1024];
    const char *mas = getenv("MAS");
    (void)state;
    snprintf(path, sizeof path, "%s/m.gguf", test_mkdir(dir));
    if (!mas)
        return 0;
    snprintf(command, sizeof command,
             "%s synth --shape tiny --layers 3 --type Q4_K_M --vocab 1000 --quiet %s", mas, path);
    return system(command);
}

static int remove_model(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

/* A mask, a temperature, a recording and more sequences change nothing but the sampling of more
 * than COST_SAMPLE_ROWS rows. */
static void a_llama3_model_has_the_figures_in_every_kind_of_step(void **state)
{
    (void)state;
    struct err e;
    struct grammar *g;
    if (!getenv("MAS"))
        skip();
    static const char schema[] = "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}";
    ok(grammar_compile(schema, strlen(schema), "test", &g, &e));
    const struct how how[] = {{path, 1, SCRATCH_ATTN_SPAN + 2, 3, false, NULL, 0},
                              {path, 1, 5, 3, false, NULL, 0},
                              {path, 1, 5, 4, false, g, 0.7f},
                              {path, 5, 5, 3, false, NULL, 1},
                              {path, COST_SAMPLE_ROWS, 1, 3, false, NULL, 0},
                              {path, COST_SAMPLE_ROWS + 1, 1, 3, false, NULL, 0}};
    for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
        char what[32];
        const struct counted c = count(&how[i]);
        snprintf(what, sizeof what, "kind %zu of step", i);
        is_cost(what, &c, path, how[i].n_prompt > SCRATCH_ATTN_SPAN, how[i].n_seq);
    }
    grammar_free(g);
}

/* The last step replays a recording: its ops are queued as one graph. There is one sequence: of
 * two, one can begin a step late. Its last step, alone, is then the second of its kind, which is
 * recorded and not yet replayed. */
static void a_recorded_step_has_as_many(void **state)
{
    (void)state;
    if (!getenv("MAS"))
        skip();
    struct how h = {path, 1, 5, 6, false, NULL, 0};
    const struct counted eager = count(&h);
    h.record = true;
    const struct counted replayed = count(&h);
    assert_int_equal(replayed.embed, 0);
    assert_int_equal(replayed.step, eager.step);
}

/* Norms of q and k (Qwen3), and norms of results (Gemma 3), are kernels of their own. */
static void norms_of_q_k_and_results_count(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int norms; /* of a layer */
    } row[] = {{TEST_GOLDEN "/logits_qwen3.gguf", 2}, {TEST_GOLDEN "/logits_gemma3.gguf", 4}};
    for (int i = 0; i < 2; i++) {
        int n_layer;
        const struct how h = {row[i].path, 1, 5, 3, false, NULL, 0};
        const struct counted c = count(&h);
        const int beyond = more(row[i].path, &n_layer);
        assert_int_equal(beyond, row[i].norms * n_layer);
        assert_int_equal(c.norms, row[i].norms * n_layer);
    }
}

/* A scored continuation takes log-probabilities instead of samples. */
static void scores_take_two(void **state)
{
    (void)state;
    struct err e;
    struct engine *en;
    static const int32_t prompt[] = {1, 2, 3}, cont[] = {4, 5};
    const int32_t *conts[] = {cont};
    const int len[] = {2};
    double lp;
    const struct engine_options o = {.model = "demo",
                                     .backend = "cudahost",
                                     .n_threads = 1,
                                     .n_ctx = 64,
                                     .n_seq = 1,
                                     .no_record = true,
                                     .spans = &w.spans};
    w = (struct watch){.spans = {.begin = on_begin, .end = on_end}};
    ok(engine_open(&o, &en, &e));
    struct jobs *js = jobs_make(1, 3, 3, 1, 5, engine_info(en)->n_vocab);
    struct request *r = &js->job[0].r;
    r->prompt = prompt;
    r->max_new = 0;
    r->cont = conts;
    r->cont_len = len;
    r->n_cont = 1;
    r->cont_lp = &lp;
    jobs_run(en, js);
    engine_close(en);
    jobs_free(js);
    assert_true(w.last.logprob == 2 && w.last.sample == 0);
}

static void the_document_has_the_figures(void **state)
{
    (void)state;
    size_t n;
    char *text = test_read(TEST_SOURCE "/kernels/CUDA.md", &n), want[6][64];
    snprintf(want[0], sizeof *want, "\n| attention | %d |", COST_LAUNCHES_ATTN);
    snprintf(want[1], sizeof *want, "\n| FFN | %d |", COST_LAUNCHES_FFN);
    snprintf(want[2], sizeof *want, "\n| embedding | %d |", COST_LAUNCHES_EMBED);
    snprintf(want[3], sizeof *want, "\n| output | %d |", COST_LAUNCHES_OUTPUT);
    snprintf(want[4], sizeof *want, "\n| sampling | %d |", COST_LAUNCHES_SAMPLE);
    snprintf(want[5], sizeof *want, "A layer takes %d launches",
             COST_LAUNCHES_ATTN + COST_LAUNCHES_FFN);
    for (int i = 0; i < 6; i++)
        if (!strstr(text, want[i]))
            fail_msg("kernels/CUDA.md has no '%s'", want[i] + (want[i][0] == '\n'));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_embedded_model_has_the_figures),
        cmocka_unit_test(a_llama3_model_has_the_figures_in_every_kind_of_step),
        cmocka_unit_test(a_recorded_step_has_as_many),
        cmocka_unit_test(norms_of_q_k_and_results_count),
        cmocka_unit_test(scores_take_two),
        cmocka_unit_test(the_document_has_the_figures),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
