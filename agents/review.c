#include "review.h"

#include <stdio.h>
#include <unistd.h>

#include "gridfile.h"

static bool review_at(const char *dir, const char *up, const char *name, char path[REVIEW_PATH])
{
    const int n = snprintf(path, REVIEW_PATH, "%s%s/review/%s", dir, up, name);
    return n > 0 && n < REVIEW_PATH && access(path, R_OK) == 0;
}

bool review_file(const char *dir, const char *name, char path[REVIEW_PATH])
{
    char parent[REVIEW_PATH];
    const int n = snprintf(parent, sizeof parent, "%s/..", dir);
    if (review_at(dir, "", name, path))
        return true;
    return n > 0 && n < REVIEW_PATH && gridfile_is(parent) && review_at(dir, "/..", name, path);
}
