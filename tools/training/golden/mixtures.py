#!/usr/bin/env python3
"""mixtures: the format that llama.cpp's llama-quantize gives each tensor, for every type that this project knows.

    python3 tools/training/golden/mixtures.py LLAMA_CPP

LLAMA_CPP is a checkout built into LLAMA_CPP/build (target llama-quantize). The script writes
tests/golden/mixtures.tsv. It makes files of zeros with the layers and heads of real models and small rows, and asks
llama-quantize --dry-run. Lines, separated by tabs:

    model  NAME  layers  heads  kv heads  n_embd  n_ff  tied
    NAME   TYPE  imatrix (0 or 1)  KIND=FORMAT*N,FORMAT*N..  for each kind of tensor, by layers

Types are those of loader/mixtures.def and formats.def. Lines with an importance matrix stand only where they differ
from those without one.

Needs: numpy, gguf (pip).
"""

import itertools
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODELS = [  # name, layers, heads, kv heads, n_embd, n_ff, tied
    ("shared80", 80, 8, 1, 256, 256, False),
    ("shared32", 32, 8, 2, 256, 256, False),
    ("plain17", 17, 4, 4, 256, 512, True),
    ("narrow9", 9, 9, 3, 288, 768, False),
    ("odd5", 5, 4, 4, 288, 172, True),
    ("fused17", 17, 8, 2, 256, 256, False),  # fused..: Phi-3's tensors
    ("fused9", 9, 4, 4, 256, 512, False),
]


def types():
    """Names of plain formats with blocks and of mixtures."""
    formats = (ROOT / "kernels" / "quant" / "formats.def").read_text()
    mixtures = (ROOT / "loader" / "mixtures.def").read_text()
    plain = re.findall(r"^X\((\w+),[^)]*, *(?:32|256), *\d+, *FILE", formats, re.M)
    return plain + re.findall(r"^M\((\w+),", mixtures, re.M)


def write_model(path, layers, heads, kv_heads, n_embd, n_ff, tied):
    fused = path.name.startswith("fused")
    w = gguf.GGUFWriter(path, "phi3" if fused else "llama")
    w.add_block_count(layers)
    w.add_context_length(128)
    w.add_embedding_length(n_embd)
    w.add_feed_forward_length(n_ff)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_layer_norm_rms_eps(1e-5)
    kv = n_embd // heads * kv_heads
    shapes = {"attn_q": (n_embd, n_embd), "attn_k": (kv, n_embd), "attn_v": (kv, n_embd),
              "attn_output": (n_embd, n_embd), "ffn_gate": (n_ff, n_embd), "ffn_up": (n_ff, n_embd),
              "ffn_down": (n_embd, n_ff)}
    if fused:
        shapes = {"attn_qkv": (n_embd + 2 * kv, n_embd), "attn_output": (n_embd, n_embd),
                  "ffn_up": (2 * n_ff, n_embd), "ffn_down": (n_embd, n_ff)}
    w.add_tensor("token_embd.weight", np.zeros((8, n_embd), np.float16))
    w.add_tensor("output_norm.weight", np.zeros(n_embd, np.float32))
    if not tied:
        w.add_tensor("output.weight", np.zeros((8, n_embd), np.float16))
    for i in range(layers):
        for norm in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{norm}.weight", np.zeros(n_embd, np.float32))
        for name, shape in shapes.items():
            w.add_tensor(f"blk.{i}.{name}.weight", np.zeros(shape, np.float16))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def formats_of(quantize, model, kind, imatrix):
    """{kind of tensor: [format of each layer]} by llama-quantize; None where it refuses the shape."""
    command = [quantize, "--dry-run"] + (["--imatrix", imatrix] if imatrix else []) + [model, kind, "1"]
    out = subprocess.run(command, capture_output=True, text=True)
    if "no tensor type fallback is defined" in out.stderr + out.stdout:
        return None
    assert out.returncode == 0, out.stderr
    found = {}
    for line in (out.stdout + out.stderr).splitlines():
        m = re.match(r"\[ *\d+/ *\d+\] (\S+)\.weight .*, type = *(\w+), size = .*MiB(?: \((\w+)\))?$", line)
        if m and not m[1].endswith("_norm"):
            parts = re.match(r"blk\.(\d+)\.(\w+)$", m[1])
            found.setdefault(parts[2] if parts else m[1], {})[int(parts[1]) if parts else 0] = (m[3] or m[2]).upper()
    return {name: [by[i] for i in range(len(by))] for name, by in found.items()}


def line(name, kind, imatrix, found):
    runs = [f"{k}=" + ",".join(f"{f}*{len(list(g))}" for f, g in itertools.groupby(v)) for k, v in found.items()]
    return "\t".join([name, kind, str(int(imatrix)), *runs])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    quantize = pathlib.Path(sys.argv[1]).resolve() / "build" / "bin" / "llama-quantize"
    out = []
    with tempfile.TemporaryDirectory() as folder:
        matrix = pathlib.Path(folder) / "imatrix.dat"
        name = b"blk.0.attn_q.weight"
        matrix.write_bytes(struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii4f", 1, 4, 1, 1, 1, 1))
        for shape in MODELS:
            path = pathlib.Path(folder) / f"{shape[0]}.gguf"
            write_model(path, *shape[1:])
            out.append("\t".join(["model", *(str(int(x) if isinstance(x, bool) else x) for x in shape)]))
            for kind in types():
                blind, seeing = (formats_of(quantize, path, kind, m) for m in (None, matrix))
                if blind:
                    out.append(line(shape[0], kind, False, blind))
                if seeing and seeing != blind:
                    out.append(line(shape[0], kind, True, seeing))
            path.unlink()
    (ROOT / "tests" / "golden" / "mixtures.tsv").write_text("\n".join(out) + "\n")
    print(len(out), "lines")


if __name__ == "__main__":
    main()
