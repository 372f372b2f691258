#!/usr/bin/env python3
"""vignettes: makes multiple-choice questions about the patients of a toy world.

A TOY WORLD, made for testing software: no medical meaning, no medical use.

    python3 tools/training/demo_model/vignettes.py --split test --n 1000 --seed 1 > test.jsonl
    python3 tools/training/demo_model/vignettes.py --stats

One JSON object a line, in the form of MedQA (question, answer, options, answer_idx, meta_info) with
what a test may ask about: condition, specialty, form, choices (condition of each letter), age,
male, findings ([id, wording] as told), discriminators (told ones), split, seed, number.

Splits differ by wording and by vignette. The last wording of every finding and of every closing
question is reserved: train never has one, dev and test have at least one in every vignette (half of
the rest). Dev and test are told apart by a bit of the vignette's hash, so no seed can mix them.
Within a split all vignettes differ. Conditions, forms and answer letters take turns.

    --without-discriminator  the same vignettes without their discriminating findings
    --shuffle-options        the same vignettes with the options in another order
    --plain                  only MedQA's own fields, as for the file in configs/demo
"""

import argparse
import hashlib
import json
import math
import sys

from world import KINDS, YEARS, Rng, World, posterior

SPLITS = ("train", "dev", "test")
FORMS = ("diagnosis", "next step", "mechanism")
CLOSING = {  # the last one is reserved for dev and test
    "diagnosis": [
        "What is the most likely diagnosis?",
        "Which of the following is the most likely diagnosis?",
        "Which diagnosis explains these findings best?",
        "Which condition is the most likely diagnosis?",
    ],
    "next step": [
        "What is the best next step in management?",
        "Which of the following is the most appropriate next step?",
        "How should this patient be managed next?",
        "Which next step in management is the most appropriate?",
    ],
    "mechanism": [
        "What is the underlying mechanism?",
        "Which of the following mechanisms explains this condition?",
        "Which process is the most likely cause of these findings?",
        "Which mechanism is the most likely cause of this condition?",
    ],
}
ARRIVAL = ("comes to the clinic", "is brought to the hospital", "sees a physician", "is seen")
LEAD = {
    "history": ("{His} history includes {x}.", "Known from before: {x}.", "On record: {x}."),
    "symptom": ("{He} also reports {x}.", "Also reported: {x}.", "Further complaints are {x}."),
    "sign": ("Examination shows {x}.", "On examination: {x}.", "The physician notes {x}."),
    "lab": ("Testing shows {x}.", "Tests reveal {x}.", "The results include {x}."),
    "imaging": ("Further studies show {x}.", "The study shows {x}.", "Work-up shows {x}."),
}


# ---- one case ------------------------------------------------------------------------------------


def draw_findings(rng, c):
    """Findings as their frequencies have it, with at least one mark and two others."""
    while True:
        shown = [f for f, p in c.table.items() if rng.chance(p)]
        marks = sum(f in c.marks for f in shown)
        if marks and len(shown) - marks >= min(2, len(c.finds)):
            return rng.shuffled(shown)


def draw_wordings(rng, world, c, shown, split):
    """[id, wording] of each finding; dev, test: one that is no mark always has its reserved one."""
    sure = next(f for f in shown if f not in c.marks)
    told = []
    for f in shown:
        half = rng.chance(0.5)
        word = rng.pick(world.findings[f].train)
        reserved = split != "train" and (half or f == sure)
        told.append([f, world.findings[f].reserved if reserved else word])
    return told


def draw_case(rng, world, c, form, split):
    case = {"condition": c.id, "form": form, "male": rng.chance(c.male)}
    case["age"] = c.age[0] + rng.below(c.age[1] - c.age[0] + 1)
    case["findings"] = draw_wordings(rng, world, c, draw_findings(rng, c), split)
    closings = CLOSING[form] if split != "train" else CLOSING[form][:-1]
    case["closing"] = rng.pick(closings)
    case["arrival"] = rng.pick(ARRIVAL)
    case["lead"] = {kind: rng.pick(LEAD[kind]) for kind in KINDS}
    return case


# ---- its text ------------------------------------------------------------------------------------


