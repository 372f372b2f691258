#!/usr/bin/env bash
# Runs an evaluation as an array job of Slurm: each task does one shard, a dependent job merges and reports. The same
# command again continues the study and queues no task twice. tools/scripts/SLURM.md describes files, faults and exit codes.
#
# usage: slurm_eval.sh --out STUDY --tasks N [OPTION..] -- OPTIONS OF mas eval
#        slurm_eval.sh --out STUDY [OPTION..]           continue a study with its own tasks and options of mas eval
#        slurm_eval.sh --status STUDY                   tasks by state, questions done; works without Slurm too
#
#   --tasks N            number of shards, each one task of the array
#   --at-once N          at most N tasks at the same time
#   --partition NAME     partition (default: the site's)
#   --gpus [TYPE:]N      GPUs of a task (default: none)
#   --cpus N             CPUs of a task, and its threads (default: 1)
#   --mem SIZE           memory of a task, as 48G
#   --time LIMIT         time limit of a start, as 4:00:00; a task that needs longer is requeued
#   --lead SECONDS       the task is told to stop this long before the limit (default: 120)
#   --starts N           a task fails after N starts in a row without a finished question (default: 4)
#   --report-partition NAME  partition of the report job (default: that of the tasks)
#   --sbatch OPTION      a further option of sbatch for tasks and report, as --account=med; may be repeated
#   --mas PROGRAM        the program (default: mas of PATH, then build/release/mas of this tree)
#   --image FILE.sif     run the program of an Apptainer image (tools/scripts/mas.def); --mas then names the program in it
#   --bind PATH          a further folder for the image; may be repeated
#   --no-check           submit without 'mas eval --check', for a model or data that only the nodes see
#   --dry-run            print the files and commands, and write and submit nothing
set -euo pipefail
export LC_ALL=C

say() { printf '%s\n' "$*"; }
die() { # CODE TEXT..
    local code=$1
    shift
    printf 'slurm_eval.sh: %s\n' "$*" >&2
    exit "$code"
}
usage() { sed -n '/^# usage:/,/^[^#]/s/^# \{0,1\}//p' "$0"; }
quoted() { # WORD..: the words, quoted for bash, on one line
    local line
    printf -v line '%q ' "$@"
    printf '%s' "${line% }"
}

# ---- what a shard's folder says; the scripts of the jobs have these functions too

