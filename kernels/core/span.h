/*
 * span: intervals of the program's work, for profilers. Code reports the begin and the end of an
 * interval to a chain of sinks. Without a sink (NULL) nothing is called and nothing is computed.
 *
 * On the engine thread, each interval lies inside the one above it:
 *
 *   step                        one turn of the scheduler that computes rows
 *     schedule                  (host) choose the rows
 *     draft                     (phase) a pass of the draft model
 *     prefill, decode, mixed, verify    (phase) a pass of the model
 *       upload                  (host) queue the copy of the batch
 *       replay                  (host) queue a recorded pass; its ops are those of the recording
 *       embed, layer, output    (part)
 *         matmul, attention, .. (op) a name of OP_LIST
 *         weights               (host) make the device wait for streamed weights, queue copies
 *           copy                (copy) a piece of streamed weights, on the copy stream
 *         hop                   (host) move rows between host and device
 *     sample, logprob           (op)
 *     wait                      (host) wait for the device
 *     deliver                   (host) give tokens to requests, end requests
 *
 * A call (an agent's role on a case) overlaps with others. It has a start and a finish with an id.
 *
 * - begin and end nest in each thread. A failed step ends its intervals in order, too.
 * - A sink may be called from several threads. Each thread names itself first.
 * - Texts live as long as the program, except `detail`, which lives until begin or start returns.
 * - An op or a copy on a device is queued between begin and end. It runs later, on `stream`.
 * - Of several GPUs that share a model each runs the parts of its own layers (spans_gpus).
 */
#ifndef MAS_SPAN_H
#define MAS_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device; /* device.h */
struct ops;    /* ops.h */
struct stream; /* device.h */

enum span_kind { SPAN_STEP, SPAN_PHASE, SPAN_PART, SPAN_OP, SPAN_COPY, SPAN_HOST, SPAN_CALL };

struct span {
    enum span_kind kind;
    const char *name;   /* "step", "decode", "layer", "matmul", the role of a call */
    const char *detail; /* an op's case (call_text.h), a call's question; "" = none */
    int layer;          /* -1 = in no layer */
    int64_t rows;       /* of the batch or of the op; 0 = none */
    double bytes, ops;  /* least that an op moves and computes (traffic.h); of a copy: its bytes */
    int op;             /* SPAN_OP: enum op of ops.h */
    struct ops *on;     /* SPAN_OP: the backend that computes */
    /* SPAN_OP, SPAN_COPY: the device; NULL = the host. SPAN_PART, SPAN_HOST: the device whose work
     * is queued or waited for; NULL = none, or several */
    struct device *dev;
    struct stream *stream; /* SPAN_COPY; NULL = the device's own */
    /* SPAN_OP: clock_ns() before the texts of this span were made, which only sinks need; 0 =
     * unknown */
    int64_t told_ns;
};

struct spans {
    /* Each may be NULL. */
    void (*thread)(struct spans *, const char *name); /* the calling thread is `name` */
    void (*begin)(struct spans *, const struct span *);
    void (*end)(struct spans *, const struct span *); /* the span of the begin */
    void (*start)(struct spans *, uint64_t id, const struct span *);
    void (*finish)(struct spans *, uint64_t id);
    /* Ops between record(key) and record(0) are not run but kept under key (ops.h). replay: the ops
     * kept under key have been queued. Keys belong to one backend. */
    void (*record)(struct spans *, struct ops *, uint64_t key);
    void (*replay)(struct spans *, struct ops *, uint64_t key);
    /* The device is about to close: nothing runs on it, and events on it must go. */
    void (*closing)(struct spans *, struct device *);
    struct spans *next; /* the next sink of the chain, or NULL */
    bool many_gpus;     /* spans_gpus */
};

#define SPANS_EACH(first, member, ...)                                                             \
    do {                                                                                           \
        for (struct spans *span_s_ = (first); span_s_; span_s_ = span_s_->next)                    \
            if (span_s_->member)                                                                   \
                span_s_->member(span_s_, __VA_ARGS__);                                             \
    } while (0)

static inline void spans_thread(struct spans *s, const char *name)
{
    SPANS_EACH(s, thread, name);
}
static inline void spans_begin(struct spans *s, const struct span *span)
{
    SPANS_EACH(s, begin, span);
}
static inline void spans_end(struct spans *s, const struct span *span)
{
    SPANS_EACH(s, end, span);
}
static inline void spans_start(struct spans *s, uint64_t id, const struct span *span)
{
    SPANS_EACH(s, start, id, span);
}
static inline void spans_finish(struct spans *s, uint64_t id)
{
    SPANS_EACH(s, finish, id);
}
static inline void spans_record(struct spans *s, struct ops *ops, uint64_t key)
{
    SPANS_EACH(s, record, ops, key);
}
static inline void spans_replay(struct spans *s, struct ops *ops, uint64_t key)
{
    SPANS_EACH(s, replay, ops, key);
}
static inline void spans_closing(struct spans *s, struct device *dev)
{
    SPANS_EACH(s, closing, dev);
}

/* Several GPUs share the work if n > 1: a sink then says which one an interval belongs to. Call it
 * before the work begins. */
static inline void spans_gpus(struct spans *s, int n)
{
    for (; s; s = s->next)
        s->many_gpus |= n > 1;
}

/* An interval of the host, of a part or of a phase. layer -1 = in no layer. */
static inline struct span span_of(enum span_kind kind, const char *name, int layer, int64_t rows)
{
    return (struct span){.kind = kind, .name = name, .detail = "", .layer = layer, .rows = rows};
}

/* Runs the call, whose value is a return code, inside a span of the host, a part or a phase. */
#define SPANNED(out_rc, to, kind, name, layer, rows, call)                                         \
    SPANNED_ON(out_rc, NULL, to, kind, name, layer, rows, call)
/* The same with the device of the work. */
#define SPANNED_ON(out_rc, device, to, kind, name, layer, rows, call)                              \
    do {                                                                                           \
        struct spans *const span_to_ = (to);                                                       \
        struct span span_is_ = span_of((kind), (name), (layer), (rows));                           \
        span_is_.dev = (device);                                                                   \
        spans_begin(span_to_, &span_is_);                                                          \
        (out_rc) = (call);                                                                         \
        spans_end(span_to_, &span_is_);                                                            \
    } while (0)

#endif
