#!/usr/bin/env bash
# mas serve: its options, who may ask, limits, the end of the server. Settings: serve.address, serve.port,
# serve.api_key_file, serve.hosts, serve.connections, serve.queue, serve.resident, serve.keep_alive, serve.drain_seconds.
. "$(dirname "$0")/head.bash"
command -v curl >/dev/null || { echo "skipped: no curl"; exit 77; }
export no_proxy='*'

server=
# start OPTION..: a server on a free port; $at is its address
start() {
    stop_server
    : >out # the server's own redirection may come after the first look
    : >err
    "$MAS" serve -m demo --port 0 --threads 1 "$@" >out 2>err &
    server=$!
    for _ in $(seq 200); do
        at=$(sed -n 's/^listening on //p' out)
        [ -z "$at" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    cat err >&2
    fault "the server with $* does not start"
    return 1
}
stop_server() {
    [ -z "$server" ] || { kill -TERM "$server" 2>/dev/null; wait "$server" 2>/dev/null; }
    server=
}
trap 'stop_server; rm -rf -- "$dir"' EXIT

# answers STATUS TEXT CURL-ARGUMENT..: the reply has that status and contains the text
answers() {
    local status=$1 text=$2 got
    shift 2
    got=$(curl -s -m 20 -o body -w '%{http_code}' "$@")
    [ "$got" = "$status" ] || fault "curl $*: status $got, expected $status: $(head -c 300 body)"
    grep -qF -- "$text" body || fault "curl $*: no '$text' in: $(head -c 300 body)"
}
json=(-H 'content-type: application/json')

# who may ask
expect 64 'address 0.0.0.0 is reached from other machines' "$MAS" serve -m demo --address 0.0.0.0 --port 0
expect 64 "address 'none' is not numeric" "$MAS" serve -m demo --address none --api-key x -p 0
expect 64 "address 'here' is not numeric" "$MAS" serve -m demo --address here --api-key x
expect 64 "address 'localhost' is not numeric" "$MAS" serve -m demo --address localhost
expect 64 "--port: " "$MAS" serve -m demo -p 99999
expect 64 "--threads: " "$MAS" serve -m demo --threads -3
expect 64 "--threads: " "$MAS" serve -m demo -t -3
expect 66 'nosuch' "$MAS" serve -m nosuch --port 0
[[ $("$MAS" serve -m nosuch --port 0 2>&1) != *listening* ]] || fault 'the server listens before it knows its model'
expect 0 'do not record decode steps' "$MAS" serve --help
start
answers 200 '"status": "ok"' "$at/health"
answers 403 "host 'evil.example' is not served here" -H 'Host: evil.example' "$at/health"
answers 200 ok -H 'Host: localhost:1' "$at/health"
answers 403 'may not use this server' -H 'Origin: http://evil.example' "$at/health"
answers 200 '"text"' "${json[@]}" -d '{"prompt": "The patient", "max_tokens": 4, "temperature": 0}' "$at/v1/completions"
answers 415 'it takes application/json' -d '{"prompt": "a"}' "$at/v1/completions"
answers 404 'there are demo' "${json[@]}" -d '{"model": "x", "prompt": "a"}' "$at/v1/completions"
answers 405 'use GET' -X POST "$at/health"
printf sesame >key
chmod 644 key
start --api-key-file key --set 'serve.hosts=[clinic.example]' --connections 10 --queue 1 --resident 1 --keep-alive 1 --drain-seconds 1 --address 127.0.0.1
answers 200 ok -H 'Host: clinic.example' "$at/health"
answers 401 'the API key is missing or wrong' "$at/v1/models"
answers 401 'the API key is missing or wrong' -H 'authorization: Bearer sesam' "$at/v1/models"
answers 200 demo -H 'authorization: Bearer sesame' "$at/v1/models"
grep -q "other users may read the API key in key (mode 644)" err || fault "a key that others may read gives no warning: $(cat err)"
grep -q 'API key: the first line of key' err || fault "the start does not say where the key comes from: $(cat err)"
kill -TERM "$server"
wait "$server"
[ $? = 0 ] || fault "the server ends with status $?"
server=
chmod 600 key
start --api-key-file key
! grep -q 'other users' err || fault "a key of mode 600 gives a warning"
expect 73 'cannot listen on 127.0.0.1 port' timeout 60 "$MAS" serve -m demo --port "${at##*:}"
expect 66 nothing.gguf timeout 60 "$MAS" serve -m nothing.gguf --port 0

# a model that is not the default one, and whose file is broken: no name of a file reaches a client
head -c 100000 /dev/zero >broken.gguf
start -m broken=broken.gguf
answers 500 'the model cannot be loaded' "${json[@]}" -d '{"model": "broken", "prompt": "a"}' "$at/v1/completions"
! grep -q 'gguf' body || fault "the name of a file reaches a client: $(cat body)"
answers 200 '"text"' "${json[@]}" -d '{"prompt": "a", "max_tokens": 1}' "$at/v1/completions"

# a queue of 0 takes what is computed at once, also when no model is loaded
start --queue 0 --keep-alive 0
for _ in 1 2 3; do
    answers 200 '"text"' "${json[@]}" -d '{"prompt": "a", "max_tokens": 1}' "$at/v1/completions"
done
answers 400 'the limit is' "${json[@]}" -d '{"prompt": "a", "max_tokens": 1, "n": 128}' "$at/v1/completions"

# requests of no friendly client, and the end of the server in every state
command -v python3 >/dev/null || { echo "without python3: the hostile requests are left out"; exit $bad; }
start
python3 "$MAS_SOURCE/tests/cli/serve_hostile.py" "${at##*:}" "$server" || bad=1
kill -0 "$server" || fault "the server is gone"
stop_server
python3 "$MAS_SOURCE/tests/cli/serve_end.py" "$MAS" || bad=1
exit $bad
