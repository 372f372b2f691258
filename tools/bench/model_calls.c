#include "model_calls.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "shape.h"

struct calls {
    const struct model *m;
    int fmt; /* -1 = the matrices' own */
    struct model_call *out;
    int *n;
};

static void set(const struct calls *c, struct matmul_call *call, int slot, int layer)
{
    const struct tensor *t = weights_get(&c->m->w, slot, layer);
    call->n_in = tensor_cols(t);
    call->fmt[call->n_out] = c->fmt < 0 ? t->fmt : (enum fmt)c->fmt;
    call->rows[call->n_out++] = tensor_rows(t);
}

static bool same(const struct matmul_call *a, const struct matmul_call *b)
{
    bool equal = a->n_in == b->n_in && a->epilogue == b->epilogue && a->norm == b->norm &&
                 a->n_out == b->n_out;
    for (int i = 0; i < a->n_out && equal; i++)
        equal = a->fmt[i] == b->fmt[i] && a->rows[i] == b->rows[i];
    return equal;
}

static void add(const struct calls *c, const struct matmul_call *call)
{
    int i = 0;
    while (i < *c->n && !same(&c->out[i].call, call))
        i++;
    CHECK(i < MODEL_CALLS);
    if (i == *c->n)
        c->out[(*c->n)++] = (struct model_call){.call = *call};
    c->out[i].times++;
}

static void add_layer(const struct calls *c, int layer)
{
    /* with post-norms, another op adds the result */
    const enum matmul_epilogue sum = c->m->arch->flags & ARCH_POST_NORM ? EPI_STORE : EPI_ADD;
    struct matmul_call qkv = {.epilogue = EPI_STORE, .norm = true}, out = {.epilogue = sum},
                       ffn = {.epilogue = model_gate(c->m), .norm = true}, down = {.epilogue = sum};
    set(c, &qkv, SLOT_ATTN_Q, layer);
    set(c, &qkv, SLOT_ATTN_K, layer);
    set(c, &qkv, SLOT_ATTN_V, layer);
    set(c, &out, SLOT_ATTN_OUT, layer);
    set(c, &ffn, SLOT_FFN_GATE, layer);
    set(c, &ffn, SLOT_FFN_UP, layer);
    set(c, &down, SLOT_FFN_DOWN, layer);
    add(c, &qkv);
    add(c, &out);
    add(c, &ffn);
    add(c, &down);
}

int model_calls(const char *model, int fmt, struct model_call out[MODEL_CALLS], int *n,
                struct err *e)
{
    char name[48];
    struct shape shape;
    struct sketch sketch;
    enum mixture mix;
    const bool is_short = !strcmp(model, "8b") || !strcmp(model, "70b");
    snprintf(name, sizeof name, "%s%s", is_short ? "llama3-" : "", model);
    *n = 0;
    if (!shape_find(name, &shape))
        return 0;
    const bool known = mixture_from_name("Q4_K_M", &mix);
    CHECK(known);
    TRY(sketch_shape(&shape, mix, &sketch, e));
    const struct calls c = {&sketch.m, fmt, out, n};
    struct matmul_call last = {.epilogue = EPI_STORE, .norm = true};
    for (int l = 0; l < sketch.m.hp.n_layer; l++)
        add_layer(&c, l);
    set(&c, &last, SLOT_OUTPUT, 0);
    add(&c, &last);
    sketch_close(&sketch);
    return 0;
}
