#include "plan.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "mem.h"

#define PINNED_PIECE ((uint64_t)4 << 20) /* of a ring on the host, as in stage.h */
#define PINNED_RING ((uint64_t)1 << 30)  /* hides pauses of the disk of a few tenths of a second */
/* depth of the ring on the device, in largest streamed parts */
enum { RING_FEWEST = 2, RING_MOST = 4 };
/* operations of a device in the time of one byte on its link; assumed: 500e12 / 25e9 */
#define SWAP_OPS_PER_BYTE 20000.0
#define SWAP_MOST ((uint64_t)4 << 30) /* by default: pinning takes time, and memory from others */
enum { SWAP_RAM_SHARE = 4 };          /* the swap takes at most 1/4 of the host's memory */
/* 1/128 of the memory stays free when it is filled part by part */
enum { VRAM_SLACK = 128 };

/* a + b * c, false on overflow */
static bool add_product(uint64_t a, uint64_t b, uint64_t c, uint64_t *out)
{
    uint64_t p;
    return !__builtin_mul_overflow(b, c, &p) && !__builtin_add_overflow(a, p, out);
}

static int plan_check(const struct plan_input *in, struct err *e)
{
    if (in->on_device && in->weights_mapped)
        FAIL(e, ERR_BUG, "plan_make: weights on a device cannot be mapped");
    if (in->n_layer < 0 || in->n_ctx < 1 || in->n_seq < 1 || in->kv_bytes_per_token < 1)
        FAIL(e, ERR_BUG, "plan_make: %d layers, %d tokens, %d sequences, %" PRIu64 " bytes a token",
             in->n_layer, in->n_ctx, in->n_seq, in->kv_bytes_per_token);
    if (in->tied_bytes > in->embed_bytes || in->tied_bytes > in->output_bytes)
        FAIL(e, ERR_BUG, "plan_make: more tied bytes than embed or output has");
    if (in->n_device > 1)
        FAIL(e, ERR_USAGE, "cannot plan for %d devices; choose one with --device", in->n_device);
    if ((unsigned)in->mode >= PLAN_MODE_COUNT || (unsigned)in->swap >= PLAN_SWAP_COUNT)
        FAIL(e, ERR_BUG, "plan_make: mode %d, swap %d", (int)in->mode, (int)in->swap);
    if (in->on_device && in->n_host > in->n_layer)
        FAIL(e, ERR_USAGE,
             "%d layers on the CPU were asked for, the model has %d; lower --cpu-layers",
             in->n_host, in->n_layer);
    return 0;
}

static int plan_weights(const struct plan_input *in, struct plan *p, struct err *e)
{
    uint64_t sum;
    bool ok = add_product(in->embed_bytes, in->output_bytes - in->tied_bytes, 1, &sum);
    for (int i = 0; i < in->n_layer; i++)
        ok = ok && add_product(sum, in->attn_bytes[i], 1, &sum) &&
             add_product(sum, in->ffn_bytes[i], 1, &sum);
    uint64_t whole;
    if (!ok || !add_product(sum, in->workspace_bytes, 1, &whole))
        FAIL(e, ERR_USAGE, "cannot plan: the sum of weights and workspace overflows");
    p->weight_bytes = sum;
    return 0;
}

/* ---- the KV pool ----------------------------------------------------------------------------- */

/* *one: bytes of KV for one context; *want: the requested bytes. */
static int plan_kv_need(const struct plan_input *in, uint64_t *one, uint64_t *want, struct err *e)
{
    uint64_t all;
    if (!add_product(0, in->kv_bytes_per_token, (uint64_t)in->n_ctx, one) ||
        !add_product(0, *one, (uint64_t)in->n_seq, &all))
        FAIL(e, ERR_USAGE,
             "cannot plan: the size of %d sequences of %d tokens overflows; lower --ctx or "
             "--sequences",
             in->n_seq, in->n_ctx);
    *want = in->kv_bytes ? in->kv_bytes : all;
    if (*want < *one)
        FAIL(e, ERR_USAGE,
             "cannot place the KV cache: one sequence of %d tokens needs %" PRIu64
             " bytes, %" PRIu64
             " were asked for; raise --kv-bytes, or lower --ctx or --kv-type q8_0",
             in->n_ctx, *one, *want);
    return 0;
}

