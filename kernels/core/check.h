/*
 * check: assertions about the program's own bugs, never about the world. CHECK stays in release
 * builds; its expression must have no side effect. Faults of files, configs, datasets, prompts and
 * devices are errors (err.h).
 */
#ifndef MAS_CHECK_H
#define MAS_CHECK_H

/* Prints file, line and expression to stderr and aborts. */
__attribute__((noreturn)) void check_failed(const char *expr, const char *file, int line,
                                            const char *why);

#define CHECK(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__, ""))
#define CHECK_MSG(expr, why) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__, (why)))
#define UNREACHABLE(why) check_failed("unreachable", __FILE__, __LINE__, (why))

#endif
