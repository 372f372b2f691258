#!/usr/bin/env bash
# The lints are tested too: a small good tree passes, and one violation of each rule is found by name.
# shellcheck disable=SC2016 # back quotes are Markdown here
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
count=0

good_tree() {
    rm -rf "$tmp/tree" "$tmp/build"
    mkdir -p "$tmp/build" "$tmp/tree"/{kernels/core,kernels/cuda,loader,runtime/config,runtime/engine,agents,tools/cmd,tests/unit,tests/cudahost,configs}
    cd "$tmp/tree"
    printf 'int err_exit(int);\n' >kernels/core/err.h
    printf '#include <stdlib.h>\nvoid check(void) { abort(); } /* ours */\n' >kernels/core/check.c
    printf '#include <stdlib.h>\nvoid *mem(void) { return malloc(1); }\n' >kernels/core/mem.c
    printf 'struct ops;\n' >kernels/ops.h
    printf '#include <cuda_runtime.h>\n#include <mma.h>\n' >kernels/cuda/ops_cuda.cu
    printf 'asm("nop");\n' >kernels/cuda/ptx.cuh
    printf '#include "err.h"\nint gguf(void); // exit(1), malloc(2), <<<1>>>, asm("x")\n' >loader/gguf.h
    printf '#include <openssl/evp.h>\n' >loader/sha256.c
    printf '#include "gguf.h"\n#include <yaml.h>\nstatic const char *s = "exit(1)";\n' >runtime/config/config.c
    printf 'int config;\n' >runtime/config/config.h
    printf '#include <zlib.h>\nint f(void) { return err_exit(1) + x->exit(2) + on_abort(); }\n' >runtime/zio.c
    printf '#include "ops.h"\n' >runtime/engine/engine.h
    printf '#include "engine.h"\n' >agents/llm_local.c
    printf '#include "config.h"\n#include "err.h"\n#include "llm.h"\n' >agents/run.c
    printf 'int llm;\n' >agents/llm.h
    printf '#include "llm.h"\n#include "engine.h"\n#include <stdlib.h>\nint main(void) { exit(!getenv("X")); }\n' >tools/mas.c
    printf 'int cmd_run(void) { return FAIL(e, 1, "cannot run %%s: ..", "A b."); }\n' >tools/cmd/cmd_run.c
    printf 'X(run)\n' >tools/cmd/commands.def
    printf '#include "mas.h"\n#include <zlib.h>\nint main(void) { exit(1); }\n' >tests/unit/t_run.c
    printf 'int mas;\n' >tools/mas.h
    printf '# mas\n\n`mas run` runs, see `tools/mas.c`.\n\n```\n$ mas run -q x\nan answer\n```\n' >README.md
    for room in kernels loader runtime agents configs tools tests; do printf 'A room.\n' >"$room/README.md"; done
    printf '# tools\n\n| `mas run` | takes a case |\n' >tools/COMMANDS.md
}

# expect LINT STATUS TEXT
expect() {
    local out rc=0
    out=$(cd "$tmp/build" && bash "$here/$1.sh" "$tmp/tree" 2>&1) || rc=$?
    count=$((count + 1))
    if [ "$rc" -ne "$2" ] || [[ $out != *"$3"* ]]; then
        printf '%s: want status %d with "%s", got %d:\n%s\n' "$1" "$2" "$3" "$rc" "$out"
        failed=$((failed + 1))
    fi
}

# red LINT FILE LINE TEXT: the line, appended to the file, makes the lint fail with the text.
red() {
    good_tree
    mkdir -p "$(dirname "$2")"
    printf '%s\n' "$3" >>"$2"
    expect "$1" 1 "$4"
}

good_tree
for lint in layers messages docs options prose; do
    expect "$lint" 0 'clean'
done

# comments
red docs agents/run.c 'int x; /* as in caller.c */' 'agents/run.c:4: a comment names caller.c, which does not exist'
red docs agents/run.c '// see llm_nowhere() for it' 'agents/run.c:4: a comment names llm_nowhere()'
good_tree
printf '/* config.h,\n * mem.c and f_real(); <x.h>, _a.c, *.c */ int f_real(void); const char *s = "no.c /* no.c */";\n' >>agents/run.c
expect docs 0 'clean'

