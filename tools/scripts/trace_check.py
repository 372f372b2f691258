#!/usr/bin/env python3
"""Checks a trace file against the rules of the Chrome Trace Event format (JSON object form).

    trace_check.py TRACE                    checks the file, prints its totals
    trace_check.py TRACE --profile P.json   also compares op times with `mas profile -o json`

Rules: each event has the members of its kind; numbers are finite and no duration is negative; the
complete events of a thread nest; every begin of an async event has its end; every flow has a start
and an end in order of time, each inside a slice; processes and threads have names.

Exit status 0: no fault. 1: faults, the first of them are printed, or P.json is no profile. 2: a file cannot
be read.
"""
import argparse
import collections
import json
import math
import signal
import sys

SHOWN = 20  # faults that are printed
MEMBERS = {
    "X": ("name", "cat", "ts", "dur", "pid", "tid"),
    "b": ("name", "cat", "id", "ts", "pid", "tid"),
    "e": ("name", "cat", "id", "ts", "pid", "tid"),
    "s": ("name", "cat", "id", "ts", "pid", "tid"),
    "t": ("name", "cat", "id", "ts", "pid", "tid"),
    "f": ("name", "cat", "id", "ts", "pid", "tid"),
    "C": ("name", "ts", "pid", "args"),
    "M": ("name", "pid", "args"),
    "i": ("name", "ts", "pid", "s"),
}
TEXTS = ("name", "cat", "ph", "s", "bp")
METADATA = {
    "process_name": ("name", str),
    "thread_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_sort_index": ("sort_index", int),
}


def no_constant(name):
    raise ValueError(f"{name} is no JSON number")


def unique(pairs):
    keys = [k for k, _ in pairs]
    for k in keys:
        if keys.count(k) > 1:
            raise ValueError(f"member {k!r} occurs twice")
    return dict(pairs)


def is_number(v):
    try:
        return isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
    except OverflowError:  # a whole number above all floats
        return False


def ns(us):
    """Microseconds as whole nanoseconds: sums and comparisons are exact."""
    return round(us * 1000)


