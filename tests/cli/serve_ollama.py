"""Checks of Ollama's API and of the server's own pages: serve_ollama.py ADDRESS FOLDER SHA256 CASES. The server has the
models smollm2:135m (the default one) and second, both the toy model, and broken, which cannot be loaded; one is
resident. Standard library only."""
import http.client
import json
import os
import re
import socket
import sys
import threading
import time
import urllib.parse

address, folder, sha, cases = sys.argv[1:5]
host = urllib.parse.urlsplit(address).netloc
bad = 0
M = "smollm2:135m"


def fault(*what):
    global bad
    bad += 1
    print("FAILED:", *what, flush=True)


def want(is_so, *what):
    if not is_so:
        fault(*what)


def send(method, path, body=None, headers=None, raw=False):
    """(status, headers, text) of a request; body is an object, or text with raw."""
    c = http.client.HTTPConnection(host, timeout=60)
    h = {"content-type": "application/json"} if body is not None else {}
    h.update(headers or {})
    h = {k: v for k, v in h.items() if v is not None}
    c.request(method, path, body if raw or body is None else json.dumps(body), h)
    r = c.getresponse()
    text = r.read().decode()
    got = {k.lower(): v for k, v in r.getheaders()}
    c.close()
    return r.status, got, text


def get(path):
    status, _, text = send("GET", path)
    want(status == 200, path, status, text[:200])
    return json.loads(text)


def post(path, **body):
    """The one object of a reply with status 200."""
    status, _, text = send("POST", path, body)
    want(status == 200, path, body, status, text[:300])
    return json.loads(text) if status == 200 else {}


def lines(path, **body):
    """The objects of a stream."""
    status, h, text = send("POST", path, body)
    want(status == 200 and h["content-type"] == "application/x-ndjson", path, body, status, h, text[:300])
    want(text.endswith("\n"), path, "the last line has no end")
    return [json.loads(x) for x in text.splitlines()]


def refused(status, text, path, method="POST", **body):
    got, h, said = send(method, path, body or None)
    want(got == status, path, body, "status", got, "expected", status, said[:300])
    try:
        message = json.loads(said)["error"]
    except (ValueError, KeyError):
        message = None
    want(isinstance(message, str) and text in message, path, body, "no", repr(text), "in", said[:300])
    want(status != 503 or "retry-after" in h, path, "503 without retry-after")
    want(folder not in said, path, "the error has a path:", said)


def ask(text="The patient has a rash.", **more):
    more.setdefault("options", {"num_predict": 12, "temperature": 0})
    return dict(model=M, messages=[{"role": "user", "content": text}], **more)