# 1: arrows
red layers kernels/ops.h '#include "gguf.h"' 'kernels/ops.h:2: kernels includes loader/gguf.h'
red layers loader/gguf.h '#include "config.h"' 'loader/gguf.h:3: loader includes runtime/config/config.h'
red layers runtime/zio.c '# include "llm.h"' 'runtime/zio.c:3: runtime includes agents/llm.h'
red layers agents/run.c '#include "mas.h"' 'agents/run.c:4: agents includes tools/mas.h'
red layers agents/run.c '#include "nowhere.h"' '"nowhere.h", which is not in the tree'
# 2: CUDA, C++
red layers runtime/zio.c '#include <cuda.h>' 'runtime/zio.c:3: CUDA header'
red layers kernels/ops.h '#include <cublas_v2.h>' 'kernels/ops.h:2: CUDA header'
red layers loader/fast.cpp 'int x;' 'loader/fast.cpp:1: C++'
red layers tests/unit/t_k.cu 'int x;' 'tests/unit/t_k.cu:1: C++'
# 3: homes
red layers runtime/zio.c '#include <yaml.h>' 'runtime/zio.c:3: library header <yaml'
red layers tools/mas.c '#include <nvtx3/nvToolsExt.h>' 'library header <nvtx3/'
red layers agents/run.c '#include <zlib.h>' 'agents/run.c:4: library header <zlib'
red layers agents/run.c '#include <openssl/sha.h>' 'agents/run.c:4: library header <openssl'
red layers runtime/zio.c '#include <dlfcn.h>' 'runtime/zio.c:3: library header <dlfcn'
good_tree
printf '#include <curl/curl.h>\n' | tee loader/one.c >loader/two.c
expect layers 1 'loader/one.c:1: library <curl/> has a second home: loader/two.c'
# 4: agents and the model
red layers agents/run.c '#include "engine.h"' 'agents/run.c:4: agents include runtime/engine/engine.h'
red layers agents/llm.h '#include "ops.h"' 'agents/llm.h:2: agents include kernels/ops.h'
# 5: backends
red layers runtime/engine/seq.c '#include "engine.h"' 'runtime/engine/seq.c:1: the runtime includes engine.h'
red layers runtime/engine/engine.h 'int ops_cuda_open(void);' 'runtime/engine/engine.h:2: names a backend'
red layers loader/gguf.h 'extern struct ops ops_ref;' 'loader/gguf.h:3: names a backend'
# 6: process, memory, variables
red layers runtime/zio.c 'int g(void) { return !getenv("HOME"); }' 'runtime/zio.c:3: getenv, exit or abort'
red layers agents/run.c 'void g(void) { /* bye */ exit (1); }' 'agents/run.c:4: getenv, exit or abort'
red layers kernels/ops.h 'static void g(void) { abort(); }' 'kernels/ops.h:2: getenv, exit or abort'
red layers loader/gguf.h 'void *g(void) { return malloc(1); }' 'loader/gguf.h:3: allocation outside'
red layers runtime/zio.c 'char *g(void) { return strdup("x"); }' 'runtime/zio.c:3: allocation outside'
red layers agents/run.c 'int g(void) { return rename("a", "b"); }' 'agents/run.c:4: writes a file outside'
red layers tools/mas.c 'int g(void) { return open("a", O_WRONLY | O_CREAT); }' 'tools/mas.c:5: writes a file outside'
red layers runtime/zio.c 'void *g(void) { return fopen("a", "w"); }' 'runtime/zio.c:3: fopen outside kernels'
for variable in 'static int counter = 1' 'int global' 'static _Thread_local int mine' 'char *const *table[4]'; do
    good_tree
    printf '%s;\nconst void *user(void) { return &%s; }\nstatic const char *const words[] = {"a", "b"};\nconst char *word(int i) { return words[i]; }\n' \
        "$variable" "$(sed -E 's/.* \**//; s/ =.*//; s/\[.*//' <<<"${variable% = 1}")" >loader/state.c
    gcc -std=c11 -O1 -fPIE -c loader/state.c -o "$tmp/build/state.c.o"
    ar rcs "$tmp/build/libloader.a" "$tmp/build/state.c.o"
    expect layers 1 'loader/state.c:1: writable variable'
