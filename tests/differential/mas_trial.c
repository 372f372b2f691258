#include "mas_trial.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "engine.h"
#include "gguf_edit.h"
#include "medqa.h"

/* ---- settings ---- */

static struct trial_setting *add(struct trial_settings *all, const char *name, const char *plain)
{
    CHECK(all->n < TRIAL_SETTINGS);
    struct trial_setting *s = &all->s[all->n++];
    *s = (struct trial_setting){.name = name, .plain = plain};
    return s;
}

/* Draws one of the words; an empty word means: not given. If the first word is empty, every third
 * draw takes it, because most users do not give the setting. */
static const char *add_word(struct trial_settings *all, struct dice *d, const char *name,
                            const char *plain, const char *words)
{
    struct trial_setting *s = add(all, name, plain);
    if (*words != '|' || dice_chance(d, 67))
        dice_word(d, words, s->value, sizeof s->value);
    return s->value;
}

static const char *add_value(struct trial_settings *all, const char *name, const char *value)
{
    struct trial_setting *s = add(all, name, "");
    snprintf(s->value, sizeof s->value, "%s", value);
    return s->value;
}

static int add_int(struct trial_settings *all, const char *name, int value)
{
    snprintf(add(all, name, "")->value, TRIAL_VALUE, "%d", value);
    return value;
}

static const char *value_of(const struct trial_settings *all, const char *name)
{
    for (int i = 0; i < all->n; i++)
        if (!strcmp(all->s[i].name, name))
            return all->s[i].value;
    return "";
}

static const struct trial_model *model_of(const struct mas_place *p,
                                          const struct trial_settings *held)
{
    const char *path =
        *value_of(held, "model") ? value_of(held, "model") : value_of(held, "--model=");
    if (!strcmp(p->thinks.path, path))
        return &p->thinks;
    for (int i = 0; i < p->n_model; i++)
        if (!strcmp(p->model[i].path, path))
            return &p->model[i];
    return &p->model[0];
}

/* ---- eval ---- */

static void draw_panel(struct dice *d, struct trial_settings *h, bool small, bool tiny)
{
    const char *how = add_word(h, d, "planner.selection", "",
                               "full|compact|logit|logit|logit|logit|all|random|fixed");
    /* Scoring the names of the whole catalogue is worth testing: they are many and long. */
    bool few = tiny || (small && (strcmp(how, "logit") || dice_chance(d, 20)));
    if (few)
        add_value(h, "specialties", "tests/differential/specialties.yaml");
    int k = add_int(h, "planner.top_k",
                    dice_int(d, 1,
                             tiny                   ? 1
                             : strcmp(how, "logit") ? 6
                                                    : 2)),
        n = few ? 6 : 28;
    if (!strcmp(how, "fixed")) {
        static const char *const ids[] = {"emergency_medicine", "pediatrics", "cardiology",
                                          "neurology", "nephrology"};
        char list[200] = "[";
        int count = dice_int(d, 1, 5), first = dice_int(d, 0, 4);
        for (int i = 0; i < count; i++)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? "," : "",
                     ids[(first + i) % 5]);
        snprintf(list + strlen(list), sizeof list - strlen(list), "]");
        add_value(h, "planner.fixed", list);
    }
    int most = !strcmp(how, "all") ? n : k;
    add_int(h, "role_tokens.planner",
            !strcmp(how, "full") ? 2400 : 32 + 12 * most + dice_pick(d, 0, 1, 8, 40, 80));
    add_int(h, "role_tokens.specialist", dice_pick(d, 96, 97, 103, 120, 160, 260));
    add_int(h, "role_tokens.aggregator", dice_pick(d, 64, 65, 72, 90, 120, 200));
    if (dice_chance(d, 20))
        add_word(h, d, "agent_temperatures.planner", "", "0|0.8|2");
    if (dice_chance(d, 20))
        add_word(h, d, "agent_temperatures.specialist", "", "0|0.8|2");
    if (dice_chance(d, 20))
        add_word(h, d, "agent_temperatures.aggregator", "", "0|0.8|2");
}

