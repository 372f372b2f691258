/*
 * cpu_amx: whether this processor has AMX's int8 tiles, and Linux's permission to use them.
 *
 * The tiles of a thread take 8 KiB, which the system saves with the thread and in signal frames. So
 * Linux (5.16 and later) gives them on request only: arch_prctl(ARCH_REQ_XCOMP_PERM), once a
 * process, for all of its threads (Documentation/arch/x86/xstate.rst). It refuses while a thread
 * has an alternate signal stack that is too small for the larger frame.
 */
#ifndef MAS_CPU_AMX_H
#define MAS_CPU_AMX_H

#include "err.h"

/* 1: the processor has the tiles, and the system can save them. Asks for nothing. */
int cpu_amx_has(void);
/* Asks for the permission; a second call changes nothing. ERR_NODEV with the system's reason. */
int cpu_amx_permit(struct err *e);
/* The error of a request that failed with this errno. */
int cpu_amx_refused(int number, struct err *e);

#endif
