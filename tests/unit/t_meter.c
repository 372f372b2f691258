/* The line of an evaluation's progress. */
#include <math.h>

#include "clinic.h"
#include "meter.h"
#include "test.h"

int clinic_width(FILE *f) /* meter.c's bar asks for it; lines are given their width */
{
    (void)f;
    return 80;
}

#define GIB 1073741824.0

static struct health_now state_of(double used, double total, uint64_t reasons)
{
    struct health_now h = {.reasons = reasons};
    for (int i = 0; i < HEALTH_COUNT; i++)
        h.gauge[i].now = (double)NAN;
    h.gauge[HEALTH_VRAM_USED].now = used;
    h.gauge[HEALTH_VRAM_TOTAL].now = total;
    return h;
}

static void says(const struct run_progress *p, const struct health_now *h, int width,
                 const char *want)
{
    struct str s = STR_INIT;
    meter_line(p, h, width, &s);
    assert_string_equal(s.s, want);
    str_free(&s);
}

static const struct run_progress half = {.done = 412,
                                         .total = 1273,
                                         .correct = 252,
                                         .fresh = 412,
                                         .new_tokens = 413310,
                                         .seconds = 1797};
#define HALF "412/1273  61.2 % (56-66)  230 tok/s  ETA 1:02:35"

static void without_energy_and_a_gpu_the_line_is_short(void **state)
{
    (void)state;
    struct health_now none = state_of((double)NAN, (double)NAN, 0);
    struct run_progress p = half;
    says(&p, &none, 80, HALF);
    p.unparsed = 2;
    says(&p, &none, 80, HALF "  2 unparsed 0 failed");
    says(&(struct run_progress){.total = 9}, &none, 80, "0/9  0 tok/s  ETA --:--");
}

static void energy_memory_and_throttling_are_shown(void **state)
{
    (void)state;
    struct health_now h = state_of(21.3 * GIB, 24 * GIB, HEALTH_POWER_CAP);
    struct run_progress p = half;
    p.joules = 212.3 * 400;
    p.n_joules = 400; /* of 412: the mean is over those that have some */
    says(&p, &h, 120, HALF "  212 J/q  21.3/24.0 GiB  throttled: power");
    h.reasons = HEALTH_IDLE;
    says(&p, &h, 80, HALF "  212 J/q  21.3/24.0 GiB");
    p.joules = 0.333 * 400;
    says(&p, &h, 80, HALF "  0.33 J/q  21.3/24.0 GiB");
}

static void the_least_important_part_gives_way(void **state)
{
    (void)state;
    struct health_now h = state_of(21.3 * GIB, 24 * GIB, HEALTH_POWER_CAP);
    struct run_progress p = half;
    p.joules = 212.3 * 412;
    p.n_joules = 412;
    says(&p, &h, 80, HALF "  212 J/q  throttled: power");
    p.unparsed = 2, p.failed = 1;
    says(&p, &h, 80, HALF "  212 J/q  2 unparsed 1 failed");
    says(&p, &h, 72, HALF "  2 unparsed 1 failed");
    says(&p, &h, 60, HALF "  212 J/q");
}

static void no_line_is_wider_than_the_terminal(void **state)
{
    (void)state;
    static const uint64_t reasons[] = {0, HEALTH_POWER_CAP, HEALTH_POWER_CAP | HEALTH_HEAT,
                                       HEALTH_HARDWARE_SLOWDOWN};
    struct str s = STR_INIT;
    for (size_t done = 1; done <= 100000; done *= 10)
        for (int i = 0; i < 16; i++) {
            struct health_now h = state_of(1000 * GIB, 1024 * GIB, reasons[i % 4]);
            struct run_progress p = {.done = done,
                                     .total = 100000,
                                     .correct = done / 2,
                                     .unparsed = i & 4 ? done / 3 : 0,
                                     .failed = i & 8 ? done / 9 : 0,
                                     .fresh = done,
                                     .new_tokens = (int64_t)done * 12345,
                                     .seconds = (double)done * 30,
                                     .joules = 123456.0 * (double)done,
                                     .n_joules = done};
            str_clear(&s);
            meter_line(&p, &h, 79, &s);
            if (s.len > 79)
                fail_msg("%zu columns: %s", s.len, s.s);
        }
    str_free(&s);
}

static void says_whole(const struct meter_whole *w, const struct run_progress *p, int width,
                       const char *want)
{
    struct str s = STR_INIT;
    meter_whole_line(w, p, width, &s);
    assert_string_equal(s.s, want);
    assert_true((int)s.len <= width);
    str_free(&s);
}

static void several_runs_have_one_line(void **state)
{
    (void)state;
    static const struct run_progress p = {
        .done = 20, .total = 50, .correct = 10, .fresh = 20, .seconds = 40, .unparsed = 1};
    struct meter_whole w = {
        .name = "cot,temperature=0.7,seed=1", .at = 3, .n = 12, .done = 100, .total = 600};
    const struct run_progress none = {.done = 0, .total = 50};
    says_whole(&w, &none, 100, "100/600  ETA --:--  cell 3/12 cot,temperature=0.7,seed=1  0/50");
    w.later = 30; /* 60 questions of 2 s */
    says_whole(&w, &p, 120,
               "120/600  ETA 2:00  cell 3/12 cot,temperature=0.7,seed=1  20/50  50.0 % (30-70)  1 "
               "unparsed 0 failed");
    w.ahead = 3600;
    w.unknown = 10; /* of (40 + 80 + 30) / 50 s */
    w.other_fresh = 10;
    w.other_seconds = 30;
    w.fresh = 20; /* 60 questions of (40 + 80) / 40 s */
    w.seconds = 80;
    says_whole(&w, &p, 100,
               "120/600  ETA ~1:03:30  cell 3/12 cot,temperature=0.7,s..  20/50  50.0 % (30-70)  1 "
               "unparsed 0 failed");
    says_whole(&w, &none, 80, "100/600  ETA ~1:05:56  cell 3/12 cot,temperature=0.7,seed=1  0/50");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_energy_and_a_gpu_the_line_is_short),
        cmocka_unit_test(energy_memory_and_throttling_are_shown),
        cmocka_unit_test(the_least_important_part_gives_way),
        cmocka_unit_test(no_line_is_wider_than_the_terminal),
        cmocka_unit_test(several_runs_have_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