/* The settings of a strategy of its own; limits of roles are near the least ones. */
static void draw_strategy(struct dice *d, struct trial_settings *h, const char *strategy)
{
    if (!strcmp(strategy, "sc")) {
        add_int(h, "sc.samples", dice_int(d, 1, 6));
        add_word(h, d, "sc.vote", "", "|confidence");
        add_word(h, d, "agent_temperatures.sc", "", "0.4|0.9|2");
        add_int(h, "role_tokens.sc", dice_pick(d, 64, 70, 100, 160, 260));
    }
    if (!strcmp(strategy, "debate")) {
        add_int(h, "debate.agents", dice_int(d, 2, 4));
        add_int(h, "debate.rounds", dice_int(d, 1, 4));
        add_int(h, "role_tokens.debater", dice_pick(d, 64, 65, 80, 120, 200));
    }
    if (!strcmp(strategy, "pipeline")) {
        add_int(h, "role_tokens.planner", dice_pick(d, 32, 40, 60, 100));
        add_int(h, "role_tokens.internist", dice_pick(d, 64, 80, 120));
        add_int(h, "role_tokens.reviewer", dice_pick(d, 48, 60, 100));
    }
    if (!strcmp(strategy, "medagents")) {
        add_value(h, "specialties", "tests/differential/specialties.yaml");
        add_int(h, "medagents.question_experts", dice_int(d, 1, 4));
        add_int(h, "medagents.option_experts", dice_int(d, 0, 3));
        add_int(h, "medagents.rounds", dice_int(d, 1, 3));
        add_int(h, "role_tokens.recruiter", dice_pick(d, 80, 90, 120));
        add_int(h, "role_tokens.analyst", dice_pick(d, 32, 50, 90));
        add_int(h, "role_tokens.summarizer", dice_pick(d, 32, 50, 90));
        add_int(h, "role_tokens.voter", dice_pick(d, 48, 60, 100));
    }
    if (!strcmp(strategy, "mdagents")) {
        add_value(h, "specialties", "tests/differential/specialties.yaml");
        add_word(h, d, "mdagents.complexity", "", "|low|moderate|moderate|high");
        add_int(h, "mdagents.experts", dice_int(d, 1, 4));
        add_int(h, "mdagents.rounds", dice_int(d, 1, 3));
        add_int(h, "mdagents.teams", dice_int(d, 1, 3));
        add_int(h, "mdagents.members", dice_int(d, 1, 2));
        add_int(h, "role_tokens.recruiter", dice_pick(d, 104, 110, 140));
        add_int(h, "role_tokens.expert", dice_pick(d, 64, 80, 120));
        add_int(h, "role_tokens.chair", dice_pick(d, 32, 50, 90));
    }
    if (!strcmp(strategy, "review"))
        add_int(h, "role_tokens.reviewer", dice_pick(d, 48, 60, 100));
}

/* Some cases end in failure: too many tokens, or a prompt longer than the context. */
static void draw_limits(struct dice *d, struct trial_settings *h)
{
    bool full = !strcmp(value_of(h, "planner.selection"), "full");
    if (dice_chance(d, 10))
        add_word(h, d, "budgets.max_tokens_per_case", "", "300|600|1200|2500");
    add_word(h, d, "max_context_length", "", full ? "4096" : "4096|2048|2304|3001|1500|700|450");
}

static void draw_eval(struct dice *d, struct mas_trial *t, const struct mas_place *p)
{
    struct trial_settings *h = &t->held;
    bool cudahost = p->has_cudahost && dice_chance(d, 4), small = cudahost || dice_chance(d, 85);
    add_value(h, "model", p->model[dice_chance(d, 60) || cudahost].path);
    add_word(
        h, d, "--data=", "",
        "configs/demo/questions.jsonl|configs/demo/questions.jsonl|configs/demo/handwritten.jsonl");
    const char *strategy = add_word(
        h, d, "strategy", "",
        "panel|panel|panel|panel|panel|direct|cot|sc|debate|pipeline|review|medagents|mdagents");
    if (small)
        add_value(h, "prompts_dir", "tests/differential/prompts");
    if (!strcmp(strategy, "panel") || !strcmp(strategy, "review"))
        draw_panel(d, h, small, cudahost);
    draw_strategy(d, h, strategy);
    if (!strcmp(strategy, "cot"))
        add_int(h, "role_tokens.cot", dice_pick(d, 64, 70, 100, 160, 260));
    bool many_calls = !strcmp(value_of(h, "planner.selection"), "all") ||
                      !strcmp(value_of(h, "planner.selection"), "full");
    bool scores = !strcmp(value_of(h, "planner.selection"),
                          "logit"); /* several cases compete for the sequences of a step */
    add_int(h, "--n=",
            cudahost || (!small && many_calls) ? 1
            : !small || many_calls             ? 2
            : scores                           ? dice_int(d, 5, 8)
                                               : dice_int(d, 1, 6));
    draw_limits(d, h);
    add_word(h, d, "kv.type", "", "f16|q8_0|q8_0|q4_0");
    add_word(h, d, "temperature", "", "0|0.3|0.3|1.5");
    if (dice_chance(d, 30))
        add_word(h, d, "top_k", "", "1|3|40");
    if (dice_chance(d, 30))
        add_word(h, d, "top_p", "", "0.5|0.9|0.99");
    if (dice_chance(d, 30))
        add_word(h, d, "min_p", "", "0.02|0.2");
    add_word(h, d, "seed", "", "42|0|1|9007199254740992|123456789");
    if (dice_chance(d, 40))
        add_value(h, "--shuffle", "yes");
    if (dice_chance(d, 20))
        add_value(h, "provider", "local");
    if (cudahost) {
        add_value(h, "backend", "cudahost");
        add_value(h, "placement.cpu_layers", "0");
    }
}

