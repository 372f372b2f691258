/* A log of Inspect (0.3) in its JSON form. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "export.h"

#define SCORER "choice" /* name of the score in the log */

struct inspect {
    const struct export_run *x;
    struct export_json j;
    json_t *samples, *ids; /* arrays */
    char model[200];
};

/* ---- one sample ------------------------------------------------------------------------------ */

static void inspect_message(struct inspect *l, json_t *messages, const char *role,
                            const json_t *call, const char *key)
{
    size_t n;
    const char *s = replay_text(call, key, &n);
    json_t *m;
    if (!n && strcmp(role, "assistant") != 0)
        return;
    m = json_object();
    export_put(&l->j, m, "role", export_text(role));
    export_put(&l->j, m, "content", json_stringn(s, n));
    if (!strcmp(role, "assistant")) {
        export_put(&l->j, m, "source", export_text("generate"));
        export_put(&l->j, m, "model", export_text(l->model));
    }
    export_put(&l->j, m, "metadata", json_pack("{s:O}", "role", json_object_get(call, "role")));
    export_add(&l->j, messages, m);
}

/* The prompts and replies of all calls, in order of asking. */
static json_t *inspect_messages(struct inspect *l, const json_t *calls)
{
    json_t *messages = json_array();
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        inspect_message(l, messages, "system", call, "system");
        inspect_message(l, messages, "user", call, "user");
        inspect_message(l, messages, "assistant", call, "reply");
    }
    return messages;
}

/* Tokens of the sample; NULL = not known. */
static json_t *inspect_usage(struct inspect *l, const struct result *r)
{
    json_t *u;
    if (!r || r->prompt_tokens < 0 || r->new_tokens < 0)
        return NULL;
    int64_t out = r->new_tokens + r->think_tokens;
    u = json_object();
    export_put(&l->j, u, "input_tokens", json_integer(r->prompt_tokens));
    export_put(&l->j, u, "output_tokens", json_integer(out));
    export_put(&l->j, u, "total_tokens", json_integer(r->prompt_tokens + out));
    export_put(&l->j, u, "input_tokens_cache_read", json_integer(r->cached_tokens));
    if (r->think_tokens)
        export_put(&l->j, u, "reasoning_tokens", json_integer(r->think_tokens));
    return u;
}

static json_t *inspect_letter(int i)
{
    char letter[2] = {(char)('A' + i), 0};
    return i < 0 ? json_null() : export_text(letter);
}

/* The reply of the last call. An answer that was scored or imported has no text: its letter. */
static json_t *inspect_output(struct inspect *l, const struct export_sample *s, json_t *usage)
{
    const json_t *last = json_array_get(s->calls, json_array_size(s->calls) - 1);
    json_t *o = json_object(), *choices = json_array(), *choice = json_object(), *m = json_object();
    size_t n;
    const char *reply = replay_text(last, "reply", &n);
    bool letter = !n && s->r && s->r->predicted >= 0;
    const char *finish = json_string_value(json_object_get(last, "finish"));
    bool cut = finish && !strcmp(finish, llm_finish_name(LLM_CUT));
    export_put(&l->j, m, "role", export_text("assistant"));
    export_put(&l->j, m, "content",
               letter ? inspect_letter(s->r->predicted) : json_stringn(reply, n));
    export_put(&l->j, m, "source", export_text("generate"));
    export_put(&l->j, choice, "message", m);
    export_put(&l->j, choice, "stop_reason", export_text(cut ? "max_tokens" : "stop"));
    export_add(&l->j, choices, choice);
    export_put(&l->j, o, "model", export_text(l->model));
    export_put(&l->j, o, "choices", choices);
    if (usage)
        export_put(&l->j, o, "usage", export_copy(usage));
    if (s->r && isfinite(s->r->seconds))
        export_put(&l->j, o, "time", json_real(s->r->seconds));
    return o;
}

static json_t *inspect_scores(struct inspect *l, const struct export_sample *s)
{
    json_t *score = json_object(), *by_name = json_object();
    const char *why = s->r ? s->r->why : s->row->why;
    export_put(&l->j, score, "value", export_text(s->right ? "C" : "I"));
    export_put(&l->j, score, "answer", inspect_letter(s->r ? s->r->predicted : -1));
    export_put(&l->j, score, "explanation", *why ? export_text(why) : json_null());
    export_put(&l->j, by_name, SCORER, score);
    return by_name;
}

