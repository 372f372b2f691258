/* Reports of nsys and ncu as rows; names of kernels as ops. */
#include <dirent.h>
#include <math.h>

#include "kernel_name.h"
#include "nsight.h"
#include "ops.h"
#include "test.h"

/* ---- names of kernels ------------------------------------------------------------------------ */

static void same(const char *name, const char *op, const char *kernel, const char *instance)
{
    struct kernel_name k;
    if (!kernel_name_parse(name, &k))
        fail_msg("%s is not known", name);
    assert_string_equal(k.op, op);
    assert_string_equal(k.kernel, kernel);
    assert_string_equal(k.instance, instance);
}

static void three_forms_of_a_name(void **state)
{
    (void)state;
    same("void cuda_dev::k_matmul_mma<(fmt)4, (int)8, (int)2>(cuda_dev::mm_call)", "matmul", "mma",
         "Q4_K, 8, 2");
    same("void cuda_dev::k_matmul_mma<(fmt)4, 8, 2>(cuda_dev::mm_call)", "matmul", "mma",
         "Q4_K, 8, 2");
    same("_ZN8cuda_dev12k_matmul_mmaIL3fmt4ELi8ELi2EEEvNS_7mm_callE", "matmul", "mma",
         "Q4_K, 8, 2");
    same("k_matmul_mma", "matmul", "mma", "");
    same("k_kv_write_q8_0", "kv_write", "q8_0", "");
    same("k_kv_copy_bytes", "kv_copy", "bytes", "");
    same("cuda_dev::k_attention<(int)128, (int)1>(cuda_dev::attn_call)", "attention", "", "128, 1");
    same("void cuda_dev::k_attention_merge<cuda_dev::attn_base_2>(cuda_dev::attn_call)",
         "attention", "merge", "attn_base_2");
}

/* Arguments that cannot be read leave the op known. */
static void arguments_in_another_form(void **state)
{
    (void)state;
    same("void cuda_dev::k_matmul_mma<(fmt)99, (int)8>(x)", "matmul", "mma", "");
    same("void cuda_dev::k_matmul_mma<f<1>, 2>(x)", "matmul", "mma", "");
    same("void cuda_dev::k_matmul_mma<(fmt", "matmul", "mma", "");
    same("_ZN8cuda_dev12k_matmul_mmaIL3fmt4ELi8", "matmul", "mma", "");
    same("_ZN8cuda_dev12k_matmul_mmaIfEEvv", "matmul", "mma", "");
}

static void names_of_others(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "k_",
        "k_peak",
        "void cuda_dev::k_peak<(int)1>(int, float*)",
        "k_matmulx",
        "k_softmax_rows",
        "other::k_matmul_mma",
        "_ZN5other12k_matmul_mmaEv",
        "_ZN8cuda_dev99k_matmul_mma",
        "_ZN8cuda_dev12k_matmul",
        "_ZN8cuda_dev",
        "_ZN99999999999999999999999999cuda_dev",
        "k_matmul mma",
        "void at::native::reduce_kernel<512>(int)",
        "gemm_k_matmul_mma",
        "k_matmul_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct kernel_name k = {.op = "unchanged"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (kernel_name_parse(names[i], &k))
            fail_msg("'%s' passes for a kernel of %s", names[i], k.op);
        assert_string_equal(k.op, "unchanged");
    }
}

/* nvcc's mangled names and what c++filt makes of them. */
static void mangled_and_demangled_say_the_same(void **state)
{
    (void)state;
    size_t n, lines = 0;
    char *text = test_read(TEST_GOLDEN "/nsight/kernel_names.tsv", &n), *rest = text, *line;
    while ((line = strtok_r(rest, "\n", &rest))) {
        struct kernel_name a, b;
        char *tab = strchr(line, '\t');
        assert_non_null(tab);
        *tab = 0;
        bool peak = strstr(line, "k_peak");
        if (kernel_name_parse(line, &a) == peak || kernel_name_parse(tab + 1, &b) == peak)
            fail_msg("%s", line);
        lines++;
        if (peak)
            continue;
        assert_string_equal(a.op, b.op);
        assert_string_equal(a.kernel, b.kernel);
        assert_string_equal(a.instance, b.instance);
        assert_true((strchr(tab + 1, '<') != NULL) == (a.instance[0] != 0));
    }
    assert_true(lines > 40);
    free(text);
}

