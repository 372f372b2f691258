#!/usr/bin/env python3
"""Requests that no friendly client sends, each with its answer. usage: serve_hostile.py PORT [PID]

The table of tools/serve/ANSWERS.md is tested here line by line. Standard library only.
"""
import json
import socket
import struct
import sys
import threading
import time

PORT = int(sys.argv[1])
PID = int(sys.argv[2]) if len(sys.argv) > 2 else 0
bad = 0
CLOSED = 0  # the connection ends without a reply


def fault(text):
    global bad
    bad = 1
    print("serve_hostile: " + text, file=sys.stderr)


def connect():
    s = socket.create_connection(("127.0.0.1", PORT), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Reply:
    def __init__(self, status=CLOSED, head=None, body=b"", whole=False):
        self.status, self.head, self.body, self.whole = status, head or {}, body, whole


class Reader:
    """Replies of one connection, one after another."""

    def __init__(self, s):
        self.s, self.buf = s, b""

    def more(self):
        try:
            d = self.s.recv(65536)
        except (ConnectionError, socket.timeout):
            d = b""
        self.buf += d
        return bool(d)

    def take(self, n):
        while len(self.buf) < n:
            if not self.more():
                return None
        d, self.buf = self.buf[:n], self.buf[n:]
        return d

    def line(self):
        while b"\n" not in self.buf:
            if not self.more():
                return None
        d, self.buf = self.buf.split(b"\n", 1)
        return d.rstrip(b"\r")

    def reply(self, no_body=False):
        while True:
            first = self.line()
            if not first:
                return Reply()
            status, head = int(first.split()[1]), {}
            while True:
                l = self.line()
                if l is None:
                    return Reply(status, head)
                if not l:
                    break
                k, v = l.decode("latin1").split(":", 1)
                head[k.lower()] = v.strip()
            if status != 100:
                break
        body, whole = b"", True
        if no_body:
            pass
        elif head.get("transfer-encoding") == "chunked":
            while True:
                l = self.line()
                n = int(l, 16) if l else -1
                d = self.take(n + 2) if n >= 0 else None
                if d is None:
                    whole = False
                    break
                body += d[:-2]
                if n == 0:
                    break
        elif "content-length" in head:
            d = self.take(int(head["content-length"]))
            whole, body = d is not None, d or b""
        else:
            while self.more():
                pass
            body, self.buf = self.buf, b""
        return Reply(status, head, body, whole)


def ask(data, no_body=False):
    s = connect()
    try:
        s.sendall(data)
    except ConnectionError:
        pass
    r = Reader(s).reply(no_body)
    s.close()
    return r


def b(x):
    return x if isinstance(x, bytes) else x.encode()


def get(path, *headers, version="1.1", method="GET", host="localhost"):
    lines = [b(method) + b" " + b(path) + b" HTTP/" + b(version)]
    if host is not None:
        lines.append(b"Host: " + b(host))
    return b"\r\n".join(lines + [b(h) for h in headers]) + b"\r\n\r\n"


def post(body, *headers, path="/v1/completions", size=True, type="application/json", method="POST"):
    body = b(body if isinstance(body, (bytes, str)) else json.dumps(body))
    h = list(headers)
    if type:
        h.append("Content-Type: " + type)
    if size:
        h.append("Content-Length: %d" % len(body))
    return get(path, *h, method=method) + body


def chunked(parts, tail=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(b(p)), b(p)) for p in parts) + tail


GOOD = {"prompt": "The patient", "max_tokens": 2, "temperature": 0}
good = json.dumps(GOOD)
pad = lambda n: good[:-1] + ' ' * (n - len(good)) + "}"
TE = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"

