/* The energy of a command: simulated devices, and the forms that the commands print. */
#include <jansson.h>
#include <math.h>

#include "energy.h"
#include "test.h"

static void a_simulated_device_measures_nothing_and_says_so(void **state)
{
    (void)state;
    struct err e;
    struct energy n;
    struct energy_span span;
    struct str s = STR_INIT;
    const char *source = NULL;
    ok(energy_open(&n, "sim", "", NULL, &e));
    assert_int_equal(n.n_gpu, 0);
    assert_true(isnan(energy_joules(&n, &source)));
    assert_string_equal(source, "not measured: the device is simulated");
    energy_begin(&n);
    energy_end(&n, &span);
    assert_true(isnan(span.joules) && isnan(span.gpu_joules) && isnan(span.cpu_joules));
    energy_line(&span, 10, &s);
    assert_string_equal(s.s, "");
    energy_json(&span, 10, &s);
    assert_string_equal(s.s, ", \"energy\": {\"joules\": null, \"gpu_j\": null, \"cpu_j\": null, "
                             "\"j_per_token\": null, "
                             "\"source\": \"not measured: the device is simulated\", "
                             "\"gpu\": \"not measured: the device is simulated\", "
                             "\"cpu\": \"not measured: the device is simulated\"}, "
                             "\"health\": null");
    str_free(&s);
    energy_close(&n);
}

static struct energy_span made_up(void)
{
    struct energy_span s = {.seconds = 2, .joules = 50, .gpu_joules = 40, .cpu_joules = 10};
    for (int i = 0; i < HEALTH_COUNT; i++)
        s.end.gauge[i] = (struct health_value){(double)NAN, (double)NAN, (double)NAN};
    return s;
}

static void says(const struct energy_span *span, double tokens, const char *want)
{
    struct str s = STR_INIT;
    energy_line(span, tokens, &s);
    assert_string_equal(s.s, want);
    str_free(&s);
}

static void a_line_has_what_is_known(void **state)
{
    (void)state;
    struct energy_span s = made_up();
    says(&s, 100, "0.5 J a token, 50 J in 2.00 s (GPU 40, CPU 10)");
    says(&s, 0, "50 J in 2.00 s (GPU 40, CPU 10)");
    s.cpu_joules = (double)NAN;
    says(&s, 0, "50 J in 2.00 s");
    s.cpu_joules = 10, s.gpu_joules = s.joules = (double)NAN;
    says(&s, 100, "CPU alone 10 J in 2.00 s");
    s.cpu_joules = (double)NAN;
    says(&s, 100, "");
    s.end.gauge[HEALTH_SM_MHZ].lo = 345;
    s.end.gauge[HEALTH_SM_MHZ].hi = 1980;
    s.end.gauge[HEALTH_CELSIUS].lo = s.end.gauge[HEALTH_CELSIUS].hi = 61;
    says(&s, 100, "SM clock 345 to 1980 MHz, temperature 61 C");
    s.end.has_reasons = true;
    says(&s, 100, "SM clock 345 to 1980 MHz, temperature 61 C, not throttled");
    s.end.reasons_seen = HEALTH_POWER_CAP | HEALTH_IDLE;
    says(&s, 100, "SM clock 345 to 1980 MHz, temperature 61 C, throttled: power");
    struct str t = STR_INIT;
    snprintf(s.end.source, sizeof s.end.source, "not measured: no reason");
    energy_foot(&s, &t);
    assert_string_equal(t.s, "energy: not measured: no reason\n"
                             "  SM clock 345 to 1980 MHz, temperature 61 C, throttled: power\n");
    str_clear(&t);
    s = made_up();
    s.joules = s.gpu_joules = s.cpu_joules = (double)NAN;
    energy_foot(&s, &t);
    assert_string_equal(t.s, "energy: \n");
    str_free(&t);
}

static void the_json_is_whole(void **state)
{
    (void)state;
    struct energy_span s = made_up();
    struct str t = STR_INIT;
    json_error_t why;
    s.end.gauge[HEALTH_VRAM_USED].lo = 1e9;
    s.end.gauge[HEALTH_VRAM_USED].hi = 22870491955;
    s.end.has_reasons = true;
    snprintf(s.end.gpu, sizeof s.end.gpu, "a \"quoted\" text");
    str_adds(&t, "{\"a\": 1");
    energy_json(&s, 100, &t);
    str_addc(&t, '}');
    json_t *doc = json_loadb(t.s, t.len, JSON_REJECT_DUPLICATES, &why);
    if (!doc)
        fail_msg("%s: %s", why.text, t.s);
    const json_t *energy = json_object_get(doc, "energy"), *health = json_object_get(doc, "health");
    assert_true(json_number_value(json_object_get(energy, "joules")) == 50);
    assert_true(json_number_value(json_object_get(energy, "gpu_j")) == 40);
    assert_true(json_number_value(json_object_get(energy, "cpu_j")) == 10);
    assert_true(json_number_value(json_object_get(energy, "j_per_token")) == 0.5);
    assert_string_equal(json_string_value(json_object_get(energy, "gpu")), "a \"quoted\" text");
    assert_int_equal(json_object_size(health), HEALTH_COUNT + 1);
    const json_t *used = json_object_get(health, "vram_used_bytes");
    assert_true(json_number_value(json_object_get(used, "max")) == 22870491955);
    assert_true(json_is_null(json_object_get(json_object_get(health, "celsius"), "max")));
    assert_string_equal(json_string_value(json_object_get(health, "clock_reasons")), "");
    json_decref(doc);
    str_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_simulated_device_measures_nothing_and_says_so),
        cmocka_unit_test(a_line_has_what_is_known),
        cmocka_unit_test(the_json_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
