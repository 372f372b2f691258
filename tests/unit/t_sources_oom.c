/* Every allocation of looking up a model's name fails, alone and with all later ones. */
#include <sys/stat.h>
#include <unistd.h>

#include "oom.h"
#include "source.h"
#include "sources.h"
#include "test.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char dir[256], root[300], hub[300];
static struct source_places places;

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int find(const char *name)
{
    struct err e = {0};
    struct str path = STR_INIT;
    int rc = source_find(name, &places, &path, &e);
    str_free(&path);
    return rc;
}

static int find_ollama(void *arg)
{
    (void)arg;
    return find("ollama:m");
}

static int find_hub(void *arg)
{
    (void)arg;
    return find("hf:a/b/m.gguf");
}

/* A name that is not there has no result, whatever memory there is: the listing must not crash. */
static int find_absent(void *arg)
{
    (void)arg;
    int rc = find("ollama:other"), other = find("hf:a/b/other.gguf");
    assert_true(rc == ERR_NOINPUT || rc == ERR_NOMEM);
    assert_true(other == ERR_NOINPUT || other == ERR_NOMEM);
    return rc == ERR_NOMEM || other == ERR_NOMEM ? ERR_NOMEM : 0;
}

static int find_pulled(void *arg)
{
    (void)arg;
    return find("hf:a/b/pulled.gguf");
}

static int read_list(void *arg)
{
    struct err e = {0};
    struct sources s = {.data = NULL};
    (void)arg;
    int rc = sources_open(TEST_SOURCE "/configs/sources.yaml", &s, &e);
    if (rc == 0)
        assert_non_null(sources_find(&s, "medqa"));
    sources_close(&s);
    return rc;
}

static void every_failed_allocation_is_an_error_and_nothing_leaks(void **state)
{
    (void)state;
    struct str out = STR_INIT;
    char path[700];
    test_mkdir(dir);
    snprintf(root, sizeof root, "%s/o", dir);
    snprintf(hub, sizeof hub, "%s/h", dir);
    places = (struct source_places){.ollama = {root}, .hub = hub, .models = hub};
    assert_int_equal(test_run(&out,
                              "mkdir -p %s/manifests/registry.ollama.ai/library/m %s/blobs "
                              "%s/models--a--b/refs %s/models--a--b/snapshots/abcdef0",
                              root, root, hub, hub),
                     0);
    str_free(&out);
    snprintf(path, sizeof path, "%s/manifests/registry.ollama.ai/library/m/latest", root);
    write_file(path, "{\"layers\": [{\"mediaType\": \"application/vnd.ollama.image.model\", "
                     "\"digest\": \"sha256:" HEX "\", \"size\": 1}]}");
    snprintf(path, sizeof path, "%s/blobs/sha256-" HEX, root);
    write_file(path, "x");
    snprintf(path, sizeof path, "%s/models--a--b/refs/main", hub);
    write_file(path, "abcdef0");
    snprintf(path, sizeof path, "%s/models--a--b/snapshots/abcdef0/m.gguf", hub);
    write_file(path, "x");
    snprintf(path, sizeof path, "%s/pulled.gguf", hub);
    write_file(path, "x");
    snprintf(path, sizeof path, "%s/.pulled.gguf.from", hub);
    write_file(path, "sha256 " HEX "\nbytes 1\nfrom hf:a/b@main/pulled.gguf\n");
    for (int sticky = 0; sticky <= 1; sticky++) {
        assert_true(oom_loop(find_ollama, NULL, sticky) >= 2);
        assert_true(oom_loop(find_hub, NULL, sticky) >= 3);
        assert_true(oom_loop(find_pulled, NULL, sticky) >= 3);
        assert_true(oom_loop(read_list, NULL, sticky) >= 5);
    }
    assert_int_equal(find_absent(NULL), 0);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_an_error_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
