/*
 * kernel_name: the op of a CUDA kernel, from the kernel's name in the report of a profiler.
 *
 * A kernel of this program is a function k_<op> or k_<op>_<word> in the namespace cuda_dev. The op
 * is the longest name of OP_LIST that fits. A name comes in one of three forms:
 *
 *   void cuda_dev::k_matmul_mma<(fmt)4, (int)8, (int)2>(cuda_dev::mm_call)    demangled
 *   _ZN8cuda_dev12k_matmul_mmaIL3fmt4ELi8ELi2EEEvNS_7mm_callE                 mangled
 *   k_matmul_mma                                                              base name
 */
#ifndef MAS_KERNEL_NAME_H
#define MAS_KERNEL_NAME_H

#include <stdbool.h>

struct kernel_name {
    const char *op;
    /* the word after the op: "mma"; "" for k_attention. Often a row of variants.def, else a part of
     * several rows */
    char kernel[48];
    /* the template's arguments in one spelling: "Q4_K, 8, 2"; "" = none, or not known */
    char instance[96];
};

/* false: not a kernel of an op of this program; *out is then unchanged. */
bool kernel_name_parse(const char *name, struct kernel_name *out);

#endif
