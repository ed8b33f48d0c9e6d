"""GGUF files made on the spot, as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.models import tokenizer

TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|over|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
HEADS, HEADS_KV, WIDTH = 2, 1, 32


def tiny_llama(seed: int = 0) -> Any:
    """A random-init Llama for GPT-2's kind of tokenizer, with two tokens more that open and close turns."""
    torch.manual_seed(seed)
    words = len(tokenizer("byte-bpe")) + 2
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=words,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS_KV,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=512,
            eos_token_id=0,
            bos_token_id=0,
            tie_word_embeddings=False,
        )
    ).eval()


def write_gguf(file: Path, model: Any, quantized: bool = False, **settings: Any) -> None:
    """The model in float32, or where `quantized` its matrices in 8 bits; `settings` are added to the header's."""
    writer = gguf.GGUFWriter(file, "llama")
    config, words = model.config, tokenizer("byte-bpe")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    inner = json.loads(words.backend_tokenizer.to_str())["model"]
    spelled = [*sorted(inner["vocab"], key=inner["vocab"].__getitem__), "<|turn|>", "<|over|>"]
    writer.add_token_list(spelled)
    special = {0, len(spelled) - 2, len(spelled) - 1}
    writer.add_token_types(
        [gguf.TokenType.CONTROL if at in special else gguf.TokenType.NORMAL for at in range(len(spelled))]
    )
    writer.add_token_merges([" ".join(pair) for pair in inner["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(len(spelled) - 1)
    writer.add_chat_template(TEMPLATE)
    for name, value in settings.items():
        writer.add_uint16(name.replace("_", "."), value)
    for name, weights in model.state_dict().items():
        data = _permuted(name, weights.numpy())
        if quantized and data.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(_name(name), gguf.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(_name(name), data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name(name: str) -> str:
    outer = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in outer:
        return outer[name]
    _, _, layer, *inner, kind = name.split(".")
    return f"blk.{layer}.{NAMES['.'.join(inner)]}.{kind}"


def _permuted(name: str, weights: numpy.ndarray) -> numpy.ndarray:
    """llama.cpp turns neighbours where Llama turns halves: rows of queries and keys change places."""
    heads = HEADS if "q_proj" in name else HEADS_KV if "k_proj" in name else None
    if heads is None:
        return weights
    return numpy.ascontiguousarray(
        weights.reshape(heads, 2, len(weights) // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)
    )
