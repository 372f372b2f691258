#!/usr/bin/env python3
"""Makes tests/golden/pretoken.jsonl.gz: 2,000 strings and the pieces of each pre-tokenizer.

usage: tools/training/golden/pretoken.py [OUT]                       (default tests/golden)

A line is {"text": .., "cuts": {name: "bytes of piece 1, 2, .."}}. Names with equal pieces share one
key, separated by spaces. Every tenth line also has "ids", the tokens on OUT/vocab_bpe.gguf with that
pre-tokenizer, in the same form.

Pieces come from the pre-tokenizers of the Python package tokenizers (Hugging Face) with the patterns
of the models' tokenizer.json. falcon and default are the patterns of llama.cpp (src/llama-vocab.cpp).
falcon's tokenizer.json splits digits a second time, also bytes that look like digits in the
byte-level alphabet; a vocabulary trained with it has no merge across such a cut. The
package regex must give the same pieces for each pattern; the script ends otherwise. Characters that
this Python's Unicode does not know are left out: the packages' tables are newer than version 15.

Needs: gguf, tokenizers, regex.
"""
import gzip
import json
import random
import sys
import unicodedata
from pathlib import Path

import gguf
import regex
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

sys.path.insert(0, str(Path(__file__).parent))
from tokenizer import SENTENCES, nasty

SHORT = "'s|'t|'re|'ve|'m|'ll|'d"
WHITE = r"\s+(?!\S)|\s+"
LINES = r"\s*[\r\n]+|" + WHITE
GPT2 = SHORT + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|" + WHITE
LLAMA3 = (rf"(?i:{SHORT})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|"
          + LINES)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
LEAD = r"[^\r\n\p{L}\p{N}]?"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + LINES


def cased(short):
    return f"{LEAD}{UPPER}*{LOWER}+{short}|{LEAD}{UPPER}+{LOWER}*{short}"


# The list of deepseek-llm's tokenizer.json.
CASED_LIST = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙ"
    "ὛὝ\u1f5f-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ"
    "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ\ufb00-\ufb06\ufb13-\ufb17Ａ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")

EAST = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

PASSES = {
    "llama-bpe": [LLAMA3],
    "gpt-2": [GPT2],
    "qwen2": [LLAMA3.replace("{1,3}", "")],
    "qwen35": [rf"(?i:{SHORT})|{LEAD}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|" + LINES],
    "smollm": [r"\p{N}", GPT2],
    "tekken": [cased("") + r"|\p{N}" + TAIL],
    "gpt-4o": [cased(f"(?i:{SHORT})?") + r"|\p{N}{1,3}" + TAIL],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASED_LIST}]+", r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$", EAST,
                     r"\p{N}"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
                    r"| ?[\p{P}\p{S}]+[\r\n]*|" + LINES],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}


# ---- strings ---------------------------------------------------------------------------------

BLOCKS = {
    "ascii": (0x21, 0x7f), "latin": (0xa1, 0x250), "ipa": (0x250, 0x300), "marks": (0x300, 0x370),
    "greek": (0x370, 0x400), "cyrillic": (0x400, 0x530), "hebrew": (0x590, 0x600),
    "arabic": (0x600, 0x700), "devanagari": (0x900, 0x980), "thai": (0xe01, 0xe5c),
    "georgian": (0x10a0, 0x1100), "cherokee": (0x13a0, 0x1400), "khmer": (0x1780, 0x1800),
    "greek+": (0x1f00, 0x2000), "punct": (0x2000, 0x2070), "letterlike": (0x2070, 0x2190),
    "symbols": (0x2190, 0x2c00), "glagolitic": (0x2c00, 0x2d00), "kana": (0x3000, 0x3100),
    "han": (0x4e00, 0x9fff), "latin-d": (0xa640, 0xa800), "hangul": (0xac00, 0xd7a4),
    "compat": (0xf900, 0xfb50), "wide": (0xff00, 0xfff0), "private": (0xe000, 0xe010),
    "deseret": (0x10400, 0x10500), "maths": (0x1d400, 0x1d800), "adlam": (0x1e900, 0x1e960),
    "emoji": (0x1f300, 0x1f700), "han-b": (0x20000, 0x20100), "odd": (0xfff0, 0x10000),
}
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", " \r\n ", "\u00a0",
          "\u3000", "\u2028", "\x85", "\x0b", "\x1c", "\u200b", "\u2003 "]
ENDS = ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "M", "lL", "D", "\u017f", "x", "r"]
WORDS = ["The", "patient", "ICU", "mmHg", "HbA1c", "pH", "iPhone", "McDonald", "ÉCOLE", "Straße", "naïve",
         "患者", "の", "カルテ", "환자", "ปวดหัว", "المريض", "больной", "ΑΒΓαβγ", "𝒜𝒷", "ǅungla", "e\u0301cole", "ﬁbrosis"]
CODE = ["if (x == 10) {", "}\n", "\treturn a->b;", "#include <x.h>", "// note", "/* x */", "f(x)[0]", "a_b", "x+=1",
        "`code`", "```\n", "http://a.b/c?d=1&e", "path/to/file\n", "</div>", "$HOME", "{}", "==", "!=", "...", "—"]
CLINICAL = ["BP 150/90 mm Hg", "T 38.2°C", "5 mg b.i.d.", "q8h", "Na+ 140 mEq/L", "SpO₂ 97%", "12,300/mm³", "#3.", "A&Ox3",
            "S1/S2", "h/o", "w/o", "~2-3x", "2½", "10⁻⁵", "≥1.73 m²", "µg", "1:200", "2024-05-01", "Dx:", "(R)"]
