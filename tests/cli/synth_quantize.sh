#!/bin/bash
# mas synth and mas quantize: their output is right and depends on the options alone. Every refusal has its exit
# code, names the cause and leaves no file.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"

sum() {
    sha256sum <"$1" | cut -c1-64
}

# ---- synth: the same options give the same file, other options another one
expect 0 "random weights" "$MAS" synth --shape tiny --type F32 --seed 3 --threads 1 f32.gguf
for threads in 2 3 5; do
    expect 0 "" "$MAS" synth --shape tiny --type F32 --seed 3 --threads $threads --quiet again.gguf
    cmp f32.gguf again.gguf || fault "synth depends on --threads $threads"
done
"$MAS" synth --shape tiny --type F32 --seed 4 --quiet other.gguf
cmp -s f32.gguf other.gguf && fault "synth does not depend on --seed"
[ "$("$MAS" synth --shape tiny --quiet quiet.gguf 2>&1)" = "" ] || fault "--quiet is not quiet"
types=$("$MAS" synth --type none none.gguf 2>&1 | sed -n 's/.*known: //p')
case " $types " in
*" F32 "*" BF16 "*" Q4_K_M "*" IQ2_XS "*) ;;
*) fault "the known types are '$types'" ;;
esac
for type in $types; do
    expect 0 "$type" "$MAS" synth --shape tiny --type $type --layers 3 s_$type.gguf
done
# ---- every format has a kernel of its own on the CPU
for type in $types; do
    said=$("$MAS" generate -m s_$type.gguf --backend cpu -p x -n 2 2>&1 >/dev/null) || fault "generate with $type: $said"
    ! grep -q 'has no fast kernel' <<<"$said" || fault "$type on cpu: $said"
done
grep -aq "<|start_header_id|>" f32.gguf || fault "no Llama 3 tokens"
"$MAS" synth --shape tiny --vocab-from f32.gguf --type F32 --seed 3 --quiet copy.gguf
cmp f32.gguf copy.gguf || fault "--vocab-from changes the vocabulary"

# ---- a vocabulary of a given size: exactly so many tokens, all different, and the tokenizer knows them
rows() { # FILE: rows of the embedding and of the output matrix
    "$MAS" inspect --tensors "$1" | sed -n 's/.* \(token_embd\|output\)\.weight (\([0-9]*\), .*/\2/p' | xargs
}
for n in 272 301 4099; do
    expect 0 "" "$MAS" synth --shape tiny --type Q8_0 --vocab $n --quiet words.gguf
    [ "$(rows words.gguf)" = "$n $n" ] || fault "--vocab $n gives matrices of $(rows words.gguf) rows"
    "$MAS" generate -m words.gguf --backend cpu -p "a" -n 2 --ctx 64 >/dev/null || fault "generate with --vocab $n"
done
seq 272 4098 | sed 's/$/ 198/' >ids # 198: the byte of a newline
"$MAS" detokenize -m words.gguf -f ids >words
[ "$(grep -cE '^ ?([bcdfghjklmnprstv][aeiou]){2,}$' words)" = 3827 ] || fault "not all tokens are words: $(head -3 words)"
[ "$(sort -u words | wc -l)" = 3827 ] || fault "two tokens are the same word: $(sort words | uniq -d | head -3)"
[ "$("$MAS" tokenize -m words.gguf -p "$(sed -n 1p words)")" = 272 ] || fault "the tokenizer does not find a word"
[ "$("$MAS" tokenize -m words.gguf -p "$(sed -n 3827p words)")" = 4098 ] || fault "the tokenizer does not find the last word"
"$MAS" synth --shape tiny --type Q8_0 --vocab shape --quiet shape.gguf
"$MAS" synth --shape tiny --type Q8_0 --vocab 4096 --quiet number.gguf
cmp shape.gguf number.gguf || fault "--vocab shape is not the shape's 4096"
[ "$(rows shape.gguf)" = "4096 4096" ] || fault "--vocab shape: $(rows shape.gguf) rows"
"$MAS" synth --shape llama3-8b --vocab shape --hollow --quiet hollow.gguf
[ "$(rows hollow.gguf)" = "128256 128256" ] || fault "--hollow --vocab shape: $(rows hollow.gguf) rows"