done
good_tree
printf 'static const char *const words[] = {"a", "b"};\nconst char *word(int i) { return words[i]; }\n' >loader/state.c
gcc -std=c11 -O1 -fPIE -c loader/state.c -o "$tmp/build/state.c.o"
ar rcs "$tmp/build/libloader.a" "$tmp/build/state.c.o"
expect layers 0 'clean'
# names, host shim
red layers agents/gguf.h 'int x;' 'a second file named gguf.h'
red layers kernels/cuda/ops_cuda.cu 'asm volatile("bar.sync 0;");' 'ops_cuda.cu:3: inline assembly'
red layers kernels/core/mem.c '__asm__("nop");' 'kernels/core/mem.c:3: inline assembly'
red layers kernels/cuda/ops_cuda.cu 'k<<<1, 2>>>(x);' 'ops_cuda.cu:3: a launch'
# messages
red messages tools/a.c $'argp_error(st, "bad --n \'%s\': must be 1", x);' "NAME is 'VALUE'; it takes RULE"
red messages tools/a.c $'FAIL(e, ERR_USAGE, "bad %s \'%s\': must be 1", n, x);' "NAME is 'VALUE'; it takes RULE"
red messages loader/a.c 'FAIL(e, ERR_DATA, "Cannot open %s", x);' 'loader/a.c:1: message begins upper case'
red messages tools/a.c $'    return err_set(e, f(x),\n                   "The end");' 'begins upper case: The end'
red messages agents/a.c 'log_warn("Slow");' 'begins upper case: Slow'
red messages agents/a.c 'log_warn("slow\n");' 'holds a line break'
red messages agents/a.c 'FAIL(e, ERR_IO, "too " "slow.");' 'ends with a full stop'
good_tree
printf 'FAIL(e, ERR_IO, "GGUF %%s is cut ..");\nFAIL(e, x, "%%d A. b");\n' >loader/a.c
expect messages 0 'clean'
# docs
red docs tools/x.sh $'#!/bin/sh\nexit' 'tools/x.sh:1: begins with #! and is not executable'
red docs tools/cmd/commands.def 'X(eval)' 'tools/COMMANDS.md:1: no entry for `mas eval`'
red docs README.md 'Use `mas fly` for more.' "README.md:9: there is no command 'mas fly'"
red docs README.md $'```\nbuild/release/mas fly -x\n```' "there is no command 'mas fly'"
red docs README.md 'See `tools/none.sh`.' 'README.md:9: there is no tools/none.sh'
red docs agents/README.md '`tools/mas.c`, `tools/none.c`' 'agents/README.md:2: there is no tools/none.c'
red docs agents/README.md '    build/release/mas fly -x' "agents/README.md:2: there is no command 'mas fly'"
red docs agents/README.md '[the card](../configs/none.md)' 'agents/README.md:2: a link to ../configs/none.md'
good_tree
rm agents/README.md
expect docs 1 'agents/README.md:1: a room without a README'
red docs configs/a.yaml "model: /hom""e/somebody/model.gguf" 'configs/a.yaml:1: a path of one machine'

# prose
words() { # N: a sentence of N words
    printf 'One'
    for ((i = 2; i <= $1; i++)); do printf ' more'; done
    printf '.'
}
red prose loader/gguf.h "/* $(words 26) */" 'loader/gguf.h:3: 26 words in a sentence (at most 25): One more more more more ..'
red prose loader/gguf.h $'/*\n * Short. '"$(words 12)"$'\n *\n * '"$(words 26)"$'\n */' 'loader/gguf.h:6: 26 words'
red prose kernels/cuda/ptx.cuh "int a; /* $(words 26) */" 'kernels/cuda/ptx.cuh:2: 26 words'
red prose agents/llm.h '/* What it holds. */' 'agents/llm.h:2: a sentence begins with "What": name the thing'
red prose agents/llm.h 'int a; /* who owns it */' 'agents/llm.h:2: a sentence begins with "who"'
red prose agents/llm.h $'/* The end.\n * Where it lies. */' 'agents/llm.h:3: a sentence begins with "Where"'
red prose README.md "- $(words 26)" 'README.md:9: 26 words in a sentence'
red prose README.md "| a | $(words 26) |" 'README.md:9: 26 words in a sentence'
red prose agents/NOTES.md 'What follows is short.' 'agents/NOTES.md:1: a sentence begins with "What"'
red prose README.md "$(yes a. | head -130)" 'lines, at most 120'
red prose agents/README.md "$(yes a. | head -60)" 'agents/README.md:61: 61 lines, at most 60'
good_tree
{
    printf '/* %s %s\n *\n *     %s\n' "$(words 25)" "$(words 25)" "$(words 30)"
    printf ' * - %s\n *   %s\n * - %s\n' "$(words 13)" "$(words 25)" "$(words 25)"
    printf ' *   key   %s\n *   next  %s\n * f(a, b, c) and `a b c d`; %s */\n' "$(words 25)" "$(words 25)" "$(words 22)"
    printf 'const char *s = "/* What %s";\n' "$(words 30)"
} >>loader/gguf.h
printf '## What a byte costs\n\n%s `%s` [a](b c d).\n\n```\nWhat %s\n```\n' "$(words 22)" "$(words 30)" "$(words 30)" >agents/NOTES.md
printf '1, 2, 3.5 and 4 %% of 5 %s\n' "$(words 23)" >>agents/NOTES.md
expect prose 0 'clean'

