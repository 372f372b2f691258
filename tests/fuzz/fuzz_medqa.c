/* Any bytes as a data set: questions or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "medqa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct medqa m = {.n = 0};
    struct err e;
    if (medqa_parse((const char *)data, size, "fuzz", &m, &e) == 0) {
        for (size_t i = 0; i < m.n; i++) {
            const struct medqa_question *q = &m.question[i];
            if (!q->text[0] || q->key < 0 || q->key >= q->n_options || !q->option[q->n_options - 1])
                abort();
        }
        if (!m.n || m.n + m.n_rejected != (size_t)m.records)
            abort();
    }
    medqa_free(&m);
    return 0;
}
