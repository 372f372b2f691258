#!/usr/bin/env python3
"""logits: random tiny checkpoints as GGUF files, and their logits as `transformers` computes them.

    python3 tools/training/golden/logits.py            writes tests/golden/logits_*.{gguf,bin}, then checks them
    python3 tools/training/golden/logits.py --check    only checks the files that are there
    either with NAME ..                                only these rows of MODELS

Each row of MODELS becomes a *ForCausalLM of transformers (float32, CPU, eager attention) with seeded
weights large enough that attention, RoPE and norms matter. The GGUF file holds the same numbers in F32
under GGUF names; for architecture llama the rows of q and k are reordered from half pairs (i, i + d/2)
to adjacent pairs (2i, 2i + 1), as llama.cpp's converter does, and Llama 3.1's frequency scaling
becomes the tensor rope_freqs.weight. The vocabulary is byte-level BPE in Llama 3's form: 256 bytes, a
few merges, 8 control tokens. Gemma's norms are stored as 1 + w, as llama.cpp's converter does.

The check: forward_numpy.py, which knows only the GGUF file, gives the same logits to 1e-5 of the
largest one of each row; no row is so near a tie that the best token could be argued about; and common
mistakes (other pairs in RoPE, no frequency factors, no biases, ..) differ by more than 5e-4.

Layout of logits_<name>.bin, everything little-endian, 4-byte fields without padding:
    char magic[8]      "MASLOGIT"
    u32  version       1
    u32  n_vocab
    u32  n_prompt
    then n_prompt times
        u32 n_id       length of the prompt
        u32 n_pos      positions that have logits
        i32 id[n_id]
        i32 pos[n_pos] rising; the logits after id[0..pos]
        f32 exact[n_pos][n_vocab]  transformers as it is: keys and values in float32
        f32 half[n_pos][n_vocab]   the same, k (after RoPE, before its gain) and v rounded to binary16 in the cache

Needs: torch, transformers 5, numpy, gguf (pip).
"""

import argparse
import copy
import math
import pathlib
import struct

import gguf
import numpy as np
import torch
import transformers
from forward_numpy import Model

GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "tests" / "golden"

MERGES = """Ġ t|h e|i n|Ġt he|Ġ a|e r|o n|r e|Ġ s|a t|Ġ w|Ġ o|e n|Ġ c|i t|i s|a n|o r|e s|Ġ b|e d|Ġ f|Ġa n|
in g""".replace("\n", "").split("|")

CONTROL = ["begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1",
           "start_header_id", "end_header_id", "eom_id", "eot_id"]

LLAMA31 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}

LINEAR = {"rope_type": "linear", "factor": 8.0}

