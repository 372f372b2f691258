#include "steps.h"

#include <stdio.h>
#include <string.h>

#include "cushim_test.h"
#include "mem.h"
#include "source.h"
#include "test.h"

/* ---- a few steps of several sequences -------------------------------------------------------- */

struct run {
    struct place *place;
    struct kv *kv;
    struct forward *fw;
    struct kv_seq seq[STEPS_SEQ];
};

static int run_open(struct steps *sc, struct run *r, struct err *e)
{
    const struct hparams *hp = &sc->m.hp;
    *r = (struct run){0};
    const int n_share = sc->plan.split == PLAN_ROWS ? sc->plan.n_device : 1;
    for (int l = 0; l < n_share * hp->n_layer; l++)
        sc->on[l] =
            sc->gpu[n_share > 1 ? l / hp->n_layer : plan_device_of(&sc->plan, PART_ATTN, l)];
    struct kv_config kc = {.fmt = sc->kv_fmt,
                           .page_tokens = STEPS_PAGE,
                           .n_page = STEPS_SEQ * STEPS_CTX / STEPS_PAGE,
                           .n_layer = n_share * hp->n_layer,
                           .n_kv_head = hp->n_kv_head / n_share,
                           .head_dim = hp->head_dim,
                           .on = sc->on};
    struct forward_limits lim = {.max_rows = 40,
                                 .max_seqs = STEPS_SEQ,
                                 .max_logit_rows = 8,
                                 .max_pages = STEPS_CTX / STEPS_PAGE,
                                 .max_kv_len = STEPS_CTX,
                                 .max_pairs = 4,
                                 .n_device = sc->plan.n_device,
                                 .no_record = !sc->record};
    TRY(place_open(&sc->plan, &sc->m.w, sc->gpu, sc->cpu, NULL, 0, &r->place, e));
    TRY(place_load(r->place, NULL, NULL, e));
    TRY(kv_open(&kc, sc->gpu[0], &r->kv, e));
    TRY(forward_open(&sc->m, r->place, r->kv, sc->gpu, sc->cpu, &lim, &r->fw, e));
    for (int i = 0; i < STEPS_SEQ; i++)
        TRY(kv_seq_init(r->kv, STEPS_CTX, &r->seq[i], e));
    return 0;
}

static void run_close(struct run *r)
{
    for (int i = 0; i < STEPS_SEQ; i++)
        if (r->seq[i].page)
            kv_seq_free(r->kv, &r->seq[i]);
    forward_close(r->fw);
    kv_close(r->kv);
    place_free(r->place);
}

/* Adds n rows of sequence i to the batch. */
static int add_rows(struct steps *sc, struct run *r, struct batch *b, int i, int n, struct err *e)
{
    struct kv_seq *s = &r->seq[i];
    TRY(kv_seq_reserve(r->kv, s, n, e));
    for (int k = 0; k < n; k++, b->n_row++) {
        b->pos[b->n_row] = s->len + k;
        b->tok[b->n_row] = (3 + 7 * i + 16 * b->pos[b->n_row]) % sc->m.hp.n_vocab;
        b->slot[b->n_row] = kv_slot(r->kv, s, b->pos[b->n_row]);
    }
    s->len += n;
    for (int k = 0; k < s->n_page; k++)
        b->page[b->n_seq * (STEPS_CTX / STEPS_PAGE) + k] = s->page[k];
    b->kv_len[b->n_seq++] = s->len;
    b->q_start[b->n_seq] = b->n_row;
    b->max_kv_len = s->len > b->max_kv_len ? s->len : b->max_kv_len;
    return 0;
}

/* A step with rows[i] rows of sequence i, and logits of the last row of each if they are wanted.
 * The logits come in falling order of the sequences. out: (STEPS_SEQ, n_vocab) */
