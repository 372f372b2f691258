#!/usr/bin/env python3
"""Many clients at once, for a while: each reply equals that of the same request alone, clients leave at random
places, and nothing of them stays.

usage: serve_soak.py MAS [--seconds 20] [--clients 64] [--crowd 1000] [--model demo] [--seed 1] [-- OPTION of mas serve ..]

Prints the figures of the run; status 1 if anything was wrong. A program with AddressSanitizer also fails on a leak, which
its status at the end tells. Standard library only.
"""
import argparse
import json
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

faults = []
lock = threading.Lock()
count = {}


def fault(text):
    with lock:
        if len(faults) < 20:
            print("serve_soak: " + text, file=sys.stderr)
        faults.append(text)


def add(what, n=1):
    with lock:
        count[what] = count.get(what, 0) + n


class Gone(Exception):
    """The client leaves, or the connection ended."""


class Wire:
    def __init__(self, port, leave_after=None):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.buf, self.left = b"", leave_after

    def more(self):
        d = self.s.recv(65536)
        if not d:
            raise Gone("the connection ended")
        if self.left is not None:
            self.left -= len(d)
            if self.left <= 0:
                raise Gone("on purpose")
        self.buf += d

    def line(self):
        while b"\n" not in self.buf:
            self.more()
        l, self.buf = self.buf.split(b"\n", 1)
        return l.rstrip(b"\r")

    def take(self, n):
        while len(self.buf) < n:
            self.more()
        d, self.buf = self.buf[:n], self.buf[n:]
        return d

    def ask(self, path, body):
        data = json.dumps(body).encode()
        self.s.sendall(("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        "Content-Length: %d\r\n\r\n" % (path, len(data))).encode() + data)
        return self.reply()

    def reply(self):
        status, head = int(self.line().split()[1]), {}
        while True:
            l = self.line().decode("latin1")
            if not l:
                break
            k, v = l.split(":", 1)
            head[k.lower()] = v.strip()
        if head.get("transfer-encoding") != "chunked":
            return status, head, self.take(int(head["content-length"]))
        body = b""
        while True:
            n = int(self.line(), 16)
            body += self.take(n + 2)[:-2]
            if not n:
                return status, head, body


# ---- requests, and what of a reply must be equal ---------------------------------------------------

def requests(rng):
    words = "The patient has fever, cough and a pain in the chest since two days; asks for advice.".split()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}, "required": ["a", "b"]}
    out = []
    for i in range(36):
        text = " ".join(rng.choice(words) for _ in range(rng.randint(1, 40)))
        draw = {"seed": i, "temperature": rng.choice([0, 0.8]), "max_tokens": rng.randint(1, 40)}
        chat = {"messages": [{"role": "user", "content": text}]}
        kind = i % 6
        if kind == 0:
            out.append(("/v1/completions", dict(draw, prompt=text)))
        elif kind == 1:
            out.append(("/v1/completions", dict(draw, prompt=[text, "ab"], n=2, stream=True, stop=["e ", "\n"])))
        elif kind == 2:
            out.append(("/v1/chat/completions", dict(draw, **chat, stream=True, stream_options={"include_usage": True})))
        elif kind == 3:
            out.append(("/v1/chat/completions", dict(draw, **chat, max_tokens=60, response_format={
                "type": "json_schema", "json_schema": {"name": "s", "schema": schema}})))
        elif kind == 4:
            out.append(("/v1/completions", dict(draw, prompt=text, echo=True, logprobs=1)))
        else:
            out.append(("/api/generate", {"prompt": text, "options": {
                "seed": i, "temperature": draw["temperature"], "num_predict": draw["max_tokens"]}}))
    return out


DROP = {"id", "created", "created_at", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration",
        "prompt_tokens_details"}


def essence(body):
    """The texts of each choice with their ends, however they were cut into pieces."""
    text = body.decode()
    docs = []
    if text.startswith("data:") or ": \n\n" in text:
        docs = [json.loads(l[6:]) for l in text.split("\n") if l.startswith("data: ") and l != "data: [DONE]"]
        if "data: [DONE]" not in text:
            return "no end: " + text[-200:]
    else:
        docs = [json.loads(l) for l in text.strip().split("\n")]
    got = {}
    for d in docs:
        if "error" in d:
            return "error: %s" % json.dumps(d)
        for c in d.get("choices", []):
            e = got.setdefault(str(c.get("index")), ["", None])
            e[0] += c.get("text") or (c.get("delta") or {}).get("content") or (c.get("message") or {}).get("content") or ""
            e[1] = c.get("finish_reason") or e[1]
            if c.get("logprobs") and "token_logprobs" in c["logprobs"]:
                got.setdefault("lp", []).append(c["logprobs"]["token_logprobs"])
        if "response" in d:
            e = got.setdefault("r", ["", None])
            e[0] += d["response"]
            e[1] = d.get("done_reason") or e[1]
        if d.get("usage"):
            got["usage"] = (d["usage"]["prompt_tokens"], d["usage"]["completion_tokens"])
    return json.dumps(got, sort_keys=True, default=str)


def metrics(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=60)
    s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    data = b""
    while True:
        d = s.recv(65536)
        if not d:
            break
        data += d
    s.close()
    m = {}
    for l in data.decode().split("\n"):
        g = re.match(r"(mas_\w+)(?:\{[^}]*\})? ([-\d.e+]+)$", l.strip())
        if g:
            m[g.group(1)] = m.get(g.group(1), 0) + float(g.group(2))
    return m


