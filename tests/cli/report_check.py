#!/usr/bin/env python3
"""Recomputes the figures of a report from the traces of its runs, and compares. Standard library alone.

usage: report_check.py [--hostile] PAGE.html RUN..

It shares no code with the program. Wilson's interval, McNemar's test, Holm's adjustment, ECE, the Brier score and the
area below the risk-coverage curve are written here from their definitions. With --hostile it also checks that no
text of a run became an element, an attribute or a script.
"""
import base64
import gzip
import html.parser
import json
import math
import os
import re
import statistics
import sys
from fractions import Fraction

faults = []


def fault(text):
    faults.append(text)


class Page(html.parser.HTMLParser):
    """Cells with data-k by table, row and key; packed blocks by id; every tag and attribute."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.table, self.run, self.cell = None, None, None
        self.rows = {}  # (table, run, occurrence) -> {key: (value, text)}
        self.count = {}
        self.blocks, self.block = {}, None
        self.tags, self.scripts, self.events = set(), 0, []

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.tags.add(tag)
        self.events += [(tag, k, v) for k, v in attributes if k.startswith("on") or k in ("src", "style", "href", "srcset", "action")]
        if tag == "table":
            self.table = a.get("id")
        if tag == "tr" and "data-run" in a:
            place = (self.table, int(a["data-run"]))
            self.count[place] = self.count.get(place, -1) + 1
            self.run = (*place, self.count[place])
            self.rows[self.run] = {}
        if tag in ("td", "th"):
            self.cell = [a.get("data-k"), a.get("data-v"), a.get("data-label"), ""]
        if tag == "script":
            self.scripts += a.get("type") is None
            self.block = a.get("id") if a.get("type") == "application/octet-stream" else None
            if self.block:
                self.blocks[self.block] = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell:
            key = self.cell[0] or self.cell[2]
            if self.run and key:
                self.rows[self.run][key] = (self.cell[1], self.cell[3])
            self.cell = None
        if tag == "tr":
            self.run = None
        if tag == "script":
            self.block = None

    def handle_data(self, data):
        if self.block:
            self.blocks[self.block] += data
        elif self.cell:
            self.cell[3] += data

    def unpack(self, name):
        return json.loads(gzip.decompress(base64.b64decode(self.blocks[name])), parse_constant=lambda s: fault(f"block {name}: {s} is no JSON"))


def expand(folder):
    """The runs of an experiment in its order; any other folder is a run."""
    path = os.path.join(folder, "grid.json")
    if not os.path.exists(path):
        return [folder]
    with open(path, encoding="utf-8") as f:
        names = [c["name"] for c in json.load(f)["cells"]]
    return [d for d in (os.path.join(folder, n) for n in names) if os.path.exists(os.path.join(d, "run.json"))]


def lines(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        return [json.loads(s) for s in f.read().decode().splitlines()]


class Run:
    def __init__(self, folder):
        with open(os.path.join(folder, "run.json"), encoding="utf-8") as f:
            self.about = json.load(f)
        asked = self.about["asked"]
        self.records = lines(os.path.join(folder, "records.jsonl"))[:asked]
        trace = os.path.join(folder, "traces.jsonl")
        trace = trace if os.path.exists(trace) else trace + ".gz"
        self.cases, self.calls, open_calls = {}, {}, []
        for line in lines(trace):
            if "call" in line:
                open_calls.append(line)
                continue
            if line["n"] < asked:
                self.cases[line["n"]] = line
                self.calls[line["n"]] = open_calls
            open_calls = []
        self.done = [self.cases[k] for k in sorted(self.cases)]

    def mean(self, of):
        values = [of(c) for c in self.done]
        return statistics.fmean(values) if values and None not in values else math.nan

    def outcomes(self):
        """The case of each record, None where it is not known; a duplicate counts as the record that it repeats."""
        first = {}
        for i, r in enumerate(self.records):
            if r.get("id") and r["id"] not in first:
                first[r["id"]] = i
        return [self.cases.get(first.get(r.get("id"), -1)) for r in self.records]

    def imported(self):
        return any(c.get("imported") for c in self.done)


def open_rate(outcomes, rejected):
    """Right, n, and Wilson's interval; a record that is not run counts as wrong for its begin and as right for its end."""
    right, n = sum(bool(c and c["correct"]) for c in outcomes), len(outcomes)
    unknown = sum(c is None for c in outcomes) - rejected
    return right, n, unknown, wilson(right, n)[0], wilson(right + unknown, n)[1]


