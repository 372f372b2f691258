"""A small HTTP client for tests of `mas serve`, with the standard library alone."""
import http.client
import json
import subprocess
import threading
import time


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body.decode("utf-8"))


class Server:
    """`mas serve` on a free port, ended by close()."""

    def __init__(self, mas, *options):
        self.process = subprocess.Popen([mas, "serve", "--port", "0", *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.said = []
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()
        line = self.process.stdout.readline()
        if not line.startswith("listening on http://"):
            self.process.wait()
            time.sleep(0.2)
            raise SystemExit(f"the server does not start: {line}{''.join(self.said)}")
        self.host = line.split("http://")[1].split()[0].rstrip("/")

    def close(self):
        self.process.terminate()
        return self.process.wait(timeout=60)

    def send(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(self.host, timeout=300)
        data = None
        headers = dict(headers or {})
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("content-type", "application/json")
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        connection.close()
        return reply

    def post(self, path, body, status=200):
        reply = self.send("POST", path, body)
        assert reply.status == status, f"{path} {json.dumps(body)[:400]}: {reply.status} {reply.body[:600]!r}"
        return reply.json()

    def events(self, path, body, headers=None):
        """The data of each event of a stream; each event must be whole UTF-8."""
        reply = self.send("POST", path, body, headers)
        assert reply.status == 200, f"{path} {json.dumps(body)[:400]}: {reply.status} {reply.body[:600]!r}"
        assert reply.headers["content-type"] == "text/event-stream", reply.headers["content-type"]
        out = []
        assert reply.body.endswith(b"\n\n"), reply.body[-50:]
        for event in reply.body.split(b"\n\n")[:-1]:
            lines = [l for l in event.split(b"\n") if not l.startswith(b":")]
            data = [l[6:].decode("utf-8") for l in lines if l.startswith(b"data: ")]
            named = [l[7:].decode() for l in lines if l.startswith(b"event: ")]
            if data:
                assert len(data) == 1
                out.append((named[0] if named else None, data[0] if data[0] == "[DONE]" else json.loads(data[0])))
        return out


def together(calls):
    """Runs functions in threads of their own; their results in order."""
    out = [None] * len(calls)

    def one(i):
        try:
            out[i] = calls[i]()
        except BaseException as e:  # noqa: BLE001 - shown by the caller
            out[i] = e
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for o in out:
        if isinstance(o, BaseException):
            raise o
    return out
