#!/usr/bin/env python3
"""check: runs mas on two real models and compares with what llama.cpp said of them (tools/training/golden/real.py).

    python3 tests/real/check.py --build DIR --smollm2 FILE --gemma3 FILE [CHECK ..]

CHECK is one of the functions check_* below, without that prefix; without any, all run. One line a comparison; exit 1 if
one fails. Needs Python's standard library only.
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools" / "training" / "golden"))
import real  # noqa: E402  the texts are made in one place

NEW = 64  # tokens of a greedy text
# Logits. llama.cpp rounds activations and sums of attention in its own ways: on these models its margins are up to 0.4
# away from those of float64. A wrong kernel gives first differences with margins of several logits.
NEAR_TIE = 0.6
PERPLEXITY = 0.001  # relative, against llama.cpp on weights of 32 bits, where neither program rounds activations

SHARED = pathlib.Path(os.environ.get("MAS_SHARED", ROOT.parent / "shared"))
CASE = "A 65-year-old man has had crushing chest pain for an hour. ECG: ST elevation in leads II, III and aVF."
OPTIONS = "A. Reflux disease||B. Acute myocardial infarction||C. Costochondritis"


class Failure(Exception):
    pass


class Checks:
    def __init__(self, options, folder):
        self.build = pathlib.Path(options.build).resolve()
        self.mas = str(self.build / "mas")
        self.models = {name: str(pathlib.Path(getattr(options, name)).resolve()) for name in real.MODELS}
        self.folder = pathlib.Path(folder)
        self.short = options.short
        self.failed = 0

    def run(self, *arguments, status=(0,)):
        run = subprocess.run([self.mas, *map(str, arguments)], capture_output=True, text=True, cwd=self.folder)
        if run.returncode not in status:
            raise Failure(f"mas {' '.join(map(str, arguments))}: status {run.returncode}, must be of {status}: "
                          f"{run.stderr.strip()[-600:]}")
        return run.stdout, run.stderr

    def say(self, good, text):
        print(f"{'ok    ' if good else 'FAILED'} {text}", flush=True)
        self.failed += not good

    def settings(self, model):
        """Options of run and eval: short replies, so that the check stays short."""
        return ["-m", self.models[model], "--set", "max_output_tokens=120", "--set", "planner.top_k=2"]

    def perplexity(self, path, text):
        out, _ = self.run("perplexity", "-m", path, "-f", text, "--ctx", 512)
        return float(out.split("perplexity ")[-1].split()[0])

    def generate(self, model, prompt, n, *more):
        out, _ = self.run("generate", "-m", self.models[model], "-p", prompt, "-n", n, "--temp", 0, "--json",
                          "--ignore-eos", *more)
        return json.loads(out)["tokens"]

    def golden(self, model):
        """(prompt, its ids, [(id, margin)]) of each prompt."""
        for block in (HERE / f"greedy_{model}.tsv").read_text(encoding="utf-8").split("# ")[1:]:
            prompt, ids, *rows = block.strip().split("\n")
            yield prompt, [int(i) for i in ids.split()], [(int(a), float(b)) for a, b in (r.split("\t") for r in rows)]

    # ---- the checks --------------------------------------------------------------------------------------------

    def check_inspect(self):
        for model, words in {"smollm2": ["'llama'", "'smollm'", "Q4_1"], "gemma3": ["'gemma3'", "Q5_0", "Q4_K"]}.items():
            out, _ = self.run("inspect", self.models[model])
            missing = [w for w in words if w not in out]
            self.say(not missing, f"{model}: inspect" + (f" lacks {missing}" if missing else ""))

    def check_tokens(self):
        for model in self.models:
            for prompt, ids, _ in self.golden(model):
                out, _ = self.run("tokenize", "-m", self.models[model], "--bos", "-p", prompt)
                if [int(i) for i in out.split()] != ids:
                    self.say(False, f"{model}: tokens of '{prompt}': {out.strip()}, must be {ids}")
                    break
            else:
                self.say(True, f"{model}: tokens of 20 prompts")

    def check_vocabularies(self):
        """2,000 texts on each vocabulary, and masks of grammars: the tests of the build, with the files present."""
        for test in ("t_tokens_real", "t_grammar_real"):
            if not (self.build / "tests" / test).exists():
                print(f"skipped {test}: not built in {self.build}")
                continue
            folder = pathlib.Path(self.models["smollm2"]).parent
            run = subprocess.run([self.build / "tests" / test], capture_output=True, text=True,
                                 env={**os.environ, "MAS_REAL": str(folder)})
            self.say(run.returncode == 0, f"{test}{'' if run.returncode == 0 else ': ' + run.stderr[-600:]}")

    def first_differences(self, model, n, prompts, *more):
        """Texts that are the same, and (prompt, place, margin) of the first difference of the others."""
        same, other = 0, []
        for prompt, _, rows in list(self.golden(model))[:prompts]:
            tokens = self.generate(model, prompt, n, *more)
            place = next((i for i in range(n) if tokens[i] != rows[i][0]), None)
            if place is None:
                same += 1
            else:
                other.append((prompt, place, rows[place][1]))
        return same, other

    def say_differences(self, name, same, other):
        worst = max((margin for _, _, margin in other), default=0.0)
        self.say(worst <= NEAR_TIE, f"{name}: {same} of {same + len(other)} texts equal; the others leave at near-ties, "
                                    f"largest margin {worst:.3f}, limit {NEAR_TIE}")
        for prompt, place, margin in other:
            print(f"         token {place:2d}, margin {margin:.3f}: {prompt}")

    def check_greedy(self):
        for model in self.models:
            n, prompts = (24, 4) if self.short else (NEW, 20)
            self.say_differences(f"{model}: greedy, {n} tokens", *self.first_differences(model, n, prompts))

    def check_cudahost(self):
        for model in self.models:
            self.say_differences(f"{model}: CUDA kernels on the CPU, 16 tokens",
                                 *self.first_differences(model, 16, 1, "--backend", "cudahost"))

    def check_perplexity(self):
        """Twice against the value of weights of 32 bits: with such weights, and with the file as it comes. The second
        rounds activations; the limit is the distance of llama.cpp, which rounds them too, and PERPLEXITY."""
        texts, wide = real.texts(SHARED), None
        for row in (HERE / "perplexity.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            model, name, *values = row.split("\t")
            exact, usual, flat = map(float, values)
            if name not in texts:
                print(f"skipped {model}: perplexity of {name}: {SHARED} is absent")
                continue
            (self.folder / name).write_text(texts[name], encoding="utf-8")
            if wide != model:
                self.run("quantize", "--allow-requantize", "--quiet", self.models[model], "wide.gguf", "F32")
                wide = model
            value = self.perplexity("wide.gguf", name)
            self.say(abs(value / exact - 1) <= PERPLEXITY, f"{model}: perplexity of {name}, weights of 32 bits: {value:.4f}; "
                                                           f"llama.cpp {exact:.4f} ({value / exact - 1:+.3%})")
            value = self.perplexity(self.models[model], name)
            limit = max(abs(usual / exact - 1), abs(flat / exact - 1)) + PERPLEXITY
            self.say(abs(value / exact - 1) <= limit,
                     f"{model}: perplexity of {name}: {value:.4f} ({value / exact - 1:+.2%}, limit {limit:.2%}); llama.cpp "
                     f"{usual:.4f} ({usual / exact - 1:+.2%}), without flash attention {flat:.4f} ({flat / exact - 1:+.2%})")

    def check_chat(self):
        for model in self.models:
            more = [] if model == "smollm2" else ["--chat-template", "gemma3"]
            out, _ = self.run("generate", "-m", self.models[model], "--chat", "-p", "Name one symptom of anemia.", "-n", 24,
                              "--temp", 0, *more)
            self.say(len(out.split()) >= 1, f"{model}: chat: {out.strip()[:60]!r}")

    def check_case(self):
        for model in self.models:
            for strategy in ("direct", "cot", "panel"):
                out, _ = self.run("run", "-s", strategy, "-q", CASE, "-o", OPTIONS, "--json", *self.settings(model),
                                  status=(0, 1))  # 1: a short reply without an answer
                case = json.loads(out)
                good = case.get("predicted") in ("A", "B", "C") if case["state"] == "answered" else case["state"] == "unparsed"
                self.say(good, f"{model}: run by {strategy}: {case['state']}, {case.get('predicted')!r}")

    def check_bench(self):
        for model in self.models:
            out, _ = self.run("bench", "-m", self.models[model], "-p", 64, "-n", 8, "-r", 1, "-o", "json")
            rows = json.loads(out)
            self.say(bool(rows), f"{model}: bench")

    def check_eval(self):
        data = SHARED / "data" / "medqa" / "test_4opt.jsonl"
        if not data.exists():
            print(f"skipped eval: {data} is absent")
            return
        for model in self.models:
            for strategy in ("direct", "cot", "panel"):
                folder = self.folder / f"{model}-{strategy}"
                self.run("eval", "-s", strategy, "--data", data, "--n", 4, "--out", folder, "--quiet",
                         *self.settings(model))
                summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
                correct, n = summary["accuracy"]["correct"], summary["accuracy"]["n"]
                with (folder / "results.csv").open(encoding="utf-8", newline="") as table:
                    rows = len(list(csv.DictReader(table)))
                self.say(n == rows == 4, f"{model}: eval by {strategy}: {correct} of {n}, {rows} rows; must be 4")


def main():
    names = [n.removeprefix("check_") for n in dir(Checks) if n.startswith("check_")]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True, metavar="DIR", help="a folder with mas and tests/")
    for model in real.MODELS:
        parser.add_argument(f"--{model}", required=True, metavar="FILE")
    parser.add_argument("--short", action="store_true", help="fewer and shorter texts, without the checks that take minutes")
    parser.add_argument("check", nargs="*", choices=[[], *names], metavar="CHECK", help=", ".join(names))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(options, folder)
        long = ["bench", "case", "cudahost", "eval", "perplexity"] if options.short else []
        for name in options.check or [n for n in names if n not in long]:
            start = time.monotonic()
            try:
                getattr(checks, f"check_{name}")()
            except Failure as failure:
                checks.say(False, f"{name}: {failure}")
            print(f"       {name}: {time.monotonic() - start:.1f} s", flush=True)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