static int run_step(struct steps *sc, struct run *r, const int *rows, bool logits, float *out,
                    struct err *e)
{
    struct batch *b = forward_batch(r->fw);
    for (int i = 0; i < STEPS_SEQ; i++)
        if (rows[i])
            TRY(add_rows(sc, r, b, i, rows[i], e));
    for (int i = b->n_seq; logits && i-- > 0;)
        b->logit_row[b->n_logit++] = b->q_start[i + 1] - 1;
    TRY(forward_step(r->fw, "pass", e));
    if (sc->lost && out >= sc->got + (size_t)(STEPS - 1) * STEPS_SEQ * (size_t)sc->m.hp.n_vocab)
        cushim_lose(sc->lost - 1, 0);
    if (sc->ahead)
        TRY(sc->gpu[0]->dev->api->sync(sc->gpu[0]->dev, NULL, e));
    return logits ? forward_logits(r->fw, 0, b->n_logit, out, e) : 0;
}

/* Prompts in two chunks, the first without logits, then decode steps. */
static int run_text(struct steps *sc, struct run *r, float *out, struct err *e)
{
    static const int first[STEPS_SEQ] = {3, 0, 9, 1, 5}, second[STEPS_SEQ] = {2, 17, 1, 4, 1};
    static const int one[STEPS_SEQ] = {1, 1, 1, 1, 1};
    const size_t step = (size_t)STEPS_SEQ * (size_t)sc->m.hp.n_vocab;
    TRY(run_step(sc, r, first, false, out, e));
    TRY(run_step(sc, r, second, true, out + step, e));
    for (int i = 0; i < STEPS_DECODE; i++)
        TRY(run_step(sc, r, one, true, out + (size_t)(2 + i) * step, e));
    return 0;
}

int steps_run(struct steps *sc, float *out, struct err *e)
{
    struct run r;
    memset(out, 0, sc->n_logits * sizeof *out);
    int rc = run_open(sc, &r, e);
    if (rc == 0)
        rc = run_text(sc, &r, out, e);
    run_close(&r);
    return rc;
}

/* Largest part, with the alignment of its tensors. */
static uint64_t largest_part(const struct steps *sc)
{
    static const enum plan_part part[] = {PART_ATTN, PART_FFN, PART_OUTPUT};
    uint64_t most = 0;
    for (int p = 0; p < 3; p++)
        for (int l = 0; l < sc->m.hp.n_layer; l++) {
            uint64_t n = weights_part_bytes(&sc->m.w, part[p], l) + 12 * 256;
            most = n > most ? n : most;
        }
    return most;
}

void steps_plan(struct steps *sc, int n_device)
{
    const int n = sc->m.hp.n_layer;
    sc->plan = (struct plan){.n_layer = n,
                             .attn = sc->place,
                             .ffn = sc->place + n,
                             .embed = PLAN_VRAM,
                             .output = PLAN_VRAM,
                             .ring_bytes = largest_part(sc),
                             .keep_pinned = true,
                             .weights_mapped = true,
                             .n_device = n_device,
                             .split = PLAN_LAYERS,
                             .n_micro = 1};
    for (int i = 0; i < 2 * n; i++)
        sc->place[i] = PLAN_VRAM;
}

void steps_layers(struct steps *sc, int n_device, const int *cut)
{
    steps_plan(sc, n_device);
    for (int d = 0; d < n_device; d++)
        sc->plan.share[d] = (struct plan_share){
            .first = cut[d], .n = cut[d + 1] - cut[d], .ring_bytes = sc->plan.ring_bytes};
}

void steps_open_devices(struct steps *sc)
{
    struct err e;
    for (int d = 0; d < STEPS_DEVICES; d++)
        ok(ops_open("cudahost", &(struct ops_options){.device = d}, &sc->gpu[d], &e));
}

void steps_close_devices(struct steps *sc)
{
    for (int d = 0; d < STEPS_DEVICES; d++)
        ops_close(sc->gpu[d]);
}

