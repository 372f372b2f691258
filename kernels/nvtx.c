#include "nvtx.h"

#ifndef MAS_HAVE_NVTX
#define MAS_HAVE_NVTX 0
#endif

#if MAS_HAVE_NVTX

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <nvtx3/nvToolsExt.h>
#if __has_include(<nvtx3/nvToolsExtPayload.h>)
#include <nvtx3/nvToolsExtPayload.h>
#endif

#include "call_text.h"
#include "log.h"
#include "mem.h"
#include "ops.h"

enum {
    TEXTS = 4096, /* places of registered names, a power of two; a run has some hundreds */
    TEXTS_USED = TEXTS / 4 * 3,
    TEXT = 40 + CALL_TEXT
};

/* A registered name by its parts. Written once under the lock, detail last. Readers take no
 * lock. */
struct text {
    _Atomic(char *) detail; /* n bytes, a copy; NULL = a free place */
    size_t n;
    const char *name;
    int layer, gpu; /* -1 = none */
    nvtxStringHandle_t handle;
    /* the text that came after this one last time: steps repeat themselves */
    _Atomic(struct text *) next;
};

struct call {
    uint64_t id;
    nvtxRangeId_t range;
};

struct nvtx {
    struct spans spans; /* first: a sink is its struct nvtx */
    nvtxDomainHandle_t domain;
    uint64_t schema; /* 0: the profiler takes no schemas */
    pthread_mutex_t lock;
    struct text text[TEXTS];     /* open addressing by hash */
    _Atomic(struct text *) last; /* the latest one of any thread; a guess, so a race does no harm */
    int n_text;
    struct call *call; /* in flight */
    size_t n_call, cap_call;
};

struct data { /* the payload, as the schema has it */
    int64_t layer, rows;
    uint64_t bytes, flops;
};

static struct nvtx *self(struct spans *s)
{
    return (struct nvtx *)s;
}

/* ---- names ----------------------------------------------------------------------------------- */

static size_t append(char *out, size_t n, const char *s)
{
    size_t k = strnlen(s, TEXT - 1 - n);
    memcpy(out + n, s, k);
    return n + k;
}

/* "matmul Q4_K 1x4096->4096 store", "layer 3", "layer 3 on GPU 1", "step" */
static void text_of(const struct text *key, const char *detail, char out[TEXT])
{
    size_t n = append(out, 0, key->name);
    if (key->n) {
        n = append(out, n, " ");
        n = append(out, n, detail);
    }
    out[n] = 0;
    if (key->layer >= 0)
        n += (size_t)snprintf(out + n, TEXT - n, " %d", key->layer);
    if (key->gpu >= 0)
        snprintf(out + n, TEXT - n, " on GPU %d", key->gpu);
}

