#include "fmt_iq3_xxs.h"

#include "f16.h"
#include "fmt.h"

void fmt_iq3_xxs_decode(const void *x, float *y, int64_t n)
{
    const struct fmt_iq3_xxs *b = x;
    for (int64_t k = 0; k < n / FMT_K; k++, b++, y += FMT_K) {
        const float d = f16_to_f32(b->d);
        for (int g = 0; g < FMT_K / 8; g++) { /* eights */
            const uint32_t word = fmt_iq3_xxs_word(b, g / 4);
            const float step = fmt_iq3_xxs_step(d, word);
            const int signs = fmt_iq_signs((int)(word >> g % 4 * 7 & 127));
            for (int i = 0; i < 8; i++) {
                const int point = fmt_iq3_xxs_book[b->q[2 * g + i / 4]];
                y[8 * g + i] =
                    step * (float)fmt_iq_signed(fmt_iq3_xxs_size(point, i % 4), signs, i);
            }
        }
    }
}
