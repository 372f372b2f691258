/*
 * Any bytes as a configuration file or after --set: an error, or a config that reads back as
 * itself. Any bytes as another YAML document: an error, or JSON.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "check.h"
#include "config.h"
#include "mem.h"
#include "tool_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes as a file. Names in it lead nowhere: /proc/self/fd holds no other file of ours. */
static int load(struct config *c, const uint8_t *data, size_t size, struct err *e)
{
    char path[64];
    FILE *f = tmpfile();
    CHECK(f);
    CHECK(fwrite(data, 1, size, f) == size && fflush(f) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
    int rc = config_load(c, path, e);
    fclose(f);
    return rc;
}

/* A config that was accepted must read back, as JSON, to the same values. */
static void check_round_trip(const struct config *c)
{
    struct str one = STR_INIT, two = STR_INIT;
    struct config back;
    struct err e = {0};
    config_json(c, false, &one);
    CHECK(tool_config_init(&back, &e) == 0);
    int rc = load(&back, (const uint8_t *)one.s, one.len, &e);
    CHECK_MSG(rc == 0, e.msg);
    config_json(&back, false, &two);
    CHECK_MSG(!strcmp(one.s, two.s), two.s);
    config_free(&back);
    str_free(&one);
    str_free(&two);
}

static void check_json(const uint8_t *data, size_t size)
{
    struct str json = STR_INIT;
    struct err e = {0};
    json_error_t je;
    if (config_yaml_to_json((const char *)data, size, "input", &json, &e) == 0) {
        json_t *j = json_loadb(json.s, json.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &je);
        CHECK_MSG(j, je.text);
        json_decref(j);
    }
    str_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct err e = {0};
    CHECK(tool_config_init(&c, &e) == 0);
    int rc = load(&c, data, size, &e);
    CHECK(rc == 0 || (e.code == rc && *e.msg));
    check_round_trip(&c);
    check_json(data, size);
    char *line = mem_strndup((const char *)data, size);
    CHECK(line);
    if (config_set(&c, line, &e) == 0)
        check_round_trip(&c);
    (void)config_check(&c, &e);
    mem_free(line);
    config_free(&c);
    return 0;
}
