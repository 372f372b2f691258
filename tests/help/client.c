#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

int client_open(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        fail_msg("cannot connect to port %d: %s", port, strerror(errno));
    return fd;
}

static bool client_wait(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, ms) > 0;
}

bool client_ready(int fd, int ms)
{
    return client_wait(fd, POLLIN, ms);
}

bool client_send(int fd, const char *bytes, size_t n)
{
    while (n) {
        if (!client_wait(fd, POLLOUT, 10000))
            return false;
        ssize_t k = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (k < 0)
            return false;
        bytes += k;
        n -= (size_t)k;
    }
    return true;
}

bool client_sends(int fd, const char *text)
{
    return client_send(fd, text, strlen(text));
}

long client_recv(int fd, struct str *out, size_t n, int ms)
{
    char buf[16384];
    if (!client_wait(fd, POLLIN, ms))
        return -1;
    ssize_t k = recv(fd, buf, n < sizeof buf ? n : sizeof buf, 0);
    if (k <= 0)
        return 0;
    str_add(out, buf, (size_t)k);
    return k;
}

/* A reader of one reply: bytes that came and were not used yet. */
struct reader {
    int fd, ms;
    struct str in;
    size_t at;
    int fault; /* 0, or what client_reply returns */
};

/* Makes n unread bytes available. */
static bool reader_need(struct reader *r, size_t n)
{
    while (!r->fault && r->in.len - r->at < n) {
        long k = client_recv(r->fd, &r->in, 16384, r->ms);
        if (k <= 0) {
            r->fault = k == 0 ? 1 : -1;
            return false;
        }
    }
    return !r->fault;
}

/* The next line without its end. */
static bool reader_line(struct reader *r, struct str *line)
{
    str_clear(line);
    for (;;) {
        if (!reader_need(r, 1))
            return false;
        char c = r->in.s[r->at++];
        if (c == '\n')
            return true;
        if (c != '\r')
            str_addc(line, c);
    }
}

static bool reader_body(struct reader *r, size_t n, struct str *body)
{
    if (!reader_need(r, n))
        return false;
    str_add(body, r->in.s + r->at, n);
    r->at += n;
    return true;
}

static bool reader_chunks(struct reader *r, struct str *body)
{
    struct str line = STR_INIT;
    bool good = true;
    for (;;) {
        good = reader_line(r, &line);
        size_t n = good ? strtoul(line.s, NULL, 16) : 0;
        good = good && reader_body(r, n, body) && reader_line(r, &line);
        if (!good || !n)
            break;
    }
    str_free(&line);
    return good;
}

int client_reply_head(int fd, struct str *head, struct str *body, int ms)
{
    struct reader r = {.fd = fd, .ms = ms, .in = STR_INIT};
    struct str line = STR_INIT;
    int status = 0;
    long size = -1;
    bool chunked = false, good;
    do {
        good = reader_line(&r, &line) && sscanf(line.s, "HTTP/1.%*d %d", &status) == 1;
        while (good && reader_line(&r, &line) && line.len) {
            if (head)
                str_addf(head, "%s\n", line.s);
            if (!strncasecmp(line.s, "content-length:", 15))
                size = atol(line.s + 15);
            chunked |= !strcasecmp(line.s, "transfer-encoding: chunked");
        }
    } while (good && !r.fault && status == 100);
    if (good && !r.fault && chunked)
        good = reader_chunks(&r, body);
    else if (good && !r.fault && size >= 0)
        good = reader_body(&r, (size_t)size, body);
    else if (good && !r.fault) {
        while (reader_need(&r, 1))
            good = reader_body(&r, r.in.len - r.at, body);
        r.fault = r.fault == 1 ? 0 : r.fault;
    }
    str_free(&line);
    str_free(&r.in);
    return !good || r.fault ? (r.fault == -1 ? -1 : 0) : status;
}

int client_reply(int fd, struct str *body, int ms)
{
    return client_reply_head(fd, NULL, body, ms);
}

int client_ask(int port, const char *request, struct str *body)
{
    int fd = client_open(port);
    client_sends(fd, request);
    int status = client_reply(fd, body, 10000);
    close(fd);
    return status;
}

void client_reset(int fd)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(fd);
}

void client_close(int fd)
{
    close(fd);
}