/* Variants of the questions, and a choice among them, with dice of their own. Variants multiply the
 * questions, so fewer questions are asked for. */
static void draw_variants(struct mas_trial *t, const struct mas_place *p, uint64_t seed)
{
    struct dice d = {.seed = seed ^ 0x76617279};
    struct trial_settings *h = &t->held;
    const bool small = *value_of(h, "prompts_dir") != 0;
    const int which = dice_int(&d, 0, 8);
    struct trial_setting *n = NULL;
    for (int i = 0; i < h->n; i++)
        n = strcmp(h->s[i].name, "--n=") ? n : &h->s[i];
    if (*value_of(h, "backend") || !n)
        return;
    if (dice_chance(&d, 20)) {
        add_int(h, "--sample=", dice_int(&d, 4, 16));
        add_word(h, &d, "--sample-seed=", "", "|0|7");
    }
    const int asked = atoi(n->value);
    int of = 1;
    if (which == 0 && small) {
        add_value(h, "--permute=", "cyclic");
        of = 4;
    } else if (which == 1) {
        add_value(h, "--none-of-the-above", "yes");
    } else if (which == 2) {
        add_value(h, "--paraphrases=", p->words);
        of = 2;
    }
    snprintf(n->value, sizeof n->value, "%d", (asked + of - 1) / of);
}

/* Adds a pool in bytes that holds one context of this number of tokens, or a little more. */
static void add_pool(struct trial_settings *f, struct dice *d, const char *name,
                     const struct trial_model *m, const char *type, int context, int page_tokens)
{
    double bytes = !strcmp(type, "q8_0")   ? 34.0 / 32
                   : !strcmp(type, "q4_0") ? 18.0 / 32
                   : !strcmp(type, "f32")  ? 4
                                           : 2;
    int pages = (context + page_tokens - 1) / page_tokens,
        more = dice_chance(d, 40) ? 0 : dice_int(d, 0, 2 * pages);
    snprintf(add(f, name, "")->value, TRIAL_VALUE, "%.0f",
             bytes * (double)m->kv_elems * (pages + more) * page_tokens);
}

/* Without settings the program drafts from the prompt and earlier replies, with no draft model. */
static void draw_drafts(struct dice *d, struct trial_settings *f, const struct trial_model *m,
                        bool config)
{
    struct trial_setting *s = add(f, config ? "speculative.draft_model" : "--draft-model=", "");
    if (dice_chance(d, 40))
        snprintf(s->value, sizeof s->value, "%s",
                 *m->draft && dice_chance(d, 50) ? m->draft : m->path);
    if (!config && !*s->value && !*value_of(f, "--lookup"))
        return; /* the program refuses it when nothing drafts */
    add_word(f, d, config ? "speculative.max_draft" : "--max-draft=", "", "|1|2|5|13|30|64");
    if (config || *s->value)
        add_word(f, d, config ? "speculative.max_branches" : "--max-branches=", "", "|0|1|3|4");
}

