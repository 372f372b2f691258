/* Shapes that tools know by name: their parameters are those that the models' cards state. */
#include <math.h>

#include "shape.h"
#include "test.h"

static void shapes_have_the_parameters_of_their_models(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double millions;
    } row[] = {
        {"llama3-8b", 8030},    {"llama3-70b", 70554},      {"llama3.2-1b", 1236},
        {"llama3.2-3b", 3213},  {"smollm2-135m", 134.5},    {"smollm2-360m", 361.8},
        {"smollm2-1.7b", 1711}, {"tinyllama-1.1b", 1100},   {"llama2-7b", 6738},
        {"mistral-7b", 7248},   {"mistral-small-3", 23572}, {"qwen2.5-0.5b", 494},
        {"qwen2.5-1.5b", 1544}, {"qwen2.5-3b", 3086},       {"qwen2.5-7b", 7616},
        {"qwen2.5-14b", 14770}, {"qwen2.5-32b", 32764},     {"qwen2.5-72b", 72706},
        {"qwen3-0.6b", 596},    {"qwen3-1.7b", 1721},       {"qwen3-4b", 4022},
        {"qwen3-8b", 8191},     {"qwen3-14b", 14768},       {"qwen3-32b", 32762},
        {"phi-4", 14660},       {"gemma3-270m", 268.1},     {"gemma3-1b", 999.9},
        {"gemma3-4b", 3880},    {"gemma3-12b", 11766},      {"gemma3-27b", 27009},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct err e;
        struct shape shape;
        struct sketch s;
        assert_true(shape_find(row[i].name, &shape));
        ok(sketch_shape(&shape, MIX_F16, &s, &e));
        const double have = (double)s.m.n_params / 1e6;
        if (!(fabs(have / row[i].millions - 1) < 0.001))
            fail_msg("%s: %.1f million parameters, want %.1f", row[i].name, have, row[i].millions);
        sketch_close(&s);
    }
}

/* 5 of 6 layers of Gemma 3 have the window; in other shapes none has. */
static void a_shape_has_the_windows_of_its_layers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int n_windowed, window;
    } row[] = {{"gemma3-270m", 15, 512}, {"gemma3-27b", 52, 1024}, {"mistral-7b", 0, 0}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct err e;
        struct shape shape;
        struct sketch s;
        uint64_t bytes[128];
        struct plan_input in = {0};
        assert_true(shape_find(row[i].name, &shape));
        ok(sketch_shape(&shape, MIX_F16, &s, &e));
        model_plan_sizes(&s.m, bytes, &in);
        assert_int_equal(in.n_windowed, row[i].n_windowed);
        assert_int_equal(in.window, row[i].window);
        sketch_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_have_the_parameters_of_their_models),
        cmocka_unit_test(a_shape_has_the_windows_of_its_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
