/* Energy and state of GPU and processor, from a stub of NVML and a folder like that of sysfs. */
#define _GNU_SOURCE /* setresuid */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "health.h"
#include "nvml_stub.h"
#include "test.h"

#define BUS "0000:C1:00.0"
enum { NEVER = 3600000 }; /* ms: no sample but those of the calls */

static void pause_ms(long ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* ---- the stub -------------------------------------------------------------------------------- */

struct stub {
    void *lib;
    void (*reset)(void);
    void (*get)(struct nvml_stub *out);
    int (*set_)(const char *member, long long value);
};

static void stub_symbol(void *lib, const char *name, void *member)
{
    void *p = dlsym(lib, name);
    assert_non_null(p);
    memcpy(member, &p, sizeof p);
}

/* The same instance that health opens by this path. */
static void stub_open(struct stub *s, const char *path)
{
    s->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!s->lib)
        fail_msg("%s", dlerror());
    stub_symbol(s->lib, "nvml_stub_reset", &s->reset);
    stub_symbol(s->lib, "nvml_stub_get", &s->get);
    stub_symbol(s->lib, "nvml_stub_set", &s->set_);
    s->reset();
}

static void stub_set(const struct stub *s, const char *member, long long value)
{
    assert_true(s->set_(member, value));
}

static void stub_close(struct stub *s)
{
    struct nvml_stub n;
    s->get(&n);
    assert_int_equal(n.inits, n.shutdowns);
    dlclose(s->lib);
}

/* ---- a folder like /sys/class/powercap ------------------------------------------------------- */

/* Replaces the file in one step, so that no reader sees half of it. */
static void put(const char *dir, const char *domain, const char *name, const char *text)
{
    char path[512], fresh[540];
    snprintf(path, sizeof path, "%s/%s", dir, domain);
    (void)mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/%s", dir, domain, name);
    snprintf(fresh, sizeof fresh, "%s.fresh", path);
    FILE *f = fopen(fresh, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", text);
    fclose(f);
    assert_int_equal(rename(fresh, path), 0);
}

static void package(const char *dir, const char *domain, const char *name, const char *uj)
{
    put(dir, domain, "name", name);
    put(dir, domain, "energy_uj", uj);
    put(dir, domain, "max_energy_range_uj", "262143328850");
}

static struct health *begin(const char *nvml, const char *powercap, const char *pci, int period_ms)
{
    struct err e;
    struct health *h = NULL;
    struct health_options o = {
        .nvml = nvml, .powercap = powercap, .pci = pci, .period_ms = period_ms};
    ok(health_open(&o, &h, &e));
    return h;
}

static struct health_now now_of(struct health *h)
{
    struct health_now n;
    health_read(h, &n);
    return n;
}

static void near_to(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want) + 1e-12))
        fail_msg("got %.17g, want %.17g", got, want);
}

#define has_text(text, part)                                                                       \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("'%s' is not in '%s'", (part), (text));                                       \
    } while (0)

/* ---- the GPU --------------------------------------------------------------------------------- */

