"""OpenAI's API of `mas serve`: completions, chat completions, responses. usage: serve_openai.py MAS SOURCE"""
import glob
import json
import os
import struct
import subprocess
import sys

from serve_client import Server, together

mas, source = sys.argv[1], sys.argv[2]
GREEDY = {"temperature": 0}
COMPLETIONS, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"
tests = []


def test(f):
    tests.append(f)
    return f


def same(a, b):
    assert a == b, f"{json.dumps(a)[:1500]}\n  is not\n{json.dumps(b)[:1500]}"


def generate(*options):
    """What `mas generate --json` says."""
    done = subprocess.run([mas, "generate", "-m", "demo", "--quiet", "-t", "1", "--json", *options], text=True,
                          capture_output=True, check=True)
    return json.loads(done.stdout)


def text_of(reply, i=0):
    return reply["choices"][i]["text"]


def said(reply, i=0):
    return reply["choices"][i]["message"]["content"]


def refused(s, path, body, param, *words, status=400):
    e = s.post(path, body, status)["error"]
    assert e["param"] == param, f"{json.dumps(body)[:200]}: param {e['param']}, wanted {param}: {e['message']}"
    for w in words:
        assert w in e["message"], f"no '{w}' in: {e['message']}"
    assert set(e) == {"message", "type", "param", "code"} and e["type"] == "invalid_request_error", e


def near(a, b):
    assert len(a) == len(b) and all(abs(x - y) <= 1e-5 * max(1, abs(x)) for x, y in zip(a, b)), (a, b)


# ---- completions ---------------------------------------------------------------------------------

@test
def completions_are_those_of_generate(s):
    for options, body in (((["--temp", "0"]), GREEDY), (["--temp", "0.8", "--seed", "3"], {"temperature": 0.8, "seed": 3}),
                          (["--temp", "1.2", "--seed", "4", "--top-k", "9", "--top-p", "0.9", "--min-p", "0.01"],
                           {"temperature": 1.2, "seed": 4, "top_k": 9, "top_p": 0.9, "min_p": 0.01})):
        want = generate("-p", "The patient has", "-n", "24", *options)
        got = s.post(COMPLETIONS, {"prompt": "The patient has", "max_tokens": 24, "logprobs": 0, **body})
        same(text_of(got), want["text"])
        near(got["choices"][0]["logprobs"]["token_logprobs"], want["logprobs"])
        same(got["choices"][0]["finish_reason"], "length" if want["finish"] == "length" else "stop")
        same(got["usage"]["prompt_tokens"], want["prompt_tokens"])
        same(got["usage"]["completion_tokens"], len(want["tokens"]))
        assert got["object"] == "text_completion" and got["id"].startswith("cmpl-") and got["created"] > 1e9
        assert got["system_fingerprint"].startswith("fp_") and got["model"] == "demo"


@test
def a_stream_is_the_whole_reply_in_pieces(s):
    for body in ({"logprobs": 2}, {"echo": True}, {"n": 3, "temperature": 1, "seed": 9}, {"stop": "e"}):
        body = {"prompt": "The patient has a", "max_tokens": 20, **GREEDY, **body}
        want = s.post(COMPLETIONS, body)
        events = s.events(COMPLETIONS, {**body, "stream": True, "stream_options": {"include_usage": True}})
        same(events[-1][1], "[DONE]")
        same(events[-2][1]["choices"], [])
        same({**events[-2][1]["usage"], "prompt_tokens_details": 0}, {**want["usage"], "prompt_tokens_details": 0})
        chunks = [e[1] for e in events[:-2]]
        assert len({c["id"] for c in chunks}) == 1 and all(c["usage"] is None for c in chunks)
        for choice in want["choices"]:
            mine = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == choice["index"]]
            same("".join(c["text"] for c in mine), choice["text"])
            same([c["finish_reason"] for c in mine], [None] * (len(mine) - 1) + [choice["finish_reason"]])
            if "logprobs" in body:
                for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
                    same(sum((c["logprobs"][key] for c in mine if c["logprobs"]), []), choice["logprobs"][key])
    refused(s, COMPLETIONS, {"prompt": "a", "stream_options": {"include_usage": True}}, "stream_options", "stream")


@test
def echo_scores_the_prompt(s):
    """As lm-evaluation-harness sends it, and reads it."""
    prompt = "The patient has a fever and"
    long = s.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 12, "logprobs": 3, **GREEDY})["choices"][0]
    tokens = json.loads(subprocess.run([mas, "tokenize", "-m", "demo", "--json", "-p", prompt + long["text"]],
                                       text=True, capture_output=True).stdout or "null")
    for most in (0, 1):
        body = {"prompt": prompt + long["text"], "max_tokens": most, "logprobs": 1, "echo": True, "seed": 1234, **GREEDY}
        got = s.post(COMPLETIONS, body)["choices"][0]
        lp = got["logprobs"]
        n = s.post(COMPLETIONS, {**body, "max_tokens": 1})["usage"]["prompt_tokens"]
        for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            same(len(lp[key]), n + most)
        assert lp["token_logprobs"][0] is None and lp["top_logprobs"][0] is None
        assert all(x is not None for x in lp["token_logprobs"][1:])
        assert got["text"].startswith(prompt + long["text"])
        same(got["finish_reason"], "length")
        # the greedy text's own tokens, scored: the same floats as when they were generated
        tail = len(long["logprobs"]["tokens"])
        if lp["tokens"][n - tail:n] == long["logprobs"]["tokens"]:
            same(lp["token_logprobs"][n - tail:n], long["logprobs"]["token_logprobs"])
            for x, top in zip(lp["token_logprobs"][n - tail:n], lp["top_logprobs"][n - tail:n]):
                assert x == max(top.values()), (x, top)
        for i, offset in enumerate(lp["text_offset"]):
            if not lp["tokens"][i].startswith(("<|", "bytes:")):
                assert got["text"][offset:].startswith(lp["tokens"][i]), (i, offset, lp["tokens"][i])


