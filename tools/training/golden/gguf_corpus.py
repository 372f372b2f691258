#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/gguf: small GGUF files, valid and broken in one place, from which the fuzz
target starts. Needs nothing but Python. Usage: tools/training/golden/gguf_corpus.py [OUT_DIR]"""
import pathlib
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


def string(s):
    return struct.pack("<Q", len(s)) + s


def kv(key, kind, payload):
    return string(key) + struct.pack("<I", kind) + payload


def array(kind, count, payload):
    return struct.pack("<IQ", kind, count) + payload


def tensor(name, ne, kind, offset):
    return string(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset)


def build(kvs, tensors=(), data=b"", version=3, n_tensor=None, n_kv=None, align=32):
    n_tensor = len(tensors) if n_tensor is None else n_tensor
    n_kv = len(kvs) if n_kv is None else n_kv
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensor, n_kv) + b"".join(kvs) + b"".join(tensors)
    return head + (b"\0" * (-len(head) % align) + data if data else b"")


ALL = [
    kv(b"general.architecture", STRING, string(b"llama")),
    kv(b"general.alignment", U32, struct.pack("<I", 32)),
    kv(b"a", U8, b"\xff"), kv(b"b", I8, b"\xff"), kv(b"c", U16, b"\1\2"), kv(b"d", I16, b"\1\xff"),
    kv(b"e", I32, b"\1\2\3\xff"), kv(b"f", F32, struct.pack("<f", 1e-5)), kv(b"g", BOOL, b"\1"),
    kv(b"h", U64, b"\xff" * 8), kv(b"i", I64, b"\xff" * 8), kv(b"j", F64, struct.pack("<d", 0.5)),
    kv(b"k", ARRAY, array(I32, 3, struct.pack("<3i", 1, 2, 3))),
    kv(b"l", ARRAY, array(STRING, 3, string(b"x") + string(b"") + string(b"a\0b"))),
    kv(b"m", ARRAY, array(BOOL, 2, b"\0\1")), kv(b"n", ARRAY, array(F64, 0, b"")),
]
TENSORS = [tensor(b"t0", (5,), 0, 0), tensor(b"t1", (64, 2), 8, 32), tensor(b"t2", (256, 1), 12, 192),
           tensor(b"t3", (2, 3, 2, 1), 1, 352)]
DATA = bytes(range(192)) + bytes(184)

FILES = {
    "valid_v2": build(ALL, TENSORS, DATA, version=2),
    "valid_v3": build(ALL, TENSORS, DATA),
    "valid_empty": build([]),
    "valid_vocab": build(ALL[13:14]),
    "valid_align8": build([kv(b"general.alignment", U32, struct.pack("<I", 8))],
                          [tensor(b"t", (2,), 0, 8)], bytes(16), align=8),
    "bad_version": build([], version=1),
    "bad_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "bad_magic": b"GGML" + bytes(20),
    "bad_short": b"GGUF",
    "bad_counts": build([], n_tensor=2**64 - 1, n_kv=2**63),
    "bad_array_wraps": build([kv(b"x", ARRAY, array(U64, 2**61 + 1, bytes(8)))]),
    "bad_nested": build([kv(b"x", ARRAY, array(ARRAY, 1, array(U8, 1, b"\0")))]),
    "bad_bool": build([kv(b"x", BOOL, b"\2")]),
    "bad_key_twice": build([kv(b"x", U8, b"\1"), kv(b"x", U8, b"\1")]),
    "bad_alignment": build([kv(b"general.alignment", U32, struct.pack("<I", 0))]),
    "bad_dims": build([], [tensor(b"t", (2**40, 2**40, 2, 2), 0, 0)]),
    "bad_type": build([], [tensor(b"t", (32,), 4, 0)]),
    "bad_block": build([], [tensor(b"t", (33,), 8, 0)], bytes(64)),
    "bad_offset": build([], [tensor(b"t", (1,), 0, 2**64 - 32)]),
    "bad_overlap": build([], [tensor(b"t", (16,), 0, 0), tensor(b"u", (16,), 0, 32)], bytes(128)),
    "bad_truncated": build(ALL, TENSORS, DATA)[:-1],
}

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fuzz/corpus/gguf")
out.mkdir(parents=True, exist_ok=True)
for name, data in FILES.items():
    (out / f"{name}.gguf").write_bytes(data)
print(f"{len(FILES)} files, {sum(map(len, FILES.values()))} bytes")
