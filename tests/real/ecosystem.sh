#!/usr/bin/env bash
# The files that `mas export` writes for lm-evaluation-harness and Inspect, read by these programs from PyPI (about 1 GB).
# Exit 77: the packages cannot be had.
# usage: tests/real/ecosystem.sh [--cache DIR] [--build DIR] [--python FILE]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/build/real
build=$root/build/release
python=
while [[ ${1-} == --* ]]; do
    case $1 in
    --cache) cache=$2 && shift 2 ;;
    --build) build=$(realpath "$2") && shift 2 ;;
    --python) python=$2 && shift 2 ;;
    --help) exec sed -n '2,4s/^# //p' "$0" ;;
    *) echo "ecosystem.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
[ -x "$build/mas" ] || { echo "ecosystem.sh: no program $build/mas; build it first, or give --build" >&2 && exit 64; }
if [ -z "$python" ]; then
    mkdir -p "$cache"
    venv=$cache/ecosystem
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
    timeout 1800 "$venv/bin/pip" install -q inspect-ai==0.3.285 lm-eval==0.4.13 >"$cache/ecosystem.log" 2>&1 || {
        echo "skipped: tests/real: cannot fetch lm-eval and inspect-ai from PyPI: $(tail -1 "$cache/ecosystem.log")"
        exit 77
    }
    python=$venv/bin/python
fi
export no_proxy='*' HF_HUB_OFFLINE=1
exec "$python" "$here/ecosystem.py" "$build/mas" "$root/configs/demo/questions.jsonl"
