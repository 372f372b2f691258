#include "crowd.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "differ.h"
#include "engine.h"
#include "grammar.h"
#include "mixture.h"
#include "rng.h"
#include "serve.h"
#include "span_log.h"
#include "synth.h"
#include "tokenizer.h"

#define CROWD_SLOWER 20

static const enum fmt kv_formats[CROWD_KV_FORMATS] = {FMT_F16, FMT_Q8_0, FMT_Q4_0, FMT_F32};

static const char *const schemas[CROWD_SCHEMAS] = {
    "{\"type\": \"object\", \"properties\": {\"kind\": {\"enum\": [\"on\", \"off\"]}, \"note\": "
    "{\"type\": \"string\", "
    "\"maxLength\": 10}}, \"required\": [\"kind\", \"note\"]}",
    "{\"type\": \"object\", \"properties\": {\"list\": {\"type\": \"array\", \"minItems\": 1, "
    "\"maxItems\": 3, "
    "\"items\": {\"enum\": [\"p\", \"pq\", \"pqr\"]}}, \"x\": {\"type\": \"number\", \"minimum\": "
    "0, \"maximum\": 1}, "
    "\"text\": {\"type\": \"string\", \"maxLength\": 30}}, \"required\": [\"list\", \"x\", "
    "\"text\"]}",
};

/* ---- running ---- */

struct crowd;

struct work {
    struct request r; /* first */
    const struct crowd_request *x;
    struct crowd *crowd;
    int index;
    int32_t *prompt, *out, *think_end;
    float *lp, *prompt_lp;
    struct token_lp *top, *prompt_top;
    struct token_bias bias[CROWD_BIASES];
    int32_t *cont_tok[CROWD_CONTS];
    const int32_t *cont[CROWD_CONTS];
    double cont_lp[CROWD_CONTS];
    int n_tokens, n_rows, next_row; /* numbers of callbacks so far */
    uint64_t tokens, rows;          /* hashes of the arguments of callbacks */
    bool unordered;
    bool submitted, cancelled; /* under the crowd's lock */
    int done, rc;
    struct err why; /* error when rc < 0 */
};

struct crowd {
    const struct crowd_trial *t;
    struct engine *en;
    bool alone;
    int n_vocab, left, in_flight;
    pthread_mutex_t lock;
    pthread_cond_t news;
    struct grammar *grammar[CROWD_SCHEMAS];
    struct work work[CROWD_REQUESTS];
};

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    for (const unsigned char *b = bytes; n--; b++)
        h = (h ^ *b) * 0x100000001b3u; /* FNV-1a */
    return h;
}

static void submit(struct work *w);

/* Submits the requests that wait for w: until it has `tokens` tokens, or until it has ended. */
static void follow(struct work *w, int tokens, bool ended)
{
    struct crowd *c = w->crowd;
    for (int i = w->index + 1; !c->alone && i < c->t->n; i++) {
        struct work *v = &c->work[i];
        if (!v->x->dropped && c->t->option[CROWD_LATE] && v->x->arrival == ARRIVE_AFTER &&
            v->x->after == w->index && (ended || v->x->at == tokens))
            submit(v);
    }
}

static void on_token(struct request *r, int32_t id, float lp)
{
    struct work *w = (struct work *)r;
    w->tokens = hash_bytes(hash_bytes(w->tokens, &id, sizeof id), &lp, sizeof lp);
    follow(w, ++w->n_tokens, false);
}

static void on_logits(struct request *r, int pos, const float *logits)
{
    struct work *w = (struct work *)r;
    w->unordered |= pos != r->logits_from + w->n_rows;
    w->n_rows++;
    w->rows = hash_bytes(w->rows, logits, (size_t)w->crowd->n_vocab * sizeof *logits);
}

static void on_done(struct request *r)
{
    struct work *w = (struct work *)r;
    struct crowd *c = w->crowd;
    follow(w, 0, true);
    pthread_mutex_lock(&c->lock);
    w->done++;
    c->left--;
    c->in_flight--;
    pthread_cond_signal(&c->news);
    pthread_mutex_unlock(&c->lock);
}

/* Submits w once, from the first thread that asks. A refused request is done at once. */
static void submit(struct work *w)
{
    struct crowd *c = w->crowd;
    pthread_mutex_lock(&c->lock);
    bool first = !w->submitted;
    w->submitted = true;
    c->in_flight += first;
    pthread_mutex_unlock(&c->lock);
    if (!first)
        return;
    int rc = engine_submit(c->en, &w->r, &w->why);
    if (rc == 0)
        return;
    w->rc = rc;
    follow(w, 0, true);
    pthread_mutex_lock(&c->lock);
    c->left--;
    c->in_flight--;
    pthread_cond_signal(&c->news);
    pthread_mutex_unlock(&c->lock);
}

