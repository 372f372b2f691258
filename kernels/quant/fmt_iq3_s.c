#include "fmt_iq3_s.h"

#include "f16.h"
#include "fmt.h"

void fmt_iq3_s_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_iq3_s *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, y += FMT_K) {
        const float d = f16_to_f32(b->d);
        for (int g = 0; g < FMT_K / 32; g++) {
            const float step = fmt_iq3_s_step(b, d, g);
            for (int i = 32 * g; i < 32 * g + 32; i++)
                y[i] = step * (float)fmt_iq3_s_quant(b, i);
        }
    }
}
