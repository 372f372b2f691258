#!/usr/bin/env python3
"""Makes runtime/text/unicode_tables.h: the ranges of Unicode letters, numbers and white space.

usage: tools/scripts/unicode_tables.py [FOLDER] > runtime/text/unicode_tables.h

FOLDER (default /usr/share/unicode, Debian's package unicode-data) holds UnicodeData.txt and PropList.txt. The third column of
the former gives the general category (L* letters, N* numbers). The latter gives White_Space, the meaning of \\s in the Rust
regular expressions that define Llama 3's pre-tokeniser.
"""
import re
import sys
from pathlib import Path

LETTER, NUMBER, SPACE = 1, 2, 3


def classes(folder):
    """One byte for each code point, and the version of the data."""
    table = bytearray(0x110000)
    first = None
    for line in (folder / "UnicodeData.txt").read_text().splitlines():
        code, name, category = line.split(";")[:3]
        code = int(code, 16)
        if name.endswith(", First>"):  # a range is written as two lines
            first = code
            continue
        begin = first if name.endswith(", Last>") else code
        first = None
        value = {"L": LETTER, "N": NUMBER}.get(category[0], 0)
        for c in range(begin, code + 1):
            table[c] = value
    text = (folder / "PropList.txt").read_text()
    for a, b in re.findall(r"^([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*; White_Space\b", text, re.M):
        for c in range(int(a, 16), int(b or a, 16) + 1):
            if table[c]:
                sys.exit(f"U+{c:04X} is white space and also a letter or a number")
            table[c] = SPACE
    return table, re.search(r"PropList-([0-9.]+)\.txt", text).group(1)


def ranges(table):
    out, begin = [], 0
    for c in range(1, len(table) + 1):
        if c == len(table) or table[c] != table[begin]:
            if table[begin]:
                out.append((begin, c - 1, table[begin]))
            begin = c
    return out


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode")
    table, version = classes(folder)
    rows = ranges(table)
    names = {LETTER: "L", NUMBER: "N", SPACE: "S"}
    print(f"/* Made by tools/scripts/unicode_tables.py from Unicode {version}; do not edit. {len(rows)}\n"
          " * ranges {first, last, class}, ascending: L letter (L*), N number (N*), S White_Space. */")
    line = ""
    for a, b, k in rows:
        item = f"{{0x{a:x}, 0x{b:x}, {names[k]}}},"
        if len(line) + 1 + len(item) > 100:
            print(line)
            line = ""
        line += (" " if line else "") + item
    print(line)


main()