# finished FOLDER: number of the finished questions of all runs below FOLDER. A question is counted once in each run.
finished() {
    local file
    [ -d "$1" ] || { echo 0 && return; }
    find "$1" -name 'old-*' -prune -o \( -name 'traces*.jsonl' -o -name 'traces*.jsonl.gz' \) -print0 |
        while IFS= read -r -d '' file; do
            case $file in
            *.gz) zcat -- "$file" 2>/dev/null || true ;;
            *) cat -- "$file" 2>/dev/null || true ;;
            esac | sed -n "s/^{\"case\": \"\([^\"]*\)\".*/$(printf '%s' "${file%/*}" | cksum | tr ' ' .) \1/p"
        done | sort -u | wc -l
}

# note FILE KEY VALUE..: replaces the file by lines of KEY and VALUE. A reader sees the old content or the new.
note() {
    local file=$1
    shift
    printf '%s %s\n' "$@" >"$file.$$" && mv -f "$file.$$" "$file"
}

# noted FILE KEY: the value of KEY, or nothing
noted() { [ ! -f "$1" ] || sed -n "s/^$2 //p" "$1"; }

# ---- the scripts of the jobs

task_script() {
    cat <<SCRIPT
#!/usr/bin/env bash
# A task of the study: shard \$SLURM_ARRAY_TASK_ID of $tasks. slurm_eval.sh wrote this file.
set -euo pipefail
export LC_ALL=C
study=$(quoted "$study")
folder=$(quoted "$cwd")
tasks=$tasks
starts=$starts
mas=($(quoted "${run_mas[@]}"))
arguments=($(quoted "${arguments[@]}"))

$(declare -f finished note noted)
SCRIPT
    cat <<'SCRIPT'

index=$SLURM_ARRAY_TASK_ID
job=${SLURM_ARRAY_JOB_ID}_$index # the number of the job alone would requeue all tasks of the array
shard=$study/shard-$index-of-$tasks
state=$study/slurm/state/task-$index
start="$HOSTNAME $$ $(date +%s.%N)" # of this script
idle=0 before=0
log=$study/slurm/log/task-$index.txt
logged=$(stat -c %s -- "$log" 2>/dev/null || echo 0) # bytes of former starts

# reason: ": " and the program's last words in this start, or nothing
reason() {
    [ ! -f "$log" ] || tail -c "+$((logged + 1))" -- "$log" | grep -v "^....-..-..T.* task $job on " | grep . | tail -n 1 |
        cut -c 1-300 | sed 's/^/: /' || true
}

# record STATE TEXT..: the state of this task for --status and for the next start
record() {
    note "$state" state "$1" text "${*:2}" job "$job" node "${SLURMD_NODENAME:-unknown}" start "$start" before "$before" idle "$idle" \
        restarts "${SLURM_RESTART_COUNT:-0}" at "$(date +%Y-%m-%dT%H:%M:%S%z)"
    printf '%s task %s on %s: %s %s\n' "$(date +%Y-%m-%dT%H:%M:%S%z)" "$job" "${SLURMD_NODENAME:-unknown}" "$1" "${*:2}"
}

# again CODE TEXT..: queues this task again, or fails if too many starts in a row finished nothing
again() {
    local code=$1 try i
    shift
    if [ "$now" -eq "$before" ] && [ $((idle + 1)) -ge "$starts" ]; then
        record failed "$* (exit $code); no question finished in $starts starts$(reason)"
        exit "$code"
    fi
    record requeued "$* (exit $code)$(reason)"
    for try in 1 2 3; do
        if scontrol requeue "$job"; then
            for ((i = 0; i < 300; i++)); do # until Slurm ends this script
                [ -z "$ended" ] || break
                sleep 1 &
                wait $! || true
            done
            exit "$code"
        fi
        [ $try = 3 ] || sleep $((try * 2))
    done
    record failed "$* (exit $code); scontrol requeue fails"
    exit "$code"
}

# Slurm sends USR1 before the time limit, to this script alone. The program gets TERM, writes and ends. When Slurm ends
# the task, it sends TERM to each process, also to the program. Then Slurm decides whether the task starts again.
program='' warned='' ended=''
trap 'warned=1; [ -z "$program" ] || kill -TERM "$program" 2>/dev/null || true' USR1
trap 'ended=1' TERM

mkdir -p "$study/slurm/state"
before=$(finished "$shard") now=$before
if [ "$(noted "$state" before)" = "$before" ]; then # the last start finished nothing; a new submission has no last start
    idle=$(($(noted "$state" idle) + 1))
fi
if [ "$idle" -ge "$starts" ]; then
    record failed "no question finished in $starts starts; the last one: $(noted "$state" state) $(noted "$state" text)"
    exit 75
fi
record running "$before questions finished before"

cd "$folder"
threads=()
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || threads=(--set "threads=$SLURM_CPUS_PER_TASK") # the options of the study come later and win
"${mas[@]}" eval --quiet "${threads[@]}" "${arguments[@]}" --out "$study" --shard "$index/$tasks" </dev/null &
program=$!
[ -z "$warned" ] || kill -TERM "$program" 2>/dev/null || true
code=0
while :; do # wait ends early when a signal comes
    wait "$program" && code=0 || code=$?
    kill -0 "$program" 2>/dev/null || break
done
now=$(finished "$shard")

# A node that was cut off may go on while Slurm has started the task elsewhere. Both have the number of the same job: a
# requeue from here would end the other one.
if [ "$(noted "$state" start)" != "$start" ]; then
    echo "task $job: another start of this task has followed ($(noted "$state" start)); this one does nothing more"
    exit "$code"
fi

case $code in
0) record finished && exit 0 ;;
1)
    # A failed cell is tried again by the next submission. The report job runs all the same, and merges the other cells.
    if grep -qs '"state": "failed"' "$shard/grid.json"; then
        record failed "cells failed: $(grep -o '"name": "[^"]*", "state": "failed"' "$shard/grid.json" | cut -d'"' -f4 | paste -sd' ')"
        exit 1
    fi
    record finished 'with failed questions or rejected records' && exit 0
    ;;
esac
if [ -n "$ended" ] && [ -z "$warned" ]; then
    record stopped "Slurm ended the task (exit $code)"
    exit "$code"
fi
case $code in
75) again "$code" "$([ -n "$warned" ] && echo 'the time limit is near' || echo 'the program asks for another start')" ;;
69) again "$code" 'no device' ;;
73) again "$code" 'another process holds the shard' ;;
74) again "$code" 'a file cannot be read or written' ;;
129 | 1[3-9][0-9]) again "$code" "the program was killed by signal $((code - 128))" ;;
*) record failed "exit $code$(reason)" && exit "$code" ;;
esac
SCRIPT
}

report_script() {
    cat <<SCRIPT
#!/usr/bin/env bash
# Merges the shards of the study and writes the report. slurm_eval.sh wrote this file.
set -euo pipefail
export LC_ALL=C
study=$(quoted "$study")
folder=$(quoted "$cwd")
tasks=$tasks
mas=($(quoted "${run_mas[@]}"))

$(declare -f note noted)
SCRIPT
    cat <<'SCRIPT'

state=$study/slurm/state/report
# record STATE TEXT..: the state of this job for --status
record() {
    note "$state" state "$1" text "${*:2}" job "$SLURM_JOB_ID" at "$(date +%Y-%m-%dT%H:%M:%S%z)"
    printf '%s report job %s: %s %s\n' "$(date +%Y-%m-%dT%H:%M:%S%z)" "$SLURM_JOB_ID" "$1" "${*:2}"
}

unfinished=()
for ((i = 1; i <= tasks; i++)); do
    task=$study/slurm/state/task-$i
    [ "$(noted "$task" state)" = finished ] || {
        unfinished+=("$i")
        printf 'task %s did not finish: %s %s; its log: %s\n' "$i" "$(noted "$task" state)" "$(noted "$task" text)" \
            "$study/slurm/log/task-$i.txt"
    }
done
cd "$folder"
record running
code=0
"${mas[@]}" merge "$study" </dev/null || code=$?
if [ "$code" -gt 1 ]; then
    record failed "merge: exit $code${unfinished[0]:+; unfinished tasks: ${unfinished[*]}}"
    exit "$code"
fi
"${mas[@]}" report "$study" -o "$study/report.html" </dev/null || { code=$? && record failed "report: exit $code" && exit "$code"; }
"${mas[@]}" export "$study" </dev/null >"$study/report.txt" || { code=$? && record failed "export: exit $code" && exit "$code"; }
[ "$code" = 0 ] || echo 'some questions failed or records were rejected: the report names them'
record finished "report in $study/report.html"
SCRIPT
}

# ---- the queue

# queue: INDEX STATE REASON NODE JOB of each task in Slurm, and the same of the report job with the index "report".
# Fails if Slurm does not answer.
queue() {
    local lines
    lines=$(timeout 60 squeue -h -r --name="$name,$name-report" -o '%j|%K|%T|%r|%N|%i' 2>&1) || {
        printf '%s\n' "${lines##*$'\n'}" >&2
        return 1
    }
    awk -F'|' -v name="$name" '$1 == name || $1 == name "-report" {
        print ($1 == name ? $2 : "report"), $3, $4 == "" ? "-" : $4, $5 == "" ? "-" : $5, $6 }' <<<"$lines"
}

# cancelled: INDEX of each task that Slurm still knows as cancelled, "report" for the report job. Slurm forgets the numbers of
# tasks that never started; slurm/jobs has them, by the number of the job.
cancelled() {
    { timeout 60 squeue -h -r --name="$name,$name-report" -t CANCELLED -o '%j|%K|%T|%F' 2>/dev/null || true; } |
        awk -F'|' -v name="$name" -v jobs="$study/slurm/jobs" '
            BEGIN { while ((getline line <jobs) > 0) if (split(line, w, " ") == 5 && w[2] == "tasks") of[w[5]] = w[3] }
            $3 == "CANCELLED" && ($1 == name || $1 == name "-report") {
                list = $1 != name ? "report" : $2 ~ /^[0-9]/ ? $2 : of[$4]
                n = split(list, part, ",")
                for (i = 1; i <= n; i++) {
                    sub(/%.*/, "", part[i])
                    if (split(part[i], end, "-") == 2) for (k = end[1]; k <= end[2]; k++) print k + 0
                    else print part[i]
                }
            }'
}

