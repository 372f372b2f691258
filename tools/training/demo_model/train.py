#!/usr/bin/env python3
"""train: trains the toy model on the program's own prompts.

A TOY MODEL, made for testing software: no medical meaning, no medical use.

    python3 tools/training/demo_model/train.py --out DIR [--steps 3000] [--decay 900] [--layers 6] ...

Needs torch and tokenizers. Writes DIR/tokenizer.json, DIR/curve.tsv (a line every 20 steps) and
DIR/model.pt (weights, optimiser and counters; every 50 steps and at the end). --resume goes on from
there, --begin FILE.gguf goes on from an exported model (of any number format) with a fresh optimiser and new
auxiliary heads; its DIR needs the tokenizer.json of that model. The learning rate is constant, then falls to a tenth linearly over the last --decay steps;
creating the file DIR/finish begins that fall at once (curve.tsv shows where it was).

What is learnt: the tokens of the reply (decisions count twelve times), a sample of the case's own tokens,
and, only while training, auxiliary questions asked of inner layers: which condition the case shows (asked at
the question's end and before the first letter of the reply), which condition each option's text belongs to,
which letter it has, and whether the last block's attention finds the option that the reply names.
"""

import argparse
import dataclasses
import pathlib
import time

import torch
from torch.nn import functional as F

import corpus as corpus_
import vocabulary
from network import SCALE, Network, Shape
from vignettes import generate
from world import Rng, World

# Calls of a batch, and the share of batches, by role.
SIZE = {"direct": 20, "cot": 12, "logit": 20, "planner": 13, "specialist": 8, "aggregator": 4}
SHARE = {"direct": 8, "cot": 18, "logit": 4, "planner": 18, "specialist": 32, "aggregator": 20}
MUON, ADAM = 0.02, 2e-3  # learning rates: matrices of the blocks; embedding, norms, heads
# The first steps are for short calls, from which the conditions are learnt with the least computing.
FIRST = {"direct": 60, "cot": 25, "logit": 5, "planner": 10}


def get_tokenizer(world, out, size):
    """The tokenizer of a run, of size entries, trained the first time."""
    from tokenizers import Tokenizer

    path = out / "tokenizer.json"
    if not path.exists():
        chats = corpus_.Chats(world, 5)
        texts = []
        for record in generate(world, "train", 3000, 1):
            for _, (system, user), reply in chats.of(record):
                texts += [system, user, reply]
        words = {w for f in world.findings.values() for text in f.train for w in text.split()}
        vocabulary.train(texts, sorted(words), size).save(str(path))
    return Tokenizer.from_file(str(path))


