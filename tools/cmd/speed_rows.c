#include "speed_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "check.h"
#include "report.h"

enum form { FORM_HEAD, FORM_CSV, FORM_JSON };

struct sink { /* takes the columns in their order */
    struct str *out;
    enum form form;
    int n; /* taken */
};

/* Begins a column. False: the head of CSV has no values. */
static bool column(struct sink *k, const char *name)
{
    if (k->n++)
        str_adds(k->out, k->form == FORM_JSON ? ", " : ",");
    if (k->form == FORM_JSON)
        str_addf(k->out, "\"%s\": ", name);
    else if (k->form == FORM_HEAD)
        str_adds(k->out, name);
    return k->form != FORM_HEAD;
}

static void add_text(struct sink *k, const char *name, const char *text)
{
    if (!column(k, name))
        return;
    if (k->form == FORM_JSON)
        str_add_json(k->out, text, strlen(text));
    else
        report_csv_field(k->out, text);
}

static void add_whole(struct sink *k, const char *name, uint64_t v)
{
    if (column(k, name))
        str_addf(k->out, "%" PRIu64, v);
}

static void add_number(struct sink *k, const char *name, double v)
{
    if (column(k, name))
        str_add_number(k->out, v, 9);
}

static void add_switch(struct sink *k, const char *name, bool on)
{
    if (column(k, name))
        str_adds(k->out, on ? "true" : "false");
}

/* A setting as it was given: the value of its row in the table of options. */
static void add_option(struct sink *k, const struct speed_about *a, const char *name,
                       const char *flag)
{
    const struct option_row *row = option_of_flag(&engine_option_set, flag);
    struct str text = STR_INIT;
    CHECK_MSG(row, flag);
    if (!column(k, name))
        return;
    if (k->form == FORM_JSON) {
        option_json(row, a->opt, k->out);
        return;
    }
    option_text(row, a->opt, &text);
    report_csv_field(k->out, text.s);
    k->out->failed |= text.failed;
    str_free(&text);
}

static void model_label(const struct engine_info *in, char out[128])
{
    snprintf(out, 128, "%s %.2f B", in->name[0] ? in->name : in->arch, (double)in->n_params / 1e9);
}

/* Numbers of the GPUs: "2,0"; "" = none. */
static void add_devices(struct sink *k, const struct engine_info *in)
{
    char text[16 * 12] = "";
    for (int i = 0; in->plan->n_device && i < in->n_device && i < 16; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? "," : "", in->gpu[i]);
    add_text(k, "devices", text);
}

static void add_settings(struct sink *k, const struct speed_about *a)
{
    static const char *const given[][2] = {
        {"vram", "vram"},
        {"ram", "ram"},
        {"cpu_layers", "cpu-layers"},
        {"link_limit", "link-limit"},
        {"kv_swap", "kv-swap"},
        {"graphs", "no-graphs"},
        {"draft_model", "draft-model"},
        {"lookup", "lookup"},
    };
    const struct engine_info *in = a->in;
    const char *kept = a->opt->packed_cache;
    const bool packed = *kept && strcmp(kept, "false") != 0;
    const bool model = a->opt->draft_model[0], drafts = model || a->opt->lookup;
    add_option(k, a, "type_k", "kv-type");
    add_option(k, a, "type_v", "kv-type");
    add_whole(k, "page_tokens", (uint64_t)in->page_tokens);
    add_whole(k, "kv_bytes", in->plan->kv_bytes);
    add_devices(k, in);
    add_text(k, "placement", plan_mode_name(in->plan->mode));
    add_text(k, "split", in->n_device > 1 ? plan_split_name(in->plan->split) : "");
    add_whole(k, "stream_bytes", in->plan->stream_bytes);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        add_option(k, a, given[i][0], given[i][1]);
    add_switch(k, "map_weights", a->opt->map_weights && !packed);
    add_text(k, "packed_cache", packed ? kept : "");
    add_whole(k, "max_draft", drafts ? (uint64_t)a->opt->max_draft : 0);
    add_whole(k, "max_branches", model ? (uint64_t)a->opt->max_branch : 0);
}

