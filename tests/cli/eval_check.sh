#!/usr/bin/env bash
# mas eval --check reads settings, questions and the header of the model, and writes nothing. --devices is an option of the
# commands with a configuration, too.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
data=$MAS_SOURCE/configs/demo/questions.jsonl
check() { "$MAS" eval --check --data "$data" --out never "$@"; }
expect 0 'checked: 200 records, 1 run, model demo of' check -c demo
expect 0 'checked: 5 records, 1 run' check -c demo --n 5
expect 0 ' runs, model demo of' check -c "$MAS_SOURCE/configs/experiments/demo.yaml"
expect 0 'checked: 200 records' check -c demo --shard 1/2
expect 66 "cannot open model 'nosuch.gguf'" check -m nosuch.gguf
printf 'GGUF' >short.gguf
expect 65 'short.gguf' check -m short.gguf
expect 78 "no strategy 'nosuch'" check -c demo -s nosuch
expect 66 "cannot open 'nosuch.jsonl'" "$MAS" eval --check -c demo --data nosuch.jsonl
expect 64 "'--frobnicate'" check -c demo --frobnicate
expect 78 'no_key_here' check -c demo --set provider=openai --set remote.key_env=no_key_here
[ ! -e never ] || fault "--check wrote $(find never)"

# The flags of the engine's table, each in place of --set KEY=VALUE; as run.json records them.
ran() { "$MAS" run -m demo -s direct -q pain -o 'A. x||B. y' --quiet "$@"; }
config() { python3 -c 'import json, sys
run = json.load(open(sys.argv[1] + "/run.json"))
config = {**run["identity"]["config"], **run["sessions"][-1]["about"]["config"]}
print(*(config[k] for k in sys.argv[2:]))' "$@"; }
keys=(isa kv.type max_context_length threads engine.sequences engine.prefix_cache placement.map_weights)
expect 0 '' ran --out flags --isa scalar --kv-type q8_0 --ctx 512 -t 1 --sequences 3 --no-prefix-cache --map-weights
expect 0 '' ran --out plain
[ "$(config flags "${keys[@]}")" = 'scalar q8_0 512 1 3 False True' ] || fault "flags: $(config flags "${keys[@]}")"
[ "$(config plain isa kv.type engine.prefix_cache placement.map_weights)" = 'auto f16 True False' ] || fault "no flags: $(config plain "${keys[@]}")"
expect 0 '' ran --out packed --packed-cache "$dir"
[ "$(config packed placement.packed_cache)" = "$dir" ] || fault "--packed-cache: $(config packed placement.packed_cache)"
expect 78 "isa is 'sse'; it takes" check -c demo --isa sse
expect 78 "kv.page_tokens is '5'; it takes" check -c demo --page-tokens 5
cat >vary.yaml <<YAML
_base: $MAS_SOURCE/configs/demo.yaml
experiment:
  name: caches
  factors:
    kv.type: [f16, q8_0]
YAML
expect 64 'the experiment varies kv.type; set experiment.factors.kv.type' \
    "$MAS" eval -c vary.yaml --data "$data" -n 1 --out never --kv-type f16
[ ! -e never ] || fault "a refused experiment wrote $(find never)"

# --devices: the reason why there is no GPU, as --device gives it
for command in "eval --data $data" 'run -q x -o "A. a||B. b"' 'plan -q x -o "A. a||B. b"'; do
    eval "words=($command)"
    expect 64 "it takes numbers of GPUs" "$MAS" "${words[@]}" -c demo --devices ''
    expect 78 'devices' "$MAS" "${words[@]}" -c demo --devices '0,,1'
    expect 69 'backend cpu uses none' "$MAS" "${words[@]}" -c demo --set backend=cpu --devices 0,1
done
expect 64 'devices: item 1 is empty; it takes' "$MAS" generate -m demo -p x --devices ''
said=$("$MAS" generate -m demo -p x --devices 7,6 2>&1)
[ $? = 69 ] || fault "--devices 7,6: $said"
case $said in
*'backend cpu uses none'*) fault "a backend that nobody named: $said" ;;
*'devices asks for a GPU, and no GPU can be used: '* | *'GPU 7'*) ;;
*) fault "--devices 7,6 gives no reason: $said" ;;
esac
exit $bad
