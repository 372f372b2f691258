#!/bin/bash
# Text as editors of other systems save it: byte order marks, CR LF, UTF-16, NUL bytes.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
bom=$'\xef\xbb\xbf'

wide() { # ENCODING FILE
    python3 -c 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().decode().encode(sys.argv[1]))' "$1" <"$2"
}

# ---- cases: mark and line ends do not change a case, UTF-16 and NUL bytes are refused by name
printf 'A 53-year-old woman has a strong headache.\nWhich condition is it?\n' >case.txt
printf '%sA 53-year-old woman has a strong headache.\r\nWhich condition is it?\r\n' "$bom" >dos.txt
tr '\n' '\r' <case.txt >mac.txt
options='A. Graves disease||B. Migraine'
what_is_asked() { # the case as the trace has it
    zcat "$1/traces.jsonl.gz" 2>/dev/null | cat - "$1/traces.jsonl" 2>/dev/null | sed -nE 's/.*"user": ("([^"\\]|\\.)*").*/\1/p'
}
for form in case dos mac; do
    expect 0 '"state": "answered"' "$MAS" run -c demo -s direct -f $form.txt -o "$options" --json --out $form
    [ -n "$(what_is_asked $form)" ] || fault "no prompt in the trace of $form"
    [ "$(what_is_asked case)" = "$(what_is_asked $form)" ] || fault "$form.txt gives another prompt: $(what_is_asked $form)"
done
expect 0 '"state": "answered"' "$MAS" run -c demo -s direct -q "$(cat dos.txt)" -o "$bom$options"$'\r' --json --out argument
[ "$(what_is_asked case | sed 's/\\n\\n/\\n/g')" = "$(what_is_asked argument | sed 's/\\n\\n/\\n/g')" ] || fault "dos.txt as an argument"
for encoding in UTF-16LE UTF-16BE UTF-32LE UTF-32BE; do
    wide $encoding case.txt >wide.txt
    expect 65 "wide.txt is $encoding text" "$MAS" run -c demo -f wide.txt
    expect 65 "wide.txt is $encoding text" "$MAS" plan -c demo -f wide.txt
    expect 65 "standard input is $encoding text" "$MAS" run -c demo -f - <wide.txt
    { printf '\xef\xbb\xbf' | wide $encoding /dev/stdin; cat wide.txt; } >marked.txt
    expect 65 "marked.txt is $encoding text" "$MAS" run -c demo -f marked.txt
    expect 65 "marked.txt is $encoding text" "$MAS" tokenize -m demo -f marked.txt
    expect 65 "marked.txt is $encoding text" "$MAS" perplexity -m demo -f marked.txt
    expect 65 "marked.txt is $encoding text" "$MAS" generate -m demo -n 1 -f marked.txt
    expect 65 "wide.txt is $encoding text" "$MAS" generate -m demo -n 1 -f wide.txt
    expect 65 "wide.txt is $encoding text" "$MAS" detokenize -m demo -f wide.txt
done
printf 'A 53-year-old\0 woman' >nul.txt
expect 65 "nul.txt has a NUL byte at 13 of 20" "$MAS" run -c demo -f nul.txt
expect 65 "nul.txt has a NUL byte" "$MAS" plan -c demo -f nul.txt
expect 64 "not valid UTF-8" "$MAS" run -c demo -q $'\xff'
expect 64 "give it with -q TEXT or -f FILE" "$MAS" run -c demo
expect 64 "both -q and -f" "$MAS" run -c demo -q x -f case.txt
shared=${MAS_DATA:-/nowhere}/../cases/text
if [ -d "$shared" ]; then
    expect 65 "is UTF-16LE text" "$MAS" run -c demo -f "$shared/case_utf16le_nobom.txt"
    expect 0 '"state": "answered"' "$MAS" run -c "$shared/config_bom.yaml" -q x -o "$options" --json --out shared
fi

# ---- configurations and catalogues
printf '%s_base: demo\r\nstrategy: direct\r\n' "$bom" >dos.yaml
expect 0 '"state": "answered"' "$MAS" run -c dos.yaml -q x -o "$options" --json --out config
printf '_base: demo\nstrategy: direct\n' >plain.yaml
printf '%s_base: plain.yaml\r\n' "$bom" >child.yaml
expect 0 '"state": "answered"' "$MAS" run -c child.yaml -q x -o "$options" --json --out child
for encoding in UTF-16LE UTF-16BE UTF-32LE UTF-32BE; do
    wide $encoding plain.yaml >wide.yaml
    expect 78 "wide.yaml is $encoding text" "$MAS" run -c wide.yaml -q x
done
printf '_base: demo\nstrategy: dir\0ect\n' >nul.yaml
expect 78 "nul.yaml has a NUL byte at 25" "$MAS" run -c nul.yaml -q x
{ printf '%s' "$bom"; sed 's/$/\r/' "$MAS_SOURCE/configs/specialties.yaml"; } >catalogue.yaml
expect 0 'asked' "$MAS" plan -c demo --set specialties=catalogue.yaml -q x
wide UTF-16LE catalogue.yaml >wide_catalogue.yaml
expect 78 "is UTF-16LE text" "$MAS" plan -c demo --set specialties=wide_catalogue.yaml -q x

# ---- bytes: generate drops the mark alone, tokenize and perplexity keep every byte
ids() { "$MAS" generate -m demo -n 4 --json -t 1 --quiet -f "$1" | sed 's/, "first_seconds.*//'; }
printf 'A 45-year-old man\r\nhas\r\n' >crlf.txt
printf 'A 45-year-old man\nhas\n' >lf.txt
{ printf '%s' "$bom"; cat crlf.txt; } >marked.txt
[ "$(ids crlf.txt)" = "$(ids marked.txt)" ] || fault "generate reads the mark"
[ "$(ids crlf.txt)" != "$(ids lf.txt)" ] || fault "generate changes the bytes of a prompt"
for f in crlf.txt marked.txt nul.txt; do
    "$MAS" tokenize -m demo -f $f | "$MAS" detokenize -m demo -f - | cmp - $f || fault "tokenize changes $f"
done
{ printf '%s' "$bom"; "$MAS" tokenize -m demo -f lf.txt | sed 's/ /\r\n/g'; } >ids.txt
"$MAS" detokenize -m demo -f ids.txt | cmp - lf.txt || fault "ids with a mark and CR LF"
exit $bad
