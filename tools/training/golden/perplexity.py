#!/usr/bin/env python3
"""perplexity: what llama-perplexity says of committed models, as they are and changed in one way each.

    python3 tools/training/golden/perplexity.py LLAMA_CPP [SHARED]

LLAMA_CPP is a checkout built into LLAMA_CPP/build (CPU, target llama-perplexity); SHARED the folder of the optional data
(default ../shared). Reads tests/golden/perplexity.tsv and writes it again with new figures in its last column. Each row:
model (logits_* from tests/golden, else from SHARED/data/models), text (perplexity.txt from tests/golden, else from
SHARED/cases/text), window in tokens, changes, figure of

    llama-perplexity -m CHANGED -f TEXT -c WINDOW -b WINDOW -t 1 -fa off -ctk f32 -ctv f32

Changes are separated by commas, '-' = none:

    u32:KEY=N  f32:KEY=X  bool:KEY=0|1  str:KEY=TEXT    sets a key
    u32s:KEY=N N ..                                     sets an array
    drop:KEY                                            removes a key
    bias:NAME=N                                         adds a bias of N elements: NAME is "output" or of each layer;
                                                        element i of layer l is ((7 i + 3 l) mod 11 - 5) / 16

KEY is below the architecture's name unless it begins with "tokenizer." or "general.". A file that llama.cpp cannot read
stops the script. Needs nothing but Python.
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
KINDS = {"u32": (4, "I", int), "f32": (6, "f", float), "bool": (7, "?", lambda s: s == "1")}
STRING, ARRAY, F32 = 8, 9, 0


def string(s):
    return struct.pack("<Q", len(s)) + s


class File:
    """Keys as (type, bytes of the value), tensors as (ne, type, bytes of the data)."""

    def __init__(self, path):
        self.b = path.read_bytes()
        self.at = 8
        self.keys, rows = {}, []
        n_tensor, n_key = self.take("QQ")
        for _ in range(n_key):
            key = self.string()
            (kind,) = self.take("I")
            begin = self.at
            self.skip(kind)
            self.keys[key] = (kind, self.b[begin : self.at])
        for _ in range(n_tensor):
            name = self.string()
            (n_dim,) = self.take("I")
            rows.append((name, self.take(f"{n_dim}Q"), *self.take("IQ")))
        base = (self.at + 31) // 32 * 32
        ends = sorted(r[3] for r in rows) + [len(self.b) - base]
        self.tensors = {}
        for name, ne, kind, at in rows:
            end = min(e for e in ends if e > at)
            self.tensors[name] = (ne, kind, self.b[base + at : base + end])
        self.arch = self.keys[b"general.architecture"][1][8:]

    def take(self, form):
        v = struct.unpack_from("<" + form, self.b, self.at)
        self.at += struct.calcsize("<" + form)
        return v

    def string(self):
        (n,) = self.take("Q")
        self.at += n
        return self.b[self.at - n : self.at]

    def skip(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            item, n = self.take("IQ")
            for _ in range(n):
                self.skip(item)
        else:
            self.at += SIZES[kind]

    def change(self, text):
        what, rest = text.split(":", 1)
        name, _, value = rest.partition("=")
        if what == "bias":
            (layers,) = struct.unpack("<I", self.keys[self.arch + b".block_count"][1])
            for l in range(1 if name == "output" else layers):
                data = struct.pack(f"<{int(value)}f", *(((7 * i + 3 * l) % 11 - 5) / 16 for i in range(int(value))))
                full = f"{name}.bias" if name == "output" else f"blk.{l}.{name}.bias"
                self.tensors[full.encode()] = ((int(value),), F32, data)
            return
        key = name.encode() if re.match(r"(tokenizer|general)\.", name) else self.arch + b"." + name.encode()
        if what == "drop":
            del self.keys[key]
        elif what == "str":
            self.keys[key] = (STRING, string(value.encode()))
        elif what == "u32s":
            items = [int(v) for v in value.split()]
            self.keys[key] = (ARRAY, struct.pack(f"<IQ{len(items)}I", 4, len(items), *items))
        else:
            kind, form, read = KINDS[what]
            self.keys[key] = (kind, struct.pack("<" + form, read(value)))

    def write(self, path):
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        for key, (kind, value) in self.keys.items():
            head += string(key) + struct.pack("<I", kind) + value
        at, data = 0, b""
        for name, (ne, kind, raw) in self.tensors.items():
            head += string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, len(data))
            data += raw + b"\0" * (-len(raw) % 32)
        path.write_bytes(head + b"\0" * (-len(head) % 32) + data)


def figure(program, model, text, window):
    command = [program, "-m", model, "-f", text, "-c", window, "-b", window, "-t", "1", "-fa", "off", "-ctk", "f32",
               "-ctv", "f32"]
    for _ in range(5):  # its log is sometimes cut off before the last line
        out = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r"Final estimate: PPL = ([0-9.]+)", out.stdout + out.stderr)
        if found:
            return found[1]
    sys.exit(f"{model}: llama-perplexity says\n{out.stdout}{out.stderr}")


def main():
    program = pathlib.Path(sys.argv[1]) / "build" / "bin" / "llama-perplexity"
    shared = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / ".." / "shared"
    rows = []
    with tempfile.TemporaryDirectory() as d:
        for line in (GOLDEN / "perplexity.tsv").read_text().splitlines():
            if line.startswith("#"):
                rows.append(line)
                continue
            name, text, window, changes = line.split("\t")[:4]
            f = File((GOLDEN if name.startswith("logits_") else shared / "data" / "models") / f"{name}.gguf")
            words = (GOLDEN if text == "perplexity.txt" else shared / "cases" / "text") / text
            for c in changes.split(",") if changes != "-" else []:
                f.change(c)
            changed = pathlib.Path(d) / "model.gguf"
            f.write(changed)
            rows.append("\t".join((name, text, window, changes, figure(program, changed, words, window))))
    (GOLDEN / "perplexity.tsv").write_text("\n".join(rows) + "\n")


main()
