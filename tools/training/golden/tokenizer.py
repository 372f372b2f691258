#!/usr/bin/env python3
"""Makes the small vocabularies of the tokenizer tests and what they must give.

usage: tools/training/golden/tokenizer.py [OUT]                      (default tests/golden)
       tools/training/golden/tokenizer.py --real LLAMA3.gguf QUESTIONS.jsonl MAS

  vocab_bpe.gguf    byte-level BPE with Llama 3's pattern, trained on the sentences below and on the
                    names of characters; control, user-defined,
                    unused and empty tokens; template
  vocab_bpe.jsonl   text, byte lengths of the pre-tokenizer's pieces, ids without and with control
                    tokens recognised
  vocab_spm.gguf    SentencePiece form: scores, byte tokens, U+2581
  vocab_spm.jsonl   text and ids
  chat_llama3.jsonl messages and the ids of the rendered template
  ../fuzz/corpus/tokenizer/*.gguf  the least vocabularies, for the fuzzer to spoil

Expected values come from the Python packages tokenizers (Hugging Face) and jinja2. --real compares
the program MAS on a real Llama 3 vocabulary with the tokenizers package built from the same file,
over the questions and 2,000 random strings, and prints the differences. Characters that this
Python's Unicode does not know are left out: the package's tables are newer than version 15.

Needs: gguf, tokenizers, jinja2.
"""
import collections
import json
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import gguf
import jinja2
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        trainers)

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
           r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CONTROL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>", "<|eom_id|>", "<|eot_id|>x"]
USER = ["<note>", "<note>>"]

# Same meaning as the template of Llama 3 Instruct, in words of our own.
TEMPLATE = ("{{ '<|begin_of_text|>' }}{% for m in messages %}"
            "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
            "{{ m.content | trim + '<|eot_id|>' }}"
            "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}")

SENTENCES = """
A 54-year-old man comes to the emergency department because of chest pain for 2 hours.
His blood pressure is 150/90 mm Hg, pulse is 110/min, and temperature is 38.2°C (100.8°F).
Which of the following is the most likely diagnosis? Which is the best next step in management?
The patient doesn't smoke; she's taking metformin 500 mg, and they've stopped the aspirin.
Laboratory studies show: hemoglobin 9.1 g/dL, leukocyte count 12,300/mm3, creatinine 1.4 mg/dL.
Question: A. Myocardial infarction B. Pulmonary embolism C. Pneumonia D. Pericarditis Answer: B
I'll say it's what we'd expect, but I'm not sure you're right. WE'LL SEE, THEY'VE SAID.
Der Arzt prüft das Gewebe. Größe, Übelkeit, Schmerzen. Le médecin a vu la lésion hépatique.
El paciente no tiene náuseas ni vómitos. Пациент жалуется на боль в груди и одышку.
患者出现胸痛和呼吸困难。 患者は胸の痛みを訴えています。 환자는 가슴 통증을 호소합니다.
المريض يعاني من ألم في الصدر. रोगी को सीने में दर्द है। ผู้ป่วยเจ็บหน้าอก
    return {"triage": "urgent", "ids": [1, 2, 3]}
        if x == 10 and y != 20:
0 1 2 3 10 12 100 123 1000 2024 3.14 1e-5 50% <= >= == != -> ... --- === ((( )))
""".strip("\n")


def corpus():
    lines = SENTENCES.split("\n") * 40
    for cp in range(0x20, 0x3000, 3):
        name = unicodedata.name(chr(cp), "")
        if name:
            lines.append(name.capitalize() + " " + name.lower())
    return [line + "\n\n" * (i % 3) for i, line in enumerate(lines)]