static int32_t *random_tokens(int n, int common, uint64_t family, uint64_t own, int n_vocab)
{
    int32_t *tok = malloc((size_t)n * sizeof *tok); /* exact size, for AddressSanitizer */
    for (int k = 0; tok && k < n; k++)
        tok[k] =
            (int32_t)rng_below(rng_mix(k < common ? family : own), (uint64_t)k, (uint32_t)n_vocab);
    return tok;
}

static void work_think(struct work *w, uint64_t base)
{
    const struct crowd_request *x = w->x;
    const char *close;
    size_t n;
    tokenizer_text(engine_tokenizer(w->crowd->en), x->think_close, &close, &n);
    w->think_end = random_tokens(x->n_think_end + x->n_think_after, 0, 0,
                                 base + 3000 + (uint64_t)w->index, w->crowd->n_vocab);
    w->r.think = (struct request_think){.max = x->max_think,
                                        .close = close,
                                        .n_close = (int)n,
                                        .end = w->think_end,
                                        .n_end = x->n_think_end,
                                        .after = w->think_end + x->n_think_end,
                                        .n_after = x->n_think_after};
}

static void work_extras(struct work *w, uint64_t base)
{
    const struct crowd_request *x = w->x;
    size_t n = (size_t)x->len, n_top = (size_t)x->n_top;
    w->r.n_top = x->n_top;
    if (x->prompt_from >= 0) {
        w->r.prompt_lp_from = x->prompt_from;
        w->r.prompt_lp = w->prompt_lp = malloc(n * sizeof *w->prompt_lp);
        if (x->prompt_top && n_top)
            w->r.prompt_top = w->prompt_top = malloc(n * n_top * sizeof *w->prompt_top);
    }
    w->r.bias = w->bias;
    w->r.n_bias = x->n_bias;
    for (int k = 0; k < x->n_bias; k++)
        w->bias[k] =
            (struct token_bias){(int32_t)rng_below(base + 4000 + (uint64_t)w->index, (uint64_t)k,
                                                   (uint32_t)w->crowd->n_vocab),
                                k % 3 ? 20 * (rng_uniform(base, (uint64_t)k) - 0.7f) : -100};
    w->r.presence_penalty = x->presence;
    w->r.frequency_penalty = x->frequency;
    w->r.repeat_penalty = x->repeat;
    w->r.repeat_last_n = x->repeat_last_n;
}

static void work_init(struct work *w, struct crowd *c, int i)
{
    const struct crowd_request *x = &c->t->request[i];
    uint64_t base = rng_mix(c->t->seed) & ~(uint64_t)0xffff;
    *w = (struct work){.x = x, .crowd = c, .index = i};
    w->prompt = random_tokens(x->len, x->shared, base + (uint64_t)x->family,
                              base + 100 + (uint64_t)i, c->n_vocab);
    w->r = (struct request){.id = (uint64_t)i,
                            .seed = x->seed,
                            .rank = c->t->option[CROWD_RANKS] ? x->rank : 0,
                            .prompt = w->prompt,
                            .n_prompt = x->len,
                            .max_new = x->max_new,
                            .temperature = x->temperature,
                            .top_p = x->top_p,
                            .min_p = x->min_p,
                            .top_k = x->top_k,
                            .ignore_eos = x->ignore_eos,
                            .done = on_done};
    if (x->max_think)
        work_think(w, base);
    work_extras(w, base);
    if (x->max_new) {
        size_t most = (size_t)request_most(&w->r);
        if (x->n_top)
            w->r.out_top = w->top = malloc(most * (size_t)x->n_top * sizeof *w->top);
        w->r.out = w->out = malloc(most * sizeof *w->out);
        w->r.out_lp = w->lp = malloc(most * sizeof *w->lp);
        w->r.on_token = on_token;
    }
    if (x->kind == CROWD_GRAMMAR)
        w->r.grammar = c->grammar[x->grammar];
    for (int k = 0; k < x->n_cont; k++)
        w->cont[k] = w->cont_tok[k] =
            random_tokens(x->cont_len[k], x->cont_shared, base + 1000 + (uint64_t)i,
                          base + 2000 + (uint64_t)(i * CROWD_CONTS + k), c->n_vocab);
    if (x->n_cont) {
        w->r.cont = w->cont;
        w->r.cont_len = x->cont_len;
        w->r.cont_lp = w->cont_lp;
        w->r.n_cont = x->n_cont;
    }
    if (x->kind == CROWD_LOGITS) {
        w->r.on_logits = on_logits;
        w->r.logits_from = x->logits_from;
    }
}