static void the_counter_and_the_gauges_of_the_gpu_in_use(void **state)
{
    (void)state;
    struct stub s;
    struct nvml_stub n;
    stub_open(&s, TEST_NVML);
    struct health *h = begin(TEST_NVML, "/nowhere", BUS, NEVER);
    s.get(&n);
    assert_string_equal(n.pci, BUS);
    stub_set(&s, "energy", 1512500);
    struct health_now v = now_of(h);
    near_to(v.gpu_joules, 512.5);
    near_to(v.joules, 512.5);
    assert_true(isnan(v.cpu_joules));
    assert_string_equal(v.gpu, "NVML energy counter");
    assert_string_equal(v.cpu, "not measured: no RAPL (/nowhere: No such file or directory)");
    assert_string_equal(v.source, "GPU: NVML energy counter; CPU: not measured: no RAPL (/nowhere: "
                                  "No such file or directory)");
    const double want[HEALTH_COUNT] = {[HEALTH_WATTS] = 200,
                                       [HEALTH_SM_MHZ] = 1980,
                                       [HEALTH_MEMORY_MHZ] = 2619,
                                       [HEALTH_CELSIUS] = 45,
                                       [HEALTH_PCIE_GENERATION] = 4,
                                       [HEALTH_PCIE_GENERATION_MAX] = 5,
                                       [HEALTH_PCIE_LANES] = 8,
                                       [HEALTH_PCIE_LANES_MAX] = 16,
                                       [HEALTH_PCIE_RX] = 2.5e9,
                                       [HEALTH_PCIE_TX] = 1e6,
                                       [HEALTH_VRAM_USED] = 22870491955,
                                       [HEALTH_VRAM_TOTAL] = 25769803776};
    for (int i = 0; i < 2000 && isnan(now_of(h).gauge[HEALTH_PCIE_RX].now); i++)
        pause_ms(1); /* the sampler's first sample has the throughput */
    v = now_of(h);
    for (int i = 0; i < HEALTH_COUNT; i++)
        near_to(v.gauge[i].now, want[i]);
    assert_true(v.has_reasons && v.reasons == 0);
    health_close(h);
    stub_close(&s);
}

static void ranges_are_those_of_the_samples_since_the_begin(void **state)
{
    (void)state;
    struct stub s;
    stub_open(&s, TEST_NVML);
    stub_set(&s, "celsius", 80);
    stub_set(&s, "reasons", HEALTH_HEAT);
    struct health *h = begin(TEST_NVML, "/nowhere", BUS, 1);
    static const int celsius[] = {41, 39, 57};
    stub_set(&s, "reasons", HEALTH_IDLE);
    for (int i = 0; i < 3; i++) {
        stub_set(&s, "celsius", celsius[i]);
        for (int k = 0; k < 5000 && now_of(h).gauge[HEALTH_CELSIUS].now != celsius[i]; k++)
            pause_ms(1);
        if (i == 0) {
            assert_int_equal(now_of(h).reasons_seen, HEALTH_HEAT | HEALTH_IDLE);
            near_to(now_of(h).gauge[HEALTH_CELSIUS].hi, 80);
            health_begin(h);
            assert_true(now_of(h).has_reasons);
        }
    }
    stub_set(&s, "reasons", HEALTH_POWER_CAP);
    for (int k = 0; k < 5000 && now_of(h).reasons != HEALTH_POWER_CAP; k++)
        pause_ms(1);
    struct health_now v = now_of(h);
    near_to(v.gauge[HEALTH_CELSIUS].lo, 39);
    near_to(v.gauge[HEALTH_CELSIUS].hi, 57);
    near_to(v.gauge[HEALTH_CELSIUS].now, 57);
    assert_true(v.has_reasons);
    assert_int_equal(v.reasons_seen, HEALTH_IDLE | HEALTH_POWER_CAP);
    health_close(h);
    stub_close(&s);
}

