"""Elicitation on one GPU in bfloat16: contrastive against the published loop, greedy against vLLM and `generate()`.

`python -m tests.benchmarks.elicitation_gpu [contrastive|greedy] [--rounds 2]`. vLLM is measured where it is installed.
`--tiny`: half a minute on a CPU, which shows that all of it runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cotdistill.decoding.choose_decoder import served_continuously
from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.decode import Decoder
from cotdistill.students.student import Student
from tests.benchmarks.elicitation import LAMBDA, PREFIX, published
from tests.benchmarks.generation import generated
from tests.benchmarks.rounds import clock, device_name, markdown
from tests.benchmarks.turns import Asked, asked
from tests.benchmarks.workload import VOCABULARY, words


@dataclass(frozen=True)
class Size:
    """A teacher's shape, the questions in flight, and how many the published loop is given."""

    layers: int
    width: int
    batches: tuple[int, ...]  # the first one's ratios are reported
    few: int = 2
    device: str = "cuda"


LARGE = Size(layers=28, width=3072, batches=(128, 32, 8))  # about 3 B parameters
TINY = Size(layers=2, width=128, batches=(4,), device="cpu")
Way = Callable[[], list[list[int]]]  # decodes its questions


def teacher(size: Size) -> Student:
    """A random-init Llama with grouped heads of 128; in bfloat16 on a GPU."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.width,
        intermediate_size=size.width * 43 // 16,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // 128,
        num_key_value_heads=max(1, size.width // 512),
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    with torch.device(size.device):
        model = LlamaForCausalLM(config).to(torch.bfloat16 if size.device == "cuda" else torch.float32)
    return Student(model.eval(), words())


def contrastive(student: Student, size: Size) -> dict[str, Way]:
    """Ours with several batches, plain batches, and one row with two forwards a token."""
    many = asked(2 * max(size.batches), 2, PREFIX)

    def decoded(kind: type, batch: int, questions: list[Asked]) -> Way:
        def way() -> list[list[int]]:
            sessions = [question.session() for question in questions]
            kind(student, Contrast(LAMBDA), batch).run(sessions)
            return [session.out for session in sessions]

        return way

    least = min(size.batches)
    return {
        **{f"slots, B={batch}": decoded(ContinuousDecoder, batch, many[: 2 * batch]) for batch in size.batches},
        f"plain batches, B={least}": decoded(Decoder, least, many[: 2 * least]),
        "published loop": lambda: [published(student, question) for question in many[: size.few]],
    }


def greedy(student: Student, size: Size) -> dict[str, Way]:
    """One prompt a question: ours, `generate()` in batches of similar lengths, and vLLM."""
    batch = max(size.batches)
    questions = asked(2 * batch, 1, PREFIX)

    def ours() -> list[list[int]]:
        sessions = [question.session() for question in questions]
        ContinuousDecoder(student, batch_size=batch).run(sessions)
        return [session.out for session in sessions]

    ways: dict[str, Way] = {
        f"slots, B={batch}": ours,
        f"generate(), B={batch}": lambda: [*generated(student, questions, batch).values()],
    }
    if size.device == "cuda" and importlib.util.find_spec("vllm"):
        ways["vLLM"] = vllm(student, questions)
    return ways


def vllm(student: Student, questions: list[Asked]) -> Way:
    """vLLM's own scheduling, half of the GPU's memory, every question as long as with the others."""
    from vllm import LLM, SamplingParams

    folder = tempfile.mkdtemp()
    student.save(folder)
    engine = LLM(model=folder, skip_tokenizer_init=True, dtype="bfloat16", gpu_memory_utilization=0.5)
    prompts = [{"prompt_token_ids": list(question.prompts[0])} for question in questions]
    limits = [
        SamplingParams(temperature=0.0, max_tokens=question.length, ignore_eos=True, detokenize=False)
        for question in questions
    ]

    def way() -> list[list[int]]:
        return [list(found.outputs[0].token_ids) for found in engine.generate(prompts, limits, use_tqdm=False)]

    return way


def measured(way: Way) -> tuple[float, float | None]:
    """Tokens per second, and on a GPU the GiB needed on top of the model."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    began = clock()
    tokens = sum(map(len, way()))
    seconds = clock() - began
    return tokens / seconds, (torch.cuda.max_memory_allocated() - before) / 2**30 if on_gpu else None


def table(name: str, ways: dict[str, Way], rounds: int, facts: str, other: str) -> None:
    """Measure by turns and print; the first way is ours, whose words are held against those of `other`."""
    said = {way_name: way() for way_name, way in ways.items()}  # kernels are loaded and compiled once
    rates: dict[str, list[float]] = {way: [] for way in ways}
    memory: dict[str, float | None] = {}
    for _ in range(rounds):
        for way_name, way in ways.items():
            rate, memory[way_name] = measured(way)
            rates[way_name].append(rate)
    lines, first = [], next(iter(ways))
    for way_name, own in rates.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(rates[first], own, strict=True))
        gib = memory[way_name]
        lines.append(
            (
                way_name,
                f"{statistics.median(own):,.0f}",
                f"{statistics.median(ratios):.1f}x",
                f"{ratios[0]:.1f}-{ratios[-1]:.1f}",
                "" if gib is None or way_name == "vLLM" else f"{gib:.2f}",
            )
        )
    print(f"\nelicitation-gpu-{name}  ({facts}, rounds: {rounds})\n")
    print(markdown(("decoded by", "tokens/s", "ours is", "range", "GiB"), lines))
    pairs = [*zip(said[first], next(said[way_name] for way_name in said if way_name.startswith(other)), strict=False)]
    equal = sum(a == b for a, b in pairs)  # in bfloat16 kernels round differently, and one token changes the rest
    print(f"\nequal rationales, {first} and {other}: {equal} of {len(pairs)}", flush=True)


def main() -> bool:
    """The tables asked for, each printed when it is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="*", help="contrastive, greedy")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layers", type=int, default=LARGE.layers)
    parser.add_argument("--width", type=int, default=LARGE.width)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    size = TINY if options.tiny else replace(LARGE, layers=options.layers, width=options.width)
    if size.device == "cuda" and not torch.cuda.is_available():
        print("elicitation_gpu: skipped, no CUDA device", file=sys.stderr)
        return True
    student = teacher(size)
    facts = (
        f"device: {device_name()}, torch: {torch.__version__}, "
        f"parameters: {student.model.num_parameters() / 1e9:.2f} B, served by slots: {served_continuously(student)}"
    )
    for name, build, other in (("contrastive", contrastive, "published loop"), ("greedy", greedy, "generate()")):
        if name in (options.tables or (name,)):
            table(name, build(student, size), options.rounds, facts, other)
    return True


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
