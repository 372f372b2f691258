#!/usr/bin/env bash
# Names of models: an Ollama store, the Hugging Face cache, the list of downloads. Every command that takes a model takes
# them, and an error names what is there.
. "$(dirname "$0")/head.bash"
unset OLLAMA_MODELS HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HOME XDG_CACHE_HOME MAS_SOURCES
export HOME=$dir/home
model=$MAS_SOURCE/tests/golden/stories260K-Q4_1.gguf
hex=$(sha256sum <"$model" | cut -c1-64)
bytes=$(stat -c %s "$model")

# ---- Ollama ------------------------------------------------------------------------------------------
store=$HOME/.ollama/models
# manifest PATH [LAYER..]: a manifest with these layers
manifest() {
    local path=$store/manifests/$1
    shift
    mkdir -p "${path%/*}"
    printf '{"schemaVersion":2,"config":{"digest":"sha256:00"},"layers":[%s]}' "$(IFS=,; echo "$*")" >"$path"
}
layer() { printf '{"mediaType":"application/vnd.ollama.image.%s","digest":"%s","size":%s}' "$@"; }
mkdir -p "$store/blobs"
cp "$model" "$store/blobs/sha256-$hex"
main=$(layer model "sha256:$hex" "$bytes")
manifest registry.ollama.ai/library/tales/latest "$(layer template sha256:11 5)" "$main"
manifest registry.ollama.ai/library/tales/260k "$main"
manifest registry.ollama.ai/ann/tales/q4 "$main"
manifest hf.co/ann/Tales-GGUF/Q4_1 "$main"
manifest localhost:5000/ann/tales/v1 "$main"
for name in tales tales:260k ann/tales:q4 hf.co/ann/Tales-GGUF:Q4_1 localhost:5000/ann/tales:v1 library/tales \
    registry.ollama.ai/library/tales:latest; do
    expect 0 "$store/blobs/sha256-$hex: GGUF version 3, $bytes bytes" "$MAS" inspect -m "ollama:$name"
done
expect 66 "there is no model ollama:tales:70b in $store and /usr/share/ollama/.ollama/models; there: " \
    "$MAS" inspect -m ollama:tales:70b
expect 66 "ollama:tales:260k, ollama:tales:latest; 'ollama pull' or 'mas pull ollama:tales:70b' brings it" \
    "$MAS" inspect -m ollama:tales:70b
expect 66 "ollama:hf.co/ann/Tales-GGUF:Q4_1, ollama:localhost:5000/ann/tales:v1, ollama:ann/tales:q4" \
    "$MAS" inspect -m ollama:tales:70b
for name in '' : tales: ../tales tales/.. a/b/c/d 'a b' .hidden tales:../x 'tales:a/b'; do
    expect 64 'write ollama:NAME:TAG' "$MAS" inspect -m "ollama:$name"
done
# other places, and other contents
OLLAMA_MODELS=$dir/none expect 66 "in $dir/none; there: none" "$MAS" inspect -m ollama:tales
mv "$store/blobs/sha256-$hex" "$store/blobs/sha256:$hex" # as older versions write it
OLLAMA_MODELS=$store expect 0 'GGUF version 3' "$MAS" inspect -m ollama:tales
truncate -s -1 "$store/blobs/sha256:$hex"
expect 65 "its manifest says $bytes: download incomplete" "$MAS" inspect -m ollama:tales
rm "$store/blobs/sha256:$hex"
expect 66 "ollama:tales: the file of the model is missing: there is no $store/blobs/sha256-$hex" "$MAS" inspect -m ollama:tales
manifest registry.ollama.ai/library/two/latest "$main" "$main"
expect 65 'names 2 model files, must be 1' "$MAS" inspect -m ollama:two
manifest registry.ollama.ai/library/none/latest "$(layer template sha256:11 5)"
expect 65 'names 0 model files' "$MAS" inspect -m ollama:none
manifest registry.ollama.ai/library/up/latest "$(layer model sha256:../../../../etc/passwd 5)"
expect 65 'no sha256 digest and size' "$MAS" inspect -m ollama:up
printf '{"layers": [' >"$store/manifests/registry.ollama.ai/library/up/latest"
expect 65 'is no manifest: line 1' "$MAS" inspect -m ollama:up
cp "$model" "$store/blobs/sha256-$hex"
# a layer that changes the model is refused; one for images is not used, and a warning says so
manifest registry.ollama.ai/library/lora/latest "$main" "$(layer adapter sha256:11 5)"
expect 65 'the model has an adapter (LoRA), which is not supported' "$MAS" inspect -m ollama:lora
manifest registry.ollama.ai/library/eyes/latest "$(layer projector sha256:11 5)" "$main" "$(layer license sha256:11 5)"
expect 0 'the model has a projector for images, which is not used' "$MAS" inspect -m ollama:eyes
expect 0 'GGUF version 3' "$MAS" inspect -m ollama:eyes
rm -r "$store/manifests/registry.ollama.ai/library/lora" "$store/manifests/registry.ollama.ai/library/eyes"