def counters(o, what, reason=None):
    """The end of a reply, as every client needs it."""
    want(o.get("done") is True, what, "done", o)
    want(o.get("done_reason") in ([reason] if reason else ["stop", "length"]), what, "done_reason", o)
    for k in ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "prompt_eval_count", "eval_count"):
        want(isinstance(o.get(k), int) and o[k] >= 0, what, k, o.get(k))
    want(o.get("prompt_eval_count", 0) > 0 and o.get("eval_count", 0) > 0, what, "counts", o)
    want(o.get("total_duration", 0) >= o.get("eval_duration", 0) + o.get("prompt_eval_duration", 0), what, "durations", o)
    want(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", o.get("created_at", "")), what, "created_at", o)


def ready():
    for _ in range(600):
        status, _, text = send("GET", "/ready")
        if status == 200:
            return
        want(status == 503 and "not loaded yet" in text, "/ready", status, text)
        time.sleep(0.05)
    fault("the server does not become ready")


# ---- facts -----------------------------------------------------------------------------------------------------------

def facts():
    status, h, text = send("GET", "/", headers={"accept": "*/*"})
    want(status == 200 and text.startswith("Ollama is running"), "/", status, text[:100])
    status, h, text = send("HEAD", "/")
    want(status == 200 and text == "", "HEAD /", status, text[:100])
    want(re.fullmatch(r"\d+\.\d+\.\d+", get("/api/version")["version"]), "/api/version")
    models = get("/api/tags")["models"]
    want([m["name"] for m in models] == [M, "second:latest", "broken:latest"], "tags", [m["name"] for m in models])
    for m in models:
        want(m["name"] == m["model"] and re.fullmatch("[0-9a-f]{64}", m["digest"]) and m["modified_at"], "tags", m)
    d = models[0]["details"]
    want(models[0]["size"] > 1000000 and d["format"] == "gguf" and d["family"] == "llama" and d["families"] == ["llama"] and
         d["quantization_level"] == "Q4_K_M" and d["parameter_size"].endswith("M"), "details", models[0])
    for body in ({"model": M}, {"name": M}, {"model": "", "name": M}, {"model": M, "verbose": True}):
        s = post("/api/show", **body)
        want(s["capabilities"] == ["completion", "tools"] and s["template"] == "llama3", "show", s["capabilities"], s["template"])
        want(s["model_info"]["general.architecture"] == "llama" and s["model_info"]["llama.context_length"] > 0, "show", s["model_info"])
        tokens = s["model_info"]["tokenizer.ggml.tokens"]
        want(isinstance(tokens, list) == bool(body.get("verbose")), "show", "tokens", str(tokens)[:50])
        want(re.search(r"^temperature +0\.8$", s["parameters"], re.M), "show", s["parameters"])
        want("<|start_header_id|>" in s["chat_template"], "show", s["chat_template"])
    refused(404, "no model 'nope'; there are smollm2:135m, second, broken", "/api/show", model="nope")
    refused(404, "the log says why", "/api/show", model="broken")
    p = get("/props")
    want(p["default_generation_settings"]["n_ctx"] == p["n_ctx"] and p["total_slots"] == 8 and
         p["chat_template_name"] == "llama3" and p["model"] == M and p["backend"] == "cpu", "props", p)
    want(get("/props?model=second")["model"] == "second", "props", "second")
    want(send("GET", "/props?model=nope")[0] == 404, "props", "nope")


# ---- tokens ----------------------------------------------------------------------------------------------------------

def document():
    """Every member of Ollama's bodies and options has a description, and every reference a target."""
    d = get("/openapi.json")
    schemas = d["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([A-Za-z]+)"', json.dumps(d)):
        want(name in schemas, "openapi", name)
    for name in ("OllamaOptions", "OllamaMessage", "OllamaChatRequest", "OllamaGenerateRequest", "OllamaPullRequest", "OllamaShowRequest"):
        want(all(p["description"] for p in schemas[name]["properties"].values()), "openapi", name)
    want(schemas["OllamaOptions"]["properties"]["temperature"]["default"] == 0.8, "openapi", "temperature")
    want(schemas["OllamaChatRequest"]["properties"]["options"]["anyOf"][0]["$ref"].endswith("OllamaOptions"), "openapi", "options")


def tokens():
    info = get("/tokenizer_info")
    want(info["bos_token"] == "<|begin_of_text|>" and isinstance(info["eos_token"], str) and "chat_template" in info and
         "pad_token" in info, "tokenizer_info", info)
    text = "A rash, \u00e4\u4e2d\U0001f600 <|eot_id|>."
    t = post("/tokenize", prompt=text, add_special_tokens=False)
    want(t["count"] == len(t["tokens"]) > 3 and t["max_model_len"] == get("/props")["n_ctx"], "tokenize", t)
    d = post("/detokenize", tokens=t["tokens"])
    want(d["prompt"] == d["content"] == text, "detokenize", d)
    bos = info["bos_token_id"]
    want(post("/tokenize", prompt=text)["tokens"] == [bos] + t["tokens"], "tokenize", "prompt has BOS")
    want(post("/tokenize", content=text)["tokens"] == t["tokens"], "tokenize", "content has none")
    want(post("/tokenize", content=text, add_special=True)["tokens"] == [bos] + t["tokens"], "tokenize", "add_special")
    special = post("/tokenize", content=text, parse_special=True)["tokens"]
    want(info["eot_token_id"] in special and info["eot_token_id"] not in t["tokens"], "tokenize", "parse_special", special)
    want(post("/tokenize", prompt="", add_special_tokens=False)["tokens"] == [], "tokenize", "empty")
    want(post("/detokenize", tokens=[])["prompt"] == "", "detokenize", "empty")
    for body in ({"prompt": "a", "content": "b"}, {}, {"prompt": 1}, {"prompt": "a\0b"}, {"prompt": "a", "bos": 1}):
        want(send("POST", "/tokenize", body)[0] == 400, "tokenize", body)
    for ids in ([-1], [10 ** 9], [1.5], ["1"], "1", [True], [2 ** 63 - 1]):
        want(send("POST", "/detokenize", {"tokens": ids})[0] == 400, "detokenize", ids)
    a = post("/apply-template", messages=[{"role": "user", "content": "Hi"}])["prompt"]
    want(a.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n") and "Hi" in a, "apply-template", a)
    want(send("POST", "/apply-template", {"messages": []})[0] == 400, "apply-template", "empty")
    # a raw prompt of that text is the same prompt as the conversation
    raw = post("/api/generate", model=M, prompt=a, raw=True, stream=False, options={"num_predict": 8, "temperature": 0})
    chat = post("/api/chat", **ask("Hi", stream=False, options={"num_predict": 8, "temperature": 0}))
    want(raw["prompt_eval_count"] == chat["prompt_eval_count"] and raw["response"] == chat["message"]["content"], "raw", raw, chat)


# ---- replies ---------------------------------------------------------------------------------------------------------

def joined(pieces, chat=True):
    return "".join(p["message"]["content"] if chat else p["response"] for p in pieces)


def replies():
    for options in ({"num_predict": 12, "temperature": 0}, {"num_predict": 20, "seed": 7}, {"num_predict": 20, "seed": 7, "temperature": 1.5}):
        whole = post("/api/chat", **ask(options=options, stream=False))
        counters(whole, "chat")
        want(whole["message"]["role"] == "assistant" and whole["model"] == M, "chat", whole)
        pieces = lines("/api/chat", **ask(options=options))
        counters(pieces[-1], "chat stream")
        want(all(p["done"] is False and p["model"] == M and p["message"]["role"] == "assistant" for p in pieces[:-1]), "stream", pieces[0])
        want(joined(pieces) == whole["message"]["content"], "stream", joined(pieces), "whole", whole["message"]["content"])
        want(pieces[-1]["eval_count"] == whole["eval_count"] and len(pieces) > 2, "stream", "counts")
    g = post("/api/generate", model=M, prompt="The patient has a rash.", stream=False, options={"num_predict": 12, "temperature": 0})
    c = post("/api/chat", **ask(stream=False))
    counters(g, "generate")
    want(g["response"] == c["message"]["content"] and "message" not in g, "generate", g, c)
    pieces = lines("/api/generate", model=M, prompt="The patient has a rash.", options={"num_predict": 12, "temperature": 0})
    want(joined(pieces, False) == g["response"], "generate stream", joined(pieces, False))
    g = post("/api/generate", model=M, prompt="x", system="Reply briefly.", stream=False, options={"num_predict": 4, "temperature": 0})
    c = post("/api/chat", model=M, messages=[{"role": "system", "content": "Reply briefly."}, {"role": "user", "content": "x"}],
             stream=False, options={"num_predict": 4, "temperature": 0})
    want(g["response"] == c["message"]["content"] and g["prompt_eval_count"] == c["prompt_eval_count"], "system", g, c)
    # seeds: said, and the same one gives the same reply
    status, h, text = send("POST", "/api/chat", ask(stream=False, options={"num_predict": 24, "temperature": 2}))
    seed = int(h["x-mas-seed"])
    again = post("/api/chat", **ask(stream=False, options={"num_predict": 24, "temperature": 2, "seed": seed}))
    want(json.loads(text)["message"]["content"] == again["message"]["content"], "seed", text, again)
    others = {send("POST", "/api/chat", ask(stream=False, options={"num_predict": 2, "seed": -1}))[1]["x-mas-seed"] for _ in range(3)}
    want(len(others) == 3, "seed -1 takes a new one", others)
    # stop strings never show, and the piece before them does
    full = post("/api/chat", **ask(stream=False, options={"num_predict": 40, "temperature": 0}))["message"]["content"]
    stop = full[8:11]
    for body in ({"stop": stop}, {"stop": [stop, "nowhere"]}):
        body.update(num_predict=40, temperature=0)
        got = lines("/api/chat", **ask(options=body))
        want(joined(got) == full[:full.index(stop)] and got[-1]["done_reason"] == "stop", "stop", repr(stop), joined(got), full)
    # an assistant's last message is continued
    begun = post("/api/chat", model=M, stream=False, options={"num_predict": 6, "temperature": 0},
                 messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Answer:"}])
    want(not begun["message"]["content"].startswith("Answer:"), "continued", begun)
    # penalties change the reply, and their neutral values do not
    off = {"num_predict": 40, "temperature": 0, "repeat_penalty": 1}
    plain = post("/api/chat", **ask(stream=False, options=off))["message"]["content"]
    want(plain == post("/api/chat", **ask(stream=False, options=dict(off, repeat_penalty=1.1, repeat_last_n=0)))["message"]["content"], "repeat_last_n 0")
    want(plain != post("/api/chat", **ask(stream=False, options=dict(off, repeat_penalty=1.9)))["message"]["content"], "repeat_penalty")
    want(plain != post("/api/chat", **ask(stream=False, options=dict(off, frequency_penalty=2)))["message"]["content"], "frequency_penalty")


def probabilities():
    o = post("/api/chat", **ask(stream=False, logprobs=True, top_logprobs=3, options={"num_predict": 5, "temperature": 0, "repeat_penalty": 1}))
    lp = o["logprobs"]
    want(len(lp) == o["eval_count"] and "".join(x["token"] for x in lp).startswith(o["message"]["content"]), "logprobs", o)
    for x in lp:
        want(len(x["top_logprobs"]) == 3 and x["logprob"] == x["top_logprobs"][0]["logprob"] and bytes(x["bytes"]).decode() == x["token"], "logprobs", x)
    pieces = lines("/api/chat", **ask(logprobs=True, options={"num_predict": 5, "temperature": 0, "repeat_penalty": 1}))
    streamed = [x["logprob"] for p in pieces for x in p.get("logprobs", [])]
    want(streamed == [x["logprob"] for x in lp], "logprobs of a stream", streamed)
    refused(400, "'top_logprobs' needs \"logprobs\": true", "/api/chat", **ask(top_logprobs=2))


def formats():
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}, "word": {"enum": ["yes", "no"]}},
              "required": ["word", "n"], "additionalProperties": False}
    for path, key in (("/api/chat", "message"), ("/api/generate", "response")):
        body = ask(stream=False, format=schema, options={"num_predict": 60, "seed": 3})
        if path == "/api/generate":
            body = dict(model=M, prompt="Reply.", stream=False, format=schema, options={"num_predict": 60, "seed": 3})
        o = post(path, **body)
        v = json.loads(o[key]["content"] if key == "message" else o[key])
        want(list(v) == ["n", "word"] and 1 <= v["n"] <= 9 and v["word"] in ("yes", "no"), "schema", o)
        want(o["done_reason"] == "stop", "schema", o)
    want(isinstance(json.loads(post("/api/chat", **ask(stream=False, format="json", options={"num_predict": 30, "seed": 1}))["message"]["content"]), dict), "json")
    cut = post("/api/chat", **ask(stream=False, format={"type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]},
                                  options={"num_predict": 12, "seed": 1, "temperature": 2}))
    want(cut["done_reason"] in ("length", "stop") and "s" in json.loads(cut["message"]["content"]), "a closed reply is valid", cut)
    free = post("/api/chat", **ask(stream=False))["message"]["content"]
    for none in ("", None):
        want(post("/api/chat", **ask(stream=False, format=none))["message"]["content"] == free, "format", none)
    refused(400, "expected \"json\" or a JSON Schema", "/api/chat", **ask(format="yaml"))
    refused(400, "expected \"json\" or a JSON Schema", "/api/chat", **ask(format=[1]))
    refused(400, "not", "/api/chat", **ask(format={"type": "object", "properties": {"a": {"not": {}}}}))
    refused(400, "'options.stop' would cut JSON", "/api/chat", **ask(format="json", options={"stop": ["x"]}))


def tools():
    f = {"type": "function", "function": {"name": "w", "description": "weather",
                                          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
    plain = post("/api/chat", **ask(stream=False))
    want(post("/api/chat", **ask(stream=False, tools=[]))["message"] == plain["message"], "tools []")
    o = post("/api/chat", **ask(stream=False, tools=[f]))
    want(o["prompt_eval_count"] > plain["prompt_eval_count"] and ("content" in o["message"]), "tools", o)
    o = post("/api/chat", model=M, stream=False, options={"num_predict": 4}, tools=[f], messages=[
        {"role": "user", "content": "Weather in Rome?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "w", "arguments": {"city": "Rome"}}}]},
        {"role": "tool", "tool_name": "w", "content": "sunny"}])
    counters(o, "tool result")
    refused(400, "'format' and 'tools' exclude each other", "/api/chat", **ask(tools=[f], format="json"))
    refused(400, "tools", "/api/chat", **ask(tools=[{"type": "function"}]))
    refused(400, "arguments that are an object", "/api/chat", model=M,
            messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "w", "arguments": "{}"}}]}])


