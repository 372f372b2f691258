#!/bin/bash
# Standard input, output and error closed, full or without a reader: no output lands in another file, and each case is an error.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"

data=$MAS_SOURCE/configs/demo/questions.jsonl
"$MAS" synth --shape tiny --type F32 --quiet want.gguf || exit 1

# ---- closed: the next file that is opened must not get their numbers
"$MAS" synth --shape tiny --type F32 a.gguf >&- 2>said
[ $? = 74 ] || fault "a closed standard output is not said: $(cat said)"
grep -q 'cannot write to standard output: Bad file descriptor' said || fault "closed standard output: $(cat said)"
cmp a.gguf want.gguf || fault "the report of synth went into the model"
"$MAS" synth --shape tiny --type F32 --threads 0 --quiet b.gguf <&- >&- 2>&- || fault "all closed: exit code $?"
cmp b.gguf want.gguf || fault "synth with all closed"
"$MAS" quantize b.gguf c.gguf Q8_0 >&- 2>&-
[ $? = 74 ] || fault "quantize with both closed"
"$MAS" quantize --quiet b.gguf d.gguf Q8_0 && cmp c.gguf d.gguf || fault "messages of quantize went into the model"
"$MAS" nonsense 2>&-
[ $? = 64 ] || fault "a message to a closed standard error"
for closed in 0 1 2 012; do
    (
        case $closed in *0*) exec <&- ;; esac
        case $closed in *2*) exec 2>&- ;; esac
        case $closed in *1*) exec >&- ;; esac
        "$MAS" eval -c demo --data "$data" --n 3 -s direct --out "run$closed"
    ) >said.out 2>said.err
    got=$?
    case $closed in *1*) want=74 ;; *) want=0 ;; esac
    [ $got = $want ] || fault "eval with $closed closed: exit code $got: $(cat said.err)"
    [ "$("$MAS" export "run$closed" --csv - 2>&1 | cut -d, -f1,3-5 | tail -n +2 | wc -l)" = 3 ] || fault "the trace of run$closed"
    python3 -c 'import json, sys; json.load(open(sys.argv[1])); json.load(open(sys.argv[2]))' \
        "run$closed/run.json" "run$closed/summary.json" || fault "files of run$closed"
done

# ---- a closed standard input is no empty text
for c in "generate -m demo -f - -n 3" "perplexity -m demo -f - --ctx 4" "run -c demo -f -" "tokenize -m demo -f -"; do
    # shellcheck disable=SC2086 # words
    "$MAS" $c <&- >said 2>&1
    [ $? = 74 ] || fault "mas $c with standard input closed: $(cat said)"
done

# ---- a full device: every command that prints something
for c in "" help version "help eval" "generate --help" "inspect -m demo" "tokenize -m demo -p x" "detokenize -m demo 5" \
    "generate -m demo -p x -n 3" "export run0" "export run0 --csv -" "export run0 --csv /dev/stdout" \
    "perplexity -m demo -p abcdefgh --ctx 4" "fit -m demo --gpu rtx4090" "bench model -m demo -p 4 -n 4 -r 1" \
    "run -c demo -q x" "plan -c demo -q x" "synth --shape tiny e.gguf"; do
    # shellcheck disable=SC2086 # words
    "$MAS" $c >/dev/full 2>said
    [ $? = 74 ] || fault "mas $c onto a full device: $(cat said)"
    [ "$(grep -c 'cannot write' said)" = 1 ] || fault "mas $c says it not just once: $(cat said)"
    case $c in
    *--help) ;; # written in pieces by the C library, which keeps no reason
    *) grep -q 'No space left on device' said || fault "mas $c onto a full device does not say so: $(cat said)" ;;
    esac
done
python3 - >many.jsonl <<'PY'
import json
for i in range(60):
    print(json.dumps({"question": f"Question {i} " + "pain " * 40, "options": dict(A="a", B="b", C="c", D="d"), "answer_idx": "A"}))
PY
"$MAS" eval -c demo --data many.jsonl -s direct --quiet --out many >/dev/null 2>&1 || fault "eval of many"
for c in "export many --csv -" "export many --csv /dev/stdout" "inspect -m $MAS_SOURCE/configs/demo/toy_clinic.gguf --json"; do
    # shellcheck disable=SC2086 # words
    "$MAS" $c >/dev/full 2>said # more than a buffer
    [ $? = 74 ] || fault "mas $c onto a full device: $(cat said)"
    [ "$(grep -c 'cannot write' said)" = 1 ] || fault "mas $c says it not just once: $(cat said)"
done

# ---- a reader that goes
{ "$MAS" export run0 --csv -; echo $? >code; } 2>said | :
sleep 0.2
[ "$(cat code)" = 74 ] || fault "a reader that goes: exit code $(cat code)"
grep -q 'cannot write to standard output: Broken pipe' said || fault "a reader that goes: $(cat said)"
start=$SECONDS
{ timeout 100 "$MAS" generate -m demo -p 'A 45-year-old' -n 4000 --ignore-eos --quiet -t 1; echo $? >code; } 2>said | head -c 30 >/dev/null
for _ in $(seq 100); do [ -s code ] && break; sleep 0.1; done
[ "$(cat code)" = 74 ] || fault "generate goes on without a reader: exit code $(cat code), $((SECONDS - start)) s"

# ---- a limit on the size of files is an error, not the end of the process
"$MAS" eval -c demo --data "$data" --n 3 -s direct --quiet --out limited >/dev/null 2>&1 # warm
(ulimit -f 1 && "$MAS" eval -c demo --data "$data" --n 20 -s direct --quiet --out small) >/dev/null 2>said
got=$?
[ $got = 74 ] || fault "eval beyond the limit of file sizes: exit code $got: $(cat said)"
(ulimit -f 1 && "$MAS" export run0 --summary summary.json) 2>said || [ $? = 74 ] || fault "export beyond the limit: $(cat said)"
{ (ulimit -f 0 && "$MAS" help 2>&3 >text; echo $? >&3) 3>&1; } | cat >said
[ "$(tail -n 1 said)" = 74 ] || fault "help beyond the limit: $(cat said)"
grep -q 'File too large' said || fault "help beyond the limit: $(cat said)"
exit $bad