static void plan_kv_set(const struct plan_input *in, struct plan *p, uint64_t bytes)
{
    uint64_t tokens = bytes / in->kv_bytes_per_token;
    p->kv_tokens = (int64_t)(tokens > INT64_MAX ? INT64_MAX : tokens);
    p->kv_bytes = (uint64_t)p->kv_tokens * in->kv_bytes_per_token;
    int64_t n = p->kv_tokens / in->n_ctx;
    p->n_seq = n < in->n_seq ? (int)n : in->n_seq;
}

/* Most bytes of the pool by default, when all weights lie beside it. On the host: half of the
 * memory, because others use it too. On a device: the memory left by the rest of the model, less a
 * share that the driver takes later. */
static uint64_t plan_kv_most(const struct plan_input *in, const struct plan *p)
{
    if (!in->on_device)
        return in->ram_bytes / 2;
    uint64_t rest = p->weight_bytes + in->workspace_bytes;
    uint64_t left = in->vram_bytes > rest ? in->vram_bytes - rest : 0;
    return left - left / 16;
}

/* ---- all in one place ------------------------------------------------------------------------ */

/* True when a copy of the weights fits beside everything else and a sixteenth is left to others. */
static bool plan_pack_fits(const struct plan_input *in, const struct plan *p)
{
    uint64_t total;
    return add_product(p->kv_bytes, in->workspace_bytes, 1, &total) &&
           add_product(total, p->weight_bytes, 1, &total) &&
           total <= in->ram_bytes - in->ram_bytes / 16;
}

/* All parts where the backend computes; *total = bytes that the program allocates. ERR_USAGE on
 * overflow. */
static int plan_whole(const struct plan_input *in, struct plan *p, uint64_t *total, struct err *e)
{
    uint64_t one, want, budget = in->on_device ? in->vram_bytes : in->ram_bytes;
    TRY(plan_kv_need(in, &one, &want, e));
    uint64_t most = plan_kv_most(in, p);
    if (in->kv_bytes == 0 && budget && want > most)
        want = most > one ? most : one;
    plan_kv_set(in, p, want);
    if (in->weights_packed && plan_pack_fits(in, p))
        p->weights_mapped = false;
    if (!add_product(p->kv_bytes, in->workspace_bytes, 1, total) ||
        (!p->weights_mapped && !add_product(*total, p->weight_bytes, 1, total)))
        FAIL(e, ERR_USAGE, "cannot plan: the sum of weights, KV cache and workspace overflows");
    enum plan_place place = in->on_device ? PLAN_VRAM : PLAN_HOST;
    p->embed = p->output = place;
    for (int i = 0; i < in->n_layer; i++)
        p->attn[i] = p->ffn[i] = place;
    p->n_resident = in->on_device ? 2 * in->n_layer + 2 : 0;
    p->total_bytes = *total;
    p->vram_weight_bytes = in->on_device ? p->weight_bytes : 0;
    p->host_bytes = p->weight_bytes - p->vram_weight_bytes;
    return 0;
}

static int plan_too_big(const struct plan_input *in, const struct plan *p, uint64_t total,
                        struct err *e)
{
    uint64_t budget = in->on_device ? in->vram_bytes : in->ram_bytes;
    FAIL(e, ERR_USAGE,
         "cannot place the model: needs %" PRIu64 " MiB (%sKV cache %" PRIu64
         " MiB, workspace %" PRIu64 " MiB), %" PRIu64
         " MiB available%s; lower --ctx, --sequences or --kv-type q8_0%s",
         (total >> 20) + 1, p->weights_mapped ? "" : "weights copied, ", p->kv_bytes >> 20,
         in->workspace_bytes >> 20, budget >> 20, in->on_device ? " on the device" : "",
         in->on_device ? ", raise --vram where it is set, or choose --backend cpu" : "");
}

