#!/usr/bin/env bash
# tools/setup_llama3_70b.sh: says in plain words what a machine lacks, and runs to its end with small files in place of
# the model and the questions. Cards are those of a nvidia-smi made here.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
unset HF_TOKEN http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
export no_proxy='*' HOME=$dir/home MAS
setup=$MAS_SOURCE/tools/setup_llama3_70b.sh
mkdir bin www
# card LINE: what nvidia-smi prints; none: there is no such program
card() {
    rm -f bin/nvidia-smi
    [ "$1" = none ] || { printf '#!/bin/sh\necho "%s"\n' "$1" >bin/nvidia-smi && chmod +x bin/nvidia-smi; }
}
# disk BYTES: what df says is free, whatever this disk has
disk() {
    printf '#!/bin/sh\nprintf "Filesystem 1-blocks Used Available Capacity Mounted\\nx 1 1 %s 1%%%% /\\n"\n' "$1" >bin/df
    chmod +x bin/df
}
disk 100000000000
export PATH=$dir/bin:$PATH
model=models/Meta-Llama-3-70B-Instruct-Q4_K_M.gguf

expect 0 'usage: tools/setup_llama3_70b.sh' "$setup" --help
expect 64 "unknown option '--nothing'" "$setup" --nothing
card none
MAS=$dir/none expect 1 "missing  there is no program $dir/none" "$setup" --check --dir w
[ ! -e w ] || fault '--check made a folder'
command -v nvidia-smi >/dev/null || expect "$("$setup" --check --dir w >/dev/null && echo 0 || echo 1)" \
    'note     this machine has no NVIDIA card' "$setup" --check --dir w
card 'NVIDIA GeForce RTX 4090, 24564, 580.65.06'
expect "$("$setup" --check --dir w >/dev/null && echo 0 || echo 1)" 'runs programs of CUDA 12 and 13' "$setup" --check --dir w
card 'NVIDIA GeForce RTX 4090, 24564, 550.54'
expect "$("$setup" --check --dir w >/dev/null && echo 0 || echo 1)" 'needs driver 580 or newer' "$setup" --check --dir w
card 'NVIDIA GeForce RTX 4090, 24564, 470.1'
expect 1 'missing  driver 470.1 is too old' "$setup" --check --dir w
card 'No devices were found'
expect "$("$setup" --check --dir w >/dev/null && echo 0 || echo 1)" 'has no NVIDIA card' "$setup" --check --dir w

card none
disk 43000000000
expect 1 'missing  43.0 GB are free in .' "$setup" --check --dir w
disk 100000000000

# to its end, by a server of this machine
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" www/model.gguf
cp "$MAS_SOURCE/configs/demo/questions.jsonl" www/questions.jsonl
python3 "$MAS_SOURCE/tests/cli/pull_server.py" "$dir" >port &
server=$!
trap 'kill $server 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
at=http://127.0.0.1:$(cat port)
sed -e "s|hf:bartowski/Meta-Llama-3-70B.*|$at/ok/model.gguf\n    file: ${model#models/}|" \
    -e "s|https://raw.*|$at/ok/questions.jsonl|; /c3b905cc/d; /2075679/d" "$MAS_SOURCE/configs/sources.yaml" >list.yaml
mkdir -p w/models
export MAS_SOURCES=list.yaml
head -c 1000 "$MAS_SOURCE/configs/demo/toy_clinic.gguf" >"w/$model.part" # the machine is asked for the large model
card none
sed "s|$at/ok/model|$at/404/model|" list.yaml >absent.yaml
MAS_SOURCES=absent.yaml expect 1 'stopped: the model is not here' "$setup" --dir w2
said=$("$setup" --dir w 2>&1)
for text in 'ok       mas ' "$model: 3338368 bytes, sha256" 'data/medqa_us_4_options_test.jsonl: ' 'note     no prediction for' \
    'predicted: '; do
    grep -qF -- "$text" <<<"$said" || fault "no '$text' in: $said"
done
cmp -s "w/$model" www/model.gguf || fault 'the model is wrong'
# again: nothing is downloaded, and memory is enough for the small file, so the case is asked
kill $server
said=$("$setup" --dir w 2>&1)
code=$?
[ $code = 0 ] || fault "the second run: exit code $code: $said"
for text in 'ok       the model is here' "$model is here already" 'medqa_us_4_options_test.jsonl is here already' \
    'one case' 'myocardial' 'ready. Next: cd w'; do
    grep -qF -- "$text" <<<"$said" || fault "second run: no '$text' in: $said"
done
expect 0 'ready' "$setup" --dir w --no-case
exit $bad
