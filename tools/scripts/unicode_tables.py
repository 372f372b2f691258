#!/usr/bin/env python3
"""Makes runtime/text/unicode_tables.h: the ranges of Unicode's classes that pre-tokenizers tell apart.

usage: tools/scripts/unicode_tables.py [FOLDER] > runtime/text/unicode_tables.h

FOLDER (default /usr/share/unicode, Debian's package unicode-data) holds UnicodeData.txt and PropList.txt. The third column of
the former gives the general category. The latter gives White_Space, the meaning of \\s in the regular expressions that define
the pre-tokenizers.
"""
import re
import sys
from pathlib import Path

LETTERS = {"Lu": "U", "Ll": "W", "Lt": "T", "Lm": "D", "Lo": "O"}
OTHERS = {"M": "M", "N": "N", "P": "P", "S": "Y"}
NOTE = """\
/* Made by tools/scripts/unicode_tables.py from Unicode {version}; do not edit. {n}
 * ranges {{first, last, class}}, ascending. Letters: U upper (Lu), W lower (Ll), T title (Lt),
 * D modifier (Lm), O other (Lo). Rest: M mark, N number, P punctuation, Y symbol, S White_Space.
 * A range of class A alternates: upper, lower, upper, .. */"""


def classes(folder):
    """One letter for each code point (None: no class), and the version of the data."""
    table = [None] * 0x110000
    first = None
    for line in (folder / "UnicodeData.txt").read_text().splitlines():
        code, name, category = line.split(";")[:3]
        code = int(code, 16)
        if name.endswith(", First>"):  # a range is written as two lines
            first = code
            continue
        begin = first if name.endswith(", Last>") else code
        first = None
        value = LETTERS.get(category) or OTHERS.get(category[0])
        for c in range(begin, code + 1):
            table[c] = value
    text = (folder / "PropList.txt").read_text()
    for a, b in re.findall(r"^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*; White_Space\b", text, re.M):
        for c in range(int(a, 16), int(b or a, 16) + 1):
            if table[c]:
                sys.exit(f"U+{c:04X} is white space and also of class {table[c]}")
            table[c] = "S"
    return table, re.search(r"PropList-([0-9.]+)\.txt", text).group(1)


def alternating(table, begin):
    """The end of the pairs upper, lower that begin here."""
    end = begin
    while table[end:end + 2] == ["U", "W"]:
        end += 2
    return end


def ranges(table):
    out, c = [], 0
    while c < len(table):
        end = c + 1
        while end < len(table) and table[end] == table[c]:
            end += 1
        pairs = alternating(table, c)
        if pairs - c >= 4:
            out.append((c, pairs - 1, "A"))
            end = pairs
        elif table[c]:
            out.append((c, end - 1, table[c]))
        c = end
    return out


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode")
    table, version = classes(folder)
    rows = ranges(table)
    print(NOTE.format(version=version, n=len(rows)))
    line = ""
    for a, b, k in rows:
        item = f"{{0x{a:x}, 0x{b:x}, {k}}},"
        if len(line) + 1 + len(item) > 100:
            print(line)
            line = ""
        line += (" " if line else "") + item
    print(line)


main()