static void a_gpu_that_vanishes_ends_its_joules_and_is_named(void **state)
{
    (void)state;
    struct stub s;
    char dir[256];
    stub_open(&s, TEST_NVML);
    test_mkdir(dir);
    package(dir, "intel-rapl:0", "package-0", "1000000");
    struct health *h = begin(TEST_NVML, dir, BUS, NEVER);
    stub_set(&s, "energy", 1003000);
    near_to(now_of(h).joules, 3);
    stub_set(&s, "lost_after", 1); /* it has answered more often */
    package(dir, "intel-rapl:0", "package-0", "3000000");
    struct health_now v = now_of(h);
    assert_true(isnan(v.gpu_joules));
    assert_true(isnan(v.joules));
    near_to(v.cpu_joules, 2); /* the processor's go on */
    has_text(v.gpu, "not measured: GPU lost after ");
    has_text(v.gpu, " s (NVML error 15: GPU is lost)");
    assert_string_equal(v.source, v.gpu);
    for (int i = 0; i < HEALTH_COUNT; i++)
        assert_true(isnan(v.gauge[i].now));
    assert_true(v.has_reasons);
    near_to(v.gauge[HEALTH_CELSIUS].hi, 45); /* the ranges stay */
    stub_set(&s, "lost_after", 0);           /* a card that comes back is another one */
    assert_true(isnan(now_of(h).gpu_joules));
    assert_true(isnan(now_of(h).joules));
    health_begin(h);
    assert_false(now_of(h).has_reasons);
    health_close(h);

    static const struct {
        int rc;
        const char *text;
    } ends[] = {{1, "GPU lost after "}, {16, "GPU lost after "}, {999, "NVML failed after "}};
    for (int i = 0; i < 3; i++) {
        s.reset();
        h = begin(TEST_NVML, "/nowhere", BUS, NEVER);
        stub_set(&s, "lost_after", 1);
        stub_set(&s, "lost_rc", ends[i].rc);
        v = now_of(h);
        assert_true(isnan(v.gpu_joules));
        has_text(v.gpu, ends[i].text);
        health_close(h);
    }
    stub_close(&s);
    test_rmdir(dir);
}

static void a_counter_that_goes_back_is_no_energy(void **state)
{
    (void)state;
    struct stub s;
    stub_open(&s, TEST_NVML);
    struct health *h = begin(TEST_NVML, "/nowhere", BUS, NEVER);
    stub_set(&s, "energy", 999999);
    struct health_now v = now_of(h);
    assert_true(isnan(v.gpu_joules));
    has_text(v.gpu, "the energy counter went back from 1000000 to 999999 mJ");
    health_close(h);
    stub_close(&s);
}

/* Joules of 200 W, then 400 W, by the sampler's clock. */
static void integrates(struct stub *s, const char *library)
{
    struct health *h = begin(library, "/nowhere", BUS, 5);
    pause_ms(60);
    struct health_now a = now_of(h);
    assert_string_equal(a.gpu, "NVML power, integrated");
    if (!(a.gpu_joules > 0 && a.gpu_joules <= 200.001 * a.seconds))
        fail_msg("%g J in %g s at 200 W", a.gpu_joules, a.seconds);
    stub_set(s, "power", 400000);
    now_of(h);
    struct health_now b = now_of(h);
    pause_ms(60);
    struct health_now c = now_of(h);
    double watts = (c.gpu_joules - b.gpu_joules) / (c.seconds - b.seconds);
    if (!(fabs(watts - 400) < 1))
        fail_msg("%g W, and the power is 400 W", watts);
    health_close(h);
}

static void without_a_counter_the_power_is_integrated(void **state)
{
    (void)state;
    struct stub s;
    stub_open(&s, TEST_NVML); /* a new driver, an old card */
    stub_set(&s, "energy_rc", 3);
    integrates(&s, TEST_NVML);
    stub_close(&s);
    stub_open(&s, TEST_NVML_OLD); /* an old driver lacks the functions */
    stub_set(&s, "reasons", HEALTH_POWER_CAP);
    integrates(&s, TEST_NVML_OLD);
    struct health *h = begin(TEST_NVML_OLD, "/nowhere", BUS, NEVER);
    assert_int_equal(now_of(h).reasons, HEALTH_POWER_CAP); /* by their older name */
    health_close(h);
    stub_close(&s);
}

static void a_gpu_without_counter_and_power_still_has_gauges(void **state)
{
    (void)state;
    struct stub s;
    stub_open(&s, TEST_NVML);
    stub_set(&s, "energy_rc", 3);
    stub_set(&s, "power_rc", 3);
    struct health *h = begin(TEST_NVML, "/nowhere", BUS, NEVER);
    struct health_now v = now_of(h);
    assert_true(isnan(v.gpu_joules));
    assert_string_equal(v.source, "not measured: NVML knows neither energy nor power of this GPU");
    near_to(v.gauge[HEALTH_VRAM_TOTAL].now, 25769803776);
    assert_true(isnan(v.gauge[HEALTH_WATTS].now));
    health_close(h);

    s.reset();
    stub_set(&s, "gauge_rc", 3); /* no gauge, but energy */
    h = begin(TEST_NVML, "/nowhere", BUS, NEVER);
    stub_set(&s, "energy", 1001000);
    v = now_of(h);
    near_to(v.gpu_joules, 1);
    assert_true(isnan(v.gauge[HEALTH_CELSIUS].now) && isnan(v.gauge[HEALTH_VRAM_USED].hi));
    assert_false(v.has_reasons);
    health_close(h);
    stub_close(&s);
}