static void draw_eval_free(struct dice *d, const struct mas_trial *t, const struct mas_place *p,
                           struct trial_settings *f)
{
    const struct trial_settings *h = &t->held;
    bool device = *value_of(h, "backend") != 0;
    f->n = 0;
    add_word(f, d, "threads", "1", "1|2|3|4|0");
    add_word(f, d, "engine.sequences", "1", "|0|1|2|3|4|5|8|11|16|33|64|143");
    add_word(f, d, "engine.batch_tokens", "", "|1|5|16|17|33|64|100|300|512|2048");
    int page = atoi(add_word(f, d, "kv.page_tokens", "", "16|16|32|64|128|256"));
    if (dice_chance(d, 60))
        add_pool(f, d, "kv.bytes", model_of(p, h), value_of(h, "kv.type"),
                 atoi(value_of(h, "max_context_length")), page);
    add_word(f, d, "kv.swap", "", "|on|off|on");
    add_word(f, d, "engine.prefix_cache", "false", "|true|false");
    add_word(f, d, "speculative.lookup", "false", "|true|false");
    draw_drafts(d, f, model_of(p, h), true);
    add_word(f, d, "placement.map_weights", "", "||true");
    if (dice_chance(d, 25))
        add_value(f, "placement.packed_cache", p->dir);
    add_word(f, d, "logging.level", "", "|||debug|error");
    add_word(f, d, "--concurrency=", "1", "|auto|1|2|3|5|8|12");
    add_word(f, d, "--node-copy=", "", "||@"); /* a folder beside that of the run */
    if (!t->n_shard && !device)
        add_word(f, d, "--workers=", "", "||1|2|3");
    if (device) {
        add_word(f, d, "placement.mode", "", "|latency|throughput");
        add_word(f, d, "placement.link_limit", "", "|2GB");
        add_word(f, d, "placement.ram", "", "|1GiB");
        add_word(f, d, "placement.vram", "",
                 *value_of(f, "speculative.draft_model") ? "" : "|1GB|600MB");
    } else if (dice_chance(d, 40))
        add_word(f, d, "isa", "", p->fast_isas);
}

/* ---- generate, perplexity ---- */

static const char *const texts[] = {
    "Once upon a time",
    "a",
    "Lily and Ben went to the",
    "The cat sat on the mat. The cat sat on the mat. The cat sat",
    "One day, a little girl named Lily found a needle. One day, a little girl named Lily found a "
    "needle. One day,",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "\xc3\xa4\xc3\xb6\xc3\xbc \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80",
    "{\"a\": 1, \"b\": [1, 2",
    "A 53-year-old woman is seen with a strong headache. The physician notes a heart rate of "
    "122/min and a blood pressure of "
    "85/50 mm Hg. Which of the following is the most likely diagnosis?",
};
enum { N_TEXT = sizeof texts / sizeof *texts };

static const char *const schemas[] = {
    "{\"type\": \"object\", \"properties\": {\"choice\": {\"enum\": [\"A\", \"B\", \"C\"]}}, "
    "\"required\": [\"choice\"]}",
    "{\"type\": \"object\", \"properties\": {\"word\": {\"type\": \"string\", \"maxLength\": 30}, "
    "\"list\": {\"type\": \"array\", "
    "\"minItems\": 1, \"maxItems\": 3, \"items\": {\"enum\": [\"p\", \"pq\", \"pqr\"]}}, \"x\": "
    "{\"type\": \"number\", "
    "\"minimum\": 0, \"maximum\": 1}}, \"required\": [\"word\", \"list\", \"x\"]}",
    "{\"type\": \"array\", \"minItems\": 2, \"maxItems\": 5, \"items\": {\"type\": \"object\", "
    "\"properties\": {\"k\": {\"type\": "
    "\"string\", \"maxLength\": 8}, \"v\": {\"type\": \"boolean\"}}, \"required\": [\"k\", "
    "\"v\"]}}",
};
enum { N_SCHEMA = sizeof schemas / sizeof *schemas };

static void draw_engine(struct dice *d, struct mas_trial *t, const struct mas_place *p)
{
    struct trial_settings *h = &t->held;
    const struct trial_model *m = &p->model[dice_int(d, 0, p->n_model - 1)];
    add_value(h, "--model=", m->path);
    add_word(h, d, "--kv-type=", "", m->head_dim % 32 ? "f16|f16|f32" : "f16|q8_0|q4_0|f32");
    if (p->has_cudahost && dice_chance(d, 15)) {
        add_value(h, "--backend=", "cudahost");
        add_value(h, "--cpu-layers=", "0");
    } else
        add_value(h, "--backend=", "cpu");
    add_value(h, "--quiet", "yes");
}