# ---- quantize: every type that it writes, the same bytes whatever the threads
targets=$("$MAS" quantize f32.gguf none.gguf none 2>&1 | sed -n 's/.*known: //p')
case " $targets " in
*" IQ2_XS "*) fault "IQ2_XS is written" ;;
*" F32 "*" Q5_0 Q5_1 Q2_K "*" Q3_K_M "*" Q4_K_M "*" IQ4_NL IQ4_XS "*) ;;
*) fault "quantize writes '$targets'" ;;
esac
for type in $targets; do
    expect 0 "$type" "$MAS" quantize --rmse -t 1 f32.gguf q_$type.gguf $type
    "$MAS" quantize -t 3 --quiet f32.gguf again.gguf ${type,,}
    cmp q_$type.gguf again.gguf || fault "quantize $type depends on the threads"
done
for type in $types; do # synth and fit count the same sizes
    case " $targets " in
    *" $type "*) [ "$("$MAS" inspect q_$type.gguf | sed -n 's/^all //p' | xargs)" = "$("$MAS" synth --shape tiny --type $type \
        --quiet other.gguf && "$MAS" inspect other.gguf | sed -n 's/^all //p' | xargs)" ] || fault "synth and quantize as $type differ" ;;
    *) expect 64 "$type is read, but not written" "$MAS" quantize f32.gguf none.gguf $type ;;
    esac
done
[ "$(stat -c %s q_Q8_0.gguf)" -lt "$(($(stat -c %s f32.gguf) * 27 / 100))" ] || fault "Q8_0 is large"
table=$("$MAS" quantize f32.gguf again.gguf Q4_K_M)
for row in "F32 *5 " "Q4_K *13 " "Q6_K *3 " "all *21 "; do
    grep -q "^$row" <<<"$table" || fault "no row '$row' in the table: $table"
done
# ---- rows that are no multiple of a block: another format, said once for each kind of tensor
"$MAS" inspect f32.gguf | grep -q "general.file_type  u32 = 0 (F32)" || fault "inspect does not name the type of a file"
said=$("$MAS" quantize "$MAS_SOURCE/tests/golden/logits_llama_gqa.gguf" odd.gguf Q4_K_M)
for row in "blk.*.attn_q.weight: rows of 64 do not fit blocks of 256 of Q4_K: 2 stored as Q5_0" \
    "blk.*.ffn_down.weight: rows of 56 do not fit blocks of 256 of Q6_K: 1 stored as F16" \
    "output.weight: rows of 64 do not fit blocks of 256 of Q6_K: 1 stored as Q8_0"; do
    [ "$(grep -cF "$row" <<<"$said")" = 1 ] || fault "no '$row' in $said"
done
"$MAS" generate -m odd.gguf --backend cpu -p x -n 2 >/dev/null || fault "generate with rows of 64"
"$MAS" quantize --quiet f32.gguf same.gguf F32
[ "$(tail -c 5000000 same.gguf | sha256sum)" = "$(tail -c 5000000 f32.gguf | sha256sum)" ] ||
    fault "F32 to F32 changes the weights"
"$MAS" quantize --quiet q_Q8_0.gguf same.gguf Q8_0 # nothing to convert: no need to allow anything
[ "$(tail -c 1000000 same.gguf | sha256sum)" = "$(tail -c 1000000 q_Q8_0.gguf | sha256sum)" ] ||
    fault "Q8_0 to Q8_0 changes the weights"

# ---- an importance matrix: named in the file, weighs errors, and must be one of this model
matrix=$MAS_SOURCE/tests/golden/imatrix_stories260K
story=$MAS_SOURCE/tests/golden/stories260K-Q4_1.gguf
"$MAS" quantize --quiet --allow-requantize "$story" plain.gguf Q4_0
for form in gguf dat; do
    said=$("$MAS" quantize --allow-requantize --imatrix "$matrix.$form" "$story" weighed.gguf Q4_0)
    grep -q "imatrix_stories260K.$form: 30 tensors weighed; 1 without an entry, token_embd.weight" <<<"$said" || fault "the matrix is not reported: $said"
    "$MAS" inspect weighed.gguf | grep -q "quantize.imatrix.entries_count  u32 = 35" || fault "the matrix is not in the file"
    tail -c 100000 weighed.gguf >tail.$form
