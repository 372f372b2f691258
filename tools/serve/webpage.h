/* webpage: the page for browsers, one file without foreign resources. */
#ifndef MAS_WEBPAGE_H
#define MAS_WEBPAGE_H

#include "route.h"

/* Replies with the page and its headers, and ends the call. For GET / when the client accepts
 * text/html. */
void page_reply(struct call *c);

#endif
