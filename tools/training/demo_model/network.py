"""network: the toy model in PyTorch: Llama's block, as runtime/engine/forward.c computes it.

Shapes: (batch, token, ..). Rotary pairs are (2i, 2i + 1), the order of Llama in GGUF files. The
embedding is the output matrix too. Auxiliary heads help the training and are not exported.
"""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F


SCALE = 16.0  # of the embedding; exported with it, and the last norm without


@dataclasses.dataclass
class Shape:
    n_vocab: int = 5120
    n_embd: int = 256
    n_layer: int = 6
    n_head: int = 4
    n_kv_head: int = 2
    head_dim: int = 64
    n_ff: int = 512
    n_ctx: int = 4096
    theta: float = 500000.0
    eps: float = 1e-5


def rope_tables(shape):
    """cos and sin (n_ctx, head_dim / 2)."""
    inv = shape.theta ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim)
    angle = torch.arange(shape.n_ctx, dtype=torch.float64)[:, None] * inv
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x (batch, head, token, head_dim), pairs (2i, 2i + 1)."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        q, kv = s.n_head * s.head_dim, s.n_kv_head * s.head_dim
        self.attn_norm = nn.Parameter(torch.ones(s.n_embd))
        self.ffn_norm = nn.Parameter(torch.ones(s.n_embd))
        self.qkv = nn.Linear(s.n_embd, q + 2 * kv, bias=False)
        self.out = nn.Linear(q, s.n_embd, bias=False)
        self.gate_up = nn.Linear(s.n_embd, 2 * s.n_ff, bias=False)
        self.down = nn.Linear(s.n_ff, s.n_embd, bias=False)

    def heads(self, x, cos, sin):
        s = self.s
        x = self.qkv(F.rms_norm(x, (s.n_embd,), self.attn_norm, s.eps))
        q, k, v = x.split((s.n_head * s.head_dim,) + (s.n_kv_head * s.head_dim,) * 2, -1)
        q, k, v = (t.unflatten(-1, (-1, s.head_dim)).transpose(1, 2) for t in (q, k, v))
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def rest(self, x, y):
        x = x + self.out(y.transpose(1, 2).flatten(-2))
        gate, up = self.gate_up(F.rms_norm(x, (self.s.n_embd,), self.ffn_norm, self.s.eps)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Network(nn.Module):
    def __init__(self, shape, n_condition=0):
        super().__init__()
        self.s = shape
        self.embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = nn.Parameter(torch.ones(shape.n_embd))
        cos, sin = rope_tables(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        if n_condition:  # auxiliary heads
            self.condition = nn.Linear(shape.n_embd, n_condition)
            self.letter = nn.Linear(shape.n_embd, 4)
        self.init()

    def init(self):
        s = self.s
        nn.init.normal_(self.embd.weight, std=0.02)
        for b in self.blocks:
            for w in (b.qkv, b.gate_up):
                nn.init.normal_(w.weight, std=s.n_embd**-0.5)
            nn.init.normal_(b.out.weight, std=(s.n_head * s.head_dim) ** -0.5 / math.sqrt(2 * s.n_layer))
            nn.init.normal_(b.down.weight, std=s.n_ff**-0.5 / math.sqrt(2 * s.n_layer))

    def states(self, prefix, suffix, scale=SCALE, frozen=False):
        """Residual streams after each block: a list of (batch, suffix tokens, n_embd).

        prefix (tokens), common to all of suffix (batch, tokens): its keys and values are computed once;
        frozen: and without gradients. Keeps in self.seen, for each block, queries of suffix, all keys, keys of suffix.
        """
        s, n, m = self.s, len(prefix), suffix.shape[1]
        group = s.n_head // s.n_kv_head
        p, x = self.embd(prefix)[None] * scale, self.embd(suffix) * scale
        p = p.detach() if frozen else p
        before, after = (self.cos[:n], self.sin[:n]), (self.cos[n : n + m], self.sin[n : n + m])
        mask = torch.ones(m, n + m, dtype=torch.bool).tril(n)
        out, self.seen = [], []
        for i, b in enumerate(self.blocks):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                pq, pk, pv = b.heads(p, *before)
            q, k, v = b.heads(x, *after)
            own = k
            k = torch.cat((pk.expand(len(x), -1, -1, -1), k), 2)
            v = torch.cat((pv.expand(len(x), -1, -1, -1), v), 2)
            wide = [t.repeat_interleave(group, 1) for t in (k, v)]
            x = b.rest(x, F.scaled_dot_product_attention(q, *wide, attn_mask=mask))
            if i + 1 < len(self.blocks):
                with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                    wide = [t.repeat_interleave(group, 1) for t in (pk, pv)]
                    p = b.rest(p, F.scaled_dot_product_attention(pq, *wide, is_causal=True))
            out.append(x)
            self.seen.append((q, k, own))
        return out

    def logits(self, x):
        """(.., n_embd) -> (.., n_vocab)."""
        x = F.rms_norm(x, (self.s.n_embd,), self.norm, self.s.eps)
        return F.linear(x, self.embd.weight)