def wilson(k, n, z=1.959963984540054):
    if not n:
        return math.nan, math.nan
    p = k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def mcnemar(b, c):
    n, k = b + c, min(b, c)
    tail = sum(Fraction(math.comb(n, i), 2**n) for i in range(k + 1))
    return float(min(Fraction(1), 2 * tail))


def holm(p):
    order = sorted(range(len(p)), key=lambda i: p[i])
    out, worst = [0.0] * len(p), 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - place) * p[i]))
        out[i] = worst
    return out


def trust(run):
    pairs = [(c["p"], bool(c["correct"])) for c in run.done if c.get("p") is not None]
    out = {"n_ece": len(pairs), "ece": math.nan, "brier": math.nan, "aurc": math.nan, "at80": math.nan}
    if not pairs:
        return out
    bins = {}
    for p, right in pairs:
        bins.setdefault(min(9, int(p * 10)), []).append((p, right))
    out["ece"] = sum(abs(sum(r for _, r in b) - sum(p for p, _ in b)) for b in bins.values()) / len(pairs)
    out["brier"] = statistics.fmean((p - r) ** 2 for p, r in pairs)
    risk, kept, right = 0.0, 0, 0
    for level in sorted({p for p, _ in pairs}, reverse=True):
        same = [r for p, r in pairs if p == level]
        kept, right = kept + len(same), right + sum(same)
        risk += len(same) * (1 - right / kept)
        if math.isnan(out["at80"]) and kept >= 0.8 * len(pairs) - 1e-9:
            out["at80"] = right / kept
    out["aurc"] = risk / len(pairs)
    return out


def expected(run):
    """Figures of the tables `runs`, `costs` and `trust`."""
    own = run.done
    right, n, _, low, high = open_rate(run.outcomes(), sum(not r.get("id") for r in run.records))
    calls = [k for i in run.calls for k in run.calls[i]]
    out = {
        "n": n, "right": right, "accuracy": right / n if n else math.nan, "low": low, "high": high,
        "unparsed": sum(c["state"] == "unparsed" for c in own), "failed": sum(c["state"] == "failed" for c in own),
        "cut": sum(k["finish"] == "cut" for k in calls), "closed": sum(k["finish"] == "closed" for k in calls),
        "calls": run.mean(lambda c: c["calls"]), "prompt_tokens": run.mean(lambda c: c["prompt_tokens"]),
        "cached_tokens": run.mean(lambda c: c["cached_tokens"]),
        "think_tokens": run.mean(lambda c: c.get("think_tokens", 0)),
        "new_tokens": run.mean(lambda c: c["new_tokens"]),
        "seconds": statistics.median(c["seconds"] for c in own) if own and not run.imported() else math.nan,
    }
    if run.imported():  # the file of another program tells nothing of calls and replies
        out.update(dict.fromkeys(("cut", "closed", "calls", "think_tokens"), math.nan))
    out["computed"] = out["prompt_tokens"] - out["cached_tokens"] + out["think_tokens"] + out["new_tokens"]
    out.update(trust(run))
    return out


def compare(where, key, shown, value):
    have = float(shown) if shown else math.nan
    if not (math.isnan(have) and math.isnan(value)) and not abs(have - value) <= 1e-9 * max(1, abs(value)):
        fault(f"{where}: {key} is {shown!r} in the page, {value!r} from the traces")


def check_rounding(where, key, value, text):
    """A shown number is its unrounded value, in points of a percentage or not."""
    number = re.fullmatch(r"([+-]?[0-9.]+(?:e[+-]?\d+)?)( %)?", text)
    if not value or not number:
        if bool(value) != bool(number):
            fault(f"{where}: {key} shows {text!r} for {value!r}")
        return
    shown, v = float(number[1]), float(value)
    digits = len(number[1].split("e")[0].split(".")[1]) if "." in number[1] else 0
    room = 0.5 * 10.0**-digits + 1e-9
    if "e" in number[1] or key in ("seconds", "joules", "cost", "p", "p_holm", "token_usd"):
        room = max(abs(v) * 0.006, 1e-9)
    if min(abs(shown - v), abs(shown - 100 * v)) > room:
        fault(f"{where}: {key} shows {text!r} for {value}")


