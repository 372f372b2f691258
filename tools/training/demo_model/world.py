"""world: the conditions and findings of a toy world, read from conditions.txt and findings.txt.

A TOY WORLD, made for testing software: no medical meaning, no medical use. The forms of both files
are described at their heads; whatever does not fit is an error with file and line. Also here:
random numbers (a function of seed, names and a counter: the same with every Python) and naive Bayes
over the true tables, which says how much of a question can be known at all.
"""

import math
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
KINDS = ("history", "symptom", "sign", "lab", "imaging")
YEARS = {"years": 1.0, "months": 1 / 12, "weeks": 7 / 365.25}
RARE = 0.002  # probability of a finding that a condition's table lacks
BLUR = 0.5  # share of a shared finding's frequency that comes from the mimics
LEAST = {"conditions": 60, "specialties": 16, "wordings": 5, "mimics": 3}


class Finding:
    def __init__(self, ident, kind, wordings):
        self.id, self.kind = ident, kind
        self.train, self.reserved = wordings[:-1], wordings[-1]
        self.wordings = wordings


class Condition:
    """marks, finds, flags: {finding: frequency} as written; common: finds and flags after blur."""

    def __init__(self, ident, name):
        self.id, self.name = ident, name
        self.specialty, self.urgent, self.male = None, False, None
        self.age, self.unit = None, None
        self.marks, self.finds, self.flags, self.mimics = {}, {}, {}, []
        self.common = {}
        self.mechanism = self.next = None

    @property
    def table(self):
        return {**self.common, **self.marks}

    def text(self, form):
        return {"diagnosis": self.name, "mechanism": self.mechanism, "next step": self.next}[form]


class World:
    def __init__(self):
        self.findings = read_findings(HERE / "findings.txt")
        self.conditions = read_conditions(HERE / "conditions.txt")
        check(self)
        blur(self)


def blur(world):
    """Moves the frequencies of shared findings toward those of the mimics.

    Textbook tables separate conditions too well: with them half a dozen everyday findings already
    tell the answer. Findings of a mimic of one sex do not reach a condition of both.
    """
    for c in world.conditions.values():
        own = {**c.finds, **c.flags}
        mimics = [world.conditions[m] for m in c.mimics]
        barred = set(c.marks).union(*(m.marks for m in mimics))
        near = [{**m.finds, **m.flags} for m in mimics if m.male not in (0, 1) or m.male == c.male]
        for f in sorted(set(own) | set().union(*near) - barred):
            mean = sum(t.get(f, 0) for t in near) / len(near)
            mixed = (1 - BLUR) * own.get(f, 0) + BLUR * mean
            c.common[f] = round(mixed, 6)  # the last bit of a sum depends on the Python


# ---- random numbers ------------------------------------------------------------------------------


class Rng:
    """SplitMix64 over (seed, names..): every draw of a vignette has a stream of its own."""

    MASK = (1 << 64) - 1

    def __init__(self, seed, *names):
        self.state = seed & self.MASK
        for name in names:
            for byte in str(name).encode() + b"\0":
                self.state = (self.state ^ byte) & self.MASK
                self.state = self.bits()

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & self.MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & self.MASK
        return z ^ z >> 31

    def below(self, n):
        return self.bits() * n >> 64

    def chance(self, p):
        return self.bits() < int(p * (1 << 53)) << 11

    def pick(self, items):
        return items[self.below(len(items))]

    def shuffled(self, items):
        items = list(items)
        for i in range(len(items) - 1, 0, -1):
            j = self.below(i + 1)
            items[i], items[j] = items[j], items[i]
        return items


# ---- files ---------------------------------------------------------------------------------------


def lines(path):
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield f"{path.name}:{number}", line


def need(ok, where, message):
    if not ok:
        raise SystemExit(f"{where}: {message}")


def read_findings(path):
    found, head = {}, None
    for where, line in lines(path):
        if not line.startswith(" "):
            head = line.split()
            need(len(head) == 2 and head[1] in KINDS, where, "expected 'id kind'")
            need(head[0] not in found, where, f"{head[0]} is there twice")
            continue
        need(head, where, "wordings without a finding")
        wordings = [w.strip() for w in line.split("|")]
        need(len(wordings) >= LEAST["wordings"], where, f"{len(wordings)} wordings, 5 are needed")
        need(max(map(len, wordings)) <= 90, where, "a wording of more than 90 characters")
        found[head[0]] = Finding(head[0], head[1], wordings)
        head = None
    return found


def read_frequencies(where, text):
    table = {}
    for item in text.split(","):
        words = item.split()
        need(len(words) == 2 and words[0] not in table, where, f"no 'finding frequency': {item}")
        table[words[0]] = float(words[1])
        need(0 < table[words[0]] <= 1, where, f"frequency of {words[0]} is not in (0, 1]")
    return table