/* ---- some here, some there ------------------------------------------------------------------- */

/* A plan being made: `try` holds each candidate in turn, `best` the best so far. */
struct search {
    const struct plan_input *in;
    struct cost_part *part; /* (2 n_layer + 2) */
    struct plan try, best;
    uint64_t largest; /* streamed part of `try` */
    double score;     /* of best: seconds a token; < 0 = none yet */
};

/* True when l is among k of n numbers that are spread evenly. */
static bool spread(int l, int k, int n)
{
    return (int64_t)(l + 1) * k / n > (int64_t)l * k / n;
}

/* Gives the parts their places, in the order output, attn, ffn, embed. The first n_resident parts
 * go to VRAM, n_host of the other ffn parts to the host. */
static void lay_out(struct plan *p, const struct plan_input *in, int n_resident, int n_host)
{
    int n = in->n_layer, left = n_resident > 0 ? n_resident - 1 : 0, other = 0;
    int n_attn = left < n ? left : n, n_ffn = left - n_attn;
    bool all = n_ffn > n;
    if (n_ffn > n - n_host)
        n_ffn = n - n_host;
    p->output = n_resident > 0 ? PLAN_VRAM : PLAN_STREAM;
    p->embed = all || (in->tied_bytes && n_resident > 0) ? PLAN_VRAM : PLAN_HOST;
    for (int l = 0; l < n; l++) {
        p->attn[l] = spread(l, n_attn, n) ? PLAN_VRAM : PLAN_STREAM;
        if (spread(l, n_ffn, n))
            p->ffn[l] = PLAN_VRAM;
        else
            p->ffn[l] = spread(other++, n_host, n - n_ffn) ? PLAN_HOST : PLAN_STREAM;
    }
    p->n_resident = n_resident;
}

static void add_up(struct search *s, enum plan_place place, uint64_t bytes)
{
    struct plan *p = &s->try;
    if (place == PLAN_VRAM)
        p->vram_weight_bytes += bytes;
    else if (place == PLAN_HOST)
        p->host_bytes += bytes;
    else {
        p->stream_bytes += bytes;
        if (bytes > s->largest)
            s->largest = bytes;
    }
}

static void weigh(struct search *s)
{
    const struct plan_input *in = s->in;
    struct plan *p = &s->try;
    p->vram_weight_bytes = p->host_bytes = p->stream_bytes = s->largest = 0;
    add_up(s, p->output, in->output_bytes);
    add_up(s, p->embed, in->embed_bytes - (p->embed == PLAN_VRAM ? in->tied_bytes : 0));
    for (int l = 0; l < in->n_layer; l++) {
        add_up(s, p->attn[l], in->attn_bytes[l]);
        add_up(s, p->ffn[l], in->ffn_bytes[l]);
    }
}

/* Sets pinned memory and page cache of the host; false when parts computed there do not fit. */
static bool fits_host(struct plan *p, const struct plan_input *in)
{
    uint64_t whole;
    if (!add_product(p->stream_bytes, p->host_bytes, 1, &whole))
        return false;
    p->keep_pinned = p->stream_bytes && (!in->ram_bytes || whole <= in->ram_bytes);
    if (p->keep_pinned || !p->stream_bytes) {
        p->pinned_bytes = p->stream_bytes;
        return !in->ram_bytes || whole <= in->ram_bytes;
    }
    uint64_t most = in->ram_bytes / 2 < PINNED_RING ? in->ram_bytes / 2 : PINNED_RING;
    p->pinned_bytes = most - most % PINNED_PIECE;
    uint64_t computed = p->embed == PLAN_HOST ? p->host_bytes - in->embed_bytes : p->host_bytes;
    return p->pinned_bytes >= 2 * PINNED_PIECE &&
           (!computed || computed + p->pinned_bytes <= in->ram_bytes);
}

