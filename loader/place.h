/*
 * place: carries a plan out and hands parts of the model to the forward pass. place_part gives
 * views that are valid until place_release of the same part; between the two a streamed part lies
 * in the device's ring.
 *
 *   PLAN_VRAM    copied to the device once, through pinned buffers
 *   PLAN_STREAM  copied to the device for every step (stage.h), always read with pread, never from
 *                the mapping
 *   PLAN_HOST    read by the CPU's ops: views of the mapping (plan.weights_mapped), which cost no
 *                memory of our
 *                own, or of a copy
 * A copy survives whatever happens to the file; a mapping is checked before every step, and only a
 * file cut short in the middle of that step ends in SIGBUS.
 */
#ifndef MAS_PLACE_H
#define MAS_PLACE_H

#include "ops.h"
#include "plan.h"
#include "stage.h"
#include "weights.h"

struct place;

/* Takes all memory that the plan says, of device and host, and starts to read what is streamed.
 * host: the backend of PLAN_HOST, NULL = ops; what it has a copy of is brought into the order that
 * it likes (ops.h: pack). link_limit: stage.h. Borrows everything for its lifetime. ERR_NODEV for a
 * plan that this device cannot carry out: where the device is the host, all parts must be
 * PLAN_HOST; elsewhere attention is never there. */
int place_open(const struct plan *plan, const struct weights *w, struct ops *ops, struct ops *host,
               double link_limit, struct place **out, struct err *e);
/* Loads what is resident, at the disk's rate: mapped weights are brought into memory in file order
 * (with a warning instead when they are larger than the machine's memory), others are copied. Once,
 * before the first part is asked for. progress(bytes done, bytes in all, user) may be NULL; it
 * comes at least at the end, and counts what is resident: streamed parts are read during the
 * first step. */
int place_load(struct place *p, void (*progress)(uint64_t, uint64_t, void *), void *user,
               struct err *e);
/* Both. */
int place_run(const struct plan *plan, const struct weights *w, struct ops *ops, double link_limit,
              void (*progress)(uint64_t, uint64_t, void *), void *user, struct place **out,
              struct err *e);
void place_free(struct place *p); /* accepts NULL */

enum plan_place place_of(const struct place *p, enum plan_part part, int layer);

/* Sets slots[i] for every weight slot i of this part (data == NULL when optional and absent): views
 * in the memory of ops, or in the host's for PLAN_HOST, ready for use in stream s. Parts are asked
 * for in the order of a step: PART_EMBED, then PART_ATTN and PART_FFN of each layer, PART_OUTPUT;
 * each is released before the next. layer: 0 for the parts outside the layers. ERR_IO when the
 * model file has changed and is still needed, looked at with PART_EMBED: once a step. After an
 * error of a streamed part the place is dead. */
int place_part(struct place *p, enum plan_part part, int layer, struct stream *s,
               const struct tensor **slots, struct err *e);
/* What uses the part has been queued on s. */
int place_release(struct place *p, enum plan_part part, int layer, struct stream *s, struct err *e);
/* Queues what copies can be queued now, without waiting: call before the host computes for long. */
int place_prefetch(struct place *p, struct err *e);

/* True when every part lies where it is computed: the same pointers in every step. */
bool place_recordable(const struct place *p);
/* a part is PLAN_HOST though the device is not the host */
bool place_has_host(const struct place *p);
/* What was streamed; all zero when nothing is. */
void place_stats(const struct place *p, struct stage_stats *out);

#endif
