"""Train the embedded models from seeds, with this package's own loop:

    python -m cotdistill.demo.build [teacher] [base] [simulator]

Writes cotdistill/demo/models/ROLE/ (float16 safetensors, tokenizer, build.json with recipe and digests).
The same machine gives the same bytes; another processor may round differently, so models are shipped, not rebuilt.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cotdistill.config import DistillConfig
from cotdistill.console import say
from cotdistill.data.files import file_digest, write_json
from cotdistill.demo.corpora import Document, base_documents, teacher_documents
from cotdistill.demo.tokenizer import build_tokenizer
from cotdistill.seeds import derive
from cotdistill.strategies.forms import Form, learn
from cotdistill.students.encode import EncodedSet, FormSequence, merge
from cotdistill.students.places import demo_model
from cotdistill.students.student import Student
from cotdistill.training.train import Loop
from cotdistill.world import questions as world

DOCUMENT = Form("document", "", (learn(" {rationale}"),))  # a whole document: one term in the loss


@dataclass(frozen=True)
class EmbeddedModel:
    """Size and training of one embedded model (a Llama: rotary positions generalise better over the cue)."""

    width: int
    layers: int
    heads: int
    intermediate: int
    steps: int
    lr: float
    seed: int = 0
    batch_size: int = 32


EMBEDDED_MODELS = {
    "teacher": EmbeddedModel(width=96, layers=4, heads=4, intermediate=256, steps=2000, lr=3e-3),
    "base": EmbeddedModel(width=64, layers=3, heads=4, intermediate=176, steps=3000, lr=2.5e-3),
}
DOCUMENTS = {"teacher": teacher_documents, "base": base_documents}


def build(role: str, folder: Path) -> None:
    """Train one model and write it; prints the loss of the last step."""
    recipe = EMBEDDED_MODELS[role]
    tokenizer = build_tokenizer()
    student = Student(_model(recipe, tokenizer), tokenizer)
    data = encode_documents(student, DOCUMENTS[role](recipe.seed), recipe.steps * recipe.batch_size)
    config = DistillConfig(
        seed=recipe.seed,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        betas=(0.9, 0.98),
        weight_decay=0.05,
        warmup=0.05,
        token_budget=8192,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as scratch:
        trained = Loop(student, data, config, Path(scratch)).run()
    student.model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(
        folder / "build.json",
        {
            "role": role,
            "world": world.VERSION,
            "recipe": asdict(recipe),
            "loss": trained.loss,
            "parameters": student.model.num_parameters(),
            "sha256": file_digest(folder / "model.safetensors"),
        },
    )
    say(f"{role}: loss {trained.loss:.4f}, {trained.seconds:.0f} s, {student.model.num_parameters()} parameters")


def encode_documents(student: Student, documents: Iterator[Document], count: int) -> EncodedSet:
    """Documents as plain sequences: prompts are given, completions and the final EOS learned."""
    samples, ids = [], []
    for at, document in enumerate(islice(documents, count)):
        prompt = list(student.tokens.first(document.prompt)) if document.prompt else []
        body = [token for part in document.completion for token in student.tokens.segment(part)]
        inputs = prompt + body
        learned = [*body, student.tokens.stop]
        first = len(inputs) - len(body) - 1
        targets = tuple((first + n, token, 1.0) for n, token in enumerate(learned) if first + n >= 0)
        samples.append(merge([FormSequence(0, tuple(inputs), targets, None)], "none"))
        ids.append(str(at))
    return EncodedSet(ids, samples, [DOCUMENT], Counter())


def _model(recipe: EmbeddedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    torch.manual_seed(derive(recipe.seed, "init", recipe.width))
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            intermediate_size=recipe.intermediate,
            # 0.02, the default, is made for width 2500: at this width it costs a thousand steps of plateau.
            initializer_range=recipe.width**-0.5,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def main() -> None:
    """Build the roles named, or all."""
    parser = argparse.ArgumentParser(description="Train the embedded models.")
    parser.add_argument("roles", nargs="*", choices=[*EMBEDDED_MODELS, []], default=list(EMBEDDED_MODELS))
    torch.set_flush_denormal(True)
    for role in parser.parse_args().roles:
        build(role, demo_model(role))


if __name__ == "__main__":
    main()
