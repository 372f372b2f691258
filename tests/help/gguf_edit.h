/*
 * gguf_edit: copies model files with changed keys and tensors, for tests. Commas separate the
 * changes; "-" or "" = none:
 *
 *   u32:KEY=N  i32:KEY=N  f32:KEY=X  bool:KEY=0|1  str:KEY=TEXT   sets a key
 *   u32s:KEY=N N ..  i32s:KEY=N N ..                              sets an array
 *   drop:KEY                                                      removes a key
 *   bias:NAME=N     adds a bias of N elements; NAME is "output", or the name of a tensor in each
 *                   layer. Element i of layer l is ((7 i + 3 l) mod 11 - 5) / 16. NAME.weight
 *                   adds such a tensor instead: the norm of a result.
 *   nan:TENSOR=I    makes element I of an F32 tensor NaN
 *   nan:TENSOR=I X  makes element I of an F32 tensor X
 *   piece:ID=TEXT   renames a token of the vocabulary
 *
 * The architecture's name is put before KEY, unless KEY begins with "tokenizer." or "general.".
 */
#ifndef MAS_GGUF_EDIT_H
#define MAS_GGUF_EDIT_H

/* Writes the changed copy of `from` to `to`; an error fails the test. */
void gguf_edit(const char *from, const char *to, const char *changes);

#endif