done
cmp -s weighed.gguf plain.gguf && fault "the matrix changes nothing"
cmp tail.gguf tail.dat || fault "the forms of the matrix give other weights"
"$MAS" quantize --quiet --allow-requantize weighed.gguf again.gguf Q5_0
"$MAS" inspect again.gguf | grep -q "quantize.imatrix" && fault "a matrix that was not used is named"
expect 65 "has 64 columns, but the tensor has 256" "$MAS" quantize --imatrix "$matrix.dat" f32.gguf none.gguf Q4_K_M
for type in F16 Q8_0; do
    expect 64 "--imatrix has no effect on $type: every weight gets its nearest number" \
        "$MAS" quantize --allow-requantize --imatrix "$matrix.dat" "$story" none.gguf $type
done
[ ! -e none.gguf ] || fault "a refused matrix leaves a file"
expect 66 "absent.dat" "$MAS" quantize --imatrix absent.dat f32.gguf none.gguf Q4_K_M

# ---- what is refused
before=$(sum q_Q8_0.gguf)
ln -s q_Q8_0.gguf link.gguf
expect 65 "--allow-requantize" "$MAS" quantize q_Q8_0.gguf none.gguf Q4_0
expect 0 "Q4_0" "$MAS" quantize --allow-requantize q_Q8_0.gguf some.gguf Q4_0
expect 64 "is the input" "$MAS" quantize q_Q8_0.gguf ./q_Q8_0.gguf Q8_0
expect 64 "is the input" "$MAS" quantize link.gguf q_Q8_0.gguf Q8_0
[ "$before" = "$(sum q_Q8_0.gguf)" ] || fault "the input was changed"
expect 64 "unknown type 'Q3_K'" "$MAS" quantize f32.gguf none.gguf Q3_K
expect 64 "the type is missing" "$MAS" quantize f32.gguf none.gguf
expect 64 "unexpected argument" "$MAS" quantize f32.gguf none.gguf Q8_0 more
expect 64 "--threads" "$MAS" quantize -t 9999 f32.gguf none.gguf Q8_0
expect 66 "absent.gguf" "$MAS" quantize absent.gguf none.gguf Q8_0
expect 73 "no/dir" "$MAS" quantize f32.gguf no/dir/none.gguf Q8_0
head -c 4000000 f32.gguf >cut.gguf
expect 65 "cut.gguf" "$MAS" quantize cut.gguf none.gguf Q8_0
cp f32.gguf nan.gguf # the last element of the last row of the last tensor
printf '\0\0\300\177' | dd of=nan.gguf bs=1 seek=$(($(stat -c %s f32.gguf) - 4)) conv=notrunc status=none
expect 65 "tensor output.weight, row 287: cannot encode as Q6_K: element 255" \
    "$MAS" quantize -t 2 nan.gguf none.gguf Q4_K_M
expect 64 "--shape is missing" "$MAS" synth none.gguf
expect 64 "the output file is missing" "$MAS" synth --shape tiny
expect 64 "unknown shape 'huge'" "$MAS" synth --shape huge none.gguf
expect 64 "from 272 (all bytes, and control tokens) to 16777216, or shape" "$MAS" synth --shape tiny --vocab 271 none.gguf
expect 64 "--vocab is '16777217'; it takes a whole number" "$MAS" synth --shape tiny --vocab 16777217 none.gguf
expect 64 "--vocab is 'shapes'; it takes a whole number" "$MAS" synth --shape tiny --vocab shapes none.gguf
expect 64 "--vocab and --vocab-from exclude each other" "$MAS" synth --shape tiny --vocab 300 --vocab-from f32.gguf none.gguf
expect 64 "--layers" "$MAS" synth --shape tiny --layers 0 none.gguf
expect 64 "--seed" "$MAS" synth --shape tiny --seed x none.gguf
expect 64 "is the input" "$MAS" synth --shape tiny --vocab-from f32.gguf f32.gguf
expect 66 "absent.gguf" "$MAS" synth --shape tiny --vocab-from absent.gguf none.gguf
[ -e none.gguf ] && fault "a refused command left none.gguf"
ls -A | grep -q '\.part$' && fault "left behind: $(ls -A)"
for command in synth quantize; do
    expect 0 "Usage: mas $command" "$MAS" $command --help
    expect 0 "Examples" "$MAS" help $command
done
exit $bad
