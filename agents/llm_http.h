/*
 * llm_http: an llm on a server of models. Calls wait in a queue and go out as far as the window of
 * retry.h allows. One thread drives all of them inside llm_next.
 *
 *              +--------- after a wait ---------+
 *              v                                |
 *   submit -> waiting -> sent -> reply --- REMOTE_AGAIN
 *              ^                   |
 *              +- one repair -- breaks its schema
 *                                  |
 *                                done -> llm_next
 *
 * - A call whose reply was read is never sent again, but for the one repair.
 * - A call that used up its attempts is followed by one short question. If the server answers it,
 *   the call fails its case. Otherwise the run ends with ERR_AGAIN and can be continued.
 * - Another name of the model in a reply ends the run likewise. So does another fingerprint, unless
 *   it is only to be recorded.
 */
#ifndef MAS_LLM_HTTP_H
#define MAS_LLM_HTTP_H

#include "form.h"
#include "provider.h"

/* Opens an llm on the server at `address` by the settings of o, which outlive it. Probes the server
 * first. Errors of remote_open and ability_probe. */
int llm_http_of(const struct form *f, const struct provider_options *o, const char *address,
                struct llm **out, struct err *e);

#endif
