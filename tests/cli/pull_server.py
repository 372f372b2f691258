"""A hostile HTTP server for pull.sh: usage: pull_server.py FOLDER. It serves the files of FOLDER/www, prints its port,
and appends a line for each request to FOLDER/log: path, Range, If-Range, Authorization. With FOLDER/cert.pem (key and
certificate) it prints a second port, which speaks TLS.

/KIND/FILE: KIND says what is wrong with the server. It keeps count of the requests of each path."""
import collections
import os
import socket
import ssl
import sys
import threading
import time

folder = sys.argv[1]
count = collections.Counter()
lock = threading.Lock()
port = 0


def head(status, *lines):
    return (f"HTTP/1.1 {status} X\r\n" + "".join(f"{x}\r\n" for x in lines) + "Connection: close\r\n\r\n").encode()


def cut(data, at, share):
    return data[at:at + max(1, int((len(data) - at) * share))]


def serve(out, path, headers):
    kind, _, name = path.lstrip("/").partition("/")
    with lock:
        count[path] += 1
        turn = count[path]
        with open(folder + "/log", "a") as log:
            log.write(" ".join([path, *(headers.get(h, "-").replace(" ", "_") for h in ("range", "if-range", "authorization"))]) + "\n")
    file = folder + "/www/" + os.path.basename(name)
    data = open(file, "rb").read() if os.path.isfile(file) else b""
    size, send = len(data), out.sendall
    first = int(headers["range"].split("=")[1].split("-")[0]) if "range" in headers else 0
    etag = '"v1"'

    def whole(tag='ETag: "v1"', body=data):
        send(head(200, f"Content-Length: {len(data)}", tag) + body)

    def part(body=None, tag='ETag: "v1"'):
        if first == 0:
            send(head(200, f"Content-Length: {size}", tag) + (data if body is None else body))
        elif "if-range" in headers and tag.split(": ")[1] != headers["if-range"]:
            whole(tag)
        elif first >= size:
            send(head(416, f"Content-Range: bytes */{size}", "Content-Length: 0"))
        else:
            send(head(206, f"Content-Length: {size - first}", f"Content-Range: bytes {first}-{size - 1}/{size}", tag) +
                 (data[first:] if body is None else body))

    def chunks(body, end=b"0\r\n\r\n"):
        send(head(200, "Transfer-Encoding: chunked", 'ETag: "v1"'))
        for at in range(0, len(body), 50000):
            piece = body[at:at + 50000]
            send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        send(end)

    if kind == "ok":
        part()
    elif kind == "drop":  # a third of the rest each time
        part(cut(data, first, 0.34) if turn < 6 else None)
    elif kind == "dropnotag":
        part(cut(data, first, 0.34) if turn < 3 else None, "X-Tag: none")
    elif kind == "dropweak":
        part(cut(data, first, 0.34) if turn < 3 else None, 'ETag: W/"v1"')
    elif kind == "dropdate":
        part(cut(data, first, 0.34) if turn < 6 else None, "Last-Modified: Sun, 29 Nov 2026 10:00:00 GMT")
    elif kind == "norange":  # ignores ranges, drops twice
        whole(body=cut(data, 0, 0.5) if turn < 3 else data)
    elif kind == "never":  # nothing but the first half, ever
        send(head(206, f"Content-Length: {size - first}", f"Content-Range: bytes {first}-{size - 1}/{size}", 'ETag: "v1"')
             if first else head(200, f"Content-Length: {size}", 'ETag: "v1"'))
        send(data[first:size // 2])
    elif kind == "short":  # says less than there is
        send(head(200, f"Content-Length: {size - 1000}", 'ETag: "v1"') + data[:size - 1000])
    elif kind == "long":  # says more than there is
        send(head(200, f"Content-Length: {size + 1000}", 'ETag: "v1"') + data)
    elif kind == "extra":  # sends more than it says
        send(head(200, f"Content-Length: {size}", 'ETag: "v1"') + data + b"x" * 5000)
    elif kind == "close":  # no length: the end of the connection is the end of the file
        send(head(200) + data)
    elif kind == "closehalf":
        send(head(200) + data[:size // 2])
    elif kind == "chunked":
        chunks(data)
    elif kind == "chunkdrop":
        chunks(data[:size // 2], b"") if turn < 3 else chunks(data)
    elif kind == "chunkmore":
        chunks(data + b"x" * 1000)
    elif kind == "badrange":  # sends another part than the one asked for
        if first:
            send(head(206, f"Content-Length: {size}", f"Content-Range: bytes 0-{size - 1}/{size}", 'ETag: "v1"') + data)
        else:
            whole(body=cut(data, 0, 0.5))
    elif kind == "norangehead":
        if first:
            send(head(206, f"Content-Length: {size - first}", 'ETag: "v1"') + data[first:])
        else:
            whole(body=cut(data, 0, 0.5))
    elif kind == "grow":  # the total differs between answers
        if first:
            send(head(206, f"Content-Length: {size - first}", f"Content-Range: bytes {first}-{size - 1}/{size}", 'ETag: "v1"') +
                 data[first:])
        elif turn == 1:
            send(head(200, f"Content-Length: {size + 50}", 'ETag: "v1"') + b"GGUF" + b"o" * (size // 2))
        else:
            whole()
    elif kind in ("change", "liar"):  # the first half is of another version
        tag = 'ETag: "v1"' if turn == 1 else 'ETag: "v2"'
        if turn == 1:
            send(head(200, f"Content-Length: {size}", tag) + b"GGUF" + b"o" * (size // 2))
        elif kind == "change" or not first:
            part(tag=tag)
        else:  # ignores If-Range
            send(head(206, f"Content-Length: {size - first}", f"Content-Range: bytes {first}-{size - 1}/{size}", tag) + data[first:])
    elif kind == "silentliar":  # another version under the same tag: only a digest can tell
        if turn == 1:
            send(head(200, f"Content-Length: {size}", 'ETag: "v1"') + b"GGUF" + b"o" * (size // 2))
        else:
            part()
    elif kind == "flip":  # one byte is wrong
        at = size // 2
        whole(body=data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
    elif kind == "to":  # /to/KIND/FILE redirects to /KIND/FILE
        send(head(302, f"Location: /{name}", "Content-Length: 0"))
    elif kind == "tohost":  # to another name of this machine
        send(head(302, f"Location: http://localhost:{port}/{name}", "Content-Length: 0"))
    elif kind == "loop":
        send(head(302, f"Location: {path}", "Content-Length: 0"))
    elif kind == "tohttp":
        send(head(302, f"Location: http://127.0.0.1:{port}/{name}", "Content-Length: 0"))
    elif kind == "tofile":
        send(head(302, "Location: file:///etc/passwd", "Content-Length: 0"))
    elif kind == "nowhere":
        send(head(302, "Content-Length: 0"))
    elif kind.isdigit():
        send(head(kind, "Content-Length: 5") + b"sorry")
    elif kind == "busy":  # 503 once
        send(head(503, "Content-Length: 0")) if turn < 2 else part()
    elif kind in ("wait", "waitlong"):  # 429 with a wait, always or once
        if kind == "waitlong" or turn < 2:
            send(head(429, f"Retry-After: {2 if kind == 'wait' else 7200}", "Content-Length: 0"))
        else:
            part()
    elif kind == "html":
        page = b"<!DOCTYPE html><html>Please log in</html>" + b" " * size
        send(head(200, f"Content-Length: {len(page)}") + page)
    elif kind == "gzip":
        send(head(200, f"Content-Length: {size}", "Content-Encoding: gzip") + data)
    elif kind == "empty":
        send(head(200, "Content-Length: 0"))
    elif kind == "stall":
        part(cut(data, first, 0.34))
        if turn < 2:
            time.sleep(20)
    elif kind == "slow":  # a piece now and then
        if first and headers.get("if-range") == etag or not first:
            part(b"")
        for at in range(first, size, 65536):
            send(data[at:at + 65536])
            time.sleep(0.05)
    elif kind == "junk":
        send(b"\0\1\2 no http\r\n\r\n")
    elif kind == "heads":
        send(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100000)
    elif kind == "hang":  # accepts and closes
        pass
    elif kind == "ann":  # the form of Hugging Face
        digest = open(folder + "/sha", "r").read().strip()
        send(head(302, f"Location: http://localhost:{port}/{'drop' if 'tales' in path else 'ok'}/{os.path.basename(path)}?X-Sig=secret",
                  f'X-Linked-Etag: "{digest}"', f"X-Linked-Size: {size}", "Content-Length: 0"))
    elif kind == "v2":  # the form of Ollama's registry
        if "/manifests/" in path:
            body = open(folder + "/manifest", "rb").read()
            send(head(200, f"Content-Length: {len(body)}") + body)
        else:
            send(head(307, "Location: /ok/tales.gguf", "Content-Length: 0"))
    else:
        send(head(404, "Content-Length: 0"))


def one(connection):
    try:
        text = b""
        while b"\r\n\r\n" not in text:
            got = connection.recv(4096)
            if not got:
                return
            text += got
        lines = text.decode().split("\r\n")
        headers = {k.lower(): v for k, v in (x.split(": ", 1) for x in lines[1:] if ": " in x)}
        serve(connection, lines[0].split(" ")[1].split("?")[0], headers)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(1)
        while connection.recv(4096):
            pass
    except OSError:
        pass
    finally:
        connection.close()


def listen(context):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", 0))
    listener.listen(64)

    def secure(connection):
        try:
            one(context.wrap_socket(connection, server_side=True))
        except OSError:
            connection.close()

    def accept():
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=secure if context else one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


port = listen(None)
ports = [port]
if os.path.isfile(folder + "/cert.pem"):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder + "/cert.pem")
    ports.append(listen(tls))
print(*ports, flush=True)
threading.Event().wait()