/* Every __global__ function of the file: its op is known; returns their number. */
static int kernels_of(const char *path)
{
    size_t n;
    char *text = test_read(path, &n), *at = text;
    int count = 0;
    while ((at = strstr(at, "__global__"))) {
        char *name = strstr(at, " k_");
        assert_non_null(name);
        name++;
        name[strcspn(name, "(")] = 0;
        struct kernel_name k;
        if (strcmp(name, "k_peak") && !kernel_name_parse(name, &k))
            fail_msg("%s: no op for the kernel %s", path, name);
        at = name + strlen(name) + 1;
        count++;
    }
    free(text);
    return count;
}

static void every_kernel_of_the_sources_has_an_op(void **state)
{
    (void)state;
    DIR *d = opendir(TEST_SOURCE "/kernels/cuda");
    int n = 0;
    assert_non_null(d);
    for (struct dirent *ent; (ent = readdir(d));) {
        char path[1024];
        size_t len = strlen(ent->d_name);
        if (len < 3 || strcmp(ent->d_name + len - 3, ".cu"))
            continue;
        snprintf(path, sizeof path, TEST_SOURCE "/kernels/cuda/%s", ent->d_name);
        n += kernels_of(path);
    }
    closedir(d);
    assert_true(n >= 31);
}

/* A kernel named k_<op>_<variant> is known under both names. */
static void every_variant_has_a_name(void **state)
{
    (void)state;
    static const char *const row[] = {
#define X(op, variant, ...) #op, #variant,
#include "variants.def"
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i += 2) {
        char name[64];
        snprintf(name, sizeof name, "k_%s_%s", row[i], row[i + 1]);
        same(name, row[i], row[i + 1], "");
    }
}

/* ---- reports --------------------------------------------------------------------------------- */

static void read_golden(struct nsight *x, const char *file)
{
    struct err e;
    size_t n;
    char path[1024];
    snprintf(path, sizeof path, TEST_GOLDEN "/nsight/%s", file);
    char *text = test_read(path, &n);
    ok(nsight_read(x, text, n, file, &e));
    free(text);
}

/* The only row with these keys; NULL: any. */
static const struct nsight_row *row_of(const struct nsight *x, const char *report, const char *op,
                                       const char *kernel, const char *launch)
{
    const struct nsight_row *found = NULL;
    for (size_t i = 0; i < x->n_row; i++) {
        const struct nsight_row *r = &x->row[i];
        if (strcmp(r->report, report) || strcmp(r->op, op) ||
            (kernel && (!r->kernel || strcmp(r->kernel, kernel))) ||
            (launch && (!r->launch || strcmp(r->launch, launch))))
            continue;
        if (found)
            fail_msg("two rows: %s %s", report, op);
        found = r;
    }
    if (!found)
        fail_msg("no row: %s %s %s", report, op, kernel ? kernel : "");
    return found;
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fabs(want)))
        fail_msg("%.17g, want %.17g", got, want);
}

