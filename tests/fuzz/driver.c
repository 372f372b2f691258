/*
 * Runs a fuzz target over its corpus and over seeded mutations of it. So every plain test run
 * repeats the findings of earlier fuzzing and tries a few more inputs. Usage: fuzz_x CORPUS_DIR
 * [MUTATIONS]
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t mutate(uint8_t *buf, size_t n, size_t cap, uint64_t key)
{
    int times = 1 + (int)rng_below(key, 0, 4);
    for (int i = 1; i <= times; i++) {
        uint64_t k = rng_u64(key, (uint64_t)i);
        size_t at = n ? rng_below(k, 0, (uint32_t)n) : 0;
        switch (rng_below(k, 1, 5)) {
        case 0:
            if (n)
                buf[at] ^= (uint8_t)(1u << rng_below(k, 2, 8));
            break;
        case 1:
            if (n)
                buf[at] = (uint8_t)rng_u64(k, 3);
            break;
        case 2:
            if (n)
                n = at;
            break;
        case 3:
            if (n < cap) {
                memmove(buf + at + 1, buf + at, n - at);
                buf[at] = (uint8_t)rng_u64(k, 4);
                n++;
            }
            break;
        default:
            for (size_t j = at; j < n && j < at + 8; j++)
                buf[j] = (rng_u64(k, 5) & 1) ? 0xff : 0;
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    DIR *d = argc > 1 ? opendir(argv[1]) : NULL;
    if (!d) {
        fprintf(stderr, "no corpus directory %s\n", argc > 1 ? argv[1] : "given");
        return 1;
    }
    long mutations = argc > 2 ? atol(argv[2]) : 300, files = 0, runs = 0;
    for (struct dirent *ent; (ent = readdir(d));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], ent->d_name);
        FILE *f = ent->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!f)
            continue;
        static uint8_t file[1 << 20], buf[(1 << 20) + 16];
        size_t n = fread(file, 1, sizeof file, f);
        fclose(f);
        files++;
        for (long m = 0; m <= mutations; m++, runs++) {
            memcpy(buf, file, n);
            size_t k = m ? mutate(buf, n, sizeof buf, rng_key(1, (uint64_t)files, (uint64_t)m)) : n;
            uint8_t *exact = malloc(k ? k : 1); /* so that ASan sees a read one byte past the end */
            memcpy(exact, buf, k);
            LLVMFuzzerTestOneInput(exact, k);
            free(exact);
        }
    }
    closedir(d);
    printf("%ld corpus files, %ld runs\n", files, runs);
    return files ? 0 : 1; /* an empty corpus tests nothing */
}