class Checker:
    def __init__(self):
        self.faults = []
        self.slices = collections.defaultdict(list)  # (pid, tid) -> [(start, end, number)]
        self.open = collections.defaultdict(list)  # async: (pid, cat, id) -> [(name, ts)]
        self.flows = collections.defaultdict(list)  # (cat, name, id) -> [(ts, number, ph, thread)]
        self.named = set()  # pids and (pid, tid)
        self.used = {}  # likewise -> number of the first event
        self.op_ns = collections.Counter()  # (phase, op) -> ns
        self.counts = collections.Counter()

    def fault(self, number, text):
        self.faults.append(f"event {number}: {text}" if number is not None else text)

    def file(self, doc):
        if not isinstance(doc, dict):
            return self.fault(None, "the file is no JSON object")
        if not isinstance(doc.get("traceEvents"), list):
            return self.fault(None, "no array traceEvents")
        if doc.get("displayTimeUnit", "ms") not in ("ms", "ns"):
            self.fault(None, f"displayTimeUnit is {doc['displayTimeUnit']!r}; ms or ns")
        if not isinstance(doc.get("otherData", {}), dict):
            self.fault(None, "otherData is no object")
        for number, event in enumerate(doc["traceEvents"]):
            self.event(number, event)
        for thread in self.slices:
            self.nesting(thread)
        for key, left in self.open.items():
            for name, _, number in left:
                self.fault(number, f"async event {name!r} with id {key[2]} has no end")
        for key, ends in self.flows.items():
            self.flow(key, ends)
        for who, number in self.used.items():
            if who not in self.named:
                what = f"thread {who[1]} of process {who[0]}" if isinstance(who, tuple) else f"process {who}"
                self.fault(number, f"{what} has no name")

    def event(self, number, e):
        if not isinstance(e, dict):
            return self.fault(number, "no object")
        ph = e.get("ph")
        if ph not in MEMBERS:
            return self.fault(number, f"unknown kind ph={ph!r}")
        self.counts[ph] += 1
        for member in MEMBERS[ph]:
            if member not in e:
                return self.fault(number, f"ph={ph} without {member!r}")
        for member in TEXTS:
            if member in e and not isinstance(e[member], str):
                return self.fault(number, f"{member} is no text")
        for member in ("ts", "dur"):
            if member in e and not is_number(e[member]):
                return self.fault(number, f"{member} is no finite number")
        for member in ("pid", "tid"):
            if member in e and not (isinstance(e[member], int) and not isinstance(e[member], bool)):
                return self.fault(number, f"{member} is no integer")
        if "id" in e and not (isinstance(e["id"], str) or is_number(e["id"])):
            return self.fault(number, "id is neither text nor number")
        if e.get("ts", 0) < 0:
            return self.fault(number, f"negative time {e['ts']}")
        if "args" in e and not isinstance(e["args"], dict):
            return self.fault(number, "args is no object")
        if ph != "M":
            self.used.setdefault(e["pid"], number)
            if "tid" in e:
                self.used.setdefault((e["pid"], e["tid"]), number)
        getattr(self, {"X": "complete", "C": "counter", "M": "metadata", "i": "instant", "b": "begin", "e": "end"}
                .get(ph, "flow_end"))(number, e)

    def complete(self, number, e):
        if e["dur"] < 0:
            return self.fault(number, f"negative duration {e['dur']}")
        start = ns(e["ts"])
        self.slices[e["pid"], e["tid"]].append((start, start + ns(e["dur"]), number))
        if e["cat"] == "op":
            phase = e.get("args", {}).get("phase", "")
            if not isinstance(phase, str):
                return self.fault(number, "args.phase is no text")
            self.op_ns[phase, e["name"]] += ns(e["dur"])

    def counter(self, number, e):
        if not e["args"]:
            self.fault(number, "a counter without values")
        for key, value in e["args"].items():
            if not is_number(value):
                self.fault(number, f"value {key!r} of a counter is no finite number")

    def metadata(self, number, e):
        if e["name"] not in METADATA:
            return self.fault(number, f"unknown metadata {e['name']!r}")
        key, kind = METADATA[e["name"]]
        if not isinstance(e["args"].get(key), kind):
            return self.fault(number, f"{e['name']} without args.{key}")
        if e["name"].startswith("thread_") and "tid" not in e:
            return self.fault(number, f"{e['name']} without 'tid'")
        if e["name"] == "process_name":
            self.named.add(e["pid"])
        if e["name"] == "thread_name":
            self.named.add((e["pid"], e["tid"]))

    def instant(self, number, e):
        if e["s"] not in ("g", "p", "t"):
            self.fault(number, f"scope {e['s']!r} of an instant event; g, p or t")

    def begin(self, number, e):
        self.open[e["pid"], e["cat"], e["id"]].append((e["name"], e["ts"], number))

    def end(self, number, e):
        stack = self.open[e["pid"], e["cat"], e["id"]]
        if not stack:
            return self.fault(number, f"end of async event {e['name']!r} with id {e['id']} without a begin")
        name, ts, _ = stack.pop()
        if name != e["name"]:
            self.fault(number, f"async event {name!r} ends as {e['name']!r}")
        if ts > e["ts"]:
            self.fault(number, f"async event {name!r} ends before it begins")

    def flow_end(self, number, e):
        if e["ph"] == "f" and e.get("bp", "") != "e":
            self.fault(number, "end of a flow without bp='e': it would bind to the next slice")
        thread = (e["pid"], e["tid"])
        self.flows[e["cat"], e["name"], e["id"]].append((ns(e["ts"]), number, e["ph"], thread))

    def nesting(self, thread):
        around = []
        for start, end, number in sorted(self.slices[thread], key=lambda s: (s[0], -s[1], s[2])):
            while around and around[-1][1] <= start:
                around.pop()
            if around and around[-1][1] < end:
                self.fault(number, f"overlaps event {around[-1][2]} of thread {thread[1]} without nesting in it: "
                                   f"{start} to {end} ns, {around[-1][0]} to {around[-1][1]} ns")
            else:
                around.append((start, end, number))

    def flow(self, key, ends):
        name, number = f"flow {key[1]!r} with id {key[2]}", ends[0][1]
        order = sorted(ends, key=lambda f: (f[0], "stf".index(f[2])))
        kinds = "".join(f[2] for f in order)
        if kinds.count("s") != 1 or kinds.count("f") != 1:
            return self.fault(number, f"{name} has {kinds.count('s')} starts and {kinds.count('f')} ends")
        if kinds[0] != "s" or kinds[-1] != "f":
            return self.fault(number, f"{name} does not go forward in time")
        for at, where, _, thread in order:
            if not self.inside(at, thread):
                self.fault(where, f"{name} is in no slice of thread {thread[1]}")

    def inside(self, at, thread):
        if not hasattr(self, "starts"):
            self.starts = {}
        if thread not in self.starts:
            self.starts[thread] = cover(self.slices.get(thread, ()))
        return any(start <= at <= end for start, end in near(self.starts[thread], at))


