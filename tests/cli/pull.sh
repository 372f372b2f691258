#!/usr/bin/env bash
# mas pull against a hostile server: the right file, or a clear error and no file; never a wrong one.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
unset HF_TOKEN HF_ENDPOINT MAS_SOURCES http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
export no_proxy='*' HOME=$dir/home
model=$MAS_SOURCE/tests/golden/stories260K-Q4_1.gguf
large=$MAS_SOURCE/configs/demo/toy_clinic.gguf
sha=$(sha256sum <"$model" | cut -c1-64)
bytes=$(stat -c %s "$model")
mkdir www
cp "$model" www/tales.gguf
cp "$large" www/large.gguf
head -c 3000 "$model" >www/cut.gguf
echo '<html>' >www/page.gguf
printf '%s' "$sha" >sha
if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
        -keyout cert.pem -out public.pem 2>/dev/null && cat public.pem >>cert.pem
fi
python3 "$MAS_SOURCE/tests/cli/pull_server.py" "$dir" >port &
server=$!
trap 'kill $server 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
read -r port secure <port
at=http://127.0.0.1:$port
sed "s|^  hf: .*|  hf: $at|; s|^  ollama: .*|  ollama: $at|; s|at: https://huggingface.co$|at: $at|" \
    "$MAS_SOURCE/configs/sources.yaml" >list.yaml
export MAS_SOURCES=list.yaml
pull=("$MAS" pull --quiet --tries 2 --stall 2 -o got.gguf)

# none: nothing under the final name and no part of it
none() {
    [ ! -e got.gguf ] || fault "$1: there is a file"
    [ ! -e got.gguf.part ] && [ ! -e got.gguf.part.json ] || fault "$1: a part stays"
    rm -f got.gguf*
}
# right KIND [OPTION..]: the download gives the right file; each has a path of its own, which the server counts
turn=0
right() {
    local kind=$1
    shift
    turn=$((turn + 1))
    expect 0 "got.gguf: $bytes bytes, sha256 $sha" "${pull[@]}" "$@" "$at/$kind/$turn/tales.gguf"
    cmp -s got.gguf "$model" || fault "$kind $*: the file is wrong"
    rm -f got.gguf
    none "$kind $*"
}
# refuses CODE TEXT KIND [OPTION..]: an error and no file
refuses() {
    local code=$1 text=$2 kind=$3
    shift 3
    expect "$code" "$text" "${pull[@]}" "$@" "$at/$kind/tales.gguf"
    none "$kind $*"
}
# keeps CODE TEXT KIND: an error; the part stays
keeps() {
    expect "$1" "$2" "${pull[@]}" "$at/$3/tales.gguf"
    [ ! -e got.gguf ] || fault "$3: there is a file"
    [ -s got.gguf.part ] || fault "$3: the part is lost"
    rm -f got.gguf*
}

# ---- the right file ---------------------------------------------------------------------------------------------
for kind in ok drop dropdate norange dropnotag dropweak close chunked chunkdrop extra to/ok to/to/ok tohost/drop busy \
    change liar grow; do
    [ "$kind" = close ] || right "$kind"
    [ "$kind" = dropnotag ] && grep -q '^/dropnotag/[0-9]*/tales.gguf bytes=' log &&
        fault 'a range without a version and without a digest'
    right "$kind" --sha256 "$sha"
done
right stall # libcurl counts the speed of the last five seconds: this takes eight
right silentliar --sha256 "$sha"
grep -q '^/drop/[0-9]*/tales.gguf bytes=[1-9][0-9]*- "v1" -$' log || fault 'no range was asked for with If-Range'
grep -q '^/dropnotag/[0-9]*/tales.gguf bytes=[1-9][0-9]*- - -$' log || fault 'with a digest no range was asked for'
[ "$(grep -c '^/dropdate/[0-9]*/tales.gguf bytes=[1-9][0-9]*- Sun,_29_Nov' log)" -ge 3 ] || fault 'no range with a date'

