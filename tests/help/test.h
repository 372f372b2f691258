/* test: the common header of all cmocka programs of the suite. */
#ifndef MAS_TEST_H
#define MAS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"
#include "str.h"

/* The call succeeded; prints the message otherwise. Needs `struct err e` in scope. */
#define ok(call)                                                                                   \
    do {                                                                                           \
        e = (struct err){0};                                                                       \
        int ok_rc_ = (call);                                                                       \
        if (ok_rc_ < 0)                                                                            \
            fail_msg("%s: %s", #call, e.msg);                                                      \
    } while (0)

/* The call failed with this code, and the message contains the text. */
#define fails(call, want_code, text)                                                               \
    do {                                                                                           \
        e = (struct err){0};                                                                       \
        int fails_rc_ = (call);                                                                    \
        if (fails_rc_ != (want_code) || !strstr(e.msg, (text)))                                    \
            fail_msg("%s: got %d \"%s\", want %d with \"%s\"", #call, fails_rc_, e.msg,            \
                     (want_code), (text));                                                         \
    } while (0)

/* Path of a file of the optional data folder; skips the test with a message if the file is
 * missing. */
const char *test_data(const char *name, char buf[1024]);
#define need_data(name, buf)                                                                       \
    do {                                                                                           \
        if (!test_data((name), (buf))) {                                                           \
            print_message("skipped: no %s\n", (name));                                             \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* True when this build and machine can run the backend; otherwise prints that its runs are
 * skipped. */
bool test_backend(const char *kind);

/* Whole file; fails the test when it cannot be read. NUL-terminated; free(). */
char *test_read(const char *path, size_t *n);
/* A fresh directory under $TMPDIR, removed by test_rmdir. */
char *test_mkdir(char buf[256]);
void test_rmdir(const char *dir);
int test_count(const char *dir); /* names in a directory */
/* Runs a shell command; returns its exit status. out receives its stdout and stderr together. */
int test_run(struct str *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
