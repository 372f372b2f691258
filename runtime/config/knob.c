#include "knob.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "fmt.h"
#include "mem.h"

#define AT(field) offsetof(struct config, field), 0
#define SIZE_LIMIT 9e18 /* str_to_bytes goes no further */

/* THE table. Rows of one group stand together: config_reference prints them as a YAML mapping. */
static const struct config_knob knobs[] = {
    {"model", CONFIG_STRING, AT(model), 1, 4096, "demo", NULL, "",
     "Path of the GGUF model file, from the current folder; demo is the toy one inside.", true},
    {"provider", CONFIG_ENUM, AT(provider), 0, 0, "local", "local", "",
     "Where the model runs; local is this program itself.", true},
    {"backend", CONFIG_ENUM, AT(backend), 0, 0, "auto", "auto|ref|cpu|cuda|cudahost", "",
     "What computes: auto takes the fastest that works here, ref is the slow oracle.", false},
    {"isa", CONFIG_ENUM, AT(isa), 0, 0, "auto", "auto|scalar|avx2|avxvnni|avx512vnni|neon", "",
     "Instruction set of the cpu backend; auto takes the best that this processor has.", false},
    {"threads", CONFIG_INT, AT(threads), 0, 256, "0", NULL, "threads",
     "CPU threads; 0 is every core that this process may use.", false},
    {"seed", CONFIG_INT, AT(seed), 0, 9007199254740992, "42", NULL, "",
     "Seed of every random draw; the same seed and inputs give the same replies.", true},
    {"temperature", CONFIG_FLOAT, AT(temperature), 0, 5, "0.3", NULL, "",
     "Sampling temperature; 0 always takes the most likely token.", true},
    {"top_p", CONFIG_FLOAT, AT(top_p), 0.01, 1, "1", NULL, "",
     "Samples from the most likely tokens that together reach this probability; 1 is off.", true},
    {"min_p", CONFIG_FLOAT, AT(min_p), 0, 1, "0", NULL, "",
     "Drops tokens less likely than this share of the most likely one; 0 is off.", true},
    {"top_k", CONFIG_INT, AT(top_k), 0, 1000000, "0", NULL, "tokens",
     "Samples from this many most likely tokens; 0 is off.", true},
    {"agent_temperatures.planner", CONFIG_FLOAT, AT(agent_temperatures.planner), -1, 5, "-1", NULL,
     "", "Temperature of the planner; -1 takes temperature.", true},
    {"agent_temperatures.specialist", CONFIG_FLOAT, AT(agent_temperatures.specialist), -1, 5, "-1",
     NULL, "", "Temperature of the specialists; -1 takes temperature.", true},
    {"agent_temperatures.aggregator", CONFIG_FLOAT, AT(agent_temperatures.aggregator), -1, 5, "-1",
     NULL, "", "Temperature of the aggregator; -1 takes temperature.", true},
    {"max_output_tokens", CONFIG_INT, AT(max_output_tokens), 1, 1048576, "800", NULL, "tokens",
     "Longest reply of one call.", true},
    {"role_tokens.planner", CONFIG_INT, AT(role_tokens.planner), 0, 1048576, "0", NULL, "tokens",
     "Longest reply of the planner; 0 takes max_output_tokens.", true},
    {"role_tokens.specialist", CONFIG_INT, AT(role_tokens.specialist), 0, 1048576, "0", NULL,
     "tokens", "Longest reply of a specialist; 0 takes max_output_tokens.", true},
    {"role_tokens.aggregator", CONFIG_INT, AT(role_tokens.aggregator), 0, 1048576, "0", NULL,
     "tokens", "Longest reply of the aggregator; 0 takes max_output_tokens.", true},
    {"role_tokens.cot", CONFIG_INT, AT(role_tokens.cot), 0, 1048576, "0", NULL, "tokens",
     "Longest reply of the single call of strategy cot; 0 takes max_output_tokens.", true},
    {"max_context_length", CONFIG_INT, AT(max_context_length), 16, 1048576, "4096", NULL, "tokens",
     "Longest prompt and reply together; the model's own limit is the ceiling.", true},
    {"strategy", CONFIG_STRING, AT(strategy), 1, 63, "panel", NULL, "",
     "How a case is answered: panel, direct or cot.", true},
    {"prompts_dir", CONFIG_STRING, AT(prompts_dir), 0, 4096, "", NULL, "",
     "Folder with <strategy>/<role>.txt prompts; empty takes the ones inside the program.", true},
    {"specialties", CONFIG_STRING, AT(specialties), 0, 4096, "", NULL, "",
     "Path of the catalogue of specialties; empty takes the one inside the program.", true},
    {"planner.top_k", CONFIG_INT, AT(planner.top_k), 1, 28, "5", NULL, "specialties",
     "How many specialists see a case.", true},
    {"planner.selection", CONFIG_ENUM, AT(planner.selection), 0, 0, "compact",
     "compact|full|logit|all|random|fixed", "",
     "How specialists are chosen: short JSON, scored catalogue, log-probability, or an ablation.",
     true},
    {"planner.fixed", CONFIG_LIST, offsetof(struct config, planner.fixed),
     offsetof(struct config, planner.n_fixed), 0, CONFIG_LIST_MAX, "", NULL, "specialty ids",
     "The specialists of every case when planner.selection is fixed.", true},
    {"budgets.timeout_seconds", CONFIG_FLOAT, AT(budgets.timeout_seconds), 0, 1e7, "0", NULL,
     "seconds", "A case that takes longer is stopped and counts as failed; 0 is no limit.", true},
    {"budgets.max_tokens_per_case", CONFIG_INT, AT(budgets.max_tokens_per_case), 0, 1000000000, "0",
     NULL, "tokens",
     "A case that would use more tokens is stopped and counts as failed; 0 is none.", true},
    {"kv.type", CONFIG_ENUM, AT(kv.type), 0, 0, "f16", fmt_kv_choices + 1, "",
     "Number format of the KV cache. Eight bits need about half the memory of f16; four need a "
     "quarter and cost accuracy.",
     true},
    {"kv.page_tokens", CONFIG_INT, AT(kv.page_tokens), 16, 256, "32", NULL, "tokens",
     "Tokens in one page of the KV cache.", false},
    {"kv.bytes", CONFIG_BYTES, AT(kv.bytes), 0, SIZE_LIMIT, "0", NULL, "bytes",
     "Size of the KV cache; 0 is engine.sequences times max_context_length, 16 times in an "
     "evaluation on the CPU with sequences 0.",
     false},
    {"kv.swap", CONFIG_ENUM, AT(kv.swap), 0, 0, "auto", "auto|off|on", "",
     "Pages that the KV cache has no room for are kept in main memory (on) or computed again "
     "(off); auto: what is faster.",
     false},
    {"placement.vram", CONFIG_BYTES, AT(placement.vram), 0, SIZE_LIMIT, "0", NULL, "bytes",
     "GPU memory that may be used; 0 is all that is free.", false},
    {"placement.ram", CONFIG_BYTES, AT(placement.ram), 0, SIZE_LIMIT, "0", NULL, "bytes",
     "Main memory that may be used; 0 is all that is there.", false},
    {"placement.mode", CONFIG_ENUM, AT(placement.mode), 0, 0, "auto", "auto|latency|throughput", "",
     "A model larger than GPU memory: weights first (latency), or KV cache first (throughput).",
     false},
    {"placement.cpu_layers", CONFIG_INT, AT(placement.cpu_layers), -1, 1024, "-1", NULL, "layers",
     "Layers whose feed-forward part the CPU computes beside a GPU; -1 lets the program choose.",
     false},
    {"placement.link_limit", CONFIG_BYTES, AT(placement.link_limit), 0, SIZE_LIMIT, "0", NULL,
     "bytes a second",
     "Copies weights to the GPU no faster: emulates a slower machine; 0 is no limit.", false},
    {"placement.map_weights", CONFIG_BOOL, AT(placement.map_weights), 0, 0, "false", NULL, "",
     "The CPU reads weights from the mapped file: no copy of them in memory, and slower steps.",
     false},
    {"engine.sequences", CONFIG_INT, AT(engine.sequences), 0, 4096, "0", NULL, "sequences",
     "Generations computed together; 0 lets the program choose: 8 for one case, 64 in an "
     "evaluation, there with a GPU what its KV cache holds, 16 to 256.",
     false},
    {"engine.batch_tokens", CONFIG_INT, AT(engine.batch_tokens), 1, 65536, "512", NULL, "tokens",
     "Most tokens of one step, all sequences together.", false},
    {"engine.prefix_cache", CONFIG_BOOL, AT(engine.prefix_cache), 0, 0, "true", NULL, "",
     "Keeps the KV cache of common prompt beginnings for the next calls.", false},
    {"speculative.draft_model", CONFIG_STRING, AT(speculative.draft_model), 0, 4096, "", NULL, "",
     "Path of a small GGUF model of the same vocabulary that guesses tokens ahead; changes no "
     "result; empty is none.",
     false},
    {"speculative.lookup", CONFIG_BOOL, AT(speculative.lookup), 0, 0, "true", NULL, "",
     "Guesses tokens ahead from the prompt and from earlier replies; changes no result.", false},
    {"speculative.max_draft", CONFIG_INT, AT(speculative.max_draft), 1, 64, "8", NULL, "tokens",
     "Most tokens guessed ahead at a time; the program guesses fewer where more do not pay.",
     false},
    {"speculative.max_branches", CONFIG_INT, AT(speculative.max_branches), 0, 4, "3", NULL,
     "branches",
     "Second choices of the draft model that are followed beside its first ones where that pays.",
     false},
    {"logging.traces_dir", CONFIG_STRING, AT(logging.traces_dir), 1, 4096, "runs", NULL, "",
     "Folder that gets one folder a run, with its traces.", false},
    {"logging.level", CONFIG_ENUM, AT(logging.level), 0, 0, "warn", "error|warn|info|debug", "",
     "How much is written to standard error.", false},
    {"price_kwh", CONFIG_FLOAT, AT(price_kwh), 0, 100, "0.12", NULL, "USD",
     "Price of a kilowatt-hour, for the cost of a question.", false},
};