def cover(slices):
    """The union of the slices as intervals in order of time."""
    out = []
    for start, end, _ in sorted(slices):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def near(intervals, at):
    low, high = 0, len(intervals)
    while low < high:
        mid = (low + high) // 2
        if intervals[mid][1] < at:
            low = mid + 1
        else:
            high = mid
    return intervals[low:low + 1]


def table_ns(path, doc):
    """(phase, op) -> ns of the rows of mas profile -o json. Ends the program if the file is another one."""
    def refuse(why):
        print(f"{path}: {why}; name the output of mas profile -o json", file=sys.stderr)
        sys.exit(1)

    out = collections.Counter()
    if not isinstance(doc, dict):
        refuse("no JSON object")
    if not isinstance(doc.get("rows"), list):
        refuse("a timeline" if "traceEvents" in doc else "no array rows")
    for number, row in enumerate(doc["rows"]):
        if not isinstance(row, dict):
            refuse(f"row {number}: no object")
        if not isinstance(row.get("op"), str) or not isinstance(row.get("phase"), str):
            refuse(f"row {number}: no texts op and phase")
        if row.get("calls"):
            if not is_number(row.get("ms")):
                refuse(f"row {number}: ms is no finite number")
            out[row["phase"], row["op"]] += row["ms"] * 1e6
    return out


def compare(check, table, within):
    for key in sorted(set(check.op_ns) | set(table)):
        ours, theirs = check.op_ns.get(key, 0), table.get(key, 0)
        if abs(ours - theirs) > within * max(ours, theirs):
            check.fault(None, f"{key[0] or 'no phase'}, {key[1]}: {ours / 1e6:.6f} ms in the trace, "
                              f"{theirs / 1e6:.6f} ms in the profile")
    if not table:
        check.fault(None, "the profile has no rows with calls")


def load(path):
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f, parse_constant=no_constant, object_pairs_hook=unique)
    except (OSError, ValueError, RecursionError) as why:
        print(f"{path}: cannot be read: {why}", file=sys.stderr)
        sys.exit(2)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("trace")
    p.add_argument("--profile", help="JSON of mas profile of the same run")
    p.add_argument("--within", type=float, default=0.01, help="allowed difference of sums (0.01)")
    a = p.parse_args()
    check = Checker()
    check.file(load(a.trace))
    if a.profile:
        compare(check, table_ns(a.profile, load(a.profile)), a.within)
    for line in check.faults[:SHOWN]:
        print(f"{a.trace}: {line}")
    if len(check.faults) > SHOWN:
        print(f"{a.trace}: {len(check.faults) - SHOWN} faults more")
    if check.faults:
        return 1
    print(f"{a.trace}: right; " + ", ".join(f"{n} {ph}" for ph, n in sorted(check.counts.items())))
    for (phase, op), t in sorted(check.op_ns.items(), key=lambda x: (x[0][0], -x[1])):
        print(f"  {phase or '-':10} {op:12} {t / 1e6:12.3f} ms")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has left ends the program without a message
    sys.exit(main())