static void draw_generate(struct dice *d, struct mas_trial *t, const struct mas_place *p)
{
    struct trial_settings *h = &t->held;
    draw_engine(d, t, p);
    bool chats = model_of(p, h)->chats;
    bool device = strcmp(value_of(h, "--backend="), "cpu") != 0, under_schema = dice_chance(d, 35);
    add_word(h, d, "--ctx=", "", chats ? "700|1024" : "210|256");
    add_word(h, d, "--temp=", "", "0|0.3|0.9|1.5");
    add_int(h, "--seed=", dice_int(d, 0, 1 << 30));
    add_word(h, d, "--top-k=", "", "||1|5|40");
    add_word(h, d, "--top-p=", "", "||0.5|0.9");
    add_word(h, d, "--min-p=", "", "||0.02|0.2");
    if (under_schema)
        snprintf(add(h, "--schema=", "")->value, TRIAL_VALUE, "%s/schema%d.json", p->dir,
                 dice_int(d, 0, N_SCHEMA - 1));
    add_int(h, "--tokens=",
            under_schema ? dice_pick(d, 45, 50, 60, 100)
            : device     ? 20
                         : dice_pick(d, 1, 5, 20, 60, 90));
    add_word(h, d, "--ignore-eos", "", "||yes");
    if (chats)
        add_word(h, d, "--chat", "", "|yes");
    add_value(h, "--prompt=", texts[dice_int(d, 0, N_TEXT - (chats ? 1 : 2))]);
    add_value(h, "--json", "yes");
}

static void draw_perplexity(struct dice *d, struct mas_trial *t, const struct mas_place *p)
{
    struct trial_settings *h = &t->held;
    draw_engine(d, t, p);
    add_word(h, d, "--ctx=", "",
             model_of(p, h)->chats ? "32|64"
                                   : "32|64|100|128"); /* fewer tokens than the text has */
    add_int(h, "--chunks=", dice_int(d, 1, 3));
    struct trial_setting *s = add(h, "--prompt=", "");
    for (int i = dice_int(d, 0, N_TEXT - 1), n = 0; n < 6; n++)
        snprintf(s->value + strlen(s->value), sizeof s->value - strlen(s->value), "%.90s ",
                 texts[(i + n) % (N_TEXT - 3)]);
    if (dice_chance(d, 70))
        add_value(h, "--logits-out=", "@"); /* a file in the run's own folder */
}

static void draw_engine_free(struct dice *d, const struct mas_trial *t, const struct mas_place *p,
                             struct trial_settings *f)
{
    const struct trial_settings *h = &t->held;
    const struct trial_model *m = model_of(p, h);
    bool device = strcmp(value_of(h, "--backend="), "cpu") != 0;
    f->n = 0;
    add_word(f, d, "--threads=", "1", "1|2|3|4|0");
    add_word(f, d, "--sequences=", "", "|1|2|16|64");
    add_word(f, d, "--batch-tokens=", "", "|1|2|7|16|33|64|200|1024");
    const char *page = add_word(f, d, "--page-tokens=", "", "16|32|64|128|256");
    if (dice_chance(d, 50))
        add_pool(f, d, "--kv-bytes=", m, value_of(h, "--kv-type="), atoi(value_of(h, "--ctx=")),
                 atoi(page));
    add_word(f, d, "--kv-swap=", "", "|on|off|auto");
    if (t->command == TRIAL_GENERATE)
        add_word(f, d, "--no-prefix-cache", "yes", "|yes");
    add_word(f, d, "--lookup", "", "|yes");
    draw_drafts(d, f, m, false);
    add_word(f, d, "--map-weights", "", "||yes");
    add_word(f, d, "--no-graphs", "", "||yes");
    if (device) {
        add_word(f, d, "--placement=", "", "|latency|throughput");
        add_word(f, d, "--link-limit=", "", "|2GB/s");
        add_word(f, d, "--ram=", "", "|1GiB");
        add_word(f, d, "--vram=", "", *value_of(f, "--draft-model=") ? "" : "||64MB|32MB");
    } else if (dice_chance(d, 40))
        add_word(f, d, "--isa=", "", m->chats ? p->fast_isas : p->isas);
}

/* Lets some trials of the toy models think before they reply. Thinking has dice of its own, so the
 * rest of a trial does not depend on it. */
