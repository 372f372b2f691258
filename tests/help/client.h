/* client: one of HTTP that may misbehave, for tests: raw bytes over a socket. */
#ifndef MAS_CLIENT_H
#define MAS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

int client_open(int port); /* connects to 127.0.0.1; fails the test if it cannot */
/* false: the other side has closed. Waits at most 10 s. */
bool client_send(int fd, const char *bytes, size_t n);
bool client_ready(int fd, int ms); /* something came, or the other side has closed */
bool client_sends(int fd, const char *text);
/* Appends up to n bytes; returns their number, 0 = closed, -1 = nothing within ms. */
long client_recv(int fd, struct str *out, size_t n, int ms);
/* Reads one whole reply (Content-Length, chunked, or until the end). Returns its status and appends
 * its body; 0 = the connection ended before the reply did, -1 = nothing came for ms. */
int client_reply(int fd, struct str *body, int ms);
/* The same, with the head; head may be NULL. */
int client_reply_head(int fd, struct str *head, struct str *body, int ms);
/* Connects, sends, reads one reply, closes. */
int client_ask(int port, const char *request, struct str *body);
void client_reset(int fd); /* closes with RST */
void client_close(int fd);

#endif
