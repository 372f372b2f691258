/* cpu_rope: the angle pos * inv_freq is a double; a float would be off by 0.004 at position
 * 100,000. Sine and cosine are computed in double and rounded to f32, once per row for all heads
 * and layers. */
#include <math.h>
#include <string.h>

#include "ops_cpu.h"

struct cpu_turn_table *cpu_turns_table(struct cpu_turns *t, int n_rot, const float *inv_freq)
{
    const size_t bytes = (size_t)(n_rot / 2) * sizeof *inv_freq;
    struct cpu_turn_table *it;
    for (int i = 0; i < TURN_TABLES; i++) {
        it = &t->table[(t->last + i) % TURN_TABLES];
        if (it->n_rot != n_rot || memcmp(it->inv_freq, inv_freq, bytes) != 0)
            continue;
        t->last = (t->last + i) % TURN_TABLES;
        return it;
    }
    t->last = (t->last + 1) % TURN_TABLES;
    it = &t->table[t->last];
    it->n_rot = n_rot;
    memcpy(it->inv_freq, inv_freq, bytes);
    for (int r = 0; r < TURN_ROWS; r++)
        it->pos[r] = INT32_MIN;
    return it;
}

void cpu_turn_of(struct cpu_turn_table *t, enum rope_pairs pairs, int64_t r, int32_t pos,
                 float *own, struct cpu_turn *out)
{
    const int n_pair = t->n_rot / 2;
    float *c = r < TURN_ROWS ? t->cs + r * t->n_rot : own;
    *out = (struct cpu_turn){
        .n_pair = n_pair,
        .step = pairs == ROPE_ADJACENT ? 2 : 1,
        .apart = pairs == ROPE_ADJACENT ? 1 : n_pair,
        .c = c,
        .s = c + n_pair,
    };
    if (r < TURN_ROWS && t->pos[r] == pos)
        return;
    for (int i = 0; i < n_pair; i++) {
        const double angle = (double)pos * (double)t->inv_freq[i];
        c[i] = (float)cos(angle);
        c[n_pair + i] = (float)sin(angle);
    }
    if (r < TURN_ROWS)
        t->pos[r] = pos;
}
