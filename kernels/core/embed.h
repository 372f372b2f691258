/*
 * embed: files inside the program (CMakeLists.txt, embed_files.S). Prompts, catalogue, configs and
 * demo questions have their path in the source tree. The demo model is
 * configs/demo/toy_clinic.gguf. All are read-only and live as long as the program.
 */
#ifndef MAS_EMBED_H
#define MAS_EMBED_H

#include <stddef.h>

struct embed_file {
    const char *path; /* "configs/specialties.yaml"; NULL ends the table */
    const char *data; /* size bytes and one NUL after them */
    size_t size;
};

extern const struct embed_file embed_table[];
extern const unsigned char embed_demo[]; /* a GGUF file, 64-byte aligned */
extern const size_t embed_demo_size;

const struct embed_file *embed_find(const char *path); /* NULL if there is none */

#endif
