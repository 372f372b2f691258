/* The processors, cores and nodes of memory that a process may use, from trees of files that look
 * like those of large machines. */
#include "topology.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char dir[256];

static void put(const char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes a file of the tree, with its folders. */
static void put(const char *text, const char *fmt, ...)
{
    char name[200], path[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *s = path + strlen(dir) + 1; (s = strchr(s, '/')); s++) {
        *s = 0;
        mkdir(path, 0700);
        *s = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    return test_mkdir(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

/* Every processor below n is allowed. */
static struct topology read_all(int n)
{
    bool allowed[TOPOLOGY_CPUS] = {false};
    struct topology t;
    memset(allowed, true, (size_t)n);
    topology_read(dir, allowed, n, &t);
    return t;
}

static void counts(const struct topology *t, int cpus, int cores, int nodes)
{
    assert_int_equal(t->n_cpu, cpus);
    assert_int_equal(t->n_core, cores);
    assert_int_equal(t->n_node, nodes);
}

/* Two sockets of 64 cores, two threads each: processors 0-63 and 128-191 are of node 0. */
static void two_sockets(void)
{
    char pair[32];
    put("0-255\n", "cpu/online");
    for (int i = 0; i < 256; i++) {
        snprintf(pair, sizeof pair, "%d,%d\n", i % 128, i % 128 + 128);
        put(pair, "cpu/cpu%d/topology/thread_siblings_list", i);
    }
    put("0-63,128-191\n", "node/node0/cpulist");
    put("64-127,192-255\n", "node/node1/cpulist");
}

static void one_node(void **state)
{
    (void)state;
    put("0-3\n", "cpu/online");
    for (int i = 0; i < 4; i++) {
        char own[8];
        snprintf(own, sizeof own, "%d\n", i);
        put(own, "cpu/cpu%d/topology/thread_siblings_list", i);
    }
    put("0-3\n", "node/node0/cpulist");
    struct topology t = read_all(1024);
    int index[4];
    counts(&t, 4, 4, 1);
    topology_share(&t, 4, index);
    for (int i = 0; i < 4; i++)
        assert_int_equal(index[i], 0);
    long long begin, end;
    topology_items(index, 4, 0, 100, &begin, &end);
    assert_true(begin == 0 && end == 100);
}

/* With a list of nodes, only those are looked at: a start opened a thousand files without it. */
static void only_nodes_of_the_list_are_read(void **state)
{
    (void)state;
    put("0-3\n", "cpu/online");
    put("3,900\n", "node/online");
    put("0-3\n", "node/node0/cpulist"); /* not in the list */
    put("0-1\n", "node/node3/cpulist");
    put("2-3\n", "node/node900/cpulist");
    const struct topology t = read_all(1024);
    counts(&t, 4, 4, 2);
    assert_true(t.node[0] == 3 && t.node[1] == 900);
    assert_true(t.index_of[1] == 0 && t.index_of[2] == 1);
}

static void two_sockets_with_two_threads_a_core(void **state)
{
    (void)state;
    two_sockets();
    struct topology t = read_all(1024);
    int index[256];
    long long begin, end;
    counts(&t, 256, 128, 2);
    assert_true(t.node[0] == 0 && t.node[1] == 1 && t.cores[0] == 64 && t.cores[1] == 64);
    for (int i = 0; i < 256; i++) {
        assert_int_equal(t.cpu[i], i);
        assert_int_equal(t.core_of[i], i % 128);
        assert_int_equal(t.index_of[i], i % 128 / 64);
    }
    topology_share(&t, 128, index); /* a thread a core */
    for (int i = 0; i < 128; i++)
        assert_int_equal(index[i], i / 64);
    topology_items(index, 128, 0, 1000, &begin, &end);
    assert_true(begin == 0 && end == 500);
    topology_items(index, 128, 1, 1000, &begin, &end);
    assert_true(begin == 500 && end == 1000);
    topology_share(&t, 5, index); /* few threads use the memory of both */
    assert_true(index[0] == 0 && index[2] == 0 && index[3] == 1 && index[4] == 1);
    topology_items(index, 5, 0, 1000, &begin, &end);
    assert_true(begin == 0 && end == 600);
    topology_items(index, 5, 1, 1000, &begin, &end);
    assert_true(begin == 600 && end == 1000);
    topology_share(&t, 1, index);
    topology_items(index, 1, 1, 1000, &begin, &end);
    assert_true(index[0] == 0 && begin == end);
    topology_share(&t, 256, index); /* asked for: both threads of each core */
    assert_true(index[127] == 0 && index[128] == 1);
}

/* Processes that divide the machine take whole cores, and whole nodes where that is possible. */
static void processes_take_whole_cores_of_few_nodes(void **state)
{
    (void)state;
    two_sockets();
    struct topology t = read_all(256);
    bool mine[256], taken[256] = {false};
    assert_false(topology_part(&t, 0, 129, mine));
    for (int n = 1; n <= 128; n += n < 4 ? 1 : 31) {
        memset(taken, false, sizeof taken);
        for (int w = 0; w < n; w++) {
            int cores = 0;
            assert_true(topology_part(&t, w, n, mine));
            for (int i = 0; i < 256; i++) {
                assert_false(mine[i] && taken[i]);
                assert_int_equal(mine[i], mine[(i + 128) % 256]); /* both threads of a core */
                taken[i] |= mine[i];
                cores += i < 128 && mine[i];
                assert_true(n != 2 || !mine[i] || i % 128 / 64 == w); /* a socket each */
            }
            assert_true(cores == 128 / n || cores == 128 / n + 1);
        }
        for (int i = 0; i < 256; i++)
            assert_true(taken[i]);
    }
}

/* Some machines number the processors of two sockets in turn. */
static void numbers_that_alternate_between_nodes(void **state)
{
    (void)state;
    bool mine[8];
    put("0-7\n", "cpu/online");
    put("0,2,4,6\n", "node/node0/cpulist");
    put("1,3,5,7\n", "node/node1/cpulist");
    struct topology t = read_all(8);
    counts(&t, 8, 8, 2);
    for (int w = 0; w < 2; w++) {
        assert_true(topology_part(&t, w, 2, mine));
        for (int i = 0; i < 8; i++)
            assert_int_equal(mine[i], i % 2 == w);
    }
}

/* A control group or an affinity mask: 8 processors of node 1, of them two of one core. */
static void a_mask_leaves_what_it_allows(void **state)
{
    (void)state;
    two_sockets();
    bool allowed[256] = {false};
    struct topology t;
    for (int i = 120; i < 127; i++)
        allowed[i] = true;
    allowed[120 + 128] = true;
    topology_read(dir, allowed, 256, &t);
    counts(&t, 8, 7, 1);
    assert_true(t.node[0] == 1 && t.cores[0] == 7 && t.cpu[7] == 248 && t.core_of[7] == 120);
    /* one core of node 0 and three of node 1 */
    memset(allowed, false, sizeof allowed);
    allowed[3] = allowed[64] = allowed[65] = allowed[66] = true;
    topology_read(dir, allowed, 256, &t);
    counts(&t, 4, 4, 2);
    int index[4];
    topology_share(&t, 4, index);
    assert_true(index[0] == 0 && index[1] == 1 && index[3] == 1);
    topology_share(&t, 2, index); /* shares of 0.5 and 1.5: the first of equal remainders */
    assert_true(index[0] == 0 && index[1] == 1);
    /* the second thread of a core stands for it */
    memset(allowed, false, sizeof allowed);
    allowed[130] = true;
    topology_read(dir, allowed, 256, &t);
    counts(&t, 1, 1, 1);
    assert_true(t.cpu[0] == 130 && t.core_of[0] == 130 && t.cores[0] == 1);
}

static void offline_processors_and_holes_do_not_count(void **state)
{
    (void)state;
    two_sockets();
    put("0-3,64,66-67,200\n", "cpu/online");
    struct topology t = read_all(256);
    counts(&t, 8, 8, 2); /* 200 alone is left of its core */
    assert_true(t.cores[0] == 4 && t.cores[1] == 4 && t.cpu[5] == 66 && t.core_of[7] == 200);
    test_rmdir(dir);
    test_mkdir(dir);
    /* nodes 0 and 2; node 1 has memory alone, node 5 has processors that are off */
    put("0-1,8-9\n", "cpu/online");
    put("0-1\n", "node/node0/cpulist");
    put("\n", "node/node1/cpulist");
    put("8-9\n", "node/node2/cpulist");
    put("16-17\n", "node/node5/cpulist");
    t = read_all(1024);
    counts(&t, 4, 4, 2);
    assert_true(t.node[0] == 0 && t.node[1] == 2 && t.index_of[2] == 1 && t.index_of[3] == 1);
}

static void without_files_each_processor_is_a_core(void **state)
{
    (void)state;
    struct topology t = read_all(6);
    counts(&t, 6, 6, 1);
    assert_int_equal(t.cores[0], 6);
    t = read_all(0);
    counts(&t, 1, 1, 1);
    put("junk\n", "cpu/cpu0/topology/thread_siblings_list");
    put("-5,3-,x\n", "cpu/cpu1/topology/thread_siblings_list");
    put("7-2,99999999\n", "node/node0/cpulist");
    t = read_all(3);
    counts(&t, 3, 3, 1);
    /* a processor that no node lists belongs to the first */
    put("1\n", "node/node3/cpulist");
    t = read_all(3);
    counts(&t, 3, 3, 1);
    assert_true(t.node[0] == 3 && t.cores[0] == 3);
}

/* On this machine: calls of the system that change nothing with one node, and memory that can be
 * used whatever they say. */
static void this_machine_answers(void **state)
{
    (void)state;
    struct topology t;
    topology_here(&t);
    assert_true(t.n_cpu >= t.n_core && t.n_core >= t.n_node && t.n_node >= 1);
    assert_true(t.n_cpu <= sysconf(_SC_NPROCESSORS_CONF));
    const size_t n = 1 << 20;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    for (int k = 0; k < t.n_node; k++)
        topology_bind_memory(&t, k, p + 100, n - 200);
    assert_true(topology_bind_memory(&t, 0, p + 1, 10)); /* no whole page: nothing to do */
    topology_interleave(&t, true);
    memset(p, 7, n);
    topology_interleave(&t, false);
    for (size_t i = 0; i < n; i += 4096)
        assert_int_equal(p[i], 7);
    t.node[0] = 900; /* no such node */
    assert_false(topology_bind_memory(&t, 0, p, n));
    munmap(p, n);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_node),
        TEST(only_nodes_of_the_list_are_read),
        TEST(two_sockets_with_two_threads_a_core),
        TEST(processes_take_whole_cores_of_few_nodes),
        TEST(numbers_that_alternate_between_nodes),
        TEST(a_mask_leaves_what_it_allows),
        TEST(offline_processors_and_holes_do_not_count),
        TEST(without_files_each_processor_is_a_core),
        TEST(this_machine_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