void steps_open(struct steps *sc, const char *model)
{
    struct err e;
    memset(sc, 0, sizeof *sc);
    sc->kv_fmt = FMT_F16;
    cushim_devices(STEPS_DEVICES);
    ok(source_open(model, &sc->g, &e));
    ok(tokenizer_open(sc->g, NULL, &sc->tok, &e));
    ok(model_init(sc->g, tokenizer_n_vocab(sc->tok), &sc->m, &e));
    steps_open_devices(sc);
    ok(ops_open("cpu", &(struct ops_options){.n_threads = 2}, &sc->cpu, &e));
    assert_true(sc->m.hp.n_layer <= STEPS_LAYERS);
    sc->n_logits = (size_t)STEPS * STEPS_SEQ * (size_t)sc->m.hp.n_vocab;
    sc->want = mem_zalloc(sc->n_logits, sizeof *sc->want);
    sc->got = mem_zalloc(sc->n_logits, sizeof *sc->got);
    steps_layers(sc, 1, (int[]){0, sc->m.hp.n_layer});
    ok(steps_run(sc, sc->want, &e));
}

void steps_close(struct steps *sc)
{
    mem_free(sc->want);
    mem_free(sc->got);
    ops_close(sc->cpu);
    steps_close_devices(sc);
    model_free(&sc->m);
    tokenizer_close(sc->tok);
    gguf_close(sc->g);
    assert_string_equal(cushim_findings(), "");
    assert_int_equal(cushim_live(NULL), 0);
    cushim_devices(1);
}

void steps_same_bits(struct steps *sc, const char *what)
{
    struct err e;
    ok(steps_run(sc, sc->got, &e));
    if (memcmp(sc->got, sc->want, sc->n_logits * sizeof *sc->got) != 0)
        fail_msg("%s: other logits than on one device", what);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* Objects that a run may not leave behind. Recordings belong to the devices. */
static size_t live(void)
{
    struct cushim_objects o;
    const size_t n = cushim_live(&o);
    return n - o.graphs;
}

/* The error of a run in which calls for the device fail is the device's; nothing is left over. */
bool steps_failed(struct steps *sc, int device, long n, const char *how)
{
    struct err e = {0};
    char gpu[16];
    const size_t before = live();
    const int rc = steps_run(sc, sc->got, &e);
    cushim_fail_at(0, 1);
    if (live() != before)
        fail_msg("GPU %d, call %ld %s: %zu objects are left after \"%s\"", device, n, how,
                 live() - before, e.msg);
    cushim_reset();
    snprintf(gpu, sizeof gpu, "GPU %d", device);
    if (rc < 0 && rc != ERR_NOMEM && !strstr(e.msg, gpu))
        fail_msg("GPU %d, call %ld %s: the error does not name it: \"%s\"", device, n, how, e.msg);
    if (rc == 0 && memcmp(sc->got, sc->want, sc->n_logits * sizeof *sc->got) != 0)
        fail_msg("GPU %d, call %ld %s: no error, and other logits", device, n, how);
    return rc < 0;
}

/* Calls of a run for this device. */
long steps_calls(struct steps *sc, int device)
{
    struct err e;
    cushim_fail_at(0, 1);
    cushim_fail_on(device);
    ok(steps_run(sc, sc->got, &e));
    const long n = cushim_calls();
    cushim_reset();
    return n;
}

void steps_fail_calls(struct steps *sc, long first, long every)
{
    for (int device = 0; device < 2; device++) {
        const long calls = steps_calls(sc, device);
        int fatal = 0, n_run = 0;
        cushim_apart(0, 1, device);
        for (long n = 1; n <= calls; n += n < first ? 1 : every, n_run++) {
            cushim_fail_at(n, n % 2);
            cushim_fail_on(device);
            fatal += steps_failed(sc, device, n, n % 2 ? "once" : "and later");
        }
        print_message("GPU %d: %ld calls, %d of %d failures ended the run\n", device, calls, fatal,
                      n_run);
        assert_true(calls > 200 && 2 * fatal > n_run);
    }
}

void steps_lose_devices(struct steps *sc, long times)
{
    for (int device = 0; device < 2; device++) {
        const long calls = steps_calls(sc, device);
        for (int late = 0; late < 2; late++)
            for (long n = 1 + late; n <= calls - 8; n += 1 + calls / times) {
                cushim_lazy(late);
                cushim_lose(device, n);
                if (!steps_failed(sc, device, n, late ? "and later, late" : "and later"))
                    fail_msg("GPU %d is lost at call %ld of %ld, and the run goes on", device, n,
                             calls);
                cushim_lazy(0);
            }
    }
}
