#!/usr/bin/env python3
"""curves: the training curves of a run as one SVG.

    python3 tools/training/demo_model/curves.py DIR/curve.tsv > configs/demo/curves.svg

Left: share of right answer letters on training questions (words changed at random), by role. Right: mean
loss of a reply's token, natural log, by role. A line of curve.tsv is the mean over 20 steps.
"""

import math
import sys

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 470, 330, 52, 42, 46
ROLES = ("direct", "cot", "logit", "planner", "specialist", "aggregator")
COLOURS = ("#0072b2", "#d55e00", "#999999", "#009e73", "#cc79a7", "#e69f00")


def read(path):
    """[(step, {name: value})]"""
    rows = []
    for line in open(path):
        step, _, _, _, pairs = line.rstrip("\n").split("\t")
        rows.append((int(step), {k: float(v) for k, v in (p.split("=") for p in pairs.split())}))
    return rows


def series(rows, name):
    return [(s, f[name]) for s, f in rows if name in f and math.isfinite(f[name])]


class Panel:
    def __init__(self, x, title, unit, last, low, high, log, ticks):
        self.x, self.last, self.low, self.high, self.log = x, last, low, high, log
        self.out = [f'<text class="title" x="{x + LEFT}" y="24">{title}</text>']
        for t, text in ticks:
            y = self.y(t)
            self.out.append(f'<path class="grid" d="M{x + LEFT} {y:.1f}H{x + WIDTH - 12}"/>')
            self.out.append(f'<text class="tick" x="{x + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        step = 10 ** math.floor(math.log10(last / 2))
        step *= 2 if last / step > 10 else 1
        for t in range(0, last + 1, step):
            at, y = self.at(t), HEIGHT - BOTTOM + 18
            self.out.append(f'<text class="tick" x="{at:.1f}" y="{y}" text-anchor="middle">{t:,}</text>')
        self.out.append(f'<text class="tick" x="{x + WIDTH - 12}" y="{HEIGHT - 8}" text-anchor="end">step</text>')
        self.out.append(f'<text class="tick" x="{x + LEFT}" y="{TOP - 4}">{unit}</text>')

    def at(self, step):
        return self.x + LEFT + (WIDTH - LEFT - 12) * step / self.last

    def y(self, v):
        f = math.log if self.log else float
        share = (f(min(max(v, self.low), self.high)) - f(self.low)) / (f(self.high) - f(self.low))
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    def line(self, points, colour):
        d = "L".join(f"{self.at(s):.1f} {self.y(v):.1f}" for s, v in points)
        self.out.append(f'<path class="line" stroke="{colour}" d="M{d}"/>')


def legend(x, y, roles):
    out = []
    for i, (role, colour) in enumerate(roles):
        out.append(f'<path class="line" stroke="{colour}" d="M{x} {y + 16 * i}h18"/>')
        out.append(f'<text class="tick" x="{x + 24}" y="{y + 4 + 16 * i}">{role}</text>')
    return out


def draw(rows):
    last = rows[-1][0]
    colour = dict(zip(ROLES, COLOURS))
    letters = Panel(0, "right letters, training questions", "%", last, 0, 100, False,
                    [(v, str(v)) for v in (0, 25, 50, 75, 100)])
    replies = Panel(WIDTH, "loss of a reply's token", "nat", last, 0.001, 10, True,
                    [(v, f"{v:g}") for v in (0.001, 0.01, 0.1, 1, 10)])
    scored = [r for r in ROLES if series(rows, f"{r}.letter")]
    for role in ROLES:
        if role in scored:
            letters.line([(s, 100 * v) for s, v in series(rows, f"{role}.letter")], colour[role])
        if series(rows, f"{role}.reply"):
            replies.line(series(rows, f"{role}.reply"), colour[role])
    key = legend(LEFT + 16, HEIGHT - BOTTOM - 96, [(r, colour[r]) for r in scored])
    key += legend(WIDTH + LEFT + 16, HEIGHT - BOTTOM - 96, [(r, colour[r]) for r in ROLES if series(rows, f"{r}.reply")])
    style = (
        "text{font-family:sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.tick{font-size:12px}"
        ".grid{stroke:#ddd;fill:none}.line{fill:none;stroke-width:1.8}"
    )
    size = f'width="{2 * WIDTH}" height="{HEIGHT}" viewBox="0 0 {2 * WIDTH} {HEIGHT}"'
    body = "\n".join(letters.out + replies.out + key)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    sys.stdout.write(draw(read(sys.argv[1])))
