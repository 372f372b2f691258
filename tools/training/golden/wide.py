#!/usr/bin/env python3
"""wide: stories260K with rows of 256, and every format of blocks that has no fast kernel in one file.

    python3 tools/training/golden/wide.py LLAMA_CPP [MODELS]

LLAMA_CPP and MODELS as for stories.py; targets llama-quantize and llama-imatrix, too. Writes

    tests/golden/wide-formats.gguf         the model: n_embd is 256 = four copies of the 64 numbers, and a matrix that
                                           reads them has a quarter of each weight four times. n_ff is 172 numbers and
                                           84 zeros. llama-quantize makes the formats of FORMATS, with an importance
                                           matrix of the stories in tests/golden.
    tests/golden/wide-formats_greedy.txt   and .tsv: as for the other stories (stories.py)
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from forward_numpy import Model, top2
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from stories import FORMAT_PROMPT, GOLDEN, ROOT, build, decode, greedy, report

COPIES, N_FF = 4, 256
FORMATS = {  # of each layer
    "attn_q": "q3_k iq2_s iq2_xs iq2_xxs iq3_xxs",
    "attn_k": "q2_k iq3_s iq2_s q3_k iq2_xs",
    "attn_v": "iq4_xs q3_k iq3_s q2_k iq3_xxs",
    "attn_output": "iq4_nl q5_0 q5_1 q4_1 iq4_nl",  # rows of 64
    "ffn_gate": "iq4_xs iq3_xxs q3_k iq3_s iq2_s",
    "ffn_up": "iq3_s iq4_xs iq3_xxs q3_k iq2_xs",
    "ffn_down": "iq4_xs q3_k iq3_s iq4_xs q2_k",
}


def widen(source, path):
    r, w = GGUFReader(source), GGUFWriter(path, "llama")
    new = {"llama.embedding_length": 64 * COPIES, "llama.feed_forward_length": N_FF}
    for key, field in r.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        sub = field.types[1] if field.types[0] == GGUFValueType.ARRAY else None
        w.add_key_value(key, new.get(key, field.contents()), field.types[0], sub)
    w.add_key_length(8)
    w.add_value_length(8)
    for t in r.tensors:
        x, part = np.array(t.data, np.float32), t.name.split(".")[-2]
        if part in ("output", "attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"):
            x = np.tile(x, (1, COPIES)) / np.float32(COPIES)
        if part in ("ffn_gate", "ffn_up"):
            x = np.pad(x, ((0, N_FF - len(x)), (0, 0)))
        if part == "ffn_down":
            x = np.pad(x, ((0, 0), (0, N_FF - x.shape[1])))
        if part in ("attn_output", "ffn_down"):
            x = np.tile(x, (COPIES, 1))
        if part == "token_embd":
            x = np.tile(x, (1, COPIES))
        if x.ndim == 1:
            x = np.tile(x, COPIES)
        w.add_tensor(t.name, np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    llama = pathlib.Path(sys.argv[1]).resolve()
    models = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / ".." / "shared" / "data" / "models")
    path = GOLDEN / "wide-formats.gguf"
    with tempfile.TemporaryDirectory() as name:
        folder, binary = pathlib.Path(name), llama / "build" / "bin"
        widen(models / "stories260K.gguf", folder / "wide.gguf")
        text = b"".join(p.read_bytes() for p in sorted(GOLDEN.glob("stories260K*_greedy.txt")))
        (folder / "text").write_bytes(text)
        subprocess.run([binary / "llama-imatrix", "-m", folder / "wide.gguf", "-f", folder / "text", "-o",
                        folder / "matrix.gguf", "-c", "128", "-b", "128", "-t", "1"], check=True, capture_output=True)
        lines = [f"blk.{i}.{part}={f}" for part, row in FORMATS.items() for i, f in enumerate(row.split())]
        (folder / "types").write_text("\n".join(lines))
        subprocess.run([binary / "llama-quantize", "--imatrix", folder / "matrix.gguf", "--tensor-type-file",
                        folder / "types", "--output-tensor-type", "iq4_nl", "--token-embedding-type", "q5_1",
                        folder / "wide.gguf", path, "Q3_K_S", "1"], check=True, capture_output=True)
        program = build(llama, folder)
        prompt, ids, margins = greedy(program, str(path), FORMAT_PROMPT)
    logits = Model(str(path)).logits(prompt + ids, "f16")[len(prompt) - 1:-1]
    exact = [top2(row) for row in logits]
    (GOLDEN / "wide-formats_greedy.txt").write_bytes(decode(str(path), prompt + ids))
    with open(GOLDEN / "wide-formats_greedy.tsv", "w", encoding="ascii") as f:
        print(*prompt, file=f)
        for i, margin, (best, x, _, y) in zip(ids, margins, exact):
            print(i, f"{margin:.4f}", best, f"{x - y:.4f}", sep="\t", file=f)
    report("wide-formats", ids, margins, logits, exact)


if __name__ == "__main__":
    main()