static void an_absent_library_or_gpu_is_named(void **state)
{
    (void)state;
    struct stub s;
    struct nvml_stub n;
    char dir[256];
    test_mkdir(dir);
    package(dir, "intel-rapl:0", "package-0", "0");
    struct health *h = begin("/nowhere/libnvidia-ml.so.1", dir, BUS, NEVER);
    struct health_now v = now_of(h);
    has_text(v.gpu, "not measured: no NVML (/nowhere/libnvidia-ml.so.1: cannot open shared object");
    assert_true(isnan(v.gpu_joules));
    assert_true(isnan(v.joules)); /* the processor's alone would be no answer */
    near_to(v.cpu_joules, 0);
    assert_string_equal(v.source, v.gpu);
    health_close(h);

    stub_open(&s, TEST_NVML);
    stub_set(&s, "init_rc", 9);
    h = begin(TEST_NVML, dir, BUS, NEVER);
    assert_string_equal(now_of(h).source,
                        "not measured: NVML does not begin (error 9: Driver Not Loaded)");
    health_close(h);
    s.reset();
    stub_set(&s, "find_rc", 6);
    h = begin(TEST_NVML, dir, "FFFF:FF:1F.7", NEVER);
    assert_string_equal(now_of(h).source,
                        "not measured: NVML has no GPU FFFF:FF:1F.7 (error 6: Not Found)");
    health_close(h);
    stub_close(&s);

    stub_open(&s, TEST_NVML);
    h = begin(TEST_NVML, dir, "", NEVER); /* no GPU in use: NVML is not touched */
    s.get(&n);
    assert_int_equal(n.inits, 0);
    v = now_of(h);
    assert_string_equal(v.gpu, "not measured: no GPU in use");
    assert_string_equal(v.source, "CPU: RAPL, 1 package");
    near_to(v.joules, 0);
    health_close(h);
    stub_close(&s);
    test_rmdir(dir);
}

/* ---- the processor --------------------------------------------------------------------------- */

static void only_packages_count_and_each_once(void **state)
{
    (void)state;
    char dir[256];
    test_mkdir(dir);
    static const char *const domain[][2] = {{"intel-rapl:0", "package-0"},
                                            {"intel-rapl:0:0", "core"},
                                            {"intel-rapl:0:1", "dram"},
                                            {"intel-rapl:1", "package-1"},
                                            {"intel-rapl:2", "psys"},
                                            {"intel-rapl-mmio:0", "package-0"},
                                            {"intel-rapl:3", "package-2-die-1"},
                                            {"dtpm", "package-9"},
                                            {"intel-rapl:7:0", "core"}};
    for (int i = 0; i < 9; i++)
        package(dir, domain[i][0], domain[i][1], "500");
    struct health *h = begin(NULL, dir, "", NEVER);
    for (int i = 0; i < 9; i++)
        package(dir, domain[i][0], domain[i][1], "2000500");
    struct health_now v = now_of(h);
    near_to(v.cpu_joules, 6);
    near_to(v.joules, 6);
    assert_string_equal(v.cpu, "RAPL, 3 packages");
    health_close(h);
    test_rmdir(dir);
}

