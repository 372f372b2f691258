#include "simulate.h"

#include <pthread.h>

#include "mem.h"

enum { BATCH_TOKENS = 512 };
#define SPANS ((size_t)1 << 20) /* of one step of the largest models a few thousand */

struct run { /* shared with the engine's thread until every request is done */
    const struct simulate *in;
    struct sim *sim;
    struct request *r; /* (n) */
    int32_t *prompt;   /* (n, n_prompt) */
    int32_t *out;      /* (n, max_new) */
    int *n_token;      /* (n) tokens that each has given */
    int n, n_prompt, max_new;
    int n_first;      /* requests that have given their first token */
    int64_t tokens;   /* of all since begin */
    int64_t measured; /* of them until end */
    int step;         /* of those that all of them take part in */
    double begin, end;
    double busy[SIM_CARDS][SIM_ENGINES];
    int kv_len;
    double paid; /* the clock when step_s was last added */
    /* The engine starts with this request. Its end submits all others, on the engine's thread: when
     * each of them arrives does not depend on the threads of this host. */
    struct request starter;
    int32_t start_out;
    struct engine *en;
    pthread_mutex_t lock;
    pthread_cond_t news;
    int n_sent, n_done; /* n_sent < 0: none yet */
    struct err why;     /* of the submission */
};

/* Adds the sim's busy times so far, times sign, to those of the run. */
static void run_busy(struct run *run, int sign)
{
    for (int c = 0; c < sim_cards(run->sim); c++)
        for (int i = 0; i < SIM_ENGINES; i++)
            run->busy[c][i] += sign * sim_busy(run->sim, c, (enum sim_engine)i);
}

/* True when as many steps, or tokens of the last sequence, as n are left until the end of the
 * measurement. */
static bool run_at(const struct run *run, int n)
{
    const struct simulate *in = run->in;
    return in->draft_model || in->n_prompt ? run->step == in->n_warm + in->n_step - n
                                           : run->n_token[0] == run->max_new - 1 - n;
}

/* Scheduling and sampling on the host, once a step: nothing else lets the clock stand still between
 * two tokens of a sequence. */
static void run_pay(struct run *run)
{
    if (run->in->rates.step_s > 0 && sim_now(run->sim) > run->paid) {
        sim_spend(run->sim, run->in->rates.step_s);
        run->paid = sim_now(run->sim);
    }
}

static void run_mark(struct run *run)
{
    const struct simulate *in = run->in;
    run_pay(run);
    if (run_at(run, in->n_step)) {
        run->begin = sim_now(run->sim);
        run->tokens = 0;
        run_busy(run, -1);
        sim_trace_clear(run->sim);
    }
    if (run_at(run, 0)) {
        run->end = sim_now(run->sim);
        run->measured = run->tokens;
        run_busy(run, 1);
        run->kv_len = run->n_prompt + run->n_token[0] - in->n_step / 2;
    }
    run->step++;
}

/* A step is over when the request that began last gets its token, since it is last in the order. */
static void on_token(struct request *r, int32_t id, float logprob)
{
    (void)id, (void)logprob;
    struct run *run = r->user;
    int i = (int)(r - run->r);
    run->tokens++;
    if (run->n_token[i]++ == 0)
        run->n_first++;
    if (run->n_first == run->n && i == run->n - 1)
        run_mark(run);
}

static void done(struct request *r)
{
    struct run *run = r->user;
    pthread_mutex_lock(&run->lock);
    run->n_done++;
    pthread_cond_signal(&run->news);
    pthread_mutex_unlock(&run->lock);
}

static void start(struct request *r)
{
    struct run *run = r->user;
    struct err why = {.code = r->finish == FINISH_ERROR ? r->err.code : 0};
    int n = 0;
    if (why.code)
        why = r->err;
    for (; n < run->n && !why.code; n++)
        if (engine_submit(run->en, &run->r[n], &why) < 0)
            break;
    pthread_mutex_lock(&run->lock);
    run->n_sent = n;
    run->why = why;
    pthread_cond_signal(&run->news);
    pthread_mutex_unlock(&run->lock);
}

static void run_free(struct run *run)
{
    mem_free(run->r);
    mem_free(run->prompt);
    mem_free(run->out);
    mem_free(run->n_token);
    pthread_cond_destroy(&run->news);
    pthread_mutex_destroy(&run->lock);
}

