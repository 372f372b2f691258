#include "energy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void no_gauges(struct health_now *n)
{
    for (int i = 0; i < HEALTH_COUNT; i++)
        n->gauge[i] = (struct health_value){(double)NAN, (double)NAN, (double)NAN};
}

/* Opens one health object for each bus id; the first one has the processor. */
static int energy_gpus(struct energy *n, const char *pci, const int *gpu, struct err *e)
{
    do {
        char one[32];
        const int len = (int)strcspn(pci, ",");
        if (n->n_gpu == ENERGY_GPUS)
            FAIL(e, ERR_BUG, "energy: more than %d GPUs", ENERGY_GPUS);
        struct energy_gpu *g = &n->gpu[n->n_gpu];
        snprintf(one, sizeof one, "%.*s", len, pci);
        g->number = gpu ? gpu[n->n_gpu] : 0;
        TRY(health_open(&(struct health_options){.pci = one, .gpu_alone = n->n_gpu > 0}, &g->h, e));
        n->n_gpu++;
        pci += len + (pci[len] == ',');
    } while (*pci);
    return 0;
}

/* ---- several GPUs ---------------------------------------------------------------------------- */

static void add_value(struct health_value *to, const struct health_value *v)
{
    to->now += v->now;
    to->lo += v->lo;
    to->hi += v->hi;
}

static bool adds_up(enum health_gauge g)
{
    return g == HEALTH_WATTS || g == HEALTH_VRAM_USED || g == HEALTH_VRAM_TOTAL;
}

/* Names the GPU that is not measured; only its own text says why. */
static void sum_texts(const struct health_now *one, int number, struct health_now *out)
{
    static const char plain[] = "not measured: ";
    const char *why = one->gpu + (strncmp(one->gpu, plain, strlen(plain)) ? 0 : strlen(plain));
    snprintf(out->gpu, HEALTH_TEXT, "%sGPU %d: %.300s", plain, number, why);
    snprintf(out->source, HEALTH_TEXT, "%s", out->gpu);
}

void energy_sum(const struct health_now *each, const int *number, int n, struct health_now *out)
{
    *out = each[0];
    if (n == 1)
        return;
    for (int i = 1; i < n; i++) {
        out->gpu_joules += each[i].gpu_joules;
        out->joules += each[i].gpu_joules;
        out->reasons |= each[i].reasons;
        out->reasons_seen |= each[i].reasons_seen;
        out->has_reasons |= each[i].has_reasons;
        for (int k = 0; k < HEALTH_COUNT; k++)
            if (adds_up((enum health_gauge)k))
                add_value(&out->gauge[k], &each[i].gauge[k]);
            else
                out->gauge[k] = (struct health_value){(double)NAN, (double)NAN, (double)NAN};
    }
    for (int i = n; i-- > 0;)
        if (isnan(each[i].gpu_joules))
            sum_texts(&each[i], number[i], out);
}

void energy_read(const struct energy *n, struct health_now each[ENERGY_GPUS])
{
    for (int i = 0; i < n->n_gpu; i++)
        health_read(n->gpu[i].h, &each[i]);
}

static void energy_read_all(struct energy *n)
{
    struct health_now each[ENERGY_GPUS];
    int number[ENERGY_GPUS];
    energy_read(n, each);
    for (int i = 0; i < n->n_gpu; i++) {
        n->gpu[i].now = each[i];
        number[i] = n->gpu[i].number;
    }
    if (n->n_gpu)
        energy_sum(each, number, n->n_gpu, &n->now);
}

/* ---- life ------------------------------------------------------------------------------------ */

int energy_open(struct energy *n, const char *backend, const char *pci, const int *gpu,
                struct err *e)
{
    memset(n, 0, sizeof *n);
    bool server = !strcmp(backend, "server"), simulated = !strncmp(backend, "sim", 3);
    if (!server && !simulated) {
        const int rc = energy_gpus(n, pci, gpu, e);
        if (rc < 0)
            energy_close(n);
        return rc;
    }
    struct health_now *v = &n->now;
    const char *why = server ? "not measured: the model runs on a server"
                             : "not measured: the device is simulated";
    v->joules = v->gpu_joules = v->cpu_joules = (double)NAN;
    snprintf(v->source, sizeof v->source, "%s", why);
    snprintf(v->gpu, sizeof v->gpu, "%s", why);
    snprintf(v->cpu, sizeof v->cpu, "%s", why);
    no_gauges(v);
    return 0;
}

void energy_close(struct energy *n)
{
    for (int i = n->n_gpu; i-- > 0;)
        health_close(n->gpu[i].h);
    n->n_gpu = 0;
}

double energy_joules(struct energy *n, const char **source)
{
    energy_read_all(n);
    *source = n->now.source;
    return n->now.joules;
}

/* ---- a stretch of work ----------------------------------------------------------------------- */

void energy_begin(struct energy *n)
{
    for (int i = 0; i < n->n_gpu; i++)
        health_begin(n->gpu[i].h);
    energy_read_all(n);
}