# held REASON: does somebody keep the job from starting?
held() { [[ $1 = JobHeld* ]]; }

# impossible REASON: does a job with this reason of squeue pend for ever?
impossible() {
    case $1 in
    PartitionConfig | PartitionNodeLimit | PartitionTimeLimit | BadConstraints | DependencyNeverSatisfied) ;;
    AccountNotAllowed | QOSNotAllowed | InvalidAccount | InvalidQOS | AssociationTimeLimit | QOSTimeLimit) ;;
    Assoc*PerJob* | QOSMax*PerJob* | QOSMax*PerNode* | QOSMin*) ;;
    *) return 1 ;;
    esac
}

# ---- --status

# wanted: number of questions of all runs of the study, or nothing before the first task has begun
wanted() {
    local file=$study/shards.json asked records questions cells
    [ -f "$file" ] || return 0
    asked=$(sed -nE 's/^"study": .*"asked": ([0-9]+),.*/\1/p' "$file")
    read -r records questions < <(sed -nE 's/^"data": \{"records": ([0-9]+), "questions": ([0-9]+),.*/\1 \2/p' "$file") || true
    cells=$(sed -nE 's/^"study": .*"models": \[([0-9, ]*)\].*/\1/p' "$file" | tr ',' '\n' | grep -c .) || cells=1
    [[ $asked$records$questions =~ ^[0-9]+$ ]] || return 0
    [ "$asked" = "$records" ] || questions=$asked # a part of the file: its duplicates are not counted apart
    echo $((questions * cells))
}

