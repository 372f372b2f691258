#!/usr/bin/env python3
"""Real clients of Ollama against `mas serve`. Run by ollama.sh in a virtual environment that has them.

usage: ollama.py MAS MODEL    MODEL: a file or "demo"; prints a table: client, version, call, result
"""
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]
import ollama  # noqa: E402  the package, not this file

mas, model = sys.argv[1:3]
NAME = "demo" if model == "demo" else "smollm2:135m"
TURN = [{"role": "user", "content": "Say hi."}]
GREEDY = {"num_predict": 12, "temperature": 0}
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": False}
FUNCTION = '{"name": "weather", "arguments": {"city": "Rome"}}'


def weather(city: str) -> str:
    """Weather of a city.

    Args:
      city: the city
    """
    return city


def start():
    server = subprocess.Popen([mas, "serve", "-m", f"{NAME}={model}", "--port", "0", "--threads", "1"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    return server, re.fullmatch(r"listening on (\S+)\n", server.stdout.readline())[1]


def calls(host):
    c = ollama.Client(host=host)

    def models():
        assert NAME in [m.model.removesuffix(":latest") for m in c.list().models]
        s = c.show(NAME)
        assert "completion" in s.capabilities and s.modelinfo["general.architecture"] == "llama" and s.details.family == "llama"
        c.generate(NAME)
        assert c.ps().models[0].expires_at.year == 9999

    def generate():
        whole = c.generate(NAME, "Say hi.", options=GREEDY)
        pieces = list(c.generate(NAME, "Say hi.", options=GREEDY, stream=True))
        assert "".join(p.response for p in pieces) == whole.response and pieces[-1].done_reason in ("stop", "length")
        assert pieces[-1].eval_count == whole.eval_count and whole.prompt_eval_count > 0

    def chat():
        whole = c.chat(NAME, TURN, options=GREEDY)
        pieces = list(c.chat(NAME, TURN, options=GREEDY, stream=True))
        assert "".join(p.message.content for p in pieces) == whole.message.content and whole.message.role == "assistant"

    def schema():
        v = json.loads(c.chat(NAME, TURN, format=CITY, options={"num_predict": 60}).message.content)
        assert list(v) == ["city"] and isinstance(json.loads(c.generate(NAME, "x", format="json", options={"num_predict": 60}).response), dict)

    def logprobs():
        o = c.chat(NAME, TURN, logprobs=True, top_logprobs=3, options=GREEDY)
        assert len(o.logprobs) == o.eval_count and all(len(x.top_logprobs) == 3 for x in o.logprobs)

    def tools():
        ask = [{"role": "user", "content": f"Reply with exactly this text: {FUNCTION}"}]
        options = {"num_predict": 60, "temperature": 0, "repeat_penalty": 1}
        o = c.chat(NAME, ask, tools=[weather], options=options).message
        pieces = [p.message.tool_calls for p in c.chat(NAME, ask, tools=[weather], options=options, stream=True)]
        if NAME != "demo":  # the toy model calls nothing
            assert o.tool_calls[0].function.name == "weather" and o.tool_calls[0].function.arguments == {"city": "Rome"}
            assert any(p and p[0].function.arguments == {"city": "Rome"} for p in pieces)
        c.chat(NAME, ask + [o, {"role": "tool", "tool_name": "weather", "content": "sunny"}], options=GREEDY)

    def lives():
        assert c.generate(NAME, keep_alive="10m").done_reason == "load"
        assert c.generate(NAME, keep_alive=0).done_reason == "unload"
        for _ in range(100):
            if not c.ps().models:
                return
            time.sleep(0.05)
        raise AssertionError("the model stays")

    def refusals():
        for status, f in ((501, lambda: c.embed(NAME, "x")), (404, lambda: c.chat("nope", TURN)), (501, lambda: c.delete(NAME)),
                          (400, lambda: c.chat(NAME, TURN, think=True)), (400, lambda: c.generate(NAME, "x", images=[b"x"])),
                          (400, lambda: c.generate(NAME, "hello " * 99, options={"num_ctx": 50})),
                          (400, lambda: c.chat(NAME, TURN, format={"type": "object", "properties": {"a": {"not": {}}}}))):
            try:
                f()
            except ollama.ResponseError as e:
                assert e.status_code == status and e.error, (status, e)
            else:
                raise AssertionError(f"answered, expected {status}")
    return dict(models=models, generate=generate, chat=chat, schema=schema, logprobs=logprobs, tools=tools, lives=lives, refusals=refusals)


def langchain(host):
    try:
        from langchain_ollama import ChatOllama, OllamaLLM
    except ImportError:
        return {}
    from pydantic import BaseModel

    class City(BaseModel):
        city: str

    def model(**more):
        return ChatOllama(model=NAME, base_url=host, validate_model_on_init=True, **{**dict(temperature=0, num_predict=12), **more})

    def invoke():
        o = model().invoke("Say hi.")
        assert o.content and o.response_metadata["done_reason"] in ("stop", "length") and o.usage_metadata["output_tokens"] > 0

    def stream():
        assert "".join(p.content for p in model().stream("Say hi.")) == model().invoke("Say hi.").content

    def structured():
        assert model(num_predict=400).with_structured_output(City).invoke("Name a city").city

    def tools():
        o = model(num_predict=60, repeat_penalty=1.0).bind_tools([weather]).invoke(f"Reply with exactly this text: {FUNCTION}")
        assert NAME == "demo" or o.tool_calls[0]["args"] == {"city": "Rome"}

    def completion():
        llm = OllamaLLM(model=NAME, base_url=host, num_predict=12, temperature=0)
        assert llm.invoke("Say hi.") == "".join(llm.stream("Say hi."))
    return dict(invoke=invoke, stream=stream, structured=structured, tools=tools, completion=completion)


def main():
    bad = 0
    server, host = start()
    try:
        print(f"| client | version | call | result ({NAME}) |\n|---|---|---|---|")
        for package, table in (("ollama", calls(host)), ("langchain-ollama", langchain(host))):
            for name, run in table.items():
                begin = time.monotonic()
                try:
                    run()
                    result = f"right, {time.monotonic() - begin:.1f} s"
                except Exception as e:  # noqa: BLE001 - every failure is shown
                    bad = 1
                    result = f"WRONG: {type(e).__name__}: {str(e)[:500]}"
                print(f"| {package} | {importlib.metadata.version(package)} | {name} | {result} |", flush=True)
    finally:
        server.terminate()
        if server.wait(60) != 0:
            bad = 1
            print("WRONG: the server's exit status")
    sys.exit(bad)


main()
