/* The joules of a command are the sum over all GPUs that compute. The stub of NVML answers alike
 * for each. */
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "energy.h"
#include "test.h"

static int (*stub_set)(const char *member, long long value);
static void (*stub_reset)(void);

static void *stub_open(void)
{
    void *lib = dlopen(TEST_NVML, RTLD_NOW | RTLD_GLOBAL); /* found again by its short name */
    if (!lib)
        fail_msg("%s", dlerror());
    void *set = dlsym(lib, "nvml_stub_set"), *reset = dlsym(lib, "nvml_stub_reset");
    memcpy(&stub_set, &set, sizeof set);
    memcpy(&stub_reset, &reset, sizeof reset);
    stub_reset();
    return lib;
}

/* Joules of the GPUs from the opening until the stub's counter has gone on by 512.5 J. */
static double joules_of(const char *pci)
{
    struct energy n;
    struct err e;
    const char *source;
    assert_true(stub_set("energy", 1000000));
    ok(energy_open(&n, "cuda", pci, &e));
    assert_true(stub_set("energy", 1512500));
    (void)energy_joules(&n, &source);
    const double joules = n.now.gpu_joules;
    assert_non_null(strstr(source, "GPU: "));
    energy_close(&n);
    return joules;
}

static void joules_are_the_sum_of_all_gpus(void **state)
{
    (void)state;
    void *lib = stub_open();
    const double one = joules_of("0000:01:00.0");
    assert_true(fabs(one - 512.5) < 1e-6);
    assert_true(fabs(joules_of("0000:01:00.0,0000:02:00.0") - 2 * one) < 1e-6);
    assert_true(fabs(joules_of("0000:01:00.0,0000:02:00.0,0000:03:00.0") - 3 * one) < 1e-6);
    dlclose(lib);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(joules_are_the_sum_of_all_gpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
