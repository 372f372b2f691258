#include "energy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Opens one health object for each bus id. */
static int energy_gpus(struct energy *n, const char *pci, struct err *e)
{
    for (bool first = true; first || *pci; first = false) {
        char one[32];
        const int len = (int)strcspn(pci, ",");
        struct health **h = first ? &n->h : &n->more[n->n_more];
        if (n->n_more == ENERGY_GPUS - 1)
            FAIL(e, ERR_BUG, "energy: more than %d GPUs", ENERGY_GPUS);
        snprintf(one, sizeof one, "%.*s", len, pci);
        TRY(health_open(&(struct health_options){.pci = one}, h, e));
        n->n_more += !first;
        pci += len + (pci[len] == ',');
    }
    return 0;
}

/* Reads the first GPU and the processor, and adds the joules of the other GPUs. */
static void energy_read(struct energy *n)
{
    struct health_now one;
    health_read(n->h, &n->now);
    for (int i = 0; i < n->n_more; i++) {
        health_read(n->more[i], &one);
        n->now.gpu_joules += one.gpu_joules;
        n->now.joules += one.gpu_joules;
    }
}

int energy_open(struct energy *n, const char *backend, const char *pci, struct err *e)
{
    *n = (struct energy){.h = NULL};
    bool server = !strcmp(backend, "server"), simulated = !strncmp(backend, "sim", 3);
    if (!server && !simulated) {
        const int rc = energy_gpus(n, pci, e);
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
    for (int i = 0; i < HEALTH_COUNT; i++)
        v->gauge[i] = (struct health_value){(double)NAN, (double)NAN, (double)NAN};
    return 0;
}

void energy_close(struct energy *n)
{
    for (int i = 0; i < n->n_more; i++)
        health_close(n->more[i]);
    health_close(n->h);
    n->n_more = 0;
    n->h = NULL;
}

double energy_joules(struct energy *n, const char **source)
{
    if (n->h)
        energy_read(n);
    *source = n->now.source;
    return n->now.joules;
}

/* ---- a stretch of work ----------------------------------------------------------------------- */

void energy_begin(struct energy *n)
{
    if (!n->h)
        return;
    health_begin(n->h);
    energy_read(n);
}

void energy_end(struct energy *n, struct energy_span *out)
{
    struct health_now begin = n->now;
    if (n->h)
        energy_read(n);
    *out = (struct energy_span){.seconds = n->now.seconds - begin.seconds,
                                .joules = n->now.joules - begin.joules,
                                .gpu_joules = n->now.gpu_joules - begin.gpu_joules,
                                .cpu_joules = n->now.cpu_joules - begin.cpu_joules,
                                .end = n->now};
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void number(struct str *out, const char *before, const char *key, double v)
{
    if (isfinite(v))
        str_addf(out, "%s\"%s\": %.12g", before, key, v);
    else
        str_addf(out, "%s\"%s\": null", before, key);
}

static void text(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

static void state(const struct health_now *n, struct str *out)
{
    struct str reasons = STR_INIT;
    bool known = n->has_reasons;
    for (int i = 0; i < HEALTH_COUNT; i++)
        known |= isfinite(n->gauge[i].lo);
    if (!known) {
        str_adds(out, "null");
        return;
    }
    for (int i = 0; i < HEALTH_COUNT; i++) {
        str_addf(out, "%s\"%s\": {", i ? ", " : "{", health_gauge_key[i]);
        number(out, "", "min", n->gauge[i].lo);
        number(out, ", ", "max", n->gauge[i].hi);
        str_addc(out, '}');
    }
    health_reasons(n->reasons_seen, &reasons);
    if (n->has_reasons)
        text(out, "clock_reasons", reasons.s);
    else
        str_adds(out, ", \"clock_reasons\": null");
    str_addc(out, '}');
    str_free(&reasons);
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
    state(n, out);
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

void energy_line(const struct energy_span *s, double tokens, struct str *out)
{
    const struct health_now *n = &s->end;
    struct str line = STR_INIT;
    if (isfinite(s->joules) && tokens > 0)
        str_addf(&line, ", %.4g J a token", s->joules / tokens);
    if (isfinite(s->joules))
        str_addf(&line, ", %.4g J in %.2f s", s->joules, s->seconds);
    if (isfinite(s->gpu_joules) && isfinite(s->cpu_joules))
        str_addf(&line, " (GPU %.4g, CPU %.4g)", s->gpu_joules, s->cpu_joules);
    else if (isfinite(s->cpu_joules) && !isfinite(s->joules))
        str_addf(&line, ", CPU alone %.4g J in %.2f s", s->cpu_joules, s->seconds);
    range(&line, "SM clock", &n->gauge[HEALTH_SM_MHZ], "MHz");
    range(&line, "memory clock", &n->gauge[HEALTH_MEMORY_MHZ], "MHz");
    range(&line, "temperature", &n->gauge[HEALTH_CELSIUS], "C");
    range(&line, "power", &n->gauge[HEALTH_WATTS], "W");
    const char *held = health_throttled(n->reasons_seen);
    if (n->has_reasons)
        str_addf(&line, ", %s%s", *held ? "throttled: " : "not throttled", held);
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
