#!/usr/bin/env bash
# Everything that must hold before a change goes in: installs what is missing, builds with sanitizers,
# runs the threaded tests under ThreadSanitizer, then all tests under AddressSanitizer and
# UndefinedBehaviorSanitizer. The last thing printed is ctest's summary. usage: tools/test.sh
. "$(dirname "$0")/setup.sh"

prepare
configure asan
configure tsan

# Sanitizers of older compilers do not stand the address randomisation of newer kernels.
fixed_addresses=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
    fixed_addresses=(setarch "$(uname -m)" -R)
fi

tests() { # PRESET ARGUMENT...
    local preset=$1
    shift
    "${fixed_addresses[@]}" ctest --test-dir "build/$preset" --output-on-failure -j "$MAS_JOBS" "$@"
}

step "building asan" cmake --build --preset asan
mapfile -t threaded < <(ctest --test-dir build/tsan -N -L threads | sed -n 's/^ *Test *#[0-9]*: //p')
if [ ${#threaded[@]} -gt 0 ]; then
    step "building tsan" cmake --build --preset tsan --target "${threaded[@]}"
    step "threaded tests under ThreadSanitizer (${#threaded[@]})" tests tsan -L threads
else
    say "== no threaded tests"
fi
say "== all tests under AddressSanitizer and UndefinedBehaviorSanitizer"
tests asan