# ---- optimiser -----------------------------------------------------------------------------------


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by Newton-Schulz steps (Jordan et al. 2024).

    Each step adds lr to singular values and takes lr * decay of them away, so they stay below 1 / decay:
    without that bound later blocks drown what earlier ones wrote.
    For matrices only; those of one shape are worked on as one batch. parts: how many matrices are
    stacked in a parameter (q/k/v, gate/up), so that each is treated alone.
    """

    def __init__(self, groups, lr):
        super().__init__(groups, dict(lr=lr, momentum=0.95, decay=0.4))

    @staticmethod
    def orthogonal(g):
        """(n, rows, cols) -> nearly orthogonal, five steps."""
        tall = g.shape[1] > g.shape[2]
        x = g.transpose(1, 2) if tall else g
        x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
        for _ in range(5):
            a = x @ x.transpose(1, 2)
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        return x.transpose(1, 2) if tall else x

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            updates, slots = {}, {}
            for p in group["params"]:
                state = self.state[p]
                if "m" not in state:
                    state["m"] = torch.zeros_like(p)
                state["m"].lerp_(p.grad, 1 - group["momentum"])
                u = p.grad.lerp(state["m"], group["momentum"])
                p.mul_(1 - group["lr"] * group["decay"])
                at = 0
                for rows in group["parts"]:
                    key = (rows, p.shape[1])
                    updates.setdefault(key, []).append(u[at : at + rows])
                    slots.setdefault(key, []).append((p, at))
                    at += rows
            for (rows, cols), us in updates.items():
                scale = group["lr"] * max(1, rows / cols) ** 0.5
                for (p, at), u in zip(slots[rows, cols], self.orthogonal(torch.stack(us))):
                    p[at : at + rows].sub_(scale * u)


def optimisers(net, rate):
    s = net.s
    q, kv = s.n_head * s.head_dim, s.n_kv_head * s.head_dim
    parts = {"qkv": (q, kv, kv), "out": (s.n_embd,), "gate_up": (s.n_ff, s.n_ff), "down": (s.n_embd,)}
    groups = [
        {"params": [getattr(b, name).weight for b in net.blocks], "parts": rows}
        for name, rows in parts.items()
    ]
    matrices = {p for g in groups for p in g["params"]}
    rest = [p for p in net.parameters() if p not in matrices]
    return Muon(groups, MUON * rate), torch.optim.AdamW(rest, ADAM * rate, (0.9, 0.97), weight_decay=0.0)


# ---- one step ------------------------------------------------------------------------------------


def tensors(examples, rng):
    """Tokens (n, longest), and for the loss: indices of positions, their next tokens, weights."""
    m = max(len(x.suffix) for x in examples)
    ids = torch.zeros(len(examples), m, dtype=torch.long)
    where, target, weight = [], [], []
    for r, x in enumerate(examples):
        ids[r, : len(x.suffix)] = torch.tensor(x.suffix)
        for t in range(len(x.suffix) - 1):
            if t + 1 >= x.reply_at:
                where.append(r * m + t), target.append(x.suffix[t + 1]), weight.append(x.weight[t + 1])
            elif t + 1 < x.reply_at - 6 and rng.chance(0.12):
                where.append(r * m + t), target.append(x.suffix[t + 1]), weight.append(0.15)
    return ids, torch.tensor(where), torch.tensor(target), torch.tensor(weight)


def auxiliary(net, states, n_prefix, examples):
    """Cross-entropies: the condition where the question ends and where a letter is due; the condition
    and the letter of each option where its text ends; which option the reply's first letter names, by the
    attention of the last block. One head reads all conditions, so that question and
    option are described alike."""
    rows, n = torch.arange(len(examples)), len(states)

    def head(of, layer, at):
        x = states[layer][rows if at.dim() == 1 else rows[:, None], at]
        return of(F.rms_norm(x, (net.s.n_embd,), None, net.s.eps))

    def column(name):
        return torch.tensor([getattr(x, name) for x in examples])

    condition, options = column("condition"), column("options")
    asked = F.cross_entropy(head(net.condition, n // 2, column("asked")), condition)
    due = F.cross_entropy(head(net.condition, max(n - 2, 0), column("decide")), condition)
    option = F.cross_entropy(
        head(net.condition, n // 3, options).flatten(0, 1), column("choices").flatten()
    )
    letters = torch.arange(4).repeat(len(examples))
    letter = sum(
        F.cross_entropy(head(net.letter, layer, options).flatten(0, 1), letters)
        for layer in (n // 3, max(n - 2, 0))
    )
    found = {"asked": asked, "due": due, "option": option, "place": letter}
    right = column("right")
    if (right >= 0).all():
        found["point"] = pointing(net, n_prefix, column("decide"), options, column("choices"), right)
    return found


def pointing(net, n_prefix, decide, options, choices, right):
    """Cross-entropy of the first head's attention in the last block, from where a letter is due to the last
    token of the option it names: among all tokens before, and among the options of the whole batch."""
    q, k, own = net.seen[-1]
    n, rows = len(decide), torch.arange(len(decide))
    q = q[rows, 0, decide] / net.s.head_dim**0.5
    scores = torch.einsum("nd,ntd->nt", q, k[:, 0])
    later = torch.arange(scores.shape[1]) > n_prefix + decide[:, None]
    at = n_prefix + options[rows, right]
    alone = F.cross_entropy(scores.masked_fill(later, -1e9), at)
    others = own[rows[:, None], 0, options].flatten(0, 1)  # (4 n, head_dim)
    choices, target = choices.flatten(), 4 * rows + right
    same = choices[None] == choices[target][:, None]
    same[rows, target] = False  # the same condition in another question is not wrong
    return alone + F.cross_entropy((q @ others.T).masked_fill(same, -1e9), target)


def found_among(net, block, head, n_prefix, pairs):
    """Mean over pairs (example, token, [tokens]) of -log of the attention that a head pays from the token to those."""
    q, k, _ = net.seen[block]
    k = k[:, head * net.s.n_kv_head // net.s.n_head]
    total = []
    for r in {p[0] for p in pairs}:
        own = [p for p in pairs if p[0] == r]
        t = torch.tensor([p[1] for p in own])
        scores = q[r, head, t] @ k[r].T / net.s.head_dim**0.5
        scores = scores.masked_fill(torch.arange(k.shape[1]) > n_prefix + t[:, None], -1e9)
        sought = torch.zeros_like(scores, dtype=torch.bool)
        for i, p in enumerate(own):
            sought[i, [n_prefix + s for s in p[2]]] = True
        total.append(scores.logsumexp(1) - scores.masked_fill(~sought, -1e9).logsumexp(1))
    return torch.cat(total).mean()


def quoting(net, n_prefix, examples, rng):
    """How well heads find what is quoted: one looks at the token before; in the block before the last one goes on
    with a quotation that has begun, and one finds where a quotation starts."""
    before, block = [], len(net.blocks) - 2
    for r, x in enumerate(examples):
        some = [1 + rng.below(len(x.suffix) - 1) for _ in range(32)]
        before += [(r, t, [t - 1]) for t in some]
    found = {"before": found_among(net, 1, 1, n_prefix, before)}
    for name, head in (("goes_on", 0), ("begins", 2)):
        pairs = [(r, *p) for r, x in enumerate(examples) for p in getattr(x, name)]
        if pairs:
            found[name] = found_among(net, block, head, n_prefix, pairs)
    return found


def loss_of(net, prefix, examples, rng):
    ids, where, target, weight = tensors(examples, rng)
    states = net.states(prefix, ids, frozen=rng.chance(0.75))
    logits = net.logits(states[-1].flatten(0, 1)[where])
    each = F.cross_entropy(logits, target, reduction="none")
    reply = weight >= 1
    decided = weight > corpus_.NAMED
    hits = logits.argmax(1) == target
    token = (each * weight).sum() / (25 * len(examples))
    inner = auxiliary(net, states, len(prefix), examples)
    inner.update(quoting(net, len(prefix), examples, rng))
    seen = {
        "reply": each[reply].mean(),
        "letter": hits[decided].float().mean() if decided.any() else torch.tensor(float("nan")),
        **inner,
    }
    return token + 0.3 * sum(inner.values()) + 0.7 * inner.get("point", 0), {k: v.item() for k, v in seen.items()}


# ---- a run ---------------------------------------------------------------------------------------


def rate_at(step, steps, decay):
    """Learning rate as a share of its full value."""
    return min(1.0, (step + 1) / 100, max(0.1, (steps - step) / decay))


def save(path, net, opts, step, steps, corpus):
    state = {
        "shape": dataclasses.asdict(net.s),
        "net": net.state_dict(),
        "opts": [o.state_dict() for o in opts],
        "step": step,
        "steps": steps,
        "count": corpus.count,
        "torch": str(torch.__version__),
    }
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def begin(net, path, tokenizer):
    """The weights of an exported model: export.py the other way round.

    Tokens that it lacks begin as the word with the space before it, or as the mean of their pieces; blocks that it
    lacks stand before its last one and add nothing at first; blocks that it has too many are left out there.
    """
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(str(path))
    field = reader.fields["tokenizer.ggml.tokens"]
    known = {bytes(field.parts[d]).decode(): i for i, d in enumerate(field.data)}
    t = {x.name: torch.tensor(dequantize(x.data, x.tensor_type)).float() for x in reader.tensors}

    def stack(i, *names):
        return torch.cat([t[f"blk.{i}.{n}.weight"] for n in names])

    def row(i):
        token = tokenizer.id_to_token(i)
        if token in known:
            return [known[token]]
        if "\u0120" + token in known:
            return [known["\u0120" + token]]
        pieces, rest = [], token
        while rest:
            piece = next(p for p in (rest[:n] for n in range(len(rest), 0, -1)) if p in known)
            pieces.append(known[piece])
            rest = rest[len(piece) :]
        return pieces

    n_old = max(int(name.split(".")[1]) for name in t if name.startswith("blk.")) + 1
    new = range(n_old - 1, len(net.blocks) - 1)
    with torch.no_grad():
        for i in range(net.s.n_vocab):
            net.embd.weight[i] = t["token_embd.weight"][row(i)].mean(0) / SCALE
        net.norm.copy_(t["output_norm.weight"] * SCALE)
        for i in new:
            net.blocks[i].out.weight.zero_(), net.blocks[i].down.weight.zero_()
        kept = [b for n, b in enumerate(net.blocks) if n not in new]
        for i, b in enumerate(kept):
            i = n_old - 1 if i == len(kept) - 1 else i
            b.qkv.weight.copy_(stack(i, "attn_q", "attn_k", "attn_v"))
            b.gate_up.weight.copy_(torch.cat([t[f"blk.{i}.ffn_{n}.weight"][: net.s.n_ff] for n in ("gate", "up")]))
            b.out.weight.copy_(stack(i, "attn_output"))
            b.down.weight.copy_(t[f"blk.{i}.ffn_down.weight"][:, : net.s.n_ff])
            b.attn_norm.copy_(stack(i, "attn_norm"))
            b.ffn_norm.copy_(stack(i, "ffn_norm"))


def arguments():
    p = argparse.ArgumentParser(description="Trains a toy model, made for testing software.")
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--steps", type=int, default=3000)
    p.add_argument("--decay", type=int, default=900)
    p.add_argument("--first", type=int, default=500, help="steps with short calls only")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--layers", type=int, default=5)
    p.add_argument("--ff", type=int, default=512)
    p.add_argument("--vocab", type=int, default=vocabulary.SIZE)
    p.add_argument("--rate", type=float, default=1.0, help="learning rates, as a factor")
    p.add_argument("--noise", type=float, default=0.5, help="share of findings whose words change")
    p.add_argument("--roles", default=",".join(corpus_.ROLES))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--begin", type=pathlib.Path, help="an exported model to go on from")
    p.add_argument("--resume", action="store_true")
    return p.parse_args()


def main():
    a = arguments()
    a.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    world = World()
    tokenizer = get_tokenizer(world, a.out, a.vocab)
    roles = a.roles.split(",")
    net = Network(Shape(n_layer=a.layers, n_ff=a.ff, n_vocab=a.vocab), len(world.conditions))
    if a.begin:
        begin(net, a.begin, tokenizer)
    opts = optimisers(net, a.rate)
    step, steps, seed = 0, a.steps, a.seed
    if a.resume:
        state = torch.load(a.out / "model.pt", weights_only=True)
        net.load_state_dict(state["net"])
        for o, s in zip(opts, state["opts"]):
            o.load_state_dict(s)
        step, seed = state["step"], a.seed + state["step"]  # new questions, not the first ones again
    corpus = corpus_.Corpus(world, tokenizer, 5, seed, a.noise)
    full = [[g["lr"] for g in o.param_groups] for o in opts]
    if a.resume:
        full = [[MUON * a.rate] * len(opts[0].param_groups), [ADAM * a.rate]]
    rng = Rng(seed, "tokens")
    curve = open(a.out / "curve.tsv", "a", buffering=1)
    seen, began, tokens = {}, time.time(), 0
    while step < steps:
        if (a.out / "finish").exists() and steps - step > a.decay:
            steps = step + a.decay
        for o, rates in zip(opts, full):
            for g, r in zip(o.param_groups, rates):
                g["lr"] = r * rate_at(step, steps, a.decay)
        share = FIRST if step < a.first else SHARE
        corpus.shares = {r: share[r] for r in roles if r in share}
        corpus.noise = a.noise * (0.4 if step < a.first else 1)
        corpus.easy = 0.6 if step < a.first else 0.2
        role, examples = corpus.batch(SIZE)
        prefix = torch.tensor(corpus.prefix[role][1])
        loss, figures = loss_of(net, prefix, examples, rng)
        for o in opts:
            o.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        for o in opts:
            o.step()
        step += 1
        tokens += sum(len(x.suffix) for x in examples)
        for k, v in figures.items():
            seen.setdefault(f"{role}.{k}", []).append(v)
        if step % 20 == 0:
            mean = " ".join(f"{k}={sum(v) / len(v):.3f}" for k, v in sorted(seen.items()))
            rate = tokens / (time.time() - began)
            curve.write(f"{step}\t{steps}\t{time.time() - began:.0f}\t{rate:.0f}\t{mean}\n")
            print(f"{step}/{steps} {rate:.0f} tok/s {mean}", flush=True)
            seen = {}
        if step % 50 == 0 or step == steps:
            save(a.out / "model.pt", net, opts, step, steps, corpus)


if __name__ == "__main__":
    main()
