#!/bin/bash
# mas tokenize and mas detokenize: output, exit codes, messages.
set -u
bpe=$MAS_SOURCE/tests/golden/vocab_bpe.gguf
spm=$MAS_SOURCE/tests/golden/vocab_spm.gguf
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0

# expect EXIT STDOUT-TEXT STDERR-PART COMMAND...
expect() {
    local want=$1 out=$2 err=$3 rc
    shift 3
    "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    rc=$?
    if [ $rc != "$want" ] || { [ "$out" != ANY ] && [ "$(cat "$tmp/out")" != "$out" ]; } ||
        { [ -z "$err" ] && [ -s "$tmp/err" ]; } || { [ "$err" ] && ! grep -qF -- "$err" "$tmp/err"; }; then
        echo "FAILED: $*"
        echo "  exit $rc, want $want; stdout '$(cat "$tmp/out")', want '$out'; stderr '$(cat "$tmp/err")', want '$err'"
        failed=1
    fi
}

expect 0 "" "" "$MAS" tokenize -m "$bpe" -p ""
expect 0 "0" "" "$MAS" tokenize -m "$bpe" -p "" --count
expect 0 "1500" "" "$MAS" tokenize -m "$bpe" -p "" --bos
expect 0 "1504" "" "$MAS" tokenize -m "$bpe" -p "<|eot_id|>" --special
expect 0 "1500 1504" "" "$MAS" tokenize -m "$bpe" -p "<|eot_id|>" --special --bos
expect 0 "2" "" "$MAS" tokenize -m "$bpe" -p "<|eot_id|>" --special --bos --count
expect 64 "" "no model" "$MAS" tokenize -p x
expect 64 "" "both -p and -f" "$MAS" tokenize -m "$bpe" -p x -f x
expect 64 "" "unexpected argument 'stray'" "$MAS" tokenize -m "$bpe" -p x stray
expect 64 "" "no-such-option" "$MAS" tokenize --no-such-option
expect 66 "" "$tmp/none" "$MAS" tokenize -m "$bpe" -f "$tmp/none"
expect 66 "" "$tmp/none" "$MAS" tokenize -m "$tmp/none" -p x
expect 65 "" "GGUF" "$MAS" tokenize -m "$MAS_SOURCE/CMakeLists.txt" -p x
expect 66 "" "it is a directory" "$MAS" tokenize -m "$bpe" -f "$tmp"
expect 0 ANY "" "$MAS" tokenize --help
expect 0 ANY "" "$MAS" help tokenize
expect 0 ANY "" "$MAS" help detokenize

# --pre takes the place of the file's pre-tokenizer: other pieces, other ids.
expect 0 "5" "" "$MAS" tokenize -m "$bpe" -p "12345 6" --count
expect 0 "7" "" "$MAS" tokenize -m "$bpe" -p "12345 6" --count --pre qwen2
expect 0 "5" "" "$MAS" tokenize -m "$bpe" -p "12345 6" --count --pre llama3
expect 64 "" "the pre-tokenizer 'qwen9' is unknown; choose one with --pre NAME: llama-bpe, smaug-bpe, gpt-2, qwen2," \
    "$MAS" tokenize -m "$bpe" -p x --pre qwen9
expect 64 "" "--pre qwen2: a SentencePiece vocabulary has no pre-tokenizer" "$MAS" tokenize -m "$spm" -p x --pre qwen2
expect 0 "&A" "" "$MAS" detokenize -m "$bpe" --pre gpt-2 5 32
expect 64 "" "the pre-tokenizer 'x' is unknown" "$MAS" detokenize -m "$bpe" --pre x 5
expect 64 "" "the pre-tokenizer 'x' is unknown" "$MAS" generate -m demo --pre x -p Hello -n 1
expect 0 ANY "" "$MAS" generate --quiet -m demo --pre llama3 -p Hello -n 1

expect 64 "" "no ids" "$MAS" detokenize -m "$bpe"
expect 64 "" "no model" "$MAS" detokenize 5
expect 64 "" "not both" "$MAS" detokenize -m "$bpe" -f x 5
expect 65 "" "id 1, '7x'" "$MAS" detokenize -m "$bpe" 5 7x
expect 65 "" "token 2 is 1511" "$MAS" detokenize -m "$bpe" 5 6 1511
expect 65 "" "token 0 is -3" "$MAS" detokenize -m "$bpe" -- -3
expect 0 "" "" "$MAS" detokenize -m "$bpe" 1504
expect 0 "<|eot_id|>" "" "$MAS" detokenize -m "$bpe" --special 1504
expect 0 "&A" "" "$MAS" detokenize -m "$bpe" 5 "32"

# Any bytes come back through a pipe, and a byte is no text: nothing is added at the end.
printf 'a\xff\x00 b\r\n\n<|eot_id|>  caf\xc3\xa9 \xf0\x9f\x98\x80' >"$tmp/in"
for model in "$bpe" "$spm"; do
    "$MAS" tokenize -m "$model" <"$tmp/in" | "$MAS" detokenize -m "$model" -f - >"$tmp/back"
    cmp "$tmp/in" "$tmp/back" || failed=1
    "$MAS" tokenize -m "$model" -f "$tmp/in" >"$tmp/ids"
    [ "$(wc -l <"$tmp/ids")" = 1 ] || { echo "FAILED: not one line"; failed=1; }
    [ "$(wc -w <"$tmp/ids")" = "$("$MAS" tokenize -m "$model" -f "$tmp/in" --count)" ] || {
        echo "FAILED: --count"
        failed=1
    }
done

real=$MAS_DATA/vocab/ggml-vocab-llama-bpe.gguf
if [ -r "$real" ]; then
    expect 0 "128000 9906 1917" "" "$MAS" tokenize -m "$real" --bos -p "Hello world"
    expect 0 "Hello world" "" "$MAS" detokenize -m "$real" 128000 9906 1917
fi
exit $failed
