/* GET /metrics: Prometheus' text form. Every family has its help, its type, and a unit in its
 * name. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "server.h"
#include "status.h"
#include "zio.h"

static void family(struct str *out, const char *name, const char *type, const char *help)
{
    str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Appends text as the value of a label. */
static void add_label(struct str *out, const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p == '\n')
            str_adds(out, "\\n");
        else if (*p == '"' || *p == '\\')
            str_addf(out, "\\%c", *p);
        else
            str_addc(out, *p);
}

static void add_value(struct str *out, double v)
{
    if (v >= 0 && v < 9e15 && floor(v) == v)
        str_addf(out, " %.0f\n", v);
    else
        str_addf(out, " %.9g\n", v);
}

static void one(struct str *out, const char *name, const char *type, const char *help, double v)
{
    if (isnan(v)) /* not measured here */
        return;
    family(out, name, type, help);
    str_adds(out, name);
    add_value(out, v);
}

static void labelled(struct str *out, const char *name, const char *label, const char *text,
                     double v)
{
    str_addf(out, "%s{%s=\"", name, label);
    add_label(out, text);
    str_adds(out, "\"}");
    add_value(out, v);
}

/* ---- the process ----------------------------------------------------------------------------- */

static double resident_bytes(void)
{
    struct str text = STR_INIT;
    unsigned long long pages = 0;
    bool found = zio_read("/proc/self/statm", 4096, &text, NULL) == 0 &&
                 sscanf(text.s, "%*u %llu", &pages) == 1;
    str_free(&text);
    return found ? (double)pages * (double)sysconf(_SC_PAGESIZE) : (double)NAN;
}

