#!/usr/bin/env bash
# Requests that schemathesis makes from GET /openapi.json, against the model inside the program: every reply must have a
# documented status, form and content type, and none may be a fault of the server. Fetches schemathesis from PyPI into a
# cache folder once (60 MB). Exit 77: it cannot be had.
# usage: tests/real/openapi.sh [--cache DIR] [--build DIR] [--examples N]    DIR: build/release; N: requests a path, 15
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/build/real
build=$root/build/release
examples=15
while [[ ${1-} == --* ]]; do
    case $1 in
    --cache) cache=$2 && shift 2 ;;
    --build) build=$(realpath "$2") && shift 2 ;;
    --examples) examples=$2 && shift 2 ;;
    --help) exec sed -n '2,5s/^# //p' "$0" ;;
    *) echo "openapi.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
mkdir -p "$cache"
st=$cache/schemathesis/bin/schemathesis
if [ ! -x "$st" ]; then
    python3 -m venv "$cache/schemathesis" >"$cache/log" 2>&1 &&
        timeout 600 "$cache/schemathesis/bin/pip" install -q 'schemathesis==4.32.5' >"$cache/log" 2>&1 || {
        echo "skipped: tests/real: cannot fetch schemathesis: $(tail -1 "$cache/log")"
        exit 77
    }
fi

dir=$(mktemp -d)
"$build/mas" serve -m demo --port 0 --threads 1 >"$dir/out" 2>"$dir/err" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf -- "$dir"' EXIT
for _ in $(seq 200); do
    at=$(sed -n 's/^listening on //p' "$dir/out")
    [ -z "$at" ] || break
    sleep 0.05
done
[ -n "$at" ] || { cat "$dir/err" >&2 && exit 1; }

# Left out: paths that download or write folders; paths that are refused on purpose with 501, which counts as a fault of
# a server; and the check that every request which fits a schema succeeds, since members may exclude each other.
cd "$dir"
timeout 900 "$st" run "$at/openapi.json" --max-examples "$examples" --phases examples,coverage,fuzzing \
    --request-timeout 60 --exclude-checks positive_data_acceptance \
    --exclude-path-regex '^/api/(pull|delete|copy|create|embed|embeddings|push)$|^/eval$'
kill -0 "$server" || { echo "openapi.sh: the server is gone" >&2 && exit 1; }
