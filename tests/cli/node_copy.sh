#!/usr/bin/env bash
# mas eval --node-copy with damaged, short and stale copies, folders without room or permission, and many processes at once. Each
# gets the answers of a run without a copy, or an error that says what to do. The store is read once.
. "$(dirname "$0")/head.bash"
data=${MAS_SOURCE:?root of the source tree}/configs/demo/questions.jsonl
mkdir store copies
cp "$MAS_SOURCE/configs/demo/toy_mini.gguf" store/m.gguf
ask() { # OUT [OPTION..]
    local out=$1
    shift
    "$MAS" eval -c demo -m "$dir/store/m.gguf" --data "$data" -n 3 -s direct --quiet --out "$out" "$@" </dev/null
}
answers() { cut -d, -f1-5 "$1/results.csv"; }
same() { [ "$(answers "$1")" = "$(answers plain)" ] && [ "$(answers "$1" | wc -l)" = 4 ] || fault "$1: other answers"; }
flip() { # FILE BYTE: one bit
    python3 -c "f = open('$1', 'r+b'); f.seek($2); b = f.read(1)[0]; f.seek($2); f.write(bytes([b ^ 4]))"
}
fresh() { rm -rf copies && mkdir copies; }
expect 0 '' ask plain

# ---- eight processes at once: one copies, and it alone opens the original
traced=$(command -v strace) && "$traced" -o /dev/null true 2>/dev/null || traced=
[ -n "$traced" ] || echo "not counted: strace does not run here, so openings of the original are not seen"
pids=()
for i in 1 2 3 4 5 6 7 8; do
    (
        cmd=("$MAS" eval -c demo -m "$dir/store/m.gguf" --data "$data" -n 3 -s direct --quiet --out "many-$i" --node-copy copies)
        [ -z "$traced" ] || cmd=(env "ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" "$traced" -f -qq -e trace=openat -o "opened-$i" "${cmd[@]}")
        exec "${cmd[@]}" </dev/null >/dev/null 2>"said-$i"
    ) &
    pids+=($!)
done
for i in 1 2 3 4 5 6 7 8; do
    wait "${pids[i - 1]}" || fault "process $i of 8: exit code $?: $(cat "said-$i")"
    same "many-$i"
done
[ "$(cat said-? | grep -c 'copied to')" = 1 ] || fault "copies made: $(cat said-? | grep -c 'copied to'), want 1"
[ "$(cat said-? | grep -c 'the copy is')" = 7 ] || fault "copies found: $(cat said-? | grep -c 'the copy is'), want 7"
if [ -n "$traced" ]; then
    [ "$(cat opened-? | grep -c "\"$dir/store/m.gguf\", O_RDONLY")" = 1 ] ||
        fault "the original was opened $(cat opened-? | grep -c "\"$dir/store/m.gguf\", O_RDONLY") times, want 1"
    [ "$(cat opened-? | grep -c "m.gguf\", O_RDONLY")" -ge 9 ] || fault "the copies are not seen"
fi
copy=$(echo copies/*/m.gguf)
cmp store/m.gguf "$copy" || fault "the copy differs"

# ---- a flipped bit in the weights: the bytes are not those that were copied; also by workers; without the copy all is well
flip "$copy" 1200000
expect 65 "$copy is not what was copied: sha256 " ask bit --node-copy copies
expect 65 'remove it, and it is copied again' ask bit --node-copy copies
expect 65 "$copy is not what was copied: sha256 " ask bit2 --node-copy copies --workers 2
[ ! -e bit/results.csv ] || fault "a damaged copy has given answers"
expect 0 '' ask bit
rm "$copy"
expect 0 'copied to copies/' ask mended --node-copy copies
same mended

# ---- a flipped bit in the head, where the file no longer is a model
flip "$copy" 30
expect 65 'this file is a copy: remove it, and it is copied again' ask head --node-copy copies
rm "$copy"

# ---- a short file, one without its record, and one of an older original: copied again
expect 0 'copied to' ask short1 --node-copy copies
truncate -s 1000000 "$copy"
expect 0 'copied to' ask short2 --node-copy copies
same short2
rm copies/*/from
expect 0 'copied to' ask record --node-copy copies
touch -d '2001-01-01' store/m.gguf
expect 0 'copied to' ask stale --node-copy copies
same stale
expect 0 'the copy is' ask stale2 --node-copy copies

# ---- a process that died while it copied has left a lock and a part
fresh
ask died --node-copy copies >/dev/null 2>&1
rm copies/*/from
head -c 500000 store/m.gguf >"$copy"
expect 0 'copied to' ask died2 --node-copy copies
same died2

# ---- a folder that is a file, and folders without permission. root may write everywhere: another user is taken then
fresh
: >file
expect 73 'cannot create the folder file/' ask no --node-copy file
other=()
[ "$(id -u)" != 0 ] || other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
mkdir closed out
chmod 755 "$dir" closed
chmod 777 out
[ "$(id -u)" = 0 ] || chmod 555 closed
if "${other[@]}" cat store/m.gguf "$data" >/dev/null 2>&1 && "${other[@]}" "$MAS" version >/dev/null 2>&1; then
    as() { "${other[@]}" "$MAS" eval -c demo -m "$dir/store/m.gguf" --data "$data" -n 3 -s direct --quiet "$@" </dev/null; }
    expect 73 'Permission denied; name a folder that you may write' as --out out/no --node-copy closed
    chmod 755 closed
    expect 0 'copied to' ask mine --node-copy closed
    chmod -R a-w closed
    expect 0 'the copy is' as --out out/theirs --node-copy closed # a whole copy needs no writing
    same out/theirs
    chmod -R u+w closed
    touch store/m.gguf # the copy is stale now
    [ "$(id -u)" = 0 ] || chmod -R a-w closed
    expect 73 'Permission denied; name a folder that you may write' as --out out/old --node-copy closed
    chmod -R u+w closed
else
    echo "not tried: no other user can read the tree, so no folder is without permission"
fi

# ---- a full disk: a limit of the file size, and a small file system
(
    ulimit -f 500 # KiB
    trap '' XFSZ
    expect 74 'ulimit -f' ask full --node-copy copies
    exit $bad
) || bad=1
[ ! -e copies/*/from ] || fault "a full disk has left a record"
expect 0 'copied to' ask full --node-copy copies
same full
if mkdir tiny && mount -t tmpfs -o size=300k none tiny 2>/dev/null; then
    expect 74 'bytes free there; make room' ask tiny-out --node-copy tiny
    [ -z "$(find tiny -name 'm.gguf*')" ] || fault "a full disk has left a part"
    umount tiny
else
    echo "not tried: no tmpfs can be mounted"
fi
exit $bad
