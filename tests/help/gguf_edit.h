/*
 * gguf_edit: copies of model files with keys and tensors changed, for tests. Changes are separated
 * by commas, "-" or "" = none:
 *
 *   u32:KEY=N  i32:KEY=N  f32:KEY=X  bool:KEY=0|1  str:KEY=TEXT   sets a key
 *   u32s:KEY=N N ..  i32s:KEY=N N ..                              sets an array
 *   drop:KEY                                                      removes a key
 *   bias:NAME=N    adds a bias of N elements: NAME is "output" or of each layer; element i of layer
 *                  l is
 *                  ((7 i + 3 l) mod 11 - 5) / 16
 *   nan:TENSOR=I   makes element I of a tensor of F32 NaN; nan:TENSOR=I X makes it X
 *
 * KEY is below the architecture's name unless it begins with "tokenizer." or "general.".
 */
#ifndef MAS_GGUF_EDIT_H
#define MAS_GGUF_EDIT_H

/* Writes the changed copy of `from` to `to`; fails the test when something does not work. */
void gguf_edit(const char *from, const char *to, const char *changes);

#endif