# name: class and arch of the file, sizes, what it is there for. n_vocab = 264 + merges used; widths that
# are no multiple of 16 or 64 exercise the tails of the kernels.
MODELS = {
    # grouped queries 8 / 2, own output matrix, Llama 3's theta
    "llama_gqa": dict(hf="Llama", arch="llama", n_embd=64, n_ff=56, n_head=8, n_kv=2, n_vocab=288,
                      theta=500000.0, eps=1e-5),
    # every head its own keys, output tied to the embedding
    "llama_mha_tied": dict(hf="Llama", arch="llama", n_embd=40, n_ff=40, n_head=4, n_kv=4, n_vocab=267,
                           theta=500000.0, eps=1e-5, tied=True),
    # Llama 3.1 / 3.2: scaled frequencies (wavelengths below, between and above the two limits), tied
    "llama_rope31": dict(hf="Llama", arch="llama", n_embd=48, n_ff=56, n_head=3, n_kv=1, n_vocab=267,
                         theta=500000.0, eps=1e-5, tied=True, rope=LLAMA31, keys=True),
    # Llama 2: theta 10,000 (the key is left out of the file: it is the default), eps 1e-6
    "llama_2": dict(hf="Llama", arch="llama", n_embd=32, n_ff=72, n_head=4, n_kv=4, n_vocab=267,
                    theta=10000.0, eps=1e-6, no_theta_key=True),
    # heads wider than n_embd / n_head: attention.key_length, attention.value_length
    "llama_head_dim": dict(hf="Llama", arch="llama", n_embd=32, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                           head_dim=20, theta=500000.0, eps=1e-5, keys=True),
    # Mistral is architecture llama in GGUF files; here another implementation of it in transformers
    "mistral": dict(hf="Mistral", arch="llama", n_embd=24, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                    theta=1000000.0, eps=1e-5, keys=True),
    # half pairs and biases of q, k, v
    "qwen2": dict(hf="Qwen2", arch="qwen2", n_embd=32, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                  theta=1000000.0, eps=1e-6, tied=True),
    # half pairs, norms of q and k per head, wide heads
    "qwen3": dict(hf="Qwen3", arch="qwen3", n_embd=32, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                  head_dim=16, theta=1000000.0, eps=1e-6, tied=True, keys=True),
    # Gemma 3: six layers with a window and local RoPE, one without; linear scaling of the latter alone.
    # The file has no pattern and no local base: period 6 and base 10,000 are the defaults.
    "gemma3": dict(hf="Gemma3Text", arch="gemma3", n_embd=24, n_ff=24, n_head=2, n_kv=1, n_vocab=267,
                   head_dim=16, theta=1000000.0, eps=1e-4, tied=True, keys=True, layers=7, window=20,
                   rope=LINEAR, local_theta=10000.0, pattern=6),
    # the same with a bool for each layer, another local base, an own output matrix
    "gemma3_pattern": dict(hf="Gemma3Text", arch="gemma3", n_embd=32, n_ff=24, n_head=4, n_kv=2, n_vocab=267,
                           head_dim=16, theta=1000000.0, eps=1e-4, keys=True, layers=3, window=33,
                           local_theta=20000.0, pattern=[True, False, True], pattern_keys=True),
    # Phi-3 and Phi-4: q, k, v in one tensor, gate and up in another; a window in all layers
    "phi3": dict(hf="Phi3", arch="phi3", n_embd=32, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                 theta=10000.0, eps=1e-5, window=20),
    # longrope: its long factors (the tests' context of 256 exceeds 40), its short ones (256 <= 300)
    "phi3_long": dict(hf="Phi3", arch="phi3", n_embd=24, n_ff=24, n_head=2, n_kv=1, n_vocab=267,
                      theta=10000.0, eps=1e-5, longrope=40),
    "phi3_short": dict(hf="Phi3", arch="phi3", n_embd=24, n_ff=24, n_head=2, n_kv=1, n_vocab=267,
                       theta=10000.0, eps=1e-5, longrope=300),
    # Mistral with heads wider than n_embd / n_head, and with the window of its first version
    "mistral_window": dict(hf="Mistral", arch="llama", n_embd=24, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                           head_dim=10, theta=1000000.0, eps=1e-5, keys=True, window=20),
    # a bias of every projection
    "llama_bias": dict(hf="Llama", arch="llama", n_embd=24, n_ff=40, n_head=4, n_kv=2, n_vocab=267,
                       theta=10000.0, eps=1e-5, config=dict(attention_bias=True, mlp_bias=True)),
    # scaled RoPE: linear, YaRN
    "llama_linear": dict(hf="Llama", arch="llama", n_embd=24, n_ff=24, n_head=2, n_kv=1, n_vocab=267,
                         theta=10000.0, eps=1e-5, rope=dict(rope_type="linear", factor=4.0)),
    "qwen2_yarn": dict(hf="Qwen2", arch="qwen2", n_embd=32, n_ff=24, n_head=2, n_kv=1, n_vocab=267,
                       theta=10000.0, eps=1e-6,
                       rope=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)),
}
N_LAYER = 2
N_CTX = 512
# (tokens, positions whose logits are kept): the first, a page's last and first one, the last four
PROMPTS = [(48, [0, 31, 44, 45, 46, 47]), (150, [64, 146, 147, 148, 149])]
LEAST_MARGIN = 2e-3  # between the two largest logits, as a part of the largest magnitude


