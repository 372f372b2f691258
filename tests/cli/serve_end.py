#!/usr/bin/env python3
"""The end of the server: signals in every state, a closed log, no descriptors left. usage: serve_end.py MAS

Standard library only.
"""
import http.client
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time

MAS = sys.argv[1]
bad = 0


def fault(text):
    global bad
    bad = 1
    print("serve_end: " + text, file=sys.stderr)


class Server:
    def __init__(self, *options, hard=None, stderr=subprocess.PIPE):
        def limit():
            if hard:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.p = subprocess.Popen([MAS, "serve", "-m", "demo", "--port", "0", "--threads", "1", *options],
                                  stdout=subprocess.PIPE, stderr=stderr, preexec_fn=limit)
        line = self.p.stdout.readline().decode()
        m = re.search(r":(\d+)$", line.strip())
        if not m:
            raise SystemExit("serve_end: the server does not start: %r" % line)
        self.port = int(m.group(1))

    def ask(self, path="/health", body=None, timeout=60):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if body is None:
                c.request("GET", path)
            else:
                c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read().decode()
        except (OSError, http.client.HTTPException) as e:
            return 0, {}, repr(e)
        finally:
            c.close()

    def later(self, body):
        """Asks on a thread; returns a function that waits for the reply."""
        got = []
        t = threading.Thread(target=lambda: got.append(self.ask("/v1/completions", body)))
        t.start()

        def wait():
            t.join()
            return got[0]
        return wait

    def until_ready(self):
        for _ in range(600):
            if self.ask("/ready")[0] == 200:
                return
            time.sleep(0.05)
        fault("the server is not ready after 30 s")

    def until_busy(self):
        """Until a reply runs or waits."""
        for _ in range(600):
            if re.search(r"^mas_replies [1-9]", self.ask("/metrics")[2], re.M):
                return
            time.sleep(0.02)
        fault("no request runs after 12 s")

    def end(self, want=0, seconds=20, what=""):
        start = time.time()
        try:
            out, err = self.p.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.p.kill()
            out, err = self.p.communicate()
            fault("%s: the server still runs after %d s" % (what, seconds))
        if self.p.returncode != want:
            fault("%s: status %s, expected %s: %s" % (what, self.p.returncode, want, (err or b"").decode()[-2000:]))
        return (err or b"").decode(), time.time() - start


LONG = {"prompt": "The patient", "max_tokens": 900, "temperature": 1, "seed": 1}
SHORT = dict(LONG, max_tokens=2)


def drains():
    """A request that runs is finished; new ones are refused; GET /ready tells it."""
    s = Server("--drain-seconds", "60")
    s.until_ready()
    wait = s.later(LONG)
    time.sleep(0.1)
    s.p.send_signal(signal.SIGTERM)
    time.sleep(0.15)
    ready, new = s.ask("/ready"), s.ask("/v1/completions", SHORT)
    status, _, body = wait()
    if status != 200:
        fault("a request that ran at SIGTERM got %s %s" % (status, body))
    if s.p.poll() is None or ready[0]:  # too fast a machine: the request was already done
        if ready[0] not in (0, 503) or new[0] not in (0, 503):
            fault("while the server drains: /ready %s, a new request %s" % (ready[0], new[0]))
        if new[0] == 503 and "Retry-After" not in new[1]:
            fault("503 without Retry-After while the server drains")
    s.end(what="drain")


def time_is_up():
    """Requests that outlive the drain are cut, each with an answer or an end."""
    s = Server("--drain-seconds", "0")
    s.until_ready()
    waits = [s.later(dict(LONG, max_tokens=3500, seed=i)) for i in range(20)]
    time.sleep(0.3)
    s.p.send_signal(signal.SIGTERM)
    _, took = s.end(what="no time to drain", seconds=20)
    for w in waits:
        if w()[0] not in (0, 200, 503):
            fault("a request that was cut got %s %s" % (w()[0], w()[2]))


def second_signal():
    s = Server("--drain-seconds", "600")
    s.until_ready()
    waits = [s.later(dict(LONG, max_tokens=3500, seed=i)) for i in range(8)]
    s.until_busy()
    s.p.send_signal(signal.SIGINT)
    time.sleep(0.1)
    s.p.send_signal(signal.SIGINT)
    err, took = s.end(want=75, what="second signal", seconds=10)
    if took > 3:
        fault("the second signal took %.1f s" % took)
    for w in waits:
        w()


