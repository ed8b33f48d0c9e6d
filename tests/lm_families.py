"""One small random-init language model of every decoder-only family, with weights that tell tokens apart."""

from __future__ import annotations

from functools import cache

import torch
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    BloomConfig,
    FalconH1Config,
    FalconMambaConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    Lfm2Config,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    OlmoeConfig,
    OpenAIGPTConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    RecurrentGemmaConfig,
    RwkvConfig,
)

from cotdistill.students.student import Student
from tests.models import tokenizer

SIZE = {
    "vocab_size": len(tokenizer("byte-bpe")),
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
ROTARY = {**SIZE, "num_key_value_heads": 2, "intermediate_size": 64, "pad_token_id": 0}
GPT2 = {
    "vocab_size": SIZE["vocab_size"],
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

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
    "gemma2": Gemma2Config(
        **ROTARY,
        head_dim=8,
        sliding_window=12,
        attn_logit_softcapping=0.5,
        final_logit_softcapping=1.0,
        query_pre_attn_scalar=16,
    ),
    "gemma3": Gemma3TextConfig(
        **ROTARY,
        head_dim=8,
        sliding_window=12,
        layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
    ),
    "phi": PhiConfig(**ROTARY, partial_rotary_factor=0.5),
    "phi3": Phi3Config(**ROTARY, sliding_window=12),
    "gpt-neox": GPTNeoXConfig(**SIZE, intermediate_size=64),
}
UNSERVED: dict[str, PreTrainedConfig] = {
    "gpt-neo": GPTNeoConfig(
        vocab_size=SIZE["vocab_size"],
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        window_size=12,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=512,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "bloom": BloomConfig(
        vocab_size=SIZE["vocab_size"], hidden_size=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    ),
    "llama-dynamic-rope": LlamaConfig(
        **ROTARY, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    ),
}


TINY = {
    "vocab_size": SIZE["vocab_size"],
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
MIXED = {**TINY, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
SSM = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_chunk_size": 16}
# Families with a state of their own, with both kinds of layers, or with experts; the last two only generate() serves.
STATEFUL: dict[str, PreTrainedConfig] = {
    "mamba": MambaConfig(**TINY, state_size=8, use_mambapy=False),
    "mamba2": Mamba2Config(**TINY, state_size=16, num_heads=8, head_dim=8, n_groups=2, chunk_size=16),
    "falcon-mamba": FalconMambaConfig(**TINY, state_size=8),
    "rwkv": RwkvConfig(**TINY, context_length=256),
    "bamba": BambaConfig(**MIXED, attn_layer_indices=[1], **SSM),
    "falcon-h1": FalconH1Config(**MIXED, mamba_d_ssm=64, **SSM),
    "lfm2": Lfm2Config(**MIXED, layer_types=["conv", "full_attention"]),
    "mixtral-router-logits": MixtralConfig(**MIXED, num_local_experts=4, output_router_logits=True),
    "olmoe-router-logits": OlmoeConfig(**MIXED, num_experts=4, num_experts_per_tok=2, output_router_logits=True),
    "openai-gpt": OpenAIGPTConfig(vocab_size=SIZE["vocab_size"], n_embd=32, n_layer=2, n_head=4, n_positions=512),
    "recurrent-gemma": RecurrentGemmaConfig(
        **{**TINY, "num_hidden_layers": 3},
        num_attention_heads=4,
        intermediate_size=64,
        lru_width=32,
        attention_window_size=16,
    ),
}


@cache
def language_model(name: str) -> Student:
    """The model of that family, behind a byte-BPE tokenizer."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config((FAMILIES | UNSERVED | STATEFUL)[name]).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "A_log" not in name:  # at the usual 0.02 no error would change a token
                weight.normal_(0, 0.3)
    return Student(model, tokenizer("byte-bpe"))
