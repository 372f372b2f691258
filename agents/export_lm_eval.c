/* Files of lm-evaluation-harness (0.4.13), as its --log_samples writes them. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "export.h"
#include "folder.h"
#include "jdoc.h"
#include "sha256.h"

struct lm_eval {
    const struct export_run *x;
    struct str samples; /* JSON Lines */
    struct str hashes;  /* of all samples, one after the other */
};

/* ---- one sample ------------------------------------------------------------------------------ */

/* The record in a form of medqa.h, so that the file can be imported again. */
static json_t *lm_eval_doc(struct export_json *j, const struct export_sample *s)
{
    json_t *doc = json_object(), *options = json_object();
    const struct medqa_question *q = s->q;
    char letter[2] = "A";
    if (!q) {
        json_decref(options);
        export_put(j, doc, "line", json_integer(s->row->line));
        export_put(j, doc, "rejected", export_text(s->row->why));
        return doc;
    }
    export_put(j, doc, "id", export_text(q->id));
    export_put(j, doc, "question", export_text(q->text));
    for (int i = 0; i < q->n_options; i++) {
        letter[0] = (char)('A' + i);
        export_put(j, options, letter, export_text(q->option[i]));
    }
    export_put(j, doc, "options", options);
    letter[0] = (char)('A' + q->key);
    export_put(j, doc, "answer_idx", q->key < 0 ? json_null() : export_text(letter));
    export_put(j, doc, "meta_info", export_text(q->step));
    return doc;
}

/* Python's json writes \u001f where jansson writes \u001F. */
static void lm_eval_lower(char *s)
{
    for (; *s; s++) {
        if (*s != '\\')
            continue;
        s++;
        for (int i = 1; *s == 'u' && i <= 4 && s[i]; i++)
            s[i] = (char)(s[i] >= 'A' && s[i] <= 'F' ? s[i] - 'A' + 'a' : s[i]);
    }
}

/* Puts the SHA-256 of a text, and appends it to the hashes of the samples. */
static int lm_eval_hash(struct lm_eval *l, struct export_json *j, json_t *sample, const char *key,
                        const char *s, size_t n, struct err *e)
{
    char hex[65];
    TRY(sha256_hex(s, n, hex, e));
    str_adds(&l->hashes, hex);
    export_put(j, sample, key, export_text(hex));
    return 0;
}

/* System text and question of a call, as one text. */
static int lm_eval_prompt(const json_t *call, struct str *out, struct err *e)
{
    static const char *const parts[] = {"system", "user", "reply_prefix"};
    for (size_t i = 0; i < 3; i++) {
        size_t n;
        const char *s = replay_text(call, parts[i], &n);
        if (n && out->len)
            str_adds(out, "\n\n");
        str_add(out, s, n);
    }
    return str_ok(out, "a prompt", e);
}

/* The place at which option i of the data file was shown. */
static int lm_eval_place(const json_t *line, int i)
{
    size_t n;
    const char *shown = replay_text(line, "shown", &n);
    const char *at = n ? memchr(shown, 'A' + i, n) : NULL;
    return at ? (int)(at - shown) : i;
}

static json_t *lm_eval_number(double v)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", v);
    return export_text(text);
}

/* A pair of log-likelihood and "is greedy", which no trace has. */
static json_t *lm_eval_pair(struct export_json *j, double lp)
{
    json_t *pair = json_array();
    export_add(j, pair, lm_eval_number(lp));
    export_add(j, pair, export_text("None"));
    return pair;
}

static json_t *lm_eval_list(struct export_json *j, json_t *one)
{
    json_t *list = json_array();
    export_add(j, list, one);
    return list;
}

/* Each option is one request. */
static void lm_eval_scored(struct export_json *j, const struct export_sample *s, const char *prompt,
                           json_t *arguments, json_t *resps, json_t *filtered)
{
    const json_t *options = json_object_get(json_array_get(s->calls, 0), "options");
    for (int i = 0; i < s->r->n_options; i++) {
        char key[24];
        json_t *request = json_object();
        const json_t *text = json_array_get(options, (size_t)lm_eval_place(s->line, i));
        snprintf(key, sizeof key, "gen_args_%d", i);
        export_put(j, request, "arg_0", export_text(prompt));
        export_put(j, request, "arg_1", export_text(text ? json_string_value(text) : NULL));
        if (s->calls)
            export_put(j, arguments, key, request);
        else
            json_decref(request);
        export_add(j, resps, lm_eval_list(j, lm_eval_pair(j, s->r->option_lp[i])));
        export_add(j, filtered, lm_eval_pair(j, s->r->option_lp[i]));
    }
}

