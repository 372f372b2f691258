#!/usr/bin/env python3
"""Writes tests/golden/probe.tsv: the figures of `mas probe` for texts, from log-probabilities by transformers.

    python3 tools/training/golden/probe.py build/release/mas >tests/golden/probe.tsv

The model is tests/golden/logits_qwen2.gguf as Qwen2ForCausalLM in float64. The token ids are those of `mas tokenize`. A
line: tokens with a log-probability, their mean, min-k (k = 20 %), places of 5-grams, exact ones, then the text as JSON.
Some texts end with the model's own greedy continuation, so that places are exact. Needs torch, transformers, gguf, numpy.
"""
import json
import pathlib
import subprocess
import sys

import numpy as np
import torch
from gguf import GGUFReader
from transformers import Qwen2Config, Qwen2ForCausalLM

FILE = pathlib.Path(__file__).resolve().parents[3] / "tests" / "golden" / "logits_qwen2.gguf"
PARTS = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm"}


def load():
    reader = GGUFReader(FILE)
    kv = {k: f.contents() for k, f in reader.fields.items()}
    state = {}
    for t in reader.tensors:
        value = torch.tensor(np.array(t.data, dtype=np.float64).reshape([int(d) for d in reversed(t.shape)]))
        part = t.name.split(".")
        name = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}.get(t.name)
        state[name or f"model.layers.{part[1]}.{PARTS[part[2]]}.{part[3]}"] = value
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    c = {k.split(".", 1)[1]: v for k, v in kv.items() if k.startswith("qwen2.")}
    config = Qwen2Config(vocab_size=len(kv["tokenizer.ggml.tokens"]), hidden_size=c["embedding_length"], intermediate_size=c["feed_forward_length"],
                         num_hidden_layers=c["block_count"], num_attention_heads=c["attention.head_count"],
                         num_key_value_heads=c["attention.head_count_kv"], rms_norm_eps=c["attention.layer_norm_rms_epsilon"],
                         rope_theta=c["rope.freq_base"], rope_parameters={"rope_type": "default", "rope_theta": c["rope.freq_base"]},
                         tie_word_embeddings=True, max_position_embeddings=c["context_length"], attn_implementation="eager")
    model = Qwen2ForCausalLM(config).double().eval()
    missing = model.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys and not [k for k in missing.missing_keys if "inv_freq" not in k], missing
    return model, kv["tokenizer.ggml.tokens"]


def ids_of(mas, text):
    out = subprocess.run([mas, "tokenize", "-m", str(FILE), "--bos", "-f", "-"], input=text.encode(), stdout=subprocess.PIPE, check=True)
    return [int(i) for i in out.stdout.split()]


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def figures(model, ids):
    rows = torch.log_softmax(logits(model, ids), dim=-1)
    lp = [rows[i - 1, ids[i]].item() for i in range(1, len(ids))]
    top = [rows[i - 1].argmax().item() == ids[i] for i in range(1, len(ids))]
    n = len(lp)
    least = sorted(lp)[:max(1, int(0.2 * n))]
    room = n - 5
    places = sorted({room * k // 4 for k in range(5)}) if room >= 4 else list(range(room + 1)) if room >= 0 else []
    exact = sum(all(top[at:at + 5]) for at in places)
    return [str(n), f"{sum(lp) / n:.12g}", f"{sum(least) / len(least):.12g}", str(len(places)), str(exact)]


def continued(model, tokens, mas, text, n):
    """Greedy continuation by letters and signs of ASCII, as long as the text gives the same tokens again."""
    plain = {i: t.replace("\u0120", " ") for i, t in enumerate(tokens) if all(c == "\u0120" or 33 <= ord(c) < 127 for c in t) and "|" not in t}
    for _ in range(n):
        best = logits(model, ids_of(mas, text))[-1].argsort(descending=True)
        for i in best.tolist():
            if i in plain and ids_of(mas, text + plain[i])[:-1] == ids_of(mas, text):
                text += plain[i]
                break
    return text


def main():
    mas = sys.argv[1]
    model, tokens = load()
    texts = ["the thin hat", "In the other hat there is a thin thing. What is in the hat?", "a", "tin",
             continued(model, tokens, mas, "the hat", 40), "In the end, " + continued(model, tokens, mas, "in the", 25),
             "A patient of 45 years has pain in the chest. It began two hours ago! Which test is the best next step?"]
    for text in texts:
        print("\t".join(figures(model, ids_of(mas, text)) + [json.dumps(text)]))


main()