def idle(port, what, seconds):
    """Nothing runs, waits or is held any more within that time; returns how long it took."""
    start = time.time()
    while True:
        m = metrics(port)
        busy = {k: m.get(k, 0) for k in ("mas_sequences_running", "mas_sequences_queued", "mas_replies", "mas_model_users")}
        if not any(busy.values()):
            return time.time() - start
        if time.time() - start > seconds:
            fault("%s: after %d s there are still %s" % (what, seconds, busy))
            return seconds
        time.sleep(0.01)


def rss(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def alone(port, all):
    want = []
    for path, body in all:
        status, _, got = Wire(port).ask(path, body)
        want.append(essence(got) if status == 200 else "status %d" % status)
        if status != 200:
            fault("%s %s alone: status %d %s" % (path, json.dumps(body), status, got[:300]))
    return want


def client(port, all, want, seed, end):
    rng = random.Random(seed)
    while time.time() < end:
        i = rng.randrange(len(all))
        path, body = all[i]
        leaves = rng.random() < 0.3
        w = Wire(port, rng.choice([1, 100, 300, 1000]) if leaves else None)
        try:
            if leaves and rng.random() < 0.5: # before anything came, or in the middle of the request
                data = json.dumps(body).encode()
                w.s.sendall(("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                             "Content-Length: %d\r\n\r\n" % (path, len(data))).encode() + data[:rng.randrange(len(data) + 1)])
                time.sleep(rng.random() * 0.05)
                raise Gone("on purpose")
            status, head, got = w.ask(path, body)
            if status == 503 and "retry-after" in head:
                add("503 with Retry-After")
                time.sleep(0.05)
            elif status != 200:
                fault("%s %s: status %d %s" % (path, json.dumps(body), status, got[:300]))
            elif essence(got) != want[i]:
                fault("%s %s: another reply than alone:\n  %s\n  %s" % (path, json.dumps(body), essence(got)[:500], want[i][:500]))
            else:
                add("equal replies")
        except Gone:
            add("left" if leaves else "broken")
            if not leaves:
                fault("%s %s: the connection ended" % (path, json.dumps(body)))
        except (OSError, ValueError, KeyError, IndexError) as e:
            fault("%s %s: %r" % (path, json.dumps(body), e))
        if rng.random() < 0.5:
            w.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        w.s.close()


def crowd(port, n):
    """n requests at once, half of which leave: the places of those that left are free within moments."""
    body = json.dumps({"prompt": "The patient", "max_tokens": 400, "temperature": 1, "ignore_eos": True}).encode()
    head = ("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: %d\r\n\r\n" % len(body)).encode()
    held = []
    for i in range(n):
        s = socket.create_connection(("127.0.0.1", port), timeout=120)
        s.sendall(head + body)
        held.append(s)
    time.sleep(0.3)
    before = metrics(port)
    for s in held[::2]:
        s.close()
    start = time.time()
    for s in held[1::2]:
        s.close()
    took = idle(port, "a crowd of %d that left" % n, 60)
    print("%d connections, %d replies ran or waited; all had left: free after %.2f s" %
          (n, before.get("mas_replies", 0), time.time() - start))


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    p.add_argument("mas")
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--clients", type=int, default=64)
    p.add_argument("--crowd", type=int, default=1000)
    p.add_argument("--model", default="demo")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("options", nargs="*")
    a = p.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    log = open("serve_soak.log", "wb")
    server = subprocess.Popen([a.mas, "serve", "-m", a.model, "--port", "0", *a.options], stdout=subprocess.PIPE, stderr=log)
    port = int(re.search(r":(\d+)$", server.stdout.readline().decode().strip()).group(1))
    all = requests(random.Random(a.seed))
    want = alone(port, all)
    first, most, samples = rss(server.pid), 0, []
    end = time.time() + a.seconds
    threads = [threading.Thread(target=client, args=(port, all, want, a.seed * 1000 + i, end)) for i in range(a.clients)]
    for t in threads:
        t.start()
    while time.time() < end and server.poll() is None:
        samples.append(rss(server.pid))
        time.sleep(min(1, a.seconds / 20))
    for t in threads:
        t.join()
    if server.poll() is not None:
        fault("the server ended with status %d" % server.returncode)
    else:
        took = idle(port, "after the clients", 30)
        crowd(port, a.crowd)
        if alone(port, all[:6]) != want[:6]:
            fault("afterwards, a request alone has another reply")
        quarter, last = samples[len(samples) // 4], rss(server.pid)
        print("%.0f s, %d clients: %s; memory %.0f MiB at first, %.0f after a quarter, %.0f at the end" %
              (a.seconds, a.clients, ", ".join("%d %s" % (v, k) for k, v in sorted(count.items())), first, quarter, last))
        if last > quarter * 1.5 + 100:
            fault("memory grows: %.0f MiB after a quarter of the time, %.0f at the end" % (quarter, last))
        server.send_signal(signal.SIGTERM)
        try:
            if server.wait(120) != 0:
                fault("the server ends with status %d" % server.returncode)
        except subprocess.TimeoutExpired:
            server.kill()
            fault("the server does not end")
    log.close()
    if faults:
        sys.stderr.write(open("serve_soak.log", errors="replace").read()[-4000:])
    sys.exit(1 if faults else 0)


main()
