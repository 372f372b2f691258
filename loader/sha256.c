#include "sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "mem.h"

int sha256_hex(const void *data, size_t n, char hex[65], struct err *e)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (EVP_Digest(data, n, md, &len, EVP_sha256(), NULL) != 1)
        return NOMEM(e, sizeof md, "sha256");
    for (unsigned int i = 0; i < 32; i++)
        snprintf(hex + (size_t)2 * i, 3, "%02x", md[i]);
    return 0;
}