static json_t *inspect_metadata(struct inspect *l, const struct export_sample *s)
{
    json_t *m = json_object();
    export_put(&l->j, m, "line", json_integer(s->row->line));
    if (!s->r) {
        export_put(&l->j, m, "state", export_text("rejected"));
        return m;
    }
    export_put(&l->j, m, "state", export_text(consult_state_name(s->r->state)));
    export_put(&l->j, m, "group", export_text(s->q->step));
    if (isfinite(s->r->p))
        export_put(&l->j, m, "p", json_real(s->r->p));
    if (s->line && json_object_get(s->line, "shown"))
        export_put(&l->j, m, "shown", export_copy(json_object_get(s->line, "shown")));
    return m;
}

/* The id of the question; that of a duplicate or rejected record has its line, too. */
static json_t *inspect_id(const struct export_sample *s)
{
    char id[64];
    if (s->row->kind == MEDQA_QUESTION)
        return export_text(s->row->id);
    snprintf(id, sizeof id, "%s%sline-%lld", s->row->id, s->row->id[0] ? "/" : "",
             (long long)s->row->line);
    return export_text(id);
}

static int inspect_sample(const struct export_sample *s, void *user, struct err *e)
{
    struct inspect *l = user;
    json_t *o = json_object(), *choices = json_array(), *used = json_object(), *usage;
    (void)e;
    for (int i = 0; s->q && i < s->q->n_options; i++)
        export_add(&l->j, choices, export_text(s->q->option[i]));
    usage = inspect_usage(l, s->row->kind == MEDQA_QUESTION ? s->r : NULL);
    export_put(&l->j, o, "id", inspect_id(s));
    export_put(&l->j, o, "epoch", json_integer(1));
    export_put(&l->j, o, "input", export_text(s->q ? s->q->text : ""));
    export_put(&l->j, o, "choices", choices);
    export_put(&l->j, o, "target",
               s->q && s->q->key >= 0 ? inspect_letter(s->q->key) : export_text(""));
    export_put(&l->j, o, "messages", inspect_messages(l, s->calls));
    export_put(&l->j, o, "output", inspect_output(l, s, usage));
    export_put(&l->j, o, "scores", inspect_scores(l, s));
    export_put(&l->j, o, "metadata", inspect_metadata(l, s));
    export_put(&l->j, o, "store", json_object());
    export_put(&l->j, o, "events", json_array());
    if (usage)
        export_put(&l->j, used, l->model, usage);
    export_put(&l->j, o, "model_usage", used);
    if (s->r && isfinite(s->r->seconds) && s->row->kind == MEDQA_QUESTION)
        export_put(&l->j, o, "total_time", json_real(s->r->seconds));
    export_put(&l->j, o, "attachments", json_object());
    export_add(&l->j, l->ids, inspect_id(s));
    export_add(&l->j, l->samples, o);
    return 0;
}

/* ---- the log --------------------------------------------------------------------------------- */

static json_t *inspect_eval(struct inspect *l)
{
    const struct export_run *x = l->x;
    json_t *o = json_object(), *data = json_object(), *config = json_object(),
           *metadata = json_object();
    const char *hash =
        json_string_value(json_object_get(json_object_get(x->doc, "data"), "records_sha256"));
    export_put(&l->j, data, "name", export_text(x->task));
    export_put(&l->j, data, "location", export_copy(export_about(x, "data")));
    export_put(&l->j, data, "samples", json_integer((json_int_t)x->run.records.n));
    export_put(&l->j, data, "sample_ids", json_incref(l->ids));
    export_put(&l->j, data, "shuffled", json_false());
    if (x->run.asked < x->run.records.n)
        export_put(&l->j, config, "limit", json_integer((json_int_t)x->run.asked));
    export_put(&l->j, config, "epochs", json_integer(1));
    export_put(&l->j, o, "eval_id", export_text(hash ? hash : ""));
    export_put(&l->j, o, "run_id", export_text(hash ? hash : ""));
    export_put(&l->j, o, "created", export_text(x->began));
    export_put(&l->j, o, "task", export_text(x->task));
    export_put(&l->j, o, "task_id", export_text(x->task));
    export_put(&l->j, o, "task_version", json_integer(1));
    export_put(&l->j, o, "task_args", json_pack("{s:o}", "strategy", export_text(x->strategy)));
    export_put(&l->j, o, "dataset", data);
    export_put(&l->j, o, "model", export_text(l->model));
    export_put(&l->j, o, "model_args", json_object());
    export_put(&l->j, o, "config", config);
    export_put(&l->j, o, "packages",
               json_pack("{s:o}", "mas", export_copy(export_about(x, "version"))));
    export_put(&l->j, metadata, "mas", export_copy(json_object_get(x->doc, "identity")));
    if (json_object_get(x->doc, "retried"))
        export_put(&l->j, metadata, "mas_retried", export_copy(json_object_get(x->doc, "retried")));
    export_put(&l->j, o, "metadata", metadata);
    return o;
}

