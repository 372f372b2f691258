#!/usr/bin/env bash
# mas inspect: text and JSON agree with each other, hashes are real, untrusted text cannot draw.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
corpus=$MAS_SOURCE/tests/fuzz/corpus/gguf
fail() { echo "inspect.sh: $*" >&2; exit 1; }

# text
"$MAS" inspect -m "$corpus/valid_v3.gguf" --tensors --sha256 >"$dir/text"
grep -q "GGUF version 3, $(stat -c %s "$corpus/valid_v3.gguf") bytes" "$dir/text" || fail "size"
grep -q "sha256 $(sha256sum <"$corpus/valid_v3.gguf" | cut -c1-64)" "$dir/text" || fail "hash"
grep -q "general.architecture  string = 'llama'" "$dir/text" || fail "string"
grep -qF "l  string[3] = ['x', '', 'a\\x00b']" "$dir/text" || fail "array of strings"
grep -qF "n  f64[0] = []" "$dir/text" || fail "empty array"
grep -qF "e  i32 = -16580095" "$dir/text" || fail "signed"
grep -qF "t1 (2, 64)" "$dir/text" || fail "shape slowest first"
grep -qE "^Q8_0 +1 +128 +136 +8.5000" "$dir/text" || fail "bytes by format"
grep -qE "^all +4 +401 +324 " "$dir/text" || fail "sum"
"$MAS" inspect -m "$corpus/valid_v2.gguf" | grep -q "^tensors" && fail "tensors unasked"

# JSON
"$MAS" inspect -m "$corpus/valid_v3.gguf" --json --sha256 >"$dir/json"
if command -v python3 >/dev/null; then
  python3 - "$dir/json" <<'PY' || fail "JSON"
import json, sys
d = json.load(open(sys.argv[1]))
meta = {k["key"]: k for k in d["metadata"]}
assert meta["h"]["value"] == 2**64 - 1 and meta["i"]["value"] == -1
assert meta["l"]["count"] == 3 and meta["l"]["first"] == ["x", "", "a\0b"]
assert d["tensors"][3]["shape"] == [1, 2, 3, 2] and d["tensors"][3]["format"] == "F16"
assert d["parameters"] == 401 and d["tensor_bytes"] == sum(t["bytes"] for t in d["tensors"]) == 324
assert d["parameters"] == sum(f["parameters"] for f in d["formats"])
assert len(d["sha256"]) == 64
PY
fi

# text of the file that would draw on the terminal
printf 'GGUF\3\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0k\33[m\10\0\0\0\4\0\0\0\0\0\0\0\33]0;' \
  >"$dir/evil.gguf"
"$MAS" inspect -m "$dir/evil.gguf" >"$dir/evil"
grep -qF "k\\x1b[m  string = '\\x1b]0;'" "$dir/evil" || fail "escape"
if grep -q $'\33' "$dir/evil"; then fail "raw escape on the terminal"; fi
"$MAS" inspect -m "$dir/evil.gguf" --json | grep -q $'\33' && fail "raw escape in JSON"

# errors and exit codes
code() { local want=$1; shift; local got=0; "$@" >"$dir/out" 2>&1 || got=$?; [ "$got" = "$want" ] || fail "$*: exit $got, want $want: $(cat "$dir/out")"; }
code 65 "$MAS" inspect -m "$corpus/bad_truncated.gguf"
grep -q "download incomplete" "$dir/out" || fail "truncated"
code 66 "$MAS" inspect -m "$dir/none.gguf"
code 66 "$MAS" inspect -m "$dir"
code 64 "$MAS" inspect
code 0 "$MAS" inspect "$corpus/valid_v3.gguf"
code 64 "$MAS" inspect -m "$corpus/valid_v3.gguf" "$corpus/valid_v2.gguf"
code 64 "$MAS" inspect --nonsense
code 0 "$MAS" inspect --help
code 0 "$MAS" help inspect
[ -c /dev/full ] && { got=0; "$MAS" inspect -m "$corpus/valid_v3.gguf" >/dev/full 2>"$dir/out" || got=$?; [ "$got" = 74 ] || fail "/dev/full: exit $got"; }
if [ -f "$MAS_DATA/vocab/ggml-vocab-llama-bpe.gguf" ]; then
  "$MAS" inspect -m "$MAS_DATA/vocab/ggml-vocab-llama-bpe.gguf" | grep -qF "string[128256]" || fail "vocab"
fi
echo ok
