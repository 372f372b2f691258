#!/usr/bin/env python3
"""Real clients of OpenAI's API against `mas serve`. Run by clients.sh in a virtual environment that has them.

usage: clients.py MAS MODEL CLIENT..    MODEL: a file or "demo"; prints a table: client, version, calls, result
"""
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent / "cli")  # not this folder: its files have names of packages
from serve_client import Server  # noqa: E402

mas, model, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
TURN = [{"role": "user", "content": "Say hi."}]
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}, "pop": {"type": "integer"}},
        "required": ["city", "pop"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Weather of a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}}}
clients = {}


class Skipped(Exception):
    pass


def client(package):
    def add(f):
        clients[f.__name__] = (package, f)
        return f
    return add


def calls_of(f, *args):
    """Runs each nested function of a client: its name is the call."""
    done = []
    for name, call in f(*args).items():
        call()
        done.append(name)
    return done


@client("openai")
def openai(base, name):
    import openai as package
    from pydantic import BaseModel
    c = package.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0)

    class City(BaseModel):
        city: str
        pop: int

    def models():
        assert name in [m.id for m in c.models.list()]
        assert c.models.retrieve(name).id == name

    def chat():
        r = c.chat.completions.create(model=name, messages=TURN, max_tokens=12, temperature=0, logprobs=True, top_logprobs=3)
        assert r.choices[0].message.content and len(r.choices[0].logprobs.content[0].top_logprobs) == 3
        assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens

    def chat_stream():
        whole = c.chat.completions.create(model=name, messages=TURN, max_tokens=12, temperature=0)
        text, usage, reason = "", None, None
        for p in c.chat.completions.create(model=name, messages=TURN, max_tokens=12, temperature=0, stream=True,
                                           stream_options={"include_usage": True}):
            usage = p.usage or usage
            for choice in p.choices:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
        assert text == whole.choices[0].message.content and reason == whole.choices[0].finish_reason and usage.completion_tokens

    def chat_stream_helper():
        with c.chat.completions.stream(model=name, messages=TURN, max_tokens=120, temperature=0, response_format=City) as stream:
            for _ in stream:
                pass
            assert isinstance(stream.get_final_completion().choices[0].message.parsed, City)

    def parse():
        r = c.chat.completions.parse(model=name, messages=[{"role": "user", "content": "Name one city as JSON"}], max_tokens=120,
                                     temperature=0, response_format=City)
        assert isinstance(r.choices[0].message.parsed, City)

    def json_object():
        r = c.chat.completions.create(model=name, messages=TURN, max_tokens=80, response_format={"type": "json_object"})
        assert isinstance(json.loads(r.choices[0].message.content), dict)

    def tools():
        for choice in ("required", {"type": "function", "function": {"name": "weather"}}, "auto"):
            r = c.chat.completions.create(model=name, messages=[{"role": "user", "content": "weather in Rome?"}], max_tokens=200,
                                          temperature=0, tools=[TOOL], tool_choice=choice)
            for call in r.choices[0].message.tool_calls or []:
                assert json.loads(call.function.arguments)["city"] is not None
            assert choice == "auto" or r.choices[0].message.tool_calls
        call = c.chat.completions.create(model=name, messages=TURN, max_tokens=100, temperature=0, tools=[TOOL],
                                         tool_choice="required").choices[0].message
        turn = TURN + [call.model_dump(), {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "sunny"}]
        more = TURN + [call] + turn[2:]
        results = [{"role": "tool", "tool_call_id": t.id, "content": "rain"} for t in call.tool_calls[1:]]
        for messages in (turn + results, more + results):
            assert c.chat.completions.create(model=name, messages=messages, max_tokens=100, tools=[TOOL]).choices

    def tools_stream():
        built = ""
        for p in c.chat.completions.create(model=name, messages=TURN, max_tokens=100, temperature=0, tools=[TOOL],
                                           tool_choice={"type": "function", "function": {"name": "weather"}}, stream=True):
            for d in p.choices[0].delta.tool_calls or []:
                built += d.function.arguments or ""
        assert "city" in json.loads(built)

    def completions():
        r = c.completions.create(model=name, prompt=["The sky is", "A man"], max_tokens=4, n=2, logprobs=2)
        assert [x.index for x in r.choices] == [0, 1, 2, 3] and len(r.choices[0].logprobs.tokens) == 4
        e = c.completions.create(model=name, prompt="The capital of France is", echo=True, logprobs=1, max_tokens=1, temperature=0)
        assert e.choices[0].logprobs.token_logprobs[0] is None and e.choices[0].text.startswith("The capital of France is")
        text = "".join(p.choices[0].text for p in c.completions.create(model=name, prompt="The sky is", max_tokens=4, stream=True))
        assert text

    def responses():
        r = c.responses.create(model=name, input="Say hi", max_output_tokens=12)
        assert r.output_text and r.usage.output_tokens
        p = c.responses.parse(model=name, input="Name one city", text_format=City, max_output_tokens=1500)
        assert isinstance(p.output_parsed, City)
        text = ""
        with c.responses.stream(model=name, input="Name one city", text_format=City, max_output_tokens=1500) as stream:
            for event in stream:
                text += event.delta if event.type == "response.output_text.delta" else ""
            assert stream.get_final_response().output_text == text and text

    def errors():
        for call, kind in ((lambda: c.embeddings.create(model=name, input="hi"), package.BadRequestError),
                           (lambda: c.models.retrieve("nope"), package.NotFoundError),
                           (lambda: c.chat.completions.create(model=name, messages="x"), package.BadRequestError),
                           (lambda: c.chat.completions.create(model="nope", messages=TURN), package.NotFoundError)):
            try:
                call()
            except kind as e:
                assert e.body and e.body["message"], e
            else:
                raise AssertionError("no error")

    def asynchronous():
        import asyncio
        a = package.AsyncOpenAI(base_url=base + "/v1", api_key="none", max_retries=0)

        async def many():
            return await asyncio.gather(*(a.chat.completions.create(model=name, messages=TURN, max_tokens=8, seed=i, temperature=1)
                                          for i in range(16)))
        beside = [r.choices[0].message.content for r in asyncio.run(many())]
        alone = [c.chat.completions.create(model=name, messages=TURN, max_tokens=8, seed=i, temperature=1).choices[0].message.content
                 for i in range(16)]
        assert beside == alone
    return {k: v for k, v in locals().items() if callable(v) and k not in ("c", "package", "City", "BaseModel")}