static double open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return (double)NAN;
    int n = -3; /* ".", "..", and the folder itself */
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static double cpu_seconds(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return (double)NAN;
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void process_metrics(const struct serve *s, struct str *out)
{
    family(out, "mas_build_info", "gauge", "Version and commit of the program.");
    str_addf(out, "mas_build_info{version=\"%s\",commit=\"%s\"} 1\n", serve_version, MAS_COMMIT);
    one(out, "mas_uptime_seconds", "gauge", "Time since the start of the server.",
        (double)(clock_ns() - s->t_start) * 1e-9);
    one(out, "process_start_time_seconds", "gauge", "Start of the server, since 1970.",
        (double)s->unix_start);
    one(out, "process_resident_memory_bytes", "gauge", "Main memory that the process uses.",
        resident_bytes());
    one(out, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    one(out, "process_cpu_seconds_total", "counter", "Time of all processors.", cpu_seconds());
}

/* ---- requests -------------------------------------------------------------------------------- */

static void request_metrics(struct serve *s, struct str *out)
{
    char digit[8];
    family(out, "mas_http_requests_total", "counter", "Answered requests by status.");
    for (int i = 2; i < 6; i++) {
        snprintf(digit, sizeof digit, "%dxx", i);
        labelled(out, "mas_http_requests_total", "status", digit,
                 (double)atomic_load(&s->requests[i]));
    }
    one(out, "mas_http_exchanges", "gauge", "Requests that have no complete reply yet.",
        http_open_exchanges(s->http));
    one(out, "mas_requests_rejected_total", "counter", "Requests refused for a full queue.",
        (double)atomic_load(&s->rejected));
    one(out, "mas_clients_gone_total", "counter", "Clients that left before their reply's end.",
        (double)atomic_load(&s->gone));
    one(out, "mas_replies", "gauge", "Replies that run or wait.", atomic_load(&s->admitted));
    one(out, "mas_replies_limit", "gauge", "Most replies that may run or wait.",
        s->o->queue + hub_slots(s->hub));
    one(out, "mas_ready", "gauge", "1 when GET /ready answers 200.", !serve_unready(s));
}

/* ---- models ---------------------------------------------------------------------------------- */

struct model_figures {
    char name[128];
    struct hub_entry entry;
    struct engine_stats st;
    int n_seq, page_tokens, n_ctx;  /* 0 unless the model is resident */
    double streamed;                /* bytes of a step */
    int n_gpu, gpu[PLAN_DEVICES];   /* numbers of those that hold a part of the model */
    double memory[PLAN_DEVICES][5]; /* bytes: weights, KV, workspace, ring, draft model */
};

/* X(name, type, value, help): families with one row a model. */
#define MODEL_FAMILIES(X)                                                                          \
    X("mas_model_resident", "gauge", m->entry.resident, "1 when the model is loaded.")             \
    X("mas_model_loads_total", "counter", (double)m->entry.loads, "Times that it was loaded.")     \
    X("mas_model_bytes", "gauge", (double)m->entry.bytes, "Size of the model's file.")             \
    X("mas_model_users", "gauge", m->entry.held, "Requests that hold the model.")                  \
    X("mas_model_waiting", "gauge", m->entry.waiting, "Requests that wait for it to be loaded.")   \
    X("mas_sequences_running", "gauge", m->st.running, "Replies that are computed.")               \
    X("mas_sequences_queued", "gauge", m->st.waiting, "Replies that wait for a sequence.")         \
    X("mas_sequences_limit", "gauge", m->n_seq, "Replies computed together at most.")              \
    X("mas_prompt_tokens_total", "counter", (double)m->st.prompt_tokens,                           \
      "Prompt tokens computed.")                                                                   \
    X("mas_cached_prompt_tokens_total", "counter", (double)m->st.cached_tokens,                    \
      "Prompt tokens taken from the prefix cache.")                                                \
    X("mas_generated_tokens_total", "counter", (double)m->st.new_tokens, "Tokens of replies.")     \
    X("mas_steps_total", "counter", (double)m->st.steps, "Steps of the model.")                    \
    X("mas_step_rows_total", "counter", (double)m->st.rows,                                        \
      "Rows of all steps; by the steps, the width of the batch.")                                  \
    X("mas_step_sequences_total", "counter", (double)m->st.sequences,                              \
      "Sequences of all steps; by the steps, their number in a step.")                             \
    X("mas_busy_seconds_total", "counter", m->st.busy_seconds, "Time inside steps.")               \
    X("mas_preemptions_total", "counter", (double)m->st.preempted,                                 \
      "Sequences that lost their pages to others.")                                                \
    X("mas_draft_tokens_total", "counter", (double)m->st.drafted, "Draft tokens verified.")        \
    X("mas_draft_accepted_tokens_total", "counter", (double)m->st.accepted,                        \
      "Draft tokens accepted.")                                                                    \
    X("mas_prefix_evicted_pages_total", "counter", (double)m->st.pages_evicted,                    \
      "Pages dropped from the prefix cache.")                                                      \
    X("mas_streamed_bytes_per_step", "gauge", m->streamed,                                         \
      "Bytes of weights that every step copies to the device.")                                    \
    X("mas_kv_page_tokens", "gauge", m->page_tokens, "Tokens of a page of the KV cache.")          \
    X("mas_context_tokens", "gauge", m->n_ctx, "Longest prompt and reply together.")

static void model_figures(struct serve *s, int index, struct model_figures *m)
{
    hub_entry(s->hub, index, &m->entry);
    hub_stats(s->hub, index, &m->st);
    snprintf(m->name, sizeof m->name, "%s", m->entry.name);
    struct hub_model *at = hub_peek(s->hub, index);
    if (!at)
        return;
    const struct engine_info *info = at->info;
    const struct plan *p = info->plan;
    m->n_seq = info->n_seq;
    m->n_ctx = info->n_ctx;
    m->page_tokens = info->page_tokens;
    m->streamed = (double)p->stream_bytes;
    for (int d = 0; d < p->n_device; d++) {
        const struct plan_share *share = &p->share[d];
        const double bytes[5] = {(double)share->vram_weight_bytes, (double)share->kv_bytes,
                                 (double)share->workspace_bytes, (double)share->ring_bytes,
                                 d ? 0 : (double)info->draft_bytes};
        if (!share->n && (d || !info->draft_bytes))
            continue;
        memcpy(m->memory[m->n_gpu], bytes, sizeof bytes);
        m->gpu[m->n_gpu++] = info->gpu[d];
    }
    hub_unpeek(s->hub, at);
}

static void add_row(struct str *out, const struct model_figures *m, const char *name,
                    const char *label, const char *text, double v)
{
    str_addf(out, "%s{model=\"", name);
    add_label(out, m->name);
    str_adds(out, "\"");
    if (label)
        str_addf(out, ",%s=\"%s\"", label, text);
    str_adds(out, "}");
    add_value(out, v);
}

/* The rows of a family stand together, those of all models. */
static void model_metrics(const struct model_figures *all, int n, struct str *out)
{
#define X(name_, type_, value_, help_)                                                             \
    family(out, name_, type_, help_);                                                              \
    for (const struct model_figures *m = all; m < all + n; m++)                                    \
        add_row(out, m, name_, NULL, NULL, value_);
    MODEL_FAMILIES(X)
#undef X
}

/* Families with a row for each model and each value of a label; values fills v. */
struct split {
    const char *name, *type, *help, *label;
    const char *text[6]; /* values of the label, NULL at the end */
    void (*values)(const struct model_figures *m, double v[6]);
};

static void pages(const struct model_figures *m, double v[6])
{
    v[0] = m->st.pages_used;
    v[1] = m->st.pages_cached;
    v[2] = m->st.pages_free;
}

static void lookups(const struct model_figures *m, double v[6])
{
    v[0] = (double)m->st.pages_found;
    v[1] = (double)m->st.pages_missed;
}

static void swaps(const struct model_figures *m, double v[6])
{
    v[0] = (double)m->st.pages_swapped_out;
    v[1] = (double)m->st.pages_swapped_in;
}

static void link_bytes(const struct model_figures *m, double v[6])
{
    v[0] = (double)m->st.streamed_bytes;
    v[1] = (double)m->st.swapped_bytes;
}

static const struct split splits[] = {
    {"mas_kv_pages", "gauge", "Pages of the KV cache.", "state", {"used", "cached", "free"}, pages},
    {"mas_prefix_pages_total",
     "counter",
     "Lookups of pages in the prefix cache.",
     "result",
     {"hit", "miss"},
     lookups},
    {"mas_swapped_pages_total",
     "counter",
     "Pages moved to main memory, and back.",
     "direction",
     {"out", "in"},
     swaps},
    {"mas_link_bytes_total",
     "counter",
     "Bytes over the link to the device: streamed weights, and pages.",
     "kind",
     {"streamed", "swapped"},
     link_bytes}};

static void split_metrics(const struct model_figures *all, int n, struct str *out)
{
    for (const struct split *f = splits; f < splits + sizeof splits / sizeof *splits; f++) {
        family(out, f->name, f->type, f->help);
        for (const struct model_figures *m = all; m < all + n; m++) {
            double v[6] = {0};
            f->values(m, v);
            for (int i = 0; f->text[i]; i++)
                add_row(out, m, f->name, f->label, f->text[i], v[i]);
        }
    }
}

/* Memory by GPU; a model without a GPU has no row. */
static void memory_metrics(const struct model_figures *all, int n, struct str *out)
{
    static const char name[] = "mas_device_memory_bytes";
    static const char *const part[5] = {"weights", "kv", "workspace", "ring", "draft"};
    family(out, name, "gauge", "Memory of a GPU that a model takes.");
    for (const struct model_figures *m = all; m < all + n; m++)
        for (int d = 0; d < m->n_gpu; d++)
            for (int i = 0; i < 5; i++) {
                str_addf(out, "%s{model=\"", name);
                add_label(out, m->name);
                str_addf(out, "\",gpu=\"%d\",part=\"%s\"}", m->gpu[d], part[i]);
                add_value(out, m->memory[d][i]);
            }
}

/* ---- energy ---------------------------------------------------------------------------------- */

static void joules_metrics(const struct energy *n, const struct health_now *each, struct str *out)
{
    static const char name[] = "mas_energy_joules_total";
    bool any = !isnan(each[0].cpu_joules);
    for (int i = 0; i < n->n_gpu; i++)
        any |= !isnan(each[i].gpu_joules);
    if (any)
        family(out, name, "counter",
               "Energy of whole GPUs and of the processor's packages since the start.");
    for (int i = 0; i < n->n_gpu; i++)
        if (!isnan(each[i].gpu_joules)) {
            str_addf(out, "%s{device=\"gpu\",gpu=\"%d\"}", name, n->gpu[i].number);
            add_value(out, each[i].gpu_joules);
        }
    if (!isnan(each[0].cpu_joules))
        labelled(out, name, "device", "cpu", each[0].cpu_joules);
}

/* A gauge of all GPUs; one that has no reading has no row. */
static void gauge_metrics(const struct energy *n, const struct health_now *each, int gauge,
                          struct str *out)
{
    char name[64], gpu[16];
    bool any = false;
    snprintf(name, sizeof name, "mas_gpu_%s", health_gauge_key[gauge]);
    for (int i = 0; i < n->n_gpu; i++) {
        if (isnan(each[i].gauge[gauge].now))
            continue;
        if (!any)
            family(out, name, "gauge", "State of a GPU, as its driver reports it.");
        any = true;
        snprintf(gpu, sizeof gpu, "%d", n->gpu[i].number);
        labelled(out, name, "gpu", gpu, each[i].gauge[gauge].now);
    }
}

static void energy_metrics(struct serve *s, struct str *out)
{
    struct health_now each[ENERGY_GPUS];
    if (serve_first(s, NULL) != SERVE_READY || !s->energy.n_gpu)
        return;
    energy_read(&s->energy, each);
    joules_metrics(&s->energy, each, out);
    for (int i = 0; i < HEALTH_COUNT; i++)
        gauge_metrics(&s->energy, each, i, out);
}

void metrics_get(struct call *c)
{
    struct serve *s = c->s;
    struct str out = STR_INIT;
    int n = hub_count(s->hub);
    struct model_figures *m = mem_zalloc((size_t)n, sizeof *m);
    if (!m) {
        call_fail(c, 503, NULL, "out of memory; try again later");
        return;
    }
    for (int i = 0; i < n; i++)
        model_figures(s, i, &m[i]);
    process_metrics(s, &out);
    request_metrics(s, &out);
    model_metrics(m, n, &out);
    split_metrics(m, n, &out);
    memory_metrics(m, n, &out);
    energy_metrics(s, &out);
    mem_free(m);
    call_reply_type(c, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}