static void draw_thinking(struct mas_trial *t, const struct mas_place *p, uint64_t seed)
{
    struct dice d = {.seed = seed ^ 0x7468};
    struct trial_settings *h = &t->held;
    bool eval = t->command == TRIAL_EVAL;
    const struct trial_model *m = model_of(p, h);
    const char *model = eval ? "model" : "--model=";
    bool fits = eval ? atoi(value_of(h, "max_context_length")) >= 700 && !*value_of(h, "backend") &&
                           strcmp(value_of(h, "strategy"), "direct")
                     : *value_of(h, "--chat") && !strcmp(value_of(h, "--backend="), "cpu");
    if (!fits || !m->chats || m->head_dim % 32 != p->thinks.head_dim % 32 || !dice_chance(&d, 60))
        return;
    for (int i = 0; i < h->n; i++)
        if (!strcmp(h->s[i].name, model))
            snprintf(h->s[i].value, sizeof h->s[i].value, "%s", p->thinks.path);
    add_value(h, eval ? "chat.template" : "--chat-template=", "qwen3");
    add_int(h, eval ? "thinking.budget" : "--think=", dice_pick(&d, 0, 5, 24, 60));
}

bool trial_thinks(const struct mas_trial *t)
{
    return atoi(value_of(&t->held, "thinking.budget")) > 0 ||
           atoi(value_of(&t->held, "--think=")) > 0;
}

/* ---- the whole trial ---- */

void trial_draw_held(struct mas_trial *t, const struct mas_place *p, uint64_t seed)
{
    struct dice d = {.seed = seed};
    memset(t, 0, sizeof *t);
    t->seed = seed;
    t->command = (enum trial_command)dice_pick(&d, 0, 0, 0, 0, 1, 1, 2);
    if (t->command == TRIAL_EVAL)
        draw_eval(&d, t, p);
    else if (t->command == TRIAL_GENERATE)
        draw_generate(&d, t, p);
    else
        draw_perplexity(&d, t, p);
    draw_thinking(t, p, seed);
    if (t->command == TRIAL_EVAL)
        draw_variants(t, p, seed);
}

static void draw_free(struct dice *d, const struct mas_trial *t, const struct mas_place *p,
                      struct trial_settings *f)
{
    if (t->command == TRIAL_EVAL)
        draw_eval_free(d, t, p, f);
    else
        draw_engine_free(d, t, p, f);
}

void trial_draw_free(struct mas_trial *t, const struct mas_place *p, uint64_t seed)
{
    struct dice d = {.seed = seed ^ (uint64_t)1 << 63}, tasks = {.seed = seed ^ 0x7368617264};
    t->n_shard =
        t->command == TRIAL_EVAL && !*value_of(&t->held, "backend") && dice_chance(&tasks, 25)
            ? dice_int(&tasks, 1, TRIAL_SHARDS)
            : 0;
    draw_free(&d, t, p, &t->free);
    t->n_life = t->command == TRIAL_EVAL && dice_chance(&d, 30) ? dice_int(&d, 1, TRIAL_LIVES) : 0;
    for (int i = 0; i < t->n_life; i++) {
        draw_free(&d, t, p, &t->life[i].free);
        t->life[i].shard = dice_int(&tasks, 1, t->n_shard ? t->n_shard : 1);
        t->life[i].share = dice_int(&d, 5, 120) / 100.0;
        t->life[i].signal = dice_chance(&d, 70) ? SIGKILL : SIGTERM;
    }
}

