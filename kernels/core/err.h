/*
 * err: the one form in which a fallible function reports its failure.
 *
 * A function returns 0 or a negative ERR_* and takes `struct err *e` as its last parameter; e may
 * be NULL when the caller needs only the code. Out values are written only on success. A message is
 * lower case. It names the failure, then the value and the limit, then a remedy. The table below is
 * the one map from an error to the exit code of the process (sysexits.h).
 */
#ifndef MAS_ERR_H
#define MAS_ERR_H

#include <stddef.h>

/*         name      value  exit  meaning */
#define ERR_MAP(X)                                                                                 \
    X(ITEMS, -1, 1, "some items failed")                                                           \
    X(USAGE, -64, 64, "usage")                                                                     \
    X(DATA, -65, 65, "bad data")                                                                   \
    X(NOINPUT, -66, 66, "no input")                                                                \
    X(NODEV, -69, 69, "no device")                                                                 \
    X(BUG, -70, 70, "internal error")                                                              \
    X(NOMEM, -71, 75, "out of memory")                                                             \
    X(CREATE, -73, 73, "cannot create")                                                            \
    X(IO, -74, 74, "input/output error")                                                           \
    X(AGAIN, -75, 75, "try again")                                                                 \
    X(CONFIG, -78, 78, "bad configuration")                                                        \
    X(CANCEL, -99, 75, "cancelled")

enum err_code {
    ERR_OK = 0,
#define X(name, value, exit, text) ERR_##name = (value),
    ERR_MAP(X)
#undef X
};

struct err {
    int code;       /* the ERR_* last set; 0 = none */
    char msg[1020]; /* NUL-terminated, never contains a newline from untrusted input */
};

/* Writes code and the formatted message into e (ignored when NULL) and returns code. A message that
 * does not fit ends in "...". Control bytes (below 0x20, and 0x7f) from arguments become '?', so
 * that an untrusted name cannot draw on the terminal. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<formatted text>: " in front of the message already in e; returns e's code (or code). */
int err_wrap(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The process exit code that reports code: 0 for 0, 70 for an unknown one. */
int err_exit(int code);

/* Sets the error and returns its code. Returning the constant (not err_set's result) lets the
 * compiler see that out values are never read after a failure. */
#define FAIL(e, code, ...)                                                                         \
    do {                                                                                           \
        err_set((e), (code), __VA_ARGS__);                                                         \
        return (code);                                                                             \
    } while (0)

/* Passes a failure up. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        int try_rc_ = (call);                                                                      \
        if (try_rc_ < 0)                                                                           \
            return try_rc_;                                                                        \
    } while (0)

/* Passes a failure up through the function's one `done:` label; needs an `int rc` in scope. */
#define TRY_DONE(call)                                                                             \
    do {                                                                                           \
        rc = (call);                                                                               \
        if (rc < 0)                                                                                \
            goto done;                                                                             \
    } while (0)

#endif
