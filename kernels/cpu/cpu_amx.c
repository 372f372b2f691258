#define _GNU_SOURCE
#include "cpu_amx.h"

#include <errno.h>
#include <string.h>
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

/* as Linux 5.16 defines them; older headers lack them */
enum { AMX_GET_SUPPORTED = 0x1021, AMX_REQUEST = 0x1023, AMX_TILE_DATA = 18 };

int cpu_amx_has(void)
{
    unsigned a, b, c, d;
    uint64_t supported = 0;
    /* CPUID leaf 7, EDX: bit 24 AMX-TILE, bit 25 AMX-INT8 */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d >> 24 & 3) != 3)
        return 0;
    /* this request fails before 5.16; the answer has the bit if the system saves the tiles */
    return syscall(SYS_arch_prctl, AMX_GET_SUPPORTED, &supported) == 0 &&
           supported >> AMX_TILE_DATA & 1;
}

int cpu_amx_permit(struct err *e)
{
    if (syscall(SYS_arch_prctl, AMX_REQUEST, AMX_TILE_DATA) == 0)
        return 0;
    return cpu_amx_refused(errno, e);
}

static unsigned long cpu_amx_signal_stack(void)
{
    return getauxval(AT_MINSIGSTKSZ);
}

#else

int cpu_amx_has(void)
{
    return 0;
}

int cpu_amx_permit(struct err *e)
{
    return cpu_amx_refused(ENOSYS, e);
}

static unsigned long cpu_amx_signal_stack(void)
{
    return 0;
}

#endif

int cpu_amx_refused(int number, struct err *e)
{
    if (number == ENOSPC)
        FAIL(e, ERR_NODEV,
             "the system refuses AMX: a thread has an alternate signal stack of less than %lu "
             "bytes; enlarge it, or use --isa avx512vnni",
             cpu_amx_signal_stack());
    if (number == EINVAL || number == ENOSYS || number == EOPNOTSUPP)
        FAIL(e, ERR_NODEV,
             "the system refuses AMX: %s; it needs Linux 5.16 or later with AMX enabled. Use --isa "
             "avx512vnni",
             strerror(number));
    FAIL(e, ERR_NODEV, "the system refuses AMX: %s; use --isa avx512vnni", strerror(number));
}