/* One reply, and the letter that was read from it. */
static void lm_eval_replied(struct export_json *j, const struct export_sample *s,
                            const char *prompt, json_t *arguments, json_t *resps, json_t *filtered)
{
    const json_t *last = json_array_get(s->calls, json_array_size(s->calls) - 1);
    json_t *request = json_object(), *settings = json_object();
    char letter[2] = "A";
    size_t n;
    const char *reply = replay_text(last, "reply", &n);
    if (last) {
        export_put(j, settings, "max_gen_toks", export_copy(json_object_get(last, "max_tokens")));
        export_put(j, settings, "temperature", export_copy(json_object_get(last, "temperature")));
        export_put(j, request, "arg_0", export_text(prompt));
        export_put(j, request, "arg_1", settings);
        export_put(j, arguments, "gen_args_0", request);
        export_add(j, resps, lm_eval_list(j, json_stringn(reply, n)));
    } else {
        json_decref(request);
        json_decref(settings);
    }
    if (s->r && s->r->predicted >= 0) {
        letter[0] = (char)('A' + s->r->predicted);
        export_add(j, filtered, export_text(letter));
    } else {
        export_add(j, filtered, export_text("[invalid]"));
    }
}

static int lm_eval_fill(struct lm_eval *l, struct export_json *j, const struct export_sample *s,
                        json_t *sample, struct err *e)
{
    struct str prompt = STR_INIT, doc = STR_INIT;
    json_t *arguments = json_object(), *resps = json_array(), *filtered = json_array();
    json_t *d = lm_eval_doc(j, s);
    char target[2] = "";
    int rc;
    if (s->q && s->q->key >= 0)
        target[0] = (char)('0' + s->q->key);
    export_put(j, sample, "doc_id", json_integer((json_int_t)s->record));
    export_put(j, sample, "doc", d);
    export_put(j, sample, "target", export_text(target));
    export_put(j, sample, "arguments", arguments);
    export_put(j, sample, "resps", resps);
    export_put(j, sample, "filtered_resps", filtered);
    TRY_DONE(lm_eval_prompt(json_array_get(s->calls, json_array_size(s->calls) - 1), &prompt, e));
    if (s->r && s->r->has_lp)
        lm_eval_scored(j, s, prompt.s, arguments, resps, filtered);
    else
        lm_eval_replied(j, s, prompt.s, arguments, resps, filtered);
    export_put(j, sample, "filter", export_text("none"));
    export_put(j, sample, "metrics", lm_eval_list(j, export_text("acc")));
    TRY_DONE(export_dump(j, d, 2, &doc, e));
    lm_eval_lower(doc.s);
    TRY_DONE(lm_eval_hash(l, j, sample, "doc_hash", doc.s, doc.len, e));
    TRY_DONE(lm_eval_hash(l, j, sample, "prompt_hash", prompt.s, prompt.len, e));
    TRY_DONE(lm_eval_hash(l, j, sample, "target_hash", target, strlen(target), e));
    export_put(j, sample, "acc", json_real(s->right ? 1 : 0));
done:
    str_free(&prompt);
    str_free(&doc);
    return rc;
}

static int lm_eval_sample(const struct export_sample *s, void *user, struct err *e)
{
    struct lm_eval *l = user;
    struct export_json j = {.failed = false};
    json_t *sample = json_object();
    int rc = lm_eval_fill(l, &j, s, sample, e);
    if (!rc)
        rc = export_dump(&j, sample, 0, &l->samples, e);
    str_addc(&l->samples, '\n');
    json_decref(sample);
    return rc;
}

/* ---- results --------------------------------------------------------------------------------- */

/* An object with one member, by the name of the task. */
static void lm_eval_by_task(struct export_json *j, json_t *doc, const char *key, const char *task,
                            json_t *value)
{
    json_t *o = json_object();
    export_put(j, o, task, value);
    export_put(j, doc, key, o);
}

static double lm_eval_seconds(const char *when)
{
    struct tm tm = {.tm_year = 0};
    int y, mo, d, h, mi, s;
    if (sscanf(when, "%4d-%2d-%2dT%2d:%2d:%2d", &y, &mo, &d, &h, &mi, &s) != 6)
        return 0;
    tm.tm_year = y - 1900;
    tm.tm_mon = mo - 1;
    tm.tm_mday = d;
    tm.tm_hour = h;
    tm.tm_min = mi;
    tm.tm_sec = s;
    return (double)timegm(&tm);
}

static json_t *lm_eval_scores(struct export_json *j, const struct export_run *x)
{
    json_t *o = json_object();
    double n = (double)x->n_samples, p = (double)x->n_right / n;
    export_put(j, o, "alias", export_text(x->task));
    export_put(j, o, "sample_len", json_integer((json_int_t)x->n_samples));
    export_put(j, o, "acc,none", json_real(p));
    /* sample standard deviation, as the harness computes it */
    export_put(j, o, "acc_stderr,none",
               n > 1 ? json_real(sqrt(p * (1 - p) / (n - 1))) : export_text("N/A"));
    return o;
}

