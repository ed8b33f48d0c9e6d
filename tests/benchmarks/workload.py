"""The benchmark's model and rows: made on the spot, with the lengths of CommonsenseQA rationales."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from cotdistill.data.records import Item, Rationale
from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.encode import EncodedSet, Sharing
from cotdistill.students.student import Student
from cotdistill.training.objective import training_encoder

VOCABULARY = 32_000
# What strategies write around their slots is a handful of tokens for any real tokenizer.
LITERALS = (
    "Rationale",
    "Reason",
    "Answer",
    "Therefore",
    "predict",
    "explain",
    "factual",
    "counterfactual",
    "Explanation",
    "Because",
    "ĠTherefore",
    "Ġthe",
    "Ġanswer",
    "Ġis",
    "ĠSo",
    "ĠReason",
    "ĠBecause",
    "Ġ[",
    "ĠThe",
)


def word(at: int) -> str:
    """The word of a number, letters only: the tokenizer's splitter keeps it whole."""
    letters = ""
    for _ in range(4):
        at, digit = divmod(at, 26)
        letters += chr(ord("a") + digit)
    return letters


@cache
def words() -> Any:
    """A byte-BPE that has the benchmark's words (with their blank) as single tokens."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    entries = ["<s>", "</s>", "<pad>", *sorted(alphabet)]
    entries += LITERALS
    entries += ["Ġ" + word(at) for at in range(VOCABULARY - len(entries))]
    made = Tokenizer(models.BPE(vocab={entry: at for at, entry in enumerate(entries)}, merges=[], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def llama(width: int = 256, layers: int = 6, vocabulary: int = VOCABULARY, seed: int = 0) -> Student:
    """The bench model: its head is most of its work. `vocabulary` below the tokenizer's is for other
    tokenizers.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 43 // 16,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return Student(LlamaForCausalLM(config), words())


def t5(width: int = 256, layers: int = 4, seed: int = 0) -> Student:
    """A T5 of about the same size."""
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=width,
        d_kv=64,
        num_heads=width // 64,
        d_ff=4 * width,
        num_layers=layers,
        dropout_rate=0.0,
        decoder_start_token_id=2,
        pad_token_id=2,
        eos_token_id=1,
    )
    return Student(T5ForConditionalGeneration(config), words())


def items(count: int, seed: int = 0, rationale: tuple[int, int] = (20, 120)) -> list[Item]:
    """Questions of 30-80 tokens with a right and a wrong rationale of 20-120 tokens and answers of 1-6."""
    draw = random.Random(seed)

    def text(low: int, high: int) -> str:
        return " ".join(word(draw.randrange(VOCABULARY - 400)) for _ in range(draw.randint(low, high)))

    made = []
    for at in range(count):
        right, wrong = text(1, 6), text(1, 6)
        both = tuple(
            Rationale(
                kind=kind,
                text=text(*rationale),
                answer=answer,
                correct=True,
                label="keep",
                teacher="bench",
                decoding={},
                prompt=None,
                finished=True,
            )
            for kind, answer in (("factual", right), ("counterfactual", wrong))
        )
        made.append(
            Item(
                id=f"row-{at}",
                task="bench",
                split="train",
                question=text(24, 74),
                choices=None,
                answer=right,
                rationales=both,
            )
        )
    return made


def encoded(
    student: Student, strategy: str, rows: list[Item], sharing: Sharing | None = None, **params: Any
) -> EncodedSet:
    """The rows as token trees of a strategy, merged as `distill` merges them where `sharing` is None."""
    made = create(strategy, params)
    samples, _ = join(rows, made)
    encoder = training_encoder(student) if sharing is None else student.encoder(sharing=sharing)
    return encoder.encode(samples, made, FillContext(0, student.tokens.segment))
