#include "cpu_isa.h"

#include "cpu_amx.h"

#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static const struct {
    const char *name, *title;
} cpu_isa_table[CPU_ISA_COUNT] = {
    [CPU_SCALAR] = {"scalar", "scalar"},
    [CPU_NEON] = {"neon", "NEON with dot products"},
    [CPU_AVX2] = {"avx2", "AVX2"},
    [CPU_AVXVNNI] = {"avxvnni", "AVX-VNNI"},
    [CPU_AVX512VNNI] = {"avx512vnni", "AVX-512 VNNI"},
    [CPU_AMX] = {"amx", "AMX int8 and AVX-512 VNNI"},
};

const char *cpu_isa_name(enum cpu_isa isa)
{
    return cpu_isa_table[isa].name;
}

const char *cpu_isa_title(enum cpu_isa isa)
{
    return cpu_isa_table[isa].title;
}

#if defined(__x86_64__)
static int cpu_isa_has_avxvnni(void)
{
#if defined(MAS_AVXVNNI_AS_AVX512) /* tests/ops: compiled for AVX-512 */
    return cpu_isa_has(CPU_AVX512VNNI);
#else /* CPUID leaf 7, subleaf 1, bit 4 of EAX; the compilers' builtin does not know it yet */
    unsigned a = 0, b, c, d;
    return cpu_isa_has(CPU_AVX2) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
#endif
}
#endif

int cpu_isa_has(enum cpu_isa isa)
{
    if (isa == CPU_SCALAR)
        return 1;
#if defined(                                                                                       \
    __x86_64__) /* the builtin asks CPUID and XGETBV: also the system must save the        \
                           registers */
    __builtin_cpu_init();
    if (isa == CPU_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("f16c");
    if (isa == CPU_AVXVNNI)
        return cpu_isa_has_avxvnni();
    if (isa == CPU_AVX512VNNI)
        return cpu_isa_has(CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    if (isa == CPU_AMX)
        return cpu_isa_has(CPU_AVX512VNNI) && cpu_amx_has();
#elif defined(__aarch64__) && defined(__linux__)
    if (isa == CPU_NEON)
        return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
    return 0;
}

/* "scalar, avx2": what can run here. */
static void cpu_isa_list(char out[64])
{
    out[0] = 0;
    for (int i = 0; i < CPU_ISA_COUNT; i++) {
        size_t n = strlen(out);
        if (cpu_isa_has((enum cpu_isa)i))
            snprintf(out + n, 64 - n, "%s%s", n ? ", " : "", cpu_isa_table[i].name);
    }
}

static int cpu_isa_permit(enum cpu_isa isa, struct err *e)
{
    return isa == CPU_AMX ? cpu_amx_permit(e) : 0;
}

int cpu_isa_choose(const char *name, enum cpu_isa *out, struct err *e)
{
    char have[64];
    cpu_isa_list(have);
    if (!name || strcmp(name, "auto") == 0) {
        int best = CPU_ISA_COUNT - 1;
        struct err refused;
        while (!cpu_isa_has((enum cpu_isa)best) || cpu_isa_permit((enum cpu_isa)best, &refused) < 0)
            best--;
        *out = (enum cpu_isa)best;
        return 0;
    }
    for (int i = 0; i < CPU_ISA_COUNT; i++) {
        if (strcmp(name, cpu_isa_table[i].name) != 0)
            continue;
        if (!cpu_isa_has((enum cpu_isa)i))
            FAIL(e, ERR_NODEV, "this processor lacks the instruction set '%s'; use auto, %s", name,
                 have);
        TRY(cpu_isa_permit((enum cpu_isa)i, e));
        *out = (enum cpu_isa)i;
        return 0;
    }
    FAIL(e, ERR_USAGE, "unknown instruction set '%s'; use auto, %s", name, have);
}

const char *cpu_isa_chosen_title(const char *name, enum cpu_isa isa)
{
    const int chosen = !name || strcmp(name, "auto") == 0;
    if (chosen && isa == CPU_AVX512VNNI && cpu_isa_has(CPU_AMX))
        return "AVX-512 VNNI (AMX refused by the system)";
    return cpu_isa_title(isa);
}
