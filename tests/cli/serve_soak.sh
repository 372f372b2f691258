#!/usr/bin/env bash
# mas serve: 64 clients at once, of which some leave. Their replies equal those of the same requests alone, and nothing of
# those that left stays. Longer: tests/soak/serve_soak.py --seconds 600.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
timeout 300 python3 "$MAS_SOURCE/tests/soak/serve_soak.py" "$MAS" --seconds 12 || bad=1
exit $bad