static int step_of(struct search *s, const struct plan *p, int n_seq, struct cost *out,
                   struct err *e)
{
    const struct plan_input *in = s->in;
    int n = 0;
    struct plan_rates rates = in->rates;
    if (!in->on_device) { /* the host computes every part */
        rates.vram =
            rates.host_row > 0 && rates.host_row < rates.host ? rates.host_row : rates.host;
        rates.device_ops = rates.host_ops;
    }
    if (!(rates.vram > 0))
        return 0;
    s->part[n++] = (struct cost_part){PART_EMBED, 0, p->embed, in->embed_bytes, 0};
    for (int l = 0; l < in->n_layer; l++) {
        s->part[n++] = (struct cost_part){PART_ATTN, l, p->attn[l], in->attn_bytes[l], 0};
        s->part[n++] = (struct cost_part){PART_FFN, l, p->ffn[l], in->ffn_bytes[l], 0};
    }
    s->part[n++] = (struct cost_part){PART_OUTPUT, 0, p->output, in->output_bytes, 0};
    for (int i = 0; !in->on_device && i < n; i++)
        s->part[i].place = PLAN_VRAM;
    struct cost_model m = {.part = s->part,
                           .n_part = n,
                           .rates = rates,
                           .from_disk = p->stream_bytes && !p->keep_pinned,
                           .ring_bytes = p->ring_bytes,
                           .kv_bytes_per_token = in->kv_bytes_per_token,
                           .n_layer = in->n_layer ? in->n_layer : 1,
                           .n_windowed = in->n_windowed,
                           .window = in->window,
                           .row_bytes = in->row_bytes,
                           .ops_per_byte = in->ops_per_byte,
                           .attn_more = in->attn_more};
    struct cost_load load = {n_seq, n_seq, in->kv_len ? in->kv_len : (in->n_ctx + 1) / 2};
    return cost_step(&m, &load, out, e);
}

static void copy_places(struct plan *to, const struct plan *from)
{
    enum plan_place *attn = to->attn, *ffn = to->ffn;
    size_t bytes = (size_t)from->n_layer * sizeof *attn;
    memcpy(attn, from->attn, bytes);
    memcpy(ffn, from->ffn, bytes);
    *to = *from;
    to->attn = attn;
    to->ffn = ffn;
}

/* Puts the most parts into VRAM that fit `room` bytes beside a ring of `depth` largest parts; the
 * result is in try. */
static bool fill(struct search *s, int n_host, int depth, uint64_t room)
{
    const struct plan_input *in = s->in;
    int most = 2 * in->n_layer + 2 - n_host;
    for (int r = most; r >= 0; r--) {
        lay_out(&s->try, in, r, n_host);
        weigh(s);
        if (s->try.stream_bytes && in->rates.link <= 0)
            return false;
        s->try.ring_bytes = 0;
        if (s->try.stream_bytes && !add_product(0, (s->largest + 255) & ~(uint64_t)255,
                                                (uint64_t)depth, &s->try.ring_bytes))
            return false;
        uint64_t need;
        if (!add_product(s->try.ring_bytes, s->try.vram_weight_bytes, 1, &need))
            return false;
        if (need <= room)
            return fits_host(&s->try, in);
    }
    return false;
}

