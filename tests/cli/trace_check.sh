#!/usr/bin/env bash
# The checker of traces: a good file passes, and each rule of the form is broken once.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"

command -v python3 >/dev/null || {
    echo "skipped: no python3"
    exit 77
}
check=$MAS_SOURCE/tools/scripts/trace_check.py

cat >good.json <<'EOF'
{"traceEvents":[
{"ph":"M","pid":1,"name":"process_name","args":{"name":"mas"}},
{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"engine"}},
{"ph":"M","pid":1,"tid":1,"name":"thread_sort_index","args":{"sort_index":0}},
{"ph":"M","pid":1,"tid":2,"name":"thread_name","args":{"name":"card"}},
{"ph":"X","pid":1,"tid":1,"ts":0.000,"dur":10.000,"cat":"step","name":"step"},
{"ph":"t","pid":1,"tid":1,"ts":0.000,"cat":"call","name":"call","id":1},
{"ph":"X","pid":1,"tid":1,"ts":1.000,"dur":9.000,"cat":"phase","name":"decode"},
{"ph":"s","pid":1,"tid":1,"ts":1.000,"cat":"queue","name":"queue","id":1},
{"ph":"X","pid":1,"tid":2,"ts":2.000,"dur":5.000,"cat":"op","name":"matmul","args":{"phase":"decode"}},
{"ph":"f","pid":1,"tid":2,"ts":2.000,"cat":"queue","name":"queue","id":1,"bp":"e"},
{"ph":"X","pid":1,"tid":2,"ts":7.000,"dur":2.500,"cat":"op","name":"add","args":{"phase":"decode"}},
{"ph":"s","pid":1,"tid":1,"ts":0.000,"cat":"call","name":"call","id":1},
{"ph":"f","pid":1,"tid":2,"ts":7.000,"cat":"call","name":"call","id":1,"bp":"e"},
{"ph":"C","pid":1,"ts":1.000,"name":"rows","args":{"rows":8}},
{"ph":"b","pid":1,"tid":1,"ts":0.000,"cat":"case","name":"q1","id":4},
{"ph":"e","pid":1,"tid":1,"ts":9.000,"cat":"case","name":"q1","id":4},
{"ph":"i","pid":1,"ts":9.000,"cat":"record","name":"full","s":"g"}
],"displayTimeUnit":"ns","otherData":{}}
EOF
cat >profile.json <<'EOF'
{"rows":[{"op":"matmul","phase":"decode","calls":1,"ms":0.00501},{"op":"add","phase":"decode","calls":1,"ms":0.0025}]}
EOF

expect 0 "good.json: right; " "$check" good.json
expect 0 "right" "$check" good.json --profile profile.json

# broken TEXT OLD NEW: the good file with OLD replaced by NEW is refused with TEXT
broken() {
    python3 - "$2" "$3" <<'EOF' || fault "no '$2' in the good file"
import sys
old, new = sys.argv[1:]
text = open("good.json").read()
if old not in text:
    sys.exit(1)
open("bad.json", "w").write(text.replace(old, new, 1))
EOF
    expect 1 "$1" "$check" bad.json
}

broken "no array traceEvents" '"traceEvents"' '"events"'
broken "displayTimeUnit is 'us'" '"displayTimeUnit":"ns"' '"displayTimeUnit":"us"'
broken "otherData is no object" '"otherData":{}' '"otherData":[]'
broken "event 16: no object" '{"ph":"i","pid":1,"ts":9.000,"cat":"record","name":"full","s":"g"}' '7,7'
broken "unknown kind ph='Y'" '"ph":"X"' '"ph":"Y"'
for member in name cat ts dur pid tid; do
    python3 - "$member" <<'EOF'
import json, sys
doc = json.load(open("good.json"))
doc["traceEvents"][4].pop(sys.argv[1])
json.dump(doc, open("bad.json", "w"))
EOF
    expect 1 "event 4: ph=X without '$member'" "$check" bad.json