# mutants
good_tree
printf 'int a = 1;\n' >kernels/cuda/x.cu
printf '# list\nplus\tx.cu\ts/= 1/= 2/\tkilled\ta sum\n' >tests/cudahost/mutants.tsv
expect mutants 0 'clean'
printf 'gone\tx.cu\ts/= 3/= 2/\tkilled\ta sum\n' >>tests/cudahost/mutants.tsv
expect mutants 1 'mutants.tsv:3: gone changes nothing'
printf 'none\ty.cu\ts/a/b/\tkilled\ta sum\n' >>tests/cudahost/mutants.tsv
expect mutants 1 'mutants.tsv:4: none: there is no kernels/cuda/y.cu'

# format
good_tree
cp "$here/../../.clang-format" .
find . \( -name '*.[ch]' -o -name '*.cu' \) -exec clang-format-14 -i {} + 2>/dev/null || true
printf '/* %090d */\n' 0 >loader/a.c
expect format 0 'clean'
printf '/* %095d */\n' 0 >loader/a.c
expect format 1 'loader/a.c:1: 101 columns'
if command -v clang-format-14 >/dev/null; then
    printf 'int  a;\n' >loader/a.c
    expect format 1 'loader/a.c:1: run clang-format 14'
fi

# options
option_tree() { # with mas run and mas eval, and an engine's options
    good_tree
    mkdir -p runtime/engine
    printf 'X(int, n_ctx, INT, "max_context_length", "ctx", 0, "N", 1)\n' >runtime/engine/options.def
    printf 'x = cli_engine_init; /* --nothing */\n' >tools/cmd/cli.c
    printf 'const struct argp_option c[] = {{"set", OPT_SET, "K", 0, "x", 1}, {0}};\n' >tools/cmd/clinic.c
    printf 'const struct argp_option d[] = {{"out", 1, "DIR", 0, "x", 1}, {0}}; x = clinic_argp;\n' >>tools/cmd/cmd_run.c
    printf 'const struct argp_option f[] = {{"out", 1, "DIR", 0, "x", 1}, {"repair", 2, 0, 0, "x", 1}, {0}}; x = clinic_argp;\n' >tools/cmd/cmd_eval.c
}
red_option() { # FILE LINE TEXT
    option_tree
    printf '%s\n' "$2" >>"$1"
    expect options 1 "$3"
}
option_tree
printf 'FAIL(e, 1, "x; lower --ctx");\n' >loader/a.c
printf 'FAIL(e, 1, "x; choose another --out, use --set, or mas eval --repair");\n' >agents/b.c
printf 'FAIL(e, 1, "x; start again by mas eval "\n     "--repair");\n' >>agents/b.c
printf 'FAIL(e, 1, "bad --ctx"); argp_error(st, "see --help");\n' >>tools/cmd/cli.c
printf 'FAIL(e, 1, "--out or --set");\n' >>tools/cmd/cmd_run.c
expect options 0 'clean'
red_option loader/a.c 'FAIL(e, 1, "lower --ctxx");' 'loader/a.c:1: no command that opens an engine has --ctxx'
red_option kernels/a.cu 'f(x ? "raise --ctx, " : "raise --vram, ");' 'kernels/a.cu:1: no command that opens an engine has --vram'
red_option tools/cmd/cli.c 'struct argp_option g = {"vram", 2, "N", 0, "x", 1}; FAIL(e, 1, "--cpu");' 'tools/cmd/cli.c:1: no option --cpu here'
option_tree
printf 'X(uint64_t, a, BYTES, "b.c", "vram", 0)\n' >>runtime/engine/options.def
printf 'FAIL(e, 1, "raise --vram");\n' >loader/a.c
expect options 0 'clean'
red_option agents/b.c 'FAIL(e, 1, "use --repair");' 'agents/b.c:1: mas run, which prints this, has no --repair'
red_option agents/b.c 'FAIL(e, 1, "mas eval --fresh");' 'agents/b.c:1: mas eval has no --fresh'
red_option tools/cmd/cmd_run.c 'FAIL(e, 1, "choose " "another --dir");' 'tools/cmd/cmd_run.c:1: no option --dir here'
red_option tools/cmd/cmd_run.c 'const struct argp_option h = {"ctx", 2, "N", 0, "x", 1};' 'tools/cmd/cmd_run.c:3: --ctx is a row of a table; take it by name'
red_option tools/cmd/cmd_run.c 'const struct cli_row h = {.flag = "ctx", .absent = true}; cli_engine_init(&c); FAIL(e, 1, "--ctx");' 'tools/cmd/cmd_run.c:1: no option --ctx here'
option_tree
printf 'const struct argp_option h = {"ctx", 2, "N", 0, "same as --set max_context_length=N", 1};\n' >>tools/cmd/cmd_run.c
printf 'const struct argp_option h = {"ctx", 2, "N", 0, "x", 1}; cli_option(st, &set, "ctx", arg, o);\n' >>tools/cmd/cmd_eval.c
printf 'const struct cli_row h = {.flag = "ctx"}; FAIL(e, 1, "--ctx");\n' >tools/cmd/cmd_fit.c
printf 'X(const char *, a, STRING, "b.c",\n  "model", 0)\n' >>runtime/engine/options.def
printf 'const struct argp_option h = {"model", 2, "FILE", 0, "x", 1};\n' >>tools/cmd/cmd_fit.c
expect options 0 'clean'
red_option runtime/config/config_x.c 'FAIL(e, 1, "--sett");' 'runtime/config/config_x.c:1: no command'

