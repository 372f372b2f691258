/* cgroup: limits of version 1 and 2, at any level, in trees of small files. */
#include "cgroup.h"

#include <sys/stat.h>

#include "test.h"

static char root[256];

static int set_up(void **state)
{
    (void)state;
    test_mkdir(root);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(root);
    return 0;
}

/* Makes the folders of a file below root and writes the text. */
static void put(const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *c = path + strlen(root) + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(path, 0700);
            *c = '/';
        }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void memory_is(uint64_t limit, uint64_t left)
{
    uint64_t a = 0, b = 0;
    assert_true(cgroup_memory(root, &a, &b));
    assert_int_equal(a, limit);
    assert_int_equal(b, left);
}

static void without_files_there_is_no_limit(void **state)
{
    (void)state;
    uint64_t a, b;
    assert_int_equal(cgroup_cores(root), 0);
    assert_false(cgroup_memory(root, &a, &b));
    put("proc/self/cgroup", "0::/\n");
    put("proc/self/mountinfo", "garbage\n\n1 2 3 - cgroup2\n1 2 0:1 / /cg rw - cgroup2\n");
    assert_int_equal(cgroup_cores(root), 0);
    assert_false(cgroup_memory(root, &a, &b));
}

/* As in a container with its own name space: the group is the root of the mount. */
static void version_2_in_a_container(void **state)
{
    (void)state;
    uint64_t a, b;
    put("proc/self/cgroup", "0::/\n");
    put("proc/self/mountinfo", "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 20 0:26 / /sys/fs/cgroup "
                               "rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n");
    put("sys/fs/cgroup/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    assert_int_equal(cgroup_cores(root), 0);
    assert_false(cgroup_memory(root, &a, &b));
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    put("sys/fs/cgroup/memory.max", "1000000\n");
    assert_int_equal(cgroup_cores(root), 2); /* 1.5, rounded up */
    memory_is(1000000, 1000000);
    put("sys/fs/cgroup/memory.current", "700000\n");
    memory_is(1000000, 300000);
    put("sys/fs/cgroup/memory.stat",
        "anon 300000\nfile 400000\ninactive_file 250000\nactive_file 150000\n");
    memory_is(1000000, 550000); /* pages of files that were read can be evicted */
    put("sys/fs/cgroup/memory.current", "1300000\n");
    memory_is(1000000, 0);
    put("sys/fs/cgroup/cpu.max", "50000 100000\n");
    assert_int_equal(cgroup_cores(root), 1);
}

/* A batch job's step below a job below a user: each level may have a limit. */
static void the_least_limit_on_the_way_up_counts(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/slurm/uid 7/job/step\n");
    put("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cg\\040root rw - cgroup2 cgroup rw\n");
    put("sys/fs/cg root/slurm/uid 7/job/step/cpu.max", "max 100000\n");
    put("sys/fs/cg root/slurm/uid 7/job/cpu.max", "400000 100000\n");
    put("sys/fs/cg root/slurm/uid 7/cpu.max", "300000 100000\n");
    put("sys/fs/cg root/slurm/cpu.max", "1600000 100000\n");
    assert_int_equal(cgroup_cores(root), 3);
    put("sys/fs/cg root/slurm/uid 7/job/step/memory.max", "5000\n");
    put("sys/fs/cg root/slurm/uid 7/job/step/memory.current", "100\n");
    put("sys/fs/cg root/slurm/uid 7/memory.max", "6000\n");
    put("sys/fs/cg root/slurm/uid 7/memory.current", "5900\n");
    memory_is(5000, 100); /* limit and remaining bytes come from different levels */
    put("sys/fs/cg root/cpu.max", "100000 100000\n"); /* the mount point itself */
    assert_int_equal(cgroup_cores(root), 1);
}

static const char v1_mounts[] =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

static void version_1_counts_too(void **state)
{
    (void)state;
    uint64_t a, b;
    put("proc/self/cgroup",
        "9:name=systemd:/\n5:memory:/box/me\n3:cpuset:/\n2:cpu,cpuacct:/box\n0::/\n");
    put("proc/self/mountinfo", v1_mounts);
    put("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/box/me/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(cgroup_cores(root), 0);
    assert_false(cgroup_memory(root, &a, &b));
    put("sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "200000\n");
    assert_int_equal(cgroup_cores(root), 2);
    put("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "8000\n");
    put("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "3000\n");
    put("sys/fs/cgroup/memory/box/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\n");
    memory_is(8000, 6000);
    /* both versions at once: the smaller limit counts */
    put("sys/fs/cgroup/unified/cpu.max", "100000 100000\n");
    assert_int_equal(cgroup_cores(root), 1);
    put("sys/fs/cgroup/unified/memory.max", "9000\n");
    memory_is(8000, 6000);
}

/* A container of version 1 sees its own group as the root of the mount. /proc has the path on the
 * host. */
static void a_mount_that_begins_at_the_group(void **state)
{
    (void)state;
    put("proc/self/cgroup", "2:cpu:/docker/abc\n1:memory:/docker/abc/deep\n");
    put("proc/self/mountinfo",
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cgroup_cores(root), 3);
    put("sys/fs/cgroup/memory/deep/memory.limit_in_bytes", "4096\n");
    memory_is(4096, 4096);
    /* the path in /proc belongs to another name space: the mount point is used */
    put("proc/self/cgroup", "2:cpu:/../../other\n1:memory:/docker/abcdef\n");
    assert_int_equal(cgroup_cores(root), 3);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2048\n");
    memory_is(2048, 2048);
}

/* The search must end for any contents. */
static void strange_files_do_no_harm(void **state)
{
    (void)state;
    struct str big = STR_INIT;
    uint64_t a, b;
    str_adds(&big, "1 2 0:1 / / rw - overlay overlay lowerdir=");
    for (int i = 0; i < 20000; i++)
        str_adds(&big, "/var/lib/layers:");
    for (int i = 0; i < 2000; i++)
        str_addc(&big, ' ');
    str_adds(&big, "9 9 0:1 / /fake rw - cgroup2 c rw"); /* the end of a long line is no line */
    str_adds(&big, "\n30 20 0:26 /a\\ /cg\\0 rw - cgroup2 cgroup rw\n");
    put("proc/self/mountinfo", big.s);
    put("proc/self/cgroup", "0\n:\n::\n0::\n");
    assert_int_equal(cgroup_cores(root), 0);
    char *odd = strstr(big.s, "30 20"); /* a good line after the very long one is found */
    snprintf(odd, strlen(odd), "31 20 0:27 / /long rw - cgroup2 c rw\n");
    put("proc/self/mountinfo", big.s);
    put("proc/self/cgroup", "0::/\n");
    put("fake/cpu.max", "100000 100000\n");
    put("long/cpu.max", "200000 100000\n");
    assert_int_equal(cgroup_cores(root), 2);
    put("proc/self/cgroup", "0:://///\n");
    put("proc/self/mountinfo", "30 20 0:26 / /cg/ rw - cgroup2 cgroup rw\n");
    put("cg/cpu.max", "18446744073709551615 1\n");
    assert_int_equal(cgroup_cores(root), 0);
    put("cg/cpu.max", "5 0\n");
    assert_int_equal(cgroup_cores(root), 0);
    put("cg/memory.max", "0\n");
    put("cg/memory.current", "5\n");
    assert_true(cgroup_memory(root, &a, &b));
    assert_int_equal(b, 0);
    str_free(&big);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_files_there_is_no_limit),      TEST(version_2_in_a_container),
        TEST(the_least_limit_on_the_way_up_counts), TEST(version_1_counts_too),
        TEST(a_mount_that_begins_at_the_group),     TEST(strange_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
