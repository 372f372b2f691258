#!/bin/bash
# The files that commands write: links stay, pipes and devices are written in place, neighbours survive, a failure
# leaves the old content. loader/outfile.h says the rules, tests/unit/t_outfile.c tests the corners.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"

"$MAS" synth --shape tiny --type F32 --quiet f32.gguf || exit 1
"$MAS" quantize --quiet f32.gguf want.gguf Q8_0 || exit 1
"$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" --n 3 -s direct --quiet --out run >/dev/null 2>&1 || exit 1
"$MAS" export run --csv - >want.csv || exit 1
"$MAS" export run --summary - >want.json || exit 1
"$MAS" perplexity -m demo --quiet --ctx 4 -p 'some text here' --logits-out want.f32 >/dev/null || exit 1

svg=$dir/want.svg
"$MAS" fit --shape tiny --gpu rtx4090 --simulate "$svg" >/dev/null || exit 1

# writers: name, what it writes, the command with the output's name at the end
writer() { # NAME OUTPUT
    case $1 in
    quantize) "$MAS" quantize --quiet f32.gguf "$2" Q8_0 ;;
    synth) "$MAS" synth --shape tiny --type F32 --quiet "$2" ;;
    csv) "$MAS" export run --csv "$2" --force ;;
    json) "$MAS" export run --summary "$2" --force ;;
    logits) "$MAS" perplexity -m demo --quiet --ctx 4 -p 'some text here' --logits-out "$2" ;;
    svg) "$MAS" fit --shape tiny --gpu rtx4090 --simulate "$2" ;;
    esac
}
declare -A want=([quantize]=want.gguf [synth]=f32.gguf [csv]=want.csv [json]=want.json [logits]=want.f32 [svg]=want.svg)

# A picture of simulated steps is another one each time, for it shows times of this machine.
same() { # NAME FILE
    if [ "$1" = svg ]; then
        [[ $(head -c 4 "$2") == "<svg" && $(tail -n 1 "$2") == "</svg>" ]]
    else
        cmp "$2" "${want[$1]}"
    fi
}

mkdir links
for name in "${!want[@]}"; do
    # through a link, relative to its own folder, to a file with a mode of its own
    printf old >"target.$name"
    chmod 640 "target.$name"
    ln -s "../target.$name" "links/$name"
    for end in tmp part; do printf 'mine' >"target.$name.$end"; done
    writer "$name" "links/$name" >/dev/null || fault "$name onto a link: exit code $?"
    [ -L "links/$name" ] || fault "$name replaced the link"
    same "$name" "target.$name" || fault "$name onto a link: other bytes"
    [ "$(stat -c %a "target.$name")" = 640 ] || fault "$name: mode $(stat -c %a "target.$name")"
    for end in tmp part; do
        [ "$(cat "target.$name.$end")" = mine ] || fault "$name lost the user's own target.$name.$end"
    done
    # into a pipe
    mkfifo "fifo.$name"
    timeout 60 cat "fifo.$name" >got &
    writer "$name" "fifo.$name" >/dev/null || fault "$name into a FIFO: exit code $?"
    wait
    [ -p "fifo.$name" ] || fault "$name replaced the FIFO"
    same "$name" got || fault "$name into a FIFO: other bytes"
    # into devices
    writer "$name" /dev/null >/dev/null 2>&1 || fault "$name into /dev/null: exit code $?"
    [ -c /dev/null ] || { echo "FAILED: $name replaced /dev/null"; exit 1; }
    expect 74 "/dev/full: No space left on device" writer "$name" /dev/full
    [ -c /dev/full ] || { echo "FAILED: $name replaced /dev/full"; exit 1; }
    expect 73 "links: it is a folder" writer "$name" links
done
for name in quantize csv; do
    said=$( (ulimit -f 0 && writer "$name" limited) 2>&1)
    got=$?
    [ "$got" = 74 ] && [[ $said == *"ulimit -f, is 0 bytes"* ]] || fault "$name beyond the limit: $got: $said"
    [ -e limited ] && fault "$name beyond the limit left a file"
done
left=$(find . -name '*.part' ! -name 'target.*')
[ -z "$left" ] || fault "left behind: $left"

# ---- standard output by name: bytes where they belong, reports elsewhere
for out in /dev/stdout /dev/fd/1 /proc/self/fd/1; do
    "$MAS" quantize f32.gguf "$out" Q8_0 2>said | cat >got
    cmp got want.gguf || fault "quantize into $out: other bytes"
    grep -q '^all' said || fault "quantize into $out: no table on standard error"
    { echo before; "$MAS" export run --csv "$out"; echo after; } >got
    { echo before; cat want.csv; echo after; } | cmp - got || fault "--csv $out into a file: other bytes"
done
"$MAS" synth --shape tiny --type F32 /dev/stdout 2>said | cmp - f32.gguf || fault "synth into /dev/stdout"
grep -q 'random weights' said || fault "synth into /dev/stdout: no report"
"$MAS" perplexity -m demo --quiet --ctx 4 -p 'some text here' --logits-out /dev/stdout 2>said | cmp - want.f32 || fault "logits into /dev/stdout"
grep -q 'perplexity' said || fault "logits into /dev/stdout: no report"
expect 64 "a file with holes cannot go into a pipe or a device" "$MAS" synth --shape tiny --hollow /dev/null

