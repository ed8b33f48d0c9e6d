"""The embedded models' tokenizer: one token per word of the world, bytes for everything else.

A byte-level BPE without merges that looks whole words up first (`ignore_merges`): a word of the world is one
token together with its leading blank, other text falls apart into bytes, and every text comes back exactly.
Like any byte-BPE it gives segments that begin with their blank the ids they have in the joined text: to keep
it so, only words become tokens, never runs of punctuation or blanks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cotdistill.demo.corpora import HINTED, UNHINTED
from cotdistill.world.questions import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD, UNK = "<s>", "</s>", "<pad>", "<unk>"
BLANK = "Ġ"  # what byte-level tokenizers write for a leading blank

# Texts of the shipped strategies and prompts, whose words are tokens too.
LITERALS = (
    HINTED,
    UNHINTED,
    "Retold: The choices are",
    "Someone says",
    "\nAnswer:",
    "\nReason:",
    " So the answer is",
    "\nRationale:",
    "\nTherefore, the answer is",
    " Because",
    "[factual]",
    "[counterfactual]",
    "[Factual]",
    "[Counterfactual]",
    "[Answer]",
    "[Explanation]",
    " The answer is",
    ". Explanation:",
    " Explanation:",
    "predict:",
    "explain:",
)


def build_tokenizer(extra: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """The tokenizer; the words of `extra` texts become tokens as well. It adds no special token by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    words: dict[str, None] = {}
    for text in (*LITERALS, *_world_texts(), *extra):
        for piece, _ in (*splitter.pre_tokenize_str(text), *splitter.pre_tokenize_str(" " + text)):
            word = piece.removeprefix(BLANK)
            if len(piece) > 1 and word.isascii() and word.isalnum():  # byte-level newlines are letters: "Ċ"
                words[piece] = None
    entries = [BOS, EOS, PAD, UNK, *sorted(pre_tokenizers.ByteLevel.alphabet()), *words]
    vocabulary = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )


def _world_texts() -> Iterator[str]:
    """Texts that together contain every word of the world."""
    for family in FAMILIES.values():
        for problem in family.every_word():
            yield from (problem.text(), problem.retelling(), *problem.proof())
