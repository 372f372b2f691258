#!/usr/bin/env python3
"""Measures a server of OpenAI's API: clients at once, time to the first token, tokens a second.

Each client sends prompts of random token ids to POST /v1/completions and reads the stream. One thread
reads all sockets, so the client takes little of the processor. Works with mas, llama-server, vLLM.

usage: bench_serve.py [--url URL] [--clients N] [--requests N] [--prompt N] [--tokens N] [--vocab N]
                      [--seed N] [--model NAME] [--json]
Prints: requests, tokens, seconds, tokens/s, and the median and the 90th percentile of the first
token's time in ms. Ends with status 1 when a request fails or its reply is short.
"""
import argparse
import json
import random
import selectors
import socket
import statistics
import sys
import time
import urllib.parse


class Client:
    """One connection: sends a request, counts the events of its stream."""

    def __init__(self, at, body):
        self.sock = socket.create_connection(at)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.start = time.perf_counter()
        self.first = self.end = None
        self.data = b""
        self.scanned = 0
        head = (f"POST /v1/completions HTTP/1.1\r\nHost: {at[0]}:{at[1]}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
        self.sock.sendall(head.encode() + body)

    def read(self):
        """Reads what there is; True when the stream has ended."""
        piece = self.sock.recv(65536)
        if not piece:
            self.end = time.perf_counter()
            self.sock.close()
            return True
        self.data += piece
        if self.first is None and b'"choices"' in self.data:
            self.first = time.perf_counter() - self.start
        return False

    def tokens(self):
        """Tokens of the reply, by the stream's usage; None if the request failed."""
        if not self.data.startswith(b"HTTP/1.1 200"):
            return None
        at = self.data.rfind(b'"completion_tokens"')
        if at < 0:
            return None
        digits = self.data[at + 19:at + 40].lstrip(b": ")
        return int(digits[:len(digits) - len(digits.lstrip(b"0123456789"))])


def measure(o):
    where = urllib.parse.urlsplit(o.url)
    at = (where.hostname, where.port or 80)
    rng = random.Random(o.seed)
    left = o.requests
    watch = selectors.DefaultSelector()
    done = []

    def send():
        body = {"prompt": [rng.randrange(o.vocab) for _ in range(o.prompt)], "max_tokens": o.tokens,
                "temperature": 0, "stream": True, "ignore_eos": True,
                "stream_options": {"include_usage": True}}
        if o.model:
            body["model"] = o.model
        c = Client(at, json.dumps(body).encode())
        watch.register(c.sock, selectors.EVENT_READ, c)

    start = time.perf_counter()
    for _ in range(min(o.clients, left)):
        left -= 1
        send()
    while watch.get_map():
        for key, _ in watch.select():
            sock = key.fileobj
            if key.data.read():
                watch.unregister(sock)
                done.append(key.data)
                if left:
                    left -= 1
                    send()
    return done, time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--url", default="http://127.0.0.1:8080")
    p.add_argument("--model")
    for name, value in (("clients", 32), ("requests", 32), ("prompt", 64), ("tokens", 64), ("vocab", 30000),
                        ("seed", 1)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--json", action="store_true")
    o = p.parse_args()
    done, seconds = measure(o)
    counts = [c.tokens() for c in done]
    bad = [c for c, n in zip(done, counts) if n != o.tokens]
    for c in bad[:3]:
        print(c.data[-400:].decode(errors="replace"), file=sys.stderr)
    first = sorted(c.first for c in done if c.first)
    total = sum(n or 0 for n in counts)
    row = {"clients": o.clients, "requests": len(done), "failed_or_short": len(bad), "prompt": o.prompt,
           "tokens": total, "seconds": round(seconds, 4), "tokens_per_second": round(total / seconds, 2),
           "first_token_ms_median": round(1e3 * statistics.median(first), 2) if first else None,
           "first_token_ms_90": round(1e3 * first[int(0.9 * (len(first) - 1))], 2) if first else None}
    print(json.dumps(row) if o.json else "\n".join(f"{k:24} {v}" for k, v in row.items()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
