"""corpus: an endless stream of training batches for the toy model, made as they are asked for.

A batch holds calls of one role, so that all share the prompt's constant beginning (the system text):
it is computed once. What differs is the suffix: the case, and the reply to be learnt. Words of the
findings are exchanged, dropped or turned round at random (`noisy`): the wordings reserved for dev and
test have words that train lacks, so the model must neither need every word nor mind a strange one.

Toy text, made for testing software: no medical meaning, no medical use.
"""

import re

from chat import Chats, llama3
from vignettes import generate
from world import Rng

ROLES = ("direct", "cot", "logit", "planner", "specialist", "aggregator")
NAMED = 4.0  # weight in the loss of the first token of a condition's name, and of what depends on the own field
OWN = r'(?<="p": 0\.)\d|(?<="notes": ")[OF]'
QUOTED = 2.0  # of the first token of a quotation
NEUTRAL = {"a", "an", "the", "of", "in", "on", "with", "and", "for", "to", "at", "over", "after"}


class Noise:
    """Exchanges words of findings; strange words are syllables that mean nothing."""

    def __init__(self, world):
        self.words = sorted({w for f in world.findings.values() for t in f.train for w in t.split()})
        self.syllables = [c + v for c in "bdfgklmnprstv" for v in "aeiou"]

    def word(self, rng):
        if rng.chance(0.5):
            return rng.pick(self.words)
        return "".join(rng.pick(self.syllables) for _ in range(2 + rng.below(2)))

    def wording(self, rng, text, rate):
        """One to three changes in a share `rate` of the wordings; at least one content word stays."""
        if not rng.chance(rate):
            return text
        words = text.split()
        content = [i for i, w in enumerate(words) if w not in NEUTRAL]
        keep = rng.pick(content or [0])
        out = []
        for i, w in enumerate(words):
            if i == keep or not rng.chance(0.4):
                out.append(w)
            elif rng.chance(0.6):
                out.append(self.word(rng))
        if rng.chance(0.15):
            out = rng.shuffled(out)
        return " ".join(out)

    def apply(self, rng, record, rate):
        """The record with some findings worded differently, in the question too."""
        told = []
        for f, w in record["findings"]:
            new = self.wording(rng, w, rate)
            if new != w and record["question"].count(w) == 1:
                record["question"] = record["question"].replace(w, new)
                told.append([f, new])
            else:
                told.append([f, w])
        record["findings"] = told


def easier(world, rng, record):
    """The question with any other conditions as distractors, in the place of mimics."""
    right = record["condition"]
    others = rng.shuffled([c for c in sorted(world.conditions) if c != right])[:3]
    at = "ABCD".index(record["answer_idx"])
    record["choices"] = others[:at] + [right] + others[at:]
    texts = [world.conditions[c].text(record["form"]) for c in record["choices"]]
    record["options"] = dict(zip("ABCD", texts))


class Example:
    """A call as tokens, and what the auxiliary questions are about.

    suffix: token ids; reply_at: index of the reply's first token; weight: of each token in the loss;
    asked, options: indices of the last tokens of the question and of each option's text; decide: the
    one before the first letter of the reply (of the reply itself if it has none); condition, choices:
    numbers of the case's condition and of the options'; right: index of the reply's first letter, or -1;
    begins, goes_on: (token, [tokens]) of the reply's quotations: from where a quoted token is due to the
    places where it can be found, for the first token of a quotation and for the others.
    """

    __slots__ = ("suffix", "reply_at", "weight", "asked", "options", "decide", "condition",
                 "choices", "right", "begins", "goes_on")