def nasty():
    """Strings that break tokenizers: scripts, marks, joiners, control characters, white space."""
    out = ["", " ", "  ", "   ", "\t", "\n", "\r", "\r\n", "\n\n", "\n\n\n", " \n", "\n ", " \n ",
           "\t\n", "  \n  \n  x", "a", "ab", " a", "a ", "a  b", "a   b", "\ta", "\t\ta", " \ta",
           "a\n", "a\nb", "a\n\nb", "a \n b", "a\r\nb", "a\rb", "\u00a0a", "\u00a0\u00a0a",
           "a\u3000b", "\u2028x", "x\u2029", "\x85y", "\x1c\x1d\x1e\x1f", "\x0b\x0c", "\u200b",
           "a\u200bb", "\ufeffa", "\u180e x", "\u1680a", "\u202f7", "\u205f.", " \u00a0 \u00a0x"]
    for tail in ["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Re", "rE", "VE", "M", "LL",
                 "Ll", "D", "\u017f", "r", "v", "l", "x", "rx", "\u017fa", "sa", "tt", "ree",
                 "lll"]:
        out += [f"it'{tail}", f"'{tail} end", f" '{tail}", f"''{tail}", f"I\u2019{tail}"]
    out += ["''", "'", "' s", "'\ns", "'1", "can't've", "rock'n'roll", "o'clock's", "'tis 'twas"]
    for n in range(1, 12):
        out.append("1" * n)
    out += ["12345 67890", "1,234.56", "3.14e-10", "1a2b3c", "v1.2.3-rc4", "0x1F", "½¾", "²³¹",
            "Ⅷ Ⅻ", "①②③④", "１２３４", "١٢٣٤٥", "१२३४", "៣៣៣៣", "1½2", "x²", "10⁻⁵", "〇一二", "㊀㊁", "༳",
            "𝟙𝟚𝟛𝟜", "𐄇𐄈"]
    out += ["!", "!!", "!!!\n", "!\n\n", "! \n", " !", "  !", " !a", "!a", "!1", "a!", "a!b",
            "...\r\n...", "-->", "<!-- x -->", "#include <stdio.h>\n", "a_b", "_a", "__",
            "$x = \\frac{1}{2}$", "http://a.b/c?d=e&f#g", "a@b.co", "C:\\x\\y", "\"q\"", "“q”",
            "«q»", "¿qué?", "¡ay!", "…", "–—", "•·", "™®©", "€$£¥", "±×÷", "≤≥≠", "→⇒", "♠♥", "☃",
            "✅"]
    out += ["é", "e\u0301", "e\u0301e\u0301", "\u0301", " \u0301a", "a\u0301\u0302\u0303b", "Å",
            "A\u030a", "ﬁ ﬂ", "ß ẞ", "ı İ i̇", "ŉ", "ǆ ǅ Ǆ", "Ａｂｃ", "ªº", "ʼn ˈa ːb", "ᾳ Ὀδυσσεύς",
            "ΑΒΓαβγς", "Привет, мир!", "ёЁ", "ҐґЇї", "Հայաստան", "שלום עולם", "שָׁלוֹם",
            "العَرَبِيَّة", "مرحبا بالعالم", "فارسی‌نویسی", "ܫܠܡܐ", "हिन्दी में", "क्षत्रिय",
            "বাংলা", "ਪੰਜਾਬੀ", "ગુજરાતી", "தமிழ்", "తెలుగు", "ಕನ್ನಡ", "മലയാളം", "සිංහල", "ภาษาไทย",
            "ພາສາລາວ", "བོད་ཡིག", "မြန်မာ", "ქართული", "አማርኛ", "ខ្មែរ", "ᠮᠣᠩᠭᠣᠯ", "日本語テキスト",
            "カタカナ・ひらがな", "ｶﾀｶﾅ", "中文文本，测试。", "繁體中文", "한국어 텍스트", "ㅋㅋㅋ", "각", "각", "ᏣᎳᎩ", "ᐃᓄᒃᑎᑐᑦ",
            "𐎀𐎁", "𝔘𝔫𝔦", "𠜎𠜱", "𞤀𞤣", "\U0001e900", "ꙮ", "꧁꧂", "\ue000", "\U000f0000", "\U0010ffff",
            "\ufffd", "\ufffe", "\uffff", "\u0378", "\u0e3f", "\u2fe0"]
    out += ["😀", "😀😀", "😀 😀", "a😀b", " 😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "1️⃣", "#️⃣", "☺️",
            "🧑🏿‍🚀!", "\U0001fae8", "😶‍🌫️\n", "\u200d", "\ufe0f", "\U000e0067\U000e0062", "e\u20dd"]
    out += ["\x00", "a\x00b", "\x01\x02\x03", "\x7f", "\x1b[31mred\x1b[0m", "a\bb", "\x00\n",
            " \x00"]
    out += [" " * n + tail for n in (5, 16, 33, 127) for tail in ("", "x", "\n", "\nx", "1")]
    out += ["\n" * n + tail for n in (4, 17, 64) for tail in ("", "x", " ", " x")]
    out += ["\t" * 9 + "x", " \n" * 20, "\r\n" * 10 + "x", "a " * 50, "a" * 300, "ab" * 150,
            "Aa" * 99, "-" * 200, "=" * 77 + "\n", "é" * 100, "😀" * 40, "的" * 80, "1 " * 30,
            "9" * 100, "' " * 20, "'s" * 20, "\u0301" * 50, "\u00a0" * 20 + "x"]
    out += ["<|eot_id|>", "<|eot_id|>x", "a<|eot_id|>b", "<|begin_of_text|>hi",
            "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>", "<|eot_id",
            "<|eot_id|><|eot_id|>", "<<|eot_id|>>", "<|EOT_ID|>", "x <|end_of_text|> y", "<note>",
            "a<note>b", "<note>>", "<note>>>", "<note", "<<note>", " <note> ", "<|unused|>",
            "<0x41>", "<s>", "</s>", "<unk>"]
    out += [line for line in SENTENCES.split("\n")]
    out += ["Supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
            "HTTPServer2Go", "camelCaseWord", "snake_case_word", "don't", "DON'T", "y'all'd've",
            "naïve café", "Ünïcödé", "a.b.c.d", "x=1;y=2", "f(x)(y)[z]{w}"]
    return list(dict.fromkeys(out))


