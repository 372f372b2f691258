/*
 * event_file: writes a file in the JSON object form of the Chrome Trace Event format, event by
 * event.
 *
 *     events_open, { events_at, events_arg_*, events_end }, events_other, events_close
 *
 * events_end hands full buffers to the file. Texts may hold any bytes. Times are in ns. The file has
 * microseconds with three decimals.
 */
#ifndef MAS_EVENT_FILE_H
#define MAS_EVENT_FILE_H

#include "outfile.h"
#include "str.h"

struct events {
    struct outfile *out;
    struct str buf;
    int64_t origin; /* subtracted from all times: a time must not be negative */
    bool any;       /* an event is written */
    bool args;      /* the event has arguments */
};

enum { EVENTS_NO_THREAD = 0 };

void events_open(struct events *t, struct outfile *out, int64_t origin);
/* An event of the kind ph ("X", "b", "s", ..) at ns. cat NULL = none. */
void events_at(struct events *t, const char *ph, int pid, int tid, int64_t ns, const char *cat,
               const char *name);
void events_duration(struct events *t, int64_t ns);  /* of "X" */
void events_id(struct events *t, uint64_t id);       /* of "b", "e", "s", "t", "f" */
void events_member(struct events *t, const char *s); /* more members, as JSON: "\"bp\":\"e\"" */
/* Arguments come last. Those without content are left out: "", and numbers that are not > 0. */
void events_arg_text(struct events *t, const char *key, const char *text);
void events_arg_count(struct events *t, const char *key, int64_t n);
void events_arg_value(struct events *t, const char *key, double v);
int events_end(struct events *t, struct err *e);

/* A whole event: a name of a process or thread, its place among others, a value of a counter. */
int events_name(struct events *t, const char *what, int pid, int tid, const char *name,
                struct err *e);
int events_sort(struct events *t, const char *what, int pid, int tid, int place, struct err *e);
int events_counter(struct events *t, int pid, const char *name, const char *series, int64_t ns,
                   double value, struct err *e);

/* Ends the events. Then come the members of "otherData". */
void events_other(struct events *t);
void events_other_text(struct events *t, const char *key, const char *text);
void events_other_json(struct events *t, const char *key, const char *json);
int events_close(struct events *t, struct err *e);
void events_free(struct events *t); /* after events_close, or instead of it */

#endif
