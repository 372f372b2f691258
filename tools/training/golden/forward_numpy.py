#!/usr/bin/env python3
"""forward_numpy: the forward pass of a GGUF file in plain numpy, an oracle that shares no code with mas.

Everything is computed in float64 from the decoded weights; the whole prompt at once, no cache, no
batching. Slow and short on purpose. Architectures: llama (adjacent pairs), qwen2 (half pairs, biases),
qwen3 (half pairs, norms of q and k), phi3 (half pairs, fused tensors, longrope), gemma3 (half pairs,
norms of q, k and results, GELU, windows, local RoPE); linear scaling and YaRN; F32 and every quantised
type that the `gguf` package decodes. longrope takes the factors for a context of Model.n_ctx tokens.

    python3 tools/training/golden/forward_numpy.py MODEL.gguf --ids 1,403,407 [--kv f16]
        one line per position: the two largest logits, their ids and the margin between them
    python3 tools/training/golden/forward_numpy.py MODEL.gguf --ids 1,403,407 --greedy 20 [--kv f16]
        continues greedily and prints the ids; every token costs a whole forward

--kv f16 rounds k (after RoPE, before its gain) and v to binary16, as a cache of halves does.

Needs: numpy, gguf (pip). As a module: Model(path).logits(ids, kv) -> (n, n_vocab) float64.
"""

import argparse

import numpy as np
from gguf import GGUFReader, dequantize