/* Scores try by the seconds a token of the sequences that the mode serves. */
static int consider(struct search *s, enum plan_mode mode, uint64_t want, uint64_t room,
                    struct err *e)
{
    struct plan *p = &s->try;
    uint64_t spare = room - p->ring_bytes - p->vram_weight_bytes;
    uint64_t kv = p->kv_bytes;
    if (!s->in->kv_bytes) /* KV takes the room that fits no further part */
        kv = want - kv < spare ? want : kv + spare;
    plan_kv_set(s->in, p, kv);
    p->mode = mode;
    TRY(step_of(s, p, 1, &p->one, e));
    TRY(step_of(s, p, p->n_seq, &p->all, e));
    double score = mode == PLAN_LATENCY ? p->one.step_s : p->all.step_s / (double)p->n_seq;
    if (s->score < 0 || score < s->score * (1 - 1e-9)) {
        s->score = score;
        p->total_bytes =
            p->kv_bytes + s->in->workspace_bytes + p->ring_bytes + p->vram_weight_bytes;
        copy_places(&s->best, p);
    }
    return 0;
}

/* Tries all candidates that keep KV for n_kv contexts, or the requested bytes. */
static int search_kv(struct search *s, enum plan_mode mode, int n_kv, struct err *e)
{
    const struct plan_input *in = s->in;
    uint64_t one, want, kv, room = in->vram_bytes - in->vram_bytes / VRAM_SLACK;
    TRY(plan_kv_need(in, &one, &want, e));
    kv = in->kv_bytes ? want : one * (uint64_t)n_kv;
    if (room < in->workspace_bytes || room - in->workspace_bytes < kv)
        return 0;
    room -= in->workspace_bytes + kv;
    int least = in->n_host >= 0 ? in->n_host : 0, most = least;
    if (in->n_host < 0 && mode == PLAN_LATENCY && in->rates.host > 0)
        most = in->n_layer;
    for (int h = least; h <= most; h++)
        for (int depth = RING_FEWEST; depth <= RING_MOST; depth++) {
            if (!fill(s, h, depth, room))
                continue;
            plan_kv_set(in, &s->try, kv);
            TRY(consider(s, mode, want, room, e));
            if (!s->try.ring_bytes)
                break; /* any depth is the same */
        }
    return 0;
}

/* Throughput: finds the pool with most tokens a second. First it goes down from all requested
 * contexts to one in steps of an eighth. Then it searches between the best and the next larger
 * one. */
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
    while (high - low > 1) {
        double score = s->score;
        int mid = low + (high - low) / 2;
        TRY(search_kv(s, PLAN_THROUGHPUT, mid, e));
        if (s->score != score)
            low = mid;
        else
            high = mid;
    }
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
        copy_places(&a->best, &b->best);
        a->score = b->score;
    }
}

static int search_open(struct search *s, const struct plan_input *in, const struct plan *like,
                       struct err *e)
{
    size_t n = (size_t)in->n_layer;
    *s = (struct search){.in = in, .score = -1};
    s->part = mem_zalloc(2 * n + 2, sizeof *s->part);
    enum plan_place *try = mem_zalloc(2 * n + 1, sizeof *try),
                    *best = mem_zalloc(2 * n + 1, sizeof *best);
    s->try = s->best = *like;
    s->try.attn = try, s->try.ffn = try ? try + n : NULL;
    s->best.attn = best, s->best.ffn = best ? best + n : NULL;
    return s->part && try && best ? 0 : NOMEM(e, (2 * n + 2) * sizeof *s->part, "a plan");
}

static void search_close(struct search *s)
{
    mem_free(s->part);
    mem_free(s->try.attn);
    mem_free(s->best.attn);
}

