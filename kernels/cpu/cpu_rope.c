/* cpu_rope: the angle pos * inv_freq is a double; a float would be off by 0.004 at position
 * 100,000. Sine and cosine are computed in double and rounded to f32, once per row for all
 * heads. */
#include <math.h>

#include "ops_cpu.h"

void cpu_turn_of(int n_rot, enum rope_pairs pairs, const float *inv_freq, int32_t pos,
                 struct cpu_turn *t)
{
    t->n_pair = n_rot / 2;
    t->step = pairs == ROPE_ADJACENT ? 2 : 1;
    t->apart = pairs == ROPE_ADJACENT ? 1 : t->n_pair;
    for (int i = 0; i < t->n_pair; i++) {
        double angle = (double)pos * (double)inv_freq[i];
        t->c[i] = (float)cos(angle);
        t->s[i] = (float)sin(angle);
    }
}