# ---- an error, and no file ----------------------------------------------------------------------------------------
refuses 66 'the server answers 401, a login is needed' 401
refuses 66 'the server answers 403, forbidden' 403
refuses 66 'the server answers 404, there is no such file' 404
refuses 66 'the server answers 416' 416
refuses 66 'the server answers 418' 418
refuses 75 'the server answers 500; try again later' 500
refuses 75 'the server answers 429 (too many requests)' 429
refuses 75 '(too many requests) and asks for a wait of 7200 s (at most 60 s are waited)' waitlong --tries 1
began=$(date +%s%N)
right wait
[ $(($(date +%s%N) - began)) -gt 1900000000 ] || fault 'a server that asks for a wait was not waited for'
expect 0 'asks for a wait of 2 s; try again later; another attempt' "$MAS" pull --tries 2 -o got.gguf "$at/wait/said/tales.gguf"
rm got.gguf
refuses 65 "the server sends no GGUF file: it begins with '<!DOCTYPE html>" html
refuses 65 'the server sends the file compressed' gzip
refuses 65 'is empty' empty
refuses 65 'redirects more than 10 times' loop
refuses 65 'redirects to file:///etc/passwd, which is neither http nor https' tofile
refuses 65 'answers 302 without an address' nowhere
refuses 65 'tells no length' closehalf
refuses 65 'download incomplete' short
refuses 65 "has sha256" short --sha256 "$sha"
refuses 65 "has sha256" flip --sha256 "$sha"
refuses 65 'must have 0000' ok --sha256 "$(printf '%064d' 0)"
refuses 65 "has sha256" chunkmore --sha256 "$sha"
refuses 75 '' hang
refuses 65 '' junk
refuses 65 'more than an answer has' heads
keeps 75 'partial file' never
keeps 75 'the same command continues there' long
keeps 65 'asked for was' badrange
keeps 65 'does not say which' norangehead
expect 65 'download incomplete' "${pull[@]}" "$at/ok/cut.gguf" # the server's own file is damaged
none cut
expect 65 'no GGUF file' "${pull[@]}" "$at/ok/page.gguf"
none page
expect 75 '' "${pull[@]}" http://127.0.0.1:1/x.gguf
expect 64 'is no address of the web' "${pull[@]}" "http://[1:2/x.gguf"
none address

# ---- certificates: https, never back to http -------------------------------------------------------------------------
if [ -n "$secure" ]; then
    https=https://127.0.0.1:$secure
    expect 74 'its certificate cannot be trusted' "${pull[@]}" "$https/ok/tales.gguf"
    none certificate
    export SSL_CERT_FILE=public.pem
    expect 0 "got.gguf: $bytes bytes" "${pull[@]}" "$https/to/drop/https/tales.gguf"
    cmp -s got.gguf "$model" || fault 'https: the file is wrong'
    rm got.gguf
    expect 65 "redirects from https to http://127.0.0.1:$port/ok/tales.gguf, which anybody" \
        "${pull[@]}" "$https/tohttp/ok/tales.gguf"
    none downgrade
    expect 74 'cannot be trusted' "${pull[@]}" "https://localhost:$secure/ok/tales.gguf" # a name that it has not
    none 'another name'
    unset SSL_CERT_FILE
else
    echo "not tried: no openssl makes a certificate"
fi

# ---- interrupted --------------------------------------------------------------------------------------------------
for signal in KILL INT; do
    rm -f got.gguf*
    "${pull[@]}" "$at/slow/large.gguf" >said 2>&1 &
    job=$!
    for _ in $(seq 100); do [ "$(stat -c %s got.gguf.part 2>/dev/null || echo 0)" -gt 300000 ] && break; sleep 0.05; done
    # a second one is refused meanwhile
    [ $signal = KILL ] && expect 75 'another program writes it now' "${pull[@]}" "$at/ok/large.gguf"
    kill -$signal $job
    wait $job 2>/dev/null
    code=$?
    [ $signal = KILL ] || [ $code = 75 ] || fault "SIGINT: exit code $code: $(cat said)"
    [ $signal = KILL ] || grep -q 'interrupted; [0-9]* bytes are kept in .*got.gguf.part' said || fault "SIGINT: $(cat said)"
    [ ! -e got.gguf ] && [ -s got.gguf.part ] || fault "$signal: no part stays"
    had=$(stat -c %s got.gguf.part)
    : >log
    expect 0 'got.gguf: ' "${pull[@]}" "$at/slow/large.gguf"
    cmp -s got.gguf "$large" || fault "$signal: the file is wrong"
    grep -q "^/slow/large.gguf bytes=$had- \"v1\"" log || fault "$signal: did not continue: $(cat log)"
    [ ! -e got.gguf.part ] && [ ! -e got.gguf.part.json ] || fault "$signal: a part stays"