# ---- the Hugging Face cache ----------------------------------------------------------------------------
hub=$HOME/.cache/huggingface/hub
repo=$hub/models--ann--Tales-GGUF
commit=0123456789abcdef0123456789abcdef01234567
mkdir -p "$repo/blobs" "$repo/refs" "$repo/snapshots/$commit/sub"
cp "$model" "$repo/blobs/$hex"
ln -s "../../blobs/$hex" "$repo/snapshots/$commit/tales.gguf"
ln -s "../../../blobs/$hex" "$repo/snapshots/$commit/sub/deep.gguf"
printf %s $commit >"$repo/refs/main"
printf %s 89abcdef >"$repo/refs/v2"
for name in tales.gguf sub/deep.gguf; do
    expect 0 "GGUF version 3, $bytes bytes" "$MAS" inspect -m "hf:ann/Tales-GGUF/$name"
done
expect 0 'GGUF version 3' "$MAS" inspect -m hf:ann/Tales-GGUF@main/tales.gguf
expect 0 'GGUF version 3' "$MAS" inspect -m hf:ann/Tales-GGUF@$commit/tales.gguf
expect 66 'there is no such file in' "$MAS" inspect -m hf:ann/Tales-GGUF/other.gguf
expect 66 "there: sub/deep.gguf, tales.gguf; 'mas pull hf:ann/Tales-GGUF/other.gguf' downloads a file" \
    "$MAS" inspect -m hf:ann/Tales-GGUF/other.gguf
expect 66 'no file is named' "$MAS" inspect -m hf:ann/Tales-GGUF
expect 66 "there: sub/deep.gguf, tales.gguf; write hf:ORG/REPO/FILE" "$MAS" inspect -m hf:ann/Tales-GGUF
expect 66 "there: hf:ann/Tales-GGUF/sub/deep.gguf, hf:ann/Tales-GGUF/tales.gguf; write hf:ORG/REPO/FILE" \
    "$MAS" inspect -m hf:bob/Tales-GGUF
expect 0 'GGUF version 3' "$MAS" inspect -m hf:ann/Tales-GGUF@${commit:0:7}/tales.gguf
expect 66 "there is no revision '012345' in $repo" "$MAS" inspect -m hf:ann/Tales-GGUF@012345/tales.gguf
mkdir "$repo/snapshots/${commit:0:10}ff" "$repo/refs/feature"
expect 66 "'${commit:0:7}' begins 2 commits in $repo/snapshots" "$MAS" inspect -m hf:ann/Tales-GGUF@${commit:0:7}/tales.gguf
expect 0 'GGUF version 3' "$MAS" inspect -m hf:ann/Tales-GGUF@${commit:0:11}/tales.gguf
rmdir "$repo/snapshots/${commit:0:10}ff"
printf %s $commit >"$repo/refs/feature/x"
expect 66 "branches and tags there: feature/x, main, v2; commits: $commit; write a '/' in a branch as %2F" \
    "$MAS" inspect -m hf:ann/Tales-GGUF@feature/x/tales.gguf
