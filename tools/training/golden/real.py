#!/usr/bin/env python3
"""real: what llama.cpp says of the two real models of tests/real.

    python3 tools/training/golden/real.py LLAMA_CPP GREEDY MODELS [SHARED]

LLAMA_CPP is a checkout built into LLAMA_CPP/build (CPU, targets llama-perplexity and llama-quantize). GREEDY is the program of
llama_greedy.c, built against it. MODELS holds the two model files of tests/real/run.sh. SHARED is the folder of the
optional data (default ../shared). Writes into tests/real:

    greedy_MODEL.tsv   for each prompt of prompts.txt: a line '# PROMPT', a line with the prompt's ids, then a line
                       a token of 64: id, tab, logit of the best minus logit of the second
    perplexity.tsv     model, text, perplexity by llama-perplexity -c 512 -b 512 -t 2: of the weights as numbers of
                       32 bits (llama-quantize --allow-requantize MODEL OUT F32) with -fa off -ctk f32 -ctv f32; of
                       the file as it comes (cache of halves, flash attention auto); and of the file with those three
                       options. Only the first run does not round activations.

    python3 tools/training/golden/real.py --perplexity LLAMA_CPP MODELS [SHARED]    writes perplexity.tsv alone

Texts: own.txt holds the questions of configs/demo/handwritten.jsonl, three times over. medqa.txt holds the first 60
questions of SHARED/data/medqa/test_4opt.jsonl. run.sh makes both with text() here. Needs nothing but Python.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
REAL = ROOT / "tests" / "real"
MODELS = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3": "gemma-3-270m-q4_k_m.gguf"}
N_NEW = 64


def text(path, most, times=1):
    """The questions of a JSON Lines file, one a line."""
    lines = path.read_text(encoding="utf-8").splitlines()[:most]
    return "".join(json.loads(line)["question"].strip() + "\n" for line in lines) * times


def texts(shared):
    out = {"own.txt": text(ROOT / "configs" / "demo" / "handwritten.jsonl", None, 3)}
    medqa = shared / "data" / "medqa" / "test_4opt.jsonl"
    if medqa.exists():
        out["medqa.txt"] = text(medqa, 60)
    return out


def greedy(program, model, prompts):
    rows = []
    for prompt in prompts:
        run = subprocess.run([program, model, prompt, str(N_NEW), "auto"], capture_output=True, text=True, check=True)
        rows.append(f"# {prompt}\n{run.stdout.strip()}\n")
    return "".join(rows)


def perplexity(program, model, path, more):
    run = subprocess.run([program, "-m", model, "-f", path, "-c", "512", "-b", "512", "-t", "2", *more],
                         capture_output=True, text=True, check=True)
    return re.search(r"Final estimate: PPL = ([0-9.]+)", run.stdout + run.stderr).group(1)


def perplexities(llama, models, shared):
    rows = ["# model\ttext\tweights of 32 bits\tas it comes\twith -fa off -ctk f32 -ctv f32; tools/training/golden/real.py"]
    exact = ["-fa", "off", "-ctk", "f32", "-ctv", "f32"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, data in texts(shared).items():
            (folder / name).write_text(data, encoding="utf-8")
        for model, file in MODELS.items():
            path, wide = models / file, folder / "wide.gguf"
            subprocess.run([llama / "build/bin/llama-quantize", "--allow-requantize", path, wide, "F32"],
                           capture_output=True, check=True)
            for name in texts(shared):
                three = [perplexity(llama / "build/bin/llama-perplexity", file, folder / name, more)
                         for file, more in ((wide, exact), (path, []), (path, exact))]
                rows.append("\t".join([model, name, *three]))
                print(rows[-1], flush=True)
    (REAL / "perplexity.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def main():
    alone = sys.argv[1:2] == ["--perplexity"]
    words = sys.argv[2:] if alone else [sys.argv[1], *sys.argv[3:]]
    llama, models = map(pathlib.Path, words[:2])
    shared = pathlib.Path(words[2]) if len(words) > 2 else ROOT.parent / "shared"
    prompts = (REAL / "prompts.txt").read_text(encoding="utf-8").splitlines()
    for model, file in MODELS.items() if not alone else ():
        (REAL / f"greedy_{model}.tsv").write_text(greedy(sys.argv[2], str(models / file), prompts), encoding="utf-8")
    perplexities(llama, models, shared)


if __name__ == "__main__":
    main()