/* No plan fits: the error says the least memory that is needed. */
static int plan_hopeless(struct search *s, struct err *e)
{
    const struct plan_input *in = s->in;
    uint64_t one, want, need;
    TRY(plan_kv_need(in, &one, &want, e));
    lay_out(&s->try, in, 0, 0);
    weigh(s);
    uint64_t ring = s->largest, kv = in->kv_bytes ? want : one,
             room = in->vram_bytes - in->vram_bytes / VRAM_SLACK;
    if (!add_product(kv, in->workspace_bytes, 1, &need) ||
        !add_product(need, ring, RING_FEWEST, &need))
        FAIL(e, ERR_USAGE, "cannot plan: the sum of KV cache, workspace and ring overflows");
    if (need > room)
        FAIL(e, ERR_USAGE,
             "cannot place the model: needs at least %" PRIu64
             " MiB with all weights streamed (KV cache %" PRIu64 " MiB, workspace %" PRIu64
             " MiB, ring %" PRIu64 " MiB), %" PRIu64
             " MiB available on the device; lower --ctx, --batch-tokens or --kv-type q8_0, raise "
             "--vram where it is "
             "set, or choose --backend cpu",
             (need >> 20) + 1, kv >> 20, in->workspace_bytes >> 20, ring * RING_FEWEST >> 20,
             room >> 20);
    FAIL(e, ERR_USAGE,
         "cannot place the model: %" PRIu64 " MiB of weights, %" PRIu64
         " MiB of memory on the device and %" PRIu64
         " MiB on the host are available; raise --ram or --vram if they are set, or lower --ctx",
         s->in->rates.link > 0 ? s->try.stream_bytes >> 20 : s->try.weight_bytes >> 20, room >> 20,
         in->ram_bytes >> 20);
}

/* Searches plans with parts in several places. whole: the plan with all parts resident and a
 * smaller pool than requested, or NULL. */
static int plan_search(const struct plan_input *in, struct plan *p, const struct plan *whole,
                       struct err *e)
{
    struct search fast = {.part = NULL}, wide = {.part = NULL};
    int rc;
    TRY_DONE(search_open(&fast, in, p, e));
    TRY_DONE(search_open(&wide, in, p, e));
    if (in->mode != PLAN_LATENCY)
        TRY_DONE(search_pools(&wide, e));
    if (in->mode != PLAN_THROUGHPUT && !whole)
        TRY_DONE(search_kv(&fast, PLAN_LATENCY, 1, e));
    if (whole) {
        copy_places(&fast.best, whole);
        fast.score = 0;
    }
    keep_faster(&wide, &fast);
    if (wide.score < 0)
        TRY_DONE(plan_hopeless(&wide, e));
    copy_places(p, &wide.best);
done:
    search_close(&fast);
    search_close(&wide);
    return rc;
}

/* ---- pages on the host ----------------------------------------------------------------------- */

/* True when copying K and V of a token out and back takes less time than computing them. */
static bool plan_swap_pays(const struct plan_input *in, const struct plan *p)
{
    double token = in->ops_per_byte * (double)p->weight_bytes,
           copied = 2 * (double)in->kv_bytes_per_token;
    return in->on_device && plan_is_resident(p) && p->n_seq < in->n_seq &&
           token > SWAP_OPS_PER_BYTE * copied;
}

static void plan_swap(const struct plan_input *in, struct plan *p)
{
    if (in->swap == PLAN_SWAP_OFF ||
        (in->swap == PLAN_SWAP_AUTO && !in->swap_bytes && !plan_swap_pays(in, p)))
        return;
    uint64_t most = p->kv_bytes,
             taken = p->pinned_bytes + (in->on_device ? p->host_bytes : p->total_bytes);
    uint64_t left = in->ram_bytes > taken ? (in->ram_bytes - taken) / SWAP_RAM_SHARE : 0;
    if (in->ram_bytes && most > left)
        most = left;
    if (in->swap == PLAN_SWAP_AUTO && most > SWAP_MOST)
        most = SWAP_MOST;
    p->swap_bytes = in->swap_bytes ? in->swap_bytes : most;
}

/* ---- the plan -------------------------------------------------------------------------------- */

static int plan_predict(const struct plan_input *in, struct plan *p, struct err *e)
{
    struct search s;
    int rc;
    TRY_DONE(search_open(&s, in, p, e));
    TRY_DONE(step_of(&s, p, 1, &p->one, e));
    TRY_DONE(step_of(&s, p, p->n_seq > 0 ? p->n_seq : 1, &p->all, e));
done:
    search_close(&s);
    return rc;
}

