#!/usr/bin/env bash
# mas serve: clinical cases, evaluations and their folders, the page. Settings: serve.cases. The checks: serve_clinic.py.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
export no_proxy='*'
expect 64 "mas: --cases: serve.cases is '0'; it takes a whole number from 1 to 256" "$MAS" serve -m demo --cases 0
echo 'serve: {cases: 0}' >"$dir/cases.yaml"
expect 78 'cases.yaml:1: serve.cases' "$MAS" serve -m demo -c "$dir/cases.yaml"
timeout 500 python3 "${MAS_SOURCE:?}/tests/cli/serve_clinic.py" "$MAS" "$MAS_SOURCE" || fault "serve_clinic.py"
exit $bad
