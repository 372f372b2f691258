#include "cgroup.h"

#include <stdio.h>
#include <string.h>

#include "str.h"

#define TEXT_MAX ((size_t)4 << 20)
#define NO_LIMIT ((uint64_t)1 << 60) /* version 1 says "none" as a number near 2^63 */

/* ---- small text files ---------------------------------------------------------------------------- */

/* The text of root + folder + name; empty when it cannot be read. */
static struct str text_of(const char *root, const char *folder, const char *name)
{
    struct str path = STR_INIT, text = STR_INIT;
    char piece[4096];
    str_addf(&path, "%s%s/%s", root, folder, name);
    FILE *f = path.failed ? NULL : fopen(path.s, "r");
    str_free(&path);
    for (size_t n; f && text.len < TEXT_MAX && (n = fread(piece, 1, sizeof piece, f)) > 0;)
        str_add(&text, piece, n);
    if (f)
        fclose(f);
    if (text.failed)
        str_free(&text);
    return text;
}

/* The number after key at the beginning of a line; key "" = the first number. */
static bool number_of(const char *root, const char *folder, const char *name, const char *key, uint64_t *out)
{
    struct str text = text_of(root, folder, name);
    bool found = false;
    for (const char *line = text.s; *line && !found;) {
        unsigned long long v;
        found = !strncmp(line, key, strlen(key)) && line[strlen(key)] != '-' && sscanf(line + strlen(key), "%llu", &v) == 1;
        if (found)
            *out = v;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    str_free(&text);
    return found;
}

/* ---- where the groups are ------------------------------------------------------------------------ */

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

/* The group of the process under a controller; controller NULL: of version 2. false: in none. */
static bool group_of(const char *root, const char *controller, struct str *out)
{
    struct str text = text_of(root, "/proc/self", "cgroup");
    bool found = false;
    char *save = NULL;
    for (char *line = text.len ? strtok_r(text.s, "\n", &save) : NULL; line && !found; line = strtok_r(NULL, "\n", &save)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *names++ = 0;
        *path++ = 0;
        found = controller ? has_word(names, controller) : !*names && !strcmp(line, "0");
        if (found)
            str_adds(out, path);
    }
    str_free(&text);
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
    struct str at, root; /* mount point; the group that is seen there as the topmost one */
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
    const char *type = strtok_r(end + 3, " ", &save), *source = strtok_r(NULL, " ", &save), *options = strtok_r(NULL, " ", &save);
    if (!source || !options || strcmp(type, controller ? "cgroup" : "cgroup2") != 0 ||
        (controller && !has_word(options, controller)))
        return false;
    unescape(field[3]);
    unescape(field[4]);
    str_adds(&out->root, field[3]);
    str_adds(&out->at, field[4]);
    return true;
}

static bool mount_find(const char *root, const char *controller, struct mount *out)
{
    struct str text = text_of(root, "/proc/self", "mountinfo");
    bool found = false;
    for (char *line = text.len ? text.s : NULL; line && *line && !found;) {
        size_t n = strcspn(line, "\n");
        char *next = line + n + (line[n] == '\n');
        line[n] = 0;
        found = mount_parse(line, controller, out);
        line = next;
    }
    str_free(&text);
    return found;
}

/* Calls look(root, folder, user) for the process's group and each one above, up to the mount point. */
static void each_level(const char *root, const char *controller, void (*look)(const char *root, const char *folder, void *user),
                       void *user)
{
    struct str group = STR_INIT;
    struct mount m = {STR_INIT, STR_INIT};
    if (group_of(root, controller, &group) && mount_find(root, controller, &m)) {
        /* The mount shows the groups below its root; a group outside of that is that of another name space. */
        size_t n = strcmp(m.root.s, "/") ? m.root.len : 0;
        bool inside = !strncmp(group.s, m.root.s, n) && (group.s[n] == '/' || !group.s[n]) && !strstr(group.s, "/..");
        size_t top = m.at.len;
        if (inside && strcmp(group.s + n, "/") != 0)
            str_adds(&m.at, group.s + n);
        while (!m.at.failed && !m.root.failed && !group.failed) {
            look(root, m.at.s, user);
            if (m.at.len <= top)
                break;
            while (m.at.len > top && m.at.s[m.at.len - 1] != '/')
                m.at.len--;
            if (m.at.len > top)
                m.at.len--; /* the slash */
            m.at.s[m.at.len] = 0;
        }
    }
    str_free(&m.at);
    str_free(&m.root);
    str_free(&group);
}

/* ---- limits -------------------------------------------------------------------------------------- */

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
    if (number_of(root, folder, "cpu.cfs_quota_us", "", &quota) && number_of(root, folder, "cpu.cfs_period_us", "", &period))
        take_cores(quota, period, user);
}

static void cores_v2(const char *root, const char *folder, void *user)
{
    struct str text = text_of(root, folder, "cpu.max");
    unsigned long long quota, period;
    if (sscanf(text.s, "%llu %llu", &quota, &period) == 2) /* "max 100000" does not match */
        take_cores(quota, period, user);
    str_free(&text);
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
    if (!number_of(root, folder, "memory.max", "", &limit) || limit >= NO_LIMIT) /* "max" is no number */
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
