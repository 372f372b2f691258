#include "runlist.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool runlist_same(const char *a, const char *b)
{
    struct stat x, y;
    return !strcmp(a, b) ||
           (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* The place of the folder in the list; n = it is not there. */
static size_t runlist_find(const char *const *dir, size_t n, const char *name)
{
    size_t i = 0;
    while (i < n && !runlist_same(dir[i], name))
        i++;
    return i;
}

int runlist_pick(const char **dir, size_t *n, size_t cap, const char *baseline, struct err *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        const size_t before = runlist_find(dir, kept, dir[i]);
        if (before == kept)
            dir[kept++] = dir[i];
        else
            fprintf(stderr, "%s is the folder %s again; the run is taken once\n", dir[i],
                    dir[before]);
    }
    *n = kept;
    if (!baseline)
        return 0;
    size_t at = runlist_find(dir, kept, baseline);
    if (at == kept && kept == cap)
        FAIL(e, ERR_USAGE, "no room for the baseline %s: %zu runs are the most; give fewer",
             baseline, cap);
    *n += at == kept;
    const char *first = at == kept ? baseline : dir[at];
    memmove(dir + 1, dir, at * sizeof *dir);
    dir[0] = first;
    return 0;
}
