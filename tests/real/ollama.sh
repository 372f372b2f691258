#!/usr/bin/env bash
# Real clients of Ollama from PyPI against `mas serve`, on SmolLM2 if tests/real/run.sh has fetched it, and on the demo
# model. The package ollama by default (10 MB); --all adds langchain-ollama (110 MB). Exit 77: the packages cannot be had.
# usage: tests/real/ollama.sh [--all] [--cache DIR] [--build DIR] [--model FILE]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/build/real
build=$root/build/release
model=
packages=(ollama==0.6.3)
while [[ ${1-} == --* ]]; do
    case $1 in
    --all) packages+=(langchain-ollama==1.1.0) && shift ;;
    --cache) cache=$2 && shift 2 ;;
    --build) build=$(realpath "$2") && shift 2 ;;
    --model) model=$2 && shift 2 ;;
    --help) sed -n '2,4s/^# //p' "$0" && exit ;;
    *) echo "ollama.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
[ -x "$build/mas" ] || { echo "ollama.sh: no program $build/mas; build it first, or give --build" >&2 && exit 64; }
mkdir -p "$cache"
venv=$cache/ollama
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
timeout 900 "$venv/bin/pip" install -q "${packages[@]}" >"$cache/ollama.log" 2>&1 || {
    echo "skipped: tests/real: cannot fetch the clients from PyPI: $(tail -1 "$cache/ollama.log")"
    exit 77
}
[ -n "$model" ] || model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
export no_proxy='*'
failed=0
[ ! -f "$model" ] || "$venv/bin/python" "$here/ollama.py" "$build/mas" "$model" || failed=1
"$venv/bin/python" "$here/ollama.py" "$build/mas" demo || failed=1
exit $failed
