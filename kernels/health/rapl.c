#include "rapl.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

enum { RAPL_PACKAGES = 64, RAPL_PATH = 300 };

struct rapl {
    int n;
    double joules;
    struct rapl_package {
        char path[RAPL_PATH]; /* of its folder */
        uint64_t range, last; /* microjoules */
    } package[RAPL_PACKAGES];
};

/* Reads the first line of a file in a folder, without its end. */
static int rapl_line(const char *dir, const char *name, char out[64], struct err *e)
{
    char path[RAPL_PATH + 32];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    errno = f ? 0 : errno;
    char *line = f ? fgets(out, 64, f) : NULL;
    int why = errno;
    if (f)
        fclose(f);
    if (!line)
        FAIL(e, ERR_IO, "%s: %s", path, why ? strerror(why) : "empty");
    out[strcspn(out, "\n")] = 0;
    return 0;
}

static int rapl_number(const char *dir, const char *name, uint64_t *out, struct err *e)
{
    char text[64];
    uint64_t v;
    int used = 0;
    TRY(rapl_line(dir, name, text, e));
    if (!isdigit((unsigned char)text[0]) || sscanf(text, "%" SCNu64 "%n", &v, &used) != 1 ||
        text[used])
        FAIL(e, ERR_IO, "%s/%s: '%s' is no number", dir, name, text);
    *out = v;
    return 0;
}

static int rapl_add(struct rapl *r, const char *path, struct err *e)
{
    struct rapl_package *p = &r->package[r->n];
    char name[64];
    TRY(rapl_line(path, "name", name, e));
    if (strncmp(name, "package-", 8) != 0)
        return 0;
    snprintf(p->path, sizeof p->path, "%s", path);
    TRY(rapl_number(path, "energy_uj", &p->last, e));
    TRY(rapl_number(path, "max_energy_range_uj", &p->range, e));
    r->n++;
    return 0;
}

/* The N of a folder intel-rapl:N; -1 = another folder. */
static int rapl_index(const char *name)
{
    int n = -1, used = 0;
    if (!strncmp(name, "intel-rapl:", 11) && isdigit((unsigned char)name[11]) &&
        sscanf(name + 11, "%d%n", &n, &used) == 1 && !name[11 + used] && n < RAPL_PACKAGES)
        return n;
    return -1;
}

static int rapl_find(struct rapl *r, const char *powercap, struct err *e)
{
    bool has[RAPL_PACKAGES] = {false};
    DIR *dir = opendir(powercap);
    if (!dir)
        FAIL(e, ERR_NODEV, "no RAPL (%s: %s)", powercap, strerror(errno));
    for (struct dirent *d = readdir(dir); d; d = readdir(dir))
        if (rapl_index(d->d_name) >= 0)
            has[rapl_index(d->d_name)] = true;
    closedir(dir);
    for (int i = 0; i < RAPL_PACKAGES; i++) {
        char path[RAPL_PATH];
        if (!has[i])
            continue;
        if (snprintf(path, sizeof path, "%s/intel-rapl:%d", powercap, i) >= (int)sizeof path)
            FAIL(e, ERR_NODEV, "no RAPL (a path with more than %d bytes)", RAPL_PATH - 1);
        TRY(rapl_add(r, path, e));
    }
    if (!r->n)
        FAIL(e, ERR_NODEV, "no RAPL (%s has no package)", powercap);
    return 0;
}

int rapl_open(const char *powercap, struct rapl **out, struct err *e)
{
    struct rapl *r = mem_zalloc(1, sizeof *r);
    if (!r)
        return NOMEM(e, sizeof *r, "RAPL");
    int rc = rapl_find(r, powercap, e);
    if (rc < 0) {
        rapl_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void rapl_close(struct rapl *r)
{
    mem_free(r);
}

int rapl_packages(const struct rapl *r)
{
    return r->n;
}

int rapl_joules(struct rapl *r, double *out, struct err *e)
{
    for (int i = 0; i < r->n; i++) {
        struct rapl_package *p = &r->package[i];
        uint64_t now;
        TRY(rapl_number(p->path, "energy_uj", &now, e));
        if (now < p->last && p->last > p->range)
            FAIL(e, ERR_IO,
                 "%s/energy_uj: went back from %" PRIu64 " to %" PRIu64
                 ", and max_energy_range_uj is %" PRIu64,
                 p->path, p->last, now, p->range);
        uint64_t spent = now < p->last ? p->range - p->last + now : now - p->last;
        r->joules += (double)spent * 1e-6;
        p->last = now;
    }
    *out = r->joules;
    return 0;
}
