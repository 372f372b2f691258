/* The only user of OpenSSL. Its digest fails only when memory is out. */
#include "sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "mem.h"

struct sha256 {
    EVP_MD_CTX *ctx;
};

static void sha256_print(const unsigned char md[32], char hex[65])
{
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", md[i]);
}

int sha256_hex(const void *data, size_t n, char hex[65], struct err *e)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    if (EVP_Digest(data, n, md, NULL, EVP_sha256(), NULL) != 1)
        return NOMEM(e, sizeof md, "sha256");
    sha256_print(md, hex);
    return 0;
}

int sha256_open(struct sha256 **out, struct err *e)
{
    struct sha256 *h = mem_zalloc(1, sizeof *h);
    if (h)
        h->ctx = EVP_MD_CTX_new();
    if (!h || !h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
        sha256_close(h);
        return NOMEM(e, sizeof *h, "sha256");
    }
    *out = h;
    return 0;
}

int sha256_add(struct sha256 *h, const void *data, size_t n, struct err *e)
{
    return EVP_DigestUpdate(h->ctx, data, n) == 1 ? 0 : NOMEM(e, sizeof *h, "sha256");
}

int sha256_finish(struct sha256 *h, char hex[65], struct err *e)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(h->ctx, md, NULL) != 1)
        return NOMEM(e, sizeof md, "sha256");
    sha256_print(md, hex);
    return 0;
}

void sha256_close(struct sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    mem_free(h);
}
