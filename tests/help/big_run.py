#!/usr/bin/env python3
"""Writes the folder of a run as large as a whole evaluation, for measurements: 1,273 questions, 7 calls each.

usage: big_run.py SMALL OUT [QUESTIONS]

SMALL is the folder of a real run of a strategy. Its cases are repeated with new ids. Words of questions and replies
are replaced at random, so that no text repeats another one. Checksums and hashes are those of the new texts.
"""
import gzip
import hashlib
import json
import os
import random
import re
import sys
import zlib


def line(text):
    """A line of a trace with its checksum."""
    return f'{text}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'


def main():
    small, out, n = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1273
    rng = random.Random(1)
    os.makedirs(out)
    with gzip.open(os.path.join(small, "traces.jsonl.gz"), "rt", encoding="utf-8") as f:
        lines = [s.rstrip("\n").rsplit(', "crc"', 1)[0] for s in f]
    cases, group = [], []
    for s in lines:
        group.append(s)
        if s.startswith('{"case"'):
            cases.append(group)
            group = []
    with open(os.path.join(small, "records.jsonl"), encoding="utf-8") as f:
        records = [json.loads(s) for s in f]
    words = sorted(set(re.findall(r"\b[a-z]{5,}\b", " ".join(lines))))
    made, rows = [], []
    for i in range(n):
        case = cases[i % len(cases)]
        was = json.loads(case[-1] + "}")
        new = hashlib.sha256(str(i).encode()).hexdigest()[:16]
        swap = {w: rng.choice(words) for w in rng.sample(words, len(words) // 3)}
        made_case = []
        for s in case:
            head, mark, tail = s.partition('"user": ')
            begin, mark2, question = s.partition('"question": ')
            if mark:
                tail = re.sub(r"(?<=[a-z] )[a-z]{5,}\b", lambda m: swap.get(m[0], m[0]) if rng.random() < 0.5 else m[0], tail)
                s = head + mark + tail
            if '"reply": "' in s: # as long as the replies of a large model
                s = s[:-1] + " " + " ".join(rng.choices(words, k=300)) + '"'
            s = s.replace(f'"{was["case"]}"', f'"{new}"')
            if s.startswith('{"case"'):
                s = re.sub(r'"n": \d+', f'"n": {i}', s, count=1)
                s = re.sub(r'"ended": [0-9.e+]+', f'"ended": {1000 + 1.5 * i + rng.random():.3f}', s)
            made_case.append(line(s))
        made.append("".join(made_case))
        row = dict(records[was["n"]])
        row.update({"record": i, "id": new, "line": i + 1})
        rows.append(row)
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
    with open(os.path.join(out, "records.jsonl"), "w", encoding="utf-8") as f:
        f.write(text)
    with open(os.path.join(small, "run.json"), encoding="utf-8") as f:
        run = json.load(f)
    run["asked"] = n
    run["figures"] = None
    run["data"].update({"records": n, "questions": n, "records_sha256": hashlib.sha256(text.encode()).hexdigest()})
    with open(os.path.join(out, "run.json"), "w", encoding="utf-8") as f:
        json.dump(run, f)
    with open(os.path.join(out, "traces.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(made)


if __name__ == "__main__":
    main()
