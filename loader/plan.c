#include "plan_try.h"

#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "mem.h"

/* operations of a device in the time of one byte on its link; assumed: 500e12 / 25e9 */
#define SWAP_OPS_PER_BYTE 20000.0
#define SWAP_MOST ((uint64_t)4 << 30) /* by default: pinning takes time, and memory from others */
enum { SWAP_RAM_SHARE = 4 };          /* the swap takes at most 1/4 of the host's memory */

static int plan_check_devices(const struct plan_input *in, struct err *e)
{
    if (in->n_device > PLAN_DEVICES)
        FAIL(e, ERR_USAGE, "%d devices were asked for: at most %d work together; name fewer",
             in->n_device, PLAN_DEVICES);
    if (!in->on_device || in->n_layer < 1 || in->kv_bytes_per_token % (uint64_t)in->n_layer)
        FAIL(e, ERR_BUG, "plan_make: %d devices for %d layers of %" PRIu64 " bytes a token",
             in->n_device, in->n_layer, in->kv_bytes_per_token);
    for (int d = 0; d < in->n_device; d++) {
        if (!in->device[d].vram_bytes || !(in->device[d].vram > 0))
            FAIL(e, ERR_BUG, "plan_make: device %d of %" PRIu64 " bytes and %g bytes/s", d,
                 in->device[d].vram_bytes, in->device[d].vram);
        for (int to = d + 1; to < in->n_device; to++)
            if (!(in->hop[d * in->n_device + to].rate > 0))
                FAIL(e, ERR_BUG, "plan_make: no rate from device %d to %d", d, to);
    }
    return 0;
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
        TRY(plan_check_devices(in, e));
    if ((unsigned)in->mode >= PLAN_MODE_COUNT || (unsigned)in->swap >= PLAN_SWAP_COUNT ||
        (unsigned)in->split >= PLAN_SPLIT_COUNT)
        FAIL(e, ERR_BUG, "plan_make: mode %d, swap %d, split %d", (int)in->mode, (int)in->swap,
             (int)in->split);
    if (in->split == PLAN_ROWS && in->n_device < 2)
        FAIL(e, ERR_USAGE,
             "cannot divide the matrices: --split rows takes several devices; name them with "
             "--devices, or use --split auto");
    if (in->on_device && in->n_host > in->n_layer)
        FAIL(e, ERR_USAGE,
             "%d layers on the CPU were asked for, the model has %d; lower --cpu-layers",
             in->n_host, in->n_layer);
    return 0;
}

static int plan_weights(const struct plan_input *in, struct plan *p, struct err *e)
{
    uint64_t sum;
    bool ok = plan_add(in->embed_bytes, in->output_bytes - in->tied_bytes, 1, &sum);
    for (int i = 0; i < in->n_layer; i++)
        ok = ok && plan_add(sum, in->attn_bytes[i], 1, &sum) &&
             plan_add(sum, in->ffn_bytes[i], 1, &sum);
    uint64_t whole;
    if (!ok || !plan_add(sum, in->workspace_bytes, 1, &whole))
        FAIL(e, ERR_USAGE, "cannot plan: the sum of weights and workspace overflows");
    p->weight_bytes = sum;
    return 0;
}

/* ---- the KV pool ----------------------------------------------------------------------------- */

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
    return plan_add(p->kv_bytes, in->workspace_bytes, 1, &total) &&
           plan_add(total, p->weight_bytes, 1, &total) &&
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
    if (!plan_add(p->kv_bytes, in->workspace_bytes, 1, total) ||
        (!p->weights_mapped && !plan_add(*total, p->weight_bytes, 1, total)))
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
         in->on_device ? ", raise --vram where it is set, or choose --backend cpu"
                       : ", or raise --ram where it is set");
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

static int plan_fill(const struct plan_input *in, struct plan *p, struct err *e)
{
    uint64_t total, budget = in->on_device ? in->vram_bytes : in->ram_bytes;
    bool bound = in->on_device && in->n_host > 0;
    bool rates = in->on_device && in->rates.vram > 0 && (in->rates.link > 0 || in->rates.host > 0);
    TRY(plan_weights(in, p, e));
    if (in->n_device > 1) {
        TRY(plan_search(in, p, NULL, e));
        if (plan_is_resident(p))
            p->mode = PLAN_AUTO;
        return plan_rows(in, p, e);
    }
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
    if (in->n_device > 1)
        return;
    p->n_micro = 1;
    p->n_device = 0;
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
                     .split = PLAN_LAYERS,
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

int plan_clone(const struct plan *p, struct plan *out, struct err *e)
{
    const size_t n = (size_t)p->n_layer;
    enum plan_place *place = mem_zalloc(2 * n + 1, sizeof *place);
    if (!place)
        return NOMEM(e, (2 * n + 1) * sizeof *place, "a plan");
    memcpy(place, p->attn, n * sizeof *place);
    memcpy(place + n, p->ffn, n * sizeof *place);
    *out = *p;
    out->attn = place;
    out->ffn = place + n;
    return 0;
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
        if (layer >= s->first && layer < s->first + s->n && p->split != PLAN_ROWS &&
            (part == PART_ATTN || part == PART_FFN))
            return d;
        first = first < 0 ? d : first;
        last = d;
    }
    return part == PART_OUTPUT ? last : first < 0 ? 0 : first;
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