# (name, bytes, status, text in the body)
CASES = [
    # the request's line
    ("absolute form", get("http://localhost/health"), 200, "ok"),
    ("absolute form, no path", get("http://localhost"), 200, ""),
    ("absolute form, another host", get("http://evil.example/health"), 400, "another host"),
    ("absolute form, both of another host", get("http://evil.example/health", host="evil.example"), 403, "evil.example"),
    ("no slash", get("health"), 404, "no such path"),
    ("asterisk", get("*", method="OPTIONS"), 404, "no such path"),
    ("two slashes", get("//health"), 404, "no such path: //health"),
    ("dots", get("/v1/../health"), 404, "no such path"),
    ("escaped letter", get("/%68ealth"), 200, "ok"),
    ("escaped slash", get("/v1%2fmodels"), 200, "list"),
    ("escaped NUL", get("/health%00x"), 404, "%00x"),
    ("NUL", get(b"/health\0x"), 400, "NUL"),
    ("broken escapes", get("/health%zz%"), 404, "%zz%"),
    ("a line break in a path", get("/a%0d%0aX-Evil:%201"), 404, "no such path"),
    ("path of 200 bytes in a model's name", get("/v1/models/" + "x" * 200), 404, "no such path"),
    ("unknown member of the query", get("/health?x=1&y"), 200, "ok"),
    ("method in small letters", get("/health", method="get"), 405, "use GET"),
    ("unknown method", get("/health", method="BREW"), 405, "use GET"),
    ("a long method", get("/health", method="A" * 200), 405, "use GET"),
    ("OPTIONS", get("/v1/completions", method="OPTIONS"), 405, "use POST"),
    ("CONNECT", get("localhost:80", method="CONNECT"), 404, "no such path"),
    ("HTTP/0.9", b"GET /health\r\n\r\n", 400, ""),
    ("HTTP/2.0", get("/health", version="2.0"), 505, ""),
    ("HTTP/1.9", get("/health", version="1.9"), 200, "ok"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", CLOSED, ""),
    # hosts
    ("no Host", get("/health", host=None), 400, "Host is missing"),
    ("no Host, HTTP/1.0", get("/health", host=None, version="1.0"), 200, "ok"),
    ("Host of HTTP/1.0", get("/health", host="evil.example", version="1.0"), 403, "evil.example"),
    ("two Hosts", get("/health", "Host: localhost"), 400, "may stand once"),
    ("empty Host", get("/health", host=""), 403, "is not served"),
    ("a name that rebinds", get("/health", host="127.0.0.1.evil.example"), 403, "serve.hosts"),
    ("a name that ends like ours", get("/health", host="evil-localhost"), 403, ""),
    ("IPv6", get("/health", host="[::1]:8080"), 200, "ok"),
    ("IPv6, open", get("/health", host="[::1"), 403, ""),
    ("a bad port", get("/health", host="localhost:80x"), 403, ""),
    ("Origin of the same host", get("/health", "Origin: http://localhost"), 200, "ok"),
    ("Origin of another port", get("/health", "Origin: http://localhost:1"), 403, "may not use"),
    ("Origin null", get("/health", "Origin: null"), 403, "may not use"),
    # headers
    ("a space before the colon", get("/health", "Content-Length : 5"), 400, ""),
    ("a header without a name", get("/health", ": x"), 200, "ok"),
    ("a header without a colon", get("/health", "nonsense"), 400, ""),
    ("a control byte in a value", get("/health", b"X: a\x01b"), 400, "no header may have"),
    ("a NUL in a value", get("/health", b"X: a\0b"), 200, "ok"),
    ("300 headers", get("/health", *["X-%d: y" % i for i in range(300)]), 200, "ok"),
    ("a header of 31 KiB", get("/health", "X: " + "y" * 31000), 200, "ok"),
    ("a header of 33 KiB", get("/health", "X: " + "y" * 33000), 431, "the limit is 32768"),
    ("a header of 200 KiB", get("/health", "X: " + "y" * 200000), 431, ""),
    ("a flood of headers", get("/health", *["X-%d: y" % i for i in range(20000)]), 431, ""),
    ("a path of 200 KB", get("/" + "x" * 200000), 414, ""),
    ("Expect of another kind", post(good, "Expect: tea"), 200, "text"),
    # the body's frame
    ("chunked", get("/v1/completions", JSON, TE, method="POST") + chunked([good[:9], good[9:]]), 200, "text"),
    ("chunked, trailers", get("/v1/completions", JSON, TE, method="POST") + chunked([good], b"0\r\nX: y\r\n\r\n"), 200, "text"),
    ("chunked, extension", get("/v1/completions", JSON, TE, method="POST") + b"%x;a=b\r\n" % len(good) + b(good) + b"\r\n0\r\n\r\n", 200, "text"),
    ("chunk of a bad size", get("/v1/completions", JSON, TE, method="POST") + b"xyz\r\n{}\r\n0\r\n\r\n", 400, ""),
    ("chunk of a huge size", get("/v1/completions", JSON, TE, method="POST") + b"fffffffffffffffff\r\n", 413, ""),
    ("chunked and Content-Length", post(good, TE), 400, "exclude each other"),
    ("two Content-Length, equal", post(good, "Content-Length: %d" % len(good)), 400, "may stand once"),
    ("two Content-Length", post(good, "Content-Length: 1"), 400, "may stand once"),
    ("Content-Length as a list", post(good, "Content-Length: 5, 5", size=False), 400, ""),
    ("negative Content-Length", post(good, "Content-Length: -5", size=False), 400, ""),
    ("Content-Length with a sign", post(good, "Content-Length: +5", size=False), 400, ""),
    ("Content-Length in hex", post(good, "Content-Length: 0x5", size=False), 400, ""),
    ("a huge Content-Length", post(good, "Content-Length: 99999999999999999999999", size=False), 413, ""),
    ("Content-Length of 1 TB", post(good, "Content-Length: 1000000000000", size=False), 413, "the limit is 8388608"),
    ("gzip, chunked", post(good, "Transfer-Encoding: gzip, chunked", size=False), 501, "takes chunked"),
    ("identity", post(good, "Transfer-Encoding: identity", size=False), 501, "takes chunked"),
    ("two Transfer-Encoding", post(good, TE, "Transfer-Encoding: identity", size=False), 400, "may stand once"),
    ("chunked in HTTP/1.0", get("/v1/completions", JSON, TE, method="POST", version="1.0") + chunked([good]), 400, "HTTP/1.0"),
    ("gzip", post(good, "Content-Encoding: gzip"), 415, "send it plain"),
    ("no type", post(good, type=None), 200, "choices"),
    ("a form", post("a=b", type="application/x-www-form-urlencoded"), 415, "takes application/json"),
    ("text", post(good, type="text/plain"), 415, "takes application/json"),
    ("a type that begins alike", post(good, type="application/jsonx"), 415, "takes application/json"),
    ("charset", post(good, type="Application/JSON; charset=utf-8"), 200, "text"),
    ("8 MiB", post(pad(8 << 20)), 200, "text"),
    ("8 MiB and a byte", post(pad((8 << 20) + 1)), 413, "8388609 bytes, the limit is 8388608"),
    ("8 MiB and a byte, chunked", get("/v1/completions", JSON, TE, method="POST") + chunked([pad((8 << 20) + 1)]), 413, "the limit, 8388608"),
    ("20 MiB", post(b"x" * (20 << 20)), 413, "the limit is 8388608"),
    ("20 MiB, chunked", get("/v1/completions", JSON, TE, method="POST") + chunked([b"x" * (1 << 20)] * 20), 413, ""),
    ("a refused body of 6 MiB", post(pad(6 << 20), path="/nothing"), 404, "no such path"),
    # the body
    ("no body", post(""), 400, "the body is empty"),
    ("a BOM", post(b"\xef\xbb\xbf" + b(good)), 400, "bad JSON"),
    ("UTF-16", post(good.encode("utf-16")), 400, "bad JSON"),
    ("invalid UTF-8", post(b'{"prompt": "\xff\xfe"}'), 400, "bad JSON"),
    ("overlong UTF-8", post(b'{"prompt": "\xc0\xaf"}'), 400, "bad JSON"),
    ("a surrogate in UTF-8", post(b'{"prompt": "\xed\xa0\x80"}'), 400, "bad JSON"),
    ("a lone high surrogate", post('{"prompt": "\\ud800"}'), 400, "bad JSON"),
    ("a lone low surrogate", post('{"prompt": "\\udc00"}'), 400, "bad JSON"),
    ("a pair of surrogates", post('{"prompt": "\\ud83d\\ude00", "max_tokens": 1}'), 200, "text"),
    ("a NUL in a name", post('{"model": "demo\\u0000x", "prompt": "a"}'), 400, "NUL"),
    ("a NUL in a key", post('{"a\\u0000b": 1}'), 400, "bad JSON"),
    ("a raw NUL", post(b'{"prompt": "a\0b"}'), 400, "bad JSON"),
    ("twice the same member", post('{"prompt": "a", "prompt": "b"}'), 400, "duplicate"),
    ("an unknown member", post('{"promt": "a"}'), 400, "did you mean 'prompt'?"),
    ("a long unknown member", post({"x" * 5000: 1}), 400, "unknown member"),
    ("an array", post("[]"), 400, "expected an object"),
    ("a number", post("7"), 400, "expected an object"),
    ("null", post("null"), 400, "expected an object"),
    ("two documents", post(good + good), 400, "bad JSON"),
    ("a comma too many", post('{"prompt": "a",}'), 400, "bad JSON"),
    ("a comment", post('{"prompt": "a" /* b */}'), 400, "bad JSON"),
    ("NaN", post('{"prompt": "a", "temperature": NaN}'), 400, "bad JSON"),
    ("cut", post(good[:-3]), 400, "bad JSON"),
    ("64 deep", post('{"prompt": ' + "[" * 63 + "]" * 63 + "}"), 400, ""),
    ("65 deep", post('{"prompt": ' + "[" * 64 + "]" * 64 + "}"), 400, "nested 65 deep, the limit is 64"),
    ("4 million deep", post("[" * 4000000), 400, "the limit is"),
    ("2 million lists", post('{"prompt": [' + "[]," * 2000000 + "[]]}"), 400, "lists and objects"),
    ("2 million objects", post('{"prompt": [' + "{}," * 2000000 + "{}]}"), 400, "lists and objects"),
    ("1e999", post('{"prompt": "a", "temperature": 1e999}'), 400, "bad JSON"),
    ("-1e999", post('{"prompt": "a", "temperature": -1e999}'), 400, "bad JSON"),
    ("-0", post('{"prompt": "a", "temperature": -0, "max_tokens": 1}'), 200, "text"),
    ("-0.0", post('{"prompt": "a", "temperature": -0.0, "max_tokens": 1}'), 200, "text"),
    ("a whole number as 2.0", post('{"prompt": "a", "max_tokens": 2.0}'), 200, "text"),
    ("2.5 tokens", post('{"prompt": "a", "max_tokens": 2.5}'), 400, "whole"),
    ("an integer above 64 bits", post('{"prompt": "a", "max_tokens": 99999999999999999999}'), 400, "bad JSON"),
    ("the largest integer", post('{"prompt": "a", "seed": 9223372036854775807}'), 400, "'seed' is"),
    ("the smallest integer", post('{"prompt": "a", "seed": -9223372036854775808}'), 400, "'seed' is"),
    ("2^53", post('{"prompt": "a", "seed": 9007199254740993}'), 400, "'seed' is"),
    ("5000 digits", post('{"prompt": "a", "seed": ' + "1" * 5000 + "}"), 400, "bad JSON"),
    ("negative tokens", post('{"prompt": "a", "max_tokens": -1}'), 400, "'max_tokens' is -1"),
    ("a text for a number", post('{"prompt": "a", "max_tokens": "1"}'), 400, "'max_tokens' is a string"),
    ("null for a number", post('{"prompt": "a", "max_tokens": null}'), 200, "text"),
    ("a prompt beyond the context", post({"prompt": "ab " * 20000}), 400, "exceed"),
    ("a prompt of 8 MiB", post({"prompt": "x" * ((8 << 20) - 100)}), 400, "exceed"),
    ("a model with a path", post({"model": "../../etc/passwd", "prompt": "a"}), 404, "no model"),
]


def check(name, r, status, text):
    if r.status != status:
        fault("%s: status %s, expected %s: %r" % (name, r.status, status, r.body[:200]))
    elif text not in r.body.decode("utf-8", "replace"):
        fault("%s: no %r in %r" % (name, text, r.body[:300]))
    elif text and r.head.get("content-type") != "application/json":
        fault("%s: content type %s" % (name, r.head.get("content-type")))
    elif b"root" in r.body or b"/work" in r.body or b"/tmp" in r.body:
        fault("%s: a path in %r" % (name, r.body[:300]))
    elif status == 503 and "retry-after" not in r.head:
        fault("%s: 503 without Retry-After" % name)


def cases():
    for name, data, status, text in CASES:
        check(name, ask(data), status, text)


# ---- connections ----------------------------------------------------------------------------------

def pipelining():
    s = connect()
    s.sendall(get("/health") + post(good) + get("/nothing") + get("/v1/models") + post("{") + get("/health"))
    r = Reader(s)
    got = [r.reply().status for _ in range(6)]
    if got != [200, 200, 404, 200, 400, 200]:
        fault("pipelined requests: %s" % got)
    s.close()


def expect_continue():
    """The body is sent only if it is wanted."""
    for path, type, want in (("/v1/completions", "application/json", 100), ("/nothing", "application/json", 404),
                             ("/v1/completions", "text/plain", 415)):
        s = connect()
        s.sendall(get(path, "Expect: 100-continue", "Content-Type: " + type, "Content-Length: %d" % len(good), method="POST"))
        first = s.recv(12)
        if first != b"HTTP/1.1 %d" % want:
            fault("Expect: 100-continue on %s: %r, expected %d" % (path, first, want))
        if want == 100:
            s.sendall(b(good))
            r = Reader(s)
            r.buf = first
            if r.reply().status != 200:
                fault("Expect: 100-continue: no reply after the body")
        s.close()


def head():
    r = ask(get("/health", "Connection: close", method="HEAD"), no_body=True)
    if r.status != 200 or int(r.head.get("content-length", 0)) < 10:
        fault("HEAD: %s %s" % (r.status, r.head))
    s = connect()
    s.sendall(get("/nothing", method="HEAD") + get("/health"))
    rd = Reader(s)
    a, c = rd.reply(no_body=True), rd.reply()
    if (a.status, c.status) != (404, 200):
        fault("HEAD, then GET: %s %s" % (a.status, c.status))
    s.close()


def allow():
    r = ask(get("/v1/completions", method="DELETE"))
    if r.status != 405 or r.head.get("allow") != "POST":
        fault("405: Allow is %s" % r.head.get("allow"))


def broken_off():
    """Clients that close at every place of a request; the server goes on."""
    data = post(good)
    for how in ("close", "reset", "half"):
        for n in list(range(0, len(data), 7)) + [len(data)]:
            s = connect()
            s.sendall(data[:n])
            if how == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if how == "half":
                s.shutdown(socket.SHUT_WR)
            s.close()
    check("after broken requests", ask(post(good)), 200, "text")


def crumbs():
    """A request in single bytes."""
    s = connect()
    for c in post(good):
        s.sendall(bytes([c]))
    check("single bytes", Reader(s).reply(), 200, "text")
    s.close()


def descriptors():
    try:
        with open("/proc/%d/limits" % PID) as f:
            line = [l for l in f if l.startswith("Max open files")][0]
        return int(line.split()[3])
    except (OSError, IndexError, ValueError):
        return 0


def idle_crowd():
    """A thousand connections without a request; others are still served."""
    n = 1000 if descriptors() >= 1200 or not PID else 100
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 100), hard))
        n = min(n, min(hard, n + 100) - 100)
    crowd = []
    for i in range(n):
        s = connect()
        if i % 3 == 1:
            s.sendall(b"GET /hea")
        if i % 3 == 2:
            s.sendall(get("/v1/completions", JSON, "Content-Length: 100", method="POST") + b"{")
        crowd.append(s)
    t = time.time()
    check("beside %d idle connections" % n, ask(post(good)), 200, "text")
    if time.time() - t > 5:
        fault("a request beside %d idle connections took %.1f s" % (n, time.time() - t))
    for s in crowd:
        s.close()


def blocking():
    """Long prompts do not hold up a health check."""
    worst = [0.0]
    stop = threading.Event()

    def health():
        while not stop.is_set():
            t = time.time()
            ask(get("/health"))
            worst[0] = max(worst[0], time.time() - t)
            time.sleep(0.02)

    bodies = [post(b'{"prompt": "' + t * ((2 << 20) // len(t)) + b'"}') for t in (b" ", b"ab ", b"\xc3\xa4")]
    threads = [threading.Thread(target=ask, args=(d,)) for d in bodies]
    h = threading.Thread(target=health)
    h.start()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    stop.set()
    h.join()
    print("the slowest health check beside three prompts of 2 MiB: %.0f ms" % (worst[0] * 1000))
    if worst[0] > 5:
        fault("a health check took %.1f s" % worst[0])


for test in (cases, pipelining, expect_continue, head, allow, broken_off, crumbs, idle_crowd, blocking):
    start = time.time()
    test()
    print("%s: %.1f s" % (test.__name__, time.time() - start))
check("at the end", ask(post(good)), 200, "text")
sys.exit(bad)
