"""One random-init model of every supported family, with a tokenizer of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf

from cotdistill.students.student import Student
from tests.models import tokenizer

WIDTH, LAYERS, HEADS = 32, 2, 2


def _decoder(config: type, words: Any, **changes: Any) -> Any:
    return config(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=512,
        eos_token_id=words.eos_token_id,
        bos_token_id=words.bos_token_id,
        pad_token_id=words.pad_token_id,
        **changes,
    )


def _rope(config: type, **changes: Any) -> Callable[[Any], Any]:
    return lambda words: _decoder(config, words, num_key_value_heads=1, **changes)


def _t5(config: type, **changes: Any) -> Callable[[Any], Any]:
    return lambda words: config(
        vocab_size=len(words),
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        decoder_start_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **changes,
    )


def _bart(words: Any) -> Any:
    return hf.BartConfig(
        vocab_size=len(words),
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=2 * WIDTH,
        decoder_ffn_dim=2 * WIDTH,
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        decoder_start_token_id=words.eos_token_id,
        forced_eos_token_id=None,
    )


FAMILIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "gpt2": (
        "byte-bpe",
        lambda words: hf.GPT2Config(
            vocab_size=len(words),
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=HEADS,
            n_positions=512,
            eos_token_id=words.eos_token_id,
            bos_token_id=words.bos_token_id,
        ),
    ),
    "opt": (
        "byte-bpe",
        lambda words: hf.OPTConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            ffn_dim=2 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            word_embed_proj_dim=WIDTH,
            max_position_embeddings=512,
            pad_token_id=words.pad_token_id,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        ),
    ),
    "gpt-neox": ("byte-bpe", lambda words: _decoder(hf.GPTNeoXConfig, words)),
    "llama": ("prepend", _rope(hf.LlamaConfig)),
    "mistral, sliding": ("prepend", _rope(hf.MistralConfig, sliding_window=16)),
    "qwen2": ("byte-bpe", _rope(hf.Qwen2Config)),
    "qwen3": ("byte-bpe", _rope(hf.Qwen3Config, head_dim=16)),
    "gemma": ("prepend", _rope(hf.GemmaConfig, head_dim=16)),
    "gemma2, sliding": ("prepend", _rope(hf.Gemma2Config, head_dim=16, sliding_window=16)),
    "gemma3, sliding": ("prepend", _rope(hf.Gemma3TextConfig, head_dim=16, sliding_window=16)),
    "phi": ("byte-bpe", lambda words: _decoder(hf.PhiConfig, words)),
    "smollm-like": ("byte-bpe", _rope(hf.LlamaConfig, tie_word_embeddings=True)),
    "t5": ("metaspace", _t5(hf.T5Config)),
    "flan-t5-like": ("metaspace", _t5(hf.T5Config, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "mt5-like": ("metaspace", _t5(hf.MT5Config)),
    "bart": ("byte-bpe", _bart),
}


def make(family: str, seed: int = 0) -> Student:
    """The model of one family, dropout off; weights large enough that a leak would show."""
    kind, config = FAMILIES[family]
    words = tokenizer(kind)
    made = config(words)
    auto = hf.AutoModelForSeq2SeqLM if made.is_encoder_decoder else hf.AutoModelForCausalLM
    torch.manual_seed(seed)
    model = auto.from_config(made)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return Student(model.eval(), words)