def vocabulary(n_vocab):
    """(tokens, types, merges) of byte-level BPE: the 256 bytes in GPT-2's order and spelling."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that are spelt as themselves
    other = [b for b in range(256) if b not in plain]
    tokens = [chr(b) for b in plain] + [chr(256 + i) for i in range(len(other))]
    merges = MERGES[:n_vocab - len(tokens) - len(CONTROL)]
    for merge in merges:
        left, right = merge.split(" ")
        assert left in tokens and right in tokens and left + right not in tokens, merge
        tokens.append(left + right)
    types = [gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * len(CONTROL)
    tokens += [f"<|{name}|>" for name in CONTROL]
    assert len(tokens) == n_vocab
    return tokens, types, merges


def is_local(m):
    """For each layer: has it the window and the RoPE of Gemma's local layers?"""
    n = m.get("layers", N_LAYER)
    if not isinstance(m["pattern"], int):
        return m["pattern"]
    return [(i + 1) % m["pattern"] != 0 for i in range(n)]


def longrope(m):
    """RoPE parameters of longrope with made-up factors, below and above 1."""
    half = m["n_embd"] // m["n_head"] // 2
    return {"rope_type": "longrope", "original_max_position_embeddings": m["longrope"],
            "long_factor": [1 + 0.9 * i for i in range(half)],
            "short_factor": [1.3 - 0.1 * i for i in range(half)]}


def rope_parameters(m):
    plain = {"rope_type": "default", **m.get("rope", {}), "rope_theta": m["theta"]}
    if "longrope" in m:
        return {**longrope(m), "rope_theta": m["theta"]}
    if "local_theta" in m:
        return {"full_attention": plain,
                "sliding_attention": {"rope_type": "default", "rope_theta": m["local_theta"]}}
    return plain


