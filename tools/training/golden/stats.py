#!/usr/bin/env python3
"""Makes tests/golden/stats.tsv: values of agents/stats_*.h by scipy, statsmodels, or plain definitions.

One case a line: a name, then numbers separated by spaces, the expected values last. nan: not defined.
usage: python3 tools/training/golden/stats.py [FILE]   (scipy 1.17.1, statsmodels 0.15.0)
"""
import itertools
import math
import sys
import warnings
from fractions import Fraction

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import cochrans_q, mcnemar
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

warnings.simplefilter("ignore")
out = open(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/stats.tsv", "w")
rng = np.random.default_rng(27)
nan = float("nan")
M = (1 << 64) - 1


def row(name, *values):
    flat = []
    for v in values:
        flat += [v] if np.isscalar(v) else list(np.asarray(v).ravel())
    texts = [str(int(v)) if isinstance(v, (int, np.integer, bool, np.bool_)) else repr(float(v)) for v in flat]
    out.write(name + " " + " ".join(texts) + "\n")


# ---- distributions -----------------------------------------------------------------------------------
for x in [-37, -20, -8.5, -3, -1, -0.1, 0, 1e-9, 0.5, 1.959963984540054, 4, 9]:
    row("normal_cdf", float(x), stats.norm.cdf(x))
for p in [0, 1e-300, 1e-100, 1e-16, 1e-6, 0.001, 0.025, 0.2, 0.4999999, 0.5, 0.5000001, 0.8, 0.975, 0.999999, 1]:
    row("normal_quantile", float(p), stats.norm.ppf(p))
for df in [0.5, 1, 2, 3, 7, 15, 63, 400, 5000]:
    for x in [0, 1e-6, 0.1, 1, df * 0.7, df, df * 1.3, df + 10, 3 * df + 40]:
        row("chi2_sf", float(x), float(df), stats.chi2.sf(x, df))
for df in [0.7, 1, 2, 2.5, 4, 10, 31.7, 99, 101, 1000, 31800, 1e6]:
    for x in [0, 1e-5, 0.3, 1, 2, 5, 20]:
        row("t_tails", float(x), float(df), 2 * stats.t.sf(x, df))
    for p in [0.5, 0.6, 0.975, 0.9995, 0.025]:
        row("t_quantile", p, float(df), stats.t.ppf(p, df))

# ---- counts ------------------------------------------------------------------------------------------
for k, n in [(0, 1), (1, 1), (0, 20), (20, 20), (1, 2), (47, 100), (978, 1273), (1069, 1273), (9000, 12723)]:
    row("wilson", k, n, *proportion_confint(k, n, 0.05, "wilson"))
row("wilson", 0, 0, nan, nan)
for b, c in [(0, 0), (0, 1), (1, 1), (0, 5), (10, 3), (3, 10), (49, 140), (70, 161), (120, 90), (600, 500), (4000, 3900)]:
    row("mcnemar", b, c, 1.0 if b + c == 0 else mcnemar([[0, b], [c, 0]], exact=True).pvalue)
for p in [[0.03], [0.01, 0.04, 0.03, 0.005], [0.02, 0.02, 0.02], [1, 0.5, 0.5, 0.9], [0, 1e-9, 0.2, 0.2, 0.04, 1],
          list(rng.random(40) ** 3)]:
    row("holm", len(p), [float(x) for x in p], multipletests(p, method="holm")[1])
row("holm", 4, 0.01, nan, 0.04, 0.03, *np.insert(multipletests([0.01, 0.04, 0.03], method="holm")[1], 1, nan))
row("holm", 2, nan, nan, nan, nan)


def table(n, k, spread=1.0):
    hard = rng.normal(0, 2, (n, 1)) + rng.normal(0, spread, (1, k))
    return (rng.random((n, k)) < 1 / (1 + np.exp(-hard))).astype(int)


tables = [table(1, 3), table(2, 2), table(12, 3), table(300, 3), table(1273, 5), table(60, 12), table(5, 1),
          np.ones((20, 3), int), np.zeros((1, 1), int), np.array([[1, 0, 0]]), np.array([[1, 0, 1], [0, 1, 0]])]
for t in tables:
    n, k = t.shape
    differ = int(((t.sum(1) > 0) & (t.sum(1) < k)).sum())
    q = cochrans_q(t) if differ else None
    row("cochran", n, k, t, differ, q.statistic if q else nan, q.pvalue if q else nan)

for n, m, options in [(1, 2, 4), (1, 5, 2), (14, 3, 4), (300, 5, 5), (1273, 3, 4)]:
    true = rng.integers(0, options, (n, 1))
    a = np.where(rng.random((n, m)) < 0.6, true, rng.integers(-1, options, (n, m)))
    counts = aggregate_raters(a)[0]
    row("fleiss", n, m, a, fleiss_kappa(counts))
row("fleiss", 3, 2, [1] * 6, nan)
row("fleiss", 3, 1, [1, 2, 0], nan)
row("fleiss", 2, 2, [-1, -1, 3, 3], 1.0)
row("fleiss", 2, 2, [0, 1, 1, 0], -1.0)

# ---- randomisation test: all signs, in fractions -----------------------------------------------------
for d in [[1], [0], [2, -1], [1, 1, 1, 0, -1], [3, -2, 2, 1, 0, -1, 3, 2, -3], [5, 5, 5, 5, 5], [1, -1], [6, -4, 0, 2, 6, 6, -2], [0, 0, 0], [-7, 3]]:
    far = abs(sum(d))
    hits = sum(abs(sum(s * x for s, x in zip(signs, d))) >= far for signs in itertools.product([1, -1], repeat=len(d)))
    row("sign_flip", len(d), d, float(Fraction(hits, 2 ** len(d))))
for n, most in [(60, 3), (400, 5), (1273, 3)]:
    d = rng.integers(-most, most + 1, n) + (rng.random(n) < 0.2)
    width, ways = 0, {0: 1}
    for a in [abs(int(x)) for x in d if x]:
        more = dict(ways)
        for t, w in ways.items():
            more[t + a] = more.get(t + a, 0) + w
        ways, width = more, width + a
    far = abs(int(d.sum()))
    hits = sum(w for t, w in ways.items() if abs(2 * t - width) >= far)
    row("sign_flip", n, d, float(Fraction(hits, sum(ways.values()))))


# ---- BCa: scipy's interval on this program's resamples -----------------------------------------------
def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & M
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M
    return x ^ x >> 31


def resamples(d, draws, seed):
    """Sums of resamples; rng.h's draws, here with arbitrary integers."""
    n, index = len(d), [mix(j) for j in range(len(d))]
    for i in range(draws):
        key = mix(mix(mix(seed) ^ i) ^ 0)
        yield sum(d[(mix(key ^ x) >> 32) * n >> 32] for x in index)


def bca(d, scale, draws, seed):
    d = [int(x) for x in d]
    if len(set(d)) < 2:
        return nan, nan
    means = np.array([s / (len(d) * scale) for s in resamples(d, draws, seed)])
    values = np.array(d) / scale

    def mean(x, axis=-1):  # a sum of integers: exact ties, as in the program
        return np.rint(np.asarray(x) * scale).sum(axis=axis) / (x.shape[axis] * scale)

    made = stats.bootstrap((values,), mean, n_resamples=1, method="percentile", rng=1)
    made.bootstrap_distribution = means
    ci = stats.bootstrap((values,), mean, n_resamples=0, method="BCa", bootstrap_result=made).confidence_interval
    return ci.low, ci.high


for d, scale, draws, seed in [
        ([1], 1, 50, 42), ([], 1, 50, 42), ([0, 0, 0], 1, 50, 1), ([1, 1, 1], 1, 50, 1),
        ([0, 1, 0, 0, 1, -1, 0, 0, 1, 1, 0, 0], 1, 500, 42),
        ([1] + [0] * 39, 1, 1000, 42),
        ([-1] * 60 + [1] * 40 + [0] * 300, 1, 1000, 7),
        ([-1] * 2 + [1] * 30 + [0] * 100, 1, 1000, 42),
        (list(rng.integers(-3, 4, 80)), 3, 800, 9007199254740992)]:
    row("bca", len(d), scale, draws, seed, d, np.mean(d) / scale if d else nan, *bca(d, scale, draws, seed))


# ---- question x seed: analysis of variance by its definitions ----------------------------------------
def mixed(y):
    y = y.astype(float)
    n, k = y.shape
    mean = y.mean()
    sd = y.mean(0).std(ddof=1) if k > 1 else nan
    if n < 2 or k < 2:
        return mean, sd, nan, nan, nan, nan, nan, nan, nan
    by_q, by_s = y.mean(1, keepdims=True) - mean, y.mean(0, keepdims=True) - mean
    f = {"q": n - 1, "s": k - 1, "e": (n - 1) * (k - 1)}
    ms = {"q": k * (by_q ** 2).sum() / f["q"], "s": n * (by_s ** 2).sum() / f["s"],
          "e": ((y - mean - by_q - by_s) ** 2).sum() / f["e"]}
    if y.min() == y.max():
        ms["e"] = 0.0
    var_q, var_s = max(0, (ms["q"] - ms["e"]) / k), max(0, (ms["s"] - ms["e"]) / n)
    v = var_q / n + var_s / k + ms["e"] / (n * k)
    used = {"e": 1.0}
    if var_q:
        used["q"], used["e"] = 1.0, used["e"] - 1
    if var_s:
        used["s"], used["e"] = 1.0, used["e"] - 1
    if v == 0:
        df, size, z = math.inf, n, stats.norm.ppf(0.975)
    else:
        df = (v * n * k) ** 2 / sum((w * ms[x]) ** 2 / f[x] for x, w in used.items())
        size, z = mean * (1 - mean) / v, stats.t.ppf(0.975, df)
    mid = (mean + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(mean * (1 - mean) / size + z * z / (4 * size * size))
    lo, hi = (0.0 if mean == 0 else mid - half), (1.0 if mean == 1 else mid + half)
    return mean, sd, var_q, var_s, ms["e"], math.sqrt(v), df, lo, hi


def check_reml():
    """The components of a complete table are those of REML, here to an optimiser's precision."""
    import pandas
    from statsmodels.formula.api import mixedlm
    r = np.random.default_rng(3)
    logit = r.normal(0, 2, (40, 1)) + r.normal(0, 1.2, (1, 5))
    y = (r.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(int)
    cells = pandas.DataFrame([(q, s, y[q, s], 1) for q in range(40) for s in range(5)], columns=list("qsyg"))
    fit = mixedlm("y ~ 1", cells, groups="g", re_formula="0", vc_formula={"q": "0 + C(q)", "s": "0 + C(s)"}).fit(
        reml=True, method=["lbfgs", "powell"], gtol=1e-10, maxiter=5000)
    got = mixed(y)[2:6]
    assert np.allclose(got, [*fit.vcomp, fit.scale, fit.bse["Intercept"]], rtol=1e-4), (got, fit.vcomp, fit.scale)


check_reml()
for t in tables + [table(200, 3, 0), table(40, 2, 4), np.array([[1, 0], [0, 1]]), np.array([[1, 0, 1]] * 9),
                   np.array([[1, 1], [0, 0], [1, 1], [1, 1]]), np.zeros((7, 2), int)]:
    row("mixed", *t.shape, t, *mixed(t))
row("mixed", 0, 3, *[nan] * 9)


# ---- probabilities -----------------------------------------------------------------------------------
def steps(p, c):
    return [(t, int((p >= t).sum()), int(c[p >= t].sum())) for t in sorted(set(p), reverse=True)]


def curve(p, c):
    n, s, total = len(p), steps(p, c), 0.0
    for x in p:  # the risk at the threshold of each answer
        total += 1 - c[p >= x].mean()
    cover = []
    for want in (0.25, 0.5, 0.8, 0.9, 1):
        cover += next((k, r) for _, k, r in s if k >= want * n)
    return total / n, cover


def calibration(p, c, bins=10):
    ece, rows = 0.0, []
    at = np.minimum((p * bins).astype(int), bins - 1)
    for b in range(bins):
        m = at == b
        if m.any():
            ece += abs(c[m].mean() - p[m].mean()) * m.sum() / len(p)
        rows += [int(m.sum()), int(c[m].sum()), p[m].mean() if m.any() else nan]
    return ece, rows


for p in [rng.random(1), np.array([1.0, 0.0, 1.0]), np.full(9, 0.7), rng.random(50),
          np.round(rng.random(300), 1), np.round(rng.beta(4, 1, 1273), 2)]:
    c = (rng.random(len(p)) < p ** 1.3).astype(int)
    area, cover = curve(p, c)
    ece, rows = calibration(p, c)
    row("calibration", len(p), p, c, ece, ((p - c) ** 2).mean(), area, cover, rows)


for n in (2, 4, 5):
    p = rng.dirichlet(np.ones(n))
    for key in (0, n - 1):
        row("brier_options", n, key, p, ((p - np.eye(n)[key]) ** 2).sum())
row("brier_options", 2, 0, 0.0, 1.0, 2.0)


# ---- power: all outcomes, by binomial distributions --------------------------------------------------
def power(n, share, d, alpha):
    total, second = 0.0, (share + d) / (2 * share) if share else 0.5
    for m in range(n + 1):
        b = np.arange(m + 1)
        p = np.minimum(1, 2 * stats.binom.cdf(np.minimum(b, m - b), m, 0.5))
        total += stats.binom.pmf(m, n, share) * stats.binom.pmf(b, m, second)[p <= alpha].sum()
    return total


def questions(share, d, alpha, want):
    a, b = stats.norm.isf(alpha / 2), stats.norm.ppf(want)
    return ((a * math.sqrt(share) + b * math.sqrt(share - d * d)) / d) ** 2


for n, share, d in [(0, 0.2, 0.1), (1, 1.0, 1.0), (6, 1.0, 1.0), (20, 0.0, 0.0), (50, 0.2, 0.0), (100, 0.2, 0.1),
                    (300, 0.18, -0.05), (1273, 0.2, 0.03), (1273, 0.15, 0.15)]:
    row("power", n, share, d, 0.05, power(n, share, d, 0.05))
row("power", 10, 0.1, 0.2, 0.05, nan)
for share, d in [(0.2, 0.03), (0.2, -0.1), (0.1, 0.1), (1.0, 0.5), (0.18, 0.01)]:
    row("questions", share, d, 0.05, 0.8, questions(share, d, 0.05, 0.8))
row("questions", 0.2, 0.0, 0.05, 0.8, nan)
row("questions", 0.1, 0.2, 0.05, 0.8, nan)
for n, share in [(1273, 0.2), (100, 0.3), (200, 0.05), (12723, 0.2)]:
    found = optimize.brentq(lambda d: questions(share, d, 0.05, 0.8) - n, 1e-6, share, xtol=1e-15, rtol=1e-14)
    row("detectable", n, share, 0.05, 0.8, found)
row("detectable", 5, 0.2, 0.05, 0.8, nan)
row("detectable", 100, 0.0, 0.05, 0.8, nan)
out.close()
