#include "recording.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "profile.h"
#include "viewfile.h"

enum { MOST_INTERVALS = 1 << 20 };

int recording_open(const char *path, struct spans *next, struct recording *out, struct err *e)
{
    struct recording r = {.path = path, .spans = next};
    int rc = 0;
    if (path) {
        TRY_DONE(viewfile_free(VIEWFILE_TIMELINE, path, e));
        TRY_DONE(outfile_open(path, 0, &r.file, e));
        TRY_DONE(recorder_open(MOST_INTERVALS, &r.recorder, e));
        r.spans = recorder_spans(r.recorder);
        r.spans->next = next;
    }
    *out = r;
done:
    if (rc < 0)
        recording_close(&r);
    return rc;
}

static int write_file(struct recording *r, const struct record *record,
                      const struct profile_facts *f, struct err *e)
{
    struct outfile *file = r->file;
    TRY(profile_trace(record, f, file, e));
    TRY(viewfile_free(VIEWFILE_TIMELINE, r->path, e));
    r->file = NULL;
    return outfile_commit(file, e);
}

int recording_save(struct recording *r, struct llm *llm, char *const *command, int n, struct err *e)
{
    struct record record;
    struct str words = STR_INIT;
    char date[32];
    int rc = 0;
    if (!r->file)
        return 0;
    TRY_DONE(recorder_read(r->recorder, &record, e));
    for (int i = 0; i < n; i++)
        str_addf(&words, "%s%s", i ? " " : "", command[i]);
    TRY_DONE(str_ok(&words, "a command line", e));
    bench_time(date);
    const struct llm_info *in = llm_info(llm);
    const struct profile_facts facts = {.program = "mas " MAS_COMMIT,
                                        .device = in->device,
                                        .model = *in->name ? in->name : in->model,
                                        .date = date,
                                        .command = words.s,
                                        .note = ""};
    TRY_DONE(write_file(r, &record, &facts, e));
    if (record.dropped)
        fprintf(stderr,
                "%s has the first %zu intervals of the run; %" PRIu64 " more were not recorded\n",
                r->path, record.n_interval, record.dropped);
done:
    str_free(&words);
    return rc;
}

void recording_close(struct recording *r)
{
    outfile_abandon(r->file);
    recorder_close(r->recorder);
    memset(r, 0, sizeof *r);
}