def llama3(vocab, merges, control, user):
    """The pipeline of Llama 3's tokenizer.json, without the post-processor that adds BOS."""
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    tok.add_tokens([AddedToken(t, special=False, normalized=False) for t in user])
    return tok


def pieces(text):
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False)
    return [len(p.encode()) for p, _ in split.pre_tokenize_str(text)]


def train_bpe():
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(tok.to_str())["model"]
    vocab = model["vocab"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    # Llama 3's merges give most tokens in several ways; one merge without which a token cannot be
    # built, so that only the whole-piece rule finds it.
    merges = [m for m in merges if "".join(m) != "Ġpatient"]
    return vocab, merges


def write_bpe(path, vocab, merges, control, user, template=TEMPLATE, pre="llama-bpe"):
    tokens = [t for t, _ in sorted(vocab.items(), key=lambda kv: kv[1])]
    types = [gguf.TokenType.NORMAL] * len(tokens)
    tokens += control + user + ["<|unused|>", ""]
    types += [gguf.TokenType.CONTROL] * len(control) + [gguf.TokenType.USER_DEFINED] * len(user)
    types += [gguf.TokenType.UNUSED] * 2
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_bos_token_id(len(vocab))
    w.add_eos_token_id(len(vocab) + 1)
    w.add_chat_template(template)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def dump(path, rows):
    with open(path, "w") as f:
        for row in rows:
            f.write(json.dumps(row, separators=(",", ":")) + "\n")


def make_bpe(out):
    vocab, merges = train_bpe()
    n = len(vocab)
    # In plain text only user-defined tokens are recognised.
    every = llama3(vocab, merges, CONTROL, USER)
    plain = llama3(vocab, merges, [], USER)
    shift = {n + i: n + len(CONTROL) + i for i in range(len(USER))}  # ids of USER in the file
    rows = []
    for s in nasty():
        ids = [shift.get(i, i) for i in plain.encode(s, add_special_tokens=False).ids]
        special = every.encode(s, add_special_tokens=False).ids
        row = {"text": s, "pieces": pieces(s), "ids": ids}
        if special != ids:
            row["special"] = special
        rows.append(row)
    write_bpe(out / "vocab_bpe.gguf", vocab, merges, CONTROL, USER)
    dump(out / "vocab_bpe.jsonl", rows)
    make_chat(out, every)
    return len(rows)


def make_chat(out, tok):
    env = jinja2.Environment()
    chats = [
        [("user", "Hello")],
        [("system", "You are a careful physician."), ("user", "What is it?")],
        [("system", "  padded\n\t"), ("user", "\n\n two \n lines \u00a0\u2003")],
        [("user", "")],
        [("user", " \n ")],
        [("user", "a"), ("assistant", " b "), ("user", "c\n")],
        [("system", ""), ("user", "12345 'S\n\n\n"), ("assistant", "\x1cok\x1f"), ("user", "😀")],
    ]
    rows = []
    for chat in chats:
        messages = [{"role": r, "content": c} for r, c in chat]
        text = env.from_string(TEMPLATE).render(messages=messages)
        rows.append({"messages": messages, "ids": tok.encode(text, add_special_tokens=False).ids})
    dump(out / "chat_llama3.jsonl", rows)


def train_spm():
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Replace(" ", "\u2581")
    tok.pre_tokenizer = pre_tokenizers.Split(Regex("(?<!\u2581)(?=\u2581)"), "isolated")
    count = collections.Counter("".join(corpus()))
    usual = {c for c, _ in sorted(count.items(), key=lambda kv: (-kv[1], kv[0]))[:150]}
    lines = [" " + "".join(c for c in s if c in usual) for s in corpus()]
    tok.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=700, show_progress=False))
    model = json.loads(tok.to_str())["model"]
    joined = ["".join(m) if isinstance(m, list) else m.replace(" ", "") for m in model["merges"]]
    letters = [t for t in model["vocab"] if len(t) == 1]
    return list(dict.fromkeys(joined)), letters


def write_spm(path, joined, letters):
    head = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokens = head + joined + letters
    scores = [0.0] * len(head) + [-float(i) for i in range(len(joined) + len(letters))]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    types += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * (len(joined) + len(letters))
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores(scores)
    w.add_token_types(types)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_chat_template("[INST] <<SYS>> of Llama 2, recognised by these words")
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    return tokens


