#!/usr/bin/env python3
"""imatrix: an importance matrix by llama-imatrix in both of its forms, for tests/unit/t_imatrix.c.

    python3 tools/training/golden/imatrix.py LLAMA_CPP

LLAMA_CPP is a checkout built into LLAMA_CPP/build (CPU, target llama-imatrix). Writes imatrix_stories260K.gguf and .dat
into tests/golden: activations of stories260K-Q4_1.gguf on the text of stories260K_greedy.txt, four times over, in windows
of 128 tokens. Needs nothing but Python.
"""

import pathlib
import subprocess
import sys
import tempfile

GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "tests" / "golden"


def main():
    program = pathlib.Path(sys.argv[1]).resolve() / "build" / "bin" / "llama-imatrix"
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "s4.txt").write_bytes((GOLDEN / "stories260K_greedy.txt").read_bytes() * 4)
        for form in ("gguf", "dat"):
            subprocess.run([program, "-m", GOLDEN / "stories260K-Q4_1.gguf", "-f", "s4.txt", "-c", "128", "-t", "1",
                            "-o", GOLDEN / f"imatrix_stories260K.{form}", "--output-format", form],
                           cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
