#include "capture.h"

#include <unistd.h>

#include "test.h"

void capture_begin(struct capture *c)
{
    fflush(stderr);
    c->real = dup(STDERR_FILENO);
    c->kept = tmpfile();
    assert_non_null(c->kept);
    assert_true(dup2(fileno(c->kept), STDERR_FILENO) >= 0);
}

void capture_end(struct capture *c, char *out, size_t n)
{
    fflush(stderr);
    dup2(c->real, STDERR_FILENO);
    close(c->real);
    rewind(c->kept);
    out[fread(out, 1, n - 1, c->kept)] = 0;
    fclose(c->kept);
}
