/* ops_cpu: the fast backend "cpu": threads, and the best instruction set that the machine has. */
#ifndef MAS_OPS_CPU_H
#define MAS_OPS_CPU_H

#include "cpu_kernel.h"
#include "cpu_tiles.h"
#include "ops_check.h"
#include "pool.h"

struct ops_cpu {
    struct ops ops; /* first: a struct ops * is a struct ops_cpu * */
    struct device dev;
    struct pool *pool;
    const struct cpu_kernels *k;
    const struct cpu_tiles *tiles; /* or NULL */
    int tile_rows;                 /* struct ops_options */
    char *scratch;                 /* lent */
    size_t scratch_bytes;
};

int ops_cpu_open(const struct ops_options *opt, struct ops **out, struct err *e);

static inline struct ops_cpu *ops_cpu(struct ops *ops)
{
    return (struct ops_cpu *)ops;
}

#define X(op)                                                                                      \
    int cpu_##op(struct ops *ops, struct stream *s, const struct op##_args *a, struct err *e);
OP_LIST(X)
#undef X

bool cpu_packs(const struct ops *ops, const struct tensor *w);
int cpu_pack(struct ops *ops, const struct tensor *w, int64_t first, int64_t n, ops_read read,
             void *user, struct err *e);

void cpu_home(struct ops *ops, const struct tensor *w);

/* The turning of the heads of one row: c and s of its n_pair pairs. Pairs lie `step` elements
 * apart, the two elements of a pair `apart`. */
struct cpu_turn {
    int n_pair, step, apart;
    float c[OPS_MAX_HEAD_DIM / 2], s[OPS_MAX_HEAD_DIM / 2];
};
void cpu_turn_of(int n_rot, enum rope_pairs pairs, const float *inv_freq, int32_t pos,
                 struct cpu_turn *t);

/* Bytes of scratch that an op needs for its largest shapes, all threads together. */
size_t cpu_matmul_scratch(const struct ops_cpu *c, int n_row, int64_t n_in, int64_t n_norm);
size_t cpu_attention_scratch(int n_threads, int head_dim, int n_seq);
size_t cpu_sample_scratch(int n_threads, int64_t n_vocab);

#endif