# knobs: every setting has a test that names it
knob_tree() {
    good_tree
    mkdir -p runtime/engine
    printf 'X(int, n_ctx, INT, "kv.type",\n  "ctx", 0, 1, "x")\n' >runtime/engine/options.def
    printf 'struct engine_options {\n#include "options.def"\n    void (*progress)(int x); /* or\n        NULL; */\n};\n' >runtime/engine/engine_options.h
    printf 'int f(void) { return o->n_ctx; }\n' >runtime/engine/engine.c
    printf 'kv:\n  type: f16\n' >configs/llama3_70b.yaml
    printf 'int t(void) { return o.n_ctx + o.progress; } /* kv.type --quiet */\n' >tests/unit/t_kv.c
    printf '| configuration | option | engine_options | tests |\n|---|---|---|---|\n%s\n%s\n' \
        '| kv.type | --ctx --quiet | n_ctx, progress | t_kv |' "$*" >tests/MATRIX.md
}
knob_tree
expect knobs 0 'clean'
knob_tree
printf '#define ROWS(X)  \\\n    X(const char *, dir, STRING, "kv.bytes", NULL, 0)\n' >agents/strategy_x.c
expect knobs 1 'tests/MATRIX.md:1: no row for the key kv.bytes'
knob_tree
printf 'X(uint64_t, vram_bytes, BYTES, "kv.type", "vram", 0)\n' >runtime/config/other.def
expect knobs 1 'no row for the option --vram'
knob_tree
printf 'X(bool, lookup, BOOL, "kv.type", "ctx", 0)\n' >>runtime/engine/options.def
expect knobs 1 'no row for the field lookup'
knob_tree
printf 'struct engine_options {\n#include "options.def"\n    bool (*progress)(int x);\n    bool probe; /* x */\n};\n' >runtime/engine/engine_options.h
expect knobs 1 'no row for the field probe'
knob_tree
printf 'int f(void) { o->n_ctx = 1; return n_ctx; } /* o->n_ctx, "kv.type" */\n' >runtime/engine/engine.c
expect knobs 1 'nothing reads kv.type (member n_ctx); remove the row or use it'
knob_tree
printf 'int f(void) { return config_int(c, "kv.type"); }\n' >runtime/engine/engine.c
expect knobs 0 'clean'
knob_tree
printf '  types: f16\n' >configs/llama3_70b.yaml
expect knobs 1 'configs/llama3_70b.yaml:1: no key kv.type'
knob_tree '| kv.gone | | | t_kv |'
expect knobs 1 'tests/MATRIX.md:4: the program has no kv.gone'
knob_tree '| kv.type | | | |'
expect knobs 1 'tests/MATRIX.md:4: no test for'
knob_tree '| kv.type | | | t_gone |'
expect knobs 1 'tests/MATRIX.md:4: there is no test t_gone'
knob_tree '| kv.type | | | t_run |'
expect knobs 1 'tests/MATRIX.md:4: t_run names none of'
knob_tree
printf 'no table\n' >tests/MATRIX.md
expect knobs 1 "no table 'configuration | option"

