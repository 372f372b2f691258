"""Writes tests/golden/quant_<fmt>.bin: blocks of every number format and what they decode to.

Usage: python3 tools/training/golden/quant.py tests/golden      (needs numpy and gguf)

The reference is gguf.quants.dequantize of the Python package of the GGUF format. A file holds, little
endian: u32 number of blocks, the blocks, then the f32 values. The blocks are random bytes with chosen
f16 scales (ordinary, subnormal, largest, zero and their negatives) and, where the package can quantise,
blocks made from gaussian numbers. Each point of a code book occurs. Every value is finite.

The formats are those of kernels/quant/formats.def. Only files that are missing are written: delete one
to make it again.
"""
import pathlib
import re
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

ROOT = pathlib.Path(__file__).resolve().parents[3]
COUNT = 96  # blocks of a format, unless told below

# Numbers of their own for some formats: seed, blocks, byte offsets of the f16 scales. The scales of the
# others are what random bytes give.
OWN = {
    "F32": (1000, 512, None),
    "F16": (1001, 2048, None),
    "BF16": (1002, 2048, None),
    "Q4_0": (1003, 96, [0]),
    "Q8_0": (1004, 96, [0]),
    "Q4_K": (1005, 32, [0, 2]),
    "Q5_K": (1006, 32, [0, 2]),
    "Q6_K": (1007, 32, [208]),
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


def formats():
    """Names, in the order of the list."""
    text = (ROOT / "kernels" / "quant" / "formats.def").read_text()
    return re.findall(r"^X\((\w+),", text, re.M)


def finite_blocks(kind, count, size, rng):
    """Random bytes; blocks that decode to an infinity or NaN are drawn again."""
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    while True:
        bad = ~np.isfinite(dequantize(raw.reshape(-1), kind)).reshape(count, -1).all(axis=1)
        if not bad.any():
            return raw
        raw[bad] = rng.integers(0, 256, (bad.sum(), size), dtype=np.uint8)


def every_point(name, raw):
    """The first blocks use each point of a large code book: random numbers would miss some."""
    if name == "IQ2_XS":  # nine bits of each of 32 u16
        q = raw[:16, 2:66].view("<u2")
        q[:] = (q & 0xFE00) | np.arange(512).reshape(16, 32)
    if name == "IQ2_S":  # eight bits in a byte, two more in another
        n = np.arange(1024).reshape(32, 32)
        raw[:32, 2:34] = n & 255
        raw[:32, 66:74] = ((n >> 8).reshape(32, 8, 4) << np.array([0, 2, 4, 6])).sum(axis=2)


def blocks_of(name, rng):
    _, count, scales = OWN.get(name, (None, COUNT, None))
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    if name == "F16":
        return finite_f16(rng, count).view(np.uint8).reshape(count, size)
    if name not in OWN:
        raw = finite_blocks(kind, count, size, rng)
        every_point(name, raw)
        return with_gaussian(raw, kind, elems, rng)
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
    return with_gaussian(raw, kind, elems, rng)


def with_gaussian(raw, kind, elems, rng):
    """The last quarter of the blocks from gaussian numbers, where the package has an encoder."""
    x = rng.normal(0, 0.02, (len(raw) // 4, elems)).astype(np.float32)
    try:
        raw[-len(x):] = quantize(x, kind)
    except NotImplementedError:
        pass
    return raw


def main():
    out = pathlib.Path(sys.argv[1])
    for name in formats():
        kind = gguf.GGMLQuantizationType[name]
        path = out / f"quant_{name.lower()}.bin"
        if path.exists():
            continue
        rng = np.random.default_rng(OWN[name][0] if name in OWN else 2000 + kind)
        raw = np.ascontiguousarray(blocks_of(name, rng))
        y = dequantize(raw.reshape(-1), kind).astype("<f4").reshape(-1)
        assert np.isfinite(y).all()
        path.write_bytes(np.uint32(len(raw)).tobytes() + raw.tobytes() + y.tobytes())
        print(path, len(raw), "blocks")


if __name__ == "__main__":
    main()
