/*
 * place: carries out a plan and gives the parts of the model to the forward pass.
 *
 *   PLAN_VRAM    copied to the device once, through pinned buffers
 *   PLAN_STREAM  copied to the device for every step (stage.h); read with pread, never from the
 *                mapping
 *   PLAN_HOST    read by the ops of the CPU: from a copy, from views of the file (plan.
 *                weights_mapped), or from views of a file of packed weights (packed.h); views cost
 *                no memory of their own
 *
 * place_part gives views that are valid until place_release of the same part. Between the two calls
 * a streamed part lies in the ring of the device.
 *
 * With a plan for several devices each part has a device (plan.h). A device has its own memory for
 * resident parts, and its own ring and copy stream for streamed ones.
 *
 * With tensor parallel (PLAN_ROWS) every device has its share of each part: equal ranges of rows of
 * the matrices and biases, whole norms (weights_share). The embedding lies on the first device. A
 * device reads only its ranges of the file.
 *
 * No change of the file affects a copy. A mapping is checked before every step. SIGBUS remains
 * possible if the file is cut short in the middle of that step.
 */
#ifndef MAS_PLACE_H
#define MAS_PLACE_H

#include "ops.h"
#include "plan.h"
#include "stage.h"
#include "weights.h"

struct packed; /* packed.h */
struct place;
struct spans; /* span.h */

/* Allocates all memory of the plan, of devices and host, and starts to read streamed parts. ops
 * (plan->n_device, at least 1): the backend of each device; those without a layer may be NULL.
 * host: the backend of PLAN_HOST, NULL = ops[0]. It may pack its copies of weights (ops.h: pack).
 * packed: weights that the host reads instead of the file, NULL = none. link_limit: stage.h.
 * Borrows all arguments for its lifetime. ERR_NODEV: this device cannot carry out the plan. If the
 * device is the host, all parts must be PLAN_HOST. Otherwise attention must not be PLAN_HOST. */
int place_open(const struct plan *plan, const struct weights *w, struct ops *const *ops,
               struct ops *host, struct packed *packed, double link_limit, struct place **out,
               struct err *e);
/* Loads the parts that are not streamed, at the disk's rate. Call it once, before the first
 * place_part. Mapped weights are brought into memory in file order; if they exceed the memory of
 * the machine, a warning replaces that. Other weights are copied. progress(bytes done, bytes in
 * all, user) may be NULL. It is called at least at the end and counts no streamed part: the first
 * step reads those. */
int place_load(struct place *p, void (*progress)(uint64_t, uint64_t, void *), void *user,
               struct err *e);
void place_free(struct place *p); /* accepts NULL */

const struct plan *place_plan(const struct place *p); /* the plan that it carries out */
enum plan_place place_of(const struct place *p, enum plan_part part, int layer);

/* Sets slots[i] for every weight slot i of this part: a view, ready for use in the device's own
 * stream. The view lies in the memory of ops, for PLAN_HOST in that of the host. data == NULL: the
 * slot is optional and absent. Call it in the order of a step: PART_EMBED, then PART_ATTN and
 * PART_FFN of each layer, then PART_OUTPUT. Without streamed layers a step may pass PART_EMBED and
 * the layers several times. Release each part before the next call. layer: 0 for
 * the parts outside the layers. ERR_IO: the model file has changed and is still needed; PART_EMBED
 * checks that once a step. After an error of a streamed part, every further call fails. */
int place_part(struct place *p, enum plan_part part, int layer, const struct tensor **slots,
               struct err *e);
/* The same for one device of tensor parallel: its share k of the part, whose matrices have 1 / n of
 * the rows. There is no order and no release. Slots that the device does not have are absent: data
 * == NULL. */
void place_share(const struct place *p, enum plan_part part, int layer, int k,
                 const struct tensor **slots);
/* Ends the use of the part. Every kernel that reads it is already queued. */
int place_release(struct place *p, enum plan_part part, int layer, struct err *e);
/* Queues the copies that are possible now, without waiting. Call it before a long computation on
 * the host. */
int place_prefetch(struct place *p, struct err *e);
/* Reports the copies of streamed weights to spans (NULL = none). */
void place_watch(struct place *p, struct spans *spans);

/* True when each part is computed in its place: its pointers are the same in every step. */
bool place_recordable(const struct place *p);
/* true when a part is PLAN_HOST although the device is not the host */
bool place_has_host(const struct place *p);
/* For measurements, while no step is under way (stage.h: stage_hold, stage_copy_alone). ERR_USAGE
 * when nothing is streamed. */
int place_hold(struct place *p, bool on, struct err *e);
int place_copy_alone(struct place *p, int passes, uint64_t *bytes, double *seconds, struct err *e);
/* Figures of streaming, of all devices together; all zero when nothing is streamed. */
void place_stats(const struct place *p, struct stage_stats *out);

#endif