def refusals():
    long = "hello " * 100
    refused(400, "and 'options.num_ctx' is 50; prompts are not cut", "/api/generate", model=M, prompt=long, options={"num_ctx": 50})
    n_ctx = get("/props")["n_ctx"]
    refused(400, f"'options.num_ctx' is {n_ctx + 1}, the server's limit is {n_ctx}", "/api/generate", model=M, prompt="x", options={"num_ctx": n_ctx + 1})
    got = send("POST", "/api/generate", {"model": M, "prompt": "hello " * n_ctx})
    want(got[0] == 400 and str(n_ctx) in got[2], "a prompt longer than the context", got)
    o = post("/api/generate", model=M, prompt="x", stream=False, options={"num_ctx": 40, "seed": 1, "num_predict": -2})
    want(o["prompt_eval_count"] + o["eval_count"] <= 40, "num_ctx", o)
    for options, text in (({"mirostat": 2}, "use top_p or min_p"), ({"tfs_z": 0.9}, "'tfs_z' is not supported"), ({"typical_p": 0.5}, "'typical_p'"),
                          ({"temprature": 1}, "did you mean 'temperature'?"), ({"temperature": 9}, "'temperature' is 9, expected 0 to 5"),
                          ({"num_predict": -3}, "'num_predict' is -3"), ({"seed": 1.5}, "'seed'"), ({"stop": [""]}, "'stop'"), ({"stop": 5}, "'stop'")):
        refused(400, text, "/api/generate", model=M, prompt="x", options=options)
    post("/api/generate", model=M, prompt="x", stream=False, options={
        "num_predict": 1, "mirostat": 0, "tfs_z": 1.0, "typical_p": 1, "num_gpu": 99, "num_thread": 8, "main_gpu": 0, "use_mmap": True, "numa": False,
        "num_batch": 512, "low_vram": False, "num_keep": 4, "penalize_newline": True, "mirostat_tau": 5, "f16_kv": True, "seed": None})
    for body, text in (({"suffix": "x"}, "'suffix' is not supported"), ({"template": "{{ .Prompt }}"}, "'template' is not supported"),
                       ({"context": [1, 2]}, "send earlier turns as messages"), ({"images": ["aGk="]}, "read text only"),
                       ({"keep_alive": "soon"}, "'keep_alive' is 'soon'"), ({"keep_alive": True}, "'keep_alive'"), ({"keep_alive": "5x"}, "'keep_alive'"),
                       ({"keep_alive": "1h30"}, "'keep_alive'"), ({"think": True}, "do not think"), ({"think": "high"}, "do not think"),
                       ({"think": "much"}, "expected true, false, low, medium or high"), ({"think": 3}, "'think'"), ({"raw": 1}, "'raw'"),
                       ({"truncate": True}, "prompts are never cut"), ({"prmpt": "x"}, "did you mean 'prompt'?")):
        refused(400, text, "/api/generate", model=M, prompt="x", **body)
    post("/api/generate", model=M, prompt="x", stream=False, suffix="", template="", context=[], images=[], think=False, options={"num_predict": 1})
    refused(400, "'messages[0]': 'role' is 'wizard'", "/api/chat", model=M, messages=[{"role": "wizard", "content": "x"}])
    refused(400, "read text only", "/api/chat", model=M, messages=[{"role": "user", "content": "x", "images": ["aGk="]}])
    refused(404, "no model 'nope'", "/api/chat", model="nope", messages=[{"role": "user", "content": "x"}])
    refused(500, "the model cannot be loaded", "/api/chat", model="broken", messages=[{"role": "user", "content": "x"}])
    refused(501, "embeddings are not computed", "/api/embed", model=M, input="x")
    refused(501, "embeddings are not computed", "/api/embeddings", model=M, prompt="x")
    refused(501, "models are not deleted", "/api/delete", "DELETE", model=M)
    refused(501, "models are not created", "/api/create", model="x")
    refused(501, "models are not copied", "/api/copy", source=M, destination="x")
    refused(501, "models are not uploaded", "/api/push", model="x")
    refused(404, "no such path", "/api/nothing")
    refused(405, "use POST", "/api/chat", "GET")


