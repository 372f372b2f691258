/* gguf_cut: cuts a model file into parts, as gguf-split does, for tests. */
#ifndef MAS_GGUF_CUT_H
#define MAS_GGUF_CUT_H

#include <stddef.h>

/* Faults of one part; 0 or NULL: none. */
struct gguf_cut {
    int part;              /* from 0: the part with the faults below */
    int no, count;         /* + these, in split.no and split.count */
    int tensors;           /* + this, in split.tensors.count of the first part */
    const char *twice;     /* a tensor that the part has although another has it too */
    int first_is_metadata; /* 1: the first part holds no tensor */
};

/* Writes PREFIX-00001-of-0000n.gguf and so on. An error fails the test. */
void gguf_cut(const char *from, const char *prefix, int n, const struct gguf_cut *fault);

#endif
