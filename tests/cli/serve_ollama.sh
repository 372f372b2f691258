#!/usr/bin/env bash
# mas serve, Ollama's API and the server's own pages: recorded requests of real clients, streams, lives of models,
# schemas, limits, downloads, metrics. The driver (serve_ollama.py) has the checks.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
export no_proxy='*' HOME=$dir/home
unset HF_TOKEN MAS_SOURCES http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
model=$MAS_SOURCE/tests/golden/stories260K-Q4_1.gguf
sha=$(sha256sum <"$model" | cut -c1-64)
bytes=$(stat -c %s "$model")

# a default model that cannot be loaded ends the program with the error's status
expect 66 "cannot open model 'absent.gguf'" "$MAS" serve -m absent.gguf --port 0
head -c 3000 "$model" >cut.gguf
expect 65 'cut.gguf' "$MAS" serve -m cut.gguf --port 0

# the server of downloads, and the list with its names
mkdir www models
cp "$model" www/tales.gguf
printf '{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:%s","size":%s}]}' "$sha" "$bytes" >manifest
python3 "$MAS_SOURCE/tests/cli/pull_server.py" "$dir" >port 2>/dev/null &
files=$!
server=
trap 'kill $files $server 2>/dev/null; wait $files $server 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
read -r port _ <port
at=http://127.0.0.1:$port
cat >list.yaml <<END
servers:
  hf: $at
  ollama: $at
models:
  tales:
    about: stories
    get: $at/ok/tales.gguf
    file: tales.gguf
    sha256: $sha
  other:
    about: a file that is here already, with other bytes
    get: $at/ok/tales.gguf
    file: other.gguf
  stuck1:
    about: a server that never answers
    get: $at/hang/tales.gguf
    file: stuck1.gguf
  stuck2:
    about: the same, with another file
    get: $at/hang/tales.gguf
    file: stuck2.gguf
  gone:
    about: a file that is not there
    get: $at/404/tales.gguf
    file: gone.gguf
data:
  questions:
    get: $at/ok/questions.jsonl
END
cp "$MAS_SOURCE/configs/demo/toy_clinic.gguf" models/other.gguf
export MAS_SOURCES=list.yaml

"$MAS" serve -m smollm2:135m=demo -m second=demo -m broken=cut.gguf --resident 1 --port 0 --threads 1 \
    --set engine.sequences=8 >out 2>err &
server=$!
for _ in $(seq 400); do
    address=$(sed -n 's/^listening on //p' out)
    [ -z "$address" ] || break
    kill -0 $server 2>/dev/null || break
    sleep 0.05
done
[ -n "$address" ] || { cat err; fault 'the server does not start'; exit 1; }
python3 "$MAS_SOURCE/tests/cli/serve_ollama.py" "$address" "$dir" "$sha" "${MAS_CASES:-$MAS_SOURCE/../shared/cases}" ||
    { tail -20 err; fault 'serve_ollama.py'; }
cmp -s models/other.gguf "$MAS_SOURCE/configs/demo/toy_clinic.gguf" || fault 'a file was replaced'
cmp -s models/tales.gguf "$model" || fault 'the downloaded file is wrong'
grep -q 'warning: model tales: the model file has no chat template: .* --chat-template NAME takes one' err ||
    { cat err; fault 'no warning for a model without a chat template'; }
kill -TERM $server
wait $server
got=$?
server=
[ $got = 0 ] || { tail -5 err; fault "the server ends with status $got"; }
exit $bad
