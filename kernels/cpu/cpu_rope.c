/* cpu_rope: the angle pos * inv_freq is a double; a float would be off by 0.004 at position
 * 100,000. Sine and cosine are computed in double and rounded to f32, once per row for all heads
 * and layers. */
#include <math.h>
#include <string.h>

#include "ops_cpu.h"

struct cpu_turn_table *cpu_turns_table(struct cpu_turns *t, enum rope_pairs pairs, int n_rot,
                                       const float *inv_freq)
{
    const size_t bytes = (size_t)(n_rot / 2) * sizeof *inv_freq;
    struct cpu_turn_table *it;
    for (int i = 0; i < TURN_TABLES; i++) {
        it = &t->table[(t->last + i) % TURN_TABLES];
        if (it->n_rot != n_rot || it->pairs != pairs || memcmp(it->inv_freq, inv_freq, bytes) != 0)
            continue;
        t->last = (t->last + i) % TURN_TABLES;
        return it;
    }
    t->last = (t->last + 1) % TURN_TABLES;
    it = &t->table[t->last];
    it->n_rot = n_rot;
    it->pairs = pairs;
    memcpy(it->inv_freq, inv_freq, bytes);
    for (int r = 0; r < TURN_ROWS; r++)
        it->pos[r] = INT32_MIN;
    return it;
}

void cpu_turn_of(struct cpu_turn_table *t, int64_t r, int32_t pos, float *own, struct cpu_turn *out)
{
    float *c = r < TURN_ROWS ? t->cs + r * 2 * t->n_rot : own, *s = c + t->n_rot;
    *out = (struct cpu_turn){.pairs = t->pairs, .n_rot = t->n_rot, .c = c, .s = s};
    if (r < TURN_ROWS && t->pos[r] == pos)
        return;
    for (int i = 0; i < t->n_rot / 2; i++) {
        const double angle = (double)pos * (double)t->inv_freq[i];
        const float cosine = (float)cos(angle), sine = (float)sin(angle);
        if (t->pairs == ROPE_ADJACENT) {
            c[2 * i] = s[2 * i + 1] = cosine;
            c[2 * i + 1] = sine;
            s[2 * i] = -sine;
        } else {
            c[i] = cosine;
            s[i] = sine;
        }
    }
    if (r < TURN_ROWS)
        t->pos[r] = pos;
}