def build(m, seed):
    """The checkpoint of one row with its weights drawn: the embedding N(0, 900 eps), so that the first
    norm's eps shows; other matrices N(0, 1 / n_in); biases N(0, 0.3^2); norms U(0.5, 1.5), the last
    one with random signs. Gemma computes with 1 + w."""
    head_dim = m.get("head_dim", m["n_embd"] // m["n_head"])
    more = dict(m.get("config", {}))
    if m["hf"] != "Phi3":  # its heads have no width of their own
        more["head_dim"] = head_dim
    if m["arch"] == "gemma3":
        more.update(query_pre_attn_scalar=head_dim, layer_types=[
            "sliding_attention" if local else "full_attention" for local in is_local(m)])
    if "longrope" in m:
        more["original_max_position_embeddings"] = m["longrope"]
    config = getattr(transformers, m["hf"] + "Config")(
        vocab_size=m["n_vocab"], hidden_size=m["n_embd"], intermediate_size=m["n_ff"],
        num_hidden_layers=m.get("layers", N_LAYER), num_attention_heads=m["n_head"],
        num_key_value_heads=m["n_kv"], max_position_embeddings=N_CTX, rms_norm_eps=m["eps"],
        tie_word_embeddings=m.get("tied", False), sliding_window=m.get("window"),
        bos_token_id=m["n_vocab"] - 8, eos_token_id=m["n_vocab"] - 1, pad_token_id=None,
        rope_parameters=rope_parameters(m), **more)
    config._attn_implementation = "eager"
    causal = getattr(transformers, m["hf"].removesuffix("Text") + "ForCausalLM")
    model = causal(config).float().eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1 and name.endswith("norm.weight"):
                p.copy_(torch.rand(p.shape, generator=draw) + 0.5)
                if name == "model.norm.weight":  # or a tied model would always repeat its input
                    p.mul_(torch.randint(0, 2, p.shape, generator=draw) * 2 - 1)
                if m["arch"] == "gemma3":
                    # small results, or seven layers amplify the rounding of the cache
                    p.mul_(0.3 if "layers" in name and "post_" in name else 1).sub_(1)
            elif p.dim() == 1:
                p.copy_(torch.randn(p.shape, generator=draw) * 0.3)
            else:
                sigma = 1 / math.sqrt(p.shape[1])
                if "embed" in name:  # Gemma multiplies it by sqrt(n_embd)
                    sigma = 30 * math.sqrt(m["eps"]) * (sigma if m["arch"] == "gemma3" else 1)
                p.copy_(torch.randn(p.shape, generator=draw) * sigma)
    return model


def adjacent(w, n_head):
    """Rows of each head from half pairs (i, i + d/2) to adjacent pairs (2i, 2i + 1)."""
    d = w.shape[0] // n_head
    order = np.arange(d).reshape(2, d // 2).T.ravel()
    return w.reshape(n_head, d, -1)[:, order].reshape(w.shape)


def frequency_factors(rope, theta, head_dim):
    """rope_freqs.weight: by what each frequency theta^(-2i/d) is divided (Llama 3.1)."""
    wavelength = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    turns = rope["original_max_position_embeddings"] / wavelength
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    keep = np.clip((turns - low) / (high - low), 0, 1)  # 0: divide fully, 1: leave alone
    factors = 1 / ((1 - keep) / rope["factor"] + keep)
    assert (keep == 0).any() and (keep == 1).any() and ((0 < keep) & (keep < 1)).any()
    return factors.astype(np.float32)


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm", "self_attn.qkv_proj": "attn_qkv",
         "mlp.gate_up_proj": "ffn_up"}
GEMMA_NAMES = {"post_attention_layernorm": "post_attention_norm",
               "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}


def gguf_name(name, arch):
    if name in TOP:
        return TOP[name]
    _, _, layer, rest = name.split(".", 3)  # model.layers.3.self_attn.q_proj.weight
    module, kind = rest.rsplit(".", 1)
    names = {**NAMES, **GEMMA_NAMES} if arch == "gemma3" else NAMES
    return f"blk.{layer}.{names[module]}.{kind}"


def write_vocabulary(w, n_vocab):
    tokens, types, merges = vocabulary(n_vocab)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    w.add_eos_token_id(tokens.index("<|eot_id|>"))
    w.add_add_bos_token(True)


def write_window(w, m):
    if "window" in m:
        w.add_sliding_window(m["window"])
    if m.get("pattern_keys"):
        w.add_sliding_window_pattern(m["pattern"])
        w.add_float32(f"{m['arch']}.rope.freq_base_swa", m["local_theta"])


def write_scaling(w, m):
    rope = m.get("rope", {})
    if rope.get("rope_type") in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        w.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "yarn":
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if "longrope" in m:
        params, scale = longrope(m), N_CTX / m["longrope"]
        w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        w.add_rope_scaling_orig_ctx_len(m["longrope"])
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(m["longrope"])))
        for which in ("long", "short"):
            w.add_tensor(f"rope_factors_{which}.weight", np.array(params[f"{which}_factor"], np.float32))