/* All columns. The first fifteen are those of earlier versions, in their order. */
static void add_columns(struct sink *k, const struct speed_about *a, const struct speed_row *r)
{
    const struct engine_info *in = a->in;
    char when[32], model[128];
    bench_time(when);
    model_label(in, model);
    add_text(k, "model_filename", in->path);
    add_whole(k, "model_size", in->model_bytes);
    add_whole(k, "model_n_params", in->n_params);
    add_text(k, "backends", in->backend);
    add_whole(k, "n_threads", (uint64_t)a->threads);
    add_whole(k, "n_batch", (uint64_t)in->batch_tokens);
    add_whole(k, "n_prompt", (uint64_t)r->test.prompt);
    add_whole(k, "n_gen", (uint64_t)r->test.gen);
    add_whole(k, "n_depth", (uint64_t)r->test.depth);
    add_whole(k, "n_parallel", (uint64_t)r->test.parallel);
    add_number(k, "avg_ts", r->s.mean);
    add_number(k, "stddev_ts", r->s.stddev);
    add_number(k, "median_ts", r->s.median);
    add_number(k, "p5_ts", r->s.p5);
    add_number(k, "p95_ts", r->s.p95);
    add_number(k, "mean_parallel", r->width);
    add_text(k, "build_commit", MAS_COMMIT);
    add_text(k, "test_time", when);
    add_text(k, "cpu_info", in->device);
    add_text(k, "isa", in->isa);
    add_text(k, "model_type", model);
    add_settings(k, a);
}

void speed_row_csv(const struct speed_about *a, const struct speed_row *r, bool first,
                   struct str *out)
{
    struct sink head = {.out = out, .form = FORM_HEAD}, row = {.out = out, .form = FORM_CSV};
    if (first) {
        add_columns(&head, a, r);
        str_addc(out, '\n');
    }
    add_columns(&row, a, r);
    str_addc(out, '\n');
}

void speed_row_json(const struct speed_about *a, const struct speed_row *r, bool first,
                    struct str *out)
{
    struct sink row = {.out = out, .form = FORM_JSON};
    str_adds(out, first ? "[\n  {" : ",\n  {");
    add_columns(&row, a, r);
    energy_json(&r->energy, r->tokens, out);
    str_addc(out, '}');
}

void speed_row_md(const struct speed_about *a, const struct speed_row *r, bool first,
                  struct str *out)
{
    const struct engine_info *in = a->in;
    char test[48], model[128], speed[48];
    if (first)
        str_addf(
            out,
            "| %-30s | %10s | %10s | %-10s | %7s | %15s | %20s |\n"
            "| ------------------------------ | ---------: | ---------: | ---------- | ------: | "
            "--------------: | -------------------: |\n",
            "model", "size", "params", "backend", "threads", "test", "t/s");
    speed_name(&r->test, test);
    snprintf(model, sizeof model, "%.30s", in->name[0] ? in->name : in->arch);
    snprintf(speed, sizeof speed, "%.2f ± %.2f", r->s.mean, r->s.stddev);
    str_addf(out, "| %-30s | %6.2f GiB | %8.2f B | %-10s | %7d | %15s | %20s |\n", model,
             (double)in->model_bytes / 1073741824.0, (double)in->n_params / 1e9, in->backend,
             a->threads, test, speed);
}

void speed_about_md(const struct speed_about *a, struct str *out)
{
    char when[32];
    bench_time(when);
    str_addf(out, "%s%s%s; KV cache %s; steps of at most %d tokens%s%s; mas %s; %s\n",
             a->in->device, a->in->isa[0] ? "; isa " : "", a->in->isa,
             fmt_info(a->in->kv_fmt)->name, a->in->batch_tokens, *a->changed ? ";" : "", a->changed,
             MAS_COMMIT, when);
}