static void several_reports_of_nsys_in_one_file(void **state)
{
    (void)state;
    struct nsight x = {.n_row = 0};
    read_golden(&x, "nsys_stats.csv");
    assert_int_equal(x.n_row, 16);
    assert_int_equal(x.n_file, 1);

    const struct nsight_row *r = row_of(&x, "nvtx_gpu_proj_sum", "attention", NULL, NULL);
    assert_true(!r->function && !r->kernel && !r->mean && isnan(r->us_p5) && isnan(r->bytes));
    assert_string_equal(r->call, "F16 1 sequences 1 rows, up to 512 tokens, 32/8 heads of 128");
    near(r->us, 7);
    near(r->calls, 128);
    near(r->total_us, 900);

    /* of the rows of one kernel under the ranges step and matmul, that of the op */
    r = row_of(&x, "nvtx_kern_sum", "matmul", "mma", NULL);
    near(r->calls, 400);
    assert_string_equal(r->range, "matmul Q4_K 1x4096->4096 store");
    assert_string_equal(r->call, "Q4_K 1x4096->4096 store");
    assert_string_equal(r->instance, "Q4_K, 2, 1");
    /* a library's kernel in an op's range; a kernel in a replay, whose name tells the op */
    r = row_of(&x, "nvtx_kern_sum", "attention", "mma", NULL);
    assert_string_equal(r->range, "replay");
    near(r->us, 5.9);
    assert_null(r->call);
    assert_string_equal(row_of(&x, "nvtx_kern_sum", "embed", "gather", NULL)->range, "");
    size_t library = 0;
    for (size_t i = 0; i < x.n_row; i++)
        library += x.row[i].function && !x.row[i].kernel && !strcmp(x.row[i].op, "matmul");
    assert_int_equal(library, 1);

    r = row_of(&x, "cuda_gpu_kern_sum", "kv_write", "rope", NULL);
    near(r->us, 2.4);
    near(row_of(&x, "cuda_gpu_kern_gb_sum", "matmul", "mma", "528x1x1 of 128x1x1")->us, 12);
    near(row_of(&x, "cuda_gpu_kern_gb_sum", "matmul", "mma", "132x1x1 of 128x1x1")->us, 4.9);

    assert_int_equal(x.n_range, 5); /* step, decode, embed, layer 0, warm; not NCCL's */
    assert_string_equal(x.range[0].name, "step");
    near(x.range[0].us, 1990);
    assert_string_equal(x.range[2].name, "embed"); /* the part, not the op */
    assert_string_equal(x.range[3].name, "layer 0");
    assert_int_equal(x.n_other, 3);
    near(x.other_us, 5 + 5 + 40);
    nsight_free(&x);
    assert_int_equal(x.n_row, 0);
}

static void older_reports_of_nsys(void **state)
{
    (void)state;
    struct nsight x = {.n_row = 0};
    read_golden(&x, "nsys_old.csv");
    assert_int_equal(x.n_row, 4);
    const struct nsight_row *r = row_of(&x, "cuda_gpu_kern_sum", "matmul", "matvec", NULL);
    assert_true(r->mean);
    near(r->us, 6);
    near(r->total_us, 1800); /* "1,800,000" */
    /* two threads become one row, and its time is their mean */
    r = row_of(&x, "nvtx_kern_sum", "rmsnorm", "block", NULL);
    assert_true(r->mean);
    near(r->calls, 100);
    near(r->us, 2);
    nsight_free(&x);
}

static void pages_of_ncu(void **state)
{
    (void)state;
    struct nsight x = {.n_row = 0};
    read_golden(&x, "ncu_raw.csv");
    assert_int_equal(x.n_row, 3);
    assert_int_equal(x.n_other, 1);
    const struct nsight_row *r = row_of(&x, "ncu", "matmul", "mma", "132x1x1 of 128x1x1");
    near(r->calls, 2);
    near(r->us, 5.1); /* the median of 5.0 and 5.2 */
    near(r->total_us, 10.2);
    near(r->bytes, 9.54e6); /* of 9.40 + 0.04 and 9.60 + 0.04 Mbyte */
    near(r->share, 0.79);
    assert_true(!r->mean && isnan(r->us_p5));
    r = row_of(&x, "ncu", "attention", NULL, NULL);
    near(r->us, 1004.5);
    assert_true(isnan(r->bytes) && isnan(r->share));

    read_golden(&x, "ncu_details.csv");
    assert_int_equal(x.n_file, 2);
    r = row_of(&x, "ncu", "add", "flat", NULL);
    assert_int_equal(r->file, 1);
    near(r->us, 1.92);
    near(r->bytes, 400e9 * 1.92e-6); /* not 12.5 %, a metric of the same name */
    near(r->share, 0.11);
    near(row_of(&x, "ncu", "gather", "rows", NULL)->us, 2.05);
    nsight_free(&x);
}

/* ---- every rule has a bad file --------------------------------------------------------------- */

#define KERN "Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Name\n"
#define PROJ "Range,Style,Total Proj Time (ns),Range Instances,Proj Med (ns)\n"
#define NCU "\"ID\",\"Kernel Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\"\n"
#define RAW "\"ID\",\"Kernel Name\",\"gpu__time_duration.sum\"\n"

