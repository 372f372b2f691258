/* Any bytes as a report of nsys or ncu, and as the name of a kernel. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_name.h"
#include "nsight.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int good)
{
    if (!good)
        abort();
}

static void whole(const struct nsight *x)
{
    require(x->n_file == 1 && x->n_row + x->n_range > 0 && x->other_us >= 0);
    for (size_t i = 0; i < x->n_row; i++) {
        const struct nsight_row *r = &x->row[i];
        require(r->op && r->op[0] && r->report && r->file == 0);
        require(r->calls >= 1 && r->us >= 0 && r->total_us >= 0);
        require(isnan(r->us_p5) == isnan(r->us_p95));
        require(isnan(r->us_p5) || (r->us_p5 <= r->us && r->us <= r->us_p95));
        require(r->function || !r->kernel);
        require(!r->kernel || r->kernel[0]);
    }
    for (size_t i = 0; i < x->n_range; i++)
        require(x->range[i].name && x->range[i].calls >= 1 && x->range[i].us >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nsight x = {.n_row = 0};
    struct kernel_name k;
    struct err e;
    if (nsight_read(&x, data, size, "fuzz", &e) == 0)
        whole(&x);
    nsight_free(&x);
    char *name = malloc(size + 1);
    require(name != NULL);
    memcpy(name, data, size);
    name[size] = 0;
    if (kernel_name_parse(name, &k))
        require(k.op && strlen(k.kernel) < sizeof k.kernel &&
                strlen(k.instance) < sizeof k.instance);
    free(name);
    return 0;
}
