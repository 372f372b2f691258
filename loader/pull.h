/*
 * pull: downloads a file over http or https (exchange.h).
 *
 * Invariants:
 *   - The file gets its name when it is complete: its length, its sha256 (if it is known) and the
 *     caller's check agree. Until then the bytes stand in NAME.part.
 *   - NAME.part continues where it ended. NAME.part.json says which version of the file the bytes
 *     belong to: length, ETag or date, sha256. Bytes of another version are dropped.
 *   - Without sha256 a server must confirm the version (If-Range); otherwise the download begins
 *     again. With sha256 the digest of the whole file decides.
 *   - A token goes to its own server alone. A redirection never carries it to another one, and
 *     never leads from https to http.
 *
 * Proxies are those of libcurl (https_proxy, no_proxy).
 */
#ifndef MAS_PULL_H
#define MAS_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

struct pull_token {
    const char *at;     /* scheme://host[:port] */
    const char *secret; /* printable ASCII */
};

enum pull_phase {
    PULL_CONNECT,  /* waits for a server */
    PULL_REREAD,   /* hashes the bytes of NAME.part */
    PULL_TRANSFER, /* receives */
    PULL_WAIT      /* waits after a failure, before the next attempt */
};

struct pull_progress {
    enum pull_phase phase;
    uint64_t done, total; /* bytes of the file; total 0 = not known yet */
    uint64_t received;    /* bytes from the network, by this call */
    const char *why;      /* PULL_WAIT: the failure */
};

struct pull_options {
    const struct pull_token *token; /* (n_token) */
    size_t n_token;
    const char *authorities; /* file of certificates that are trusted; NULL = the system's */
    int tries;               /* attempts without one new byte, for each address; at least 1 */
    int stall_s;    /* an attempt ends when fewer than 100 bytes a second came for so long */
    int backoff_ms; /* wait after the first failure; doubles, up to 30 s. A busy server
                     may ask for up to 60 s (Retry-After) */
    /* Both may be NULL. stopped is asked several times a second; true ends the download. */
    void (*progress)(const struct pull_progress *p, void *user);
    bool (*stopped)(void *user);
    void *user;
};

struct pull_file {
    const char *const *url; /* (n_url) addresses of the same file, tried in order */
    size_t n_url;
    const char *path;
    const char *sha256; /* 64 hex digits; NULL = not known, unless the server names it */
    uint64_t bytes;     /* 0 = not known */
    bool gguf;          /* the file must begin as GGUF: a web page ends the download at once */
    /* Checks the complete file before it gets its name; may be NULL. A failure removes it. */
    int (*check)(const char *path, void *user, struct err *e);
    void *user;
};

struct pull_result {
    uint64_t bytes, received;
    char sha256[65];
    bool proven; /* sha256 was known before */
};

/* ERR_AGAIN: interrupted, or a server fails too often; the bytes stay for the next call.
 * ERR_NOINPUT: 401, 403, 404 and other refusals. ERR_DATA: not the right file, which is removed.
 * ERR_IO: the disk, or a certificate. ERR_CREATE. */
int pull_file(const struct pull_file *f, const struct pull_options *o, struct pull_result *out,
              struct err *e);
/* Compares the file at f->path, which is here, with the one that pull_file would bring: its check,
 * its length and its digest. Without a known sha256 it asks the addresses for length and digest,
 * and receives no file. out->proven: a digest agrees; else the length alone. ERR_DATA: another
 * file, or no server tells its length or digest. Else the errors of pull_file. */
int pull_compare(const struct pull_file *f, const struct pull_options *o, struct pull_result *out,
                 struct err *e);
/* Appends a small document of at most max bytes. accept: the media type to ask for. */
int pull_text(const char *url, const char *accept, const struct pull_options *o, size_t max,
              struct str *out, struct err *e);

#endif