static void a_counter_that_wraps_goes_on(void **state)
{
    (void)state;
    char dir[256];
    test_mkdir(dir);
    package(dir, "intel-rapl:0", "package-0", "262143000000");
    struct health *h = begin(NULL, dir, NULL, NEVER);
    package(dir, "intel-rapl:0", "package-0", "262143328850");
    near_to(now_of(h).cpu_joules, 0.328850);
    package(dir, "intel-rapl:0", "package-0", "1000000");
    near_to(now_of(h).cpu_joules, 1.328850);
    package(dir, "intel-rapl:0", "package-0", "999999"); /* nearly a whole period later */
    near_to(now_of(h).cpu_joules, 1.328850 + 262143.328849);
    health_close(h);
    h = begin(NULL, dir, NULL, 1); /* the sampler sees a wrap that no reader sees */
    package(dir, "intel-rapl:0", "package-0", "262143000000");
    pause_ms(300);
    package(dir, "intel-rapl:0", "package-0", "2000000");
    pause_ms(300);
    package(dir, "intel-rapl:0", "package-0", "4000000");
    near_to(now_of(h).cpu_joules, (262143000000 - 999999 + 328850 + 4000000) * 1e-6);
    health_close(h);
    test_rmdir(dir);
}

static void a_counter_that_cannot_be_read_is_named(void **state)
{
    (void)state;
    char dir[256], path[512], want[700];
    test_mkdir(dir);
    struct health *h = begin(NULL, dir, "", NEVER);
    snprintf(want, sizeof want, "not measured: no RAPL (%s has no package)", dir);
    assert_string_equal(now_of(h).source, want);
    health_close(h);

    package(dir, "intel-rapl:0", "package-0", "5");
    package(dir, "intel-rapl:1", "package-1", "nothing");
    h = begin(NULL, dir, "", NEVER); /* a part of the packages would be no answer */
    snprintf(want, sizeof want, "not measured: %s/intel-rapl:1/energy_uj: 'nothing' is no number",
             dir);
    assert_string_equal(now_of(h).source, want);
    assert_true(isnan(now_of(h).joules));
    health_close(h);

    package(dir, "intel-rapl:1", "package-1", "7");
    h = begin(NULL, dir, "", NEVER);
    near_to(now_of(h).joules, 0);
    snprintf(path, sizeof path, "%s/intel-rapl:1/energy_uj", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0); /* reading it fails */
    struct health_now v = now_of(h);
    assert_true(isnan(v.cpu_joules) && isnan(v.joules));
    has_text(v.source, "not measured: RAPL ended after ");
    has_text(v.source, "/intel-rapl:1/energy_uj: ");
    assert_int_equal(rmdir(path), 0);
    package(dir, "intel-rapl:1", "package-1", "9");
    assert_true(isnan(now_of(h).joules)); /* the gap is not known */
    health_close(h);

    put(dir, "intel-rapl:1", "max_energy_range_uj", "8");
    h = begin(NULL, dir, "", NEVER);
    package(dir, "intel-rapl:1", "package-1", "1");
    has_text(now_of(h).source, "energy_uj: went back from 9 to 1, and max_energy_range_uj is 8");
    health_close(h);
    test_rmdir(dir);
}

/* Most systems let only root read the counters. */
static void a_counter_without_permission_is_named(void **state)
{
    (void)state;
    char dir[256], path[512], want[700];
    test_mkdir(dir);
    assert_int_equal(chmod(dir, 0755), 0);
    package(dir, "intel-rapl:0", "package-0", "5");
    snprintf(path, sizeof path, "%s/intel-rapl:0/energy_uj", dir);
    assert_int_equal(chmod(path, 0), 0);
    snprintf(want, sizeof want, "not measured: %s: Permission denied", path);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct health *h = NULL;
        struct health_now v = {.source = ""};
        struct health_options o = {.powercap = dir, .period_ms = NEVER};
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0)
            _exit(2);
        if (health_open(&o, &h, NULL) == 0)
            health_read(h, &v);
        if (strcmp(v.source, want) != 0)
            fprintf(stderr, "got  %s\nwant %s\n", v.source, want);
        _exit(strcmp(v.source, want) || !isnan(v.joules));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    test_rmdir(dir);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct readers {
    struct health *h;
    atomic_int stop, bad;
    atomic_long reads;
};

