#!/usr/bin/env bash
# A file of packed weights that is foreign, in the way, or changed while a server uses it. No start fails for it, and no service
# ends. Texts are those of a start without the file.
. "$(dirname "$0")/head.bash"
grep -qwE 'avx2|asimddp' /proc/cpuinfo || { echo "skipped: this processor packs no weights"; exit 77; }
export no_proxy='*'
mkdir cache real
cp "${MAS_SOURCE:?root of the source tree}/configs/demo/toy_clinic.gguf" real/toy.gguf
ln -s real/toy.gguf toy.gguf
ask_of() { timeout 100 "$MAS" generate -m "$1" --quiet -t 1 --temp 0 -n 8 -p 'The patient' "${@:2}" </dev/null; }
ask() { ask_of toy.gguf "$@"; }
plain=$(ask) || fault "no text without the file"
# same TEXT: a start with the folder gives the text of one without, and says TEXT ("" = nothing)
same() {
    local got
    got=$(ask --packed-cache cache 2>said) || fault "$1: exit code $?: $(cat said)"
    [ "$got" = "$plain" ] || fault "$1: other text: $got"
    if [ -n "$1" ]; then grep -qF -- "$1" said || fault "no '$1' in: $(cat said)"; else [ ! -s said ] || fault "said: $(cat said)"; fi
}
flip() { # FILE BYTE: one bit
    python3 -c "f = open('$1', 'r+b'); f.seek($2); b = f.read(1)[0]; f.seek($2); f.write(bytes([b ^ 4]))"
}

# ---- written once, for the model and for links to it
same ''
file=$(echo cache/toy.gguf.*.packed)
[ -f "$file" ] || fault "no file $file"
same ''
ln -s real/toy.gguf other.gguf
[ "$(ask_of other.gguf --packed-cache cache)" = "$plain" ] || fault "a link gives another text"
all=(cache/*)
[ ${#all[@]} = 1 ] || fault "a link has a file of its own: ${all[*]}"

# ---- a model that changes in place, with its times of before
touch -r real/toy.gguf times
flip real/toy.gguf 2000000
touch -r times real/toy.gguf
plain=$(ask)
same 'it was made from other weights: the change time (ctime) of the model was '
same ''

# ---- things that are in the way stay; the start goes on
rm "$file"
echo 'notes of somebody' >"$file"
same "$file: it is a file with other content, not a file of packed weights, and stays as it is; remove it with rm or"
[ "$(cat "$file")" = 'notes of somebody' ] || fault "a file with other content is overwritten"
rm "$file"
cp real/toy.gguf linked.gguf
ln -s ../linked.gguf "$file"
same "$file: it is a symbolic link"
cmp -s real/toy.gguf linked.gguf || fault "a file is overwritten through a link"
rm "$file"
mkfifo "$file"
same "$file: it is a FIFO"
rm "$file"
if [ "$(id -u)" = 0 ]; then
    same ''
    chown 12345 "$file"
    same "it belongs to user 12345, who is neither you, nor root, nor the model's owner; writing it again"
    same ''
else
    echo "not counted: only root gives files away"
fi

# ---- a server whose file changes
command -v curl >/dev/null || { echo "not counted: no curl"; exit $bad; }
"$MAS" serve -m toy=toy.gguf --port 0 --threads 1 --packed-cache cache >out 2>err </dev/null &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf -- "$dir"' EXIT
at=
for _ in $(seq 200); do
    at=$(sed -n 's/^listening on //p' out)
    [ -z "$at" ] && kill -0 "$server" 2>/dev/null || break
    sleep 0.05
done
for _ in $(seq 200); do # until the model is loaded
    [ "$(curl -s -m 20 -o body -w '%{http_code}' "$at/ready")" = 200 ] && break
    sleep 0.05
done
# answers STATUS: of a completion, and its text if it is 200
answers() {
    local got
    got=$(curl -s -m 60 -o body -w '%{http_code}' -H 'content-type: application/json' \
        -d '{"prompt": "The patient", "max_tokens": 8, "temperature": 0}' "$at/v1/completions")
    [ "$got" = "$1" ] || fault "$2: status $got, want $1: $(head -c 300 body) $(tail -3 err)"
    [ "$got" != 200 ] || [ "$(python3 -c 'import json; print(json.load(open("body"))["choices"][0]["text"])')" = "$first" ] ||
        fault "$2: other text: $(cat body)"
}
ready() { [ "$(curl -s -m 20 -o body -w '%{http_code}' "$at/ready")" = "$1" ] && grep -qF -- "$2" body || fault "/ready: want $1 $2, got $(cat body)"; }
first=
curl -s -m 60 -o body -H 'content-type: application/json' -d '{"prompt": "The patient", "max_tokens": 8, "temperature": 0}' "$at/v1/completions"
first=$(python3 -c 'import json; print(json.load(open("body"))["choices"][0]["text"])') || fault "no text: $(cat body)"
answers 200 'before'
touch "$file"
answers 200 'after a touch'
grep -q "changed while it is in use; its weights are the same" err || fault "a touch is not said: $(cat err)"
flip "$file" 100000
answers 500 'after a change'
answers 200 'loaded again'
answers 200 'loaded again, twice'
grep -q 'model toy ended: packed weights changed while they were in use: ' err || fault "the end is not said: $(cat err)"
grep -q 'the weights from byte 0 on are damaged; writing it again' err || fault "the file is not written again: $(cat err)"
ready 200 ready
# the file and the model change: the model cannot be loaded again until its file is back
cp real/toy.gguf saved
echo 'no model' >new && mv new real/toy.gguf
flip "$file" 100000
answers 500 'after a second change'
answers 500 'without a model'
ready 503 "the default model cannot be loaded again; the server's log says why"
curl -s -m 20 "$at/metrics" | grep -qx 'mas_ready 0' || fault "mas_ready differs from /ready"
mv saved real/toy.gguf
answers 200 'with its model'
ready 200 ready
exit $bad
