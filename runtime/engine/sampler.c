#include "sampler.h"

#include "rng.h"

int sampler_check(const struct request *r, struct err *e)
{
    if (!(r->temperature >= 0 && r->temperature <= 100))
        FAIL(e, ERR_USAGE, "temperature is %g; it takes a number from 0 to 100",
             (double)r->temperature);
    if (!(r->top_p > 0 && r->top_p <= 1))
        FAIL(e, ERR_USAGE, "top_p is %g; it takes a number above 0, at most 1 (1 = off)",
             (double)r->top_p);
    if (!(r->min_p >= 0 && r->min_p < 1))
        FAIL(e, ERR_USAGE, "min_p is %g; it takes a number from 0 (off) to below 1",
             (double)r->min_p);
    if (r->top_k < 0)
        FAIL(e, ERR_USAGE, "top_k is %d; it takes 0 (off) or more", r->top_k);
    return 0;
}

struct sample_row sampler_row(const struct request *r, int step, int mask)
{
    return (struct sample_row){.temperature = r->temperature,
                               .top_p = r->top_p,
                               .min_p = r->min_p,
                               .top_k = r->top_k,
                               .mask = mask,
                               .key = rng_key(r->seed, r->id, (uint64_t)step)};
}