const struct config_knob *config_knobs(size_t *n)
{
    *n = sizeof knobs / sizeof knobs[0];
    return knobs;
}

static void *field(struct config *c, const struct config_knob *k)
{
    return (char *)c + k->offset;
}

static const void *const_field(const struct config *c, const struct config_knob *k)
{
    return (const char *)c + k->offset;
}

/* ---- names ----------------------------------------------------------------------------------- */

const struct config_knob *knob_find(const char *key)
{
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
        if (!strcmp(knobs[i].key, key))
            return &knobs[i];
    return NULL;
}

bool knob_is_group(const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
        if (!strncmp(knobs[i].key, key, n) && knobs[i].key[n] == '.')
            return true;
    return false;
}

/* Length of the group in "group.name", 0 for a key without one. */
static size_t group_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

/* The keys a user may have meant: whole keys, "_base", group names, and (one step further off, for
 * who forgot the group) the part behind the dot. */
static int knob_distance(const char *key, const struct config_knob *k)
{
    int whole = str_distance(key, k->key);
    size_t group = group_length(k->key);
    if (!group)
        return whole;
    int name = str_distance(key, k->key + group + 1) + 1;
    return name < whole ? name : whole;
}

struct nearest {
    struct str *out;
    int best, listed;
    bool counting;
};