/* True for settings that a run needs: without them it fails, is another run, or takes minutes. */
static bool is_needed(const char *name)
{
    static const char *const names[] = {
        "model",         "--model=",           "--data=",          "prompts_dir",
        "specialties",   "max_context_length", "backend",          "placement.cpu_layers",
        "--backend=",    "--cpu-layers=",      "--ctx=",           "--prompt=",
        "--tokens=",     "--chunks=",          "--quiet",          "--json",
        "--logits-out=", "chat.template",      "--chat-template=", "--sample="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static bool drop_held(struct trial_setting *s)
{
    if (!*s->value || is_needed(s->name))
        return false;
    if (strcmp(s->name, "--n=")) {
        *s->value = 0;
        return true;
    }
    int n = atoi(s->value); /* number of questions */
    snprintf(s->value, sizeof s->value, "%d", n - 1);
    return n > 1;
}

static bool drop_free(struct trial_setting *s)
{
    bool can = strcmp(s->value, s->plain) != 0;
    snprintf(s->value, sizeof s->value, "%s", s->plain);
    return can;
}

/* Sets a free setting to its plain value, or removes a held one. */
bool trial_drop(void *trial, int part)
{
    struct mas_trial *t = trial;
    if (part == 0) {
        bool any = t->n_life > 0;
        t->n_life = 0;
        return any;
    }
    part--;
    if (part < TRIAL_LIVES) {
        if (part >= t->n_life)
            return false;
        t->n_life--;
        memmove(&t->life[part], &t->life[part + 1], (size_t)(t->n_life - part) * sizeof t->life[0]);
        return true;
    }
    part -= TRIAL_LIVES;
    if (part == 0) { /* one shard less; without shards at last */
        for (int i = 0; i < t->n_life; i++)
            if (t->life[i].shard > 1 && t->life[i].shard == t->n_shard)
                t->life[i].shard--;
        return t->n_shard && t->n_shard--;
    }
    part--;
    int i = part % TRIAL_SETTINGS;
    if (part < TRIAL_SETTINGS)
        return i < t->free.n && drop_free(&t->free.s[i]);
    return i < t->held.n && drop_held(&t->held.s[i]);
}

/* ---- the command ---- */

struct args {
    char **argv, *text;
    size_t size;
    int n;
};

static void put(struct args *a, const char *before, const char *after)
{
    int len = snprintf(a->text, a->size, "%s%s", before, after);
    CHECK(len >= 0 && (size_t)len < a->size && a->n + 1 < TRIAL_ARGS);
    a->argv[a->n++] = a->text;
    a->argv[a->n] = NULL;
    a->text += len + 1;
    a->size -= (size_t)len + 1;
}

static void put_setting(struct args *a, const struct trial_setting *s, const char *value,
                        const char *dir)
{
    char text[TRIAL_VALUE + 64];
    size_t n = strlen(s->name);
    if (!*value)
        return;
    if (strncmp(s->name, "--", 2)) {
        snprintf(text, sizeof text, "%s=", s->name);
        put(a, "--set", "");
        put(a, text, value);
    } else if (s->name[n - 1] != '=') {
        put(a, s->name, "");
    } else if (!strcmp(value, "@")) {
        snprintf(text, sizeof text, "%s%s", s->name, dir);
        put(a, text, strcmp(s->name, "--node-copy=") ? "/logits" : "-copies");
    } else
        put(a, s->name, value);
}

void trial_argv(const struct mas_trial *t, const struct trial_settings *free, int shard,
                const struct mas_place *p, const char *dir, char *argv[TRIAL_ARGS], char *text,
                size_t size)
{
    static const char *const names[] = {"eval", "generate", "perplexity"};
    struct args a = {.argv = argv, .text = text, .size = size};
    put(&a, p->mas, "");
    put(&a, names[t->command], "");
    if (t->command == TRIAL_EVAL) {
        put(&a, "--config=demo", "");
        put(&a, "--quiet", "");
        put(&a, "--out=", dir);
    }
    for (int i = 0; i < t->held.n; i++)
        put_setting(&a, &t->held.s[i], t->held.s[i].value, dir);
    const struct trial_settings *f = free ? free : &t->free;
    for (int i = 0; i < f->n; i++)
        put_setting(&a, &f->s[i], free ? f->s[i].value : f->s[i].plain, dir);
    if (shard) {
        char number[32];
        snprintf(number, sizeof number, "%d/%d", shard, t->n_shard);
        put(&a, "--shard=", number);
    }
}

void trial_merge_argv(const struct mas_place *p, const char *dir, char *argv[TRIAL_ARGS],
                      char *text, size_t size)
{
    struct args a = {.argv = argv, .text = text, .size = size};
    put(&a, p->mas, "");
    put(&a, "merge", "");
    put(&a, "--quiet", "");
    put(&a, dir, "");
}

void trial_key(const struct mas_trial *t, char *key, size_t size)
{
    size_t n = (size_t)snprintf(key, size, "%d", (int)t->command);
    for (int i = 0; i < t->held.n && n < size; i++)
        n += (size_t)snprintf(key + n, size - n, " %s %s", t->held.s[i].name, t->held.s[i].value);
    CHECK(n < size);
}

/* ---- the machine ---- */

static void place_model(struct mas_place *p, const char *name, const char *path, double noise)
{
    struct trial_model *m = &p->model[p->n_model];
    struct engine_options o = {
        .model = path, .backend = "cpu", .n_ctx = 64, .n_seq = 1, .n_threads = 1};
    struct engine *en = NULL;
    struct err e;
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", p->source, path);
    if (strcmp(path, "demo"))
        o.model = *path == '/' ? path : full;
    if (engine_open(&o, &en, &e) < 0) {
        printf("cannot open %s: %s\n", path, e.msg);
        exit(70);
    }
    const struct engine_info *in = engine_info(en);
    *m = (struct trial_model){.name = name,
                              .path = path,
                              .head_dim = in->head_dim,
                              .chats = p->n_model < 2,
                              .kv_elems = 2 * (uint64_t)in->n_layer * (uint64_t)in->n_kv_head *
                                          (uint64_t)in->head_dim};
    snprintf(m->draft, sizeof m->draft, "%s/draft_%s.gguf", p->dir, name);
    snprintf(full, sizeof full, "%s/%s", p->source,
             strcmp(path, "demo") ? path : "configs/demo/toy_clinic.gguf");
    differ_noisy_copy(*path == '/' ? path : full, m->draft, noise);
    engine_close(en);
    p->n_model++;
}

static void place_thinks(struct mas_place *p)
{
    snprintf(p->thinks_path, sizeof p->thinks_path, "%s/thinks.gguf", p->dir);
    gguf_edit(TEST_SOURCE "/configs/demo/toy_mini.gguf", p->thinks_path,
              "piece:3068=</think>,piece:3069=<think>,piece:3070=<|im_start|>,"
              "piece:3071=<|im_end|>");
    place_model(p, "thinks", p->thinks_path, 0.2);
    p->thinks = p->model[--p->n_model];
    p->thinks.chats = true;
}

static bool opens(const char *backend, const char *isa)
{
    struct ops *ops = NULL;
    struct ops_options o = {.n_threads = 1, .isa = isa};
    struct err e;
    bool can = ops_open(backend, &o, &ops, &e) == 0;
    ops_close(ops);
    return can;
}

/* Questions without a paraphrase, with one and with two of them. */
static void place_words(struct mas_place *p)
{
    static const char *const data[] = {"configs/demo/questions.jsonl",
                                       "configs/demo/handwritten.jsonl"};
    snprintf(p->words, sizeof p->words, "%s/words.jsonl", p->dir);
    FILE *f = fopen(p->words, "w");
    bool good = f != NULL;
    for (int k = 0; k < 2 && good; k++) {
        struct medqa m;
        struct err e = {0};
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", p->source, data[k]);
        good = medqa_read(path, &m, &e) == 0;
        for (size_t i = 0; i < m.n && good; i++)
            for (size_t w = 0; w < (i + 1) % 3 && good; w++)
                good = fprintf(f, "{\"id\": \"%s\", \"question\": \"Case %zu, in words %zu.\"}\n",
                               m.question[i].id, i, w) > 0;
        if (good)
            medqa_free(&m);
    }
    if (!good || fclose(f)) {
        perror(p->words);
        exit(70);
    }
}

void mas_place_init(struct mas_place *p, const char *mas, const char *source, const char *dir)
{
    *p = (struct mas_place){
        .mas = mas, .source = source, .dir = dir, .has_cudahost = opens("cudahost", NULL)};
    snprintf(p->isas, sizeof p->isas, "auto");
    snprintf(p->fast_isas, sizeof p->fast_isas, "auto");
    static const char *const isas[] = {"scalar", "avx2", "avxvnni", "avx512vnni", "amx", "neon"};
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (opens("cpu", isas[i])) {
            snprintf(p->isas + strlen(p->isas), sizeof p->isas - strlen(p->isas), "|%s", isas[i]);
            if (i) /* scalar is 45 times slower: only for the smallest models */
                snprintf(p->fast_isas + strlen(p->fast_isas),
                         sizeof p->fast_isas - strlen(p->fast_isas), "|%s", isas[i]);
        }
    place_model(p, "demo", "demo", 0.2);
    place_model(p, "mini", "configs/demo/toy_mini.gguf", 0.2);
    place_model(p, "gqa", "tests/golden/logits_llama_gqa.gguf", 0.15);
    place_model(p, "qwen3", "tests/golden/logits_qwen3.gguf", 0.1);
    place_model(p, "rope31", "tests/golden/logits_llama_rope31.gguf", 0.1);
    place_model(p, "mistral", "tests/golden/logits_mistral.gguf", 0.1);
    place_thinks(p);
    place_words(p);
    for (int i = 0; i < N_SCHEMA; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/schema%d.json", dir, i);
        FILE *f = fopen(path, "w");
        if (!f || fputs(schemas[i], f) < 0 || fclose(f)) {
            perror(path);
            exit(70);
        }
    }
}