/* Tokens that the first sequence gives until the last one has begun. */
static int ramp(const struct simulate *in, int n, int n_prompt)
{
    int64_t rows = BATCH_TOKENS > 2 * n ? BATCH_TOKENS - n : BATCH_TOKENS / 2;
    int steps = (int)((int64_t)n * n_prompt / rows) + n / 8 + 4;
    return in->draft_model ? 4 * steps : steps; /* of up to so many tokens */
}

static int run_length(struct run *run, const struct simulate *in, int n, struct err *e)
{
    const int steps = in->n_warm + in->n_step + 2;
    run->n_prompt = in->n_prompt ? in->n_prompt : in->n_ctx;
    while (!in->n_prompt && run->n_prompt > 1 &&
           run->n_prompt + ramp(in, n, run->n_prompt) + steps > in->n_ctx)
        run->n_prompt--;
    run->max_new = ramp(in, n, run->n_prompt) + steps;
    if (run->n_prompt + run->max_new > in->n_ctx)
        FAIL(e, ERR_USAGE,
             "cannot simulate %d sequences of %d tokens: they are too short to run together; raise "
             "--ctx "
             "or lower --sequences",
             n, in->n_ctx);
    return 0;
}

static int run_init(struct run *run, const struct simulate *in, int n, struct sim *sim,
                    struct err *e)
{
    size_t all = (size_t)n;
    *run = (struct run){.in = in, .sim = sim, .n = n, .n_sent = -1};
    TRY(run_length(run, in, n, e));
    size_t len = (size_t)run->n_prompt;
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->news, NULL);
    run->r = mem_zalloc(all, sizeof *run->r);
    run->prompt = mem_zalloc(all * len, sizeof *run->prompt);
    run->out = mem_zalloc(all * (size_t)run->max_new, sizeof *run->out);
    run->n_token = mem_zalloc(all, sizeof *run->n_token);
    if (!run->r || !run->prompt || !run->out || !run->n_token) {
        run_free(run);
        return NOMEM(e, all * sizeof *run->r, "simulated requests");
    }
    for (int i = 0; i < n; i++) {
        run->prompt[(size_t)i * len] = i % 200; /* beginnings differ: nothing is shared */
        run->r[i] = (struct request){.id = (uint64_t)i,
                                     .prompt = run->prompt + (size_t)i * len,
                                     .n_prompt = run->n_prompt,
                                     .max_new = run->max_new,
                                     .top_p = 1,
                                     .ignore_eos = true,
                                     .on_token = on_token,
                                     .done = done,
                                     .user = run,
                                     .out = run->out + (size_t)i * (size_t)run->max_new};
    }
    /* as long as theirs: a short one would teach the drafter that short steps are fast */
    run->starter = (struct request){.id = (uint64_t)n,
                                    .prompt = run->prompt,
                                    .n_prompt = run->n_prompt,
                                    .max_new = 1,
                                    .top_p = 1,
                                    .ignore_eos = true,
                                    .done = start,
                                    .user = run,
                                    .out = &run->start_out};
    return 0;
}

static int run_all(struct run *run, struct engine *en, struct err *e)
{
    run->en = en;
    TRY(engine_submit(en, &run->starter, e));
    pthread_mutex_lock(&run->lock);
    while (run->n_sent < 0 || run->n_done < run->n_sent)
        pthread_cond_wait(&run->news, &run->lock);
    pthread_mutex_unlock(&run->lock);
    if (run->why.code)
        FAIL(e, run->why.code, "%s", run->why.msg);
    for (int i = 0; i < run->n; i++)
        if (run->r[i].finish == FINISH_ERROR)
            FAIL(e, run->r[i].err.code, "%s", run->r[i].err.msg);
    if (!(run->end > run->begin))
        FAIL(e, ERR_BUG, "simulate: %d sequences never took a step together", run->n);
    return 0;
}

