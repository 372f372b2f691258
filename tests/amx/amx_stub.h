/* amx_stub: in place of kernels/cpu/cpu_amx.c, for tests on processors without AMX. Every processor
 * with AVX-512 VNNI has tiles, and the test decides about the permission. */
#ifndef MAS_AMX_STUB_H
#define MAS_AMX_STUB_H

extern int amx_stub_refuses; /* errno of the refusal; 0: permitted */
extern int amx_stub_asked;   /* requests so far */

#endif