class Corpus:
    """Examples from the training split. noise: share of findings whose words are changed; easy: share of
    questions whose distractors are no mimics."""

    def __init__(self, world, tokenizer, k, seed, noise=0.5, shares=None):
        self.world, self.tokenizer, self.seed, self.noise = world, tokenizer, seed, noise
        self.easy = 0.0
        self.chats = Chats(world, k, seed=seed)
        self.noisy = Noise(world)
        self.number = {c: i for i, c in enumerate(sorted(world.conditions))}
        self.shares = shares or {r: 1 / len(ROLES) for r in ROLES}
        self.prefix = {}
        self.records = generate(world, "train", 1 << 40, seed)
        self.count = 0
        self.ready = {}

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False)

    def draw_role(self, rng):
        u = rng.bits() / 2**64 * sum(self.shares.values())
        for role, share in self.shares.items():
            u -= share
            if u < 0:
                return role
        return ROLES[0]

    def example(self, record, role, rng):
        """One call of the role (one of the K for a specialist)."""
        calls = [c for c in self.chats.of(record) if c[0] == role]
        _, (system, user), reply = rng.pick(calls)
        text, at = llama3(system, user, reply)
        user = user.strip()
        cut = text.index(user, len(system))
        ids = self.prefix.get(role)
        if ids is None:
            self.prefix[role] = ids = (text[:cut], self.encode(text[:cut]).ids)
        if ids[0] != text[:cut]:
            raise ValueError(f"the beginning of {role} is not constant")
        x = Example()
        enc = self.encode(text[cut:])
        x.suffix = enc.ids
        x.reply_at = next(i for i, (s, _) in enumerate(enc.offsets) if s >= at - cut)
        question_end = user.index(record["question"]) + len(record["question"])
        x.asked = self.token_ending(enc, question_end)
        listed = user.index("Options:")
        x.options = []
        for letter in "ABCD":
            option = f"\n{letter}. {record['options'][letter]}"
            x.options.append(self.token_ending(enc, user.index(option, listed) + len(option)))
        x.condition = self.number[record["condition"]]
        x.choices = [self.number[c] for c in record["choices"]]
        x.right = -1
        x.weight = [1.0] * len(x.suffix)
        x.decide = x.reply_at - 1
        letters = []
        for m in re.finditer(r'(?<=Answer: )[A-D]|(?<="final_answer": ")[A-D]|(?<=Favors )[A-D]', reply):
            letters.append(self.token_at(enc, at - cut + m.start()))
            x.weight[letters[-1]] = 12.0
        if letters:
            x.decide = letters[0] - 1
            x.right = "ABCD".index(enc.tokens[letters[0]][-1])
        for name in {self.world.conditions[c].name for c in record["choices"]}:
            for m in re.finditer(re.escape(name), reply):
                t = self.token_at(enc, at - cut + m.start())
                x.weight[t] = max(x.weight[t], NAMED)
        for m in re.finditer(OWN, reply):
            t = self.token_at(enc, at - cut + m.start())
            x.weight[t] = max(x.weight[t], NAMED)
        self.quotations(x, enc, record, user, reply, at - cut)
        return x

    def quotations(self, x, enc, record, user, reply, reply_char):
        """Where the reply quotes findings and the text of an option, and where these stand in the case."""
        key = [t.lstrip("\u0120") for t in enc.tokens]  # a token without the space before it
        texts = [w for _, w in record["findings"]] + list(record["options"].values())
        x.begins, x.goes_on, done = [], [], set()
        for text in sorted(texts, key=len, reverse=True):
            source = self.token_at(enc, user.index(text)) if text in user else None
            for m in re.finditer(r"(?<!\w)" + re.escape(text) + r"(?!\w)", reply):
                first = self.token_at(enc, reply_char + m.start())
                last = self.token_at(enc, reply_char + m.end() - 1)
                if first in done or source is None:
                    continue
                done.update(range(first, last + 1))
                if key[source] == key[first]:
                    x.begins.append((first - 1, [source]))
                    x.weight[first] = max(x.weight[first], QUOTED)
                for t in range(first, last):
                    after = (key[t], key[t + 1])
                    x.goes_on.append((t, [s for s in range(1, t + 1) if (key[s - 1], key[s]) == after]))
        x.goes_on = [(t, at) for t, at in x.goes_on if at]

    @staticmethod
    def token_ending(enc, char):
        """The token in which the text before char ends (it may hold line ends that follow)."""
        return next(i for i, (_, e) in enumerate(enc.offsets) if e >= char)

    @staticmethod
    def token_at(enc, char):
        return next(i for i, (s, e) in enumerate(enc.offsets) if s <= char < e)

    def batch(self, size):
        """(role, examples): the calls of one role, size[role] of them, of about the same length."""
        rng = Rng(self.seed, "batch", self.count)
        role = self.draw_role(rng)
        if not self.ready.get(role):
            n, out = size[role], []
            for _ in range(4 * n):
                record = next(self.records)
                self.noisy.apply(rng, record, self.noise)
                if rng.chance(self.easy):
                    easier(self.world, rng, record)
                out.append(self.example(record, role, rng))
            out.sort(key=lambda x: len(x.suffix))
            self.ready[role] = rng.shuffled([out[i : i + n] for i in range(0, 4 * n, n)])
        self.count += 1
        return role, self.ready[role].pop()