HALF_PAIRS = {"llama": False, "qwen2": True, "qwen3": True, "phi3": True, "gemma3": True}


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.kv = {k: f.contents() for k, f in reader.fields.items() if "tokenizer." not in k}
        self.w = {}
        for t in reader.tensors:
            # gguf keeps the file's order of dimensions, fastest first; numpy wants slowest first
            decoded = dequantize(t.data, t.tensor_type).astype(np.float64)
            self.w[t.name] = decoded.reshape([int(d) for d in reversed(t.shape)])
        self.arch = self.kv["general.architecture"]
        if self.arch not in HALF_PAIRS:
            raise SystemExit(f"{path}: architecture {self.arch} is not one of {', '.join(HALF_PAIRS)}")
        self.half_pairs = HALF_PAIRS[self.arch]
        self.n_layer = self.get("block_count")
        self.n_embd = self.get("embedding_length")
        self.n_head = self.get("attention.head_count")
        self.n_kv_head = self.get("attention.head_count_kv", self.n_head)
        self.head_dim = self.get("attention.key_length", self.n_embd // self.n_head)
        self.eps = self.get("attention.layer_norm_rms_epsilon")
        n_rot = self.get("rope.dimension_count", self.head_dim)
        self.theta = self.get("rope.freq_base", 10000.0)
        self.inv_freq = self.scaled(self.theta ** (-np.arange(0, n_rot, 2) / n_rot), n_rot)
        self.n_ctx = 256  # of t_logits
        self.up_first = False
        gemma = self.gelu = self.arch == "gemma3"
        self.embed_scale = np.sqrt(self.n_embd) if gemma else 1.0
        self.local_freq = None  # layers with a window rotate as all others
        if gemma:
            self.local_freq = self.get("rope.freq_base_swa", 10000.0) ** (-np.arange(0, n_rot, 2) / n_rot)
        self.window = self.get("attention.sliding_window", 0)
        self.local = self.get("attention.sliding_window_pattern", 6 if gemma else 0)
        if not isinstance(self.local, list):
            period = self.local
            self.local = [period == 0 or (i + 1) % period != 0 for i in range(self.n_layer)]

    def scaled(self, inv_freq, n_rot):
        """Linear scaling and YaRN; sets the gain of q and k."""
        kind = self.get("rope.scaling.type", "none")
        self.gain = self.get("rope.scaling.attn_factor", 1.0)
        if kind not in ("linear", "yarn"):
            return inv_freq
        factor, keep = self.get("rope.scaling.factor"), np.zeros(n_rot // 2)
        if kind == "yarn":
            turns = self.get("rope.scaling.original_context_length") / (2 * np.pi)  # of pair 0
            fast, slow = (n_rot / 2 * np.log(turns / t) / np.log(self.theta) for t in (32, 1))
            low, high = max(0, np.floor(fast)), min(n_rot - 1, np.ceil(slow))
            keep = 1 - np.clip((np.arange(n_rot // 2) - low) / max(high - low, 0.001), 0, 1)
            self.gain *= 0.1 * np.log(factor) + 1
        return inv_freq / factor * (1 - keep) + inv_freq * keep

    def get(self, key, default=None):
        value = self.kv.get(f"{self.arch}.{key}", default)
        if value is None:
            raise SystemExit(f"missing key {self.arch}.{key}")
        return value

    def norm(self, x, w):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * w

    def rope(self, x, layer):  # (n, heads, head_dim)
        n_rot = 2 * len(self.inv_freq)
        own = self.local_freq is not None and self.window and self.local[layer]
        inv_freq = self.local_freq if own else self.inv_freq
        long = self.n_ctx > self.get("rope.scaling.original_context_length", 1 << 40)
        inv_freq = inv_freq / self.w.get("rope_freqs.weight", 1.0)
        inv_freq = inv_freq / self.w.get(f"rope_factors_{'long' if long else 'short'}.weight", 1.0)
        angle = np.arange(len(x))[:, None, None] * inv_freq
        cos, sin = self.gain * np.cos(angle), self.gain * np.sin(angle)
        if self.half_pairs:
            first, second = slice(0, n_rot // 2), slice(n_rot // 2, n_rot)
        else:
            first, second = slice(0, n_rot, 2), slice(1, n_rot, 2)
        y = x.copy()
        y[..., first] = x[..., first] * cos - x[..., second] * sin
        y[..., second] = x[..., second] * cos + x[..., first] * sin
        return y

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        return y + self.w[name + ".bias"] if name + ".bias" in self.w else y

    def projection(self, x, layer, part):
        fused = f"blk.{layer}.attn_qkv"
        if fused + ".weight" not in self.w:
            return self.linear(x, f"blk.{layer}.attn_{part}")
        q, kv = self.n_head * self.head_dim, self.n_kv_head * self.head_dim
        at = {"q": slice(0, q), "k": slice(q, q + kv), "v": slice(q + kv, q + 2 * kv)}[part]
        return self.linear(x, fused)[:, at]

    def heads(self, x, layer, part, n_head):
        y = self.projection(x, layer, part).reshape(len(x), n_head, self.head_dim)
        name = f"blk.{layer}.attn_{part}_norm.weight"
        return self.norm(y, self.w[name]) if name in self.w else y

    def attention(self, x, layer, kv):
        n = len(x)
        q = self.rope(self.heads(x, layer, "q", self.n_head), layer)
        k = self.rope(self.heads(x, layer, "k", self.n_kv_head), layer)
        v = self.heads(x, layer, "v", self.n_kv_head)
        if kv == "f16":
            k, v = (a.astype(np.float32).astype(np.float16).astype(np.float64)
                    for a in (k / self.gain, v))
            k *= self.gain
        group = self.n_head // self.n_kv_head
        y = np.empty_like(q)
        hidden = np.triu(np.full((n, n), -np.inf), 1)
        if self.window and self.local[layer]:
            hidden += np.tril(np.full((n, n), -np.inf), -self.window)
        for h in range(self.n_head):
            s = q[:, h] @ k[:, h // group].T / np.sqrt(self.head_dim) + hidden
            p = np.exp(s - s.max(-1, keepdims=True))
            y[:, h] = p / p.sum(-1, keepdims=True) @ v[:, h // group]
        return self.linear(y.reshape(n, -1), f"blk.{layer}.attn_output")

    def feed_forward(self, x, layer):
        up = self.linear(x, f"blk.{layer}.ffn_up")
        if f"blk.{layer}.ffn_gate.weight" in self.w:
            gate = self.linear(x, f"blk.{layer}.ffn_gate")
        else:
            gate, up = np.split(up, 2, axis=-1)[::-1 if self.up_first else 1]
        if self.gelu:
            u = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate ** 3)
            gate = gate / 2 * (1 + np.tanh(u))
        else:
            gate = gate / (1 + np.exp(-gate))
        return self.linear(gate * up, f"blk.{layer}.ffn_down")

    def post(self, y, name):
        return self.norm(y, self.w[name]) if name in self.w else y

    def logits(self, ids, kv="f32"):
        """(n, n_vocab): row i are the logits after ids[0..i]."""
        x = self.w["token_embd.weight"][np.asarray(ids)] * self.embed_scale
        for i in range(self.n_layer):
            y = self.attention(self.norm(x, self.w[f"blk.{i}.attn_norm.weight"]), i, kv)
            x = x + self.post(y, f"blk.{i}.post_attention_norm.weight")
            y = self.feed_forward(self.norm(x, self.w[f"blk.{i}.ffn_norm.weight"]), i)
            x = x + self.post(y, f"blk.{i}.post_ffw_norm.weight")
        x = self.norm(x, self.w["output_norm.weight"])
        output = "output.weight" if "output.weight" in self.w else "token_embd.weight"
        return x @ self.w[output].T


def top2(row):
    """(id, logit, id, logit) of the two largest; the lower id first when equal."""
    a, b = np.argsort(-row, kind="stable")[:2]
    return int(a), row[a], int(b), row[b]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--ids", required=True, help="token ids separated by commas")
    p.add_argument("--kv", choices=["f32", "f16"], default="f32")
    p.add_argument("--greedy", type=int, default=0, metavar="N", help="continue by N tokens")
    a = p.parse_args()
    model = Model(a.model)
    ids = [int(i) for i in a.ids.split(",")]
    for _ in range(a.greedy):
        ids.append(top2(model.logits(ids, a.kv)[-1])[0])
    if a.greedy:
        print(",".join(map(str, ids)))
        return
    for i, row in enumerate(model.logits(ids, a.kv)):
        first, x, second, y = top2(row)
        print(f"{i:4d}  {first:6d} {x:10.5f}  {second:6d} {y:10.5f}  margin {x - y:.5f}")


if __name__ == "__main__":
    main()
