#!/usr/bin/env python3
"""check_prompts: are the prompts of prompts.py those of the program, byte for byte?

Part of a toy world, made for testing software: no medical meaning, no medical use.

    python3 tools/training/demo_model/check_prompts.py [MAS]

MAS (default build/release/mas) evaluates a few toy test questions with its embedded model by
direct, cot, panel and panel with the logit planner; system and user text of every call in the
traces are compared with prompts.py. What a prompt quotes from earlier replies (rationale, reports)
is taken from the traces too. Needs every role at least once. Status 1 and the place of the first
difference otherwise. Takes about half a minute on one core.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

from prompts import Prompts
from vignettes import generate
from world import ROOT, World

K = 3
RUNS = {  # settings of each run
    "direct": ["--strategy", "direct"],
    "cot": ["--strategy", "cot"],
    "panel": ["--strategy", "panel"],
    "logit": ["--strategy", "panel", "--set", "planner.selection=logit"],
}


def evaluate(mas, questions, folder, extra):
    cmd = [mas, "eval", "-c", "demo", "--data", questions, "--out", folder, "--quiet"]
    cmd += ["--set", f"planner.top_k={K}", *extra]
    done = subprocess.run(cmd, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # 1: some cases have no answer
        sys.exit(f"{' '.join(map(str, cmd))}: status {done.returncode}\n{done.stderr}")
    plain = folder / "traces.jsonl"
    opener = open(plain, "rb") if plain.exists() else gzip.open(folder / "traces.jsonl.gz")
    with opener as lines:
        return [json.loads(line) for line in lines]


def expected(prompts, record, call, before):
    """before: the calls of the same case that came earlier, as (call, parsed reply)."""
    name = call["prompt"]
    if name in ("direct/answer", "cot/answer", "panel/planner", "panel/planner_logit"):
        return prompts.render(name, record)
    rationale = ""
    for c, reply in before:
        if c["prompt"] == "panel/planner":
            rationale = reply["rationale"]
    if name == "panel/specialist":
        return prompts.specialist(record, rationale, call["specialty"])
    asked = [x for x in before if x[0]["role"] == "specialist" and x[0]["parsed"]]
    reports = [(c["index"], reply) for c, reply in asked]
    reports.sort(key=lambda x: x[0])
    return prompts.aggregator(record, rationale, [r for _, r in reports])


def compare(what, want, have):
    if want == have:
        return
    at = next((i for i, (a, b) in enumerate(zip(want, have)) if a != b), min(len(want), len(have)))
    lo = max(0, at - 30)
    ours, theirs = want[lo : at + 40], have[lo : at + 40]
    sys.exit(f"{what} differs at {at}:\n  ours    {ours!r}\n  theirs  {theirs!r}")


def parsed(call):
    if not call["parsed"] or not call["reply"].startswith("{"):
        return None
    return json.loads(call["reply"])


def check(prompts, records, lines, count):
    before = {}
    for call in lines:
        if "call" not in call:
            continue
        record = records[int(call["call"].split("-")[0])]
        seen = before.setdefault(call["call"], [])
        system, user = expected(prompts, record, call, seen)
        what = f"{call['prompt']} of question {call['call']}"
        compare(f"system of {what}", system, call["system"])
        compare(f"user of {what}", user, call["user"])
        seen.append((call, parsed(call)))
        count[call["prompt"]] = count.get(call["prompt"], 0) + 1


def main():
    mas = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build" / "release" / "mas")
    records = list(generate(World(), "test", 2, 7))
    prompts, count = Prompts(K), {}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        questions = tmp / "questions.jsonl"
        questions.write_text("".join(json.dumps(r) + "\n" for r in records))
        for name, extra in RUNS.items():
            check(prompts, records, evaluate(mas, questions, tmp / name, extra), count)
    for name in prompts.system:
        print(f"{name:22} {count.get(name, 0)} calls, the same bytes")
    missing = [name for name in prompts.system if name not in count]
    if missing:
        sys.exit(f"never asked: {', '.join(missing)}")


if __name__ == "__main__":
    main()