@client("httpx")
def httpx(base, name):
    import httpx as package

    def stream():
        with package.stream("POST", base + "/v1/chat/completions", timeout=60, json={
                "messages": TURN, "max_tokens": 6, "temperature": 0, "stream": True}) as r:
            lines = [l for l in r.iter_lines() if l.startswith("data: ")]
        assert lines[-1] == "data: [DONE]" and json.loads(lines[-2][6:])["choices"][0]["finish_reason"]

    def whole():
        r = package.post(base + "/v1/completions", json={"prompt": "Hi", "max_tokens": 3}, timeout=60)
        assert r.json()["choices"][0]["text"] and int(r.headers["x-mas-seed"]) >= 0
    return {"stream": stream, "whole": whole}


@client("litellm")
def litellm(base, name):
    import litellm as package
    package.suppress_debug_info = True
    at = {"api_base": base + "/v1", "api_key": "none", "num_retries": 0}

    def completion():
        r = package.completion(model="openai/" + name, messages=TURN, temperature=0, max_tokens=8, **at)
        assert r.choices[0].message.content

    def stream():
        pieces = list(package.completion(model="openai/" + name, messages=TURN, max_tokens=8, stream=True, **at))
        assert any(p.choices[0].finish_reason for p in pieces if p.choices)

    def schema():
        r = package.completion(model="openai/" + name, messages=TURN, max_tokens=120, response_format={
            "type": "json_schema", "json_schema": {"name": "c", "schema": CITY, "strict": True}}, **at)
        assert "city" in json.loads(r.choices[0].message.content)

    def tools():
        r = package.completion(model="openai/" + name, messages=TURN, max_tokens=200, tools=[TOOL], tool_choice="required", **at)
        assert r.choices[0].message.tool_calls

    def text_completion():
        r = package.text_completion(model="text-completion-openai/" + name, prompt="The sky is", max_tokens=4, **at)
        assert r.choices[0].text
    return {"completion": completion, "stream": stream, "schema": schema, "tools": tools, "text_completion": text_completion}


