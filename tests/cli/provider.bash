# For tests of providers, after head.bash: a server with faults, and evaluations of 20 questions with it. It refuses every third
# question until the file well-third is there.
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
unset http_proxy https_proxy all_proxy HTTPS_PROXY ALL_PROXY
export no_proxy='*' HOME=$dir/home
data=$MAS_SOURCE/configs/demo/questions.jsonl
python3 "$MAS_SOURCE/tests/cli/provider_server.py" "$dir" >port &
server=$!
trap 'kill $server 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done
read -r port other <port # other: a free port
ask() {
    "$MAS" eval --set provider=openai --set "remote.base_url=http://127.0.0.1:$port/third/v1" --set model=tiny --data "$data" --n 20 -s cot --quiet "$@"
}
cat >grid.yaml <<YAML
_base: $MAS_SOURCE/configs/demo.yaml
experiment:
  name: two
  factors:
    strategy: [cot, review]
  data: {n: 20}
YAML
grid() { "$MAS" eval -c grid.yaml --set provider=openai --set "remote.base_url=http://127.0.0.1:$port/third/v1" --set model=tiny --data "$data" --quiet "$@"; }