static inline uint64_t mixed(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

static inline uint64_t word(const char *s)
{
    uint64_t v;
    memcpy(&v, s, sizeof v);
    return v;
}

/* Two sums side by side, since each waits for its multiplication. */
static uint64_t hash_of(const struct text *key, const char *detail)
{
    uint64_t a = (uint64_t)(uintptr_t)key->name,
             b = (uint64_t)key->layer + key->n + ((uint64_t)(key->gpu + 1) << 32);
    size_t i = 0;
    for (; i + 16 <= key->n; i += 16) {
        a = mixed(a, word(detail + i));
        b = mixed(b, word(detail + i + 8));
    }
    if (i + 8 <= key->n) {
        a = mixed(a, word(detail + i));
        i += 8;
    }
    uint64_t rest = 0;
    if (key->n >= 8 && i < key->n) /* the last eight bytes, some of them again */
        rest = word(detail + key->n - 8);
    else
        for (; i < key->n; i++)
            rest = rest << 8 | (unsigned char)detail[i];
    return mixed(a, mixed(b, rest));
}

/* The place of the text, or the free one where it belongs. */
static struct text *place_of(struct nvtx *x, const struct text *key, const char *detail)
{
    uint64_t at = hash_of(key, detail) & (TEXTS - 1);
    for (;; at = (at + 1) & (TEXTS - 1)) {
        struct text *t = &x->text[at];
        const char *known = atomic_load_explicit(&t->detail, memory_order_acquire);
        if (!known || (t->name == key->name && t->layer == key->layer && t->gpu == key->gpu &&
                       t->n == key->n && !memcmp(known, detail, key->n)))
            return t;
    }
}

/* The handle of the same text, whose name stands at another address; NULL: there is none. */
static nvtxStringHandle_t same_text(const struct nvtx *x, const struct text *key,
                                    const char *detail)
{
    for (size_t i = 0; i < TEXTS; i++) {
        const struct text *t = &x->text[i];
        const char *known = atomic_load_explicit(&t->detail, memory_order_relaxed);
        if (known && t->layer == key->layer && t->gpu == key->gpu && t->n == key->n &&
            !memcmp(known, detail, t->n) && !strcmp(t->name, key->name))
            return t->handle;
    }
    return NULL;
}

/* Registers the text if no other thread has; NULL: no room. */
static nvtxStringHandle_t add_text(struct nvtx *x, const struct text *key, const char *detail)
{
    nvtxStringHandle_t handle = NULL;
    pthread_mutex_lock(&x->lock);
    struct text *t = place_of(x, key, detail);
    if (atomic_load_explicit(&t->detail, memory_order_relaxed)) {
        handle = t->handle;
    } else if (x->n_text < TEXTS_USED) {
        char name[TEXT], *copy = mem_strndup(detail, key->n);
        if (copy) {
            text_of(key, detail, name);
            handle = same_text(x, key, detail);
            if (!handle)
                handle = nvtxDomainRegisterStringA(x->domain, name);
            t->handle = handle;
            t->n = key->n;
            t->name = key->name;
            t->layer = key->layer;
            t->gpu = key->gpu;
            atomic_store_explicit(&t->detail, copy, memory_order_release);
            if (++x->n_text == TEXTS_USED)
                log_warn("NVTX: %d names of ranges; further ones are not registered", x->n_text);
        }
    }
    pthread_mutex_unlock(&x->lock);
    return handle;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* An event's attributes and what they point to; filled in place. */
struct event {
    nvtxEventAttributes_t a;
    char text[TEXT];
    struct data data;
#ifdef NVTX_PAYLOAD_TYPE_EXT
    nvtxPayloadData_t payload;
#endif
};

static void event_init(struct event *v, enum span_kind kind)
{
    static const uint32_t colour[] = {0xff5b7a99, 0xff3b8ea5, 0xff7fb069, 0xffe6aa68,
                                      0xffca3c25, 0xff9d9d9d, 0xff8f6bb3};
    memset(&v->a, 0, sizeof v->a);
    v->a.version = NVTX_VERSION;
    v->a.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    v->a.category = (uint32_t)kind + 1;
    v->a.colorType = NVTX_COLOR_ARGB;
    v->a.color = colour[kind];
}

static bool is_text(struct text *t, const char *name, const char *detail, int layer, int gpu)
{
    const char *known = t ? atomic_load_explicit(&t->detail, memory_order_acquire) : NULL;
    return known && t->name == name && t->layer == layer && t->gpu == gpu && !strcmp(known, detail);
}

/* NULL: not registered, no room. */
static nvtxStringHandle_t handle_of(struct nvtx *x, const char *name, const char *detail, int layer,
                                    int gpu)
{
    struct text *last = atomic_load_explicit(&x->last, memory_order_relaxed);
    struct text *t = last ? atomic_load_explicit(&last->next, memory_order_relaxed) : NULL;
    if (!is_text(t, name, detail, layer, gpu)) {
        const struct text key = {.n = strlen(detail), .name = name, .layer = layer, .gpu = gpu};
        t = place_of(x, &key, detail);
        if (!atomic_load_explicit(&t->detail, memory_order_acquire))
            return add_text(x, &key, detail);
        if (last)
            atomic_store_explicit(&last->next, t, memory_order_relaxed);
    }
    atomic_store_explicit(&x->last, t, memory_order_relaxed);
    return t->handle;
}

/* Names are registered, so that a profiler can begin and end its capture at a range. layer: of a
 * part, else -1. gpu: likewise. */
static void event_name(struct nvtx *x, struct event *v, const char *name, const char *detail,
                       int layer, int gpu)
{
    nvtxStringHandle_t handle = handle_of(x, name, detail, layer, gpu);
    if (handle) {
        v->a.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
        v->a.message.registered = handle;
    } else {
        const struct text key = {.n = strlen(detail), .name = name, .layer = layer, .gpu = gpu};
        text_of(&key, detail, v->text);
        v->a.messageType = NVTX_MESSAGE_TYPE_ASCII;
        v->a.message.ascii = v->text;
    }
}

static void event_number(struct event *v, uint64_t number)
{
    v->a.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
    v->a.payload.ullValue = number;
}

static void event_payload(const struct nvtx *x, struct event *v, const struct span *span)
{
    v->data = (struct data){.layer = span->layer,
                            .rows = span->rows,
                            .bytes = (uint64_t)span->bytes,
                            .flops = (uint64_t)span->ops};
#ifdef NVTX_PAYLOAD_TYPE_EXT
    if (x->schema) {
        v->payload = (nvtxPayloadData_t){x->schema, sizeof v->data, &v->data};
        v->a.payloadType = NVTX_PAYLOAD_TYPE_EXT;
        v->a.reserved0 = 1;
        v->a.payload.ullValue = (uint64_t)(uintptr_t)&v->payload;
        return;
    }
#endif
    (void)x;
    if (span->bytes > 0 || span->rows > 0)
        event_number(v, span->bytes > 0 ? (uint64_t)span->bytes : (uint64_t)span->rows);
}

/* ---- the sink -------------------------------------------------------------------------------- */

static void on_thread(struct spans *s, const char *name)
{
    (void)s;
    nvtxNameOsThreadA((uint32_t)syscall(SYS_gettid), name);
}

/* Attention's case has the longest sequence, which grows with every step. Its name has the next
 * power of two, so that names stay few. Other cases come back as they are. */
static const char *few_names(const struct span *span, char out[CALL_TEXT])
{
    static const char up_to[] = ", up to ";
    const char *at =
        span->kind == SPAN_OP && span->op == OP_attention ? strstr(span->detail, up_to) : NULL;
    if (!at)
        return span->detail ? span->detail : "";
    char *rest, digits[24], *d = digits + sizeof digits - 1;
    uint64_t top = 1;
    at += strlen(up_to);
    for (const unsigned long n = strtoul(at, &rest, 10); top < n && top < UINT32_MAX;)
        top *= 2;
    *d = 0;
    for (; top; top /= 10)
        *--d = (char)('0' + top % 10);
    const size_t front = (size_t)(at - span->detail), middle = strlen(d), back = strlen(rest);
    if (front + middle + back >= CALL_TEXT)
        return span->detail;
    memcpy(out, span->detail, front);
    memcpy(out + front, d, middle);
    memcpy(out + front + middle, rest, back + 1);
    return out;
}

/* The number that names the device; -1: a name needs none. */
static int gpu_of(const struct nvtx *x, const struct device *dev)
{
    return dev && !dev->is_host && x->spans.many_gpus ? dev->ordinal : -1;
}

static void on_begin(struct spans *s, const struct span *span)
{
    struct nvtx *x = self(s);
    struct event v;
    char few[CALL_TEXT];
    event_init(&v, span->kind);
    event_name(x, &v, span->name, few_names(span, few), span->kind == SPAN_PART ? span->layer : -1,
               span->kind == SPAN_OP ? -1 : gpu_of(x, span->dev));
    event_payload(x, &v, span);
    nvtxDomainRangePushEx(x->domain, &v.a);
}

static void on_end(struct spans *s, const struct span *span)
{
    (void)span;
    nvtxDomainRangePop(self(s)->domain);
}

static void on_start(struct spans *s, uint64_t id, const struct span *span)
{
    struct nvtx *x = self(s);
    struct event v;
    event_init(&v, span->kind);
    /* one text a question: too many to register */
    snprintf(v.text, sizeof v.text, "%s%s%s", span->name, *span->detail ? " " : "", span->detail);
    v.a.messageType = NVTX_MESSAGE_TYPE_ASCII;
    v.a.message.ascii = v.text;
    pthread_mutex_lock(&x->lock);
    if (mem_grow(&x->call, &x->cap_call, x->n_call + 1, sizeof *x->call, "NVTX ranges", NULL) == 0)
        x->call[x->n_call++] = (struct call){id, nvtxDomainRangeStartEx(x->domain, &v.a)};
    pthread_mutex_unlock(&x->lock);
}

static void on_finish(struct spans *s, uint64_t id)
{
    struct nvtx *x = self(s);
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < x->n_call; i++)
        if (x->call[i].id == id) {
            nvtxDomainRangeEnd(x->domain, x->call[i].range);
            x->call[i] = x->call[--x->n_call];
            break;
        }
    pthread_mutex_unlock(&x->lock);
}

static void with_key(struct nvtx *x, struct event *v, const char *name, const struct ops *ops,
                     uint64_t key)
{
    event_init(v, SPAN_HOST);
    event_name(x, v, name, "", -1, gpu_of(x, ops->dev));
    event_number(v, key);
}

static void on_record(struct spans *s, struct ops *ops, uint64_t key)
{
    struct nvtx *x = self(s);
    struct event v;
    if (!key) {
        nvtxDomainRangePop(x->domain);
        return;
    }
    with_key(x, &v, "record", ops, key);
    nvtxDomainRangePushEx(x->domain, &v.a);
}

static void on_replay(struct spans *s, struct ops *ops, uint64_t key)
{
    struct nvtx *x = self(s);
    struct event v;
    with_key(x, &v, "replayed", ops, key);
    nvtxDomainMarkEx(x->domain, &v.a);
}

/* ---- life ------------------------------------------------------------------------------------ */

static uint64_t register_schema(nvtxDomainHandle_t domain)
{
#ifdef NVTX_PAYLOAD_TYPE_EXT
#define ENTRY(type_, name_, what)                                                                  \
    {                                                                                              \
        .type = NVTX_PAYLOAD_ENTRY_TYPE_##type_, .name = #name_, .description = (what),            \
        .offset = offsetof(struct data, name_)                                                     \
    }
    static const nvtxPayloadSchemaEntry_t entry[] = {
        ENTRY(INT64, layer, "of the model; -1 = none"), ENTRY(INT64, rows, "of activations"),
        ENTRY(UINT64, bytes, "that the work moves at least"),
        ENTRY(UINT64, flops, "operations of the work at least")};
#undef ENTRY
    const nvtxPayloadSchemaAttr_t a = {.fieldMask = NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NAME |
                                                    NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_TYPE |
                                                    NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_ENTRIES |
                                                    NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NUM_ENTRIES |
                                                    NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_STATIC_SIZE,
                                       .name = "span",
                                       .type = NVTX_PAYLOAD_SCHEMA_TYPE_STATIC,
                                       .entries = entry,
                                       .numEntries = sizeof entry / sizeof *entry,
                                       .payloadStaticSize = sizeof(struct data)};
    uint64_t id = nvtxPayloadSchemaRegister(domain, &a);
    return id == UINT64_MAX ? 0 : id;
#else
    (void)domain;
    return 0;
#endif
}

int nvtx_open(struct spans **out, struct err *e)
{
    static const char *const kinds[] = {"step", "phase", "part", "op", "copy", "host", "call"};
    nvtxDomainHandle_t domain = nvtxDomainCreateA("mas");
    if (!domain)
        FAIL(e, ERR_NODEV,
             "no NVTX ranges: no profiler is attached; run the command under nsys or ncu");
    struct nvtx *x = mem_zalloc(1, sizeof *x);
    if (!x)
        return NOMEM(e, sizeof *x, "NVTX ranges");
    pthread_mutex_init(&x->lock, NULL);
    x->domain = domain;
    x->schema = register_schema(domain);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        nvtxDomainNameCategoryA(domain, (uint32_t)i + 1, kinds[i]);
    x->spans = (struct spans){.thread = on_thread,
                              .begin = on_begin,
                              .end = on_end,
                              .start = on_start,
                              .finish = on_finish,
                              .record = on_record,
                              .replay = on_replay};
    *out = &x->spans;
    return 0;
}

void nvtx_close(struct spans *s)
{
    if (!s)
        return;
    struct nvtx *x = self(s);
    nvtxDomainDestroy(x->domain);
    for (size_t i = 0; i < TEXTS; i++)
        mem_free(atomic_load(&x->text[i].detail));
    mem_free(x->call);
    pthread_mutex_destroy(&x->lock);
    mem_free(x);
}

#else

int nvtx_open(struct spans **out, struct err *e)
{
    (void)out;
    FAIL(e, ERR_NODEV,
         "no NVTX ranges: nvtx3/nvToolsExt.h was not found when mas was built; install the CUDA "
         "toolkit's headers and build again");
}

void nvtx_close(struct spans *s)
{
    (void)s;
}

#endif