done
# a part without its description, with a damaged one, and one of another address
for memo in '' '{' '{"from": 3}' '{"from": "x", "version": "\"v1\"", "sha256": "", "total": -1}' \
    "{\"from\": \"$at/ok/other.gguf\", \"version\": \"\\\"v1\\\"\", \"sha256\": \"\", \"total\": $bytes}"; do
    rm -f got.gguf*
    head -c 1000 /dev/zero >got.gguf.part
    [ -z "$memo" ] || echo "$memo" >got.gguf.part.json
    right ok
done
# a part whose bytes are damaged: the digest shows it, and the file is fetched again
for sum in '' "$sha"; do
    head -c 1000 /dev/zero >got.gguf.part
    printf '{"from": "%s", "version": "\\"v1\\"", "sha256": "%s", "total": %s}' "$at/ok/$((turn + 1))/tales.gguf" "$sum" "$bytes" >got.gguf.part.json
    right ok --sha256 "$sha"
done
# a whole part that only lacks its name
cp "$model" got.gguf.part
printf '{"from": "%s", "version": "\\"v1\\"", "sha256": "", "total": %s}' "$at/ok/$((turn + 1))/tales.gguf" "$bytes" >got.gguf.part.json
right ok

# ---- a file that is here, folders, disk ----------------------------------------------------------------------------
echo old >got.gguf
expect 65 "got.gguf is here already, but may be another file: " "${pull[@]}" "$at/ok/tales.gguf"
[ "$(cat got.gguf)" = old ] || fault 'a file that is here was replaced'
expect 65 'no GGUF' "${pull[@]}" --force "$at/html/tales.gguf"
[ "$(cat got.gguf)" = old ] || fault 'a failed download replaced a file'
right ok --force
expect 73 'cannot create' "$MAS" pull --quiet -o none/got.gguf "$at/ok/tales.gguf"
ln -s elsewhere got.gguf.part
expect 73 'cannot create' "${pull[@]}" "$at/ok/tales.gguf"
rm got.gguf.part
[ ! -e elsewhere ] || fault 'a link was followed'
expect 64 'a pipe or a device' "$MAS" pull --quiet -o /dev/stdout "$at/ok/tales.gguf"
(
    ulimit -f 100 # KiB
    trap '' XFSZ
    expect 74 'ulimit -f' "${pull[@]}" "$at/ok/tales.gguf"
    exit $bad
) || bad=1
[ ! -e got.gguf ] || fault 'a full disk left a file'
[ -s got.gguf.part ] || fault 'a full disk lost the part'
right ok # continues
if mkdir tiny && mount -t tmpfs -o size=100k none tiny 2>/dev/null; then
    expect 74 'make room' "$MAS" pull --quiet -o tiny/got.gguf "$at/ok/tales.gguf"
    [ -z "$(ls tiny)" ] || fault "too small a disk: $(ls tiny)"
    umount tiny
else
    echo "not tried: no tmpfs can be mounted"
fi

# a file that is here must be the one that was asked for: whole, with the length and the digest that are known
: >got.gguf
expect 65 'it is empty: download incomplete; replace it with --force, or give another name with -o' "${pull[@]}" "$at/ok/tales.gguf"
head -c 1000 "$model" >got.gguf
expect 65 'got.gguf is here already, but may be another file' "${pull[@]}" "$at/ok/tales.gguf"
cp "$model" got.gguf
expect 0 'got.gguf is here already: its length is as it must be' "${pull[@]}" "$at/ok/tales.gguf"
expect 65 "got.gguf has $bytes bytes, $at/ok/large.gguf has $(stat -c %s "$large")" "${pull[@]}" "$at/ok/large.gguf?x=secret"
expect 0 'its sha256 is as it must be' "${pull[@]}" "$at/404/tales.gguf" --sha256 "$sha"
expect 65 "got.gguf has sha256 $sha, must have 0000" "${pull[@]}" "$at/ok/tales.gguf" --sha256 "$(printf '%064d' 0)"
expect 66 'cannot be compared with the one asked for' "${pull[@]}" "$at/404/tales.gguf"
expect 75 'cannot be compared with the one asked for' "${pull[@]}" http://127.0.0.1:1/tales.gguf
expect 65 'no server tells the length or the digest' "${pull[@]}" "$at/chunked/tales.gguf"
expect 0 'its sha256 is as it must be' "${pull[@]}" hf:ann/Tales/tales.gguf
printf '%064d' 0 >sha
expect 65 "must have $(printf '%064d' 0) as $at/ann/Tales/resolve/dev/tales.gguf" "${pull[@]}" hf:ann/Tales@dev/tales.gguf
printf '%s' "$sha" >sha
cmp -s got.gguf "$model" || fault 'a comparison changed the file'
none_of=$(ls -A | grep 'got.gguf.')
[ -z "$none_of" ] || fault "a comparison left $none_of"
rm got.gguf

