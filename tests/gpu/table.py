#!/usr/bin/env python3
"""The tables of results of tests/gpu/run.sh, from whatever steps there are.

usage: table.py [--write FILE] RESULT..    RESULT: result-A.tar, result-B.tar, or a file of keep.py
  --write FILE   puts them between the lines <!-- table: tests/gpu/table.py --> and <!-- end of table --> of FILE
"""
import os
import sys

sys.dont_write_bytecode = True
from keep import load  # noqa: E402

BEGIN, END = "<!-- table: tests/gpu/table.py -->", "<!-- end of table -->"


def rate(v):
    return f"{v:,.0f}" if v >= 100 else f"{v:.1f}"


def cells(*row):
    return "| " + " | ".join(str(c) for c in row) + " |"


def head(*names):
    """Names that begin with > are columns of numbers."""
    return [cells(*(n.lstrip(">") for n in names)), "|" + "|".join("---:" if n[0] == ">" else "---" for n in names) + "|"]


def title(steps):
    for s in steps:
        if s["step"] == "environment" and s["data"]:
            e = s["data"]
            emulated = "" if e["kind"] == "cuda" else " **Kernels run by the CPU: no time means anything.**"
            driver = f", driver {e['driver_version']}" if e["driver_version"] else ""
            driver += "" if e["cublas"] else ", no cuBLAS: `matmul_blas` is left out"
            return [f"**{e['opened']}**{driver}, {e['cores']} cores ({e['cpu']}), {e['date'][:10]}, "
                    f"{e['program']}.{emulated}"]
    return ["The machine is not known: the first step had not ended."]


def verdicts(steps):
    count = {}
    for s in steps:
        count[s["verdict"]] = count.get(s["verdict"], 0) + 1
    out = [f"{len(steps)} steps: " + ", ".join(f"{n} {v}" for v, n in sorted(count.items())) + "."]
    bad = [s for s in steps if s["verdict"] != "PASS"]
    if bad:
        out += [""] + head("part", "step", "verdict", ">seconds", "message")
        out += [cells(s["part"], s["step"], s["verdict"], f"{s['seconds']:.0f}", s["message"].replace("|", "/"))
                for s in bad]
    return out


def ceilings(steps):
    for s in steps:
        c = s["data"]
        if s["step"] == "ceiling" and c:
            return [f"Ceilings: copy {rate(c['copy_gb_s'])} GB/s, link up {rate(c['up_gb_s'])} and down "
                    f"{rate(c['down_gb_s'])} GB/s, tensor cores {rate(c['tensor_f16_gop_s'] / 1000)} (f16) and "
                    f"{rate(c['tensor_int8_gop_s'] / 1000)} (int8) x 10^12 operations/s."]
    return []


def logits(steps):
    out = []
    for s in steps:
        d = s["data"]
        if s["step"].startswith("logits-") and d:
            out.append(cells(s["step"][7:], d["rows"], f"{100 * d['largest_difference']:.2f} %", d["other_best"],
                             d["wrong_best"], s["verdict"]))
    return out and head("logits against the CPU", ">rows", ">largest difference", ">other best token",
                        ">wrong best token", "verdict") + out


def speeds(steps):
    out = []
    for s in steps:
        if not isinstance(s["data"], list):
            continue
        for row in s["data"]:
            if "median_ts" in row or "avg_ts" in row: # ours, llama-bench's
                what = (f"prompt of {row['n_prompt']}" if row["n_prompt"] else
                        f"{row['n_gen']} tokens, {row.get('n_parallel', 1)} together")
                out.append(cells(s["step"], what, rate(row.get("median_ts", row.get("avg_ts", 0)))))
    return out and head("step", "test", ">tokens/s") + out


def streams(steps):
    out = []
    for s in steps:
        if isinstance(s["data"], dict) and s["data"].get("bench") == "stream":
            for r in s["data"]["rows"]:
                out.append(cells(r["parallel"], rate(r["tokens_s"]), f"{r['step_ms']:.1f}", f"{r['compute_ms']:.1f}",
                                 f"{r['copy_ms']:.1f}", f"{r['copy_gb_s']:.1f}", f"{100 * r['link_share']:.0f} %"))
    return out and head(">streamed, together", ">tokens/s", ">step, ms", ">computation alone, ms", ">copies alone, ms",
                        ">copies alone, GB/s", ">of the link") + out