@client("langchain-openai")
def langchain(base, name):
    from langchain_openai import ChatOpenAI, OpenAI
    from pydantic import BaseModel

    class City(BaseModel):
        """A city."""
        city: str
    llm = ChatOpenAI(base_url=base + "/v1", api_key="none", model=name, temperature=0, max_tokens=40, max_retries=0)

    def invoke():
        assert llm.invoke("Say hi.").content

    def logprobs():
        assert llm.bind(logprobs=True, top_logprobs=2).invoke("Say hi.").response_metadata["logprobs"]["content"]

    def stream():
        assert "".join(p.content for p in llm.stream("Say hi."))

    def batch():
        assert len(llm.batch(["a", "b", "c"])) == 3

    def structured():
        for method in ("json_schema", "function_calling"):
            r = ChatOpenAI(base_url=base + "/v1", api_key="none", model=name, max_tokens=1200, max_retries=0, temperature=0).with_structured_output(
                City, method=method).invoke("Name a city")
            assert isinstance(r, City), (method, r)

    def completion():
        assert OpenAI(base_url=base + "/v1", api_key="none", model=name, temperature=0, max_tokens=6).invoke("The capital of France is")
    return {"invoke": invoke, "logprobs": logprobs, "stream": stream, "batch": batch, "structured": structured, "completion": completion}


@client("inspect-ai")
def inspect(base, name):
    """`inspect eval` of two questions, by chat completions and by responses."""
    task = """from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice

@task
def two():
    return Task(dataset=[Sample(input="What is red?", choices=["blood", "sky"], target="A"),
                         Sample(input="What is blue?", choices=["blood", "sky"], target="B")],
                solver=multiple_choice(), scorer=choice())
"""

    def run(model_name, *options):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "two.py").write_text(task)
            env = {**os.environ, "MAS_BASE_URL": base + "/v1", "MAS_API_KEY": "none", "OPENAI_BASE_URL": base + "/v1", "OPENAI_API_KEY": "none",
                   "VLLM_BASE_URL": base + "/v1", "VLLM_API_KEY": "none", "INSPECT_DISPLAY": "plain"}
            done = subprocess.run([pathlib.Path(sys.executable).parent / "inspect", "eval", "two.py", "--model", model_name, "--max-tokens", "12",
                                   "--temperature", "0", "--log-format", "json", "--max-retries", "0", *options],
                                  cwd=folder, env=env, capture_output=True, text=True, timeout=300)
            logs = list(pathlib.Path(folder, "logs").glob("*.json"))
            assert done.returncode == 0 and logs, (done.stdout + done.stderr)[-500:]
            log = json.loads(logs[0].read_text())
            assert log["status"] == "success" and len(log["samples"]) == 2 and not any(x.get("error") for x in log["samples"]), log["status"]

    return {"openai-api": lambda: run("openai-api/mas/" + name), "openai (responses)": lambda: run("openai/" + name),
            "vllm + logprobs": lambda: run("vllm/" + name, "--logprobs", "--top-logprobs", "3")}


