/*
 * tile_trap: executes AMX's int8 instructions on a processor without AMX. The processor raises
 * SIGILL at each one; the handler decodes it, does its work and steps over it. So the tests run the
 * kernels as they are compiled for AMX: the machine code, its operands and its addresses.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: LDTILECFG,
 * TILERELEASE, TILEZERO, TILELOADD, TILESTORED, TDPBSSD, TDPBSUD; chapter 2 for VEX, ModRM and SIB.
 * All have VEX with three bytes, map 0F38, W 0, L 0:
 *
 *   op  prefix  ModRM         instruction
 *   49  none    memory, /0    ldtilecfg
 *   49  none    C0            tilerelease
 *   49  F2      11 rrr 000    tilezero r
 *   4B  F2      memory, /r    tileloadd r, base + index * scale + displacement
 *   4B  F3      memory, /r    tilestored, the same
 *   5E  F2      11 rrr bbb    tdpbssd r, b, vvvv
 *   5E  F3      11 rrr bbb    tdpbsud r, b, vvvv
 *
 * Anything else, and any use of tiles that the manual says faults, ends the process.
 */
#define _GNU_SOURCE
#include "tile_trap.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { NONE, P66, PF3, PF2 }; /* VEX.pp */

struct insn {
    int op, prefix, mod, reg, rm, second; /* second: vvvv */
    uintptr_t base, index;                /* of a memory operand: address, stride */
    int length;
};

static _Thread_local struct {
    uint8_t palette, lines[8];
    uint16_t line_bytes[8];
    uint8_t tile[8][16][64];
} trap;
static long trap_number, trap_held;

long tile_trap_count(void)
{
    return __atomic_load_n(&trap_number, __ATOMIC_RELAXED);
}

long tile_trap_configured(void)
{
    return __atomic_load_n(&trap_held, __ATOMIC_RELAXED);
}

static void trap_die(const char *why)
{
    static const char say[] = "tile_trap: ", end[] = "\n";
    (void)!write(2, say, sizeof say - 1);
    (void)!write(2, why, strlen(why));
    (void)!write(2, end, 1);
    _exit(70);
}

static uintptr_t trap_register(const ucontext_t *u, int n)
{
    static const int at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                               REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                               REG_R12, REG_R13, REG_R14, REG_R15};
    return (uintptr_t)u->uc_mcontext.gregs[at[n]];
}

/* The memory operand that follows ModRM at p. x, b: the extensions of index and base. */
static void trap_memory(const ucontext_t *u, const uint8_t *p, int x, int b, struct insn *i)
{
    int at = 0, base = i->rm | b << 3;
    uintptr_t address = 0;
    if (i->rm == 4) { /* SIB */
        const int sib = p[at++], index = (sib >> 3 & 7) | x << 3;
        base = (sib & 7) | b << 3;
        i->index = index == 4 ? 0 : trap_register(u, index) << (sib >> 6);
    } else if (i->op != 0x49)
        trap_die("a tile's memory operand without SIB");
    if (i->mod == 0 && (base & 7) == 5) {
        int32_t d;
        memcpy(&d, p + at, 4);
        at += 4;
        if (i->rm == 5) /* relative to the next instruction */
            address = (uintptr_t)(p + at) + (uintptr_t)(intptr_t)d;
        else
            address = (uintptr_t)(intptr_t)d;
    } else {
        int32_t d = 0;
        if (i->mod == 1)
            d = (int8_t)p[at++];
        else if (i->mod == 2) {
            memcpy(&d, p + at, 4);
            at += 4;
        }
        address = trap_register(u, base) + (uintptr_t)(intptr_t)d;
    }
    i->base = address;
    i->length += at;
}

static bool trap_decode(const ucontext_t *u, const uint8_t *p, struct insn *i)
{
    if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || p[2] & 0x84) /* map 0F38, W 0, L 0 */
        return false;
    *i = (struct insn){.op = p[3],
                       .prefix = p[2] & 3,
                       .mod = p[4] >> 6,
                       .reg = p[4] >> 3 & 7,
                       .rm = p[4] & 7,
                       .second = ~(p[2] >> 3) & 15,
                       .length = 5};
    if (i->op != 0x49 && i->op != 0x4b && i->op != 0x5e)
        return false;
    if (i->mod != 3)
        trap_memory(u, p + 5, ~(p[1] >> 6) & 1, ~(p[1] >> 5) & 1, i);
    return true;
}

