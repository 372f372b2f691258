/*
 * cpu_isa: the instruction sets that this processor *and* operating system offer, and the choice of
 * one for the kernels.
 */
#ifndef MAS_CPU_ISA_H
#define MAS_CPU_ISA_H

#include "err.h"

/* the best one last */
enum cpu_isa {
    CPU_SCALAR,
    CPU_NEON,
    CPU_AVX2,
    CPU_AVXVNNI,
    CPU_AVX512VNNI,
    CPU_AMX,
    CPU_ISA_COUNT
};

const char *cpu_isa_name(enum cpu_isa isa);  /* "avx2", the value of the option */
const char *cpu_isa_title(enum cpu_isa isa); /* "AVX2", for people */
int cpu_isa_has(enum cpu_isa isa);           /* 1 if it can run here */
/* name: "auto" or NULL = the best set; else the named one. ERR_USAGE for an unknown name, ERR_NODEV
 * for a set that this machine lacks. Both list the available sets. A set that needs the system's
 * permission (amx) gets it here. If the system refuses, the named set is ERR_NODEV with the reason,
 * and auto takes the next one. */
int cpu_isa_choose(const char *name, enum cpu_isa *out, struct err *e);
/* The title of the set that `name` led to. It tells that a better one was refused. */
const char *cpu_isa_chosen_title(const char *name, enum cpu_isa isa);

#endif