expect 0 'GGUF version 3' "$MAS" inspect -m hf:ann/Tales-GGUF@feature%2Fx/tales.gguf
for name in %2Fx x%2F x%2F%2Fx x%2F..%2Fx x%2 x%41; do
    expect 64 'write hf:ORG/REPO/FILE' "$MAS" inspect -m "hf:ann/Tales-GGUF@$name/tales.gguf"
done
expect 66 "there is no revision 'v1' in $repo" "$MAS" inspect -m hf:ann/Tales-GGUF@v1/tales.gguf
expect 66 'there is no such file in' "$MAS" inspect -m hf:ann/Tales-GGUF@v2/tales.gguf
expect 66 "there is no such model in $hub; there: hf:ann/Tales-GGUF/sub/deep.gguf, hf:ann/Tales-GGUF/tales.gguf" \
    "$MAS" inspect -m hf:bob/Tales-GGUF/tales.gguf
printf 'no commit' >"$repo/refs/v2"
expect 65 'holds no commit' "$MAS" inspect -m hf:ann/Tales-GGUF@v2/tales.gguf
for name in '' ann ../ann/x.gguf ann/repo/../x.gguf ann/repo//x.gguf ann/repo/x.gguf/ ann/re@/x.gguf; do
    expect 64 'write hf:ORG/REPO/FILE' "$MAS" inspect -m "hf:$name"
done
XDG_CACHE_HOME=$dir/x expect 66 "in $dir/x/huggingface/hub" "$MAS" inspect -m hf:ann/Tales-GGUF/tales.gguf
HF_HOME=$HOME/.cache/huggingface XDG_CACHE_HOME=$dir/x expect 0 'GGUF' "$MAS" inspect -m hf:ann/Tales-GGUF/tales.gguf
HF_HUB_CACHE=$dir/y HF_HOME=$dir/x expect 66 "in $dir/y" "$MAS" inspect -m hf:ann/Tales-GGUF/tales.gguf

# ---- the list of downloads ---------------------------------------------------------------------------------
expect 66 "model 'llama3-8b' is not here: there is no models/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf; 'mas pull llama3-8b'" \
    "$MAS" inspect -m llama3-8b
expect 66 "there is no such file; did you mean 'llama3-8b'?" "$MAS" inspect -m llama3-9b
expect 66 "there is no such file; 'mas pull llama3-8b' downloads it" \
    "$MAS" inspect -m models/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf
mkdir models
cp "$model" models/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf
expect 0 "models/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf: GGUF" "$MAS" inspect -m llama3-8b
cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" qwen2.5-7b # a file goes before a name
expect 0 'qwen2.5-7b: GGUF' "$MAS" inspect -m qwen2.5-7b

# ---- every command -----------------------------------------------------------------------------------------
name=ollama:tales
text='Once upon a time'
expect 0 'Lily' "$MAS" generate --quiet -m $name -p "$text" -n 12 --temp 0 --backend cpu -t 1
expect 0 'Lily' "$MAS" generate --quiet -m hf:ann/Tales-GGUF/tales.gguf --draft-model $name -p "$text" -n 12 --temp 0 \
    --backend cpu -t 1
expect 66 'ollama:nobody' "$MAS" generate --quiet -m $name --draft-model ollama:nobody -p "$text" -n 2 --backend cpu -t 1
expect 0 'tokens' "$MAS" inspect -m $name --tensors
expect 0 '1' "$MAS" tokenize -m $name --count -p a
expect 0 'he' "$MAS" detokenize -m $name 260
expect 0 'KV' "$MAS" fit -m $name --gpu rtx4090 --kv-type f16
expect 0 'Q8_0' "$MAS" quantize --allow-requantize $name out.gguf Q8_0
expect 0 '' "$MAS" run -q 'A man has chest pain.' -o 'A. GERD||B. MI' --set "model=demo" --set strategy=direct
expect 66 'ollama:nobody' "$MAS" run -q 'A man has chest pain.' -o 'A. GERD||B. MI' --set model=ollama:nobody --set strategy=direct

