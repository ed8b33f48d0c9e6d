"""One small random-init language model of every decoder-only family, with weights that tell tokens apart."""

from __future__ import annotations

from functools import cache

import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from cotdistill.students.families import Student
from tests.models import tokenizer

SIZE = {"vocab_size": len(tokenizer("byte-bpe")), "hidden_size": 32, "num_hidden_layers": 4,
        "num_attention_heads": 4, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 0}
ROTARY = {**SIZE, "num_key_value_heads": 2, "intermediate_size": 64, "pad_token_id": 0}
GPT2 = {"vocab_size": SIZE["vocab_size"], "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 512,
        "bos_token_id": 0, "eos_token_id": 0}

FAMILIES: dict[str, PreTrainedConfig] = {
    "gpt2": GPT2Config(**GPT2),
    "gpt2-scaled-by-layer": GPT2Config(**GPT2, scale_attn_by_inverse_layer_idx=True),
    "opt": OPTConfig(**SIZE, ffn_dim=64, word_embed_proj_dim=32, pad_token_id=0),
    "llama": LlamaConfig(**ROTARY),
    "qwen2": Qwen2Config(**ROTARY),
    "qwen2-window": Qwen2Config(**ROTARY, use_sliding_window=True, sliding_window=12, max_window_layers=2),
    "qwen3": Qwen3Config(**ROTARY, head_dim=8),
    "mistral": MistralConfig(**ROTARY, sliding_window=12),
    "gemma": GemmaConfig(**ROTARY, head_dim=8),
    "gemma2": Gemma2Config(**ROTARY, head_dim=8, sliding_window=12, attn_logit_softcapping=0.5,
                           final_logit_softcapping=1.0, query_pre_attn_scalar=16),
    "gemma3": Gemma3TextConfig(**ROTARY, head_dim=8, sliding_window=12, layer_types=[
        "sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]),
    "phi": PhiConfig(**ROTARY, partial_rotary_factor=0.5),
    "phi3": Phi3Config(**ROTARY, sliding_window=12),
    "gpt-neox": GPTNeoXConfig(**SIZE, intermediate_size=64),
}
UNSERVED: dict[str, PreTrainedConfig] = {
    "gpt-neo": GPTNeoConfig(vocab_size=SIZE["vocab_size"], hidden_size=32, num_layers=2, num_heads=4,
                            window_size=12, attention_types=[[["global", "local"], 1]],
                            max_position_embeddings=512, bos_token_id=0, eos_token_id=0),
    "bloom": BloomConfig(vocab_size=SIZE["vocab_size"], hidden_size=32, n_layer=2, n_head=4, bos_token_id=0,
                         eos_token_id=0),
    "llama-dynamic-rope": LlamaConfig(**ROTARY, rope_parameters={"rope_type": "dynamic", "factor": 2.0,
                                                                 "rope_theta": 10000.0}),
}


@cache
def language_model(name: str) -> Student:
    """The model of that family, behind a byte-BPE tokenizer."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config((FAMILIES | UNSERVED)[name]).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:  # the usual 0.02 leaves logits so equal that no error would change a token
                weight.normal_(0, 0.3)
    return Student(model, tokenizer("byte-bpe"))