def write_gguf(path, name, m, model):
    head_dim = m.get("head_dim", m["n_embd"] // m["n_head"])
    w = gguf.GGUFWriter(path, m["arch"])
    w.add_name(f"golden {name}")
    w.add_context_length(N_CTX)
    w.add_embedding_length(m["n_embd"])
    w.add_block_count(m.get("layers", N_LAYER))
    w.add_feed_forward_length(m["n_ff"])
    w.add_head_count(m["n_head"])
    w.add_head_count_kv(m["n_kv"])
    w.add_layer_norm_rms_eps(m["eps"])
    w.add_vocab_size(m["n_vocab"])
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    if m["arch"] == "llama":
        w.add_rope_dimension_count(head_dim)
    if not m.get("no_theta_key"):
        w.add_rope_freq_base(m["theta"])
    if m.get("keys"):
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    write_window(w, m)
    write_scaling(w, m)
    write_vocabulary(w, m["n_vocab"])
    if m.get("rope") == LLAMA31:
        w.add_tensor("rope_freqs.weight", frequency_factors(m["rope"], m["theta"], head_dim))
    for hf_name, p in model.named_parameters():
        data = p.detach().numpy()
        if m["arch"] == "llama" and ("q_proj" in hf_name or "k_proj" in hf_name):
            data = adjacent(data, m["n_head"] if "q_proj" in hf_name else m["n_kv"])
        if m["arch"] == "gemma3" and hf_name.endswith("norm.weight"):
            data = data + 1
        w.add_tensor(gguf_name(hf_name, m["arch"]), np.ascontiguousarray(data))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class HalfCache(transformers.DynamicCache):
    """Keys and values lose what binary16 cannot hold on their way into the cache. The gain of RoPE
    scaling is no part of the stored keys: scores get it afterwards."""

    gain = 1.0

    def update(self, key, value, *args, **kwargs):
        key = (key / self.gain).half().float() * self.gain
        return super().update(key, value.half().float(), *args, **kwargs)


def half_cache(model):
    cache = HalfCache()
    cache.gain = getattr(model.model.rotary_emb, "attention_scaling", 1.0)  # Gemma has one a layer type: 1
    return cache


def reference(model, ids, pos):
    """Logits of transformers at the positions: (exact or half, n_pos, n_vocab) f32."""
    x = torch.tensor([ids])
    with torch.no_grad():
        rows = [model(x, past_key_values=cache, use_cache=True).logits[0, pos].numpy()
                for cache in (transformers.DynamicCache(), half_cache(model))]
    return np.stack(rows)


def margin(rows):
    """Least distance between the two largest of any row, as a part of the row's largest magnitude."""
    two = np.sort(rows)[..., -2:]
    return ((two[..., 1] - two[..., 0]) / np.maximum(np.abs(rows).max(-1), 1e-30)).min()


def write_logits(path, m, model, draw):
    with open(path, "wb") as f:
        f.write(b"MASLOGIT" + struct.pack("<3I", 1, m["n_vocab"], len(PROMPTS)))
        for n, pos in PROMPTS:
            rows = np.zeros((1, 2))
            while margin(rows) < LEAST_MARGIN:  # a prompt with a near-tie is no test of the best token
                ids = draw.integers(0, m["n_vocab"], n)
                rows = reference(model, ids.tolist(), pos)
            f.write(struct.pack("<2I", n, len(pos)))
            f.write(ids.astype("<i4").tobytes() + np.array(pos, "<i4").tobytes())
            f.write(rows.astype("<f4").tobytes())


def read_logits(path):
    """Yields (ids, positions, exact, half) per prompt."""
    data = path.read_bytes()
    assert data[:8] == b"MASLOGIT", path
    version, n_vocab, n_prompt = struct.unpack_from("<3I", data, 8)
    assert version == 1, path
    at = 20
    for _ in range(n_prompt):
        n, n_pos = struct.unpack_from("<2I", data, at)
        ids = np.frombuffer(data, "<i4", n, at + 8)
        pos = np.frombuffer(data, "<i4", n_pos, at + 8 + 4 * n)
        at += 8 + 4 * (n + n_pos)
        rows = np.frombuffer(data, "<f4", 2 * n_pos * n_vocab, at).reshape(2, n_pos, n_vocab)
        at += rows.nbytes
        yield ids, pos, rows[0], rows[1]
    assert at == len(data), path


def apart(got, want):
    """Largest difference of any row, as a part of the row's largest magnitude."""
    return (np.abs(got - want).max(-1) / np.abs(want).max(-1)).max()


def mistakes(model):
    """(what, model): what an engine could do wrong and these files must notice."""
    def wrong(**changes):
        other = copy.copy(model)
        other.__dict__.update(changes)
        return other

    yield "the other pairs in RoPE", wrong(half_pairs=not model.half_pairs)
    yield "no RoPE", wrong(inv_freq=model.inv_freq * 0)
    theta = model.inv_freq ** (1 + np.log(1.01) / np.log(model.theta))
    yield "theta off by 1 %", wrong(inv_freq=theta)
    yield "eps left out of the norms", wrong(eps=0.0)
    if model.local_freq is not None:
        yield "the full layers' RoPE in all", wrong(local_freq=None)
        yield "the local layers' RoPE in all", wrong(inv_freq=model.local_freq)
    if model.window:
        yield "no window", wrong(window=0)
        yield "a window of one more", wrong(window=model.window + 1)
        yield "a window of one less", wrong(window=model.window - 1)
        if not all(model.local):
            yield "the window in all layers", wrong(local=[True] * model.n_layer)
    if model.embed_scale != 1:
        yield "no scale of embeddings", wrong(embed_scale=1.0)
        yield "SiLU", wrong(gelu=False)
    if model.gain != 1:
        yield "no gain of RoPE", wrong(gain=1.0)
    if "rope_factors_long.weight" in model.w:
        limit = model.get("rope.scaling.original_context_length")
        yield "the other factors", wrong(n_ctx=limit + 1 if model.n_ctx <= limit else limit)
    if "blk.0.attn_qkv.weight" in model.w:
        yield "gate and up swapped", wrong(up_first=True)
    for part in ("rope_freqs", ".bias", "q_norm", "k_norm", "post_attention_norm", "post_ffw_norm",
                 "attn_output.bias", "ffn_down.bias", "ffn_gate.bias", "ffn_up.bias"):
        left = {k: v for k, v in model.w.items() if part not in k}
        if len(left) < len(model.w):
            yield f"{part} left out", wrong(w=left)


def check(name):
    """Compares the two files of one model through forward_numpy; raises when they disagree."""
    model = Model(str(GOLDEN / f"logits_{name}.gguf"))
    prompts = list(read_logits(GOLDEN / f"logits_{name}.bin"))
    least = min(margin(rows) for _, _, exact, half in prompts for rows in (exact, half))
    f32 = max(apart(model.logits(ids)[pos], exact) for ids, pos, exact, _ in prompts)
    f16 = max(apart(model.logits(ids, "f16")[pos], half) for ids, pos, _, half in prompts)
    between = max(apart(half, exact) for _, _, exact, half in prompts)
    print(f"{name}: numpy - transformers {f32:.1e} (f32 cache) {f16:.1e} (f16 cache); f16 - f32 cache "
          f"{between:.1e}; least margin {least:.1e}")
    assert f32 <= 1e-5, f"{name}: the GGUF file does not mean what transformers computed"
    assert f16 <= 2e-4, f"{name}: cache of halves"
    assert least >= LEAST_MARGIN, f"{name}: near-tie"
    for what, other in mistakes(model):
        seen = max(apart(other.logits(ids)[pos], exact) for ids, pos, exact, _ in prompts)
        print(f"    {what}: {seen:.1e}")
        assert seen >= 5e-4, f"{name} does not notice: {what}"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--check", action="store_true", help="only check the files that are there")
    p.add_argument("names", nargs="*", metavar="NAME", help="rows of MODELS (default: all)")
    a = p.parse_args()
    torch.set_num_threads(1)
    for i, (name, m) in enumerate(MODELS.items()):
        if a.names and name not in a.names:
            continue
        if not a.check:
            model = build(m, seed=1000 + i)
            write_gguf(GOLDEN / f"logits_{name}.gguf", name, m, model)
            write_logits(GOLDEN / f"logits_{name}.bin", m, model, np.random.default_rng(2000 + i))
        check(name)


if __name__ == "__main__":
    main()
