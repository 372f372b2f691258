#include "fit_simulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"
#include "synth.h"
#include "timeline.h"

static void describe(const struct scene *s, const struct simulated *r, const char *model,
                     struct timeline *t)
{
    const struct plan *p = &r->plan;
    int cpu = 0, streamed = 0;
    for (int l = 0; l < p->n_layer; l++) {
        cpu += p->ffn[l] == PLAN_HOST;
        streamed += (p->ffn[l] == PLAN_STREAM) + (p->attn[l] == PLAN_STREAM);
    }
    *t = (struct timeline){
        .run = r, .seconds = s->run.n_step * r->step_s, .step = s->draft ? 0 : r->step_s};
    snprintf(t->title, sizeof t->title, "%s, %s%s%s: %.4g tok/s for %d sequence%s (predicted %.4g)",
             model, plan_is_resident(p) ? "all resident" : plan_mode_name(p->mode),
             s->draft ? ", draft " : "", s->draft ? s->draft : "", r->rate, r->n_run,
             r->n_run == 1 ? "" : "s", s->predicted);
    snprintf(
        t->note, sizeof t->note,
        "simulated, %s; %.1f GB of weights resident, %d parts streamed (%.1f GB), %d layers' ffn "
        "on the CPU; sequences of %d tokens",
        s->machine, (double)p->vram_weight_bytes * 1e-9, streamed, (double)p->stream_bytes * 1e-9,
        cpu, r->kv_len);
}

static void report_add(struct str *report, const struct scene *s, const struct simulated *r)
{
    const struct plan *p = &r->plan;
    str_addf(report, "  %-11s %5d %10.2f %10.2f %9.1f %% %9.1f %% %9.1f %%\n",
             s->draft              ? "with draft"
             : plan_is_resident(p) ? "resident"
                                   : plan_mode_name(p->mode),
             r->n_run, r->rate, s->predicted, 100 * r->busy[SIM_DEVICE], 100 * r->busy[SIM_UP],
             100 * r->busy[SIM_CPU]);
    if (s->draft)
        str_addf(report, "  %.2f tokens a pass\n", r->per_pass);
}

static int draw(struct scene *s, int n, const char *name, const char *path, struct simulated *r,
                struct str *report, struct err *e)
{
    struct timeline t[SCENES];
    struct str svg = STR_INIT;
    str_addf(report, "\nsimulated steps, drawn in %s\n  %-11s %5s %10s %10s %11s %11s %11s\n", path,
             "", "seqs", "tok/s", "predicted", "card busy", "link busy", "CPU busy");
    for (int i = 0; i < n; i++) {
        TRY(simulate_run(&s[i].run, &r[i], e));
        describe(&s[i], &r[i], name, &t[i]);
        report_add(report, &s[i], &r[i]);
    }
    timeline_svg(t, n, &svg);
    int rc = str_ok(&svg, "a picture", e);
    if (rc == 0)
        rc = output_file(path, &svg, e);
    str_free(&svg);
    return rc;
}

/* A file that is removed again. */
static int make_model(const char *shape, enum mixture mix, char path[], size_t cap, struct err *e)
{
    const char *dir = getenv("TMPDIR");
    if (snprintf(path, cap, "%s/mas-fit-XXXXXX", dir && *dir ? dir : P_tmpdir) >= (int)cap)
        FAIL(e, ERR_USAGE, "TMPDIR has %zu characters: must be shorter than %zu", strlen(dir),
             cap - 16);
    int fd = mkstemp(path);
    if (fd < 0)
        FAIL(e, ERR_CREATE,
             "cannot create %s: the simulation needs room for a file of a few MiB there", path);
    close(fd);
    return synth_hollow(shape, mix, path, e);
}

int fit_simulate(struct scene *s, int n, const char *model, const char *shape, enum mixture mix,
                 const char *path, struct str *report, struct err *e)
{
    struct simulated r[SCENES] = {{0}};
    char made[512] = "", made_draft[512] = "", name[96];
    int rc = 0;
    if (model)
        snprintf(name, sizeof name, "%s", strrchr(model, '/') ? strrchr(model, '/') + 1 : model);
    else
        snprintf(name, sizeof name, "%s %s", shape, mixture_name(mix));
    if (!model)
        TRY_DONE(make_model(shape, mix, made, sizeof made, e));
    for (int i = 0; i < n; i++) {
        s[i].run.model = model ? model : made;
        if (s[i].draft && s[i].draft_is_shape)
            TRY_DONE(make_model(s[i].draft, mix, made_draft, sizeof made_draft, e));
        if (s[i].draft)
            s[i].run.draft_model = s[i].draft_is_shape ? made_draft : s[i].draft;
    }
    rc = draw(s, n, name, path, r, report, e);
done:
    for (int i = 0; i < n; i++)
        simulated_free(&r[i]);
    if (*made)
        unlink(made);
    if (*made_draft)
        unlink(made_draft);
    return rc;
}
