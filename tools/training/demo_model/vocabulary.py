"""vocabulary: the toy model's tokenizer: byte-level BPE in the form of Llama 3's.

Pre-tokenizer and special tokens are Llama 3's (`tokenizer.ggml.pre` = llama-bpe), merges are learnt
from the training texts. Needs the `tokenizers` package (tried: 0.22). Toy text, for testing software: no
medical meaning, no medical use.
"""

import re

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

SIZE = 5120  # entries unless told otherwise, special ones included
SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|finetune_right_pad_id|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(24)),
)
PRETOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% endif %}"
)


def train(texts, words=(), size=SIZE):
    """A tokenizer of size entries learnt from chats; special tokens come last, as in Llama 3.

    words: become tokens with and without a space before them, so that a word of the case and the same word
    after a quotation mark are one token each.
    """
    bare = {part for text in texts for part in re.split(r"<\|[a-z_]+\|>", text)}
    bare |= {f'["{w}" {w} ' * 200 for w in words}
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(bare), trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    # Fewer words than room: the rest is filled with tokens that no text can contain.
    room = size - tokenizer.get_vocab_size()
    if room < 0:
        raise SystemExit(f"{-room} tokens more than {size}")
    tokenizer.add_special_tokens([f"<|unused_{i}|>" for i in range(room)])
    return tokenizer