# ---- questions by name, as the line of the reference configuration needs them -------------------------------
cp "$MAS_SOURCE/configs/llama3_70b.yaml" .
rm models/*
expect 66 "there is no data/medqa_us_4_options_test.jsonl; 'mas pull medqa' downloads them" \
    "$MAS" eval --config llama3_70b.yaml --n 2
expect 66 "did you mean 'medqa'?" "$MAS" eval -c demo --data medqua
expect 66 "cannot open 'nothing.jsonl'" "$MAS" eval -c demo --set data=nothing.jsonl
mkdir data
cp "$MAS_SOURCE/configs/demo/questions.jsonl" data/medqa_us_4_options_test.jsonl
expect 66 "mas: model 'llama3-70b' is not here: there is no models/Meta-Llama-3-70B-Instruct-Q4_K_M.gguf; 'mas pull llama3-70b'" \
    "$MAS" eval --config llama3_70b.yaml --n 2
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" models/Meta-Llama-3-70B-Instruct-Q4_K_M.gguf
expect 0 'strategy panel on medqa_us_4_options_test.jsonl' "$MAS" eval --config llama3_70b.yaml --n 2 --quiet
expect 0 'strategy direct on medqa_us_4_options_test.jsonl' "$MAS" eval -c demo --data medqa --n 2 --quiet --strategy direct
expect 0 'strategy direct on questions.jsonl' "$MAS" eval -c demo --n 2 --quiet --strategy direct \
    --set "data=$MAS_SOURCE/configs/demo/questions.jsonl"

# ---- a list of one's own -----------------------------------------------------------------------------------
list() { # PATTERN REPLACEMENT: a copy of the list with one change
    sed "s|$1|$2|" "$MAS_SOURCE/configs/sources.yaml" >list.yaml
}
export MAS_SOURCES=list.yaml
expect 66 'list.yaml' "$MAS" inspect -m llama3-8b
list '^  models: models' "  models: $dir/store"
expect 66 "there is no $dir/store/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf" "$MAS" inspect -m llama3-8b
list '^mirrors:' 'mirror:'
expect 78 "list.yaml: the list has an unknown key 'mirror'; known: folders servers mirrors" "$MAS" inspect -m llama3-8b
printf 'folders: {models: %s/mine, data: data}\n' "$dir" >list.yaml # other sections are those of the program
expect 66 "there is no $dir/mine/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf" "$MAS" inspect -m llama3-8b
printf 'models: {own: {get: hf:a/b/c.gguf}}\n' >list.yaml
expect 66 "model 'own' is not here: there is no models/c.gguf" "$MAS" inspect -m own
expect 66 "cannot open model 'llama3-8b': No such file" "$MAS" inspect -m llama3-8b
printf 'folders: {models: x}\n' >list.yaml
expect 78 "list.yaml: folders: 'data' is missing" "$MAS" inspect -m llama3-8b
printf 'models: {own: {file: c.gguf}}\n' >list.yaml
expect 78 "list.yaml: own: 'get' is missing" "$MAS" inspect -m llama3-8b
printf 'folders: models\n' >list.yaml
expect 78 'list.yaml: folders must be a mapping' "$MAS" inspect -m llama3-8b
list '    sha256: c3' '    sha256: xx'
expect 78 'it takes 64 hex digits' "$MAS" inspect -m llama3-8b
list '    bytes: 2075679' '    bytes: 2 MB'
expect 78 "medqa: bytes is '2 MB'; it takes a whole number" "$MAS" inspect -m llama3-8b
list '    file: medqa_' '    file: ../medqa_'
expect 78 'is no name of a file' "$MAS" inspect -m llama3-8b
list '  medqa:' '  llama3-8b:'
expect 78 "'llama3-8b' is a model and data, too" "$MAS" inspect -m llama3-8b
list '  hf: https://huggingface.co' '  hf: ftp://huggingface.co'
expect 78 'must be https://HOST' "$MAS" inspect -m llama3-8b
list '  - at: https://huggingface.co' '  - at: https://huggingface.co/models'
expect 78 'must be https://HOST' "$MAS" inspect -m llama3-8b
list '  llama3-8b:' '  llama3-8b: 3'
expect 78 'list.yaml' "$MAS" inspect -m llama3-8b
exit $bad