# ---- lives of models -------------------------------------------------------------------------------------------------

def running():
    return {m["name"]: m for m in get("/api/ps")["models"]}


def gone(seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if not running():
            return True
        time.sleep(0.05)
    return False


def lives():
    o = post("/api/generate", model=M)
    want(o["done_reason"] == "load" and o["done"] is True and o["response"] == "", "load", o)
    o = post("/api/chat", model=M, messages=[], keep_alive="1h30m")
    want(o["done_reason"] == "load" and o["message"] == {"role": "assistant", "content": ""}, "load", o)
    ps = running()
    want(list(ps) == [M] and ps[M]["size"] > 1000000 and ps[M]["size_vram"] == 0 and ps[M]["context_length"] > 0, "ps", ps)

    def left():
        at = running()[M]["expires_at"]
        if at.startswith("9999"):
            return float("inf")
        return time.mktime(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - time.time()
    want(5390 < left() < 5402, "1h30m", left())
    for keep, low, high in ((60, 58, 61), ("10m", 598, 601), ("90", 88, 91), (-1, float("inf"), float("inf")), ("-1", float("inf"), float("inf")),
                            ("-5m", float("inf"), float("inf")), ("2m30.5s", 148, 152)):
        post("/api/generate", model=M, keep_alive=keep)
        want(low <= left() <= high, "keep_alive", keep, left())
    post("/api/generate", model=M, prompt="x", stream=False, options={"num_predict": 1})
    want(148 <= left() <= 152, "a request without keep_alive leaves it as it was", left())
    o = post("/api/generate", model=M, keep_alive=0)
    want(o["done_reason"] == "unload" and gone(), "unload", o, running())
    want(post("/api/generate", model=M, keep_alive=0)["done_reason"] == "unload" and not running(), "unload twice", running())
    post("/api/chat", **ask(keep_alive="300ms", stream=False))
    want(M in running() and gone(), "expiry", running())
    o = post("/api/chat", **ask(keep_alive=0, stream=False))
    want(gone(), "a request with keep_alive 0 unloads", running())
    counters(o, "keep_alive 0")

    # two models, one resident: requests for both take turns
    alone = post("/api/chat", **ask(stream=False))["message"]["content"]
    seen, most = [], [0]

    def client(name):
        for _ in range(4):
            seen.append(post("/api/chat", **dict(ask(stream=False), model=name))["message"]["content"])
    threads = [threading.Thread(target=client, args=(n,)) for n in (M, "second", "second:latest", M)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        most[0] = max(most[0], len(get("/api/ps")["models"]))
        time.sleep(0.01)
    want(most[0] == 1 and len(seen) == 16 and set(seen) == {alone}, "two models, one resident", most, len(seen), set(seen))
    want(get("/ready")["status"] == "ready", "ready")


def company():
    """A reply is the same alone and beside others."""
    texts = [f"Patient {i} has a rash and fever." for i in range(8)]
    body = [ask(t, stream=False, options={"num_predict": 24, "seed": 5}) for t in texts]
    alone = [post("/api/chat", **b)["message"]["content"] for b in body]
    got = [None] * 8

    def one(i):
        got[i] = joined(lines("/api/chat", **dict(body[i], stream=True)))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    want(got == alone, "in company", got, alone)


# ---- downloads -------------------------------------------------------------------------------------------------------

def pulls():
    refused(404, "no model 'tales'", "/api/chat", model="tales", messages=[{"role": "user", "content": "x"}])
    for name, text in (("http://127.0.0.1:1/x.gguf", "addresses are not downloaded"), ("evil.example/ns/name:tag", "registry 'evil.example'"),
                       ("hf.co/a/b:Q4", "registry 'hf.co'"), ("questions", "are questions"), ("ollama:a b", ""), ("hf:x", ""), ("../../etc", "")):
        refused(400, text, "/api/pull", model=name)
    refused(400, "'model' is missing", "/api/pull", stream=False)
    refused(400, "certificates are always checked", "/api/pull", model="tales", insecure=True)
    refused(404, "404", "/api/pull", model="gone", stream=False)
    got = lines("/api/pull", model="gone")
    want("error" in got[-1] and "404" in got[-1]["error"], "pull of nothing", got)
    got = lines("/api/pull", model="tales")
    want(got[0] == {"status": "pulling manifest"} and got[-1] == {"status": "success"}, "pull", got)
    moved = [x for x in got if x["status"].startswith("pulling ") and "total" in x]
    want(moved and all(x["digest"] == "sha256:" + sha and 0 <= x["completed"] <= x["total"] for x in moved), "pull", got)
    want(any(x["status"] == "verifying sha256 digest" for x in got), "pull", got)
    o = post("/api/generate", model="tales", prompt="Once", raw=True, stream=False, options={"num_predict": 4, "temperature": 0})
    want(o["model"] == "tales" and o["response"], "a downloaded model is served", o)
    for model, path, more in (("tales", "/api/chat", {"options": {"num_predict": 2}}), ("tales", "/v1/chat/completions", {"max_tokens": 2}),
                              (M, "/api/chat", {"options": {"num_predict": 2}})):
        status, h, text = send("POST", path, dict(model=model, stream=False, messages=[{"role": "user", "content": "x"}], **more))
        want(status == 200 and ("no chat template" in h.get("x-mas-warning", "")) == (model == "tales"), "chats without a template", h)
    want("tales:latest" in [m["name"] for m in get("/api/tags")["models"]], "tags after a download")
    want(post("/api/pull", name="tales", stream=False) == {"status": "success"}, "pull of a file that is here")
    got = lines("/api/pull", model="other")
    want("other.gguf is here already, but may be another file" in got[-1].get("error", "") and folder not in got[-1]["error"] and
         "models/" not in got[-1]["error"], "pull does not replace", got)
    want(post("/api/pull", model="tales:8b", stream=False) == {"status": "success"} and
         os.path.exists(folder + "/models/tales-8b.gguf"), "pull of Ollama's registry", os.listdir(folder + "/models"))
    o = post("/api/generate", model="tales:8b", prompt="Once", raw=True, stream=False, options={"num_predict": 4, "temperature": 0})
    want(o["model"] == "tales:8b", "tales:8b", o)
    # two downloads at a time; a client that leaves ends its own
    gone = metrics()["mas_clients_gone_total"]
    held = [connect("/api/pull", {"model": f"stuck{i}"}) for i in (1, 2)]
    time.sleep(0.3)
    refused(503, "2 downloads run already", "/api/pull", model="gone", stream=False)
    for s in held:
        s.close()
    for _ in range(100):
        if send("POST", "/api/pull", {"model": "tales", "stream": False})[0] == 200:
            break
        time.sleep(0.1)
    else:
        fault("a client that left holds its download")
    for _ in range(100):
        if metrics()["mas_clients_gone_total"] == gone + 2:
            break
        time.sleep(0.1)
    else:
        fault("metrics", "clients that left a download", metrics()["mas_clients_gone_total"] - gone)


def connect(path, body):
    """A connection with a request whose reply nobody reads."""
    name, port = host.rsplit(":", 1)
    s = socket.create_connection((name, int(port)))
    text = json.dumps(body).encode()
    s.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" %
              (path.encode(), len(text)) + text)
    return s


# ---- metrics ---------------------------------------------------------------------------------------------------------

def metrics():
    status, h, text = send("GET", "/metrics")
    want(status == 200 and h["content-type"].startswith("text/plain; version=0.0.4"), "metrics", status, h)
    value, family, seen = {}, None, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            want(family not in seen and len(line.split()) > 3, "metrics", "a family stands twice", line)
            seen.add(family)
            kind = None
        elif line.startswith("# TYPE "):
            want(line.split()[2] == family and line.split()[3] in ("counter", "gauge"), "metrics", line)
            kind = line.split()[3]
            want((kind == "counter") == family.endswith("_total"), "metrics", "name and type", line)
        else:
            m = re.fullmatch(r'([a-z_0-9]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (-?[0-9.e+-]+|NaN)', line)
            want(m and m[1] == family and kind, "metrics", line)
            if m:
                value[m[1] + (m[2] or "")] = float(m[3])
    return value


def figures():
    before = metrics()
    post("/api/chat", **ask(stream=False, options={"num_predict": 10, "temperature": 0}))
    send("GET", "/no/such/path")
    s = connect("/api/generate", {"model": M, "prompt": "x", "options": {"num_predict": 1000, "temperature": 0, "stop": ["never seen"]}})
    s.recv(1000)
    s.close()
    for _ in range(100):
        after = metrics()
        if after["mas_clients_gone_total"] > before["mas_clients_gone_total"] and after['mas_sequences_running{model="%s"}' % M] == 0:
            break
        time.sleep(0.05)

    def grew(name):
        return after[name] - before[name]
    label = '{model="%s"}' % M
    want(grew("mas_clients_gone_total") == 1, "metrics", "clients gone")
    want(grew('mas_http_requests_total{status="2xx"}') >= 2 and grew('mas_http_requests_total{status="4xx"}') == 1, "metrics", "requests")
    want(grew("mas_generated_tokens_total" + label) >= 10, "metrics", "tokens", grew("mas_generated_tokens_total" + label))
    want(grew("mas_prompt_tokens_total" + label) + grew("mas_cached_prompt_tokens_total" + label) > 10, "metrics", "prompt")
    want(grew("mas_steps_total" + label) > 0 and grew("mas_step_rows_total" + label) >= grew("mas_steps_total" + label), "metrics", "steps")
    want(grew("mas_busy_seconds_total" + label) > 0, "metrics", "busy")
    want(after["mas_model_resident" + label] == 1 and after["mas_model_loads_total" + label] > 2, "metrics", "loads")
    want(after["process_resident_memory_bytes"] > 1e6 and after["mas_uptime_seconds"] > 0 and after["mas_ready"] == 1, "metrics", "process")
    pages = [after['mas_kv_pages{model="%s",state="%s"}' % (M, k)] for k in ("used", "cached", "free")]
    want(sum(pages) > 0 and pages[0] == 0, "metrics", "pages", pages)
    # totals survive an unload
    total = after["mas_generated_tokens_total" + label]
    post("/api/generate", model=M, keep_alive=0)
    gone()
    now = metrics()
    want(now["mas_generated_tokens_total" + label] >= total and now["mas_model_resident" + label] == 0, "metrics", "after an unload")


# ---- recorded requests -----------------------------------------------------------------------------------------------

def recorded():
    """What real clients sent, and what each needs of the reply."""
    path = cases + "/clients/requests.jsonl"
    if not os.path.exists(path):
        print("skipped: no recorded requests in", cases)
        return
    n = 0
    n_vocab = get("/tokenizer_info")["vocab_size"]
    for text in open(path):
        r = json.loads(text)
        p, body = r["path"].replace("/raw/", "/"), r["body"]
        if not p.startswith("/api/") and p not in ("/tokenizer_info", "/tokenize", "/detokenize"):
            continue
        n += 1
        if p == "/detokenize":  # ids of another vocabulary
            body = {"tokens": [t % n_vocab for t in body["tokens"]]}
        headers = dict(r["headers"])
        headers.setdefault("content-type", None)
        status, h, said = send(r["method"], p, None if body is None else json.dumps(body), headers, raw=True)
        what = (r["client"], p, json.dumps(body)[:150])
        if p in ("/api/embed",):
            want(status == 501 and isinstance(json.loads(said)["error"], str), *what, status, said[:200])
            continue
        if body and body.get("model") == "nope":
            want(status == 404 and isinstance(json.loads(said)["error"], str), *what, status, said[:200])
            continue
        want(status == 200, *what, status, said[:300])
        if status != 200:
            continue
        out = [json.loads(x) for x in said.splitlines()]
        last = out[-1]
        if p == "/api/tags":
            want(M in [m["model"] for m in last["models"]], *what, said[:200])
        elif p == "/api/ps":
            want(isinstance(last["models"], list), *what, said[:200])
        elif p == "/api/show":
            want(last["model_info"] and last["details"], *what, said[:200])
        elif p == "/api/chat":
            want(last["message"]["role"] == "assistant" and last["done"], *what, said[:200])
            if body.get("format"):
                want("city" in json.loads(last["message"]["content"]), *what, said[:200])
            if body.get("logprobs"):
                want(len(last["logprobs"][0]["top_logprobs"]) == 2, *what, said[:200])
            counters(last, what)
        elif p == "/api/generate":
            want(isinstance(last["response"], str) and (len(out) > 1) == bool(body.get("stream")), *what, said[:200])
            counters(last, what)
        elif p == "/tokenizer_info":
            want(isinstance(last["eos_token"], str), *what, said[:200])
        elif p == "/tokenize":
            want(last["tokens"] and last["count"] == len(last["tokens"]), *what, said[:200])
        elif p == "/detokenize":
            want(isinstance(last["prompt"], str), *what, said[:200])
    print("recorded requests:", n)


ready()
for check in (facts, document, tokens, replies, probabilities, formats, tools, refusals, lives, company, pulls, figures, recorded):
    began = time.time()
    check()
    print(f"{check.__name__}: {time.time() - began:.1f} s", flush=True)
sys.exit(bad > 0)
