/* Every GPU of a command is read: joules are sums, and each has its own state. */
#include <dlfcn.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "energy.h"
#include "test.h"

static int (*stub_set)(const char *member, long long value);
static int (*stub_set_card)(int number, const char *member, long long value);
static void (*stub_reset)(void);

static void symbol(void *lib, const char *name, void *to)
{
    void *p = dlsym(lib, name);
    assert_non_null(p);
    memcpy(to, &p, sizeof p);
}

static void *stub_open(void)
{
    void *lib = dlopen(TEST_NVML, RTLD_NOW | RTLD_GLOBAL); /* found again by its short name */
    if (!lib)
        fail_msg("%s", dlerror());
    symbol(lib, "nvml_stub_set", &stub_set);
    symbol(lib, "nvml_stub_set_card", &stub_set_card);
    symbol(lib, "nvml_stub_reset", &stub_reset);
    stub_reset();
    return lib;
}

#define THREE "0000:01:00.0,0000:02:00.0,0000:03:00.0"
static const int numbers[3] = {2, 0, 5};

/* Joules of the GPUs from the opening until card i's counter has gone on by (i + 1) J. */
static double joules_of(const char *pci)
{
    struct energy n;
    struct err e;
    const char *source;
    assert_true(stub_set("energy", 1000000));
    ok(energy_open(&n, "cuda", pci, numbers, &e));
    for (int i = 0; i < 3; i++)
        assert_true(stub_set_card(i, "energy", 1001000 + i * 1000));
    (void)energy_joules(&n, &source);
    const double joules = n.now.gpu_joules;
    assert_non_null(strstr(source, "GPU: "));
    for (int i = 0; i < n.n_gpu; i++) {
        assert_int_equal(n.gpu[i].number, numbers[i]);
        assert_true(fabs(n.gpu[i].now.gpu_joules - (i + 1)) < 1e-6);
    }
    energy_close(&n);
    return joules;
}

static void joules_are_the_sum_of_all_gpus(void **state)
{
    (void)state;
    void *lib = stub_open();
    assert_true(fabs(joules_of("0000:01:00.0") - 1) < 1e-6);
    assert_true(fabs(joules_of("0000:01:00.0,0000:02:00.0") - 3) < 1e-6);
    assert_true(fabs(joules_of(THREE) - 6) < 1e-6);
    dlclose(lib);
}

/* Opens three cards and waits until the state of each has been sampled. */
static void open_three(struct energy *n)
{
    struct err e;
    static const int celsius[3] = {40, 71, 55};
    for (int i = 0; i < 3; i++)
        assert_true(stub_set_card(i, "celsius", celsius[i]));
    assert_true(stub_set_card(1, "reasons", HEALTH_HEAT));
    assert_true(stub_set_card(2, "used", 1000));
    ok(energy_open(n, "cuda", THREE, numbers, &e));
    energy_begin(n);
}

static double at(const json_t *item, const char *key, const char *end)
{
    return json_number_value(json_object_get(json_object_get(item, key), end));
}

static void each_gpu_has_its_own_state(void **state)
{
    (void)state;
    void *lib = stub_open();
    struct energy n;
    struct energy_span span;
    struct str s = STR_INIT, line = STR_INIT;
    open_three(&n);
    for (int i = 0; i < 3; i++)
        assert_true(stub_set_card(i, "energy", 1000000 + 1000 * (i + 1)));
    energy_end(&n, &span);
    assert_int_equal(span.n_gpu, 3);
    str_adds(&s, "{\"a\": 1");
    energy_json(&span, 2, &s);
    str_addc(&s, '}');
    json_t *doc = json_loadb(s.s, s.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(doc);
    const json_t *health = json_object_get(doc, "health"), *energy = json_object_get(doc, "energy");
    assert_int_equal(json_array_size(health), 3);
    assert_true(fabs(json_number_value(json_object_get(energy, "gpu_j")) - 6) < 1e-6);
    for (int i = 0; i < 3; i++) {
        static const int celsius[3] = {40, 71, 55};
        const json_t *item = json_array_get(health, (size_t)i);
        assert_int_equal(json_integer_value(json_object_get(item, "gpu")), numbers[i]);
        assert_true(fabs(json_number_value(json_object_get(item, "joules")) - (i + 1)) < 1e-6);
        assert_true(at(item, "celsius", "min") == celsius[i]);
        assert_true(at(item, "vram_used_bytes", "max") == (i == 2 ? 1000 : 22870491955));
    }
    energy_line(&span, 0, &line);
    static const char *const parts[] = {
        "; GPU 2: 1 J, SM clock 1980 MHz, memory clock 2619 MHz, "
        "temperature 40 C, power 200 W, not throttled",
        "; GPU 0: 2 J, ", "temperature 71 C, power 200 W, throttled: heat", "; GPU 5: 3 J, "};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(line.s, parts[i]))
            fail_msg("'%s' is not in '%s'", parts[i], line.s);
    /* of all: memory and watts are sums, and any card that is held back shows */
    assert_true(n.now.gauge[HEALTH_VRAM_USED].now == 2 * 22870491955.0 + 1000);
    assert_true(n.now.gauge[HEALTH_WATTS].now == 600);
    assert_true(isnan(n.now.gauge[HEALTH_CELSIUS].now));
    assert_int_equal(n.now.reasons, HEALTH_HEAT);
    json_decref(doc);
    str_free(&s);
    str_free(&line);
    energy_close(&n);
    dlclose(lib);
}

/* The sum ends with the first card that is lost, and the text names it. */
static void a_card_that_is_lost_is_named(void **state)
{
    (void)state;
    void *lib = stub_open();
    struct energy n;
    const char *source;
    open_three(&n);
    assert_true(stub_set_card(1, "lost_after", 1));
    assert_true(isnan(energy_joules(&n, &source)));
    if (strncmp(source, "not measured: GPU 0: GPU lost after ", 36) != 0)
        fail_msg("%s", source);
    assert_true(isnan(n.now.gauge[HEALTH_VRAM_USED].now));
    assert_true(isfinite(n.gpu[0].now.gpu_joules) && isfinite(n.gpu[2].now.gpu_joules));
    assert_true(n.gpu[0].now.gauge[HEALTH_CELSIUS].now == 40);
    energy_close(&n);
    dlclose(lib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joules_are_the_sum_of_all_gpus),
        cmocka_unit_test(each_gpu_has_its_own_state),
        cmocka_unit_test(a_card_that_is_lost_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
