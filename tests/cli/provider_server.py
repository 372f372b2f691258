"""A server of models for provider_faults.sh, with faults: usage: provider_server.py FOLDER. It prints two ports: of the server,
and of a second one that only logs. It appends a line for each request to FOLDER/log: port, path, Authorization.

/KIND/v1/..: the API of OpenAI; /KIND/api/..: that of Ollama. KIND says what is wrong with the server. FOLDER/well-KIND ends
the fault. A reply depends on the request's seed alone, so that two evaluations can be compared."""
import collections
import email.utils
import http.server
import json
import os
import random
import re
import sys
import threading
import time

folder = sys.argv[1]
lock = threading.Lock()
chats = collections.Counter()  # of a kind
now = collections.Counter()
most = collections.Counter()
MODEL = "tiny"


def value(schema, rng, tag=""):
    """A value that is valid under the schema."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {k: value(v, rng, k) for k, v in schema["properties"].items()}
    if kind == "array":
        n = schema.get("minItems", 0)
        item = schema["items"]
        return rng.sample(item["enum"], n) if "enum" in item else [value(item, rng) for _ in range(n)]
    return round(rng.random() / 4, 2) if kind == "number" else f"{tag} {rng.randrange(10 ** 6)}"


def stated(system):
    """The schema that a system text states; None if it states none."""
    _, found, text = system.partition("JSON Schema:\n")
    return json.loads(text) if found else None


class Reply(Exception):
    """A status and a document, in place of the usual reply."""


def openai(kind, body, turn):
    messages = body["messages"]
    form = body.get("response_format") or {}
    schema = (form.get("json_schema") or {}).get("schema")
    if kind in ("guided", "none"):
        if schema and kind == "guided":
            raise Reply(400, {"error": {"message": "response_format json_schema is not supported"}})
        schema = body.get("guided_json") if kind == "guided" else None
    if kind == "someschema" and schema and "uniqueItems" in json.dumps(schema):
        raise Reply(400, {"error": {"message": "Invalid schema: uniqueItems is not permitted"}})
    if kind == "nologprobs" and body.get("logprobs"):
        raise Reply(400, {"error": {"message": "logprobs is not supported by this model"}})
    if kind == "plain":
        unknown = [k for k in ("top_k", "min_p", "max_tokens") if k in body]
        if unknown:
            raise Reply(400, {"error": {"message": f"Unrecognized request argument supplied: {unknown[0]}"}})
    if kind == "long" and len(messages[-1]["content"]) > 60:
        raise Reply(400, {"error": {"message": "This model's maximum context length is 64 tokens."}})
    if kind == "third" and not os.path.exists(folder + "/well-third") and body["seed"] % 3 == 0:
        raise Reply(400, {"error": {"message": "This model's maximum context length is 64 tokens."}})
    if kind == "odd400" and not os.path.exists(folder + "/well-odd400") and len(messages[-1]["content"]) > 60:
        raise Reply(400, {"error": {"message": "the moon is in the wrong phase"}})
    rng = random.Random(body["seed"] if kind != "noseed" else None)
    spoken = schema
    if not schema:
        spoken = stated(messages[0]["content"]) if messages[0]["role"] == "system" else None
    text = json.dumps(value(spoken, rng)) if spoken else f"A walk {rng.randrange(10 ** 9)}"
    repair = any(m["role"] == "assistant" for m in messages)
    if kind in ("none", "stubborn") and spoken and not repair:
        text = "Here you are: " + text
    elif kind == "none" and repair:
        text = "```json\n" + text + "\n```"
    elif kind == "stubborn" and repair:
        text = "I said: " + text
    elif kind == "twice" and not repair and "selected_specialties" in text:  # as llama.cpp, which ignores uniqueItems
        twice = json.loads(text)
        twice["selected_specialties"][1] = twice["selected_specialties"][0]
        text = json.dumps(twice)
    message = {"role": "assistant", "content": text}
    end = "stop"
    if kind == "length" and spoken and turn % 3 == 0:
        message["content"], end = text[:9], "length"
    if kind == "refusal" and spoken and body["seed"] % 3 == 0:
        message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    if kind == "think":
        message["reasoning_content"] = "Let me see."
    choice = {"index": 0, "message": message, "finish_reason": end}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 10}}
    if kind == "think":
        usage["completion_tokens_details"] = {"reasoning_tokens": 5}
    return {"id": "x", "object": "chat.completion", "model": MODEL, "system_fingerprint": "v1", "choices": [choice], "usage": usage}


def ollama(kind, body, turn):
    options = body["options"]
    rng = random.Random(options["seed"])
    schema = body.get("format")
    text = json.dumps(value(schema, rng)) if schema else f"A walk {rng.randrange(10 ** 9)}"
    size = sum(len(m["content"]) for m in body["messages"]) // 4
    message = {"role": "assistant", "content": text}
    if kind == "othink" and body.get("think"):
        message["thinking"] = "Hm."
    if kind == "otrunc":
        size = min(size, 40)
    return {"model": body["model"], "message": message, "done": True, "done_reason": "stop", "prompt_eval_count": size,
            "eval_count": 20}


def complete(kind, body):
    """Echo with log-probabilities: one token a word."""
    if kind != "echo":
        return {"model": MODEL, "choices": [{"index": 0, "text": "x", "finish_reason": "length", "logprobs": None}]}
    choices = []
    for i, prompt in enumerate(body["prompt"]):
        tokens = re.findall(r"\s?\S+|\s", prompt) + [" x"]
        if hash_of(prompt) % 3 == 0:  # the model ends its turn: no token is shown
            tokens.pop()
        lps = [None] + [-1.0 - (hash_of(t) % 97) / 100 for t in tokens[1:]]
        choices.append({"index": i, "text": prompt, "finish_reason": "length",
                        "logprobs": {"tokens": tokens, "token_logprobs": lps, "top_logprobs": None}})
    return {"model": MODEL, "system_fingerprint": "v1", "choices": choices[::-1],
            "usage": {"prompt_tokens": 50, "completion_tokens": 1}}


def hash_of(text):
    return sum((i + 1) * b for i, b in enumerate(text.encode()))


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply leaves in one piece
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def note(self):
        with lock, open(folder + "/log", "a") as log:
            log.write(f"{self.server.server_port} {self.path} {self.headers.get('Authorization', '-')}\n")

    def send(self, status, data, *lines, length=None, kind="application/json"):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for line in lines:
            self.send_header(*line)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if length is not None:
            self.close_connection = True

    def do_GET(self):
        self.note()
        _, kind, *rest = self.path.split("/")
        path = "/".join(rest)
        if kind == "key" and self.headers.get("Authorization") != "Bearer s3cret-key":
            self.send(401, {"error": {"message": "Incorrect API key provided"}})
        elif kind == "away":
            self.send(307, b"", ("Location", f"http://localhost:{other.server_port}/ok/v1/models?x=1"))
        elif path == "v1/models" and kind == "html0":
            self.send(200, b"<html>Welcome</html>", kind="text/html")
        elif path == "v1/models" and kind != "nolist":
            self.send(200, {"data": [{"id": "other"}, {"id": MODEL, "owned_by": "tests", "max_model_len": 4096}]})
        elif path == "api/version":
            self.send(200, {"version": "0.99"})
        elif path == "api/tags":
            self.send(200, {"models": [{"name": "tiny:latest", "digest": "abcdef0123456789"}]})
        elif path == "version":
            self.send(200, {"version": "9.9"})
        else:
            self.send(404, {"error": "no such path"})

    def do_POST(self):
        self.note()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, kind, *rest = self.path.split("/")
        path = "/".join(rest)
        if path == "api/show":
            self.send(200, {"capabilities": ["completion"] + ["thinking"] * (kind == "othink"),
                            "model_info": {"llama.context_length": 4096}})
            return
        if path not in ("v1/completions", "v1/chat/completions", "api/chat"):
            self.send(404, {"error": "no such path"})
            return
        if path == "v1/completions":
            self.send(200, complete(kind, body))
            return
        with lock:
            chats[kind] += 1
            now[kind] += 1
            most[kind] = max(most[kind], now[kind])
            turn = chats[kind]
            with open(f"{folder}/most-{kind}", "w") as f:
                f.write(str(most[kind]))
        try:
            self.chat(kind, path, body, turn)
        except Reply as r:
            self.send(*r.args)
        except (BrokenPipeError, ConnectionResetError):
            pass
        with lock:
            now[kind] -= 1

    def chat(self, kind, path, body, turn):
        # the probe's chats are short; faults begin with the evaluation
        asked = max(len(m["content"]) for m in body["messages"]) > 60 if body["messages"] else False
        ill = asked and not os.path.exists(f"{folder}/well-{kind}")
        made = (openai if path.startswith("v1") else ollama)(kind, body, turn)
        if kind == "never":
            time.sleep(1)
        if kind == "slow":
            time.sleep(0.03)
        if ill and kind == "late" and turn % 7 == 0 and turn < 60:
            time.sleep(3)
        if ill and kind == "cut" and turn % 4 == 0:
            data = json.dumps(made).encode()
            return self.send(200, data[:len(data) // 2], length=len(data))
        if ill and kind == "liar" and turn % 4 == 0:
            data = json.dumps(made).encode()
            return self.send(200, data, length=len(data) - 30)
        if ill and kind == "html" and turn % 4 == 0:
            return self.send(200, b"<!DOCTYPE html><html>Bad gateway</html>", kind="text/html")
        if ill and kind == "empty" and turn % 4 == 0:
            made["choices"] = []
        if ill and kind == "s500" and turn % 3 == 0:
            return self.send(500, {"error": {"message": "internal"}})
        if ill and kind == "reset" and turn % 4 == 0:
            self.close_connection = True
            return None
        if ill and kind in ("busy", "busydate") and turn % 5 == 0 and turn < 60:
            wait = "1" if kind == "busy" else email.utils.formatdate(time.time() + 2, usegmt=True)
            return self.send(429, {"error": {"message": "slow down"}}, ("Retry-After", wait))
        if ill and kind == "busylong":
            return self.send(429, {"error": {"message": "quota used up"}}, ("Retry-After", "86400"))
        if kind in ("down", "rest") and turn > 20 and not os.path.exists(f"{folder}/well-{kind}"):  # short questions fail, too
            return self.send(503, {"error": {"message": "loading model"}}, *[("Retry-After", "86400")] * (kind == "rest"))
        if ill and kind == "one500" and "seed" in body and body["seed"] % 5 == 0:
            return self.send(500, {"error": {"message": "a bug that this prompt finds"}})
        if ill and kind == "model" and turn > 20:
            made["model"] = "tiny-v2"
        if kind.startswith("print") and asked and turn > 20:
            made["system_fingerprint"] = "v2"
        if kind == "print" and os.path.exists(f"{folder}/well-{kind}"):
            made["system_fingerprint"] = "v2"
        return self.send(200, made)


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):  # clients that leave; any other fault is shown
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)


def listen():
    server = Quiet(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.request_queue_size = 128
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


main, other = listen(), listen()
print(main.server_port, other.server_port, flush=True)
threading.Event().wait()
