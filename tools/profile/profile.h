/*
 * profile: files that show a record (record.h).
 *
 * profile_trace writes the JSON object form of the Chrome Trace Event format. Perfetto and
 * chrome://tracing open the file. profile_html writes one self-contained page.
 *
 * The caller opens the file before the work that is recorded, so that a bad path fails early. The
 * caller commits the file afterwards. A failed call leaves the file for outfile_abandon.
 */
#ifndef MAS_PROFILE_H
#define MAS_PROFILE_H

#include "outfile.h"
#include "page.h"
#include "record.h"

/* The first bytes of each file, by which a later run knows a file of its own. */
#define PROFILE_TRACE_HEAD                                                                         \
    "{\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":"    \
    "\"mas"
#define PROFILE_HTML_TITLE "Profile"
#define PROFILE_HTML_HEAD PAGE_HEAD PROFILE_HTML_TITLE

struct profile_facts { /* texts; "" = not known */
    const char *program, *device, *model, *date, *command;
    const char *note; /* a caveat about the figures */
    double read;      /* ceiling of the device's memory reads in bytes a second; 0 = not measured */
};

/* The errors are those of outfile_put, and ERR_NOMEM. */
int profile_trace(const struct record *r, const struct profile_facts *f, struct outfile *out,
                  struct err *e);
int profile_html(const struct record *r, const struct profile_facts *f, struct outfile *out,
                 struct err *e);

#endif