HEAD = re.compile(
    r"specialty (\w+)( urgent)?; age (\d+)-(\d+) (years|months|weeks); male ([0-9.]+)$"
)


def read_head(where, c, text):
    m = HEAD.match(text)
    need(m, where, "expected 'specialty ID [urgent]; age FROM-TO UNIT; male SHARE'")
    c.specialty, c.urgent = m[1], bool(m[2])
    c.age, c.unit, c.male = (int(m[3]), int(m[4])), m[5], float(m[6])
    need(c.age[0] < c.age[1] and 0 <= c.male <= 1, where, "age or share out of range")


def read_conditions(path):
    found, c = {}, None
    for where, line in lines(path):
        if not line.startswith(" "):
            ident, name = line.split(" = ", 1)
            need(ident not in found, where, f"{ident} is there twice")
            c = found[ident] = Condition(ident, name)
            continue
        text = line.strip()
        key, _, value = text.partition(": ")
        if text.startswith("specialty "):
            read_head(where, c, text)
        elif key in ("marks", "finds", "flags"):
            setattr(c, key, read_frequencies(where, value))
        elif key == "mimics":
            c.mimics = value.split(", ")
        elif key in ("mechanism", "next"):
            setattr(c, key, value)
        else:
            need(False, where, f"unknown key '{key}'")
    return found


def catalogue():
    """configs/specialties.yaml: a list of {id, name, kind, scope}, one plain line each."""
    entries = []
    for line in (ROOT / "configs" / "specialties.yaml").read_text(encoding="utf-8").splitlines():
        m = re.match(r"  (- | {2})(id|name|kind|scope): (.*)$", line)
        if m and m[1] == "- ":
            entries.append({})
        if m:
            entries[-1][m[2]] = m[3].strip()
    return entries


# ---- what must hold ------------------------------------------------------------------------------


def check_condition(world, c):
    where = f"condition {c.id}"
    need(c.specialty in {s["id"] for s in catalogue()}, where, f"no specialty {c.specialty}")
    need(1 <= len(c.marks) <= 2, where, "one or two discriminating findings are needed")
    need(max(c.marks.values()) >= 0.7, where, "no mark is frequent enough")
    need(c.mechanism and c.next and len(c.name) <= 80, where, "no mechanism, next or short name")
    findings = [*c.marks, *c.finds, *c.flags]
    need(len(set(findings)) == len(findings), where, "a finding is there twice")
    for f in findings:
        need(f in world.findings, where, f"no finding {f}")
    need(len(set(c.mimics)) >= LEAST["mimics"] and c.id not in c.mimics, where, "3 mimics needed")
    for m in c.mimics:
        need(m in world.conditions, where, f"no condition {m}")
    shared = set().union(*(world.conditions[m].finds for m in c.mimics)) & set(c.finds)
    need(len(shared) >= 2 or shared == set(c.finds), where, "shares too little with its mimics")


def check(world):
    texts, wordings = {}, {}
    for c in world.conditions.values():
        check_condition(world, c)
        for text in (c.name, c.mechanism, c.next):
            of = texts.get(text)
            need(not of, f"condition {c.id}", f"'{text}' is also a text of {of}")
            texts[text] = c.id
    for f in world.findings.values():
        for w in f.wordings:
            of = wordings.get(w)
            need(not of, f"finding {f.id}", f"'{w}' is also a wording of {of}")
            wordings[w] = f.id
    used = set()
    for c in world.conditions.values():
        used.update(c.marks, c.finds, c.flags)
    need(used == set(world.findings), "findings.txt", f"never used: {set(world.findings) - used}")
    need(len(world.conditions) >= LEAST["conditions"], "conditions.txt", "60 conditions are needed")
    n = len({c.specialty for c in world.conditions.values()})
    need(n >= LEAST["specialties"], "conditions.txt", "16 specialties are needed")


# ---- how much can be known -----------------------------------------------------------------------


def log_likelihood(c, years, male, shown, marks):
    """log P(age, sex, findings | c); marks = False when discriminating findings are never told."""
    lo, hi = (YEARS[c.unit] * c.age[0], YEARS[c.unit] * (c.age[1] + 1))
    sum_ = math.log(1 / (hi - lo)) if lo - 1e-9 <= years <= hi else math.log(1e-6)
    sum_ += math.log(max(c.male if male else 1 - c.male, 1e-6))
    table = c.table if marks else c.common
    for f in shown:
        sum_ += math.log(min(table.get(f, RARE), 1 - RARE))
    for f, p in table.items():
        if f not in shown:
            sum_ += math.log(max(1 - p, RARE))
    return sum_


def posterior(world, candidates, years, male, shown, marks=True):
    """P(condition | case) among candidates, by naive Bayes with a flat prior."""
    ll = [log_likelihood(world.conditions[c], years, male, shown, marks) for c in candidates]
    top = max(ll)
    weight = [math.exp(x - top) for x in ll]
    return {c: w / sum(weight) for c, w in zip(candidates, weight)}