done
broken "ph=f without 'id'" '"ts":2.000,"cat":"queue","name":"queue","id":1,' '"ts":2.000,"cat":"queue","name":"queue",'
broken "name is no text" '"name":"step"' '"name":7'
broken "ts is no finite number" '"ts":7.000,"dur"' '"ts":"7","dur"'
broken "ts is no finite number" '"ts":7.000,"dur"' '"ts":1e999,"dur"'
broken "ts is no finite number" '"ts":7.000,"dur"' "\"ts\":1$(printf '%0400d' 0),\"dur\""
broken "args.phase is no text" '"phase":"decode"' '"phase":["decode"]'
broken "tid is no integer" '"tid":2,"ts":7.000' '"tid":2.5,"ts":7.000'
broken "id is neither text nor number" '"id":4' '"id":[4]'
broken "negative time -1.0" '"ts":0.000,"dur":10' '"ts":-1.000,"dur":10'
broken "negative duration -5.0" '"dur":5.000' '"dur":-5.000'
broken "args is no object" '"args":{"rows":8}' '"args":8'
broken "value 'rows' of a counter" '{"rows":8}' '{"rows":"8"}'
broken "a counter without values" '{"rows":8}' '{}'
broken "unknown metadata 'thread_names'" '"thread_name"' '"thread_names"'
broken "thread_sort_index without args.sort_index" '"sort_index":0' '"sort_index":"0"'
broken "thread_name without 'tid'" '"tid":1,"name":"thread_name"' '"name":"thread_name"'
broken "scope 'x' of an instant event" '"s":"g"' '"s":"x"'
broken "thread 2 of process 1 has no name" '"tid":2,"name":"thread_name"' '"tid":3,"name":"thread_name"'
broken "process 1 has no name" '{"ph":"M","pid":1,"name":"process_name","args":{"name":"mas"}},' ''
broken "overlaps event 8 of thread 2 without nesting" '"ts":7.000,"dur"' '"ts":6.999,"dur"'
broken "overlaps event 4 of thread 1 without nesting" '"dur":9.000' '"dur":9.001'
broken "async event 'q1' with id 4 has no end" '"ph":"e"' '"ph":"b"'
broken "without a begin" '"ph":"b"' '"ph":"e"'
broken "async event 'q1' ends as 'q2'" '"ts":9.000,"cat":"case","name":"q1"' '"ts":9.000,"cat":"case","name":"q2"'
broken "async event 'q1' ends before it begins" '"ts":0.000,"cat":"case"' '"ts":9.001,"cat":"case"'
broken "without bp='e'" ',"bp":"e"' ''
broken "flow 'queue' with id 1 has 0 starts and 1 ends" '"ph":"s"' '"ph":"t"'
broken "flow 'queue' with id 1 has 1 starts and 0 ends" '"ph":"f"' '"ph":"t"'
broken "does not go forward in time" '"ts":1.000,"cat":"queue"' '"ts":3.000,"cat":"queue"'
broken "is in no slice of thread 2" '"ts":7.000,"cat":"call"' '"ts":9.600,"cat":"call"'

# differs NEW: the sums of the trace differ from those of the profile
differs() {
    printf '%s\n' "$1" >other.json
    expect 1 "$2" "$check" good.json --profile other.json
}
differs '{"rows":[{"op":"matmul","phase":"decode","calls":1,"ms":0.0051},{"op":"add","phase":"decode","calls":1,"ms":0.0025}]}' \
    "decode, matmul: 0.005000 ms in the trace, 0.005100 ms in the profile"
differs '{"rows":[{"op":"matmul","phase":"decode","calls":1,"ms":0.005}]}' "decode, add"
differs '{"rows":[{"op":"matmul","phase":"decode","calls":1,"ms":0.005},{"op":"add","phase":"prefill","calls":1,"ms":0.0025}]}' \
    "prefill, add"
differs '{"rows":[]}' "no rows with calls"

# wrong TEXT JSON: a file that is no profile is one line
wrong() {
    printf '%s\n' "$2" >other.json
    expect 1 "other.json: $1; name the output of mas profile -o json" "$check" good.json --profile other.json
    [ "$("$check" good.json --profile other.json 2>&1 | wc -l)" = 1 ] || fault "not one line for the profile $2"
}
wrong 'no JSON object' '[]'
wrong 'no JSON object' '7'
wrong 'no array rows' '{}'
wrong 'no array rows' '{"rows":{}}'
wrong 'a timeline' '{"traceEvents":[]}'
wrong 'row 0: no object' '{"rows":[7]}'
wrong 'row 0: no texts op and phase' '{"rows":[{"op":"add","calls":1,"ms":1}]}'
wrong 'row 0: no texts op and phase' '{"rows":[{"op":["add"],"phase":"decode","calls":1,"ms":1}]}'
wrong 'row 0: ms is no finite number' '{"rows":[{"op":"add","phase":"decode","calls":1,"ms":"1"}]}'
wrong 'row 0: ms is no finite number' '{"rows":[{"op":"add","phase":"decode","calls":1}]}'
# a reader that has left
python3 - <<'EOF'
import json
doc = json.load(open("good.json"))
doc["traceEvents"] += [dict(doc["traceEvents"][8], name=f"{i:0400}", ts=100 + i, dur=1) for i in range(400)]
json.dump(doc, open("long.json", "w"))
EOF
{ "$check" long.json 2>pipe; } | true
[ -s pipe ] && fault "a closed pipe: $(cat pipe)"

echo '{"traceEvents":[}' >bad.json
expect 2 "cannot be read" "$check" bad.json
echo '{"traceEvents":[NaN]}' >bad.json
expect 2 "NaN is no JSON number" "$check" bad.json
echo '{"traceEvents":[],"traceEvents":[]}' >bad.json
expect 2 "occurs twice" "$check" bad.json
expect 2 "cannot be read" "$check" absent.json
echo '[]' >bad.json
expect 1 "no JSON object" "$check" bad.json

# The traces of real runs, with the sums that the table of the same run has.
for backend in cpu cudahost; do
    "$MAS" profile -m demo --backend $backend -p 24 -n 6 --parallel 2 -r 1 --no-plain --trace run.json -o json \
        >run-profile.json 2>said || {
        grep -q "this build has no" said || fault "profile --backend $backend: $(cat said)"
        continue
    }
    expect 0 "run.json: right; " "$check" run.json --profile run-profile.json
done
exit $bad
