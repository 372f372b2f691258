#!/usr/bin/env python3
"""Keeps results of tests/gpu/run.sh: DATE-GPU-COMMIT.json in a folder, from the tars of one build and one GPU.

usage: keep.py [-o FOLDER] result-A.tar [result-B.tar]    (default folder: tests/gpu/results)

load() is also table.py's reader. It takes a tar, also one of a command that was killed, or a kept file.
"""
import json
import os
import re
import sys
import tarfile


def rows_of(log):
    """The results and ceilings that `mas bench kernels` had printed when it was stopped; None: nothing."""
    found = {"rows": []}
    for line in log.splitlines():
        line = line.strip().rstrip(",")
        if line.startswith('"ceiling": '):
            line = "{" + line + "}"
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "op" in row and "kernel" in row:
            found["rows"].append(row)
        elif isinstance(row, dict) and "ceiling" in row:
            found.update(row)
    return found if found["rows"] else None


def load(path):
    """A list of steps, in their order; each is the object of its JSON file."""
    if not tarfile.is_tarfile(path):
        with open(path, encoding="utf-8") as f:
            return json.load(f)["steps"]
    steps, logs = [], {}
    with tarfile.open(path) as tar:
        for member in tar:
            if not member.isfile():
                continue
            text = tar.extractfile(member).read().decode("utf-8", "replace")
            folder, name = os.path.split(member.name)
            if folder == "steps" and re.fullmatch(r"[0-9]+-.*\.json", name):
                steps.append((name[:-5], json.loads(text)))
            elif folder == "logs" and name.endswith(".out"):
                logs[name[:-4]] = text
    steps.sort()
    for name, step in steps:
        if step["data"] is None:
            step["data"] = rows_of(logs.get(name, ""))
    return [step for _, step in steps]


def environment(steps):
    for step in steps:
        if step["step"] == "environment" and step["data"]:
            return step["data"]
    raise SystemExit("no step 'environment' with data: the first step had not ended")


def main(argv):
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results")
    if argv[:1] == ["-o"]:
        folder, argv = argv[1], argv[2:]
    if not argv:
        raise SystemExit(__doc__)
    runs = [load(path) for path in argv]
    first = environment(runs[0])
    for run in runs[1:]:
        other = environment(run)
        if (other["program"], other["name"]) != (first["program"], first["name"]):
            raise SystemExit(f"{argv[1]}: {other['program']} on {other['name']}, "
                             f"but {argv[0]} has {first['program']} on {first['name']}")
    card = re.sub(r"[^A-Za-z0-9]+", "-", first["name"] or first["kind"]).strip("-")
    commit = re.search(r"\((.*)\)", first["program"]).group(1)
    path = os.path.join(folder, f"{first['date'][:10]}-{card}-{commit}.json")
    os.makedirs(folder, exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write('{"format": 1, "steps": [\n')
        f.write(",\n".join(json.dumps(step) for run in runs for step in run))
        f.write("\n]}\n")
    print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
