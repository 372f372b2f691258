"""Writes tests/golden/quant_<fmt>.bin: blocks of every number format and what they decode to.

Usage: python3 tools/training/golden/quant.py tests/golden      (needs numpy and gguf)

The reference is gguf.quants.dequantize of the Python package of the GGUF format. A file holds, little
endian: u32 number of blocks, the blocks, then the f32 values. The blocks are random bytes with chosen
f16 scales (ordinary, subnormal, largest, zero and their negatives) and, where the package can quantise,
blocks made from gaussian numbers. Scales are finite, so every value is.
"""
import pathlib
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

# name: (blocks, byte offsets of the f16 scales)
FORMATS = {
    "F32": (512, None),
    "F16": (2048, None),
    "BF16": (2048, None),
    "Q4_0": (96, [0]),
    "Q8_0": (96, [0]),
    "Q4_K": (32, [0, 2]),
    "Q5_K": (32, [0, 2]),
    "Q6_K": (32, [208]),
}
EXTREME = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x8400, 0x3C00, 0x7BFF, 0xFBFF],
                   np.uint16)


def finite_f16(rng, n):
    """Random bit patterns without infinities and NaN, the first ones extreme."""
    h = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    h = np.where((h & 0x7C00) == 0x7C00, h & 0xBFFF, h)
    k = min(n, len(EXTREME))
    h[:k] = EXTREME[:k]
    return h


def blocks_of(name, rng):
    count, scales = FORMATS[name]
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    if name == "F16":
        return finite_f16(rng, count).view(np.uint8).reshape(count, size)
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "F32":  # finite ones
        raw[:, 3] &= 0xBF
        return raw
    if name == "BF16":
        raw[:, 1] &= 0xBF
        return raw
    for shift, at in enumerate(scales):
        h = np.roll(finite_f16(rng, count), 3 * shift)  # other pairs of d and dmin
        ordinary = rng.normal(0, 1e-3, count).astype(np.float16).view(np.uint16)
        h[count // 2:] = ordinary[count // 2:]
        raw[:, at:at + 2] = h.view(np.uint8).reshape(count, 2)
    if name in ("Q4_0", "Q8_0"):
        x = rng.normal(0, 0.02, (count // 4, elems)).astype(np.float32)
        raw[-(count // 4):] = quantize(x, kind)
    return raw


def main():
    out = pathlib.Path(sys.argv[1])
    for i, name in enumerate(FORMATS):
        rng = np.random.default_rng(1000 + i)
        raw = np.ascontiguousarray(blocks_of(name, rng))
        y = dequantize(raw.reshape(-1), gguf.GGMLQuantizationType[name]).astype("<f4").reshape(-1)
        assert np.isfinite(y).all()
        path = out / f"quant_{name.lower()}.bin"
        path.write_bytes(np.uint32(len(raw)).tobytes() + raw.tobytes() + y.tobytes())
        print(path, len(raw), "blocks")


if __name__ == "__main__":
    main()
