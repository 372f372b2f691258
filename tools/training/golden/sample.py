#!/usr/bin/env python3
"""Writes tests/golden/sample.tsv: means, areas below the ROC curve and tails of independent events.

    pip install scipy==1.17.1 numpy; python3 tools/training/golden/sample.py >tests/golden/sample.tsv

mean: n, mean, sd, low, high, p of scipy.stats.ttest_1samp, then the values. auc: the area by scipy.stats.mannwhitneyu, its
interval by the definition of DeLong's variance, then both samples. least: k, P(at least k) by adding up all outcomes, then
the probabilities. nan = not defined.
"""
import itertools
import math
import random
import warnings

import numpy as np
from scipy import stats

warnings.simplefilter("ignore")


def text(values):
    return ",".join("nan" if not math.isfinite(v) else repr(float(v)) for v in values)


def number(v):
    return "nan" if v is None or not math.isfinite(v) else f"{v:.17g}"


def mean(values):
    x = [v for v in values if math.isfinite(v)]
    if len(x) < 2:
        row = [len(x), x[0] if x else None] + [None] * 4
    else:
        t = stats.ttest_1samp(x, 0)
        low, high = t.confidence_interval(0.95)
        row = [len(x), np.mean(x), np.std(x, ddof=1), low, high, t.pvalue if np.std(x) > 0 else None]
    print("\t".join(["mean"] + [number(v) for v in row] + [text(values)]))


def auc(a, b):
    x, y = [[v for v in s if math.isfinite(v)] for s in (a, b)]
    row = [None, None, None]
    if x and y:
        row[0] = stats.mannwhitneyu(x, y, alternative="two-sided").statistic / len(x) / len(y)
    if len(x) > 1 and len(y) > 1:
        over = [sum((u > v) + (u == v) / 2 for v in y) / len(y) for u in x]
        under = [sum((u > v) + (u == v) / 2 for u in x) / len(x) for v in y]
        half = stats.norm.ppf(0.975) * math.sqrt(np.var(over, ddof=1) / len(x) + np.var(under, ddof=1) / len(y))
        if half > 0:
            row[1:] = [max(0, row[0] - half), min(1, row[0] + half)]
    print("\t".join(["auc"] + [number(v) for v in row] + [text(a), text(b)]))


def least(p, k):
    total = math.fsum(math.prod(q if hit else 1 - q for q, hit in zip(p, hits))
                      for hits in itertools.product((0, 1), repeat=len(p)) if sum(hits) >= k)
    print("\t".join(["least", str(k), number(total), text(p)]))


def main():
    rng = random.Random(4)
    mean([1, 2, 4])
    mean([3])
    mean([math.nan])
    mean([2, 2, 2])
    mean([0.5, math.nan, -0.25, 0.75, 0.125])
    for n in (2, 10, 200):
        mean([rng.gauss(0.2, 1) for _ in range(n)])
    auc([1, 2, 3], [1, 2, 3])
    auc([3, 4], [1, 2])
    auc([1, 1, 2, 2], [1, 2, 2, 2, 3])
    auc([5], [1, 2])
    auc([math.nan, 2, 7, 4], [3, math.nan, 1, 4, 4])
    for n, m in ((20, 30), (80, 50)):
        auc([rng.gauss(0.5, 1) for _ in range(n)], [rng.gauss(0, 1) for _ in range(m)])
        auc([rng.randint(0, 5) for _ in range(n)], [rng.randint(0, 4) for _ in range(m)])
    for k in range(5):
        least([0.25, 0.25, 0.5, 0.2], k)
    least([0.1] * 10, 3)
    least([0.25] * 6 + [0.2] * 6, 9)
    least([], 0)


main()
