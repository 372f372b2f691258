#include "heap.h"

#include "mem.h"

int heap_push(struct heap *h, struct heap_item item, struct err *e)
{
    if (h->n == h->cap)
        TRY(mem_grow(&h->item, &h->cap, h->n + 1, sizeof *h->item, "merge candidates", e));
    size_t at = h->n++;
    while (at > 0 && item.key < h->item[(at - 1) / 2].key) {
        h->item[at] = h->item[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->item[at] = item;
    return 0;
}

bool heap_pop(struct heap *h, struct heap_item *out)
{
    if (h->n == 0)
        return false;
    *out = h->item[0];
    struct heap_item item = h->item[--h->n];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < h->n; at = child) {
        if (child + 1 < h->n && h->item[child + 1].key < h->item[child].key)
            child++;
        if (item.key <= h->item[child].key)
            break;
        h->item[at] = h->item[child];
    }
    h->item[at] = item;
    return true;
}

void heap_free(struct heap *h)
{
    mem_free(h->item);
    *h = (struct heap){0};
}
