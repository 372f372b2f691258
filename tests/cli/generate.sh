#!/usr/bin/env bash
# generate, perplexity, bench, help: exit codes, messages and forms of output, on the demo model.
set -u
: "${MAS:?path of the program}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# expect CODE TEXT COMMAND..: exit code and a text in stdout or stderr
expect() {
    local want=$1 text=$2 out code
    shift 2
    out=$("$@" 2>&1 </dev/null)
    code=$?
    if [ $code != "$want" ] || ! grep -qF -- "$text" <<<"$out"; then
        echo "FAILED: $* : exit $code, wanted $want with '$text'; got: ${out:0:300}"
        failed=1
    fi
}

expect 0 'usage: mas COMMAND' "$MAS"
expect 0 'usage: mas COMMAND' "$MAS" --help
expect 64 "unknown command 'generat', did you mean 'generate'" "$MAS" generat
for c in $("$MAS" help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
    expect 0 'Examples:' "$MAS" help "$c"
    [ "$c" = version ] || [ "$c" = help ] || expect 0 '--' "$MAS" "$c" --help
done
for mode in model kernels ceiling compare stream read; do
    "$MAS" help bench $mode >"$dir/said" 2>&1 || expect 0 'Usage' "$MAS" help bench $mode
    [ $mode = model ] || expect 0 "Usage: mas bench $mode " cat "$dir/said"
    grep -q "mas bench $mode" "$dir/said" && ! sed -n '/^Examples/,$p' "$dir/said" | grep '^  ' | grep -v "mas bench $mode" ||
        expect 0 'examples of this mode alone' cat "$dir/said"
done
expect 64 "mas bench has no mode 'speed'; 'mas help bench' shows" "$MAS" help bench speed
expect 64 "mas eval has no mode 'x'" "$MAS" help eval x
expect 64 "mas version has no mode 'x'" "$MAS" help version x
expect 64 "unexpected argument 'x'" "$MAS" help bench read x

gen=("$MAS" generate -m demo --quiet -t 1)
expect 64 'no text' "${gen[@]}"
expect 64 'both -p and -f' "${gen[@]}" -p x -f y
expect 64 "--tokens is '0'; it takes a whole number from 1" "${gen[@]}" -p x -n 0
expect 64 "--temp is 'hot'; it takes a number from 0 to 5" "${gen[@]}" -p x --temp hot
expect 64 "--kv-type is 'q4'; it takes one of f16|q4_0|q8_0|f32" "${gen[@]}" -p x --kv-type q4
expect 64 'unexpected argument' "${gen[@]}" x
expect 66 '/no/such/file' "${gen[@]}" -f /no/such/file
expect 66 '/no/such.gguf' "$MAS" generate -m /no/such.gguf -p x
expect 69 'cannot use backend cuda (use auto, cpu or ref)' "${gen[@]}" -p x --backend cuda --device 63
expect 64 "--device is '-1'; it takes" "${gen[@]}" -p x --device -1
expect 69 'backend cpu uses none' "${gen[@]}" -p x --backend cpu --devices all
expect 64 "--vram is 'much'; it takes a size" "${gen[@]}" -p x --vram much
if "$MAS" generate -m demo -p x -n 1 --backend cuda 2>&1 | grep -q 'cannot use backend cuda'; then
    for option in '--vram 1MiB' '--device 1'; do
        read -ra words <<<"$option"
        expect 69 "${words[0]} asks for a GPU, and no GPU can be used: " "$MAS" profile -m demo "${words[@]}"
        expect 69 'for the CPU use --backend cpu without' "${gen[@]}" -p x "${words[@]}"
    done
fi
# The CUDA kernels run by the CPU, where the build has them.
if "${gen[@]}" -p hello -n 4 --backend cudahost >"$dir/host" 2>"$dir/why"; then
    [ -s "$dir/host" ] || { echo "FAILED: cudahost says nothing"; failed=1; }
    expect 64 'on the device; lower --ctx' "${gen[@]}" -p x --backend cudahost --vram 1MiB
    expect 69 'no GPU 3' "${gen[@]}" -p x --backend cudahost --device 3
    expect 69 'no GPU 1' "${gen[@]}" -p x --backend cudahost --devices 0,1
    expect 64 'GPU 0 is named twice' "${gen[@]}" -p x --backend cudahost --devices 0,0
else
    grep -q "CUDA's headers were not found" "$dir/why" || { echo "FAILED: $(cat "$dir/why")"; failed=1; }
fi
expect 64 "--isa is 'mmx'; it takes one of auto|scalar" "${gen[@]}" -p x --isa mmx
expect 65 'exceeds the context of 64' "${gen[@]}" -p hello -n 62 --ctx 64
expect 0 '' "${gen[@]}" -p '' -n 1 # BOS alone is a prompt

"${gen[@]}" -p hello -n 12 --json >"$dir/a" || failed=1
"${gen[@]}" -p hello -n 12 --json -t 2 --page-tokens 64 >"$dir/b" || failed=1
tokens_of() { "$MAS" tokenize -m demo -p "$1" | wc -w | awk '{ print $1 + 1 }'; } # and BOS
strip() { sed 's/"first_seconds.*//' "$1"; }
if [ "$(strip "$dir/a")" != "$(strip "$dir/b")" ]; then
    echo "FAILED: the reply depends on threads or pages"
    failed=1
fi
grep -q "\"finish\": \"length\", \"prompt_tokens\": $(tokens_of hello)," "$dir/a" || { echo "FAILED: $(cat "$dir/a")"; failed=1; }

cat >"$dir/schema.json" <<'JSON'
{"type": "object", "properties": {"answer": {"enum": ["A", "B"]}}, "required": ["answer"]}
JSON
expect 0 '{"answer": "' "${gen[@]}" -p hello --chat --schema "$dir/schema.json" -n 40
echo '{"type": "objekt"}' >"$dir/bad.json"
expect 78 'type must be one of' "${gen[@]}" -p hello --schema "$dir/bad.json"

# A schema as generators write it, with a byte order mark; the reply is that of the schema's first form.
printf '\xef\xbb\xbf' >"$dir/pydantic.json"
cat >>"$dir/pydantic.json" <<'JSON'
{"$defs": {"Kind": {"enum": ["a", "b"], "type": "string", "title": "Kind"}},
 "properties": {"when": {"type": "string", "format": "date"}, "kind": {"$ref": "#/$defs/Kind", "default": "a"},
                "code": {"anyOf": [{"type": "string", "pattern": "^[A-Z]{2}$"}, {"type": "null"}]}},
 "required": ["when", "kind", "code"], "title": "T", "type": "object"}
JSON
expect 0 '{"when": "' "${gen[@]}" -p hello --schema "$dir/pydantic.json" -n 60
printf '\xff\xfe{\x00}\x00' >"$dir/wide.json"
expect 78 'is UTF-16' "${gen[@]}" -p hello --schema "$dir/wide.json"
echo '{"type": "object", "properties": {"a": {"type": "string", "format": "phone"}}}' >"$dir/bad.json"
expect 78 '#/properties/a/format: phone is not known; known are date-time' "${gen[@]}" -p hello --schema "$dir/bad.json"
expect 0 'prefixItems' "$MAS" generate --help
if [ -d "$MAS_SOURCE/../shared/cases/schema" ]; then
    for schema in "$MAS_SOURCE"/../shared/cases/schema/*.json; do
        expect 0 '' "${gen[@]}" -p hello --schema "$schema" -n 60
    done
else
    echo "skipped: no ../shared/cases/schema"
fi

# chat templates: only --chat needs one that is known
if "$MAS" inspect -m demo --json >"$dir/about" && grep -q '"chat_template": "llama3"' "$dir/about"; then :; else
    echo "FAILED: the template of the demo model is unknown"
    failed=1
fi
demo=$(find "$MAS_SOURCE/configs" -name '*.gguf' | head -1)
sed 's/message\[.role.\]/message["ROLE"]/' "$demo" >"$dir/near.gguf" # a near miss of the same length
cmp -s "$demo" "$dir/near.gguf" && { echo "FAILED: the near miss is none"; failed=1; }
expect 0 'chat template: unknown' "$MAS" inspect "$dir/near.gguf"
near=("$MAS" generate -m "$dir/near.gguf" -n 4 --quiet -p hello)
expect 0 '' "${near[@]}"
expect 0 'perplexity' "$MAS" perplexity -m "$dir/near.gguf" --quiet -p 'some text that is here' --ctx 8
expect 65 'of no known text' "${near[@]}" --chat
expect 65 'choose one with --chat-template (chat.template): auto|llama3|' "${near[@]}" --chat
expect 0 '' "${near[@]}" --chat --chat-template llama3
expect 0 'the vocabulary lacks <|im_start|> of the chat template chatml: the model reads it as plain text' \
    "${gen[@]}" -n 1 -p x --chat --chat-template chatml
plain=$("${gen[@]}" -n 1 -p x --chat --chat-template zephyr 2>&1) # most of its models have no such tokens
! grep -q 'vocabulary lacks' <<<"$plain" || { echo "FAILED: zephyr: $plain"; failed=1; }
expect 65 'needs the control token <start_of_turn>' "${gen[@]}" -p x --chat --chat-template gemma3
expect 64 "chat.template is 'llama'; it takes auto|llama3|" "${gen[@]}" -p x --chat --chat-template llama
prompt_of() { "${gen[@]}" -n 1 -p hi --chat --json "$@" | sed -n 's/.*"prompt_tokens": \([0-9]*\).*/\1/p'; }
[ "$(prompt_of)" -lt "$(prompt_of --chat-template llama3.1)" ] || { echo "FAILED: no date block"; failed=1; }
[ "$(prompt_of --chat-template llama3.1)" -lt "$(prompt_of --chat-template llama3.1 --chat-date '26 Jul 2024, noon')" ] ||
    { echo "FAILED: --chat-date changes nothing"; failed=1; }
expect 64 'chat.date has a control character at byte 1' "${gen[@]}" -p x --chat-date $'a\nb'
expect 0 'chat.date is unused' "$MAS" generate -m demo -n 1 -p x --chat-date today

# a reply continues the prompt: SentencePiece keeps the space between them
story=$MAS_SOURCE/tests/golden/stories260K-Q4_1.gguf
expect 0 'Once upon a time,' "$MAS" generate -m "$story" --quiet --temp 0 -n 3 -p 'Once upon'
expect 0 '"text": " a time,"' "$MAS" generate -m "$story" --quiet --temp 0 -n 3 -p 'Once upon' --json
[ "$("$MAS" generate -m "$story" --quiet -p 'Once upon' -n 99999 2>&1 | sed -n '2s/:.*//p')" = mas ] ||
    { echo "FAILED: the error does not begin a line"; failed=1; }
# no template in the file: said once, where a chat is asked for and none was chosen
bare='the model file has no chat template: messages are joined without roles; --chat-template NAME takes one'
expect 0 "$bare" "$MAS" generate -m "$story" --quiet --chat -n 3 -p Once
for args in '' '--chat --chat-template zephyr'; do # shellcheck disable=SC2086
    said=$("$MAS" generate -m "$story" --quiet -n 3 -p Once $args 2>&1)
    ! grep -q 'no chat template' <<<"$said" || { echo "FAILED: a warning with '$args': $said"; failed=1; }
done
# a model alone is enough for run; the default context is no more than the model has
expect 1 'exceeds the context of 128' "$MAS" run -m "$story" -s direct -q pain -o 'A. x||B. y' --out "$dir/run" --set max_output_tokens=16
expect 64 'context of 4096 tokens: must be 1 to 128' "$MAS" run -m "$story" -s direct -q pain -o 'A. x||B. y' \
    --set max_context_length=4096

head -c 2000 "$0" >"$dir/text"
expect 0 'perplexity' "$MAS" perplexity -m demo --quiet -f "$dir/text" --ctx 128 --chunks 3
tokens=$(tokens_of 'some text here')
expect 65 "the text has $tokens tokens, a window 512" "$MAS" perplexity -m demo --quiet -p 'some text here'
"$MAS" perplexity -m demo --quiet -p 'some text here' --ctx "$tokens" --logits-out "$dir/logits" >/dev/null || failed=1
vocab=$("$MAS" inspect -m demo --json | sed -n 's|.*"llama.vocab_size".*"value": \([0-9]*\).*|\1|p')
[ "$(stat -c %s "$dir/logits")" = $((tokens * vocab * 4)) ] ||
    { echo "FAILED: logits file has $(stat -c %s "$dir/logits") bytes, vocabulary $vocab"; failed=1; }
expect 73 '/no/such/dir' "$MAS" perplexity -m demo -p 'some text' --logits-out /no/such/dir/x

bench=("$MAS" bench model -m demo --quiet -r 2 -p 8 -n 4)
expect 0 'pp8 |' "${bench[@]}"
expect 0 'tg4 x 3 |' "${bench[@]}" --parallel 1,3
expect 0 'model_filename,model_size' "${bench[@]}" -o csv
expect 64 "-o is 'xml'; it takes one of md|csv|json" "${bench[@]}" -o xml
"${bench[@]}" -o json | grep -q '"avg_ts": [0-9]' || { echo "FAILED: bench json"; failed=1; }
"$MAS" generate -m demo -p x -n 3 --quiet >/dev/full 2>"$dir/full"
[ $? = 74 ] || { echo "FAILED: a full device is not noticed: $(cat "$dir/full")"; failed=1; }
exit $failed