static void nearest_offer(struct nearest *s, const char *name, size_t n, int distance)
{
    if (s->counting) {
        s->best = distance < s->best ? distance : s->best;
    } else if (distance == s->best && s->listed < 3) {
        str_addf(s->out, "%s'%.*s'", s->listed++ ? " or " : "", (int)n, name);
    }
}

void knob_nearest(const char *key, struct str *out)
{
    size_t third = strlen(key) / 3; /* farther than a third of its letters is another word */
    struct nearest s = {.out = out, .best = third < 2 ? 3 : third > 8 ? 9 : (int)third + 1};
    const int limit = s.best;
    for (int pass = 0; pass < 2; pass++) {
        s.counting = pass == 0;
        if (!s.counting && s.best == limit)
            return;
        nearest_offer(&s, "_base", 5, str_distance(key, "_base"));
        for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++) {
            const char *name = knobs[i].key;
            size_t group = group_length(name);
            bool first = !i || strncmp(name, knobs[i - 1].key, group + 1) != 0;
            if (group && first) {
                char head[64];
                CHECK(group < sizeof head);
                snprintf(head, sizeof head, "%.*s", (int)group, name);
                nearest_offer(&s, head, group, str_distance(key, head));
            }
            nearest_offer(&s, name, strlen(name), knob_distance(key, &knobs[i]));
        }
    }
}

