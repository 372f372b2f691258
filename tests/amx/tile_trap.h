/* tile_trap: AMX's instructions by a handler of SIGILL; in effect from the start of a program that
 * links it. */
#ifndef MAS_TILE_TRAP_H
#define MAS_TILE_TRAP_H

#include <stdbool.h>

long tile_trap_count(void);      /* instructions executed so far, by all threads */
long tile_trap_configured(void); /* threads that hold a configuration */

#endif
