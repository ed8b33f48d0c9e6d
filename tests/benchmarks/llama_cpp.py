"""llama.cpp on a model's float32 weights: its library driven directly, so that no server's time counts against it."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cotdistill.students.student import Student


def write_gguf(student: Student, path: Path) -> None:
    """A Llama's weights in float32, without a vocabulary: ids go in and come out."""
    import gguf

    config, weights = student.model.config, student.model.state_dict()
    heads, pairs = config.num_attention_heads, config.num_key_value_heads
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(pairs)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    for name, weight in weights.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = weight.numpy()
        for projection, count in (("q_proj", heads), ("k_proj", pairs)):
            if projection in name:  # its rotary positions turn neighbours, Hugging Face's turn halves
                values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaCpp:
    """Greedy decoding of equally long prompts in lock-step, one thread, float32 keys and values.

    What all prompts begin with is computed once and shared between sequences.
    """

    def __init__(self, student: Student) -> None:
        import llama_cpp

        self.api: Any = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))
        self.vocabulary: int = student.model.config.vocab_size
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "float32.gguf"
            write_gguf(student, path)
            settings = llama_cpp.llama_model_default_params()
            settings.use_mmap = False
            self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
        assert self.model, "llama.cpp refuses the model"

    def features(self) -> str:
        """The instructions that it was built for."""
        said: str = self.api.llama_print_system_info().decode()
        return " ".join(part.split(" = ")[0].strip() for part in said.split("|") if "= 1" in part)

    def generate(self, prompts: list[list[int]], shared: int, length: int) -> list[list[int]]:
        """`length` ids after each prompt; all begin with the same `shared` ids."""
        api, count = self.api, len(prompts)
        settings = api.llama_context_default_params()
        settings.n_ctx = shared + count * (len(prompts[0]) - shared + length) + 256
        settings.n_batch, settings.n_ubatch, settings.n_seq_max = 2048, 512, count
        settings.n_threads = settings.n_threads_batch = 1
        settings.type_k = settings.type_v = api.GGML_TYPE_F32
        settings.kv_unified = True
        context = api.llama_init_from_model(self.model, settings)
        memory = api.llama_get_memory(context)
        batch = api.llama_batch_init(2048, 0, 1)
        try:
            self._feed(context, batch, [(token, at, 0) for at, token in enumerate(prompts[0][:shared])], count)
            for sequence in range(1, count):
                api.llama_memory_seq_cp(memory, 0, sequence, 0, shared)
            fed = [
                (token, at, sequence)
                for sequence, prompt in enumerate(prompts)
                for at, token in enumerate(prompt)
                if at >= shared
            ]
            ends = [at for at, (_, place, _) in enumerate(fed) if place == len(prompts[0]) - 1]
            newest = self._feed(context, batch, fed, count, ends)
            out = [[token] for token in newest]
            for step in range(length - 1):
                fed = [(row[-1], len(prompts[0]) + step, sequence) for sequence, row in enumerate(out)]
                for row, token in zip(out, self._feed(context, batch, fed, count, range(count)), strict=True):
                    row.append(token)
            return out
        finally:
            api.llama_batch_free(batch)
            api.llama_free(context)

    def _feed(
        self, context: Any, batch: Any, tokens: list[tuple[int, int, int]], count: int, wanted: Any = ()
    ) -> list[int]:
        """Run (id, position, sequence) through the model; the likeliest next id after each of the wanted ones."""
        chosen, of_whom = [], set(wanted)
        for start in range(0, len(tokens), 2048):
            part = tokens[start : start + 2048]
            batch.n_tokens = len(part)
            for at, (token, position, sequence) in enumerate(part):
                batch.token[at], batch.pos[at] = token, position
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                batch.logits[at] = start + at in of_whom
            assert self.api.llama_decode(context, batch) == 0
            for at in range(len(part)):
                if start + at in of_whom:
                    logits = self.api.llama_get_logits_ith(context, at)
                    chosen.append(int(np.ctypeslib.as_array(logits, (self.vocabulary,)).argmax()))
        return chosen
