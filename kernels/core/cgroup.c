#include "cgroup.h"

#include <stdio.h>
#include <string.h>

/* Allocates nothing, so that lack of memory cannot hide a limit of memory. */
#define PATH_ROOM ((size_t)4096)
#define LINE_ROOM ((size_t)16 << 10)
#define NO_LIMIT ((uint64_t)1 << 60) /* version 1 says "none" as a number near 2^63 */

/* ---- small text files ------------------------------------------------------------------------ */

/* The file root + folder + name, or NULL. */
static FILE *open_in(const char *root, const char *folder, const char *name)
{
    char path[2 * PATH_ROOM];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
}

/* The next line without its end. Of a line that does not fit, the beginning. */
static bool next_line(FILE *f, char line[LINE_ROOM])
{
    if (!fgets(line, (int)LINE_ROOM, f))
        return false;
    size_t n = strcspn(line, "\n");
    if (!line[n])
        for (int c = 0; c != '\n' && c != EOF;)
            c = getc(f);
    line[n] = 0;
    return true;
}

/* The number after key at the beginning of a line; key "" = the first number. */
static bool number_of(const char *root, const char *folder, const char *name, const char *key,
                      uint64_t *out)
{
    char line[LINE_ROOM];
    FILE *f = open_in(root, folder, name);
    bool found = false;
    while (f && !found && next_line(f, line)) {
        unsigned long long v;
        const char *at = line + strlen(key);
        found = !strncmp(line, key, strlen(key)) && *at != '-' && sscanf(at, "%llu", &v) == 1;
        if (found)
            *out = v;
    }
    if (f)
        fclose(f);
    return found;
}

/* ---- places of the groups -------------------------------------------------------------------- */

/* Is word one of those between commas? */
static bool has_word(const char *list, const char *word)
{
    for (size_t n = strlen(word); *list; list += *list == ',') {
        size_t len = strcspn(list, ",");
        if (len == n && !strncmp(list, word, n))
            return true;
        list += len;
    }
    return false;
}

/* The group of the process under a controller; NULL: the group of version 2. false: no group. */
static bool group_of(const char *root, const char *controller, char out[PATH_ROOM])
{
    char line[LINE_ROOM];
    FILE *f = open_in(root, "/proc/self", "cgroup");
    bool found = false;
    while (f && !found && next_line(f, line)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path || strlen(path + 1) >= PATH_ROOM)
            continue;
        *names++ = 0;
        *path++ = 0;
        found = controller ? has_word(names, controller) : !*names && !strcmp(line, "0");
        if (found)
            memcpy(out, path, strlen(path) + 1);
    }
    if (f)
        fclose(f);
    return found;
}

/* \040 and the like of mountinfo, in place. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; to++) {
        unsigned code;
        if (*s == '\\' && sscanf(s + 1, "%3o", &code) == 1 && strlen(s) >= 4) {
            *to = (char)code;
            s += 4;
        } else {
            *to = *s++;
        }
    }
    *to = 0;
}

struct mount {
    /* mount point; the group that the mount shows as its topmost one */
    char at[2 * PATH_ROOM], root[PATH_ROOM];
};

/* "36 35 98:0 ROOT AT rw,noatime shared:1 - TYPE SOURCE OPTIONS" */
static bool mount_parse(char *line, const char *controller, struct mount *out)
{
    char *field[5] = {NULL}, *save = NULL, *end = strstr(line, " - ");
    if (!end)
        return false;
    *end = 0;
    for (int i = 0; i < 5; i++) {
        field[i] = strtok_r(i ? NULL : line, " ", &save);
        if (!field[i])
            return false;
    }
    const char *type = strtok_r(end + 3, " ", &save), *source = strtok_r(NULL, " ", &save),
               *options = strtok_r(NULL, " ", &save);
    if (!source || !options || strcmp(type, controller ? "cgroup" : "cgroup2") != 0 ||
        (controller && !has_word(options, controller)))
        return false;
    unescape(field[3]);
    unescape(field[4]);
    if (strlen(field[3]) >= sizeof out->root || strlen(field[4]) >= PATH_ROOM)
        return false;
    memcpy(out->root, field[3], strlen(field[3]) + 1);
    memcpy(out->at, field[4], strlen(field[4]) + 1);
    return true;
}

