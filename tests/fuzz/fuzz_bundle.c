/* The unpacked archive of a bundle: names that lead out of the folder, sizes, cut files. */
#include <stdint.h>
#include <string.h>

#include "bundle.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bundle b = {.n = 0};
    struct str packed = STR_INIT;
    struct err e = {.code = 0};
    if (bundle_parse((const char *)data, n, &b, &e) < 0) {
        CHECK(e.code == ERR_DATA);
        return 0;
    }
    for (size_t i = 0; i < b.n; i++) {
        CHECK(!strstr(b.f[i].name, "..") && b.f[i].name[0] != '/');
        CHECK(b.f[i].data.len < n);
    }
    CHECK(bundle_pack(&b, &packed, &e) == 0);
    bundle_free(&b);
    str_free(&packed);
    return 0;
}