# ---- a run's folder
mkdir -p runs
ln -s "$dir/runs" linked
expect 0 accuracy "$MAS" eval -c demo --data "$MAS_SOURCE/configs/demo/questions.jsonl" --n 1 -s direct --quiet --out linked/a
[ -s runs/a/summary.json ] || fault "a run in a linked folder"

# ---- files that mas did not write stay, unless --force is given; inputs stay in any case
data=$MAS_SOURCE/configs/demo/questions.jsonl
cp "$data" mine.jsonl && cp "$data" said.jsonl && printf '# notes\n' >notes.md
"$MAS" eval -c demo --data mine.jsonl --n 3 -s direct --quiet --out mine >/dev/null 2>&1 || exit 1
declare -A option=([csv]=--csv [summary]=--summary [wrong]=--wrong [inspect]=--inspect [bundle]=--bundle)
for name in "${!option[@]}"; do
    expect 64 "notes.md exists and is no " "$MAS" export mine "${option[$name]}" notes.md
    expect 64 "or give --force" "$MAS" export mine "${option[$name]}" said.jsonl
    expect 64 "mine.jsonl is read by this command and would be lost" "$MAS" export mine "${option[$name]}" mine.jsonl
    expect 64 "mine.jsonl is read by this command and would be lost" "$MAS" export mine "${option[$name]}" ./mine.jsonl --force
    expect 0 "" "$MAS" export mine "${option[$name]}" "out.$name"
    expect 0 "" "$MAS" export mine "${option[$name]}" "out.$name" # its own file again
    cp notes.md forced
    expect 0 "" "$MAS" export mine "${option[$name]}" forced --force
    cmp -s forced "out.$name" || fault "--force of $name wrote another file"
done
for other in csv summary inspect bundle; do # of another kind
    for name in "${!option[@]}"; do
        [ "$name" = "$other" ] || expect 64 "out.$other exists and is no " "$MAS" export mine "${option[$name]}" "out.$other"
    done
done
expect 64 "--csv and --wrong both name ./both" "$MAS" export mine --csv ./both --wrong both
ln mine.jsonl linked.jsonl
expect 64 "said.jsonl is read by this command" "$MAS" export mine --inspect said.jsonl --data said.jsonl --force
expect 64 "linked.jsonl is read by this command" "$MAS" vary mine.jsonl --permute cyclic -o linked.jsonl --force
expect 64 "mine.jsonl is read by this command" "$MAS" vary mine.jsonl --permute cyclic -o mine.jsonl
printf '{"id": "x", "question": "y"}\n' >words.jsonl
expect 64 "words.jsonl is read by this command" "$MAS" vary mine.jsonl --paraphrases words.jsonl -o words.jsonl --force
expect 64 "notes.md exists and is no file of variants of mas" "$MAS" vary mine.jsonl --permute cyclic -o notes.md
expect 64 "said.jsonl exists and is no file of variants of mas" "$MAS" vary mine.jsonl --permute cyclic -o said.jsonl
for n in 1 2; do expect 0 "" "$MAS" vary mine.jsonl --permute cyclic -o orders.jsonl; done
expect 0 "" "$MAS" vary mine.jsonl --none-of-the-above -o said.jsonl --force
expect 64 "notes.md exists and is no report of mas" "$MAS" report mine -o notes.md
expect 64 "mine.jsonl is read by this command" "$MAS" report mine --data mine.jsonl -o mine.jsonl --force
expect 0 "" "$MAS" report mine -o forced --force
expect 64 "notes.md exists and is no picture of mas" "$MAS" eval -c demo --data mine.jsonl --n 3 -s direct --quiet --out other --curve notes.md
expect 64 "mine.jsonl is read by this command" "$MAS" eval -c demo --data mine.jsonl --n 3 -s direct --quiet --out other --curve mine.jsonl
cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" toy.gguf
for out in mine.jsonl toy.gguf; do
    expect 64 "$out is read by this command" "$MAS" perplexity -m toy.gguf --quiet --ctx 8 -f mine.jsonl --logits-out $out
done
expect 64 "toy.gguf is read by this command" "$MAS" fit -m toy.gguf --gpu rtx4090 --simulate toy.gguf
cmp toy.gguf "$MAS_SOURCE/configs/demo/toy_mini.gguf" || fault "a model was lost"
cmp mine.jsonl "$data" && [ "$(cat notes.md)" = '# notes' ] || fault "a file was lost"

# ---- interrupted: what was there stays, nothing is added
cp want.gguf there.gguf
"$MAS" synth --shape llama3-8b --quiet there.gguf &
pid=$!
sleep 0.5
kill -TERM $pid
wait $pid 2>/dev/null
cmp there.gguf want.gguf || fault "an interrupted synth changed the file"
exit $bad
