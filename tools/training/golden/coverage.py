#!/usr/bin/env python3
"""How often intervals of an accuracy over several seeds cover the true accuracy, by simulation.

    python3 tools/training/golden/coverage.py [REPEATS]

Each question has its own chance of a right answer, drawn from a beta distribution; each seed shifts all chances on the
logit scale. The truth is the mean over questions and seeds, by a large sample. Prints the share of 95 % intervals that
hold it and their mean width in points: of stats_mixed.h, of one Wilson interval over all cells, of Student's interval
over the seeds' means, and of one run's Wilson interval. Needs: numpy, scipy.
"""
import sys

import numpy as np
from scipy import stats

repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
rng = np.random.default_rng(1)
Z = stats.norm.ppf(0.975)


def wilson(p, n, z):
    mid, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (mid - half) / (1 + z * z / n), (mid + half) / (1 + z * z / n)


def mixed(y):
    r, n, k = y.shape
    mean = y.mean((1, 2))
    q, s = y.mean(2) - mean[:, None], y.mean(1) - mean[:, None]
    f = n - 1, k - 1, (n - 1) * (k - 1)
    a, b = k * (q ** 2).sum(1) / f[0], n * (s ** 2).sum(1) / f[1]
    e = ((y - mean[:, None, None] - q[:, :, None] - s[:, None, :]) ** 2).sum((1, 2)) / f[2]
    w = 1.0 - (a > e) - (b > e)
    total = np.where(a > e, a, 0) + np.where(b > e, b, 0) + w * e
    spread = np.where(a > e, a ** 2 / f[0], 0) + np.where(b > e, b ** 2 / f[1], 0) + (w * e) ** 2 / f[2]
    flat = total == 0
    total, spread = np.where(flat, 1, total), np.where(flat, 1, spread)
    size = np.where(flat, n, mean * (1 - mean) * n * k / total)
    return wilson(mean, size, np.where(flat, Z, stats.t.ppf(0.975, total ** 2 / spread)))


def scene(name, n, k, a, b, drift):
    def chances(shape):
        p = np.clip(rng.beta(a, b, shape), 1e-9, 1 - 1e-9)
        return np.log(p / (1 - p))

    truth = (1 / (1 + np.exp(-(chances(4_000_000) + rng.normal(0, drift, 4_000_000))))).mean()
    got = {}
    for start in range(0, repeats, 500):
        r = min(500, repeats - start)
        logit = chances((r, n, 1)) + rng.normal(0, drift, (r, 1, k))
        y = (rng.random((r, n, k)) < 1 / (1 + np.exp(-logit))).astype(float)
        mean, seeds = y.mean((1, 2)), y.mean(1)
        half = stats.t.ppf(0.975, k - 1) * seeds.std(1, ddof=1) / np.sqrt(k)
        for what, (lo, hi) in {"mixed": mixed(y), "all cells": wilson(mean, n * k, Z), "seeds": (mean - half, mean + half),
                               "one run": wilson(seeds[:, 0], n, Z)}.items():
            got.setdefault(what, []).append(np.stack([(lo <= truth) & (truth <= hi), 100 * (hi - lo)]))
    cells = []
    for v in got.values():
        v = np.concatenate(v, 1).mean(1)
        cells.append(f"{100 * v[0]:.1f} % ({v[1]:.1f})")
    print(f"| {name} | {100 * truth:.1f} % | " + " | ".join(cells) + " |")


print("| questions x seeds | truth | mixed | all cells | seeds | one run |\n|---|---|---|---|---|---|")
scene("200 x 3", 200, 3, 0.6, 0.3, 0)
scene("200 x 5", 200, 5, 0.6, 0.3, 0)
scene("1,273 x 3", 1273, 3, 0.6, 0.3, 0)
scene("50 x 3, 96 % right", 50, 3, 1.2, 0.05, 0)
scene("200 x 3, answers all by chance", 200, 3, 1000, 1000, 0)
scene("200 x 3, seeds that shift all questions", 200, 3, 0.6, 0.3, 0.5)
