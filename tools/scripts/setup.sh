# shellcheck shell=bash
# Sourced by the other scripts: folders, the packages that a build needs, and quiet steps.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL=C.UTF-8
if command -v ccache >/dev/null; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi
MAS_JOBS=$(nproc) # tests at a time
export MAS_JOBS
MAS_LOGS=$(mktemp -d)
trap 'rm -rf "$MAS_LOGS"' EXIT

say() { printf '%s\n' "$*"; }

die() {
    say "$*" >&2
    exit 1
}

# step NAME COMMAND...: prints the name; the command's output only when it fails.
step() {
    local name=$1 log=$MAS_LOGS/step began=$SECONDS
    shift
    printf '== %s ... ' "$name"
    if "$@" >"$log" 2>&1 </dev/null; then
        printf 'ok (%d s)\n' $((SECONDS - began))
    else
        local rc=$?
        printf 'FAILED\n'
        cat "$log"
        die "== $name failed with exit status $rc: $*"
    fi
}

# The packages, one a line, that hold what is missing here.
packages_missing() {
    command -v gcc >/dev/null || say build-essential
    command -v cmake >/dev/null || say cmake
    command -v ninja >/dev/null || say ninja-build
    command -v pkg-config >/dev/null || say pkg-config
    command -v python3 >/dev/null || say python3 # tests read JSON and CSV with it
    local module package
    while read -r module package; do
        pkg-config --exists "$module" 2>/dev/null || say "$package"
    done <<'END'
yaml-0.1 libyaml-dev
jansson libjansson-dev
cmocka libcmocka-dev
zlib zlib1g-dev
libcrypto libssl-dev
libcurl libcurl4-openssl-dev
libmicrohttpd libmicrohttpd-dev
END
}

# The presets need cmake 3.25.
cmake_check() {
    local version
    version=$(cmake --version | sed -n 's/^cmake version //p')
    [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -n 1)" = 3.25 ] ||
        die "cmake $version is too old: 3.25 or newer is needed (Debian 12, Ubuntu 24.04 have it)"
}

# space_check MIB: ends here, rather than in the middle of a build, where build/ cannot grow to MIB.
space_check() {
    local free used=0
    free=$(df -Pm . | awk 'NR == 2 { print $4 }')
    [ ! -d build ] || used=$(du -sm build | cut -f 1)
    [ $((free + used)) -ge "$1" ] ||
        die "the builds and tests need $1 MiB under $PWD/build, and $free MiB are free there ($used MiB are in use):" \
            "free some space, or clone to another disk"
}

# packages_install PACKAGE...: the named packages, as root or through sudo.
packages_install() {
    local missing=("$@") as_root=()
    command -v apt-get >/dev/null ||
        die "missing: ${missing[*]} (names of Debian and Ubuntu). This is no Debian or Ubuntu:" \
            "install the same libraries and tools with your package manager, then start again."
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            die "missing: ${missing[*]}. Not root and no sudo here; as root: apt-get install ${missing[*]}"
        as_root=(sudo)
        sudo -v || die "missing: ${missing[*]}. sudo is refused; as root: apt-get install ${missing[*]}"
    fi
    step "package lists" "${as_root[@]}" apt-get update
    step "installing ${missing[*]}" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}"
}

# configure PRESET: cmake, from scratch where an older run used another generator.
configure() {
    local cache=build/$1/CMakeCache.txt
    if [ -f "$cache" ] && ! grep -q '^CMAKE_GENERATOR:INTERNAL=Ninja$' "$cache"; then
        rm -rf "build/$1"
    fi
    step "configuring $1" cmake --preset "$1" -G Ninja
}

# prepare [PACKAGE...]: brings what a build needs and is not here, and the named packages.
prepare() {
    local missing
    mapfile -t missing < <(packages_missing)
    missing+=("$@")
    if [ ${#missing[@]} -gt 0 ]; then
        packages_install "${missing[@]}"
    else
        say "== packages ... all here"
    fi
    cmake_check
}
