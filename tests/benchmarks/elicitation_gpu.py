"""Contrastive elicitation on a CUDA device in bfloat16: slots against the published loop, with memory."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cotdistill.decoding.choose_decoder import served_continuously
from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.decode import Decoder
from cotdistill.students.student import Student
from tests.benchmarks.elicitation import LAMBDA, PREFIX
from tests.benchmarks.turns import Asked, asked
from tests.benchmarks.workload import VOCABULARY, words


def teacher(layers: int, width: int) -> Student:
    """A random-init Llama in bfloat16 with grouped heads of 128; about 3 B parameters by default."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=width * 43 // 16,
        num_hidden_layers=layers,
        num_attention_heads=width // 128,
        num_key_value_heads=max(1, width // 512),
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    return Student(model.eval(), words())


@torch.inference_mode()
def published(student: Student, question: Asked) -> list[int]:
    """One row, two forwards a token, both prompts computed for every question."""
    held: list[object] = [None, None]
    fed = [torch.tensor([ids], device="cuda") for ids in question.prompts]
    out: list[int] = []
    while True:
        logits = []
        for branch in (0, 1):
            made = student.model(input_ids=fed[branch], past_key_values=held[branch], use_cache=True, logits_to_keep=1)
            held[branch] = made.past_key_values
            logits.append(made.logits[0, -1].float())
        out.append(int((logits[0].log_softmax(-1) - LAMBDA * logits[1].log_softmax(-1)).argmax()))
        if len(out) == question.length:
            return out
        fed = [torch.tensor([out[-1:]], device="cuda")] * 2


def measured(work: Callable[[], list[list[int]]]) -> tuple[list[list[int]], float, float]:
    """What was decoded, seconds a token, and GiB needed on top of the model."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    began = time.perf_counter()
    out = work()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return out, seconds / sum(map(len, out)), (torch.cuda.max_memory_allocated() - before) / 2**30


def main() -> bool:
    """Rounds in which every variant takes its turn; medians of paired ratios, seconds per token."""
    if not torch.cuda.is_available():
        print("elicitation_gpu: skipped, no CUDA device")
        return True
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--width", type=int, default=3072)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    student = teacher(options.layers, options.width)
    size = student.model.num_parameters() / 1e9
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {size:.2f} B, "
        f"served by slots: {served_continuously(student)}",
        flush=True,
    )
    few, many = asked(3, 2, PREFIX), asked(256, 2, PREFIX)

    def decoded(kind: type, size: int, questions: list[Asked]) -> list[list[int]]:
        sessions = [question.session() for question in questions]
        kind(student, Contrast(LAMBDA), size).run(sessions)
        return [session.out for session in sessions]

    ways: dict[str, Callable[[], list[list[int]]]] = {
        "published loop": lambda: [published(student, question) for question in few],
        "plain batches, B=8": lambda: decoded(Decoder, 8, many[:16]),
        **{
            f"slots, B={size}": (lambda size=size: decoded(ContinuousDecoder, size, many[: 2 * size]))
            for size in (8, 16, 64, 128)
        },
    }
    decoded(ContinuousDecoder, 8, few)  # kernels are loaded once
    published(student, few[0])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    gib: dict[str, float] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            _, found, gib[name] = measured(way)
            seconds[name].append(found)
    for name, found in seconds.items():
        ratios = [a / b for a, b in zip(seconds["published loop"], found, strict=True)]
        print(
            f"{name:20} {1 / statistics.median(found):8.0f} tokens/s  {statistics.median(ratios):6.1f}x "
            f"({min(ratios):.1f}-{max(ratios):.1f})  {gib[name]:.2f} GiB",
            flush=True,
        )
    same = [
        ids == question
        for ids, question in zip(decoded(ContinuousDecoder, 8, few), ways["published loop"](), strict=True)
    ]
    print(f"equal rationales in bfloat16 (kernels round differently): {sum(same)} of {len(same)}")
    return True


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