static json_t *inspect_metric(struct inspect *l, const char *name, double value)
{
    json_t *o = json_object();
    export_put(&l->j, o, "name", export_text(name));
    export_put(&l->j, o, "value", json_real(value));
    export_put(&l->j, o, "params", json_object());
    return o;
}

static json_t *inspect_results(struct inspect *l)
{
    const struct export_run *x = l->x;
    json_t *o = json_object(), *score = json_object(), *metrics = json_object(),
           *scores = json_array();
    double n = (double)x->n_samples, p = (double)x->n_right / n;
    export_put(&l->j, metrics, "accuracy", inspect_metric(l, "accuracy", p));
    if (n > 1)
        export_put(&l->j, metrics, "stderr",
                   inspect_metric(l, "stderr", sqrt(p * (1 - p) / (n - 1))));
    export_put(&l->j, score, "name", export_text(SCORER));
    export_put(&l->j, score, "scorer", export_text(SCORER));
    export_put(&l->j, score, "params", json_object());
    export_put(&l->j, score, "metrics", metrics);
    export_add(&l->j, scores, score);
    export_put(&l->j, o, "total_samples", json_integer((json_int_t)x->run.asked));
    export_put(&l->j, o, "completed_samples", json_integer((json_int_t)x->n_samples));
    export_put(&l->j, o, "scores", scores);
    return o;
}

static json_t *inspect_plan(struct inspect *l)
{
    json_t *o = json_object(), *step = json_object(), *steps = json_array();
    export_put(&l->j, step, "solver", export_text(l->x->strategy));
    export_put(&l->j, step, "params", json_object());
    export_add(&l->j, steps, step);
    export_put(&l->j, o, "name", export_text("plan"));
    export_put(&l->j, o, "steps", steps);
    export_put(&l->j, o, "config", json_object());
    return o;
}

static json_t *inspect_stats(struct inspect *l)
{
    json_t *o = json_object();
    export_put(&l->j, o, "started_at", export_text(l->x->began));
    export_put(&l->j, o, "completed_at", export_text(l->x->ended));
    export_put(&l->j, o, "model_usage", json_object());
    return o;
}

int export_inspect(const struct export_run *x, struct str *out, struct err *e)
{
    struct inspect l = {.x = x, .samples = json_array(), .ids = json_array()};
    json_t *doc = json_object();
    int rc;
    snprintf(l.model, sizeof l.model, "mas/%.180s", x->model);
    TRY_DONE(export_each(x, inspect_sample, &l, e));
    export_put(&l.j, doc, "version", json_integer(2));
    export_put(&l.j, doc, "status",
               export_text(x->n_samples == x->run.asked ? "success" : "cancelled"));
    export_put(&l.j, doc, "eval", inspect_eval(&l));
    export_put(&l.j, doc, "plan", inspect_plan(&l));
    export_put(&l.j, doc, "results", inspect_results(&l));
    export_put(&l.j, doc, "stats", inspect_stats(&l));
    export_put(&l.j, doc, "samples", json_incref(l.samples));
    rc = export_dump(&l.j, doc, 2, out, e);
    str_addc(out, '\n');
done:
    json_decref(doc);
    json_decref(l.samples);
    json_decref(l.ids);
    return rc;
}
