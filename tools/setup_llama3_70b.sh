#!/usr/bin/env bash
# Prepares this machine for Llama 3 70B (Q4_K_M, 42.5 GB): checks card, driver, main memory and disk, downloads the model
# and the MedQA test set, predicts the speed, and asks one case. Each check is said in plain words. The script may be
# repeated: it continues a download, and keeps what is here. It runs without a GPU, too, and says what that means.
set -euo pipefail
export LC_ALL=C.UTF-8

usage() {
    cat <<'END'
usage: tools/setup_llama3_70b.sh [OPTION..]
  --check      only check the machine; download nothing, run nothing
  --no-case    download and predict, but ask no case
  --dir DIR    folder that gets models/ and data/ (default: the folder of this project)
  --help       this text
The program is build/release/mas, which is built if it is absent, or $MAS. Mirrors, tokens and other addresses:
configs/sources.yaml, or the file that $MAS_SOURCES names. Exit status 0: all went well; 1: something is missing.
END
}

check=no run_case=yes root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) dir=""
while [ $# -gt 0 ]; do
    case $1 in
    --check) check=yes ;;
    --no-case) run_case=no ;;
    --dir) dir=${2:?--dir takes a folder} && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "unknown option '$1'" >&2 && usage >&2 && exit 64 ;;
    esac
    shift
done
dir=${dir:-$root}

say() { printf '%s\n' "$*"; }
title() { printf '\n== %s\n' "$*"; }
fine() { say "ok       $*"; }
note() { say "note     $*"; }
lacks=0
missing() {
    say "missing  $*"
    lacks=1
}
gb() { awk -v n="$1" 'BEGIN { printf "%.1f GB", n / 1e9 }'; }

# ---- the program --------------------------------------------------------------------------------------------------
title "program"
mas=${MAS:-$root/build/release/mas}
if [ ! -x "$mas" ] && [ $check = no ] && [ -z "${MAS:-}" ]; then
    (
        # shellcheck source=tools/scripts/setup.sh
        . "$root/tools/scripts/setup.sh"
        prepare
        configure release
        step "building release" cmake --build --preset release --target mas
    )
fi
if [ -x "$mas" ]; then
    fine "$("$mas" version | head -n 1): $mas"
else
    missing "there is no program $mas; tools/demo.sh builds it"
fi

# ---- the card -----------------------------------------------------------------------------------------------------
# field NUMBER: of the line of nvidia-smi
field() { cut -d, -f"$1" <<<"$card" | sed 's/^ *//; s/ *$//'; }
# fit_name CARD MIB: the name that mas fit knows for the card; empty: none
fit_name() {
    local text=${1^^}
    case $text in
    *3060*) echo rtx3060 ;; *3090*) echo rtx3090 ;; *4080*) echo rtx4080 ;; *4090*) echo rtx4090 ;;
    *5090*) echo rtx5090 ;; *A6000*) echo a6000 ;; *L40S*) echo l40s ;; *H200*) echo h200 ;; *H100*) echo h100 ;;
    *A100*) [ "$2" -gt 50000 ] && echo a100-80g || echo a100-40g ;;
    esac
}
title "card and driver"
card=""
if command -v nvidia-smi >/dev/null; then
    card=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader,nounits 2>/dev/null | head -n 1 || true)
fi
name="" vram=0
if [[ $card == *,*,* ]]; then
    name=$(field 1) vram=$(field 2) driver=$(field 3)
    [[ $vram =~ ^[0-9]+$ ]] || vram=0
    fine "$name with $vram MiB of memory, driver $driver"
    if [ "${driver%%.*}" -ge 580 ] 2>/dev/null; then
        fine "the driver runs programs of CUDA 12 and 13"
    elif [ "${driver%%.*}" -ge 525 ] 2>/dev/null; then
        note "the driver runs programs of CUDA 12; a program built with CUDA 13 needs driver 580 or newer"
    else
        missing "driver $driver is too old: 525 or newer is needed, 580 for a program built with CUDA 13"
    fi
    if [ "$vram" -lt 8000 ]; then
        note "$vram MiB are little: most of each step will be computed by the processor"
    fi
    if [ -x "$mas" ] && "$mas" generate -m demo --quiet -p x -n 1 --backend cuda >/dev/null 2>&1; then
        fine "the program computes on this card"
    elif [ -x "$mas" ]; then
        note "the program does not compute on this card: $("$mas" generate -m demo --quiet -p x -n 1 --backend cuda 2>&1 |
            sed -n 's/^mas: //p' | head -n 1); the processor will compute"
        name=
    fi
