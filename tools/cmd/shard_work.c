#include "shard_work.h"

int shard_work_open(const struct shard_ask *a, const struct clinic_options *k, const char *out,
                    const struct shard_study *s, const atomic_int *stop, struct shard_work *w,
                    struct err *e)
{
    static const char *const without[] = {"--shard", "--out"};
    struct str command = STR_INIT;
    struct shard_study study = *s;
    char what[1100];
    int rc;
    *w = (struct shard_work){.shard = a->shard};
    clinic_words(k, without, sizeof without / sizeof without[0], &command);
    TRY_DONE(str_ok(&command, "a command", e));
    study.shard = a->shard;
    study.command = command.s;
    TRY_DONE(shard_begin(out, &study, w->dir, e));
    TRY_DONE(shard_order(s->data, s->asked, &w->order, e));
    snprintf(what, sizeof what, "shard %d of %d in %s", a->shard.i, a->shard.n, out);
    const struct lease_options lo = {
        .dir = w->dir, .what = what, .wait_s = a->lease_s, .beat_s = a->lease_s / 9, .stop = stop};
    TRY_DONE(lease_take(&lo, &w->lease, e));
    fputs(lease_notes(w->lease), stderr);
done:
    str_free(&command);
    if (rc < 0)
        shard_work_close(w);
    return rc;
}

void shard_work_close(struct shard_work *w)
{
    lease_give(w->lease);
    shard_order_free(&w->order);
    *w = (struct shard_work){.lease = NULL};
}
