#!/usr/bin/env bash
# Runs every check that a change must pass. Installs missing packages and builds with sanitizers. Runs the threaded
# tests under ThreadSanitizer, and the CUDA kernels, on the host, under the race checker. Then runs all tests under
# AddressSanitizer and UndefinedBehaviorSanitizer. The last lines are ctest's summary. usage: tools/test.sh [PACKAGE...]
# PACKAGE: installed as well, for tests that are skipped without it: gcc-aarch64-linux-gnu libc6-dev-arm64-cross
# qemu-user-static (tests/cross), clang-format-14 (tests/lint/format.sh).
. "$(dirname "$0")/scripts/setup.sh"

more=()
for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || more+=("$package")
done
prepare "${more[@]}"
space_check 3000
configure asan
configure tsan
configure race

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
mapfile -t raced < <(ctest --test-dir build/race -N -L race | sed -n 's/^ *Test *#[0-9]*: \(t_.*\)/\1/p') # programs; the rest are scripts
if [ ${#raced[@]} -gt 0 ]; then
    step "building race" cmake --build --preset race --target "${raced[@]}"
    step "CUDA kernels under the race checker (${#raced[@]})" tests race -L race
else
    say "== no CUDA headers: CUDA kernels are not run"
fi
say "== all tests under AddressSanitizer and UndefinedBehaviorSanitizer"
tests asan
