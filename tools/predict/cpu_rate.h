/* cpu_rate: how fast the CPU's arithmetic takes weights, for predictions. Memory is another
 * limit. */
#ifndef MAS_CPU_RATE_H
#define MAS_CPU_RATE_H

#include "fmt.h"
#include "weights.h"

/* The instruction sets with measured rates, and auto, as choices of the option isa. */
#define CPU_RATE_ISAS "auto|avx2|avxvnni|avx512vnni"

/* The instruction set whose rates stand for a processor with `isa` as its best one. That is isa
 * itself. For amx it is avx512vnni, whose kernels run the steps of few rows. NULL: nothing is
 * measured. */
const char *cpu_rate_isa(const char *isa);

/* Weights/s that one core multiplies by a single row of x; 0: nothing is measured for that
 * instruction set. isa: a value of the option isa; "auto" is avx2, which a desktop CPU has. */
double cpu_rate_of(enum fmt f, const char *isa);
/* int8 operations/s of one core with that instruction set; 0: not measured. */
double cpu_rate_ops(const char *isa);
/* bytes/s at which so many cores take all weights of a model but the embedding; 0: as above. */
double cpu_rate_row(const struct weights *w, const char *isa, int cores);

#endif