/* Copies the results that a caller may keep after the engine is closed. */
static int keep(const struct run *run, const struct plan *plan, struct simulated *out,
                struct err *e)
{
    const struct sim_span *span;
    const size_t n = sim_trace(run->sim, &span);
    double seconds = run->end - run->begin;
    int64_t passes = 0, new = 0;
    for (int i = 0; i < run->n; i++) {
        passes += run->r[i].n_pass;
        new += run->r[i].n_out;
    }
    *out = (struct simulated){.step_s = seconds / run->in->n_step,
                              .rate = (double)run->measured / seconds,
                              .per_pass = (double)new / (double)passes,
                              .n_card = sim_cards(run->sim),
                              .n_run = run->n,
                              .begin = run->begin,
                              .kv_len = run->kv_len};
    for (int i = 0; i < SIM_ENGINES; i++)
        for (int c = 0; c < out->n_card; c++) {
            out->card_busy[c][i] = run->busy[c][i] / seconds;
            out->busy[i] += out->card_busy[c][i] / out->n_card;
        }
    TRY(plan_clone(plan, &out->plan, e));
    out->span = mem_zalloc(n + 1, sizeof *out->span);
    if (!out->span)
        return NOMEM(e, n * sizeof *out->span, "the result of a simulation");
    for (size_t i = 0; i < n; i++)
        if (span[i].start < run->end)
            out->span[out->n_span++] = span[i];
    return 0;
}

/* A plan counts batches of BATCH_TOKENS or n_seq tokens; those here may be larger. */
#define MORE_WORKSPACE ((uint64_t)8 << 30)

/* The cards of the run, and the rates of each with the same host. */
static struct sim_config machine(const struct simulate *in, struct plan_rates *rates)
{
    const struct plan_rates *r = &in->rates;
    struct sim_config c = {.card = {{.vram_bytes = in->vram_bytes,
                                     .lost_bytes = in->lost_bytes,
                                     .vram = r->vram,
                                     .link = r->link,
                                     .device_ops = r->device_ops}},
                           .n_card = 1 + in->n_more,
                           .peer = in->peer,
                           .host = r->host,
                           .host_row = r->host_row,
                           .dram = r->dram,
                           .host_ops = r->host_ops,
                           .hop_s = r->hop_s,
                           .launch_s = r->launch_s,
                           .n_span = SPANS};
    for (int i = 0; i < c.n_card; i++) {
        if (i)
            c.card[i] = in->more[i - 1];
        c.card[i].vram_bytes += in->plan ? MORE_WORKSPACE : 0;
        rates[i] = *r;
        rates[i].vram = c.card[i].vram;
        rates[i].link = c.card[i].link;
        rates[i].device_ops = c.card[i].device_ops;
    }
    return c;
}

int simulate_run(const struct simulate *in, struct simulated *out, struct err *e)
{
    struct plan_rates rates[SIM_CARDS];
    const struct sim_config c = machine(in, rates);
    struct sim *sim = NULL;
    struct engine *en = NULL;
    struct run run = {.n = 0};
    int rc = 0;
    *out = (struct simulated){0};
    TRY(sim_open(&c, &sim, e));
    const struct engine_options opt = {.model = in->model,
                                       .backend = "sim",
                                       .sim = sim,
                                       .n_threads = 1,
                                       .n_ctx = in->n_ctx,
                                       .n_seq = in->n_seq,
                                       .batch_tokens = in->n_seq > BATCH_TOKENS / 2 ? 2 * in->n_seq
                                                                                    : BATCH_TOKENS,
                                       .kv_fmt = in->kv_fmt,
                                       .no_prefix_cache = true,
                                       .draft_model = in->draft_model,
                                       .max_draft = in->max_draft,
                                       .spoil_drafts = in->spoil,
                                       .placement = in->mode,
                                       .split = in->split,
                                       .link_limit = in->link_limit,
                                       .cpu_layers = {in->cpu_layers != PLAN_ANY, in->cpu_layers},
                                       .ram_bytes = in->ram_bytes,
                                       .devices = {.item = {"all"}, .n = in->n_more > 0},
                                       .rates = rates,
                                       .plan = in->plan,
                                       .n_rates = 1 + in->n_more,
                                       .peer_rate = in->peer};
    TRY_DONE(engine_open(&opt, &en, e));
    const struct plan *plan = engine_info(en)->plan;
    if (plan->split == PLAN_ROWS)
        sim_calls(sim, PLAN_CALL_S, PLAN_COPY_S);
    const int n = in->n_run ? in->n_run : plan->n_seq > 0 ? plan->n_seq : 1;
    TRY_DONE(run_init(&run, in, n, sim, e));
    rc = run_all(&run, en, e);
    if (rc == 0)
        rc = keep(&run, plan, out, e);
    run_free(&run);
done:
    engine_close(en);
    sim_close(sim);
    return rc;
}

void simulated_free(struct simulated *r)
{
    plan_free(&r->plan);
    mem_free(r->span);
    *r = (struct simulated){0};
}