# starts_of FILE: number of starts of a task since its last submission
starts_of() {
    local restarts
    restarts=$(noted "$1" restarts)
    echo $((${restarts:--1} + 1))
}

status() {
    local i rows='' away='' ended='' known line state reason node job row n log all=0 report here='' attention=0 working=0
    local -A counts=()
    rows=$(queue 2>&1) || { away=${rows:-squeue fails} && rows=''; }
    [ -z "$away" ] || say "Slurm does not answer ($away): the states are those of the folder"
    [ -n "$away" ] || ended=$(cancelled)
    say "study $study: $tasks tasks, job name $name"
    printf '%-6s %-10s %9s %6s  %s\n' task state questions starts note
    for ((i = 1; i <= tasks; i++)); do
        known=$study/slurm/state/task-$i log=$study/slurm/log/task-$i.txt
        n=$(finished "$study/shard-$i-of-$tasks")
        all=$((all + n))
        line=$(awk -v i="$i" '$1 == i { print; exit }' <<<"$rows")
        read -r _ state reason node job <<<"$line" || true
        row=$(noted "$known" text)
        if [ "$(noted "$known" state)" = finished ]; then
            state=finished
        elif [ -n "$line" ]; then
            state=${state,,}
            case $state in
            pending)
                row="$job waits: $reason${row:+; before: $row}"
                if impossible "$reason"; then
                    row="$job never starts: $reason; scancel it and submit with another request"
                    attention=1
                elif held "$reason"; then
                    row="$job is held: $reason; it starts after 'scontrol release $job'"
                    [ "$reason" != JobHeldAdmin ] || row+=", by an administrator"
                    attention=1
                fi
                ;;
            *) row="$job on $node" ;;
            esac
            working=1
        elif [ "$(noted "$known" state)" = failed ]; then
            state=failed attention=1
            row+="; log: $log"
        elif [ -n "$away" ]; then
            state=$(noted "$known" state) && row="since $(noted "$known" at) on $(noted "$known" node)${row:+: $row}"
            working=1
        else
            state=$(noted "$known" state) attention=1
            line=$row
            if [ "$state" = submitted ]; then
                row='never started'
            else
                row="was $state${line:+: $line}; log: $log"
            fi
            if [ "$state" = stopped ] || grep -qx -- "$i" <<<"$ended"; then
                state=cancelled
                row+='; submit again to continue it'
            else
                state=lost
                row+='; not in the queue; submit again'
            fi
        fi
        state=${state:-unknown}
        counts[$state]=$((${counts[$state]:-0} + 1))
        printf '%-6s %-10s %9s %6s  %s\n' "$i" "$state" "$n" \
            "$(starts_of "$known")" "$row"
    done
    for state in "${!counts[@]}"; do here+="${here:+, }${counts[$state]} $state"; done
    say "tasks: $here"
    line=$(wanted)
    say "questions: $all of ${line:-a number not yet known: no task has read the data} finished"
    line=$(awk '$1 == "report" { print; exit }' <<<"$rows")
    report=$(noted "$study/slurm/state/report" state)
    if [ -n "$line" ]; then
        read -r _ state reason node job <<<"$line"
        say "report: job $job ${state,,} ($reason)"
        ! impossible "$reason" && ! held "$reason" || attention=1
        working=1
    else
        row=$(noted "$study/slurm/state/report" text)
        case $report in
        failed) row+="; log: $study/slurm/log/report.txt" ;;
        finished) ;;
        *)
            if grep -qx report <<<"$ended"; then
                report=cancelled row='submit again'
            elif [ -z "$away" ]; then
                report='not in the queue' row='cancelled or lost; submit again'
            fi
            ;;
        esac
        say "report: ${report:-unknown} $row"
        [ "$report" = finished ] || [ -n "$away" ] || attention=1
    fi
    [ $attention = 0 ] || return 1
    if [ "$report" = finished ] && [ $working = 0 ]; then return 0; fi
    [ -z "$away" ] || return 69
    return 75
}

