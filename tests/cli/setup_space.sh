#!/usr/bin/env bash
# tools/scripts/setup.sh: a build that cannot fit is refused before it begins. What is built already counts as room.
. "$(dirname "$0")/head.bash"
mkdir -p bin tree/tools/scripts
cp "$MAS_SOURCE/tools/scripts/setup.sh" tree/tools/scripts/
# disk MIB: what df says is free, whatever this disk has
disk() {
    printf '#!/bin/sh\nprintf "Filesystem 1M-blocks Used Available Capacity Mounted\\nx 1 1 %s 1%%%% /\\n"\n' "$1" >bin/df
    chmod +x bin/df
}
check=(env PATH="$dir/bin:$PATH" bash -c '. tree/tools/scripts/setup.sh && space_check 100 && echo fits')

disk 99
expect 1 "need 100 MiB under $dir/tree/build, and 99 MiB are free there (0 MiB are in use)" "${check[@]}"
disk 100
expect 0 fits "${check[@]}"
mkdir tree/build
head -c 2097152 /dev/urandom >tree/build/object.o
disk 98
expect 0 fits "${check[@]}"
disk 90
expect 1 'and 90 MiB are free' "${check[@]}"
exit $bad
