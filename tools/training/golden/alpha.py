#!/usr/bin/env python3
"""Writes tests/golden/alpha.tsv: Krippendorff's alpha for names, by the package krippendorff and by its definition.

    pip install krippendorff==0.9.0 numpy; python3 tools/training/golden/alpha.py >tests/golden/alpha.tsv

A line: name, alpha, observed and expected disagreement, cases that count, then the cases separated by commas. A case is
a text with one character a rater; '-' is a missing value. Both ways must agree to 1e-12.
"""
import random

import krippendorff
import numpy


def definition(cases):
    """All ordered pairs of values within a case, and all pairs of any two values."""
    kept = [v for v in ([c for c in case if c != "-"] for case in cases) if len(v) > 1]
    values = [c for v in kept for c in v]
    n = len(values)
    if not n:
        return None, None, None, 0
    observed = sum(sum(a != b for i, a in enumerate(v) for j, b in enumerate(v) if i != j) / (len(v) - 1) for v in kept) / n
    expected = sum(a != b for i, a in enumerate(values) for j, b in enumerate(values) if i != j) / (n * (n - 1))
    return (1 - observed / expected if expected else None), observed, expected, len(kept)


def package(cases):
    width = max(len(c) for c in cases)
    data = [[ord(c[r]) if r < len(c) and c[r] != "-" else numpy.nan for c in cases] for r in range(width)]
    return float(krippendorff.alpha(reliability_data=data, level_of_measurement="nominal"))


def line(name, cases):
    alpha, observed, expected, units = definition(cases)
    if alpha is not None:
        other = package(cases)
        assert abs(alpha - other) < 1e-12, (name, alpha, other)
    print("\t".join([name] + ["nan" if v is None else f"{v:.17g}" for v in (alpha, observed, expected)] + [str(units), ",".join(cases)]))


def main():
    line("hayes", ["AAA-", "BBCB", "CCCC", "CCCC", "BBBB", "ABCD", "DDDD", "AABA", "BBBB", "-EEE", "--AA", "--C-"])
    line("same", ["AA", "BB", "CCC"])
    line("one_name", ["AA", "AAAA"])
    line("none", ["A", "--B", "----"])
    line("unlike", ["AB", "BA", "CD"])
    line("votes", ["YN", "YYN", "NNNN", "Y-Y"])
    rng = random.Random(27)
    for k in range(12):
        cases = []
        for _ in range(rng.randint(2, 60)):
            truth = rng.choice("ABCD")
            cases.append("".join("-" if rng.random() < 0.1 else truth if rng.random() < 0.15 * (k % 6) else rng.choice("ABCDE")
                                 for _ in range(rng.randint(1, 8))))
        line(f"random{k}", cases)


main()