def at_the_start():
    """SIGTERM at any moment of the start, with requests that wait for the model."""
    for i in range(6):
        s = Server("--drain-seconds", "0")
        waits = [s.later(SHORT) for _ in range(3)]
        time.sleep(0.02 * i)
        s.p.send_signal(signal.SIGTERM)
        s.end(what="SIGTERM %d ms after the start" % (20 * i))
        for w in waits:
            w()


def log_is_closed():
    """The reader of stderr ends; the server goes on."""
    r, w = os.pipe()
    s = Server("--set", "logging.level=info", stderr=w)
    os.close(w)
    s.until_ready()
    os.close(r)
    for _ in range(3):
        if s.ask("/v1/completions", SHORT)[0] != 200:
            fault("a server whose log is closed does not answer")
    s.p.send_signal(signal.SIGTERM)
    s.end(what="closed log")


def log_lines():
    s = Server("--set", "logging.level=info")
    s.until_ready()
    s.ask("/v1/completions", SHORT)
    s.ask("/nothing\x7f")
    s.ask("/v1/completions", {"prompt": 1, "x": 2})
    c = socket.create_connection(("127.0.0.1", s.port))
    c.sendall(b"GET /%0a%1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n")
    c.recv(1000)
    c.close()
    s.p.send_signal(signal.SIGTERM)
    err, _ = s.end(what="log")
    for want in (r"info: POST /v1/completions 200 [\d.]+ ms, \d+ bytes, \d+ \+ 2 tokens",
                 r"info: POST /v1/completions 400 [\d.]+ ms", r"info: GET /\?\?\[31m 404",
                 r"demo: ready after .* context \d+ tokens, \d+ sequences at a time", "API key: none"):
        if not re.search(want, err):
            fault("the log has no line '%s':\n%s" % (want, err))


def no_descriptors():
    """More connections than descriptors: those that are open are served, the others wait, no thread spins."""
    s = Server("--connections", "500", hard=64)
    s.until_ready()
    crowd = []
    for _ in range(150):
        c = socket.socket()
        c.settimeout(5)
        c.connect(("127.0.0.1", s.port))
        crowd.append(c)
    time.sleep(0.3)

    def cpu():
        f = open("/proc/%d/stat" % s.p.pid).read().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")
    used = []
    while len(used) < 3 and (not used or used[-1] > 0.5):  # taking the crowd in may last; spinning does not end
        before = cpu()
        time.sleep(1)
        used.append(cpu() - before)
    if used[-1] > 0.5:
        fault("without descriptors, the server spins: %s s of CPU in 1 s each" % used)
    crowd[0].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    if not crowd[0].recv(100).startswith(b"HTTP/1.1 200"):
        fault("a connection that is open gets no reply when descriptors are out")
    for c in crowd:
        c.close()
    if s.ask("/v1/completions", SHORT)[0] != 200:
        fault("after a lack of descriptors, the server does not answer")
    s.p.send_signal(signal.SIGTERM)
    s.end(what="descriptors")


def idle_connections():
    """A thousand connections without a request, or with a part of one, do not hold up the end."""
    s = Server("--drain-seconds", "60")
    s.until_ready()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))
    crowd = []
    for i in range(min(1000, min(hard, 2048) - 100)):
        c = socket.create_connection(("127.0.0.1", s.port), timeout=10)
        c.sendall((b"", b"GET /hea", b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                   b"application/json\r\nContent-Length: 100\r\n\r\n{")[i % 3])
        crowd.append(c)
    s.p.send_signal(signal.SIGTERM)
    _, took = s.end(what="idle connections")
    if took > 5:
        fault("with %d idle connections, the end took %.1f s" % (len(crowd), took))
    for c in crowd:
        c.close()


def one_connection():
    """--connections 2: a third client waits for its turn."""
    s = Server("--connections", "2")
    s.until_ready()
    held = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(2)]
    time.sleep(0.2)
    third = socket.create_connection(("127.0.0.1", s.port), timeout=10)
    third.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    if select.select([third], [], [], 0.3)[0]:
        fault("a connection above the limit of 2 is served")
    for c in held:
        c.close()
    if not third.recv(100).startswith(b"HTTP/1.1 200"):
        fault("a connection above the limit gets no turn")
    third.close()
    s.p.send_signal(signal.SIGTERM)
    s.end(what="connections")


for test in (drains, time_is_up, second_signal, at_the_start, log_is_closed, log_lines, no_descriptors, idle_connections, one_connection):
    start = time.time()
    test()
    print("%s: %.1f s" % (test.__name__, time.time() - start))
sys.exit(bad)