def check_tables(page, runs):
    seen = set()
    for i, run in enumerate(runs):
        want = expected(run)
        for table in ("runs", "costs", "trust"):
            for key, (value, text) in page.rows.get((table, i, 0), {}).items():
                if value is not None:
                    check_rounding(f"{table} {i}", key, value, text)
                if key in want:
                    seen.add(key)
                    compare(f"{table} {i}", key, value, float(want[key]))
        if missing := set(want) - seen:
            fault(f"run {i}: the page has no {', '.join(sorted(missing))}")
        by_role = {}
        for n in run.calls:
            for k in run.calls[n]:
                r = by_role.setdefault(k["role"], [0, 0, 0, 0])
                for at, one in enumerate((True, not k["parsed"], k["finish"] == "cut", k["finish"] == "closed")):
                    r[at] += one
        shown = {}
        for (table, at, _), cells in page.rows.items():
            if table == "roles" and at == i:
                shown[cells["Role"][1]] = [int(cells[k][0]) for k in ("role_calls", "role_unparsed", "role_cut", "role_closed")]
        if shown != by_role:
            fault(f"run {i}: calls by role {shown} in the page, {by_role} from the traces")


def check_groups(page, runs):
    """Shown positions and specialties: the tables beside the histograms."""
    for i, run in enumerate(runs):
        places, asked = {}, {}
        for c in run.done:
            for at, letter in enumerate(c.get("shown", "")):
                p = places.setdefault(chr(65 + at), [0, 0, 0])
                p[0] += letter == c["predicted"]
                p[1] += letter == c["key"]
                p[2] += letter == c["key"] and c["correct"]
            for s in c.get("selected", []):
                a = asked.setdefault(s, [0, 0])
                a[0] += 1
                a[1] += c["correct"]
        for table, name, keys, want in (("places", "Position", ("place_chosen", "place_key", "group_right"), places),
                                        ("asked", "Specialty", ("group_n", "group_right"), asked)):
            rows = [c for (t, at, _), c in page.rows.items() if (t, at) == (table, i)]
            if {c[name][1]: [int(c[k][0]) for k in keys] for c in rows} != want:
                fault(f"run {i}: the table {table} is not {want}")
            for c in rows:
                n, k = int(c[keys[-2]][0]), int(c["group_right"][0])
                low, high = wilson(k, n)
                for key, value in (("group_accuracy", k / n if n else math.nan), ("group_low", low), ("group_high", high)):
                    compare(f"{table} {i} {c[name][1]}", key, c[key][0], value)


def check_steps(page, runs):
    for i, run in enumerate(runs):
        groups = {}
        for r, c in zip(run.records, run.outcomes()):
            groups.setdefault("(rejected)" if not r.get("id") else r.get("step") or "(not given)", []).append(c)
        rows = [c for (t, at, _), c in page.rows.items() if (t, at) == ("steps", i)]
        if rows and sorted(c["Step"][1] for c in rows) != sorted(groups):
            fault(f"run {i}: the table of steps has not {', '.join(groups)}")
        for c in rows:
            name = c["Step"][1]
            right, n, unknown, low, high = open_rate(groups[name], len(groups[name]) if name == "(rejected)" else 0)
            for key, value in (("step_n", n), ("step_open", unknown), ("group_right", right), ("group_accuracy", right / n),
                               ("group_low", low), ("group_high", high)):
                compare(f"steps {i} {name}", key, c[key][0], float(value))