static json_t *lm_eval_task(struct export_json *j, const struct export_run *x)
{
    json_t *o = json_object(), *metric = json_object();
    bool scored = true;
    for (size_t i = 0; i < x->run.results.n; i++)
        scored = scored && x->run.results.r[i].has_lp;
    export_put(j, metric, "metric", export_text("acc"));
    export_put(j, metric, "aggregation", export_text("mean"));
    export_put(j, metric, "higher_is_better", json_true());
    export_put(j, o, "task", export_text(x->task));
    export_put(j, o, "output_type", export_text(scored ? "multiple_choice" : "generate_until"));
    export_put(j, o, "num_fewshot", json_integer(0));
    export_put(j, o, "metric_list", lm_eval_list(j, metric));
    export_put(j, o, "metadata", json_pack("{s:f}", "version", 1.0));
    return o;
}

static json_t *lm_eval_config(struct export_json *j, const struct export_run *x)
{
    json_t *o = json_object();
    char args[256];
    snprintf(args, sizeof args, "model=%.150s,strategy=%.60s", x->model, x->strategy);
    export_put(j, o, "model", export_text("mas"));
    export_put(j, o, "model_args", export_text(args));
    export_put(j, o, "batch_size", json_null());
    export_put(j, o, "device", export_copy(export_about(x, "device")));
    export_put(j, o, "limit",
               x->run.asked < x->run.records.n ? json_integer((json_int_t)x->run.asked)
                                               : json_null());
    export_put(j, o, "bootstrap_iters", json_integer(0));
    export_put(j, o, "random_seed", export_copy(export_config(x, "seed")));
    export_put(j, o, "mas", export_copy(json_object_get(x->doc, "identity")));
    if (json_object_get(x->doc, "retried"))
        export_put(j, o, "mas_retried", export_copy(json_object_get(x->doc, "retried")));
    return o;
}

static int lm_eval_results(struct lm_eval *l, struct str *out, struct err *e)
{
    const struct export_run *x = l->x;
    struct export_json j = {.failed = false};
    double began = lm_eval_seconds(x->began);
    char hash[65];
    TRY(sha256_hex(l->hashes.s, l->hashes.len, hash, e));
    json_t *doc = json_object(), *n = json_object(), *better = json_object();
    export_put(&j, n, "original", json_integer((json_int_t)x->run.records.n));
    export_put(&j, n, "effective", json_integer((json_int_t)x->n_samples));
    export_put(&j, better, "acc", json_true());
    lm_eval_by_task(&j, doc, "results", x->task, lm_eval_scores(&j, x));
    lm_eval_by_task(&j, doc, "group_subtasks", x->task, json_array());
    lm_eval_by_task(&j, doc, "configs", x->task, lm_eval_task(&j, x));
    lm_eval_by_task(&j, doc, "versions", x->task, json_real(1));
    lm_eval_by_task(&j, doc, "n-shot", x->task, json_integer(0));
    lm_eval_by_task(&j, doc, "higher_is_better", x->task, better);
    lm_eval_by_task(&j, doc, "n-samples", x->task, n);
    export_put(&j, doc, "config", lm_eval_config(&j, x));
    export_put(&j, doc, "git_hash", export_copy(export_about(x, "version")));
    export_put(&j, doc, "date", json_real(began));
    lm_eval_by_task(&j, doc, "task_hashes", x->task, export_text(hash));
    export_put(&j, doc, "model_source", export_text("mas"));
    export_put(&j, doc, "model_name", export_text(x->model));
    export_put(&j, doc, "model_name_sanitized", export_text(x->model));
    int rc = export_dump(&j, doc, 2, out, e);
    json_decref(doc);
    str_addc(out, '\n');
    return rc;
}

int export_lm_eval(const struct export_run *x, const char *dir, struct err *e)
{
    struct lm_eval l = {.x = x, .samples = STR_INIT, .hashes = STR_INIT};
    struct folder folder = {.lock = -1};
    struct str results = STR_INIT;
    char when[32], name[256];
    int rc;
    TRY_DONE(export_each(x, lm_eval_sample, &l, e));
    TRY_DONE(str_ok(&l.samples, "samples", e));
    TRY_DONE(str_ok(&l.hashes, "hashes of samples", e));
    TRY_DONE(lm_eval_results(&l, &results, e));
    TRY_DONE(folder_make(&folder, dir, e));
    snprintf(when, sizeof when, "%.19s", x->ended);
    for (char *c = when; *c; c++)
        *c = *c == ':' ? '-' : *c;
    snprintf(name, sizeof name, "samples_%s_%s.jsonl", x->task, when);
    TRY_DONE(folder_save(&folder, name, l.samples.s, l.samples.len, e));
    snprintf(name, sizeof name, "results_%s.json", when);
    TRY_DONE(folder_save(&folder, name, results.s, results.len, e));
done:
    str_free(&l.samples);
    str_free(&l.hashes);
    str_free(&results);
    return rc;
}
