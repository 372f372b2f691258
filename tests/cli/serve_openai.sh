#!/usr/bin/env bash
# mas serve: OpenAI's API on the demo model, and on one that thinks; requests that real clients sent.
. "$(dirname "$0")/head.bash"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
export no_proxy='*'
python3 "$MAS_SOURCE/tests/cli/serve_openai.py" "$MAS" "$MAS_SOURCE" || bad=1
exit $bad