def check_pairs(page, runs):
    ps = []
    for i in range(1, len(runs)):
        a, b = ({c["case"]: c["correct"] for c in r.done} for r in (runs[0], runs[i]))
        both = [(a[k], b[k]) for k in a if k in b]
        want = {"pair_n": len(both), "both": sum(x and y for x, y in both), "only_first": sum(x and not y for x, y in both),
                "only_this": sum(y and not x for x, y in both), "neither": sum(not x and not y for x, y in both)}
        want["difference"] = (want["only_this"] - want["only_first"]) / len(both) if both else math.nan
        want["p"] = mcnemar(want["only_first"], want["only_this"]) if both else math.nan
        ps.append(want["p"])
        cells = page.rows.get(("paired", i, 0), {})
        for key, value in want.items():
            compare(f"paired {i}", key, cells.get(key, ("?",))[0], float(value))
    known = [p for p in ps if not math.isnan(p)]
    adjusted = iter(holm(known))
    for i, p in enumerate(ps, 1):
        compare(f"paired {i}", "p_holm", page.rows[("paired", i, 0)]["p_holm"][0], math.nan if math.isnan(p) else next(adjusted))


def whole_users(calls):
    """UTF-16 units, as the page's script counts."""
    out = []
    for c in calls:
        begin = out[c["from"]][: 2 * c["same"]] if "from" in c else b""
        out.append(begin + c["user"].encode("utf-16-le", "surrogatepass"))
    return [s.decode("utf-16-le") for s in out]


def check_cases(page, runs):
    index = page.unpack("index")
    at = {q["id"]: q for q in index["cases"]}
    for i, run in enumerate(runs):
        texts = page.unpack(f"t{i}")
        blocks = {}
        for n, case in run.cases.items():
            a = at[case["case"]]["runs"][i]
            where = f"run {i}, case {case['case']}"
            block = blocks.setdefault(a[3], None) or page.unpack(f"b{i}-{a[3]}")
            blocks[a[3]] = block
            one, calls = block[a[4]], run.calls[n]
            if (a[0], bool(a[2] & 1)) != (case["state"], case["correct"]) or a[1] != (case["predicted"] or case["answer"]):
                fault(f"{where}: outcome {a} is not {case['state']} {case['predicted']}")
            if len(one["calls"]) != len(calls):
                fault(f"{where}: {len(one['calls'])} calls, the trace has {len(calls)}")
            for packed, user, call in zip(one["calls"], whole_users(one["calls"]), calls):
                same = texts[packed["system"]] == call["system"] and user == call["user"] and packed["role"] == call["role"]
                if not same or ("options" not in call and packed["reply"] != call["reply"]):
                    fault(f"{where}: a text of {call['role']} {call['index']} is not the trace's")
        if sum(q["runs"][i] not in (None, 0) for q in index["cases"]) != len(run.cases):
            fault(f"run {i}: the list of cases has not {len(run.cases)} of it")


def check_safe(page, text):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    if not policy or "default-src 'none'" not in policy[1] or "unsafe" in policy[1]:
        fault("no strict content security policy")
    if page.scripts != 1:
        fault(f"{page.scripts} scripts, expected 1")
    if odd := page.tags & {"img", "iframe", "object", "embed", "base", "b>", "audio", "video"}:
        fault(f"elements {odd}")
    for tag, key, value in page.events:
        fine = key == "href" and (value.startswith("#") or (tag == "link" and value == "data:,"))
        if not fine:
            fault(f"<{tag} {key}={value!r}>")
    if len(re.findall(r"<style", text)) != 1 or "alert(" in re.sub(r"<script.*?</script>", "", text, flags=re.S).replace("&lt;", ""):
        marked = re.search(r"<[^>]*alert\(", text)
        if marked:
            fault(f"a text became markup: {marked[0][:80]}")


def main():
    hostile = sys.argv[1] == "--hostile"
    path, *folders = sys.argv[1 + hostile:]
    with open(path, encoding="utf-8") as f:
        text = f.read()
    page = Page()
    page.feed(text)
    runs = [Run(f) for folder in folders for f in expand(folder)]
    check_tables(page, runs)
    check_groups(page, runs)
    check_steps(page, runs)
    if len(runs) > 1:
        check_pairs(page, runs)
    check_cases(page, runs)
    check_safe(page, text)
    for f in faults[:20]:
        print("FAILED:", f)
    cells = sum(len(r) for r in page.rows.values())
    print(f"{cells} cells of tables, {sum(len(r.cases) for r in runs)} cases compared, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
