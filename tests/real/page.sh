#!/usr/bin/env bash
# The page of `mas serve` in a browser: a case by the keyboard alone, contrast, both views, three widths, both themes.
# Opt-in: it needs chromium, chromedriver, and selenium from PyPI, which goes into a cache folder. Exit 77: one is missing.
# usage: tests/real/page.sh [--build DIR] [--cache DIR] [FOLDER FOR PICTURES]    DIR: build/release
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build/release
cache=$root/build/real
while [[ ${1-} == --* ]]; do
    case $1 in
    --build) build=$(realpath "$2") && shift 2 ;;
    --cache) cache=$2 && shift 2 ;;
    --help) exec sed -n '2,4s/^# //p' "$0" ;;
    *) echo "page.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
pictures=${1:+$(mkdir -p "$1" && realpath "$1")}
[ -x "$build/mas" ] || { echo "page.sh: no program $build/mas; build it first, or give --build" >&2 && exit 64; }
skip() { echo "skipped: tests/real/page.sh: $1" && exit 77; }
{ command -v chromium || command -v google-chrome; } >/dev/null || skip "no chromium"
command -v chromedriver >/dev/null || skip "no chromedriver"
mkdir -p "$cache"
[ -x "$cache/page/bin/python" ] || python3 -m venv "$cache/page" >"$cache/log" 2>&1 || skip "python3 -m venv fails"
"$cache/page/bin/python" -c 'import selenium' 2>/dev/null || "$cache/page/bin/pip" install -q selenium >"$cache/log" 2>&1 ||
    skip "cannot fetch selenium from PyPI: $(tail -1 "$cache/log")"

dir=$(mktemp -d "${TMPDIR:-/tmp}/mas-page-XXXXXX")
cd "$dir"
export MAS_KEY=a-key-of-this-test
"$build/mas" serve -c demo --port 0 --api-key "$MAS_KEY" >out 2>err &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf -- "$dir"' EXIT
for _ in $(seq 200); do
    at=$(sed -n 's/^listening on //p' out)
    [ -z "$at" ] || break
    sleep 0.05
done
[ -n "$at" ] || { cat err >&2 && exit 1; }
SE_OFFLINE=true SE_AVOID_STATS=true timeout 600 "$cache/page/bin/python" "$root/tests/real/page.py" "$at" ${pictures:+"$pictures"}
