#include "amx_stub.h"

#include "cpu_amx.h"
#include "cpu_isa.h"

int amx_stub_refuses, amx_stub_asked;

int cpu_amx_has(void)
{
    return cpu_isa_has(CPU_AVX512VNNI);
}

int cpu_amx_permit(struct err *e)
{
    amx_stub_asked++;
    return amx_stub_refuses ? cpu_amx_refused(amx_stub_refuses, e) : 0;
}

int cpu_amx_refused(int number, struct err *e)
{
    FAIL(e, ERR_NODEV, "the test refuses AMX: %d", number);
}
