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
    struct cpu_turns *turns;
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

/*
 * The sines and cosines of a step's rows. All layers turn the same rows by the same angles, so the
 * first layer computes them for all. Two sets of frequencies have a table each: some models have
 * layers of two kinds.
 */
#define TURN_ROWS 512 /* of a step; later rows are computed in every layer */
#define TURN_TABLES 2
#define TURN_FLOATS (2 * OPS_MAX_HEAD_DIM)
struct cpu_turns {
    struct cpu_turn_table {
        int n_rot; /* 0: empty */
        enum rope_pairs pairs;
        float inv_freq[OPS_MAX_HEAD_DIM / 2];
        int32_t pos[TURN_ROWS];            /* the row's position; INT32_MIN: not computed */
        float cs[TURN_ROWS * TURN_FLOATS]; /* c and s of each row, 2 n_rot together */
    } table[TURN_TABLES];
    int last; /* the table of the last call */
};
/* The table for these frequencies, (n_rot / 2). Before the rows are divided among threads. */
struct cpu_turn_table *cpu_turns_table(struct cpu_turns *t, enum rope_pairs pairs, int n_rot,
                                       const float *inv_freq);
/* The turning of row r of a step, at its position. Each row from one thread at a time. own
 * (TURN_FLOATS): for a row that no table holds; lives as long as *out. */
void cpu_turn_of(struct cpu_turn_table *t, int64_t r, int32_t pos, float *own,
                 struct cpu_turn *out);

/* Bytes of scratch that an op needs for its largest shapes, all threads together. */
size_t cpu_matmul_scratch(const struct ops_cpu *c, int n_row, int64_t n_in, int64_t n_norm);
size_t cpu_attention_scratch(int n_threads, int head_dim, int n_seq);
size_t cpu_sample_scratch(int n_threads, int64_t n_vocab);

#endif
