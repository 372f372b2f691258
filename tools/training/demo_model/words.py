#!/usr/bin/env python3
"""words: the words that the toy model has met in training, for telling that a case is not of its world.

Part of a toy world, made for testing software: no medical meaning, no medical use.

    python3 tools/training/demo_model/words.py > configs/demo/words.txt
    python3 tools/training/demo_model/words.py --share QUESTIONS.jsonl ..

A word is a run of two or more bytes in lower case that are letters or no ASCII. The list holds those of all texts that a question of the train
split can be made of: wordings (the reserved ones are left out), names, mechanisms, next steps, sentences. --share
prints how large a part of the words of each question and its options is not among them.
"""

import json
import re
import sys

from vignettes import ARRIVAL, CLOSING, LEAD
from world import World

HEAD = """# The words that the toy model has met in training: tools/training/demo_model/words.py made this file
#     python3 tools/training/demo_model/words.py > configs/demo/words.txt
"""
WORD = re.compile(rb"[a-z\x80-\xff]{2,}")


def words(text):
    return [w.decode(errors="replace") for w in WORD.findall(text.encode().lower())]  # bytes: ASCII alone


def known(world):
    texts = ["years months weeks year month week old man woman boy girl His Her He She an and with"]
    texts += [w for f in world.findings.values() for w in f.train]
    for c in world.conditions.values():
        texts += [c.name, c.mechanism, c.next]
    texts += ARRIVAL
    texts += [re.sub(r"\{\w+\}", " ", t) for ts in LEAD.values() for t in ts]
    texts += [t for ts in CLOSING.values() for t in ts[:-1]]
    return {w for t in texts for w in words(t)}


def share(record, have):
    """Unknown and all words of a question with its options."""
    text = words(" ".join([record["question"], *record["options"].values()]))
    return sum(w not in have for w in text), len(text)


def main():
    have = known(World())
    if sys.argv[1:2] != ["--share"]:
        sys.stdout.write(HEAD + "".join(w + "\n" for w in sorted(have)))
        return
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as lines:
            shares = sorted(u / n for u, n in (share(json.loads(x), have) for x in lines))
        n = len(shares)
        at = [shares[min(n - 1, int(q * n))] for q in (0, 0.01, 0.05, 0.5, 0.95, 0.99, 1)]
        print(f"{path}: {n} questions, unknown words in percent: least {100 * at[0]:.1f}, 1 % below {100 * at[1]:.1f}, "
              f"5 % below {100 * at[2]:.1f}, median {100 * at[3]:.1f}, 95 % below {100 * at[4]:.1f}, "
              f"99 % below {100 * at[5]:.1f}, most {100 * at[6]:.1f}")


if __name__ == "__main__":
    main()
