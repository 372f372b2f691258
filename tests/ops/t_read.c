/* Every way to read memory reads all of it once: the xor of its words is that of a plain loop. */
#include "mem.h"
#include "ops.h"
#include "rng.h"
#include "test.h"

enum { MOST = 64 * 700 };

static void every_pattern_reads_every_line_once(void **state)
{
    (void)state;
    static const char *const isa[] = {"scalar", "neon", "avx2", "avxvnni", "avx512vnni", "amx"};
    static const size_t lines[] = {0, 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 129, 531, 700};
    uint64_t *x = mem_aligned(MOST);
    assert_non_null(x);
    for (size_t i = 0; i < MOST / sizeof *x; i++)
        x[i] = rng_mix(i + 1);
    int n_isa = 0, n_pattern = 0;
    for (size_t k = 0; k < sizeof isa / sizeof *isa; k++)
        for (int threads = 1; threads < 4; threads++) {
            const struct ops_options o = {.isa = isa[k], .n_threads = threads};
            struct err e = {0};
            struct ops *ops;
            if (ops_open("cpu", &o, &ops, &e) < 0)
                continue;
            n_isa++;
            n_pattern = 0;
            for (int i = 0; ops->read_name(ops, i); i++, n_pattern++)
                for (size_t l = 0; l < sizeof lines / sizeof *lines; l++) {
                    uint64_t want = 0, got = 1;
                    for (size_t w = 0; w < 8 * lines[l]; w++)
                        want ^= x[w];
                    ok(ops->read(ops, i, x, 64 * lines[l], &got, &e));
                    if (got != want)
                        fail_msg("%s, %d threads, %s: %zu lines are not read once each", isa[k],
                                 threads, ops->read_name(ops, i), lines[l]);
                }
            uint64_t sum;
            fails(ops->read(ops, n_pattern, x, 64, &sum, &e), ERR_BUG, "pattern 8, must be 0 to 7");
            fails(ops->read(ops, -1, x, 64, &sum, &e), ERR_BUG, "pattern -1");
            fails(ops->read(ops, 0, x + 1, 64, &sum, &e), ERR_BUG, "multiples of 64");
            fails(ops->read(ops, 0, x, 65, &sum, &e), ERR_BUG, "multiples of 64");
            ops_close(ops);
        }
    mem_free(x);
    assert_true(n_isa >= 3 && n_pattern == 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pattern_reads_every_line_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