# ---- names ---------------------------------------------------------------------------------------------------------
expect 64 "'llama3-9b' is no name of the list; did you mean 'llama3-8b'?" "$MAS" pull llama3-9b
expect 64 'a second name' "$MAS" pull a b
expect 64 'give the file' "$MAS" pull "$at/ok/tales"
expect 64 "--sha256 is 'xyz'; it takes 64 hex digits" "$MAS" pull "$at/ok/tales.gguf" --sha256 xyz
right ok --sha256 "${sha^^}"
expect 0 'medqa' "$MAS" pull
expect 0 'configs/sources.yaml' "$MAS" pull --help
# the name in an address: decoded, and safe
cp "$model" 'www/a%20b.gguf' # the server decodes nothing
expect 0 "models/a b.gguf: $bytes bytes" "$MAS" pull --quiet "$at/ok/a%20b.gguf"
for name in ..%2Fx.gguf a%2fx.gguf %2Ex.gguf a%0Ax.gguf a%00.gguf a%1b%5B2J.gguf; do
    expect 64 'names no .gguf file; give' "$MAS" pull --quiet "$at/ok/$name"
done
rm -r models
expect 0 "models/tales.gguf: $bytes bytes" "$MAS" pull --quiet "$at/ok/tales.gguf?download=true"
rm models/tales.gguf

# Hugging Face: the token goes to its server alone, the digest of the first answer counts, no address shows the query
: >log
HF_TOKEN=hf_secret expect 0 "models/tales.gguf: $bytes bytes, sha256 $sha as it must be" \
    "$MAS" pull --quiet hf:ann/Tales/tales.gguf
grep -q '^/ann/Tales/resolve/main/tales.gguf - - Bearer_hf_secret$' log || fault "no token: $(cat log)"
grep -v '^/ann/' log | grep -q secret && fault "the token went on: $(cat log)"
rm models/tales.gguf
# a mirror by its variable, also with a path; it gets no token of another server
: >log
sed "s|^  hf: .*|  hf: http://127.0.0.1:1|" list.yaml >nowhere.yaml
HF_TOKEN=hf_secret HF_ENDPOINT=http://localhost:$port/ MAS_SOURCES=nowhere.yaml \
    expect 0 "models/tales.gguf: $bytes bytes" "$MAS" pull --quiet hf:ann/Tales/tales.gguf
grep -q '^/ann/Tales/resolve/main/tales.gguf - - -$' log || fault "HF_ENDPOINT: $(cat log)"
rm models/tales.gguf
: >log
HF_ENDPOINT=$at/ok/hub// MAS_SOURCES=nowhere.yaml expect 0 'models/tales.gguf' "$MAS" pull --quiet hf:ann/Tales/tales.gguf
grep -q '^/ok/hub/ann/Tales/resolve/main/tales.gguf ' log || fault "HF_ENDPOINT with a path: $(cat log)"
rm models/tales.gguf
HF_ENDPOINT=mirror expect 78 "HF_ENDPOINT is 'mirror'; it takes an address" "$MAS" pull --quiet hf:ann/Tales/tales.gguf
HF_ENDPOINT=mirror expect 0 'GGUF' "$MAS" inspect -m "$model" # the variable matters for hf: names alone
: >log
expect 0 'models/tales.gguf' "$MAS" pull --quiet hf:ann/Tales@v2/sub/tales.gguf
grep -q '^/ann/Tales/resolve/v2/sub/tales.gguf - - -$' log || fault "another revision: $(cat log)"
printf '%064d' 0 >sha
rm models/tales.gguf
expect 65 "must have 0000" "$MAS" pull --quiet --tries 1 hf:ann/Tales/tales.gguf
printf '%s' "$sha" >sha
[ -z "$(ls models)" ] || fault "a wrong digest left $(ls models)"
mkdir -p "$HOME/.cache/huggingface"
echo 'hf_file' >"$HOME/.cache/huggingface/token"
: >log
expect 0 'models/tales.gguf' "$MAS" pull --quiet hf:ann/Tales/tales.gguf
grep -q 'Bearer_hf_file' log || fault 'the token of the file was not sent'
printf 'bad token\n' >"$HOME/.cache/huggingface/token"
expect 78 'must be one word of ASCII' "$MAS" pull --quiet --force hf:ann/Tales/tales.gguf
rm "$HOME/.cache/huggingface/token" models/tales.gguf
# a model in several files
cp "$model" www/big-00001-of-00002.gguf
cp "$large" www/big-00002-of-00002.gguf
expect 0 'big-00002-of-00002.gguf' "$MAS" pull --quiet "$at/ok/big-00001-of-00002.gguf"
cmp -s models/big-00001-of-00002.gguf "$model" && cmp -s models/big-00002-of-00002.gguf "$large" || fault 'parts are wrong'

