#!/usr/bin/env python3
"""A picture of a terminal: runs one shell command and draws the command and its output as SVG, on standard output.

usage: term_svg.py [--columns N] [--title TEXT] [--keep FIRST:LAST] COMMAND

The command may have several lines, joined by a backslash at their ends. --keep draws only these lines of the output,
counted from 1, and marks the gap. Colours of the text come from its layout: headings, numbers in the first column and
labels. Example:

    tools/scripts/term_svg.py "build/release/mas version" > version.svg
"""
import argparse
import html
import re
import subprocess
import sys
import unicodedata

CELL_W, CELL_H, SIZE = 8.4, 19, 14  # of a character, in pixels; the width is that of common monospaced fonts at SIZE
PAD, BAR = 18, 34
INK = {"text": "#d5d9e0", "dim": "#8a93a3", "prompt": "#7fd1b9", "label": "#82aaff", "head": "#f2c572", "number": "#c3e88d"}


def width(text):
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def colours(line):
    """Pieces (colour, text) of one line of output."""
    if m := re.match(r"( +)(\d\.\d\d)(  .*)$", line):
        return [("text", m[1]), ("number", m[2]), ("text", m[3])]
    if m := re.match(r"(decision)( {2,})(.*)$", line):
        return [("label", m[1]), ("text", m[2]), ("head", m[3])]
    if m := re.match(r"( *)((?:[a-z]+ )*[a-z]+)( {2,}.*)$", line):
        return [("text", m[1]), ("label" if not m[1] else "dim", m[2]), ("text", m[3])]
    if re.match(r"[A-Z][A-Za-z ,]*$", line):
        return [("head", line)]
    return [("text", line)]


def svg(title, rows, columns):
    """The picture of rows, each a list of pieces."""
    w, h = round(2 * PAD + columns * CELL_W), round(BAR + PAD + len(rows) * CELL_H + PAD / 2)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{w}" height="{h}" rx="9" fill="#1b1f27"/>',
        f'<path d="M0 {BAR}V9a9 9 0 0 1 9-9H{w - 9}a9 9 0 0 1 9 9V{BAR}Z" fill="#2a303c"/>',
    ]
    for k, colour in enumerate(("#ff6058", "#ffbe2f", "#2aca44")):
        out.append(f'<circle cx="{20 + 20 * k}" cy="{BAR / 2:g}" r="6" fill="{colour}"/>')
    font = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
    out.append(
        f'<text x="{w / 2:g}" y="{BAR / 2 + 5:g}" text-anchor="middle" font-family="{font}" font-size="13" '
        f'fill="{INK["dim"]}">{html.escape(title)}</text>'
    )
    out.append(f'<g font-family="{font}" font-size="{SIZE}" xml:space="preserve">')
    for k, row in enumerate(rows):
        y, at = BAR + PAD + k * CELL_H + SIZE - 3, 0
        for colour, text in row:
            n, body = width(text), text.rstrip(" ")
            lead = len(body) - len(body.lstrip(" "))
            if body.strip():
                x, cells = PAD + (at + lead) * CELL_W, width(body[lead:])
                out.append(
                    f'<text x="{x:.1f}" y="{y:g}" textLength="{cells * CELL_W:.1f}" fill="{INK[colour]}">'
                    f"{html.escape(body[lead:], quote=False)}</text>"
                )
            at += n
    out += ["</g>", "</svg>"]
    return "\n".join(out) + "\n"


def main():
    ap = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    ap.add_argument("command")
    ap.add_argument("--columns", type=int, default=84)
    ap.add_argument("--title", default="mas")
    ap.add_argument("--keep", metavar="FIRST:LAST")
    a = ap.parse_args()
    done = subprocess.run(["bash", "-c", a.command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"term_svg: the command ended with status {done.returncode}: {done.stderr.strip()}")
    lines = done.stdout.rstrip("\n").split("\n")
    gap = False
    if a.keep:
        first, last = (int(n) for n in a.keep.split(":"))
        gap, lines = last < len(lines), lines[first - 1 : last]
    rows = []
    for k, line in enumerate(a.command.rstrip("\n").split("\n")):
        rows.append([("prompt", "$ " if k == 0 else "  "), ("text", line)])
    rows += [colours(line.rstrip()) for line in lines]
    if gap:
        rows.append([("dim", "..")])
    longest = max(sum(width(t) for _, t in row) for row in rows)
    if longest > a.columns:
        sys.exit(f"term_svg: a line has {longest} columns, the picture {a.columns}; raise --columns")
    sys.stdout.write(svg(a.title, rows, a.columns))


main()
