/*
 * place: carries a plan out and hands layers to the forward pass. place_layer gives views that are
 * valid until place_release of the same layer; between the two the weights may have been streamed in.
 * With everything on the host, the views are those of the mapping (plan.weights_mapped), which costs no
 * memory of our own, or of a copy. A copy survives whatever happens to the file; a mapping is checked
 * before every step, and only a file cut short in the middle of that step ends in SIGBUS.
 */
#ifndef MAS_PLACE_H
#define MAS_PLACE_H

#include "ops.h"
#include "plan.h"
#include "weights.h"

struct place;

/* Loads at the disk's rate: mapped weights are brought into memory in file order (with a warning
 * instead when they are larger than the machine's memory), others are copied to MEM_DEVICE, through pinned
 * buffers where that is not the host's. progress(bytes done, bytes in all, user) may be NULL; it comes at
 * least at the end. Borrows everything for its lifetime. ERR_NODEV for a plan that does not put all layers
 * into the memory of the device (PLAN_HOST where that is the host, else PLAN_VRAM). */
int place_run(const struct plan *plan, const struct weights *w, struct ops *ops,
              void (*progress)(uint64_t, uint64_t, void *), void *user, struct place **out,
              struct err *e);
void place_free(struct place *p); /* accepts NULL */

/* Fills slots[0..n_slot) with the tensors of one layer (index = weight slot; each layer's also has the
 * slots without %d; data == NULL when optional and absent): views in the memory space of ops, ready for
 * use in stream s. ERR_IO when the model file has changed, looked at with layer 0: once a step. */
int place_layer(struct place *p, int layer, struct stream *s, const struct tensor **slots,
                struct err *e);
void place_release(struct place *p, int layer, struct stream *s);

#endif
