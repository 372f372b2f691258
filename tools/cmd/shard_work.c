#include "shard_work.h"

int shard_work_open(const struct shard_ask *a, const struct clinic_options *k, const char *out,
                    const struct shard_study *s, const atomic_int *stop, struct shard_work *w,
                    struct err *e)
{
    static const char *const without[] = {"--shard", "--out"};
    struct str command = STR_INIT, said = STR_INIT;
    struct shard_study study = *s;
    char what[1100];
    int rc;
    *w = (struct shard_work){.shard = a->shard};
    clinic_words(k, without, sizeof without / sizeof without[0], &command);
    TRY_DONE(str_ok(&command, "a command", e));
    study.shard = a->shard;
    study.command = command.s;
    if (a->dry)
        TRY_DONE(shard_preview(out, &study, &said, e));
    else
        TRY_DONE(shard_begin(out, &study, w->dir, e));
    TRY_DONE(shard_order(s->data, s->asked, &w->order, e));
    if (a->dry) {
        printf("%s\n", said.s);
        goto done;
    }
    snprintf(what, sizeof what, "shard %d of %d in %s", a->shard.i, a->shard.n, out);
    const struct lease_options lo = {
        .dir = w->dir, .what = what, .wait_s = a->lease_s, .beat_s = a->lease_s / 9, .stop = stop};
    TRY_DONE(lease_take(&lo, &w->lease, e));
    fputs(lease_notes(w->lease), stderr);
done:
    str_free(&command);
    str_free(&said);
    if (rc < 0)
        shard_work_close(w);
    return rc;
}

static size_t shard_work_records(const struct shard_work *w, size_t asked, struct shard_span span)
{
    size_t n = 0;
    for (size_t i = 0; i < asked && i < w->order.n; i++)
        n += w->order.rank[i] >= span.lo && w->order.rank[i] < span.hi;
    return n;
}

void shard_work_show(const struct shard_work *w, const struct medqa *m, size_t asked,
                     const size_t *cells, size_t n, size_t model)
{
    const int of = w->shard.n;
    size_t least = asked, most = 0;
    int with = 0;
    asked = asked < m->n_records ? asked : m->n_records;
    for (int i = 1; i <= of; i++) {
        const struct shard s = {.i = i, .n = of};
        const size_t k =
            shard_work_records(w, asked, shard_share(s, cells, n, model, w->order.units));
        with += k > 0;
        least = k && k < least ? k : least;
        most = k > most ? k : most;
    }
    if (n > 1)
        printf("model %zu of %zu, %zu cells: ", model + 1, n, cells[model]);
    const struct shard_span own = shard_share(w->shard, cells, n, model, w->order.units);
    printf("%zu records over %d of %d tasks, %zu to %zu each; task %d has %zu\n", asked, with, of,
           least, most, w->shard.i, shard_work_records(w, asked, own));
}

void shard_work_close(struct shard_work *w)
{
    lease_give(w->lease);
    shard_order_free(&w->order);
    *w = (struct shard_work){.lease = NULL};
}
