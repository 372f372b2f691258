#!/usr/bin/env python3
"""measure: accuracy of the toy model, by strategy, number format and ablation.

    python3 tools/training/demo_model/measure.py build/release/mas F32.gguf --out DIR [--n 1000] [--only direct]

Makes Q8_0 and Q4_K_M files of the model (mas quantize), draws n questions of the test split (seed 1) and
their ablations, evaluates them with mas eval and prints a Markdown table. DIR keeps the runs: started again, it
continues. planner: share of cases for which the planner chose the condition's own specialty.
Toy questions, made for testing software: no medical meaning, no medical use.
"""

import argparse
import gzip
import json
import pathlib
import subprocess

from vignettes import generate
from world import World

RUNS = [  # name, format, strategy, questions
    ("direct", "F32", "direct", "plain"),
    ("direct", "Q8_0", "direct", "plain"),
    ("direct", "Q4_K_M", "direct", "plain"),
    ("cot", "Q4_K_M", "cot", "plain"),
    ("panel", "F32", "panel", "plain"),
    ("panel", "Q8_0", "panel", "plain"),
    ("panel", "Q4_K_M", "panel", "plain"),
    ("direct, shuffled options", "Q4_K_M", "direct", "shuffled"),
    ("direct, no discriminator", "Q4_K_M", "direct", "without"),
]


def questions(out, n):
    world = World()
    ways = {"plain": {}, "shuffled": {"shuffle": True}, "without": {"marks": False}}
    for name, options in ways.items():
        path = out / f"{name}.jsonl"
        text = "".join(json.dumps(r) + "\n" for r in generate(world, "test", n, 1, **options))
        path.write_text(text)


def evaluate(mas, model, strategy, data, out, sets):
    command = [mas, "eval", "-c", "demo", "--set", f"model={model}", "--data", str(data)]
    command += ["--strategy", strategy, "--out", str(out), "--quiet"]
    for s in sets:
        command += ["--set", s]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):  # 1: some questions have no answer
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return json.loads((out / "summary.json").read_text())


def cases(out):
    with gzip.open(out / "traces.jsonl.gz", "rt") as f:
        for line in f:
            if line.startswith('{"case"'):
                yield json.loads(line)


def planner_share(out, data):
    """Cases whose panel holds the specialty of the condition."""
    own = [json.loads(line)["specialty"] for line in data.open()]
    found = [own[c["n"]] in c["selected"] for c in cases(out)]
    return sum(found) / len(found)


def main():
    p = argparse.ArgumentParser(description="Accuracy of a toy model, made for testing software.")
    p.add_argument("mas")
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--n", type=int, default=1000)
    p.add_argument("--only", help="strategies, comma-separated")
    p.add_argument("--formats", default="F32,Q8_0,Q4_K_M")
    p.add_argument("--set", action="append", default=[], help="passed on to mas eval")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    questions(a.out, a.n)
    models = {"F32": a.model}
    for form in ("Q8_0", "Q4_K_M"):
        models[form] = a.out / f"{form}.gguf"
        subprocess.run([a.mas, "quantize", "--quiet", str(a.model), str(models[form]), form], check=True)
    print("| run | format | accuracy | 95 % interval | without an answer | planner | seconds a question |")
    print("|---|---|---:|---|---:|---:|---:|", flush=True)
    for name, form, strategy, kind in RUNS:
        if form not in a.formats.split(",") or (a.only and strategy not in a.only.split(",")):
            continue
        data = a.out / f"{kind}.jsonl"
        out = a.out / f"{strategy}-{kind}-{form}"
        s = evaluate(a.mas, models[form], strategy, data, out, a.set)
        acc = s["accuracy"]
        share = f"{100 * planner_share(out, data):.1f} %" if strategy == "panel" else ""
        print(
            f"| {name} | {form} | {100 * acc['accuracy']:.1f} % | {100 * acc['low']:.1f} to "
            f"{100 * acc['high']:.1f} | {s['unparsed'] + s['failed']} | {share} | "
            f"{s['per_question']['seconds_mean']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
