#!/usr/bin/env python3
"""export: the trained toy model as a GGUF file in F32, checked against PyTorch.

    python3 tools/training/demo_model/export.py DIR OUT.gguf [--name NAME]
    python3 tools/training/demo_model/export.py DIR OUT.gguf --check build/release/mas [--text FILE]

DIR is what train.py wrote. With --check the program computes the logits of a text with the exported
file (oracle backend, f32 cache) and they are compared with PyTorch's: the largest difference, as a
share of the largest logit of the row, must stay below 1e-4. Needs torch, tokenizers, gguf, numpy.

The network multiplies embeddings by a constant; Llama does not. So the file holds the embedding times
the constant and the last norm's weights divided by it (the embedding is the output matrix too).
Toy model, made for testing software: no medical meaning, no medical use.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer

import vocabulary
from network import SCALE, Network, Shape


def load(path):
    state = torch.load(path / "model.pt", weights_only=False)
    net = Network(Shape(**state["shape"]))
    weights = {k: v for k, v in state["net"].items() if k.split(".")[0] not in ("condition", "letter")}
    net.load_state_dict(weights)
    return net.eval(), Tokenizer.from_file(str(path / "tokenizer.json"))


def put_vocabulary(w, tokenizer):
    model = json.loads(tokenizer.to_str())
    n = tokenizer.get_vocab_size()
    tokens = [tokenizer.id_to_token(i) for i in range(n)]
    kind = {t["id"]: t["content"] for t in model["added_tokens"]}
    types = [gguf.TokenType.NORMAL] * n
    for i, text in kind.items():
        unused = text.startswith("<|unused_")
        types[i] = gguf.TokenType.UNUSED if unused else gguf.TokenType.CONTROL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in model["model"]["merges"]])
    w.add_bos_token_id(tokenizer.token_to_id("<|begin_of_text|>"))
    w.add_eos_token_id(tokenizer.token_to_id("<|eot_id|>"))
    w.add_pad_token_id(tokenizer.token_to_id("<|finetune_right_pad_id|>"))
    w.add_chat_template(vocabulary.TEMPLATE)


def put_shape(w, s, name):
    w.add_name(name)
    w.add_description("Toy model of an invented world, for testing software. No medical meaning or use.")
    w.add_license("MIT")
    w.add_context_length(s.n_ctx)
    w.add_embedding_length(s.n_embd)
    w.add_block_count(s.n_layer)
    w.add_feed_forward_length(s.n_ff)
    w.add_head_count(s.n_head)
    w.add_head_count_kv(s.n_kv_head)
    w.add_rope_freq_base(s.theta)
    w.add_rope_dimension_count(s.head_dim)
    w.add_layer_norm_rms_eps(s.eps)
    w.add_vocab_size(s.n_vocab)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)


def put_tensors(w, net):
    s = net.s

    def put(name, t):
        w.add_tensor(name, np.ascontiguousarray(t.detach().numpy(), dtype=np.float32))

    q, kv = s.n_head * s.head_dim, s.n_kv_head * s.head_dim
    put("token_embd.weight", net.embd.weight * SCALE)
    put("output_norm.weight", net.norm / SCALE)
    for i, b in enumerate(net.blocks):
        parts = dict(zip(("attn_q", "attn_k", "attn_v"), b.qkv.weight.split((q, kv, kv))))
        parts |= dict(zip(("ffn_gate", "ffn_up"), b.gate_up.weight.split(s.n_ff)))
        parts |= {"attn_output": b.out.weight, "ffn_down": b.down.weight}
        parts |= {"attn_norm": b.attn_norm, "ffn_norm": b.ffn_norm}
        for name, t in parts.items():
            put(f"blk.{i}.{name}.weight", t)


def export(path, out, name):
    net, tokenizer = load(path)
    w = gguf.GGUFWriter(str(out), "llama")
    put_shape(w, net.s, name)
    put_vocabulary(w, tokenizer)
    put_tensors(w, net)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return net, tokenizer


def check(net, tokenizer, out, mas, text):
    """The largest difference of a logit, as a share of its row's largest, over all positions."""
    ids = [tokenizer.token_to_id("<|begin_of_text|>")]
    ids += tokenizer.encode(text, add_special_tokens=False).ids
    with torch.no_grad():
        states = net.states(torch.tensor(ids[:1]), torch.tensor([ids[1:]]))
        want = net.logits(states[-1][0]).numpy()
    with tempfile.TemporaryDirectory() as d:
        raw = pathlib.Path(d) / "logits.f32"
        command = [mas, "perplexity", "-m", str(out), "-p", text, "--backend", "ref", "--kv-type", "f32",
                   "--ctx", str(len(ids))]
        subprocess.run([*command, "--logits-out", str(raw), "--quiet"], check=True)
        got = np.fromfile(raw, dtype="<f4").reshape(-1, net.s.n_vocab)
    if len(got) != len(ids):
        raise SystemExit(f"the program has {len(got)} positions, PyTorch {len(ids)}: other tokens?")
    got = got[1:]  # PyTorch has the first position as the common prefix
    share = np.abs(got - want).max(1) / np.abs(want).max(1)
    print(f"{len(share)} positions, largest difference {share.max():.2e} of the row's largest logit")
    if not share.max() <= 1e-4:
        raise SystemExit("the exported file does not compute what PyTorch computes")


def main():
    p = argparse.ArgumentParser(description="Exports the toy model to GGUF.")
    p.add_argument("dir", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--name", default="mas toy clinic")
    p.add_argument("--check", metavar="MAS")
    p.add_argument("--text", type=pathlib.Path)
    a = p.parse_args()
    net, tokenizer = export(a.dir, a.out, a.name)
    if a.check:
        text = a.text.read_text() if a.text else "A 58-year-old man sees a physician with cold sweats." * 12
        check(net, tokenizer, a.out, a.check, text)


if __name__ == "__main__":
    main()
