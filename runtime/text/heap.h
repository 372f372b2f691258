/*
 * heap: a binary min-heap of merge candidates in a growing array; both tokenizers use it. Items
 * with equal keys come out in any order. All zero is an empty heap.
 */
#ifndef MAS_HEAP_H
#define MAS_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct heap_item {
    uint64_t key;  /* the least comes out first */
    uint32_t a, b; /* the owner's */
};

struct heap {
    struct heap_item *item; /* item[i] <= item[2i+1], item[2i+2] */
    size_t n, cap;
};

int heap_push(struct heap *h, struct heap_item item, struct err *e); /* ERR_NOMEM */
bool heap_pop(struct heap *h, struct heap_item *out);                /* false: empty */
void heap_free(struct heap *h);

#endif