static int plan_fill(const struct plan_input *in, struct plan *p, struct err *e)
{
    uint64_t total, budget = in->on_device ? in->vram_bytes : in->ram_bytes;
    bool bound = in->on_device && in->n_host > 0;
    bool rates = in->on_device && in->rates.vram > 0 && (in->rates.link > 0 || in->rates.host > 0);
    TRY(plan_weights(in, p, e));
    TRY(plan_whole(in, p, &total, e));
    bool fits = !bound && (!budget || total <= budget);
    if (!fits && (!rates || !budget))
        return plan_too_big(in, p, total, e);
    if (fits)
        TRY(plan_predict(in, p, e));
    if (fits && (!rates || p->n_seq == in->n_seq || in->kv_bytes || in->mode == PLAN_LATENCY))
        return 0;
    return plan_search(in, p, fits ? p : NULL, e);
}

/* One device has all of it. */
static void share_whole(const struct plan_input *in, struct plan *p)
{
    p->n_micro = 1;
    if (!in->on_device)
        return;
    p->n_device = 1;
    p->share[0] = (struct plan_share){.n = p->n_layer,
                                      .vram_weight_bytes = p->vram_weight_bytes,
                                      .stream_bytes = p->stream_bytes,
                                      .host_bytes = p->host_bytes,
                                      .ring_bytes = p->ring_bytes,
                                      .pinned_bytes = p->pinned_bytes,
                                      .kv_bytes = p->kv_bytes,
                                      .workspace_bytes = p->workspace_bytes,
                                      .total_bytes = p->total_bytes};
}

int plan_make(const struct plan_input *in, struct plan *out, struct err *e)
{
    struct plan p = {.n_layer = in->n_layer,
                     .workspace_bytes = in->workspace_bytes,
                     .weights_mapped = in->weights_mapped};
    TRY(plan_check(in, e));
    size_t n = (size_t)in->n_layer;
    p.attn = mem_zalloc(2 * n + 1, sizeof *p.attn);
    if (!p.attn)
        return NOMEM(e, (2 * n + 1) * sizeof *p.attn, "a plan");
    p.ffn = p.attn + n;
    int rc = plan_fill(in, &p, e);
    if (rc < 0) {
        mem_free(p.attn);
        return rc;
    }
    plan_swap(in, &p);
    share_whole(in, &p);
    *out = p;
    return 0;
}

void plan_free(struct plan *p)
{
    mem_free(p->attn);
    *p = (struct plan){0};
}

enum plan_place plan_at(const struct plan *p, enum plan_part part, int layer)
{
    switch (part) {
    case PART_EMBED:
        return p->embed;
    case PART_ATTN:
        return p->attn[layer];
    case PART_FFN:
        return p->ffn[layer];
    case PART_OUTPUT:
        return p->output;
    }
    CHECK(!"part");
    return PLAN_HOST;
}

int plan_device_of(const struct plan *p, enum plan_part part, int layer)
{
    int first = -1, last = 0;
    for (int d = 0; d < p->n_device; d++) {
        const struct plan_share *s = &p->share[d];
        if (!s->n)
            continue;
        if (layer >= s->first && layer < s->first + s->n && p->split == PLAN_LAYERS &&
            (part == PART_ATTN || part == PART_FFN))
            return d;
        first = first < 0 ? d : first;
        last = d;
    }
    return part == PART_OUTPUT && p->split == PLAN_LAYERS ? last : first < 0 ? 0 : first;
}

int plan_n_micro(const struct plan *p, int rows)
{
    int n = p->n_micro > 1 && rows >= p->micro_rows ? p->n_micro : 1;
    return rows < n ? rows : n;
}

int plan_micro_rows(int rows, int n, int k, int *first)
{
    int each = rows / n, more = rows % n;
    *first = k * each + (k < more ? k : more);
    return each + (k < more);
}