# ---- arguments

mode=submit study='' tasks='' mas='' image=''
check=1 starts=4 lead=120 cpus='' gpus='' time='' at_once='' partition='' report_partition='' mem=''
more=() binds=() arguments=() given=''

count() { # OPTION VALUE MOST: the value is a whole number from 1 to MOST
    if [[ $2 =~ ^[1-9][0-9]{0,7}$ ]] && [ "$2" -le "$3" ]; then return 0; fi
    die 64 "$1 is '$2'; it takes a number from 1 to $3"
}
while [ $# -gt 0 ]; do
    option=$1
    case $option in
    --help) usage && exit 0 ;;
    --dry-run) mode=dry && shift && continue ;;
    --no-check) check='' && shift && continue ;;
    --) shift && arguments=("$@") given=1 && break ;;
    --*=*) value=${1#*=} option=${1%%=*} && shift ;;
    --*) [ $# -ge 2 ] || die 64 "unknown option '$option', or its value is missing; see --help"
        value=$2 && shift 2 ;;
    *) die 64 "unexpected '$1'; options of mas eval stand after --" ;;
    esac
    [ -n "$value" ] || die 64 "$option is ''; it takes a value"
    case $option in
    --status) mode=status study=$value ;;
    --out) study=$value ;;
    --tasks) count --tasks "$value" 100000 && tasks=$value ;;
    --at-once) count --at-once "$value" 100000 && at_once=$value ;;
    --starts) count --starts "$value" 1000 && starts=$value ;;
    --lead) count --lead "$value" 65535 && lead=$value ;;
    --cpus) count --cpus "$value" 100000 && cpus=$value ;;
    --gpus) gpus=$value ;;
    --mem) mem=$value ;;
    --time) time=$value ;;
    --partition) partition=$value ;;
    --report-partition) report_partition=$value ;;
    --sbatch) more+=("$value") ;;
    --mas) mas=$value ;;
    --image) image=$value ;;
    --bind) binds+=("$value") ;;
    *) die 64 "unknown option '$option'; see --help" ;;
    esac
done
[ -n "$study" ] || die 64 "no folder of a study; give --out STUDY or --status STUDY"
# Slurm replaces patterns in the names of logs; a back slash there has another meaning.
[[ $study != *[$'\\\n']* ]] || die 64 "--out is '$study'; it takes a folder without a back slash and without a line break"
cwd=$PWD
[[ $study = /* ]] || study=$cwd/$study
while [[ $study = ?*/ ]]; do study=${study%/}; done

if [ $mode = status ]; then
    [ -f "$study/slurm/study" ] || die 66 "$study has no study: there is no slurm/study in it"
    tasks=$(noted "$study/slurm/study" tasks) name=$(noted "$study/slurm/study" name)
    code=0
    status || code=$?
    exit $code
fi