static void bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "has no report of nsys stats"},
        {"hello\n", "has no report of nsys stats"},
        {"==ERROR== ERR_NVGPUCTRPERM - no permission\n", "ERR_NVGPUCTRPERM"},
        {"SKIPPED: x.sqlite does not contain CUDA kernel data.\n", "contain CUDA kernel data"},
        {KERN, "no kernel and no range of mas, 0 rows of others"},
        {KERN "1,5,1,5,5,saxpy\n", "no kernel and no range of mas, 1 rows of others"},
        {KERN "1,5,1,5,5\n", "line 2 has 5 columns, cuda_gpu_kern_sum has 6; is the file cut off"},
        {KERN "1,5,1,5,5,k_add_flat,7\n", "line 2 has 7 columns"},
        {KERN "1,5,1,5,5,k_add_fl", "line 2 has no line end; is the file cut off"},
        {KERN "1,5,1,5,5,\"k_add", "line 2: a quote has no end"},
        {KERN "1,5,1,5,5,\"k_add\"x\n", "line 2: a comma is missing after a quoted field"},
        {KERN "1,five,1,5,5,k_add_flat\n", "line 2: Total Time (ns) is 'five', must be a number"},
        {KERN "1,-5,1,5,5,k_add_flat\n", "Total Time (ns) is '-5'"},
        {KERN "1,inf,1,5,5,k_add_flat\n", "Total Time (ns) is 'inf'"},
        {KERN "1,1e999,1,5,5,k_add_flat\n", "Total Time (ns) is '1e999'"},
        {KERN "1,,1,5,5,k_add_flat\n", "Total Time (ns) is '', must be a number"},
        {KERN "1,\"12,34\",1,5,5,k_add_flat\n", "Total Time (ns) is '12,34'"},
        {KERN "1,\",5\",1,5,5,k_add_flat\n", "Total Time (ns) is ',5'"},
        {KERN "1,27.595.520,1,5,5,k_add_flat\n", "'27.595.520', must be a number from 0 to 1e18"},
        {KERN "1,\"1234,567\",1,5,5,k_add_flat\n", "Total Time (ns) is '1234,567'"},
        {KERN "1,5,0,5,5,k_add_flat\n", "Instances is '0', must be at least 1"},
        {KERN "1,5,n/a,5,5,k_add_flat\n", "Instances is 'n/a', must be at least 1"},
        {"Total Time (days),Instances,Name\n5,1,k_add_flat\n", "Total Time (days) has no unit"},
        {"Total Time (byte),Instances,Name\n5,1,k_add_flat\n", "Total Time (byte) has no unit"},
        {"Instances,Name\n1,k_add_flat\n", "cuda_gpu_kern_sum has no column 'Total Time'"},
        {"Processing [x] with [/r/nvtx_gpu_proj_sum.py]...\nRange,Proj Avg (ns)\nmas:add,5\n",
         "line 2: nvtx_gpu_proj_sum has no column 'Range Instances'"},
        {"Range,Range Instances\nadd,5\n", "has no column 'Total Proj Time'"},
        {"NVTX Range,Kernel Name,Total Time (ns)\nadd,k_add_flat,5\n",
         "nvtx_kern_sum has no column 'Kern Inst'"},
        {PROJ "other:add 3x17,PushPop,5,1,5\n", "no kernel and no range of mas, 1 rows"},
        {NCU "\"0\",\"k_add_flat\",\"Duration\",\"us\"\n", "line 2 has 4 columns, ncu has 5"},
        {NCU "\"0\",\"k_add_flat\",\"Duration\",\"parsec\",\"1\"\n", "the unknown unit 'parsec'"},
        {NCU "\"0\",\"k_add_flat\",\"Duration\",\"us/s\",\"1\"\n", "the unknown unit 'us/s'"},
        {NCU "\"0\",\"k_add_flat\",\"Duration\",\"\",\"1\"\n", "Duration has no unit"},
        {NCU "\"0\",\"k_add_flat\",\"SM Frequency\",\"Ghz\",\"1\"\n", "launch 0 has no duration"},
        {"\"ID\",\"Kernel Name\",\"Metric Name\"\n\"0\",\"k_add_flat\",\"Duration\"\n",
         "ncu has no column 'Metric Unit'"},
        {RAW, "the line of units is missing"},
        {RAW "\"0\",\"k_add_flat\",\"5\"\n", "the line of units is missing"},
        {RAW "\"\",\"\",\"us\"\n\"0\",\"k_add_flat\",\"n/a\"\n", "launch 0 has no duration"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct nsight x = {.n_row = 0};
        struct err e;
        fails(nsight_read(&x, bad[i].text, strlen(bad[i].text), "x.csv", &e), ERR_DATA,
              bad[i].message);
        nsight_free(&x);
    }
    struct nsight x = {.n_row = 0};
    struct err e;
    fails(nsight_read(&x, "a\0b", 3, "x.csv", &e), ERR_DATA, "x.csv");
    fails(nsight_read(&x,
                      "\xff\xfe"
                      "a\0",
                      4, "x.csv", &e),
          ERR_DATA, "UTF-16");
    nsight_free(&x);
}