bool plan_is_resident(const struct plan *p)
{
    bool same = p->embed == p->output && p->embed != PLAN_STREAM;
    for (int l = 0; l < p->n_layer; l++)
        same = same && p->attn[l] == p->embed && p->ffn[l] == p->embed;
    return same;
}

/* ---- names and the table --------------------------------------------------------------------- */

const char *plan_place_name(enum plan_place place)
{
    switch (place) {
    case PLAN_HOST:
        return "host";
    case PLAN_VRAM:
        return "VRAM";
    case PLAN_STREAM:
        return "streamed";
    }
    return "nowhere";
}

static const char *const mode_names[PLAN_MODE_COUNT] = {"auto", "latency", "throughput"};

const char *plan_mode_name(enum plan_mode mode)
{
    CHECK((unsigned)mode < PLAN_MODE_COUNT);
    return mode_names[mode];
}

static void describe_row(struct str *out, const char *what, uint64_t bytes, const char *where)
{
    str_addf(out, "%-10s %10.1f MiB%s%s\n", what, (double)bytes / 1048576.0, *where ? "  " : "",
             where);
}

/* "ffn: 31 VRAM, 49 streamed" */
static void describe_places(struct str *out, const char *what, const enum plan_place *place, int n)
{
    static const enum plan_place order[] = {PLAN_VRAM, PLAN_STREAM, PLAN_HOST};
    const char *between = ": ";
    str_adds(out, what);
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        int count = 0;
        for (int l = 0; l < n; l++)
            count += place[l] == order[k];
        if (count)
            str_addf(out, "%s%d %s", between, count, plan_place_name(order[k]));
        between = count ? ", " : between;
    }
}

void plan_describe(const struct plan *p, struct str *out)
{
    describe_row(out, "weights", p->weight_bytes,
                 p->weights_mapped ? "read from the page cache" : "copied to memory");
    str_addf(out, "  embed: %s\n  ", plan_place_name(p->embed));
    describe_places(out, "attn", p->attn, p->n_layer);
    str_adds(out, "\n  ");
    describe_places(out, "ffn", p->ffn, p->n_layer);
    str_addf(out, "\n  output: %s\n", plan_place_name(p->output));
    if (p->ring_bytes) {
        describe_row(out, "streamed", p->stream_bytes, "in every step");
        describe_row(out, "ring", p->ring_bytes, "on the device");
        describe_row(out, "pinned", p->pinned_bytes,
                     p->keep_pinned ? "on the host, all streamed weights"
                                    : "on the host, filled from the disk");
    }
    describe_row(out, "KV cache", p->kv_bytes, "");
    str_addf(out, "  %" PRId64 " tokens\n", p->kv_tokens);
    if (p->swap_bytes)
        describe_row(out, "swap", p->swap_bytes, "on the host, for pages of the KV cache");
    describe_row(out, "workspace", p->workspace_bytes, "");
    describe_row(out, "our own", p->total_bytes, "");
    if (p->one.step_s > 0)
        str_addf(out, "predicted  %10.1f tokens/s for 1 sequence, %.1f for %d (%s)\n",
                 1 / p->one.step_s, (double)p->n_seq / p->all.step_s, p->n_seq,
                 plan_mode_name(p->mode));
}

void plan_line(const struct plan *p, struct str *out)
{
    if (plan_is_resident(p)) {
        str_adds(out, "all resident");
    } else {
        str_addf(out, "%s; embed: %s; ", plan_mode_name(p->mode), plan_place_name(p->embed));
        describe_places(out, "attn", p->attn, p->n_layer);
        str_adds(out, "; ");
        describe_places(out, "ffn", p->ffn, p->n_layer);
        str_addf(out, "; output: %s", plan_place_name(p->output));
    }
    str_addf(out, "; KV cache of %" PRId64 " tokens", p->kv_tokens);
}