def listed(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def patient(c, case):
    age = case["age"]
    child = c.unit != "years" or age < 18
    noun = ("boy" if child else "man") if case["male"] else ("girl" if child else "woman")
    article = "An" if age in (8, 11, 18) or 80 <= age < 90 else "A"
    return f"{article} {age}-{c.unit[:-1]}-old {noun}"


def question_text(world, case, marks=True):
    c = world.conditions[case["condition"]]
    by_kind = {kind: [] for kind in KINDS}
    for f, wording in case["findings"]:
        if marks or f not in c.marks:
            by_kind[world.findings[f].kind].append(wording)
    first, by_kind["symptom"] = by_kind["symptom"][:2], by_kind["symptom"][2:]
    with_ = f" with {listed(first)}" if first else ""
    text = [f"{patient(c, case)} {case['arrival']}{with_}."]
    his, he = ("His", "He") if case["male"] else ("Her", "She")
    for kind in KINDS:
        if by_kind[kind]:
            text.append(case["lead"][kind].format(x=listed(by_kind[kind]), His=his, He=he))
    return " ".join(text + [case["closing"]])


# ---- questions -----------------------------------------------------------------------------------


def turns(seed, name, items, i):
    """Item i of an endless row in which all items take turns, each round in an order of its own."""
    items = list(items)
    return Rng(seed, name, i // len(items)).shuffled(items)[i % len(items)]


def side(text):
    """dev or test, by the text alone."""
    return SPLITS[1 + (hashlib.sha256(text.encode()).digest()[0] & 1)]


def record(world, case, split, seed, i, marks, shuffle):
    c = world.conditions[case["condition"]]
    kept = [t for t in case["findings"] if marks or t[0] not in c.marks]
    order = "letters again" if shuffle else "letters"
    others = Rng(seed, split, "mimics", i).shuffled(c.mimics)[:3]
    if shuffle:
        others = others[1:] + others[:1]
    letter = turns(seed, f"{split} {order}", range(4), i)
    choices = others[:letter] + [c.id] + others[letter:]
    options = {"ABCD"[j]: world.conditions[m].text(case["form"]) for j, m in enumerate(choices)}
    return {
        "question": question_text(world, case, marks),
        "answer": c.text(case["form"]),
        "options": options,
        "meta_info": "toy " + case["form"],
        "answer_idx": "ABCD"[letter],
        "condition": c.id,
        "specialty": c.specialty,
        "form": case["form"],
        "choices": choices,
        "age": [case["age"], c.unit],
        "male": case["male"],
        "findings": kept,
        "discriminators": [f for f, _ in kept if f in c.marks],
        "split": split,
        "seed": seed,
        "number": i,
    }


def generate(world, split, n, seed, marks=True, shuffle=False):
    """Yields n questions. Options of an ablation change texts, never which cases are drawn."""
    seen = set()
    for i in range(n):
        c = world.conditions[turns(seed, split + " conditions", sorted(world.conditions), i)]
        form = FORMS[Rng(seed, split, "form", i).below(3)]
        for attempt in range(1000):
            case = draw_case(Rng(seed, split, i, attempt), world, c, form, split)
            text = question_text(world, case)
            if text not in seen and (split == "train" or side(text) == split):
                break
        else:
            raise SystemExit(f"no new vignette of {c.id} after 1000 draws; lower --n")
        seen.add(text)
        check_split(world, case, split)
        yield record(world, case, split, seed, i, marks, shuffle)


def check_split(world, case, split):
    reserved = [f for f, w in case["findings"] if w == world.findings[f].reserved]
    if split == "train":
        assert not reserved and case["closing"] != CLOSING[case["form"]][-1]
    else:
        assert reserved


# ---- statistics ----------------------------------------------------------------------------------


def bayes_accuracy(world, records, marks):
    """Share of questions whose answer naive Bayes over the true tables finds among the options."""
    right = 0
    for r in records:
        years = r["age"][0] * YEARS[r["age"][1]]
        p = posterior(world, r["choices"], years, r["male"], {f for f, _ in r["findings"]}, marks)
        right += max(r["choices"], key=p.get) == r["condition"]
    return right / len(records)


def words_accuracy(world, train, test):
    """Naive Bayes over the words of the questions, learnt from train, without the tables."""
    counts = {c: {} for c in world.conditions}
    for r in train:
        for w in set(r["question"].lower().replace(",", "").split()):
            counts[r["condition"]][w] = counts[r["condition"]].get(w, 0) + 1
    known = set().union(*counts.values())
    n = len(train) / len(counts)  # conditions take turns
    right = 0
    for r in test:
        words = known & set(r["question"].lower().replace(",", "").split())
        score = {
            c: sum(math.log((counts[c].get(w, 0) + 0.1) / (n + 0.2)) for w in sorted(words))
            for c in r["choices"]
        }
        right += max(r["choices"], key=score.get) == r["condition"]
    return right / len(test)


def content_words(text):
    return {w.strip(",.").lower() for w in text.split() if len(w.strip(",.")) >= 4}


def reachable(world):
    """Findings whose reserved wording shares a longer word with one that train has."""
    return sum(
        bool(content_words(f.reserved) & set().union(*map(content_words, f.train)))
        for f in world.findings.values()
    )


def overlap(world, n, seed):
    """Questions that two splits share; stops if train has a reserved closing question."""
    texts = {s: {r["question"] for r in generate(world, s, n, seed)} for s in SPLITS}
    for text in texts["train"]:
        for form in FORMS:
            assert CLOSING[form][-1] not in text
    a, b, c = texts.values()
    return len(a & b | a & c | b & c)


def print_stats(world, n, seed):
    plain = list(generate(world, "test", n, seed))
    without = list(generate(world, "test", n, seed, marks=False))
    shuffled = list(generate(world, "test", n, seed, shuffle=True))
    shared = overlap(world, n, seed)
    assert not shared, f"{shared} vignettes are in two splits"
    learnt = list(generate(world, "train", 4 * n, seed))
    letters = {x: sum(r["answer_idx"] == x for r in plain) for x in "ABCD"}
    told = sum(len(r["findings"]) for r in plain) / n
    words = sum(len(r["question"].split()) for r in plain) / n
    rows = [
        ("conditions", len(world.conditions)),
        ("specialties", len({c.specialty for c in world.conditions.values()})),
        ("findings", len(world.findings)),
        ("wordings", sum(len(f.wordings) for f in world.findings.values())),
        ("reserved wordings", len(world.findings)),
        ("reserved wordings that share a word with a training wording", reachable(world)),
        (f"test vignettes (seed {seed})", n),
        ("findings told in a vignette, mean", f"{told:.2f}"),
        ("words in a question, mean", f"{words:.1f}"),
        ("answer letters", " ".join(f"{k} {v}" for k, v in letters.items())),
        ("naive Bayes", f"{100 * bayes_accuracy(world, plain, True):.2f} %"),
        ("naive Bayes, options shuffled", f"{100 * bayes_accuracy(world, shuffled, True):.2f} %"),
        ("naive Bayes, no discriminator", f"{100 * bayes_accuracy(world, without, False):.2f} %"),
        (f"words of {4 * n} of train", f"{100 * words_accuracy(world, learnt, plain):.2f} %"),
        ("the same, no discriminator", f"{100 * words_accuracy(world, learnt, without):.2f} %"),
        ("vignettes shared by train, dev, test", shared),
    ]
    for name, value in rows:
        print(f"{name:62} {value}")


def main():
    p = argparse.ArgumentParser(description="Questions of a toy world, made for testing software.")
    p.add_argument("--split", choices=SPLITS, default="test")
    p.add_argument("--n", type=int, help="how many (default 1000; --stats: 2000)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--without-discriminator", action="store_true")
    p.add_argument("--shuffle-options", action="store_true")
    p.add_argument("--plain", action="store_true", help="only the fields that MedQA has")
    p.add_argument("--stats", action="store_true", help="print what the world holds, and stop")
    a = p.parse_args()
    world = World()
    if a.stats:
        print_stats(world, a.n or 2000, a.seed)
        return
    marks, shuffle = not a.without_discriminator, a.shuffle_options
    for r in generate(world, a.split, a.n or 1000, a.seed, marks, shuffle):
        if a.plain:
            r = {k: r[k] for k in ("question", "answer", "options", "meta_info", "answer_idx")}
        sys.stdout.write(json.dumps(r) + "\n")


if __name__ == "__main__":
    main()
