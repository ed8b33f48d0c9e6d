"""Small models and tokenizers made on the spot: nothing is downloaded, everything is real."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from cotdistill.data.records import Item, Rationale
from cotdistill.students.student import Student

CORPUS = [
    "Someone says workshop. Where would you find a drill?\nAnswer Choices:\n(a) workshop\n(b) kitchen\n(c) garden",
    "A drill is a tool. A tool is found in the workshop. So the answer is workshop.",
    "Leo waits 1 hours. 9 plus 1 is 10. 10 plus 4 is 2. Therefore, the answer is 2. Because Answer: Reason:",
    "[factual] [counterfactual] predict: explain: [Answer] [Explanation] Rationale: The answer is yes. Explanation:",
]


@cache
def tokenizer(kind: str) -> Any:
    """byte-bpe (GPT-2), metaspace (T5: blank before the text, EOS after it) or prepend (Llama 2: BOS, blank)."""
    if kind == "byte-bpe":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|end|>"],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        made.train_from_iterator(CORPUS, trainer)
        return PreTrainedTokenizerFast(
            tokenizer_object=made, eos_token="<|end|>", bos_token="<|end|>", pad_token="<|end|>"
        )
    if kind == "metaspace":
        made = Tokenizer(models.Unigram())
        made.normalizer = normalizers.Replace("\n", " ")
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        made.decoder = decoders.Metaspace(prepend_scheme="always")
        trainer = trainers.UnigramTrainer(
            vocab_size=140,
            special_tokens=["<pad>", "</s>", "<unk>"],
            unk_token="<unk>",
            show_progress=False,
            initial_alphabet=[chr(c) for c in range(33, 127)],
        )
        made.train_from_iterator(CORPUS * 4, trainer)
        made.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", made.token_to_id("</s>"))])
        return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
    )
    made.train_from_iterator([text.replace(" ", "▁ ") for text in CORPUS], trainer)
    made.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", made.token_to_id("<s>"))])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", bos_token="<s>", unk_token="<unk>", pad_token="<unk>"
    )


def student(family: str, width: int = 32, layers: int = 2, seed: int = 0, **changes: Any) -> Student:
    """A random-init gpt2, llama (Llama 2's tokenizer) or t5, dropout off."""
    torch.manual_seed(seed)
    if family == "gpt2":
        words = tokenizer("byte-bpe")
        config = GPT2Config(
            vocab_size=len(words),
            n_embd=width,
            n_layer=layers,
            n_head=2,
            n_positions=512,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            eos_token_id=words.eos_token_id,
            bos_token_id=words.bos_token_id,
            **changes,
        )
        return Student(GPT2LMHeadModel(config).eval(), words)
    if family == "llama":
        words = tokenizer("prepend")
        made = LlamaConfig(
            vocab_size=len(words),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=2 * width,
            max_position_embeddings=512,
            eos_token_id=words.eos_token_id,
            bos_token_id=words.bos_token_id,
            pad_token_id=0,
            **changes,
        )
        return Student(LlamaForCausalLM(made).eval(), words)
    words = tokenizer("metaspace")
    t5 = T5Config(
        vocab_size=len(words),
        d_model=width,
        d_kv=width // 2,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **changes,
    )
    return Student(T5ForConditionalGeneration(t5).eval(), words)


def rationale(text: str, answer: str, kind: str = "factual") -> Rationale:
    """A kept rationale of the test teacher."""
    return Rationale(
        kind=kind,
        text=text,
        answer=answer,
        correct=True,
        label="keep",
        teacher="test",
        decoding={"decode": "greedy"},
        prompt=None,
        finished=True,
    )


def items(count: int = 8) -> list[Item]:
    """Questions whose two rationales (for the gold and for a wrong answer) differ from row to row."""
    places = ["workshop", "kitchen", "garden", "barn", "attic", "harbor", "office", "church"]
    things = ["drill", "spoon", "rake", "saddle", "trunk", "anchor", "stapler", "candle"]
    made = []
    for at in range(count):
        gold, wrong = places[at % 8], places[(at + 3) % 8]
        thing = things[at % 8] if at < 8 else f"{things[at % 8]} {at}"
        made.append(
            Item(
                id=f"row-{at}",
                task="places",
                split="train",
                question=f"Where would you find a {thing}?",
                choices=tuple(sorted({gold, wrong, places[(at + 5) % 8]})),
                answer=gold,
                rationales=(
                    rationale(f"A {thing} is kept near item {at}. That is in the {gold}.", gold),
                    rationale(f"A {thing} belongs to item {at}. That is in the {wrong}.", wrong, "counterfactual"),
                ),
            )
        )
    return made
