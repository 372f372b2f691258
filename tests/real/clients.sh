#!/usr/bin/env bash
# Real clients from PyPI against `mas serve`, on SmolLM2 if tests/real/run.sh has fetched it, and on the demo model.
# openai and httpx by default (60 MB); --all adds litellm, langchain-openai, inspect-ai and lm-eval (1.4 GB). Exit 77: the
# packages cannot be had.
# usage: tests/real/clients.sh [--all] [--cache DIR] [--build DIR] [--model FILE]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/build/real
build=$root/build/release
model=
packages=(openai==3.57.0 httpx==0.28.1 pydantic)
clients=(openai httpx)
while [[ ${1-} == --* ]]; do
    case $1 in
    --all)
        packages+=(litellm==1.110.2 langchain-openai==1.7.4 inspect-ai==0.3.285 'lm-eval[api]==0.4.13')
        clients+=(litellm langchain inspect lm_eval)
        shift
        ;;
    --cache) cache=$2 && shift 2 ;;
    --build) build=$(realpath "$2") && shift 2 ;;
    --model) model=$2 && shift 2 ;;
    --help) exec sed -n '2,5s/^# //p' "$0" ;;
    *) echo "clients.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
[ -x "$build/mas" ] || { echo "clients.sh: no program $build/mas; build it first, or give --build" >&2 && exit 64; }
mkdir -p "$cache"
venv=$cache/clients
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
timeout 1800 "$venv/bin/pip" install -q "${packages[@]}" >"$cache/clients.log" 2>&1 || {
    echo "skipped: tests/real: cannot fetch the clients from PyPI: $(tail -1 "$cache/clients.log")"
    exit 77
}
[ -n "$model" ] || model=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
export no_proxy='*' HF_HUB_OFFLINE=1
failed=0
[ ! -f "$model" ] || "$venv/bin/python" "$here/clients.py" "$build/mas" "$model" "${clients[@]}" || failed=1
"$venv/bin/python" "$here/clients.py" "$build/mas" demo "${clients[@]}" || failed=1
exit $failed