static bool mount_find(const char *root, const char *controller, struct mount *out)
{
    char line[LINE_ROOM];
    FILE *f = open_in(root, "/proc/self", "mountinfo");
    bool found = false;
    while (f && !found && next_line(f, line))
        found = mount_parse(line, controller, out);
    if (f)
        fclose(f);
    return found;
}

/* Calls look(root, folder, user) for the process's group and each group above, up to the mount
 * point. */
static void each_level(const char *root, const char *controller,
                       void (*look)(const char *root, const char *folder, void *user), void *user)
{
    char group[PATH_ROOM];
    struct mount m;
    if (!group_of(root, controller, group) || !mount_find(root, controller, &m))
        return;
    /* The mount shows the groups below its root. A group outside belongs to another name space. */
    size_t n = strcmp(m.root, "/") ? strlen(m.root) : 0, top = strlen(m.at), len = top;
    bool inside =
        !strncmp(group, m.root, n) && (group[n] == '/' || !group[n]) && !strstr(group, "/..");
    if (inside && strcmp(group + n, "/") != 0) {
        memcpy(m.at + top, group + n, strlen(group + n) + 1);
        len += strlen(group + n);
    }
    for (;;) {
        look(root, m.at, user);
        if (len <= top)
            return;
        while (len > top && m.at[len - 1] != '/')
            len--;
        len -= len > top; /* the slash */
        m.at[len] = 0;
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void take_cores(uint64_t quota, uint64_t period, int *least)
{
    if (!quota || !period)
        return;
    uint64_t cores = quota / period + (quota % period != 0);
    if (cores < INT32_MAX && (!*least || (int)cores < *least))
        *least = (int)cores;
}

static void cores_v1(const char *root, const char *folder, void *user)
{
    uint64_t quota, period;
    if (number_of(root, folder, "cpu.cfs_quota_us", "", &quota) &&
        number_of(root, folder, "cpu.cfs_period_us", "", &period))
        take_cores(quota, period, user);
}

static void cores_v2(const char *root, const char *folder, void *user)
{
    char line[LINE_ROOM];
    FILE *f = open_in(root, folder, "cpu.max");
    unsigned long long quota, period;
    /* "max 100000" does not match */
    if (f && next_line(f, line) && sscanf(line, "%llu %llu", &quota, &period) == 2)
        take_cores(quota, period, user);
    if (f)
        fclose(f);
}

int cgroup_cores(const char *root)
{
    int least = 0;
    each_level(root, NULL, cores_v2, &least);
    each_level(root, "cpu", cores_v1, &least);
    return least;
}

struct memory {
    uint64_t limit, left; /* NO_LIMIT: none so far */
};

static void take_memory(struct memory *m, uint64_t limit, uint64_t used, uint64_t cached)
{
    used -= cached < used ? cached : used;
    uint64_t left = used < limit ? limit - used : 0;
    m->limit = limit < m->limit ? limit : m->limit;
    m->left = left < m->left ? left : m->left;
}

static void memory_v1(const char *root, const char *folder, void *user)
{
    uint64_t limit, used = 0, cached = 0;
    if (!number_of(root, folder, "memory.limit_in_bytes", "", &limit) || limit >= NO_LIMIT)
        return;
    number_of(root, folder, "memory.usage_in_bytes", "", &used);
    number_of(root, folder, "memory.stat", "total_inactive_file ", &cached);
    take_memory(user, limit, used, cached);
}

static void memory_v2(const char *root, const char *folder, void *user)
{
    uint64_t limit, used = 0, cached = 0;
    /* "max" is no number */
    if (!number_of(root, folder, "memory.max", "", &limit) || limit >= NO_LIMIT)
        return;
    number_of(root, folder, "memory.current", "", &used);
    number_of(root, folder, "memory.stat", "inactive_file ", &cached);
    take_memory(user, limit, used, cached);
}

bool cgroup_memory(const char *root, uint64_t *limit, uint64_t *left)
{
    struct memory m = {NO_LIMIT, NO_LIMIT};
    each_level(root, NULL, memory_v2, &m);
    each_level(root, "memory", memory_v1, &m);
    if (m.limit == NO_LIMIT)
        return false;
    *limit = m.limit;
    *left = m.left;
    return true;
}
