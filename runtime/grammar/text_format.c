#include "text_format.h"

#include <stddef.h>
#include <string.h>

/* Dates by the calendar of RFC 3339: years 0001 to 9999; 29 February in leap years only. */
#define YEAR "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
#define LEAP_YEAR "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
#define DATE                                                                                       \
    "(" YEAR "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"      \
    "02-(0[1-9]|1[0-9]|2[0-8]))|" LEAP_YEAR "-02-29)"
/* No leap seconds: only the date decides whether a minute has one. */
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]" \
    ")"
/* ISO 8601 as RFC 3339 appendix A has it: weeks stand alone, units stand in order without a gap. */
#define CLOCK "([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S)"
#define DURATION                                                                                   \
    "P([0-9]{1,4}W|T" CLOCK "|([0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|"                           \
    "[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)(T" CLOCK ")?)"

/* Lower case, at least two labels; the last one has only letters. At most 6 labels of at most 30
 * characters stay below every limit of RFC 1123. */
#define LABEL "[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?"
#define HOSTNAME "(" LABEL "\\.){1,5}[a-z]{2,12}"
#define ATOM "[A-Za-z0-9_+-]{1,20}"
#define EMAIL ATOM "(\\." ATOM "){0,2}@" HOSTNAME

#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 "(" OCTET "\\.){3}" OCTET
/* RFC 4291 without an IPv4 tail. */
#define H16 "[0-9a-fA-F]{1,4}"
#define IPV6                                                                                       \
    "((" H16 ":){7}" H16 "|(" H16 ":){1,7}:|(" H16 ":){1,6}:" H16 "|(" H16 ":){1,5}(:" H16         \
    "){2}|(" H16 ":){1,4}(:" H16 "){3}|(" H16 ":){1,3}(:" H16 "){4}|(" H16 ":){1,2}(:" H16         \
    "){5}|" H16 ":(:" H16 "){6}|:(:" H16 "){1,7}|::)"
/* RFC 3986 with a host that is a name. */
#define PCHAR "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})"
#define URI                                                                                        \
    "(https?|ftp)://" HOSTNAME "(:[1-9][0-9]{0,3})?(/" PCHAR "*)*(\\?(" PCHAR "|[/?])*)?(#(" PCHAR \
    "|[/?])*)?"
#define UUID "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

#define FORMATS(X)                                                                                 \
    X("date-time", DATE "T" TIME)                                                                  \
    X("date", DATE)                                                                                \
    X("time", TIME)                                                                                \
    X("duration", DURATION)                                                                        \
    X("email", EMAIL)                                                                              \
    X("hostname", HOSTNAME)                                                                        \
    X("ipv4", IPV4)                                                                                \
    X("ipv6", IPV6)                                                                                \
    X("uri", URI)                                                                                  \
    X("uuid", UUID)

const char *text_format(const char *name)
{
    static const struct {
        const char *name, *expression;
    } formats[] = {
#define X(n, e) {n, e},
        FORMATS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (!strcmp(name, formats[i].name))
            return formats[i].expression;
    return NULL;
}

const char *text_format_names(void)
{
#define X(n, e) ", " n
    static const char names[] = FORMATS(X);
#undef X
    return names + 2;
}