# one fact, one place
place_tree() {
    good_tree
    mkdir -p kernels/quant kernels/cpu kernels/cuda
    printf 'X(F32, f32, 0)\nX(Q4_0, q4_0, 2)\nX(Q8_0, q8_0, 8)\nN(Q5_0, 6)\n' >kernels/quant/formats.def
    printf 'M(Q4_K_M, 15)\n' >loader/mixtures.def
    printf 'X(panel)\nX(direct)\n' >agents/strategies.def
    printf 'static const struct r roles[] = {{.name = "planner"}, {.name = "answer"}}; /* panel */\n' >agents/strategy_panel.c
    printf 'int h(void) { return direct + answer("answer: direct it"); } /* the panel */\n' >agents/answer.c
    printf 'int f(void) { return FMT_Q4_0 + FMT_Q8_0; } /* Q4_0 */\n' |
        tee kernels/quant/fmt_q4_0.h kernels/cpu/body.h kernels/cuda/x.cu >kernels/quant/lanes.c
    printf 'int f(void) { return FMT_F32 + MIX_COUNT; } /* FMT_Q4_0, "q4_0|q8_0" */\n%s\n' \
        'const char *s = "lower --kv-type q8_0", *t = "mas quantize a b Q4_0\n" "mas quantize a b Q8_0\n";' >tools/cmd/cmd_run.c
}
# place FILE LINE TEXT: the line, appended, is found
place() {
    place_tree
    printf '%s\n' "$2" >>"$1"
    expect oneplace 1 "$3"
}
place_tree
expect oneplace 0 'clean'
place agents/run.c 'const char *p = "first the planner";' 'agents/run.c:4: a string names planner; strategies and roles stand'
place agents/run.c 'str_addf(out, "{\"p\": %.9g}", p);' 'agents/run.c:4: a number of JSON by printf may be nan'
place agents/run.c 'str_addf(out, "%lld, %.3g]", n, p);' 'agents/run.c:4: a number of JSON by printf may be nan'
place tools/cmd/sheet.c 'const char *p = "direct";' 'tools/cmd/sheet.c:1: a string names direct; strategies'
place tools/cmd/clinic.c 'const char *p = "panel or" " direct";' 'tools/cmd/clinic.c:1: a string names direct; strategies'
place runtime/config/config.c 'int p = c->planner;' 'runtime/config/config.c:4: planner; strategies and roles stand'
place tools/cmd/clinic.c 'int p = strategy_panel.plans;' 'tools/cmd/clinic.c:1: strategy_panel; strategies and roles'
place runtime/zio.c 'int g(void) { return FMT_Q8_0; }' 'runtime/zio.c:3: FMT_Q8_0; derive it from formats.def'
place kernels/core/mem.c 'int g = FMT_Q4_0;' 'kernels/core/mem.c:3: FMT_Q4_0; derive'
place kernels/quant/fit.c 'int g = FMT_Q4_0;' 'kernels/quant/fit.c:1: FMT_Q4_0; derive'
place agents/run.c 'int g = MIX_Q4_K_M;' 'agents/run.c:4: MIX_Q4_K_M; derive it from mixtures.def'
place runtime/config/config.c 'const char *u = "one of f16|q8_0|"
    "q4_0";' 'runtime/config/config.c:4: a string with 2 names of a list; derive it'
place runtime/config/config.c 'const char *u = "Q4_0 or Q4_K_M";' 'config.c:4: a string with 2 names'

printf '%d expectations, %d failed\n' "$count" "$failed"
[ "$failed" -eq 0 ]