static void trap_config(const uint8_t *p)
{
    memset(&trap, 0, sizeof trap);
    trap.palette = p[0];
    if (trap.palette != 1)
        trap_die("ldtilecfg: the palette is not 1");
    for (int n = 2; n < 16; n++)
        if (p[n])
            trap_die("ldtilecfg: a reserved byte is not 0");
    for (int n = 0; n < 16; n++) {
        uint16_t bytes;
        memcpy(&bytes, p + 16 + 2 * n, 2);
        const uint8_t lines = p[48 + n];
        if (n >= 8 ? bytes || lines : bytes > 64 || lines > 16 || !bytes != !lines)
            trap_die("ldtilecfg: a tile of impossible size");
        if (n < 8) {
            trap.lines[n] = lines;
            trap.line_bytes[n] = bytes;
        }
    }
}

static void trap_move(const struct insn *i, bool load)
{
    const int n = i->reg;
    if (load)
        memset(trap.tile[n], 0, sizeof trap.tile[n]);
    for (int r = 0; r < trap.lines[n]; r++) {
        void *memory = (void *)(i->base + (uintptr_t)r * i->index);
        if (load)
            memcpy(trap.tile[n][r], memory, trap.line_bytes[n]);
        else
            memcpy(memory, trap.tile[n][r], trap.line_bytes[n]);
    }
}

static void trap_dot(const struct insn *i)
{
    const int c = i->reg, a = i->rm, b = i->second;
    if (b > 7 || c == a || c == b || a == b)
        trap_die("a product whose tiles are not three");
    if (trap.lines[c] != trap.lines[a] || trap.line_bytes[c] != trap.line_bytes[b] ||
        trap.line_bytes[a] != 4 * trap.lines[b])
        trap_die("a product of tiles whose sizes do not fit");
    for (int m = 0; m < trap.lines[c]; m++)
        for (int n = 0; n < trap.line_bytes[c] / 4; n++) {
            uint32_t sum;
            memcpy(&sum, &trap.tile[c][m][4 * n], 4);
            for (int k = 0; k < trap.line_bytes[a]; k++) {
                const uint8_t w = trap.tile[b][k / 4][4 * n + k % 4];
                sum += (uint32_t)((int8_t)trap.tile[a][m][k] *
                                  (i->prefix == PF2 ? (int8_t)w : (int)w));
            }
            memcpy(&trap.tile[c][m][4 * n], &sum, 4);
        }
}

/* Does the instruction's work. */
static void trap_do(const struct insn *i)
{
    const bool memory = i->mod != 3;
    if (i->op == 0x49 && i->prefix == NONE && memory && i->reg == 0) {
        __atomic_fetch_add(&trap_held, trap.palette ? 0 : 1, __ATOMIC_RELAXED);
        trap_config((const uint8_t *)i->base);
        return;
    }
    if (i->op == 0x49 && i->prefix == NONE && !memory && i->reg == 0 && i->rm == 0) {
        __atomic_fetch_sub(&trap_held, trap.palette ? 1 : 0, __ATOMIC_RELAXED);
        memset(&trap, 0, sizeof trap);
        return;
    }
    if (trap.palette != 1)
        trap_die("a tile without a configuration");
    if (!trap.lines[i->reg])
        trap_die("a tile of no size");
    if (i->op == 0x49 && i->prefix == PF2 && !memory && i->rm == 0)
        memset(trap.tile[i->reg], 0, sizeof trap.tile[i->reg]);
    else if (i->op == 0x4b && (i->prefix == PF2 || i->prefix == PF3) && memory)
        trap_move(i, i->prefix == PF2);
    else if (i->op == 0x5e && (i->prefix == PF2 || i->prefix == PF3) && !memory)
        trap_dot(i);
    else
        trap_die("an instruction of AMX that it does not know");
}

static void trap_on_sigill(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    const uint8_t *p = (const uint8_t *)u->uc_mcontext.gregs[REG_RIP];
    struct insn i;
    (void)number, (void)info;
    if (!trap_decode(u, p, &i))
        trap_die("an illegal instruction that is not AMX's");
    trap_do(&i);
    u->uc_mcontext.gregs[REG_RIP] += i.length;
    __atomic_fetch_add(&trap_number, 1, __ATOMIC_RELAXED);
}

/* cmocka takes SIGILL for a fault of the test and would replace the handler. */
void (*signal(int number, void (*handler)(int)))(int)
{
    struct sigaction on = {.sa_handler = handler, .sa_flags = SA_RESTART}, before;
    if (number == SIGILL || sigaction(number, &on, &before) < 0)
        return SIG_DFL;
    return before.sa_handler;
}

__attribute__((constructor)) static void trap_begin(void)
{
    struct sigaction on = {.sa_sigaction = trap_on_sigill, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &on, NULL);
}