/* ---- text to value --------------------------------------------------------------------------- */

void knob_rule(const struct config_knob *k, struct str *out)
{
    switch (k->type) {
    case CONFIG_BOOL:
        str_adds(out, "true or false");
        return;
    case CONFIG_INT:
        str_addf(out, "a whole number from %.0f to %.0f", k->lo, k->hi);
        break;
    case CONFIG_FLOAT:
        str_addf(out, "a number from %.9g to %.9g", k->lo, k->hi);
        break;
    case CONFIG_BYTES:
        str_adds(out, "a size such as 22.5GiB, 512MB or 0");
        return;
    case CONFIG_ENUM:
        str_addf(out, "one of %s", k->choices);
        return;
    case CONFIG_STRING:
        str_addf(out, "UTF-8 text of %.0f to %.0f bytes", k->lo, k->hi);
        break;
    case CONFIG_LIST:
        str_addf(out, "a list of at most %.0f", k->hi);
        break;
    }
    if (*k->unit)
        str_addf(out, k->type == CONFIG_LIST ? " %s" : " (%s)", k->unit);
}

static int refuse(const struct config_knob *k, const struct knob_value *v, struct err *e)
{
    struct str rule = STR_INIT;
    knob_rule(k, &rule);
    int rc = str_ok(&rule, "a message", e);
    if (rc == 0 && v->is_list && k->type == CONFIG_LIST)
        rc = err_set(e, ERR_CONFIG, "%s has %d items; it takes %s of 1 to 63 bytes each", k->key,
                     v->n, rule.s);
    else if (rc == 0 && v->is_list)
        rc = err_set(e, ERR_CONFIG, "%s is a list; it takes %s", k->key, rule.s);
    else if (rc == 0)
        rc = err_set(e, ERR_CONFIG, "%s is '%.*s'%s; it takes %s", k->key, KNOB_DISPLAY, v->item[0],
                     v->quoted && k->type != CONFIG_STRING ? " in quotes" : "", rule.s);
    str_free(&rule);
    return rc;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t n = strlen(text);
    for (const char *s = choices; n && *s;) {
        size_t len = strcspn(s, "|");
        if (len == n && !memcmp(s, text, n))
            return true;
        s += len + (s[len] == '|');
    }
    return false;
}

/* Strings go into traces, which are JSON: what is no UTF-8 could not be written there. */
static bool is_text(const char *s)
{
    uint32_t cp;
    for (size_t left = strlen(s); left;) {
        int k = utf8_decode(s, left, &cp);
        if (!k)
            return false;
        s += k;
        left -= (size_t)k;
    }
    return true;
}

static int set_string(struct config *c, const struct config_knob *k, const char *text,
                      struct err *e)
{
    char *copy = mem_strdup(text);
    if (!copy)
        return NOMEM(e, strlen(text) + 1, k->key);
    char **s = field(c, k);
    mem_free(*s);
    *s = copy;
    return 0;
}

static int set_list(struct config *c, const struct config_knob *k, const char *const *item, int n,
                    struct err *e)
{
    char *copy[CONFIG_LIST_MAX];
    int made = 0;
    for (; made < n; made++)
        if (!(copy[made] = mem_strdup(item[made])))
            break;
    if (made < n) {
        while (made > 0)
            mem_free(copy[--made]);
        return NOMEM(e, strlen(item[0]) + 1, k->key);
    }
    knob_clear(c, k);
    char **list = field(c, k);
    for (int i = 0; i < n; i++)
        list[i] = copy[i];
    *(int *)(void *)((char *)c + k->count_offset) = n;
    return 0;
}

static bool list_fits(const struct config_knob *k, const struct knob_value *v)
{
    if (!v->is_list || v->n < 0 || v->n > (int)k->hi || v->n > CONFIG_LIST_MAX)
        return false;
    for (int i = 0; i < v->n; i++)
        if (!*v->item[i] || strlen(v->item[i]) > 63 || !is_text(v->item[i]))
            return false;
    return true;
}