rm models/big*
expect 64 'the address is one of 2 parts of a model' "$MAS" pull --quiet "$at/ok/big-00001-of-00002.gguf" -o foo.gguf
expect 64 'leave out -o, or give a name that ends in -00001-of-00002.gguf' \
    "$MAS" pull --quiet hf:ann/Big/big-00001-of-00002.gguf -o foo-00001-of-00003.gguf
[ ! -e foo.gguf ] || fault 'one part passed for a model'
: >log
expect 0 'foo-00002-of-00002.gguf' "$MAS" pull --quiet "$at/ok/big-00002-of-00002.gguf?x=1" -o foo-00002-of-00002.gguf
grep -q '^/ok/big-00001-of-00002.gguf ' log || fault "the first part was not asked for: $(cat log)"
[ -e foo-00001-of-00002.gguf ] || fault 'a part is missing'
sed "s|get: hf:bartowski/Qwen2.5-7B.*|get: $at/ok/big-00001-of-00002.gguf\n    file: one.gguf|" list.yaml >part.yaml
expect 64 'each needs its own name; give -o a name' "$MAS" pull --quiet qwen2.5-7b --sources part.yaml

# a name without a file; a branch with a '/'
expect 66 "write hf:ORG/REPO/FILE" "$MAS" pull --quiet hf:ann/Tales
: >log
expect 0 'models/tales.gguf' "$MAS" pull --quiet hf:ann/Tales@refs%2Fpr%2F1/tales.gguf
grep -q '^/ann/Tales/resolve/refs%2Fpr%2F1/tales.gguf ' log || fault "a branch with a slash: $(cat log)"
expect 0 'models/tales.gguf: GGUF' "$MAS" inspect -m hf:ann/Tales@refs%2fpr%2F1/tales.gguf
rm models/tales.gguf

# Ollama's registry
printf '{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:%s","size":%s}]}' "$sha" "$bytes" >manifest
: >log
expect 0 "models/tales-8b.gguf: $bytes bytes, sha256 $sha as it must be" "$MAS" pull --quiet ollama:tales:8b
grep -q "^/v2/library/tales/manifests/8b " log && grep -q "^/v2/library/tales/blobs/sha256:$sha " log || fault "registry: $(cat log)"
printf '{"layers":[]}' >manifest
expect 65 'names 0 model files' "$MAS" pull --quiet ollama:none
printf '{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:%s","size":%s},
    {"mediaType":"application/vnd.ollama.image.adapter","digest":"sha256:%s","size":9}]}' "$sha" "$bytes" "$sha" >manifest
expect 65 'has an adapter (LoRA), which is not supported' "$MAS" pull --quiet ollama:tales:lora
[ ! -e models/tales-lora.gguf ] || fault 'an adapter was left out'