ODD = ["\x00", "\x01", "\x1b", "\x7f", "\ufffd", "\ufeff", "\ufffe", "\U0010ffff", "\u200d", "\ufe0f", "\u202e", "\u00ad",
       "\ue000", "\U000e0020"]


# Edges of the patterns: signs with line ends and slashes, ends of the lists of code points.
EDGES = ["a)\n/b", "!\r\n//x", "?/\n/ y", " -/\n\n/", "x\u0800y", "1\u0800\u0801 \u9fa5\u9fa6\u9fa71", "\u4e00\u4dff",
         "\uabff\uac00\ud7a3 .\ud7b0", "\u303f\u3040\u3041\u309f\u30a0\u30ff\u3100\u3105", "!\uff01\uff0f\uff10\uff1a\uff5e\uff5f",
         "\u2017\u2018\u201f\u2020", "\u3000\u3001\u3002\u3003", "\u01ba\u01bb\u01bc\u01bf\u01c0", "\u0293\u0294\u0295", "@[`{", "#!/bin/sh\n",
         "12\n", "1 \n", "a \n", "\u00e9'S", "\u4e00's", "A'LL", "Ab'Ve", "'ll'LL"]


def known(c):
    return unicodedata.category(c) not in ("Cs", "Cn") or c in "\ufffe\U0010ffff"


def atom(rng):
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice(SPACES) * rng.choice((1, 1, 1, 2, 5))
    if kind == 1:
        return rng.choice(("'", "'", "\u2019", "''")) + rng.choice(ENDS)
    if kind == 2:
        return "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 8)))
    if kind == 3:
        return rng.choice(CODE)
    if kind == 4:
        return rng.choice(CLINICAL)
    if kind == 5:
        return rng.choice(WORDS)
    if kind == 6:
        return " " + rng.choice(WORDS)
    if kind == 7 and rng.random() < 0.5:
        return rng.choice(ODD)
    lo, hi = BLOCKS[rng.choice(list(BLOCKS))]
    out = "".join(chr(rng.randrange(lo, hi)) for _ in range(rng.randrange(1, 5)))
    return "".join(c for c in out if known(c))


def texts(count):
    rng = random.Random(2511)
    out = [s for s in nasty() if s and len(s) < 200]
    out += [rng.choice(SPACES) + line for line in SENTENCES.split("\n")]
    out += EDGES
    while len(out) < count:
        s = "".join(atom(rng) for _ in range(rng.randrange(1, 12)))
        if s:
            out.append(s)
    return out[:count]


# ---- pieces ----------------------------------------------------------------------------------

def by_tokenizers(passes):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in passes])


def by_regex(passes, text):
    out = [text]
    for p in passes:
        cut = []
        for piece in out:
            at = 0
            for m in p.finditer(piece):
                cut += [piece[at:m.start()], m.group()]
                at = m.end()
            cut.append(piece[at:])
        out = [c for c in cut if c]
    return out


WHOLE_FIRST = ("llama-bpe", "tekken")  # ignore_merges in tokenizer.json


def on_small(path, name):
    """A function from text to the ids on a small vocabulary of ours."""
    fields = gguf.GGUFReader(path).fields
    tokens, types, merges = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type", "merges"))
    vocab = {t: i for i, (t, k) in enumerate(zip(tokens, types)) if k == gguf.TokenType.NORMAL}
    user = [t for t, k in zip(tokens, types) if k == gguf.TokenType.USER_DEFINED]
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m.split(" ")) for m in merges],
                               ignore_merges=name in WHOLE_FIRST))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [by_tokenizers(PASSES[name]), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in user])
    ids = {tok.token_to_id(t): tokens.index(t) for t in user}
    return lambda text: [ids.get(i, i) for i in tok.encode(text, add_special_tokens=False).ids]


def shared(values):
    """{name: text} as {names: text}: names of equal texts share a key."""
    names = {}
    for name, value in values.items():
        names.setdefault(" ".join(map(str, value)), []).append(name)
    return {" ".join(n): value for value, n in names.items()}


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[3] / "tests" / "golden")
    tokenizers = {name: by_tokenizers(p) for name, p in PASSES.items()}
    patterns = {name: [regex.compile(p, regex.V1) for p in ps] for name, ps in PASSES.items()}
    small = {name: on_small(out / "vocab_bpe.gguf", name) for name in PASSES}
    lines, differ = [], 0
    for i, text in enumerate(texts(2000)):
        cuts = {}
        for name in PASSES:
            pieces = [p for p, _ in tokenizers[name].pre_tokenize_str(text)]
            if pieces != by_regex(patterns[name], text):
                differ += 1
                print(f"{name}: {text!r}\n tokenizers {pieces}\n regex      {by_regex(patterns[name], text)}")
            cuts[name] = [len(p.encode()) for p in pieces]
        row = {"text": text, "cuts": shared(cuts)}
        if i % 10 == 0:
            row["ids"] = shared({name: encode(text) for name, encode in small.items()})
        lines.append(json.dumps(row, separators=(",", ":")) + "\n")
    with open(out / "pretoken.jsonl.gz", "wb") as f:
        f.write(gzip.compress("".join(lines).encode(), 9, mtime=0))
    print(f"{len(lines)} strings, {len(PASSES)} pre-tokenizers, {differ} differences between the packages")
    return differ != 0


if __name__ == "__main__":
    sys.exit(main())