/* Numbers and switches are plain scalars. */
static int set_number(struct config *c, const struct config_knob *k, const struct knob_value *v,
                      struct err *e)
{
    const char *text = v->item[0];
    double d;
    if (v->quoted)
        return refuse(k, v, e);
    switch (k->type) {
    case CONFIG_BOOL:
        if (strcmp(text, "true") && strcmp(text, "false"))
            return refuse(k, v, e);
        *(bool *)field(c, k) = !strcmp(text, "true");
        return 0;
    case CONFIG_INT:
        return str_to_i64(text, (int64_t)k->lo, (int64_t)k->hi, field(c, k)) ? 0 : refuse(k, v, e);
    case CONFIG_FLOAT:
        if (!str_to_f64(text, k->lo, k->hi, &d))
            return refuse(k, v, e);
        *(double *)field(c, k) = d + 0.0; /* -0 becomes 0, so that equal settings have equal text */
        return 0;
    default:
        return str_to_bytes(text, field(c, k)) ? 0 : refuse(k, v, e);
    }
}

int knob_set(struct config *c, const struct config_knob *k, const struct knob_value *v,
             struct err *e)
{
    if (k->type == CONFIG_LIST)
        return list_fits(k, v) ? set_list(c, k, v->item, v->n, e) : refuse(k, v, e);
    if (v->is_list)
        return refuse(k, v, e);
    size_t n = strlen(v->item[0]);
    switch (k->type) {
    case CONFIG_STRING:
        if ((double)n < k->lo || (double)n > k->hi || !is_text(v->item[0]))
            return refuse(k, v, e);
        return set_string(c, k, v->item[0], e);
    case CONFIG_ENUM:
        return is_choice(k->choices, v->item[0]) ? set_string(c, k, v->item[0], e)
                                                 : refuse(k, v, e);
    default:
        return set_number(c, k, v, e);
    }
}

/* ---- value to text --------------------------------------------------------------------------- */

char *const *knob_items(const struct config *c, const struct config_knob *k, int *n)
{
    *n = *(const int *)(const void *)((const char *)c + k->count_offset);
    return const_field(c, k);
}

int knob_copy(struct config *to, const struct config *from, const struct config_knob *k,
              struct err *e)
{
    int n;
    switch (k->type) {
    case CONFIG_STRING:
    case CONFIG_ENUM:
        return set_string(to, k, *(char *const *)const_field(from, k), e);
    case CONFIG_LIST: {
        char *const *items = knob_items(from, k, &n);
        return set_list(to, k, (const char *const *)items, n, e);
    }
    case CONFIG_BOOL:
        memcpy(field(to, k), const_field(from, k), sizeof(bool));
        return 0;
    default:
        memcpy(field(to, k), const_field(from, k), sizeof(int64_t)); /* int64, double, uint64 */
        return 0;
    }
}

void knob_clear(struct config *c, const struct config_knob *k)
{
    if (k->type == CONFIG_STRING || k->type == CONFIG_ENUM) {
        char **s = field(c, k);
        mem_free(*s);
        *s = NULL;
    } else if (k->type == CONFIG_LIST) {
        char **list = field(c, k);
        int *n = (int *)(void *)((char *)c + k->count_offset);
        for (int i = 0; i < *n; i++) {
            mem_free(list[i]);
            list[i] = NULL;
        }
        *n = 0;
    }
}

/* The shortest decimal that reads back as the same double. */
static void add_double(double d, struct str *out)
{
    char text[40];
    double back;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (str_to_f64(text, -1e308, 1e308, &back) && back == d)
            break;
    }
    str_adds(out, text);
}

void knob_json(const struct config *c, const struct config_knob *k, struct str *out)
{
    const void *at = const_field(c, k);
    int n;
    switch (k->type) {
    case CONFIG_BOOL:
        str_adds(out, *(const bool *)at ? "true" : "false");
        break;
    case CONFIG_INT:
        str_addf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case CONFIG_FLOAT:
        add_double(*(const double *)at, out);
        break;
    case CONFIG_BYTES:
        str_addf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case CONFIG_STRING:
    case CONFIG_ENUM: {
        const char *s = *(char *const *)at;
        str_add_json(out, s, strlen(s));
        break;
    }
    case CONFIG_LIST: {
        char *const *items = knob_items(c, k, &n);
        str_addc(out, '[');
        for (int i = 0; i < n; i++) {
            str_adds(out, i ? ", " : "");
            str_add_json(out, items[i], strlen(items[i]));
        }
        str_addc(out, ']');
        break;
    }
    }
}