@test
def an_end_token_is_among_the_scored_ones(s):
    """lm-evaluation-harness drops the last entry, of the one new token: it must be there even if it ends the text."""
    end = {"prompt": [40, 41, 42], "logprobs": 1, "logit_bias": {"5092": 100}, **GREEDY}
    for most in (1, 5):
        got = s.post(COMPLETIONS, {**end, "max_tokens": most, "echo": True})
        lp = got["choices"][0]["logprobs"]
        for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            same(len(lp[key]), 4)
        assert lp["token_logprobs"][3] < 0 and lp["tokens"][3].startswith("<|"), lp
        same((got["choices"][0]["text"], got["choices"][0]["finish_reason"]), ("IJK", "stop"))
        same(got["usage"]["completion_tokens"], 0)
    last = s.events(COMPLETIONS, {**end, "max_tokens": 5, "stream": True})[-2][1]["choices"][0]
    same((last["text"], last["finish_reason"], len(last["logprobs"]["tokens"])), ("", "stop", 1))
    without = s.post(COMPLETIONS, {k: v for k, v in end.items() if k != "logprobs"})["choices"][0]
    same((without["text"], without["finish_reason"]), ("", "stop"))


@test
def scores_of_equal_beginnings_are_those_of_each_prompt(s):
    """The options of questions, in one call: scored together, shared or not, the floats are the same."""
    begin, other = [(i * 37) % 5000 for i in range(150)], [(i * 31) % 5000 for i in range(90)]
    prompts = [begin + [7], begin + [9, 10], other + [7], begin + [7], begin[:40], begin + [9, 11], other + [8], [1, 2]]
    body = {"max_tokens": 1, "logprobs": 2, "echo": True, **GREEDY}
    got = s.post(COMPLETIONS, {**body, "prompt": prompts, "n": 2})
    for i, p in enumerate(prompts):
        alone = s.post(COMPLETIONS, {**body, "prompt": p})["choices"][0]
        for k in range(2):
            same({**got["choices"][2 * i + k], "index": 0}, alone)
    assert got["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


@test
def prompts_of_ids_get_no_bos(s):
    one = s.post(COMPLETIONS, {"prompt": [[40, 41, 42]], "max_tokens": 0, "echo": True, "logprobs": 1})
    same(one["usage"]["prompt_tokens"], 3)
    same(len(one["choices"][0]["logprobs"]["tokens"]), 3)
    same(s.post(COMPLETIONS, {"prompt": [40, 41, 42], "max_tokens": 5, **GREEDY})["choices"],
         s.post(COMPLETIONS, {"prompt": [[40, 41, 42]], "max_tokens": 5, **GREEDY})["choices"])
    with_bos = s.post(COMPLETIONS, {"prompt": "IJK", "max_tokens": 1})["usage"]["prompt_tokens"]
    without = s.post(COMPLETIONS, {"prompt": "IJK", "max_tokens": 1, "add_special_tokens": False})
    same(without["usage"]["prompt_tokens"], with_bos - 1)
    refused(s, COMPLETIONS, {"prompt": [5120]}, "prompt", "5120", "5119")
    refused(s, COMPLETIONS, {"prompt": [-1]}, "prompt", "-1")
    refused(s, COMPLETIONS, {"prompt": [1, "a"]}, "prompt", "prompt[1]")
    refused(s, COMPLETIONS, {"prompt": [[1], "a"]}, "prompt", "prompt[1]")
    refused(s, COMPLETIONS, {"prompt": []}, "prompt", "empty")
    refused(s, COMPLETIONS, {"prompt": [[]]}, "prompt", "no tokens")
    refused(s, COMPLETIONS, {"prompt": {"a": 1}}, "prompt", "object")
    refused(s, COMPLETIONS, {}, "prompt", "missing")
    refused(s, COMPLETIONS, {"prompt": list(range(1, 4099))}, "prompt", "4096")


@test
def several_prompts_and_replies_keep_their_order(s):
    prompts = ["The patient", "A man", "[age 40-59]"]
    body = {"max_tokens": 8, "temperature": 1, "seed": 5, "n": 2, "best_of": 2}
    got = s.post(COMPLETIONS, {"prompt": prompts, **body})
    same([c["index"] for c in got["choices"]], list(range(6)))
    for i, p in enumerate(prompts):
        alone = s.post(COMPLETIONS, {"prompt": p, **body})
        same([text_of(got, 2 * i), text_of(got, 2 * i + 1)], [text_of(alone, 0), text_of(alone, 1)])
    assert text_of(got, 0) != text_of(got, 1)
    same(got["usage"]["completion_tokens"] <= 48, True)
    refused(s, COMPLETIONS, {"prompt": "a", "n": 2, "best_of": 3}, "best_of", "equal")
    refused(s, COMPLETIONS, {"prompt": "a", "n": 0}, "n", "1 to 128")


@test
def no_byte_of_a_stop_string_is_sent(s):
    whole = text_of(s.post(COMPLETIONS, {"prompt": "The patient has", "max_tokens": 40, **GREEDY}))
    cases = {whole[a:a + n] for a in range(0, len(whole) - 8, 3) for n in (1, 2, 5, 8)}
    for stop in sorted(c for c in cases if c):
        body = {"prompt": "The patient has", "max_tokens": 40, "stop": stop, **GREEDY}
        want = whole[:whole.find(stop)]
        events = [e[1]["choices"][0] for e in s.events(COMPLETIONS, {**body, "stream": True, "logprobs": 0})[:-1]]
        same("".join(c["text"] for c in events), want)
        same(events[-1]["finish_reason"], "stop")
    many = ["zzz", whole[20:24], whole[10:13], "q"]
    got = s.post(COMPLETIONS, {"prompt": "The patient has", "max_tokens": 40, "stop": many, "logprobs": 1, **GREEDY})
    want = whole[:min(whole.find(x) for x in many if x in whole)]
    same(text_of(got), want)
    lp = got["choices"][0]["logprobs"]
    assert all(o < len(want) for o in lp["text_offset"]), lp
    refused(s, COMPLETIONS, {"prompt": "a", "stop": ["x"] * 17}, "stop", "16")
    refused(s, COMPLETIONS, {"prompt": "a", "stop": ""}, "stop", "1 to 256")
    refused(s, COMPLETIONS, {"prompt": "a", "stop": [1]}, "stop", "an integer")


@test
def biases_and_penalties_change_the_choice(s):
    body = {"prompt": "The patient has", "max_tokens": 6, "logprobs": 1, **GREEDY}
    free = s.post(COMPLETIONS, body)["choices"][0]
    forced = s.post(COMPLETIONS, {**body, "logit_bias": {"40": 100}})["choices"][0]
    same(forced["text"], "IIIIII")
    # log-probabilities are the model's own, before the bias
    assert forced["logprobs"]["token_logprobs"][0] < -1
    assert len(forced["logprobs"]["top_logprobs"][0]) == 2
    calm = s.post(COMPLETIONS, {**body, "max_tokens": 60, "frequency_penalty": 2, "presence_penalty": 2})["choices"][0]
    plain = s.post(COMPLETIONS, {**body, "max_tokens": 60})["choices"][0]
    assert len(set(calm["logprobs"]["tokens"])) > len(set(plain["logprobs"]["tokens"]))
    refused(s, COMPLETIONS, {**body, "logit_bias": {"5120": 1}}, "logit_bias", "5120")
    refused(s, COMPLETIONS, {**body, "logit_bias": {"a": 1}}, "logit_bias", "'a'")
    refused(s, COMPLETIONS, {**body, "logit_bias": {"1": 101}}, "logit_bias", "-100 to 100")
    refused(s, COMPLETIONS, {**body, "presence_penalty": 2.5}, "presence_penalty", "-2 to 2")
    same(free["text"], s.post(COMPLETIONS, {**body, "logit_bias": {"40": 0}, "presence_penalty": 0})["choices"][0]["text"])


@test
def the_seed_of_a_reply_is_said(s):
    body = {"prompt": "The patient has", "max_tokens": 12, "temperature": 1.5}
    first = s.send("POST", COMPLETIONS, body)
    seed = int(first.headers["x-mas-seed"])
    same(text_of(s.post(COMPLETIONS, {**body, "seed": seed})), text_of(first.json()))
    others = {s.send("POST", COMPLETIONS, body).headers["x-mas-seed"] for _ in range(3)}
    same(len(others | {str(seed)}), 4)


@test
def members_without_effect_or_meaning(s):
    body = {"prompt": "a", "max_tokens": 1}
    s.post(COMPLETIONS, {**body, "user": "u", "metadata": {"a": "b"}, "suffix": None, "logprobs": None, "seed": None, "stop": None,
                         "logit_bias": None, "best_of": None, "stream_options": None, "suffix": ""})
    refused(s, COMPLETIONS, {**body, "suffix": "x"}, "suffix", "not supported")
    refused(s, COMPLETIONS, {**body, "max_token": 1}, "max_tokens", "did you mean 'max_tokens'")
    refused(s, COMPLETIONS, {**body, "logprobs": 21}, "logprobs", "0 to 20")
    refused(s, COMPLETIONS, {**body, "temperature": -1}, "temperature", "0 to 5")
    refused(s, COMPLETIONS, {**body, "stream": True, "echo": True, "logprobs": 1}, "stream", "echo")
    e = s.post(COMPLETIONS, {**body, "model": "nope"}, 404)["error"]
    same((e["code"], e["param"], e["type"]), ("model_not_found", "model", "not_found_error"))
    long = s.post(COMPLETIONS, {"prompt": "a " * 5000}, 400)["error"]["message"]
    assert "4096" in long, long


@test
def a_reply_is_the_same_beside_others(s):
    bodies = [{"prompt": f"Patient {i} has", "max_tokens": 16, "temperature": 1, "seed": i, "logprobs": 2} for i in range(21)]
    alone = [s.post(COMPLETIONS, b)["choices"] for b in bodies]
    for got in zip(alone, together([lambda b=b: s.post(COMPLETIONS, b)["choices"] for b in bodies])):
        same(*got)


# ---- chat ----------------------------------------------------------------------------------------

HI = [{"role": "user", "content": "A man has chest pain."}]
W = {"type": "function", "function": {"name": "weather", "description": "Weather of a city.", "parameters": {
    "type": "object", "properties": {"city": {"$ref": "#/$defs/C"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"], "$defs": {"C": {"type": "string", "maxLength": 12}}}}}
V = {"type": "function", "function": {"name": "now", "description": "The time."}}


def deltas(events):
    same(events[-1][1], "[DONE]")
    return [e[1]["choices"][0] for e in events[:-1] if e[1]["choices"]]


@test
def chat_is_that_of_generate(s):
    want = generate("--chat", "-p", HI[0]["content"], "-n", "20", "--temp", "0")
    got = s.post(CHAT, {"messages": HI, "max_tokens": 20, "logprobs": True, "top_logprobs": 2, **GREEDY})
    same(said(got), want["text"])
    content = got["choices"][0]["logprobs"]["content"]
    near([c["logprob"] for c in content], want["logprobs"])
    for c in content:
        same(len(c["top_logprobs"]), 2)
        same(c["logprob"], max(t["logprob"] for t in c["top_logprobs"]))
        if not c["token"].startswith("bytes:"):
            same(bytes(c["bytes"]).decode(), c["token"])
    same(got["choices"][0]["message"]["role"], "assistant")
    assert got["object"] == "chat.completion" and got["id"].startswith("chatcmpl-")
    bare = s.post(CHAT, {"messages": HI, "max_tokens": 3, "logprobs": True, **GREEDY})["choices"][0]["logprobs"]["content"]
    same([c["top_logprobs"] for c in bare], [[]] * len(bare))
    refused(s, CHAT, {"messages": HI, "top_logprobs": 2}, "top_logprobs", "logprobs")
    parts = [{"role": "user", "content": [{"type": "text", "text": "A man has "}, {"type": "text", "text": "chest pain."}]}]
    same(said(s.post(CHAT, {"messages": parts, "max_completion_tokens": 20, **GREEDY})), want["text"])


@test
def chat_streams_its_reply(s):
    body = {"messages": HI, "max_tokens": 20, "n": 2, "temperature": 1, "seed": 8, "logprobs": True, "top_logprobs": 1}
    want = s.post(CHAT, body)
    events = s.events(CHAT, {**body, "stream": True, "stream_options": {"include_usage": True}})
    same(events[-2][1]["choices"], [])
    same(events[-2][1]["usage"]["completion_tokens"], want["usage"]["completion_tokens"])
    all_deltas = deltas(events)
    for i in range(2):
        mine = [d for d in all_deltas if d["index"] == i]
        same(mine[0]["delta"], {"role": "assistant", "content": ""})
        same("".join(d["delta"].get("content") or "" for d in mine), said(want, i))
        same([d["finish_reason"] for d in mine], [None] * (len(mine) - 1) + [want["choices"][i]["finish_reason"]])
        same(sum((d["logprobs"]["content"] for d in mine if d["logprobs"]), []), want["choices"][i]["logprobs"]["content"])


@test
def bad_messages_are_named(s):
    def no(messages, *words):
        refused(s, CHAT, {"messages": messages, "max_tokens": 1}, "messages", *words)
    no("x", "a string, expected a list")
    no([], "0 items")
    no([1], "messages[0]", "an integer")
    no([{"role": "robot", "content": "x"}], "messages[0]", "'role' is 'robot'")
    no([{"role": "user"}], "messages[0].content", "missing")
    no([{"role": "user", "content": 1}], "messages[0].content", "an integer")
    no([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "image_url", "text only")
    no([{"role": "user", "content": "x", "contents": "y"}], "messages[0]", "did you mean 'content'")
    no([{"role": "user", "content": "x", "images": ["y"]}], "images", "text only")
    no(HI + [{"role": "assistant", "content": "x"}], "continue_final_message")
    no([{"role": "user", "content": "x", "tool_calls": [{}]}], "tool_calls", "assistant")
    no(HI + [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "x", "arguments": "{"}}]}, HI[0]], "no JSON")


@test
def a_last_assistant_message_can_go_on(s):
    whole = said(s.post(CHAT, {"messages": HI, "max_tokens": 24, **GREEDY}))
    begun = HI + [{"role": "assistant", "content": whole[:6]}]
    got = said(s.post(CHAT, {"messages": begun, "max_tokens": 40, "continue_final_message": True, **GREEDY}))
    assert got and not got.startswith(whole[:6])
    refused(s, CHAT, {"messages": HI, "continue_final_message": True}, "messages", "assistant")
    system = [{"role": "developer", "content": "Be brief."}] + HI
    same(said(s.post(CHAT, {"messages": system, "max_tokens": 8, **GREEDY})),
         said(s.post(CHAT, {"messages": [{"role": "system", "content": "Be brief."}] + HI, "max_tokens": 8, **GREEDY})))


def schema_format(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, **more}}


@test
def schemas_are_obeyed_or_refused(s):
    schema = {"type": "object", "properties": {"z": {"type": "string", "maxLength": 8}, "a": {"type": "number", "minimum": 0.1, "maximum": 0.3},
                                               "m": {"enum": ["x", "y"]}}, "required": ["z", "a", "m"], "additionalProperties": False}
    for strict in ({}, {"strict": True}, {"strict": False}):
        for k in range(3):
            reply = s.post(CHAT, {"messages": HI, "seed": k, "max_tokens": 60, "response_format": schema_format(schema, **strict)})
            value = json.loads(said(reply))
            same(list(value), ["z", "a", "m"])
            assert len(value["z"]) <= 8 and 0.1 <= value["a"] <= 0.3 and value["m"] in "xy", value
            same(reply["choices"][0]["finish_reason"], "stop")
    # a limit closes the reply: it is whole, and says length
    cut = s.post(CHAT, {"messages": HI, "max_tokens": 40, **GREEDY, "response_format": schema_format(
        {"type": "object", "properties": {"t": {"type": "string", "minLength": 30}}, "required": ["t"]})})
    json.loads(said(cut))
    if cut["usage"]["completion_tokens"] == 40:
        same(cut["choices"][0]["finish_reason"], "length")
    short = {"messages": HI, "max_tokens": 2, "response_format": schema_format(schema)}
    assert "raise the limit" in s.post(CHAT, short, 400)["error"]["message"]
    bad = {"type": "object", "properties": {"a": {"type": "string", "not": {"const": "x"}}}}
    refused(s, CHAT, {"messages": HI, "response_format": schema_format(bad)}, "response_format", "#/properties/a/not", "anyOf")
    refused(s, CHAT, {"messages": HI, "response_format": {"type": "grammar"}}, "response_format", "json_schema")
    refused(s, CHAT, {"messages": HI, "response_format": {"type": "json_schema"}}, "response_format", "json_schema")
    refused(s, CHAT, {"messages": HI, "stop": "x", "response_format": {"type": "json_object"}}, "stop", "JSON")
    for k in range(4):
        reply = s.post(CHAT, {"messages": HI, "seed": k, "max_tokens": 40, "response_format": {"type": "json_object"}, "stop": [],
                              "logprobs": False, "top_logprobs": 0, "tools": [], "tool_choice": None, "logit_bias": {}})
        assert isinstance(json.loads(said(reply)), dict)
    same(said(s.post(CHAT, {"messages": HI, "max_tokens": 5, **GREEDY, "response_format": {"type": "text"}})),
         said(s.post(CHAT, {"messages": HI, "max_tokens": 5, **GREEDY})))
    for file in sorted(glob.glob(os.path.join(source, "..", "shared", "cases", "schema", "*.json"))):
        with open(file, encoding="utf-8-sig") as f:
            case = json.load(f)
        value = json.loads(said(s.post(CHAT, {"messages": HI, "max_tokens": 60, "response_format": schema_format(case)})))
        if case["type"] == "object":
            same(list(value), ["a"])


@test
def characters_split_across_tokens_stay_whole(s):
    value = "é中😀 naïve"
    body = {"messages": HI, "max_tokens": 60, "logprobs": True, **GREEDY, "response_format": schema_format({"type": "string", "const": value})}
    got = s.post(CHAT, body)
    same(json.loads(said(got)), value)
    content = got["choices"][0]["logprobs"]["content"]
    assert any(c["token"].startswith("bytes:\\x") for c in content), "the vocabulary has all of these characters"
    same(b"".join(bytes(c["bytes"]) for c in content).decode(), said(got))
    pieces = [d["delta"].get("content") or "" for d in deltas(s.events(CHAT, {**body, "stream": True}))]
    same(json.loads("".join(pieces)), value)
    assert not any("\ufffd" in p for p in pieces), pieces


@test
def functions_are_called_by_their_schemas(s):
    for choice, parallel in (("required", True), ("required", False), ({"type": "function", "function": {"name": "weather"}}, True)):
        for k in range(4):
            body = {"messages": HI, "tools": [W, V], "tool_choice": choice, "parallel_tool_calls": parallel, "seed": k, "max_tokens": 300}
            got = s.post(CHAT, body)["choices"][0]
            calls = got["message"]["tool_calls"]
            assert got["message"]["content"] is None and got["finish_reason"] in ("tool_calls", "length"), got
            assert 1 <= len(calls) <= (8 if parallel and choice == "required" else 1)
            same(len({c["id"] for c in calls}), len(calls))
            for c in calls:
                arguments = json.loads(c["function"]["arguments"])
                if c["function"]["name"] == "weather":
                    assert len(arguments["city"]) <= 12 and 1 <= arguments["days"] <= 7, arguments
                else:
                    same((c["function"]["name"], arguments), ("now", {}))
            built = []
            for d in deltas(s.events(CHAT, {**body, "stream": True})):
                for t in d["delta"].get("tool_calls", []):
                    if "id" in t:
                        same(t["index"], len(built))
                        built.append({"name": t["function"]["name"], "arguments": ""})
                    built[t["index"]]["arguments"] += t["function"]["arguments"]
            same(built, [{"name": c["function"]["name"], "arguments": c["function"]["arguments"]} for c in calls])
    same(said(s.post(CHAT, {"messages": HI, "tools": [W], "tool_choice": "none", "max_tokens": 6, **GREEDY})),
         said(s.post(CHAT, {"messages": HI, "tools": [], "max_tokens": 6, **GREEDY})))
    auto = s.post(CHAT, {"messages": HI, "tools": [W], "max_tokens": 12, **GREEDY})["choices"][0]
    assert auto["message"]["content"] or auto["message"].get("tool_calls")


@test
def functions_and_results_in_messages(s):
    turn = HI + [{"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rome\", \"days\": 1}"}},
        {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"}, {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}]}]
    plain = HI + [{"role": "assistant", "content": "[{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\", \"days\": 1}}, "
                                                   "{\"name\": \"now\", \"arguments\": {}}]"},
                  {"role": "user", "content": "Result of weather:\nrain\n\nResult of now:\nnoon"}]
    a, b = (s.post(CHAT, {"messages": m, "max_tokens": 10, **GREEDY}) for m in (turn, plain))
    same((said(a), a["usage"]["prompt_tokens"]), (said(b), b["usage"]["prompt_tokens"]))
    t = {"messages": HI, "max_tokens": 5}
    refused(s, CHAT, {**t, "tools": [{"type": "search"}]}, "tools", "tools[0].type")
    refused(s, CHAT, {**t, "tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "name")
    refused(s, CHAT, {**t, "tools": [V, V]}, "tools", "two functions")
    refused(s, CHAT, {**t, "tools": [{"type": "function", "function": {"name": "x", "parameters": {"type": "string"}}}]}, "tools", "object")
    refused(s, CHAT, {**t, "tools": [V, {"type": "function", "function": {"name": "x", "parameters": {
        "type": "object", "properties": {"a": {"if": {}}}}}}]}, "tools", "tools[1].function.parameters", "#/properties/a/if")
    refused(s, CHAT, {**t, "tools": [V], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "'x'")
    refused(s, CHAT, {**t, "tool_choice": "required"}, "tool_choice", "empty")
    refused(s, CHAT, {**t, "tools": [V], "response_format": {"type": "json_object"}}, "response_format", "tool_choice")
    refused(s, CHAT, {**t, "functions": [{}]}, "functions", "use tools")


@test
def effort_without_thinking(s):
    same(said(s.post(CHAT, {"messages": HI, "max_tokens": 6, "reasoning_effort": "high", "think": False, **GREEDY})),
         said(s.post(CHAT, {"messages": HI, "max_tokens": 6, **GREEDY})))
    refused(s, CHAT, {"messages": HI, "think": 100}, "messages", "do not think")
    refused(s, CHAT, {"messages": HI, "reasoning_effort": "max"}, "reasoning_effort", "none|minimal")


# ---- responses -----------------------------------------------------------------------------------

@test
def responses_are_chats(s):
    want = s.post(CHAT, {"messages": HI, "max_tokens": 12, **GREEDY})
    got = s.post(RESPONSES, {"input": HI[0]["content"], "max_output_tokens": 12, **GREEDY, "store": False, "metadata": {"k": "v"},
                             "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": "auto"}})
    same(got["output"][0]["content"][0]["text"], said(want))
    same(got["status"], {"length": "incomplete", "stop": "completed"}[want["choices"][0]["finish_reason"]])
    same((got["usage"]["input_tokens"], got["usage"]["output_tokens"]), (want["usage"]["prompt_tokens"], want["usage"]["completion_tokens"]))
    same((got["object"], got["metadata"], got["store"], got["error"]), ("response", {"k": "v"}, False, None))
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": HI[0]["content"]}]}]
    same(s.post(RESPONSES, {"input": items, "max_output_tokens": 12, **GREEDY})["output"][0]["content"], got["output"][0]["content"])
    system = s.post(CHAT, {"messages": [{"role": "system", "content": "Be brief."}] + HI, "max_tokens": 8, **GREEDY})
    same(s.post(RESPONSES, {"input": HI, "instructions": "Be brief.", "max_output_tokens": 8, **GREEDY})["output"][0]["content"][0]["text"], said(system))
    schema = {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}
    made = s.post(RESPONSES, {"input": "x", "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}})
    same(list(json.loads(made["output"][0]["content"][0]["text"])), ["b"])
    same(made["status"], "completed")
    for member, value in (("previous_response_id", "resp_1"), ("tools", [{"type": "web_search"}]), ("truncation", "auto"), ("background", True),
                          ("include", ["file_search_call.results"])):
        refused(s, RESPONSES, {"input": "x", member: value}, member)
    refused(s, RESPONSES, {"input": [{"type": "function_call"}]}, "input", "function_call")
    refused(s, RESPONSES, {"input": []}, "input", "no message")
    refused(s, RESPONSES, {"input": "x", "reasoning": {"effort": "much"}}, "reasoning", "effort")


@test
def responses_stream_their_events(s):
    body = {"input": HI[0]["content"], "max_output_tokens": 6, **GREEDY}
    want = s.post(RESPONSES, body)
    events = s.events(RESPONSES, {**body, "stream": True})
    names = [e[0] for e in events]
    text = want["output"][0]["content"][0]["text"]
    n = names.count("response.output_text.delta")
    same(names, ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"] +
         ["response.output_text.delta"] * n + ["response.output_text.done", "response.content_part.done", "response.output_item.done",
                                               "response." + want["status"]])
    same([e[1]["type"] for e in events], names)
    same([e[1]["sequence_number"] for e in events], list(range(len(events))))
    same("".join(e[1].get("delta", "") for e in events), text)
    last = events[-1][1]["response"]
    same(last["output"][0]["content"], want["output"][0]["content"])
    same(last["output"][0]["id"], events[2][1]["item"]["id"])
    same(last["usage"]["output_tokens"], want["usage"]["output_tokens"])


# ---- the rest ------------------------------------------------------------------------------------

@test
def models_and_embeddings(s):
    same(s.send("GET", "/v1/models").json()["data"][0]["id"], "demo")
    same(s.send("GET", "/v1/models/demo").json()["object"], "model")
    none = s.send("GET", "/v1/models/hf.co/a/b")
    same((none.status, none.json()["error"]["param"]), (404, "model"))
    assert "'hf.co/a/b'" in none.json()["error"]["message"], none.body
    refused(s, "/v1/embeddings", {"model": "demo", "input": "x", "encoding_format": "base64"}, None, "embeddings are not supported")


@test
def requests_of_real_clients(s):
    """What the clients of ../shared/cases/clients sent, each with what its client reads."""
    path = os.path.join(source, "..", "shared", "cases", "clients", "requests.jsonl")
    if not os.path.exists(path):
        print("skipped: no ../shared/cases/clients")
        return
    seen = 0
    for line in open(path, encoding="utf-8"):
        r = json.loads(line)
        where, body = r["path"].removeprefix("/raw"), r["body"]
        if not where.startswith("/v1/"):
            continue
        seen += 1
        if isinstance(body, dict):
            body.pop("model", None)
            if isinstance(body.get("prompt"), list) and isinstance(body["prompt"][0], (int, list)):  # ids of another vocabulary
                ids = [[t % 5000 for t in p] for p in (body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]])]
                body["prompt"] = ids if isinstance(body["prompt"][0], list) else ids[0]
        headers = {k: v for k, v in r["headers"].items() if k not in ("accept-encoding", "content-length", "host")}
        reply = s.send(r["method"], where, body, headers)
        about = f"{r['client']} {where}: {reply.status} {reply.body[:300]!r}"
        if where == "/v1/models/nope" or where == "/v1/embeddings" or (body or {}).get("messages") == "x":
            assert reply.status in (400, 404) and reply.json()["error"]["message"], about
            continue
        assert reply.status == 200, about
        if (body or {}).get("stream"):
            events = s.events(where, body, headers)
            same(events[-1][1], "[DONE]")
            if where == CHAT:
                assert [d["finish_reason"] for d in deltas(events)][-1] in ("stop", "length"), about
            continue
        got = reply.json()
        if where == "/v1/models":
            assert got["data"][0]["id"], about
        elif where == RESPONSES:
            assert got["output"][0]["content"][0]["type"] == "output_text", about
        elif where == COMPLETIONS:
            choices = sorted(got["choices"], key=lambda c: c["index"])
            if body.get("echo") and body.get("logprobs"):
                for c in choices:  # as lm-eval slices them
                    lp = c["logprobs"]
                    n = len(lp["tokens"])
                    assert len(lp["token_logprobs"]) == len(lp["top_logprobs"]) == n and lp["token_logprobs"][0] is None, about
                    sum(lp["token_logprobs"][1:-1])
                    assert all(isinstance(t, dict) for t in lp["top_logprobs"][1:]), about
            assert all(isinstance(c["text"], str) for c in choices), about
        else:
            message = got["choices"][0]["message"]
            assert message["role"] == "assistant", about
            if body.get("tools"):
                for c in message["tool_calls"]:
                    json.loads(c["function"]["arguments"])
            elif body.get("response_format"):
                json.loads(message["content"])
            if body.get("logprobs"):
                assert got["choices"][0]["logprobs"]["content"], about
    assert seen >= 30, seen


# ---- a model that thinks -------------------------------------------------------------------------

def thinking_model(out):
    """The demo model with control tokens of Qwen3 in the places of its last ones."""
    data = open(os.path.join(source, "configs", "demo", "toy_clinic.gguf"), "rb").read()
    n_tensor, n_kv = struct.unpack_from("<QQ", data, 8)
    at = 24
    names = {5117: b"<think>", 5118: b"<|im_start|>", 5119: b"<|im_end|>", **{i: b"</think>" for i in range(5096, 5117)}}

    def text(at):
        n, = struct.unpack_from("<Q", data, at)
        return data[at + 8:at + 8 + n], at + 8 + n
    size = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    head = bytearray(data[:24])
    for _ in range(n_kv):
        start = at
        key, at = text(at)
        kind, = struct.unpack_from("<I", data, at)
        at += 4
        if kind == 8:
            _, at = text(at)
        elif kind == 9:
            item, n = struct.unpack_from("<IQ", data, at)
            at += 12
            if key == b"tokenizer.ggml.tokens":
                head += data[start:at]
                for i in range(n):
                    piece, at = text(at)
                    piece = names.get(i, piece)
                    head += struct.pack("<Q", len(piece)) + piece
                continue
            for _ in range(n):
                at = text(at)[1] if item == 8 else at + size[item]
        else:
            at += size[kind]
        head += data[start:at]
    start = at
    for _ in range(n_tensor):
        _, at = text(at)
        n, = struct.unpack_from("<I", data, at)
        at += 4 + 8 * n + 12
    head += data[start:at]
    body = data[(at + 31) // 32 * 32:]
    with open(out, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + body)


def thinking():
    thinking_model("thinks.gguf")
    s = Server(mas, "-m", "org/thinks=thinks.gguf", "--threads", "1", "--chat-template", "qwen3", "--ctx", "1024")
    try:
        for name in ("org/thinks", "org%2Fthinks"):
            same(s.send("GET", "/v1/models/" + name).json()["id"], "org/thinks")
        body = {"model": "org/thinks", "messages": HI, "max_tokens": 60, "temperature": 1.5, "seed": 1}
        for k in range(4):
            body["seed"] = k
            got = s.post(CHAT, {**body, "think": 20})
            message = got["choices"][0]["message"]
            thought = got["usage"]["completion_tokens_details"]["reasoning_tokens"]
            assert 0 < thought <= 20 + 64 and got["usage"]["completion_tokens"] > thought, got
            assert "</think>" not in (message["content"] + message.get("reasoning_content", "")), message
            events = deltas(s.events(CHAT, {**body, "think": 20, "stream": True}))
            same("".join(d["delta"].get("content") or "" for d in events), message["content"])
            same("".join(d["delta"].get("reasoning_content", "") for d in events), message.get("reasoning_content", ""))
            # a schema holds after the thinking
            json_reply = s.post(CHAT, {**body, "think": 20, "response_format": schema_format(
                {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]})})
            assert json.loads(said(json_reply))["a"] in "xy"
            calls = s.post(CHAT, {**body, "max_tokens": 200, "think": 20, "tools": [W], "tool_choice": "required"})
            json.loads(calls["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])
        for off in ({"think": False}, {"think": 0}, {"reasoning_effort": "none"}):
            got = s.post(CHAT, {**body, **off})
            same(got["usage"]["completion_tokens_details"]["reasoning_tokens"], 0)
            assert "reasoning_content" not in got["choices"][0]["message"]
        # thinking and reply together keep the limit
        same(*(s.post(CHAT, {**body, "max_tokens": 10, "think": n})["choices"] for n in (8, 5)))
        small = s.post(CHAT, {**body, "max_tokens": 10})["usage"]
        assert small["completion_tokens_details"]["reasoning_tokens"] <= 5 + 8 and small["completion_tokens"] <= 10 + 8, small
        events = s.events(RESPONSES, {"input": "x", "max_output_tokens": 40, "temperature": 1.5, "seed": 2, "stream": True})
        names = [e[0] for e in events]
        last = events[-1][1]["response"]["output"]
        if last[0]["type"] == "reasoning":
            assert names.index("response.reasoning_text.done") < names.index("response.content_part.added"), names
            same("".join(e[1]["delta"] for e in events if e[0] == "response.reasoning_text.delta"), last[0]["content"][0]["text"])
        same("".join(e[1]["delta"] for e in events if e[0] == "response.output_text.delta"), last[-1]["content"][0]["text"])
    finally:
        same(s.close(), 0)


def unknown_template():
    """A model whose chat template nobody knows still continues prompts."""
    data = open(os.path.join(source, "configs", "demo", "toy_clinic.gguf"), "rb").read()
    with open("unknown.gguf", "wb") as f:
        f.write(data.replace(b"{{ bos_token }}{% for message in", b"{{ bos_token }}{% for massage in"))
    s = Server(mas, "-m", "unknown.gguf", "--threads", "1")
    try:
        s.post(COMPLETIONS, {"prompt": "The", "max_tokens": 2})
        refused(s, CHAT, {"messages": HI, "max_tokens": 2}, "messages", "chat template", "llama3")
    finally:
        same(s.close(), 0)


def main():
    bad = 0
    s = Server(mas, "-m", "demo", "--threads", "1")
    extra = [thinking, unknown_template]
    for t in tests + extra:
        if len(sys.argv) > 3 and t.__name__ not in sys.argv[3:]:
            continue
        try:
            t() if t in extra else t(s)
        except Exception as e:  # noqa: BLE001 - every failure is shown
            bad = 1
            line = e.__traceback__
            while line.tb_next:
                line = line.tb_next
            frames = []
            tb = e.__traceback__
            while tb:
                frames.append(tb.tb_lineno)
                tb = tb.tb_next
            print(f"FAILED: {t.__name__} (lines {frames}): {type(e).__name__}: {str(e)[:3000]}")
    if s.close() != 0:
        bad = 1
        print("FAILED: the server's exit status; it said:", "".join(s.said)[-3000:])
    sys.exit(bad)


main()