@client("lm-eval")
def lm_eval(base, name):
    """The door that lm-evaluation-harness uses for log-likelihoods and for texts, without its tasks."""
    os.environ.setdefault("OPENAI_API_KEY", "none")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    def door(**more):
        return LocalCompletionsAPI(model=name, base_url=base + "/v1/completions", tokenizer_backend="remote", max_retries=1, **more)

    def loglikelihood():
        lm = door(batch_size=3)
        pairs = [("The capital of France is", x) for x in (" Paris", " London", " Berlin")] + [("The sky is", " blue")]
        got = lm.loglikelihood([Instance("loglikelihood", {}, p, i) for i, p in enumerate(pairs)])
        for (context, rest), (lp, _) in zip(pairs, got):
            ids = lm.tok_encode(context + rest)
            n = len(lm.tok_encode(context))
            want = direct(ids, n)
            assert abs(lp - want) < 1e-4, (context, rest, lp, want)

    def direct(ids, n):
        """From the model's own most likely lists: the log-probability of each token after the ones before it."""
        import openai as package
        c = package.OpenAI(base_url=base + "/v1", api_key="none")
        total = 0.0
        for k in range(n, len(ids)):
            r = c.completions.create(model=name, prompt=ids[:k], max_tokens=1, temperature=0, logprobs=0, logit_bias={str(ids[k]): 100})
            total += r.choices[0].logprobs.token_logprobs[0]
        return total

    def generate_until():
        got = door(batch_size=1).generate_until([Instance("generate_until", {}, ("The sky is", {"until": ["\n"], "max_gen_toks": 6}), 0)])
        assert isinstance(got[0], str) and "\n" not in got[0]

    def chat_generate_until():
        lm = LocalChatCompletion(model=name, base_url=base + "/v1/chat/completions", max_retries=1)
        message = lm.apply_chat_template(TURN)
        got = lm.generate_until([Instance("generate_until", {}, (message, {"until": ["\n"], "max_gen_toks": 6}), 0)])
        assert isinstance(got[0], str)
    def medqa():
        """100 questions of MedQA by the harness, and by `mas eval` in the harness' form: equal to 1e-4."""
        import csv
        import lm_eval as harness
        from lm_eval.tasks import TaskManager
        data = pathlib.Path(__file__).resolve().parents[3] / "shared/data/medqa/test_4opt.jsonl"
        if not data.exists():
            raise Skipped("no ../shared/data")
        questions = [json.loads(l) for l in data.read_text().splitlines()[:100]]
        with tempfile.TemporaryDirectory() as folder:
            docs = [{"sent1": q["question"], **{f"ending{i}": q["options"][o] for i, o in enumerate("ABCD")},
                     "label": "ABCD".index(q["answer_idx"])} for q in questions]
            pathlib.Path(folder, "docs.json").write_text(json.dumps(docs))
            pathlib.Path(folder, "task.yaml").write_text(f"""task: medqa_local
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/docs.json}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{sent1}}}}\\nA. {{{{ending0}}}}\\nB. {{{{ending1}}}}\\nC. {{{{ending2}}}}\\nD. {{{{ending3}}}}\\nAnswer:"
doc_to_target: label
doc_to_choice: ["A", "B", "C", "D"]
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
""")
            os.environ["HF_DATASETS_CACHE"] = folder + "/cache"
            samples = harness.simple_evaluate(model=door(batch_size=8), tasks=["medqa_local"], log_samples=True, bootstrap_iters=0,
                                              task_manager=TaskManager(include_path=folder, include_defaults=False))["samples"]["medqa_local"]
            done = subprocess.run([mas, "eval", "-m", model, "--data", data, "-n", "100", "-s", "direct", "--prompt-form", "lm-eval",
                                   "--out", folder + "/run", "--quiet"], capture_output=True, text=True, timeout=1800)
            assert done.returncode == 0, done.stderr[-500:]
            rows = list(csv.DictReader(open(folder + "/run/results.csv")))
        assert len(samples) == len(rows) == 100
        worst = 0.0
        for s, row in zip(sorted(samples, key=lambda s: s["doc_id"]), rows):
            theirs = [float(r[0]) for r in s["filtered_resps"]]
            ours = [float(row["lp_" + o]) for o in "ABCD"]
            worst = max([worst, *(abs(a - b) for a, b in zip(theirs, ours))])
            assert len(theirs) == len(ours) == 4
        assert worst <= 1e-4, f"log-likelihoods differ by up to {worst}"
    return {"medqa": medqa, "loglikelihood": loglikelihood, "generate_until": generate_until, "chat generate_until": chat_generate_until}


def main():
    bad = 0
    s = Server(mas, "-m", model)
    base, name = "http://" + s.host, json.loads(s.send("GET", "/v1/models").body)["data"][0]["id"]
    print(f"| client | version | call | result ({name}) |\n|---|---|---|---|")
    for key in wanted or clients:
        package, f = clients[key]
        version = importlib.metadata.version(package)
        for call, run in f(base, name).items():
            start = time.monotonic()
            try:
                run()
                result = f"right, {time.monotonic() - start:.1f} s"
            except Skipped as e:
                result = f"skipped: {e}"
            except Exception as e:  # noqa: BLE001 - every failure is shown
                bad = 1
                result = f"WRONG: {type(e).__name__}: {str(e)[:600]}"
            print(f"| {package} | {version} | {call} | {result} |", flush=True)
    if s.close() != 0:
        bad = 1
        print("WRONG: the server's exit status; it said:", "".join(s.said)[-2000:])
    sys.exit(bad)


main()
