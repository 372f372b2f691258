#include "quoted.h"

#include "check.h"

static enum quoted body(unsigned char b)
{
    if (b < 0x80)
        return b == '"'                ? QUOTED_END
               : b == '\\'             ? QUOTED_ESCAPE
               : b < 0x20 || b == 0x7f ? QUOTED_BAD
                                       : QUOTED_BODY;
    if (b < 0xe0)
        return b >= 0xc2 ? QUOTED_C1 : QUOTED_BAD;
    if (b < 0xf0)
        return b == 0xe0 ? QUOTED_C2E0 : b == 0xed ? QUOTED_C2ED : QUOTED_C2;
    return b == 0xf0 ? QUOTED_C3F0 : b < 0xf4 ? QUOTED_C3 : b == 0xf4 ? QUOTED_C3F4 : QUOTED_BAD;
}

static enum quoted escape(unsigned char b)
{
    switch (b) {
    case '"':
    case '\\':
    case 'n':
    case 't':
    case 'r':
        return QUOTED_BODY;
    case 'u':
        return QUOTED_U1;
    default:
        return QUOTED_BAD;
    }
}

static int hex(unsigned char b) /* -1 = no hexadecimal digit */
{
    if (b >= '0' && b <= '9')
        return b - '0';
    unsigned char low = b | 0x20;
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static enum quoted digit(enum quoted q, int d)
{
    if (d < 0)
        return QUOTED_BAD;
    switch (q) {
    case QUOTED_U1:
        return d == 0 ? QUOTED_U2Z : d == 0xd ? QUOTED_U2D : QUOTED_U2N;
    case QUOTED_U2Z:
        return d == 0 ? QUOTED_U3Z : QUOTED_U3N;
    case QUOTED_U2D: /* d8..db begin a pair; dc..df cannot come first */
        return d < 8 ? QUOTED_U3N : d < 0xc ? QUOTED_U3H : QUOTED_BAD;
    case QUOTED_U2N:
        return QUOTED_U3N;
    case QUOTED_U3Z:
        return d == 0 ? QUOTED_U4Z : QUOTED_U4N;
    case QUOTED_U3H:
        return QUOTED_U4H;
    case QUOTED_U3N:
        return QUOTED_U4N;
    case QUOTED_U4Z:
        return d == 0 ? QUOTED_BAD : QUOTED_BODY;
    case QUOTED_U4H:
        return QUOTED_PAIR;
    case QUOTED_U4N:
        return QUOTED_BODY;
    case QUOTED_L1:
        return d == 0xd ? QUOTED_L2 : QUOTED_BAD;
    case QUOTED_L2:
        return d >= 0xc ? QUOTED_L3 : QUOTED_BAD;
    case QUOTED_L3:
        return QUOTED_L4;
    case QUOTED_L4:
        return QUOTED_BODY;
    default:
        UNREACHABLE("not a state that reads a digit");
    }
}

static enum quoted tail(unsigned char b, unsigned char lo, unsigned char hi, enum quoted next)
{
    return b >= lo && b <= hi ? next : QUOTED_BAD;
}

enum quoted quoted_step(enum quoted q, unsigned char b)
{
    switch (q) {
    case QUOTED_OPEN:
        return b == '"' ? QUOTED_BODY : QUOTED_BAD;
    case QUOTED_BODY:
        return body(b);
    case QUOTED_ESCAPE:
        return escape(b);
    case QUOTED_PAIR:
        return b == '\\' ? QUOTED_PAIR_U : QUOTED_BAD;
    case QUOTED_PAIR_U:
        return b == 'u' ? QUOTED_L1 : QUOTED_BAD;
    case QUOTED_C1:
        return tail(b, 0x80, 0xbf, QUOTED_BODY);
    case QUOTED_C2:
        return tail(b, 0x80, 0xbf, QUOTED_C1);
    case QUOTED_C2E0:
        return tail(b, 0xa0, 0xbf, QUOTED_C1);
    case QUOTED_C2ED:
        return tail(b, 0x80, 0x9f, QUOTED_C1);
    case QUOTED_C3:
        return tail(b, 0x80, 0xbf, QUOTED_C2);
    case QUOTED_C3F0:
        return tail(b, 0x90, 0xbf, QUOTED_C2);
    case QUOTED_C3F4:
        return tail(b, 0x80, 0x8f, QUOTED_C2);
    case QUOTED_END:
    case QUOTED_BAD:
        return QUOTED_BAD;
    default:
        return digit(q, hex(b));
    }
}

unsigned char quoted_close(enum quoted q, bool more)
{
    switch (q) {
    case QUOTED_OPEN:
        return '"';
    case QUOTED_BODY:
        return more ? '.' : '"';
    case QUOTED_ESCAPE:
        return 'n';
    case QUOTED_U3Z: /* \u002. */
        return '2';
    case QUOTED_U4Z: /* \u0009, a tab */
        return '9';
    case QUOTED_PAIR:
        return '\\';
    case QUOTED_PAIR_U:
        return 'u';
    case QUOTED_L1:
        return 'd';
    case QUOTED_L2:
        return 'c';
    case QUOTED_C2E0:
        return 0xa0;
    case QUOTED_C3F0:
        return 0x90;
    case QUOTED_C1:
    case QUOTED_C2:
    case QUOTED_C2ED:
    case QUOTED_C3:
    case QUOTED_C3F4:
        return 0x80;
    case QUOTED_END:
    case QUOTED_BAD:
        UNREACHABLE("the string is over");
    default: /* the other digits */
        return '0';
    }
}