else
    note "this machine has no NVIDIA card that nvidia-smi shows: the processor will compute, and each step reads the whole model from main memory"
fi

# ---- memory and disk ----------------------------------------------------------------------------------------------
need=42520000000 # bytes of the model
file=$dir/models/Meta-Llama-3-70B-Instruct-Q4_K_M.gguf
here=0
if [ -f "$file" ]; then
    need=$(stat -L -c %s "$file")
    here=$need
elif [ -f "$file.part" ]; then
    here=$(stat -L -c %s "$file.part")
fi
title "main memory"
ram=$(awk '/^MemAvailable:/ { print $2 * 1024 }' /proc/meminfo)
on_card=0
[ -z "$name" ] || on_card=$((vram * 1048576 * 8 / 10))
want=$((need > on_card ? need - on_card : 0))
want=$((want + 2000000000))
fits=yes
if awk -v a="$ram" -v b="$want" 'BEGIN { exit !(a >= b) }'; then
    fine "$(gb "$ram") are available; the part of the model that is not on the card needs about $(gb "$want")"
else
    fits=no
    missing "$(gb "$ram") are available, about $(gb "$want") are needed: close other programs, add memory, or take llama3-8b"
fi
title "disk"
place=$dir
while [ ! -d "$place" ]; do place=$(dirname "$place"); done
free=$(df -P -B1 "$place" | awk 'NR == 2 { print $4 }')
rest=$((need > here ? need - here : 0))
if [ "$rest" = 0 ]; then
    fine "the model is here: $file"
elif awk -v a="$free" -v b="$((rest + 1000000000))" 'BEGIN { exit !(a >= b) }'; then
    fine "$(gb "$free") are free in $place; $(gb "$rest") are still to download"
else
    missing "$(gb "$free") are free in $place, $(gb $((rest + 1000000000))) are needed; choose another place with --dir"
    [ $check = yes ] || { say && say "stopped before the download" && exit 1; }
fi
if [ $check = yes ]; then
    say
    if [ $lacks = 0 ]; then
        say "this machine can run the model"
    else
        say "the lines that begin with 'missing' name what is lacking"
    fi
    exit $lacks
fi
[ -x "$mas" ] || { say && say "stopped: there is no program" && exit 1; }

# ---- model, data, prediction, one case ------------------------------------------------------------------------------
mas=$(realpath "$mas")
[ -z "${MAS_SOURCES:-}" ] || MAS_SOURCES=$(realpath "$MAS_SOURCES")
mkdir -p "$dir"
cd "$dir"
title "model (an interrupted download continues with the same command)"
"$mas" pull llama3-70b || { say && say "stopped: the model is not here" && exit 1; }
title "questions"
"$mas" pull medqa || { say && say "stopped: the questions are not here" && exit 1; }
title "prediction"
fit=$(fit_name "$name" "$vram")
if [ -n "$fit" ]; then
    "$mas" fit -m llama3-70b --gpu "$fit" --vram "$((vram * 95 / 100))MiB" || lacks=1
else
    note "no prediction for ${name:-a machine without a card}; this is the model on a card of 24 GB:"
    "$mas" fit -m llama3-70b --gpu rtx4090 || lacks=1
fi
if [ $run_case = yes ] && [ $fits = no ]; then
    title "one case"
    note "not asked: main memory is too small, see above"
elif [ $run_case = yes ]; then
    title "one case"
    status=0
    "$mas" run -c "$root/configs/llama3_70b.yaml" \
        -q "A 65-year-old man has had crushing chest pain for an hour. ECG: ST elevation in II, III and aVF." \
        -o "A. Reflux disease||B. Acute myocardial infarction||C. Pericarditis||D. Aortic dissection" || status=$?
    [ $status = 0 ] || { missing "the case ended with status $status" && lacks=1; }
fi
say
if [ $lacks = 0 ]; then
    say "ready. Next: cd $dir && $mas eval --config $root/configs/llama3_70b.yaml --n 10"
else
    say "not everything went well: the lines that begin with 'missing' say what is lacking"
fi
exit $lacks
