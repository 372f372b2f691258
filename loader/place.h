/*
 * place: carries a plan out and hands layers to the forward pass. place_layer gives views that are
 * valid until place_release of the same layer; between the two the weights may have been streamed in.
 * With everything on the host, the views are those of the mapping.
 */
#ifndef MAS_PLACE_H
#define MAS_PLACE_H

#include "ops.h"
#include "plan.h"
#include "weights.h"

struct place;

/* progress(bytes done, bytes in all, user) may be NULL. Borrows everything for its lifetime. */
int place_run(const struct plan *plan, const struct weights *w, struct ops *ops,
              void (*progress)(uint64_t, uint64_t, void *), void *user, struct place **out,
              struct err *e);
void place_free(struct place *p); /* accepts NULL */

/* Slot tensors of one layer (index = weight slot; layer 0 also serves slots without %d): views in the
 * memory space of ops, ready for use in stream s. ERR_IO when the model file has changed. */
int place_layer(struct place *p, int layer, struct stream *s, const struct tensor **slots,
                struct err *e);
void place_release(struct place *p, int layer, struct stream *s);

#endif