seconds() { # LIMIT: a time limit of Slurm in seconds; "" if it has another form
    local days=0 t=$1 a b c
    [[ $t =~ ^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$ ]] || return 0
    [[ $t != *-* ]] || { days=${t%%-*} && t=${t#*-}; }
    IFS=: read -r a b c <<<"$t"
    if [[ $1 = *-* ]]; then
        echo $((10#$days * 86400 + 10#$a * 3600 + 10#${b:-0} * 60 + 10#${c:-0}))
    elif [ -n "$c" ]; then
        echo $((10#$a * 3600 + 10#$b * 60 + 10#$c))
    else
        echo $((10#$a * 60 + 10#${b:-0}))
    fi
}
limit=$(seconds "$time")
[ -z "$limit" ] || [ "$limit" -gt "$lead" ] ||
    die 64 "--time is '$time', $limit seconds, and --lead is $lead seconds; a task needs time before it is told to stop"

# ---- the study's own settings: the number of tasks and the options of mas eval stay

old=$study/slurm/study
if [ -f "$old" ]; then
    name=$(noted "$old" name)
    [ -n "$tasks" ] || tasks=$(noted "$old" tasks)
    [ "$tasks" = "$(noted "$old" tasks)" ] ||
        die 73 "$study has $(noted "$old" tasks) tasks, not $tasks; give --tasks $(noted "$old" tasks), or another --out"
    [ -n "$given" ] || eval "arguments=($(noted "$old" arguments))" # words that this script quoted
    [ "$(quoted "${arguments[@]}")" = "$(noted "$old" arguments)" ] || die 73 "$study has other options of mas eval:
  there: $(noted "$old" arguments)
  now:   $(quoted "${arguments[@]}")
give the same ones, or none, or another --out"
    cwd=$(eval "printf '%s' $(noted "$old" folder)")
else
    [ -n "$tasks" ] || die 64 "no --tasks for a new study in $study"
    [ ${#arguments[@]} -gt 0 ] || die 64 "no options of mas eval; give them after --"
    name=mas-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
fi
for argument in "${arguments[@]}"; do
    case $argument in
    --out | --out=* | --shard | --shard=* | --workers | --workers=* | --force-new)
        die 64 "$argument stands after --; tasks have their own --out and --shard, one process and one folder" ;;
    esac
done

if [ -n "$image" ]; then
    [ -f "$image" ] || die 66 "no image $image; build one by tools/scripts/mas.def"
    image=$(realpath -- "$image")
    run_mas=(apptainer exec)
    [ -z "$gpus" ] || run_mas+=(--nv)
    for folder in "$study" "$cwd" "${binds[@]}"; do
        [[ $folder != *[:,]* ]] || die 64 "the folder '$folder' has ':' or ','; the image cannot be given such a folder"
        run_mas+=(--bind "$folder")
    done
    run_mas+=("$image" "${mas:-mas}")
else
    [ ${#binds[@]} = 0 ] || die 64 "--bind needs --image"
    here=$(cd "$(dirname "$0")" && pwd)
    [ -n "$mas" ] || mas=$(command -v mas) || mas=$here/../../build/release/mas
    [ -f "$mas" ] || die 66 "no program $mas; give --mas PROGRAM"
    [ -x "$mas" ] || die 66 "$mas is no program; give --mas PROGRAM"
    mas=$(realpath -e -- "$mas")
    run_mas=("$mas")
fi

# ---- the requests

common=(--nodes=1 --ntasks=1 --requeue --open-mode=append --chdir="$cwd")
[ -z "$time" ] || common+=(--time="$time")
common+=("${more[@]}")
task_request=(--signal="B:USR1@$lead" --job-name="$name" --output="${study//%/%%}/slurm/log/task-%a.txt")
[ -z "$partition" ] || task_request+=(--partition="$partition")
[ -z "$gpus" ] || task_request+=(--gres="gpu:$gpus")
task_request+=(--cpus-per-task="${cpus:-1}")
[ -z "$mem" ] || task_request+=(--mem="$mem")
report_request=(--job-name="$name-report" --output="${study//%/%%}/slurm/log/report.txt")
[ -z "${report_partition:-$partition}" ] || report_request+=(--partition="${report_partition:-$partition}")

# ranges NUMBER..: the numbers as sbatch --array has them; runs of neighbours are one range
ranges() {
    local out='' first='' last='' i
    for i in "$@" end; do
        if [ -n "$last" ] && [ "$i" = $((last + 1)) ]; then
            last=$i
            continue
        fi
        [ -z "$first" ] || { out+=${out:+,}$first && [ "$first" = "$last" ] || out+=${first:+-}$last; }
        first=$i last=$i
    done
    printf '%s' "$out"
}

if [ $mode = dry ]; then
    mapfile -t every < <(seq "$tasks")
    say "# $study/slurm/task.sh" && task_script
    say && say "# $study/slurm/report.sh" && report_script
    say && say "# commands" && say "sbatch --parsable --array=$(ranges "${every[@]}")${at_once:+%$at_once} \
$(quoted "${common[@]}" "${task_request[@]}" "$study/slurm/task.sh")"
    say "sbatch --parsable --dependency=afterany:JOB $(quoted "${common[@]}" "${report_request[@]}" "$study/slurm/report.sh")"
    exit 0
fi

# ---- submission

command -v sbatch >/dev/null || die 69 "no sbatch here; log in where Slurm's commands are"
mkdir -p "$study/slurm/log" "$study/slurm/state" || die 73 "cannot make $study/slurm"
lock=$study/slurm/submitting # a folder: its creation is atomic on NFS too
if ! mkdir "$lock" 2>/dev/null; then
    holder=$(cat "$lock/holder" 2>/dev/null || echo 'an unknown host')
    if [ "${holder% *}" = "$(hostname)" ] && ! kill -0 "${holder##* }" 2>/dev/null; then
        rm -rf -- "$lock"
        mkdir "$lock" || die 73 "cannot take over $lock"
    else
        die 73 "another submission of this study is at work ($holder); if it is not, remove the folder $lock"
    fi
fi
fresh=''
[ -f "$old" ] || fresh=1
kept=$(mktemp -d) # the states before this submission
# leave: removes the lock. A submission that Slurm refused leaves no study, or that of before.
leave() {
    rm -rf -- "$lock"
    if [ -n "$undo" ]; then
        for i in "${needed[@]}"; do # no others: their tasks may be writing
            rm -f -- "$study/slurm/state/task-$i"
            [ ! -f "$kept/task-$i" ] || cp -p -- "$kept/task-$i" "$study/slurm/state/"
        done
    fi
    if [ -n "$undo" ] && [ -n "$fresh" ]; then
        rm -f -- "$old" "$study/slurm/task.sh" "$study/slurm/report.sh"
        rmdir -- "$study/slurm/log" "$study/slurm/state" "$study/slurm" "$study" 2>/dev/null || true
    fi
    rm -rf -- "$kept"
}
undo=1 needed=()
cp -p -- "$study"/slurm/state/* "$kept/" 2>/dev/null || true
trap leave EXIT
echo "$(hostname) $$" >"$lock/holder"
if [ -f "$old" ] && [ "$(noted "$old" name)" != "$name" ]; then # since we looked
    die 73 'another submission has made this study meanwhile; give the same command again'
fi

rows=$(queue) || die 69 "Slurm does not answer; nothing was submitted"
for ((try = 0; try < 60; try++)); do # a task that is ending may be queued again, or not
    grep -q ' COMPLETING ' <<<"$rows" || break
    sleep 1
    rows=$(queue) || die 69 "Slurm does not answer; nothing was submitted"
done
task_script >"$study/slurm/task.sh"
report_script >"$study/slurm/report.sh"
chmod +x "$study/slurm/task.sh" "$study/slurm/report.sh"

needed=() queued=0
for ((i = 1; i <= tasks; i++)); do
    if grep -q "^$i " <<<"$rows"; then
        queued=$((queued + 1))
    elif [ "$(noted "$study/slurm/state/task-$i" state)" != finished ]; then
        needed+=("$i")
    fi
done
if [ ${#needed[@]} = 0 ] && [ $queued = 0 ] && [ "$(noted "$study/slurm/state/report" state)" = finished ]; then
    undo=''
    say "nothing to submit: all $tasks tasks are finished; the report is $study/report.html"
    exit 0
fi

# What a task waits for in vain is better known now. The tasks read the same files later.
if [ -n "$check" ] && [ ${#needed[@]} -gt 0 ]; then
    code=0
    said=$(cd "$cwd" && "${run_mas[@]}" eval --check --quiet "${arguments[@]}" </dev/null 2>&1) || code=$?
    [ $code = 0 ] || die $code "$said
nothing was submitted: 'mas eval --check' refuses the options after --. If only the nodes see the model or the data,
give --no-check"
fi

# asked: the request, and what the partition has, for a refusal
asked() {
    say "asked for: partition ${partition:-the default}, ${cpus:-1} CPUs${mem:+, $mem of memory}${gpus:+, GPUs $gpus}${time:+, time $time}"
    say "there are (sinfo):"
    { timeout 60 sinfo -h -o '  partition %P: %D nodes %t, each %c CPUs, %m MB, GPUs and others: %G; time limit %l' 2>/dev/null || true; } |
        { if [ -n "$partition" ]; then grep "^  partition $partition\*\?:" || say "  no partition $partition"; else cat; fi; }
}

# refuse JOB: cancels a job that would pend for ever, and says why
refuse() {
    local try state reason seen=''
    for ((try = 0; try < 8; try++)); do
        read -r state reason < <(timeout 60 squeue -h -r -j "$1" -o '%T %r' 2>/dev/null | sort -u | tail -n 1) || true
        [ "${state:-gone}" = PENDING ] || return 0
        if impossible "$reason"; then
            # not only on the way; a better name than PartitionConfig often follows
            if [ "$reason" = "$seen" ] && { [ "$reason" != PartitionConfig ] || [ $try = 7 ]; }; then
                scancel "$1"
                die 78 "this request never starts: $reason; job $1 is cancelled. Ask for less, or for another partition
$(asked)"
            fi
            seen=$reason
        elif [ "$reason" != None ]; then
            return 0
        fi
        sleep 0.5
    done
}

jobs=()
if [ ${#needed[@]} -gt 0 ]; then
    array=--array=$(ranges "${needed[@]}")${at_once:+%$at_once}
    said=$(sbatch --test-only "$array" "${common[@]}" "${task_request[@]}" "$study/slurm/task.sh" 2>&1) ||
        die 78 "Slurm refuses the request: $(tail -n 1 <<<"$said")
$(asked)"
    for i in "${needed[@]}"; do
        note "$study/slurm/state/task-$i" state submitted text "$(noted "$study/slurm/state/task-$i" text)"
    done
    job=$(sbatch --parsable "$array" "${common[@]}" "${task_request[@]}" "$study/slurm/task.sh") ||
        die 69 "sbatch fails; nothing was submitted"
    job=${job%%;*}
    [ -f "$old" ] || note "$old" name "$name" tasks "$tasks" folder "$(quoted "$cwd")" arguments "$(quoted "${arguments[@]}")"
    refuse "$job"
    printf '%s tasks %s job %s\n' "$(date +%Y-%m-%dT%H:%M:%S%z)" "${array#--array=}" "$job" >>"$study/slurm/jobs"
    undo=''
    jobs+=("$job")
    say "submitted: job $job, tasks ${array#--array=} of $tasks"
fi
[ $queued = 0 ] || say "already in the queue: $queued of $tasks tasks"
# The report waits for all tasks in the queue. afterany, not afterok: it also runs after a task failed, and names the task.
mapfile -t -O ${#jobs[@]} jobs < <(awk 'NF && $1 != "report" { sub(/_.*/, "", $5); print $5 }' <<<"$rows" | sort -u)
if grep -q '^report ' <<<"$rows"; then
    if [ ${#needed[@]} = 0 ]; then
        say "already in the queue: the report job"
        exit 0
    fi
    timeout 60 scancel --name="$name-report" || die 69 "cannot cancel the former report job"
fi
undo=''
dependency=()
[ ${#jobs[@]} = 0 ] || dependency=(--dependency="afterany$(printf ':%s' "${jobs[@]}")")
note "$study/slurm/state/report" state submitted
job=$(sbatch --parsable "${dependency[@]}" "${common[@]}" "${report_request[@]}" "$study/slurm/report.sh") ||
    die 69 "sbatch fails for the report job; submit again"
job=${job%%;*}
printf '%s report job %s\n' "$(date +%Y-%m-%dT%H:%M:%S%z)" "$job" >>"$study/slurm/jobs"
refuse "$job"
say "submitted: job $job, the report"
say "state: $(quoted "$0" --status "$study")"