/* Spellings that are right. */
static void good_files(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double us;
    } good[] = {
        {KERN "1,5000,1,5,7000,k_add_flat\n", 7},
        {"\xef\xbb\xbf" KERN "1,5000,1,5,7000,k_add_flat\r\n", 7},
        {"Total Time (us),Instances,Avg (us),Name\n10,2,5,k_add_flat\n", 5},
        {"Total Time (ms),Instances,Name\n0.01,2,k_add_flat\n", 5},
        {"Total Time,Instances,Name\n10000,2,k_add_flat\n\nx,y\n", 5},
        {KERN "1,\"12,345,678.5\",1,5,,\"k_add_flat(\"\"\n\"\")\"\n", 0.005},
        {PROJ ":add 3x17,PushPop,5000,1,4000\n", 4},
        {PROJ "mas:add 3x17,PushPop,5000,1,4000\n", 4},
        {KERN "1,5000,1,5,7000,add 3x17/k_add_flat\n", 7},
        {PROJ
         "mas:add 3x17,PushPop,5000,1,4000\nProcessing [x] with [/r/osrt_sum.py]...\nName\nq\n",
         4},
        {"words\n" RAW "\"\",\"\",\"ms\"\n\"0\",\"k_add_flat\",\"0.5\"\n==PROF== end\n", 500},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct nsight x = {.n_row = 0};
        struct err e;
        ok(nsight_read(&x, good[i].text, strlen(good[i].text), "x.csv", &e));
        assert_int_equal(x.n_row, 1);
        assert_string_equal(x.row[0].op, "add");
        near(x.row[0].us, good[i].us);
        nsight_free(&x);
    }
}

/* Quantiles need five launches. */
static void quantiles_of_launches(void **state)
{
    (void)state;
    for (int n = 4; n <= 5; n++) {
        struct nsight x = {.n_row = 0};
        struct err e;
        struct str s = STR_INIT;
        str_adds(&s, RAW "\"\",\"\",\"us\"\n");
        for (int i = 0; i < n; i++)
            str_addf(&s, "\"%d\",\"k_add_flat\",\"%d\"\n", i, 10 + i);
        ok(nsight_read(&x, s.s, s.len, "x.csv", &e));
        assert_int_equal(x.n_row, 1);
        assert_true(isnan(x.row[0].us_p5) == (n == 4) && isnan(x.row[0].us_p95) == (n == 4));
        if (n == 5)
            near(x.row[0].us_p95, 13.8);
        nsight_free(&x);
        str_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_forms_of_a_name),
        cmocka_unit_test(arguments_in_another_form),
        cmocka_unit_test(names_of_others),
        cmocka_unit_test(mangled_and_demangled_say_the_same),
        cmocka_unit_test(every_kernel_of_the_sources_has_an_op),
        cmocka_unit_test(every_variant_has_a_name),
        cmocka_unit_test(several_reports_of_nsys_in_one_file),
        cmocka_unit_test(older_reports_of_nsys),
        cmocka_unit_test(pages_of_ncu),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(good_files),
        cmocka_unit_test(quantiles_of_launches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