# a record says which names the file answers to: -m takes them, and a file of the same name from elsewhere is refused
expect 0 'models/tales-8b.gguf: GGUF' "$MAS" inspect -m ollama:tales:8b
expect 66 'models/tales-8b.gguf is no download of that name' "$MAS" inspect -m ollama:ann/tales:8b
expect 66 'no model ollama:tales:9b' "$MAS" inspect -m ollama:tales:9b
rm -rf models
"$MAS" pull --quiet hf:ann/Tales@v2/sub/tales.gguf >/dev/null || fault 'no download'
expect 0 'models/tales.gguf: GGUF' "$MAS" inspect -m hf:ann/Tales@v2/sub/tales.gguf
expect 66 'models/tales.gguf is no download of that name' "$MAS" inspect -m hf:ann/Tales/sub/tales.gguf
: >log
expect 0 'is here already: its sha256 is as it must be' "$MAS" pull --quiet hf:ann/Tales@v2/sub/tales.gguf
[ ! -s log ] || fault "a record does not suffice: $(cat log)"
printf '%064d' 0 >sha
expect 65 "must have $(printf '%064d' 0) as $at/ann/Other" "$MAS" pull --quiet hf:ann/Other/tales.gguf
printf '%s' "$sha" >sha
expect 0 'is here already: its sha256 is as it must be' "$MAS" pull --quiet hf:ann/Other/tales.gguf
expect 0 'models/tales.gguf: GGUF' "$MAS" inspect -m hf:ann/Other/tales.gguf
printf 'x' | dd of=models/tales.gguf bs=1 seek=100000 conv=notrunc 2>/dev/null
expect 65 'is here already, but may be another file: models/tales.gguf has sha256' "$MAS" pull --quiet hf:ann/Other/tales.gguf
expect 0 'as it must be' "$MAS" pull --quiet --force hf:ann/Other/tales.gguf
cp "$large" models/tales.gguf # a record of another length does not count
expect 66 'is no download of that name' "$MAS" inspect -m hf:ann/Other/tales.gguf
for record in '' "sha256 $sha" "sha256 x
bytes $bytes
from hf:ann/Other@main/tales.gguf"; do
    printf '%s' "$record" >models/.tales.gguf.from
    cp "$model" models/tales.gguf
    expect 66 'is no download of that name' "$MAS" inspect -m hf:ann/Other/tales.gguf
done
expect 0 'as it must be' "$MAS" pull --quiet hf:ann/Other/tales.gguf
expect 0 'models/tales.gguf: GGUF' "$MAS" inspect -m hf:ann/Other/tales.gguf
# another file under that name has no record
expect 0 'models/tales.gguf: ' "$MAS" pull --quiet --force "$at/ok/tales.gguf" -o models/tales.gguf
expect 66 'is no download of that name' "$MAS" inspect -m hf:ann/Other/tales.gguf
# parts have a record each
cp "$model" www/big-00002-of-00002.gguf # the server names one digest for all files
expect 0 'big-00002-of-00002.gguf' "$MAS" pull --quiet hf:ann/Big/big-00001-of-00002.gguf
: >log
expect 0 'big-00002-of-00002.gguf is here already' "$MAS" pull --quiet hf:ann/Big/big-00001-of-00002.gguf
[ ! -s log ] || fault "records of parts do not suffice: $(cat log)"
rm -rf models

# questions: length, digest and form
sed "s|https://raw.*|$at/ok/page.gguf|" list.yaml >data.yaml
expect 65 "the server's file has 7 bytes, must have 2075679" "$MAS" pull --quiet medqa --sources data.yaml
sed -i '/2075679/d' data.yaml
expect 65 'must have c3b905cc' "$MAS" pull --quiet medqa --sources data.yaml
sed -i '/c3b905cc/d' data.yaml
expect 65 'medqa_us_4_options_test.jsonl.part' "$MAS" pull --quiet medqa --sources data.yaml
[ -z "$(ls data)" ] || fault "wrong questions left $(ls data)"
cp "$MAS_SOURCE/configs/demo/questions.jsonl" www/page.gguf
expect 0 'data/medqa_us_4_options_test.jsonl: ' "$MAS" pull --quiet medqa --sources data.yaml
expect 0 'medqa                  here' "$MAS" pull

# mirrors: tried first; a wrong file there does not count
sed -i "s|^mirrors: .*|mirrors: [{of: '$at/ok/', at: ['$at/flip/', '$at/404/']}]|" list.yaml
right ok --sha256 "$sha"
grep -q '^/flip/' log && grep -q '^/404/' log || fault 'mirrors were not tried'
refuses 66 '404' 404

# progress: lines without a terminal, none of it in the output
"$MAS" pull --tries 2 -o got.gguf "$at/drop/tales.gguf?x=secret" >said 2>why
[ "$(wc -l <said)" = 1 ] || fault "output: $(cat said)"
grep -q secret said why && fault 'an address shows its query'
exit $bad
