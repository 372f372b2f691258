/* plan_search: looks for the plan with parts in several places that is fastest. */
#include "plan_try.h"

#include <inttypes.h>

/* One device: tries CPU parts and rings. */
static int search_cuts(struct search *s, const struct plan_aim *aim, struct err *e)
{
    const struct plan_input *in = s->in;
    struct plan_cut cut = {.n = {in->n_layer}};
    int least = in->n_host >= 0 ? in->n_host : 0, most = least;
    if (in->n_host < 0 && aim->mode == PLAN_LATENCY && in->rates.host > 0)
        most = in->n_layer;
    for (cut.n_host[0] = least; cut.n_host[0] <= most; cut.n_host[0]++)
        for (cut.depth = RING_FEWEST; cut.depth <= RING_MOST; cut.depth++) {
            TRY(plan_try_cut(s, aim, &cut, e));
            if (s->last >= 0 && !s->try.ring_bytes)
                break; /* any depth is the same */
        }
    return 0;
}

/* Tries all candidates that keep KV for n_kv contexts, or the requested bytes. */
static int search_kv(struct search *s, enum plan_mode mode, int n_kv, struct err *e)
{
    uint64_t one, want;
    TRY(plan_kv_need(s->in, &one, &want, e));
    const struct plan_aim aim = {mode, s->in->kv_bytes ? want : one * (uint64_t)n_kv, want};
    return s->n_dev > 1 ? plan_runs(s, &aim, e) : search_cuts(s, &aim, e);
}

enum { SCAN = 8 }; /* sizes of pools that are tried one by one */

/* Throughput: finds the pool with most tokens a second. First it goes down from all requested
 * contexts to one in steps of an eighth. Then it searches between the best and the next larger
 * one, by halves and at the end one by one. */
static int search_pools(struct search *s, struct err *e)
{
    int n = s->in->n_seq, before = n + 1, low = 0, high = 0;
    for (; n >= 1; before = n, n = n > 8 ? n - n / 8 : n - 1) {
        double score = s->score;
        TRY(search_kv(s, PLAN_THROUGHPUT, n, e));
        if (s->in->kv_bytes)
            return 0; /* the size of the pool is given */
        if (s->score != score) {
            low = n;
            high = before;
        }
    }
    while (high - low > SCAN) {
        double score = s->score;
        int mid = low + (high - low) / 2;
        TRY(search_kv(s, PLAN_THROUGHPUT, mid, e));
        if (s->score != score)
            low = mid;
        else
            high = mid;
    }
    for (int k = low + 1; k < high; k++) /* the rate is not monotonic: parts differ in size */
        TRY(search_kv(s, PLAN_THROUGHPUT, k, e));
    return 0;
}

/* Keeps in a the faster of two plans for n_seq sequences; at equal speed a stays. */
static void keep_faster(struct search *a, const struct search *b)
{
    if (b->score < 0)
        return;
    double slow = a->best.all.step_s / (double)(a->best.n_seq ? a->best.n_seq : 1);
    double other = b->best.all.step_s / (double)(b->best.n_seq ? b->best.n_seq : 1);
    if (a->score < 0 || other < slow * (1 - 1e-9)) {
        plan_copy(&a->best, &b->best);
        a->score = b->score;
    }
}

/* No plan fits: the error says the least memory that is needed. */
static int plan_hopeless(struct search *s, struct err *e)
{
    const struct plan_input *in = s->in;
    struct plan_cut cut = {.n = {in->n_layer}};
    uint64_t one, want, need;
    TRY(plan_kv_need(in, &one, &want, e));
    uint64_t ring = plan_try_stream_all(s, &cut, 0), kv = in->kv_bytes ? want : one,
             workspace = s->dev[0].workspace_bytes, room = 0;
    for (int d = 0; d < s->n_dev; d++)
        room += s->dev[d].vram_bytes - s->dev[d].vram_bytes / VRAM_SLACK;
    const char *where = s->n_dev > 1 ? "all devices together" : "the device";
    if (!plan_add(kv, workspace, 1, &need) || !plan_add(need, ring, RING_FEWEST, &need))
        FAIL(e, ERR_USAGE, "cannot plan: the sum of KV cache, workspace and ring overflows");
    if (need > room)
        FAIL(e, ERR_USAGE,
             "cannot place the model: needs at least %" PRIu64
             " MiB with all weights streamed (KV cache %" PRIu64 " MiB, workspace %" PRIu64
             " MiB, ring %" PRIu64 " MiB), %" PRIu64
             " MiB available on %s; lower --ctx, --batch-tokens or --kv-type q8_0, raise "
             "--vram where it is "
             "set, or choose --backend cpu",
             (need >> 20) + 1, kv >> 20, workspace >> 20, ring * RING_FEWEST >> 20, room >> 20,
             where);
    FAIL(e, ERR_USAGE,
         "cannot place the model: %" PRIu64 " MiB of weights, %" PRIu64
         " MiB of memory on %s and %" PRIu64
         " MiB on the host are available; raise --ram or --vram if they are set, or lower --ctx",
         s->dev[0].link > 0 ? s->try.share[0].stream_bytes >> 20 : s->try.weight_bytes >> 20,
         room >> 20, where, in->ram_bytes >> 20);
}

/* Several devices: improves the best candidate of a mode. */
static int search_finish(struct search *s, enum plan_mode mode, struct err *e)
{
    uint64_t one, want;
    if (s->n_dev < 2 || s->score < 0)
        return 0;
    TRY(plan_kv_need(s->in, &one, &want, e));
    uint64_t kv = s->in->kv_bytes ? want : one * (uint64_t)s->best.n_seq;
    const struct plan_aim aim = {mode, mode == PLAN_LATENCY && !s->in->kv_bytes ? one : kv, want};
    TRY(plan_runs_polish(s, &aim, e));
    return plan_runs_micro(s, &s->best, e);
}

int plan_search(const struct plan_input *in, struct plan *p, const struct plan *whole,
                struct err *e)
{
    struct search fast = {.part = NULL}, wide = {.part = NULL};
    int rc;
    TRY_DONE(plan_try_open(&fast, in, p, e));
    TRY_DONE(plan_try_open(&wide, in, p, e));
    if (in->mode != PLAN_LATENCY)
        TRY_DONE(search_pools(&wide, e));
    TRY_DONE(search_finish(&wide, PLAN_THROUGHPUT, e));
    if (in->mode != PLAN_THROUGHPUT && !whole)
        TRY_DONE(search_kv(&fast, PLAN_LATENCY, 1, e));
    TRY_DONE(search_finish(&fast, PLAN_LATENCY, e));
    if (whole) {
        plan_copy(&fast.best, whole);
        fast.score = 0;
    }
    keep_faster(&wide, &fast);
    if (wide.score < 0)
        TRY_DONE(plan_hopeless(&wide, e));
    plan_copy(p, &wide.best);
done:
    plan_try_close(&fast);
    plan_try_close(&wide);
    return rc;
}

int plan_predict(const struct plan_input *in, struct plan *p, struct err *e)
{
    struct search s;
    int rc;
    if (p->split == PLAN_ROWS)
        return plan_rows_predict(in, p, e);
    TRY_DONE(plan_try_open(&s, in, p, e));
    TRY_DONE(plan_try_step(&s, p, 1, 1, &p->one, e));
    TRY_DONE(plan_try_step(&s, p, p->n_seq > 0 ? p->n_seq : 1, p->n_micro, &p->all, e));
done:
    plan_try_close(&s);
    return rc;
}