static void work_free(struct work *w)
{
    free(w->prompt);
    free(w->out);
    free(w->lp);
    free(w->prompt_lp);
    free(w->top);
    free(w->prompt_top);
    free(w->think_end);
    for (int k = 0; k < CROWD_CONTS; k++)
        free(w->cont_tok[k]);
}

static void wait_until_left(struct crowd *c, int left)
{
    pthread_mutex_lock(&c->lock);
    while (c->left > left)
        pthread_cond_wait(&c->news, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void wait_for_step(struct crowd *c, int step)
{
    struct engine_stats st;
    for (bool busy = true; busy; usleep(20)) {
        engine_stats(c->en, &st);
        pthread_mutex_lock(&c->lock);
        busy = st.steps < (uint64_t)step && c->in_flight > 0;
        pthread_mutex_unlock(&c->lock);
    }
}

/* A request that would wait for a dropped one arrives at the start instead. */
static enum crowd_arrival arrival_of(const struct crowd_trial *t, const struct crowd_request *x)
{
    if (!t->option[CROWD_LATE] || (x->arrival == ARRIVE_AFTER && t->request[x->after].dropped))
        return ARRIVE_FIRST;
    return x->arrival;
}

/* Submits and cancels from this thread, in order of the steps. */
static void run_events(struct crowd *c)
{
    const struct crowd_trial *t = c->t;
    for (int i = 0; i < t->n; i++)
        if (!t->request[i].dropped && arrival_of(t, &t->request[i]) == ARRIVE_FIRST)
            submit(&c->work[i]);
    int last = 60 + 4 * CROWD_REQUESTS;
    for (int step = 0; step <= last; step++)
        for (int i = 0; i < t->n; i++) {
            const struct crowd_request *x = &t->request[i];
            bool arrives = !x->dropped && arrival_of(t, x) == ARRIVE_STEP && x->at == step;
            bool cancelled = !x->dropped && t->option[CROWD_CANCELS] && x->cancel_step == step;
            if (!arrives && !cancelled)
                continue;
            wait_for_step(c, step);
            if (arrives)
                submit(&c->work[i]);
            if (cancelled) { /* a request not yet submitted, or already done, is harmless */
                engine_cancel(c->en, &c->work[i].r);
                c->work[i].cancelled = true;
            }
        }
}

static void crowd_init(struct crowd *c, const struct crowd_trial *t, struct engine *en, bool alone)
{
    memset(c, 0, sizeof *c);
    c->t = t;
    c->en = en;
    c->alone = alone;
    c->n_vocab = engine_info(en)->n_vocab;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->news, NULL);
    struct err e;
    for (int i = 0; i < CROWD_SCHEMAS; i++)
        if (grammar_compile(schemas[i], strlen(schemas[i]), "schema", &c->grammar[i], &e) < 0) {
            printf("schema %d: %s\n", i, e.msg);
            exit(70);
        }
    for (int i = 0; i < t->n; i++) {
        work_init(&c->work[i], c, i);
        c->left += !t->request[i].dropped;
    }
}

static void crowd_free(struct crowd *c)
{
    for (int i = 0; i < c->t->n; i++)
        work_free(&c->work[i]);
    for (int i = 0; i < CROWD_SCHEMAS; i++)
        grammar_free(c->grammar[i]);
    engine_close(c->en); /* checks that no page is lost */
    pthread_cond_destroy(&c->news);
    pthread_mutex_destroy(&c->lock);
}

/* ---- comparing ---- */

/* Names the difference between w and a, the same request alone; NULL: none. Of a cancelled request
 * the results are a prefix. */
static const char *difference(const struct work *w, const struct work *a)
{
    const struct request *x = &w->r, *y = &a->r;
    if (w->rc != a->rc || (w->rc < 0 && strcmp(w->why.msg, a->why.msg)))
        return "engine_submit";
    if (w->rc < 0)
        return w->done ? "done was called for a refused request" : NULL;
    if (w->done != 1 || a->done != 1)
        return "number of calls of done";
    if (x->finish == FINISH_CANCEL) {
        if (!w->cancelled)
            return "cancelled by nobody";
        if (x->n_out > y->n_out)
            return "more tokens than alone";
        return x->n_out && memcmp(x->out, y->out, (size_t)x->n_out * sizeof *x->out)
                   ? "tokens before it was cancelled"
                   : NULL;
    }
    if (x->finish != y->finish)
        return "finish";
    if (x->finish == FINISH_ERROR && strcmp(x->err.msg, y->err.msg))
        return "error";
    if (x->thought != y->thought || x->n_think != y->n_think)
        return "thinking";
    if (x->n_out != y->n_out || w->n_tokens != x->n_out || x->n_own != y->n_own)
        return "number of tokens";
    if (x->n_out && memcmp(x->out, y->out, (size_t)x->n_out * sizeof *x->out))
        return "tokens";
    if (w->tokens != a->tokens ||
        (x->n_out && memcmp(x->out_lp, y->out_lp, (size_t)x->n_out * sizeof *x->out_lp)))
        return "log-probabilities of tokens";
    if (memcmp(w->cont_lp, a->cont_lp, sizeof w->cont_lp))
        return "log-probabilities of continuations";
    size_t list = (size_t)x->n_top * sizeof *w->top;
    if (w->top && x->n_out && memcmp(w->top, a->top, (size_t)x->n_out * list))
        return "lists of the most probable tokens";
    if (w->prompt_lp &&
        memcmp(w->prompt_lp, a->prompt_lp, (size_t)x->n_prompt * sizeof *w->prompt_lp))
        return "log-probabilities of the prompt";
    if (w->prompt_top && memcmp(w->prompt_top, a->prompt_top, (size_t)x->n_prompt * list))
        return "lists of the prompt";
    if (w->n_rows != a->n_rows || w->rows != a->rows || w->unordered)
        return "raw logits";
    return NULL;
}

static void print_difference(const struct work *w, const struct work *a, const char *what)
{
    static const char *const kinds[] = {"generation", "generation under a grammar", "scoring",
                                        "raw logits"};
    const struct request *x = &w->r, *y = &a->r;
    printf(
        "request %d (%s): %s differ: %s with %d tokens '%s' in the crowd, %s with %d '%s' alone\n",
        w->index, kinds[w->x->kind], what, finish_name(x->finish), x->n_out,
        w->rc < 0 ? w->why.msg : x->err.msg, finish_name(y->finish), y->n_out,
        a->rc < 0 ? a->why.msg : y->err.msg);
    for (int k = 0; k < w->x->n_cont; k++)
        if (memcmp(&w->cont_lp[k], &a->cont_lp[k], sizeof w->cont_lp[k]))
            printf("  continuation %d of %d tokens: %.17g, alone %.17g\n", k, w->x->cont_len[k],
                   w->cont_lp[k], a->cont_lp[k]);
    for (int k = 0; k < x->n_out && k < y->n_out; k++)
        if (x->out[k] != y->out[k] || memcmp(&x->out_lp[k], &y->out_lp[k], sizeof(float))) {
            printf("  token %d: %d (%.9g), alone %d (%.9g)\n", k, x->out[k], (double)x->out_lp[k],
                   y->out[k], (double)y->out_lp[k]);
            break;
        }
}

static int compare(const struct crowd *many, const struct crowd *alone, struct crowd_told *told)
{
    int rc = CROWD_EQUAL;
    struct engine_stats st;
    engine_stats(many->en, &st);
    told->preempted += (long)st.preempted;
    told->cached += (long)st.cached_tokens;
    told->drafted += (long)st.drafted;
    told->accepted += (long)st.accepted;
    told->branched += (long)st.branched;
    told->swapped += (long)st.pages_swapped_in;
    if (st.running + st.waiting + st.pages_used ||
        st.pages_free + st.pages_cached != engine_info(many->en)->n_page) {
        printf("left at the end: %d running, %d waiting, %d pages used, %d free, %d cached of %d\n",
               st.running, st.waiting, st.pages_used, st.pages_free, st.pages_cached,
               engine_info(many->en)->n_page);
        rc = CROWD_DIFFERENT;
    }
    for (int i = 0; i < many->t->n; i++) {
        const struct work *w = &many->work[i], *a = &alone->work[i];
        const char *what = w->x->dropped ? NULL : difference(w, a);
        told->compared += !w->x->dropped;
        told->thought[w->r.thought]++;
        told->cancelled += w->r.finish == FINISH_CANCEL;
        told->scored += !w->x->dropped && w->prompt_lp;
        told->changed +=
            !w->x->dropped && (w->x->n_bias || w->x->presence != 0 || w->x->repeat != 0);
        if (what) {
            print_difference(w, a, what);
            rc = CROWD_DIFFERENT;
        }
    }
    return rc;
}

/* ---- engines ---- */

static int refused(const char *which, const struct err *e)
{
    printf("%s: %s\n", which, e->msg);
    return CROWD_REFUSED;
}

static int open_alone(const struct crowd_trial *t, const char *model, struct engine_options *o,
                      struct engine **en, struct err *e)
{
    int rc = -1;
    *o = (struct engine_options){.model = model,
                                 .backend = t->cudahost ? "cudahost" : "cpu",
                                 .n_ctx = t->n_ctx,
                                 .n_seq = 1,
                                 .no_prefix_cache = true,
                                 .n_threads = 1,
                                 .cpu_layers = {t->cudahost, 0}};
    for (size_t i = 0; rc < 0 && i < CROWD_KV_FORMATS; i++) {
        o->kv_fmt = kv_formats[t->kv_order[i]];
        rc = engine_open(o, en, e);
    }
    return rc;
}

static void on_progress(uint64_t done, uint64_t total, void *user)
{
    (void)done;
    (void)total;
    ++*(int *)user;
}

/* Sets the options of the crowd's engine. calls: counter for the callback of progress. */
static int set_options(const struct crowd_trial *t, const struct engine *alone, const char *draft,
                       int *calls, struct engine_options *o, struct err *e)
{
    const int *v = t->option;
    const struct engine_info *in = engine_info(alone);
    size_t head = 0;
    if (!fmt_row_bytes(o->kv_fmt, in->head_dim, &head))
        FAIL(e, ERR_BUG, "no KV format for heads of %d", in->head_dim);
    int page_tokens = v[CROWD_PAGE_TOKENS] ? v[CROWD_PAGE_TOKENS] : in->page_tokens;
    uint64_t page = (uint64_t)head * 2 * (uint64_t)in->n_kv_head * (uint64_t)in->n_layer *
                    (uint64_t)page_tokens;
    uint64_t context = (uint64_t)((in->n_ctx + page_tokens - 1) / page_tokens);
    o->n_threads = v[CROWD_THREADS];
    o->isa = crowd_isa(v[CROWD_ISA]);
    o->n_seq = v[CROWD_N_SEQ];
    o->batch_tokens = v[CROWD_BATCH_TOKENS];
    o->page_tokens = v[CROWD_PAGE_TOKENS];
    o->kv_bytes = v[CROWD_POOL] ? page * (context + (uint64_t)v[CROWD_POOL] - 1) : 0;
    o->swap = (enum plan_swap)v[CROWD_SWAP];
    o->swap_bytes = page * (uint64_t)v[CROWD_SWAP_PAGES];
    o->no_prefix_cache = v[CROWD_NO_CACHE];
    o->lookup = v[CROWD_LOOKUP];
    o->draft_model = v[CROWD_DRAFT] ? draft : NULL;
    o->max_draft = v[CROWD_MAX_DRAFT];
    o->max_branch = v[CROWD_MAX_BRANCH];
    o->always_draft = v[CROWD_ALWAYS];
    o->spoil_drafts = v[CROWD_SPOIL] / 100.0;
    o->map_weights = v[CROWD_MAP];
    o->no_record = v[CROWD_NO_RECORD];
    o->placement = (enum plan_mode)v[CROWD_PLACEMENT];
    o->ram_bytes = v[CROWD_RAM] ? (uint64_t)v[CROWD_RAM] << 20 : 0;
    o->link_limit = v[CROWD_LINK] * 1e6;
    o->progress = v[CROWD_PROGRESS] ? on_progress : NULL;
    o->user = calls;
    if (v[CROWD_DEVICES])
        o->devices = (struct option_list){.item = {"0", "1", "2"}, .n = v[CROWD_DEVICES]};
    o->split = (enum plan_split)v[CROWD_SPLIT];
    return 0;
}

/* Opens an engine with a limit on the memory of each device, so that weights are streamed. If the
 * limit is too low, it is raised a little. */
static int open_limited(struct engine_options *o, int percent, struct engine **en,
                        struct crowd_told *told, struct err *e)
{
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-5, .step_s = 1e-4};
    const double gpus = o->devices.n ? o->devices.n : 1;
    if (percent || o->devices.n)
        o->rates = &rates;
    TRY(engine_open(o, en, e));
    if (!percent)
        return 0;
    double total = (double)engine_info(*en)->plan->total_bytes;
    double weights = (double)engine_info(*en)->plan->vram_weight_bytes;
    engine_close(*en);
    for (int part = percent; part < 100; part += 10) {
        double most = total - weights * (100 - part) / 100 + weights / 16;
        o->vram_bytes = (uint64_t)(total - weights + (most - total + weights) / gpus);
        if (engine_open(o, en, e) == 0) {
            told->limited += !plan_is_resident(engine_info(*en)->plan);
            return 0;
        }
    }
    o->vram_bytes = 0;
    return engine_open(o, en, e);
}