def kernels(steps):
    out = []
    for s in steps:
        data = s["data"]
        rows = data.get("rows") if isinstance(data, dict) else None
        if not rows or not isinstance(rows, list) or "kernel" not in rows[0] or "report" in rows[0]:
            continue
        failed = [r for r in rows if "failed" in r]
        rows = [r for r in rows if "us" in r]
        shown = [r for r in rows if r["picked"]]
        slower = sum(1 for r in rows if r["best"] and not r["picked"])
        out += ["", f"{s['step']} ({s['verdict']}), {len(rows)} times; "
                f"another kernel was faster in {slower} of {len(shown)} cases.", ""]
        out += [f"- {r['op']} [{r['case']}] `{r['kernel']}` failed: {r['failed']}" for r in failed] + [""] * bool(failed)
        out += head("op", "case", "kernel taken", ">us", ">GB/s", ">10^12 operations/s", ">of the copy rate",
                    ">of the tolerance", "fastest")
        for r in shown:
            best = [b["kernel"] for b in rows if b["best"] and (b["op"], b["case"]) == (r["op"], r["case"])]
            error = "-" if r["error"] is None else f"{100 * r['error']:.0f} %"
            out.append(cells(r["op"], r["case"], f"`{r['kernel']}`", rate(r["us"]), rate(r["gb_s"]),
                             rate(r["gop_s"] / 1000), f"{100 * r['share']:.0f} %{' (noisy)' if r['noisy'] else ''}",
                             error, "" if best == [r["kernel"]] else f"`{''.join(best)}`"))
    return out[1:]


def profiles(steps):
    out = []
    for s in steps:
        rows = s["data"].get("rows") if s["step"] == "ncu" and isinstance(s["data"], dict) else None
        for r in rows or []:
            out.append(cells(f"`{r['function']}`", r["launch"], f"{r['us']:.2f}", rate(r["gb_s"]) if r["gb_s"] else "-",
                             f"{100 * r['share']:.0f} %" if r["share"] else "-"))
    return out and head("ncu: one launch of", "grid", ">us", ">GB/s", ">of the memory's peak") + out


def predictions(steps):
    """predicted.tsv: text, step, n_prompt, n_gen, n_parallel, tokens/s, source."""
    out = []
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "predicted.tsv"), encoding="utf-8") as f:
        wanted = [line.rstrip("\n").split("\t") for line in f if line.strip() and line[0] != "#"]
    for text, step, prompt, gen, parallel, value, source in wanted:
        for s in steps:
            for row in s["data"] if s["step"] == step and isinstance(s["data"], list) else []:
                if [row["n_prompt"], row["n_gen"], row["n_parallel"]] == [int(prompt), int(gen), int(parallel)]:
                    got = row["median_ts"]
                    out.append(cells(text, value, rate(got), f"{100 * got / float(value):.0f} %", source))
    return out and head("prediction", ">tokens/s", ">measured", ">of it", "source") + out


def table(paths):
    steps = [s for path in paths for s in load(path)]
    parts = [part(steps) for part in (title, verdicts, ceilings, logits, speeds, predictions, streams, profiles, kernels)]
    return "\n\n".join("\n".join(p) for p in parts if p) + "\n"


def main(argv):
    target = None
    if argv[:1] == ["--write"]:
        target, argv = argv[1], argv[2:]
    if not argv:
        raise SystemExit(__doc__)
    text = table(argv)
    if not target:
        sys.stdout.write(text)
        return
    with open(target, encoding="utf-8") as f:
        old = f.read()
    if BEGIN not in old or END not in old.split(BEGIN, 1)[1]:
        raise SystemExit(f"{target} has no lines {BEGIN} and {END}")
    before, rest = old.split(BEGIN, 1)
    with open(target, "w", encoding="utf-8") as f:
        f.write(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main(sys.argv[1:])