def make_spm(out):
    joined, letters = train_spm()
    tokens = write_spm(out / "vocab_spm.gguf", joined, letters)
    # Any two neighbours whose join is a token may merge, in the order of the joins' scores.
    known = set(joined) | set(letters)
    splits = [(t[:i], t[i:]) for t in joined for i in range(1, len(t))]
    merges = [(a, b) for a, b in splits if a in known and b in known]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges,
                               byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    rows = [{"text": s, "ids": tok.encode(s, add_special_tokens=False).ids} for s in nasty()]
    dump(out / "vocab_spm.jsonl", rows)
    return len(rows)


def make_corpus(out):
    out.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {t: i for i, t in enumerate(alphabet + ["Th", "The", "Ġa", "pat"])}
    write_bpe(out / "bpe.gguf", vocab, [("T", "h"), ("Th", "e"), ("Ġ", "a")], CONTROL[:5], USER[:1])
    some = [c for i, c in enumerate(alphabet) if i % 3 or c in "The"] + ["Th", "The"]
    write_bpe(out / "bpe_lossy.gguf", {t: i for i, t in enumerate(some)}, [("T", "h"), ("Th", "e")],
              CONTROL[:5], USER[:1], pre="smollm")
    write_spm(out / "spm.gguf", ["Th", "The", "\u2581a"], ["T", "h", "e", "a", "\u2581"])


def from_gguf(path):
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields["tokenizer.ggml." + key].contents()
    tokens, types = get("tokens"), get("token_type")
    vocab = {t: i for i, (t, k) in enumerate(zip(tokens, types)) if k == gguf.TokenType.NORMAL}
    control = [t for t, k in zip(tokens, types) if k != gguf.TokenType.NORMAL]
    return llama3(vocab, [tuple(m.split(" ")) for m in get("merges")], control, [])


def random_texts(n):
    rng = random.Random(20)
    blocks = [(0x20, 0x7f), (0, 0x20), (0x80, 0x250), (0x300, 0x370), (0x370, 0x600),
              (0x600, 0x780), (0x900, 0xe00), (0xe00, 0x1200), (0x1e00, 0x2000), (0x2000, 0x2c00),
              (0x3000, 0x3400), (0x4e00, 0x9fff), (0xac00, 0xd7a4), (0xf900, 0x10000),
              (0x10000, 0x12000), (0x1d400, 0x1d800), (0x1f300, 0x1fb00), (0x20000, 0x2a000),
              (0, 0x110000)]
    bits = [" ", "  ", "\n", "\r\n", "\t", "'", "'s", "'LL", "1", "23", "a", "The", " patient",
            ".", "!?", "\u00a0"]
    out = []
    for _ in range(n):
        text = ""
        for _ in range(rng.randrange(1, 30)):
            if rng.random() < 0.5:
                text += rng.choice(bits)
                continue
            lo, hi = rng.choice(blocks)
            for _ in range(rng.randrange(1, 6)):
                c = rng.randrange(lo, hi)
                text += "" if unicodedata.category(chr(c)) in ("Cs", "Cn") else chr(c)
        out.append(text)
    return out


def real(path, questions, mas):
    tok = from_gguf(path)
    texts = []
    for line in open(questions):
        d = json.loads(line)
        options = "".join(f"{k}. {v}\n" for k, v in sorted(d["options"].items()))
        texts.append(f"Question: {d['question']}\n{options}Answer:")
    n_questions = len(texts)
    texts += random_texts(2000) + nasty()
    # One run of the program for all: a control token that no text contains lies between them.
    mark = "<|reserved_special_token_0|>"
    with tempfile.NamedTemporaryFile() as f:
        f.write(mark.join(texts).encode())
        f.flush()
        command = [mas, "tokenize", "--special", "-m", path, "-f", f.name]
        line = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    got = [[]]
    for word in line.split():
        if int(word) == tok.token_to_id(mark):
            got.append([])
        else:
            got[-1].append(int(word))
    assert len(got) == len(texts)
    bad = 0
    for i, text in enumerate(texts):
        want = tok.encode(text, add_special_tokens=False).ids
        if got[i] != want:
            bad += 1
            print(f"text {i} {text!r}:")
            print("  mas       ", *got[i])
            print("  tokenizers", *want)
    print(f"{n_questions} questions and {len(texts) - n_questions} other texts, {bad} differ")
    return bad != 0


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--real":
        return real(*sys.argv[2:])
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[3] / "tests" / "golden")
    make_corpus(out.parent / "fuzz" / "corpus" / "tokenizer")
    print(f"{make_bpe(out)} strings for BPE, {make_spm(out)} for SentencePiece")


if __name__ == "__main__":
    sys.exit(main())