/* False for an instruction set that this processor lacks: it is no setting here. */
static bool has_isa(const char *isa)
{
    struct ops *ops = NULL;
    struct ops_options o = {.n_threads = 1, .isa = isa};
    struct err e;
    bool has = ops_open("cpu", &o, &ops, &e) == 0;
    ops_close(ops);
    return has;
}

/* CPU seconds of this process. */
static double cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The trial's model; one of random weights is written at its first use. */
static int find_model(const struct crowd_trial *t, const struct crowd_place *p, char *path,
                      size_t size, struct err *e)
{
    const enum mixture mix = (enum mixture)(t->mixture - 1);
    if (!t->mixture) {
        snprintf(path, size, "%s/logits_%s.gguf", p->golden, crowd_model(t));
        return 0;
    }
    snprintf(path, size, "%s/%s.gguf", p->dir, mixture_name(mix));
    return access(path, R_OK) == 0 ? 0 : synth_random("tiny", mix, 1, path, e);
}

static bool has_files(const char *folder)
{
    DIR *d = opendir(folder);
    bool found = false;
    for (struct dirent *f; d && !found && (f = readdir(d));)
        found = f->d_name[0] != '.';
    if (d)
        closedir(d);
    return found;
}

int crowd_run(const struct crowd_trial *t, const struct crowd_place *p, struct crowd_told *told)
{
    char model[1024], draft[1024], packed[1024];
    struct engine_options o;
    struct engine *one = NULL, *en = NULL;
    struct err e;
    static struct crowd alone, many;
    if (find_model(t, p, model, sizeof model, &e) < 0)
        return refused("a model of random weights", &e);
    if (open_alone(t, model, &o, &one, &e) < 0)
        return refused("the engine that serves one by one", &e);
    crowd_init(&alone, t, one, true);
    for (int i = 0, n = alone.left; i < t->n; i++)
        if (!t->request[i].dropped) {
            submit(&alone.work[i]);
            wait_until_left(&alone, --n);
        }
    snprintf(draft, sizeof draft, "%s/draft.gguf", p->dir);
    if (t->option[CROWD_DRAFT])
        differ_noisy_copy(model, draft, (t->option[CROWD_DRAFT] - 1) / 100.0);
    int calls = 0, rc = set_options(t, one, draft, &calls, &o, &e);
    struct span_log spans;
    span_log_init(&spans);
    snprintf(packed, sizeof packed, "%s/packed", p->dir);
    if (t->option[CROWD_PACKED]) {
        (void)mkdir(packed, 0777); /* once; the engine says why it cannot be written */
        o.packed_cache = packed;
    }
    o.spans = t->option[CROWD_SPANS] ? &spans.spans : NULL;
    engine_close(one); /* otherwise its threads would appear in every backtrace */
    alone.en = NULL;
    double took = cpu_now();
    told->limit = took + told->patience + CROWD_SLOWER * took;
    if (rc == 0 && !has_isa(o.isa))
        o.isa = NULL;
    if (rc == 0)
        rc = open_limited(&o, t->option[CROWD_VRAM], &en, told, &e);
    if (rc == 0) {
        told->spread += serve_gpus_used(en) > 1;
        told->packed += o.packed_cache && t->mixture && has_files(packed);
        crowd_init(&many, t, en, false);
        run_events(&many);
        wait_until_left(&many, 0);
        rc = compare(&many, &alone, told);
        if (t->option[CROWD_PROGRESS] && !calls) {
            printf("progress was never called\n");
            rc = CROWD_DIFFERENT;
        }
        crowd_free(&many);
        if (o.spans && (!span_log_right(&spans) || !spans.n[SPAN_OP])) {
            printf("spans: %s\n", spans.n[SPAN_OP] ? spans.fault : "none has ended");
            rc = CROWD_DIFFERENT;
        }
    } else
        rc = refused("the crowd's engine", &e);
    crowd_free(&alone);
    return rc;
}
