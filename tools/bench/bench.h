/*
 * bench: the parts that the modes of mas bench share. `mas bench kernels -o json` prints one
 * object, `mas profile -o json` another, and `mas bench read -o json` one from a profiler's report.
 * `mas bench compare` reads two of them:
 *
 *   {"bench": "kernels", "format": 1, "commit", "time", "backend", "device", "threads",
 *    "emulated": true if the host ran a GPU's kernels,
 *    "ceiling": {"copy_gb_s", "read_gb_s",
 *                "read_how": the best way to read the host's memory, "" on a device,
 *                "f32_gop_s", "int8_gop_s", "tensor_f16_gop_s",
 *                "tensor_int8_gop_s": 0 = no such unit},
 *    "rows": [{"op", "case", "kernel",
 *              "us": median of cold calls, "us_p5", "us_p95", "warm_us",
 *              "bytes", "ops": the least that a call moves and computes, "gb_s", "gop_s",
 *              "share": of the read ceiling, null where that is not measured, "noisy",
 *              "best": fastest of its case,
 *              "picked": the kernel that a call takes when none is forced,
 *              "error": used share of the oracle's tolerance, or null}
 *             or, for a kernel that failed, {"op", "case", "kernel", "failed": the message}],
 *    "energy": {"joules": of the rows together, "gpu_j", "cpu_j", "j_per_token": null,
 *               "source", "gpu", "cpu": how each is measured, or why not},
 *    "health": {the gauges of health.h: {"min", "max"}, "clock_reasons": in words}, or null;
 *              of several GPUs a list of these, with "gpu": the number, and "joules"}
 *
 * `mas bench model -o json` has both objects in each row, `mas bench stream -o json` once.
 *
 * A member of a row that is not known is null or missing. A profiler's report gives "files",
 * "left_out" and "ranges" beside the rows. Members of its rows:
 *
 * - "us": median, or the mean with "mean": true;
 * - "bytes": read and written by the GPU's memory; "share": of that memory's peak rate;
 * - "calls": number of calls or launches; "total_us": of all of them;
 * - "part": true if the row is one CUDA kernel; the call of an op may launch several;
 * - "instance": arguments of the kernel's template; "launch": grid and block;
 * - "range": the NVTX range around it; "function": the kernel's full name; "report": its report.
 *
 * The "us" of mas profile are calls in steps of a model. A case has a row for each kind of step,
 * and one for the draft. More members:
 *
 *   row:       "step": "prefill", "decode", "mixed" or "verify", "phase": "draft" for a draft,
 *              "calls", "ms": of all calls, "step_share": of the steps' time,
 *              "imbalance": (longest - mean) / mean of the threads' times
 *   "profile": {"model", "command", "device_timed", "intervals", "dropped",
 *               "wall_ms": of all steps, "apart_ms": between steps,
 *               "tests": [{"test": "pp512", "tokens", "recorded_s", "plain_s", "overhead",
 *                          "overhead_clear": it is more than noise}],
 *               "steps": [{"step", "steps": their number, "rows",
 *                          "wall_ms": of all, "ms": median of a step, "ms_p5", "ms_p95",
 *                          "pieces": [{"kind": "op", "host", "copy", "queue", "wait", "recorder" or
 *                                      "between", "name", "ms", "share"}], which add up to wall_ms
 *                          "layers": [{"layer", "us_min", "us": median over steps, "us_max"}],
 *                          "workers": [{"worker", "busy_ms", "waits_ms"}]}]}
 */
#ifndef MAS_BENCH_H
#define MAS_BENCH_H

#include "ops.h"
#include "str.h"

enum { CEILING_READS = 16 };

struct ceiling_read { /* one way to read the host's memory */
    char name[48];    /* "2 streams, prefetch, huge pages" */
    double rate;
};

struct ceiling { /* bytes/s; 0 = not measured */
    /* copy counts bytes read and bytes written; triad: a = b + s c, three arrays */
    double copy, read, triad;
    double read_one; /* of one thread */
    /* all threads together; the best is the member read */
    struct ceiling_read reads[CEILING_READS];
    int n_read, best_read;   /* n_read 0: read is the rate of a device */
    double up, down;         /* from pinned memory to a device, and back */
    double peak[PEAK_COUNT]; /* operations/s; 0: no such unit, or not measured */
};

/* threads: of the host; 0 = all. Measures a device's memory (copy, up, down) or the host's (all but
 * up and down). */
/* The host's read rate is the best of several patterns, each with and without huge pages. */
int ceiling_measure(struct ops *ops, int threads, struct ceiling *out, struct err *e);

extern const char *const ceiling_peak_name[PEAK_COUNT];  /* "f32 multiply-add" */
extern const char *const ceiling_peak_field[PEAK_COUNT]; /* "f32_gop_s" */

/* The modes; argv[0] is the mode's name. Return an exit code. */
int bench_kernels(int argc, char **argv);
int bench_ceiling(int argc, char **argv);
int bench_compare(int argc, char **argv);
int bench_stream(int argc, char **argv);
int bench_read(int argc, char **argv);
int bench_tiles(int argc, char **argv);

/* "2026-11-25T17:00:00Z" */
void bench_time(char out[32]);

#endif
