#!/usr/bin/env python3
"""stories: 200 greedy tokens of the stories260K models by llama.cpp, beside the exact forward pass.

    python3 tools/training/golden/stories.py LLAMA_CPP [MODELS [FORMAT..]]

LLAMA_CPP is a checkout built into LLAMA_CPP/build (shared libraries, CPU, target llama-completion);
MODELS the folder of the .gguf files (default ../shared/data/models). For each model the script writes

    tests/golden/<model>_greedy.txt   prompt and reply, no newline at the end, from
        llama-completion -m MODEL -t 1 -c 256 -ctk f16 -ctv f16 -fa auto --temp 0 -n 200 -no-cnv
                         --no-warmup -p 'Once upon a time'
      less the space before the first word (SentencePiece) and the two newlines the program adds;
    tests/golden/<model>_greedy.tsv   first line: ids of the prompt, BOS first, separated by spaces; then
      per token of the reply, separated by tabs: its id; llama.cpp's margin (largest logit minus second);
      the best id according to forward_numpy.py (exact weights, float64, cache of halves) after the same
      tokens; and the margin there.

-c 256: the models were trained with 128, where llama.cpp would end the reply. llama.cpp rounds
activations to 8 bits when weights are quantised and q to binary16 under flash attention (-fa auto = on);
the exact columns say what the weights mean. The text of llama-completion, the ids of llama_greedy.c and
the vocabulary in the file must tell the same, or the script stops.

With formats, such as Q4_1, it does so for stories260K with its matrices in that format, from the words "Once
upon a time there was a boy". It writes the model to tests/golden/stories260K-<format>.gguf first. The gguf
package quantises; rows that are no multiple of the block become F16. Tests run every such model.

Needs: cc, numpy, gguf (pip).
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from forward_numpy import Model, top2
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
MODELS = ["stories260K", "stories260K-pad1024-Q6_K", "stories260K-pad1024-Q4_K_M"]
PROMPT = "Once upon a time"
FORMAT_PROMPT = "Once upon a time there was a boy"  # of models in a format; starts without near-ties
N_NEW = 200


def build(llama, folder):
    """Compiles llama_greedy.c against the checkout; returns the program's path."""
    program = folder / "llama_greedy"
    lib = llama / "build" / "bin"
    subprocess.run(["cc", "-O2", "-o", program, ROOT / "tools" / "training" / "golden" / "llama_greedy.c",
                    f"-I{llama}/include", f"-I{llama}/ggml/include", f"-L{lib}", "-lllama", "-lggml",
                    "-lggml-base", f"-Wl,-rpath,{lib}"], check=True)
    return program


def completion(llama, model, text):
    """The output of llama-completion, without the leading space and the trailing newlines it adds. It ends
    at times before all is written; then it runs again."""
    for _ in range(50):
        out = subprocess.run([llama / "build" / "bin" / "llama-completion", "-m", model, "-t", "1", "-c", "256",
                              "-ctk", "f16", "-ctv", "f16", "-fa", "auto", "--temp", "0", "-n", str(N_NEW),
                              "-no-cnv", "--no-warmup", "-p", text],
                             check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout
        assert out.startswith(b" " + text.encode()), out
        if out.endswith(b"\n\n"):
            return out[1:-2]
    raise RuntimeError("llama-completion never wrote its whole reply")


def greedy(program, model, text, flash="auto"):
    """(ids of the prompt, ids of the reply, margins)."""
    out = subprocess.run([program, model, text, str(N_NEW), flash], check=True, capture_output=True,
                         text=True).stdout.splitlines()
    rows = [line.split("\t") for line in out[1:]]
    return [int(i) for i in out[0].split()], [int(r[0]) for r in rows], [float(r[1]) for r in rows]


def decode(model, ids):
    """Bytes of SentencePiece tokens: U+2581 is a space, <0xNN> a byte, control tokens nothing."""
    fields = GGUFReader(model).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    text = b""
    for i in ids:
        if types[i] == 6:
            text += bytes([int(tokens[i][3:5], 16)])
        elif types[i] == 1:
            text += tokens[i].replace("\u2581", " ").encode()
    return text.removeprefix(b" ")


def quantised(model, kind, path):
    """The F32 model with its matrices in another format."""
    source = GGUFReader(model)
    w = GGUFWriter(path, "llama")
    for key, field in source.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        sub = field.types[1] if field.types[0] == GGUFValueType.ARRAY else None
        w.add_key_value(key, field.contents(), field.types[0], sub)
    for t in source.tensors:
        x = np.array(t.data)
        if x.ndim == 2:
            to = kind if x.shape[1] % GGML_QUANT_SIZES[kind][0] == 0 else GGMLQuantizationType.F16
            w.add_tensor(t.name, quantize(x, to), raw_dtype=to)
        else:
            w.add_tensor(t.name, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    llama = pathlib.Path(sys.argv[1]).resolve()
    models = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / ".." / "shared" / "data" / "models")
    start = PROMPT
    paths = {name: models / f"{name}.gguf" for name in MODELS}
    if len(sys.argv) > 3:
        start = FORMAT_PROMPT
        paths = {f"stories260K-{name}": GOLDEN / f"stories260K-{name}.gguf" for name in sys.argv[3:]}
        for name in sys.argv[3:]:
            quantised(models / "stories260K.gguf", GGMLQuantizationType[name], GOLDEN / f"stories260K-{name}.gguf")
    with tempfile.TemporaryDirectory() as folder:
        program = build(llama, pathlib.Path(folder))
        for name, path in paths.items():
            path = str(path)
            text = completion(llama, path, start)
            prompt, ids, margins = greedy(program, path, start)
            assert decode(path, prompt + ids) == text, f"{name}: llama-completion and llama_greedy differ"
            logits = Model(path).logits(prompt + ids, "f16")[len(prompt) - 1:-1]
            exact = [top2(row) for row in logits]
            (GOLDEN / f"{name}_greedy.txt").write_bytes(text)
            with open(GOLDEN / f"{name}_greedy.tsv", "w", encoding="ascii") as f:
                print(*prompt, file=f)
                for i, margin, (best, x, _, y) in zip(ids, margins, exact):
                    print(i, f"{margin:.4f}", best, f"{x - y:.4f}", sep="\t", file=f)
            report(name, ids, margins, logits, exact)


def report(name, ids, margins, logits, exact):
    noise = [abs(row[i] - np.delete(row, i).max() - m) for row, i, m in zip(logits, ids, margins)]
    behind = [e[1] - row[i] for row, i, e in zip(logits, ids, exact)]
    least = np.minimum(margins, [x - y for _, x, _, y in exact])
    ties = np.flatnonzero(least < 0.1)
    print(f"{name}: margins differ from the exact ones by {np.mean(noise):.4f} on average, {max(noise):.4f} at"
          f" most; {sum(b > 0 for b in behind)} of {len(ids)} tokens are not the exact best, by"
          f" {max(behind):.4f} at most; first margin < 0.1 at token {ties[0]}, least before it"
          f" {least[:ties[0]].min():.4f}; least of all {least.min():.4f}")


if __name__ == "__main__":
    main()