void energy_end(struct energy *n, struct energy_span *out)
{
    const struct health_now begin = n->now;
    double before[ENERGY_GPUS];
    for (int i = 0; i < n->n_gpu; i++)
        before[i] = n->gpu[i].now.gpu_joules;
    energy_read_all(n);
    memset(out, 0, sizeof *out);
    out->seconds = n->now.seconds - begin.seconds;
    out->joules = n->now.joules - begin.joules;
    out->gpu_joules = n->now.gpu_joules - begin.gpu_joules;
    out->cpu_joules = n->now.cpu_joules - begin.cpu_joules;
    out->end = n->now;
    out->n_gpu = n->n_gpu > 1 ? n->n_gpu : 0;
    for (int i = 0; i < out->n_gpu; i++)
        out->gpu[i] = (struct energy_share){n->gpu[i].number, n->gpu[i].now.gpu_joules - before[i],
                                            n->gpu[i].now};
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void number(struct str *out, const char *before, const char *key, double v)
{
    str_addf(out, "%s\"%s\": ", before, key);
    str_add_number(out, v, 12);
}

static void text(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

static bool state_known(const struct health_now *n)
{
    bool known = n->has_reasons;
    for (int i = 0; i < HEALTH_COUNT; i++)
        known |= isfinite(n->gauge[i].lo);
    return known;
}

/* The members of a state. */
static void state(const struct health_now *n, struct str *out)
{
    struct str reasons = STR_INIT;
    for (int i = 0; i < HEALTH_COUNT; i++) {
        str_addf(out, "%s\"%s\": {", i ? ", " : "", health_gauge_key[i]);
        number(out, "", "min", n->gauge[i].lo);
        number(out, ", ", "max", n->gauge[i].hi);
        str_addc(out, '}');
    }
    health_reasons(n->reasons_seen, &reasons);
    if (n->has_reasons)
        text(out, "clock_reasons", reasons.s);
    else
        str_adds(out, ", \"clock_reasons\": null");
    str_free(&reasons);
}

static void states(const struct energy_span *s, struct str *out)
{
    bool known = state_known(&s->end);
    for (int i = 0; i < s->n_gpu; i++)
        known |= state_known(&s->gpu[i].end);
    if (!known) {
        str_adds(out, "null");
        return;
    }
    if (!s->n_gpu) {
        str_addc(out, '{');
        state(&s->end, out);
        str_addc(out, '}');
    }
    for (int i = 0; i < s->n_gpu; i++) {
        str_addf(out, "%s{\"gpu\": %d, ", i ? ", " : "[", s->gpu[i].number);
        number(out, "", "joules", s->gpu[i].joules);
        str_adds(out, ", ");
        state(&s->gpu[i].end, out);
        str_adds(out, i + 1 < s->n_gpu ? "}" : "}]");
    }
}

void energy_json(const struct energy_span *s, double tokens, struct str *out)
{
    const struct health_now *n = &s->end;
    number(out, ", \"energy\": {", "joules", s->joules);
    number(out, ", ", "gpu_j", s->gpu_joules);
    number(out, ", ", "cpu_j", s->cpu_joules);
    number(out, ", ", "j_per_token", tokens > 0 ? s->joules / tokens : (double)NAN);
    text(out, "source", n->source);
    text(out, "gpu", n->gpu);
    text(out, "cpu", n->cpu);
    str_adds(out, "}, \"health\": ");
    states(s, out);
}

/* ---- for people ------------------------------------------------------------------------------ */

/* ", SM clock 345 to 1980 MHz" */
static void range(struct str *out, const char *name, const struct health_value *v, const char *unit)
{
    if (!isfinite(v->lo) || !isfinite(v->hi))
        return;
    str_addf(out, ", %s %.0f", name, v->lo);
    if (v->hi - v->lo >= 0.5)
        str_addf(out, " to %.0f", v->hi);
    str_addf(out, " %s", unit);
}

static void state_line(const struct health_now *n, struct str *out)
{
    range(out, "SM clock", &n->gauge[HEALTH_SM_MHZ], "MHz");
    range(out, "memory clock", &n->gauge[HEALTH_MEMORY_MHZ], "MHz");
    range(out, "temperature", &n->gauge[HEALTH_CELSIUS], "C");
    range(out, "power", &n->gauge[HEALTH_WATTS], "W");
    const char *held = health_throttled(n->reasons_seen);
    if (n->has_reasons)
        str_addf(out, ", %s%s", *held ? "throttled: " : "not throttled", held);
}

/* "; GPU 1: 19 J, SM clock .." */
static void share_line(const struct energy_share *g, struct str *out)
{
    struct str line = STR_INIT;
    if (isfinite(g->joules))
        str_addf(&line, ", %.4g J", g->joules);
    state_line(&g->end, &line);
    if (line.len)
        str_addf(out, "; GPU %d: %s", g->number, line.s + 2);
    str_free(&line);
}

void energy_line(const struct energy_span *s, double tokens, struct str *out)
{
    struct str line = STR_INIT;
    if (isfinite(s->joules) && tokens > 0)
        str_addf(&line, ", %.4g J a token", s->joules / tokens);
    if (isfinite(s->joules))
        str_addf(&line, ", %.4g J in %.2f s", s->joules, s->seconds);
    if (isfinite(s->gpu_joules) && isfinite(s->cpu_joules))
        str_addf(&line, " (GPU %.4g, CPU %.4g)", s->gpu_joules, s->cpu_joules);
    else if (isfinite(s->cpu_joules) && !isfinite(s->joules))
        str_addf(&line, ", CPU alone %.4g J in %.2f s", s->cpu_joules, s->seconds);
    if (!s->n_gpu)
        state_line(&s->end, &line);
    for (int i = 0; i < s->n_gpu; i++)
        share_line(&s->gpu[i], &line);
    if (line.len)
        str_adds(out, line.s + 2);
    str_free(&line);
}

void energy_foot(const struct energy_span *s, struct str *out)
{
    struct str line = STR_INIT;
    energy_line(s, 0, &line);
    str_addf(out, "energy: %s\n", s->end.source);
    if (line.len)
        str_addf(out, "  %s\n", line.s);
    str_free(&line);
}
