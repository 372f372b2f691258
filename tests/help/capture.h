/* capture: text that the program writes to stderr, for tests of warnings. */
#ifndef MAS_CAPTURE_H
#define MAS_CAPTURE_H

#include <stddef.h>
#include <stdio.h>

struct capture {
    FILE *kept;
    int real; /* the descriptor of stderr before */
};

/* Sends stderr to a file. One at a time. */
void capture_begin(struct capture *c);
/* Gives stderr back; copies the first n - 1 bytes of the text to out, with a NUL after them. */
void capture_end(struct capture *c, char *out, size_t n);

#endif