static void *read_on(void *arg)
{
    struct readers *r = arg;
    struct health_now v;
    double last = 0;
    bool lost = false;
    for (int i = 0; !atomic_load(&r->stop); i++) {
        health_read(r->h, &v);
        if (isnan(v.gpu_joules) ? !strstr(v.gpu, "GPU lost") : lost || v.gpu_joules < last)
            atomic_store(&r->bad, 1);
        lost = isnan(v.gpu_joules);
        last = lost ? last : v.gpu_joules;
        if (i % 16 == 0)
            health_begin(r->h);
        atomic_fetch_add(&r->reads, 1);
    }
    return NULL;
}

static void many_threads_read_while_samples_are_taken(void **state)
{
    (void)state;
    struct stub s;
    struct nvml_stub n;
    pthread_t thread[4];
    char dir[256];
    test_mkdir(dir);
    package(dir, "intel-rapl:0", "package-0", "5");
    stub_open(&s, TEST_NVML);
    stub_set(&s, "energy_step", 7);
    struct readers r = {.h = begin(TEST_NVML, dir, BUS, 1)};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_on, &r), 0);
    for (int i = 0; i < 5000 && atomic_load(&r.reads) < 2000; i++)
        pause_ms(1);
    s.get(&n);
    struct health_now v = now_of(r.h);
    assert_true(v.gpu_joules >= (double)(n.last - n.first) * 1e-3); /* none is lost */
    stub_set(&s, "lost_after", 1);
    long lost_at = atomic_load(&r.reads);
    for (int i = 0; i < 5000 && atomic_load(&r.reads) < lost_at + 500; i++)
        pause_ms(1);
    atomic_store(&r.stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&r.bad), 0);
    assert_true(isnan(now_of(r.h).joules));
    health_close(r.h);
    stub_close(&s);
    test_rmdir(dir);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void reasons_have_words(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    health_reasons(0, &s);
    assert_string_equal(s.s, "");
    health_reasons(HEALTH_IDLE | HEALTH_POWER_CAP, &s);
    assert_string_equal(s.s, "idle, software power cap");
    str_clear(&s);
    health_reasons(HEALTH_HARDWARE_HEAT | 0x1200, &s);
    assert_string_equal(s.s, "hardware thermal slowdown, reasons 0x1200");
    str_free(&s);
    assert_string_equal(health_throttled(HEALTH_IDLE | HEALTH_APPLICATION_CLOCKS), "");
    assert_string_equal(health_throttled(HEALTH_POWER_CAP), "power");
    assert_string_equal(health_throttled(HEALTH_POWER_BRAKE | HEALTH_HEAT), "power, heat");
    assert_string_equal(health_throttled(HEALTH_HARDWARE_HEAT | HEALTH_HARDWARE_SLOWDOWN), "heat");
    assert_string_equal(health_throttled(HEALTH_HARDWARE_SLOWDOWN), "hardware");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_and_the_gauges_of_the_gpu_in_use),
        cmocka_unit_test(ranges_are_those_of_the_samples_since_the_begin),
        cmocka_unit_test(a_gpu_that_vanishes_ends_its_joules_and_is_named),
        cmocka_unit_test(a_counter_that_goes_back_is_no_energy),
        cmocka_unit_test(without_a_counter_the_power_is_integrated),
        cmocka_unit_test(a_gpu_without_counter_and_power_still_has_gauges),
        cmocka_unit_test(an_absent_library_or_gpu_is_named),
        cmocka_unit_test(only_packages_count_and_each_once),
        cmocka_unit_test(a_counter_that_wraps_goes_on),
        cmocka_unit_test(a_counter_that_cannot_be_read_is_named),
        cmocka_unit_test(a_counter_without_permission_is_named),
        cmocka_unit_test(many_threads_read_while_samples_are_taken),
        cmocka_unit_test(reasons_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
