"""What the training tests share: one step's loss and gradient by any path, and the papers' losses written
out.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from cotdistill.strategies.forms import FillContext, Strategy
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.encode import EncodedSet, Sharing
from cotdistill.students.student import Student
from cotdistill.training import cpu_kernels, objective
from cotdistill.training.batches import micro_batches, step_trees
from cotdistill.training.cpu_kernels import CpuKernels
from cotdistill.training.packed_attention import PACKED, using_attention
from tests.models import items


def encode(
    student: Student, strategy: Strategy | str, count: int = 4, sharing: Sharing | None = None, rows: Any = None
) -> EncodedSet:
    """`count` rows as token trees, merged as for training unless `sharing` says how; scores are word lengths."""
    made = create(strategy) if isinstance(strategy, str) else strategy
    encoder = objective.training_encoder(student) if sharing is None else student.encoder(sharing=sharing)
    context = FillContext(0, student.tokens.segment, lambda _, text, __: [float(len(word)) for word in text.split()])
    return encoder.encode(join(rows or items(count), made)[0], made, context)


def step_gradient(
    student: Student,
    data: EncodedSet,
    strategy: Strategy | None = None,
    budget: int = 4096,
    plain: bool = False,
    order: list[int] | None = None,
) -> tuple[float, Tensor]:
    """Loss and flat gradient of one optimizer step on all of `data`; unless `plain`, with all that the loop
    does on one CPU.
    """
    packed = not plain and objective.can_pack(student)
    in_place = not plain and objective.head_is_linear(student)
    samples = data.samples if order is None else [data.samples[at] for at in order]
    student.model.zero_grad()
    loss = 0.0
    batches = micro_batches(step_trees(samples, data.forms), budget, packed)
    on_cpu = not plain and student.device.type == "cpu"
    kernels = CpuKernels(loss=on_cpu, layers=on_cpu, vocabulary=on_cpu and in_place)
    products = kernels.products(student.model, batches)
    least = patch.object(cpu_kernels, "LEAST", 0)  # the models are so small that no product would be oneDNN's
    with least, kernels.inside(student.model), using_attention(student.model, PACKED if packed else None):
        for batch in batches:
            micro_batch = objective.collate(student, batch, packed)
            reweight = strategy and strategy.reweight
            total, _ = objective.loss(student, micro_batch, None, reweight, plain, products)
            total.backward()
            loss += float(total.detach())
    return loss, flat_gradient(student)


def flat_gradient(student: Student) -> Tensor:
    """All gradients as one vector (zeros where a parameter has none)."""
    return torch.cat(
        [
            (torch.zeros_like(p) if p.grad is None else p.grad).flatten()
            for p in student.model.parameters()
            if p.requires_grad
        ]
    )


def distance(one: Tensor, other: Tensor) -> float:
    """|one - other| / |other|."""
    return float((one - other).norm() / other.norm())


def target_nll(student: Student, source: str, shown: str, scored: str) -> Tensor:
    """nll of the tokens of `scored` and EOS after `source` and `shown`, from text and the model alone [N]."""
    words, model = student.tokenizer, student.model
    eos = words.eos_token_id
    if student.encoder_decoder:
        target = words(shown + scored)["input_ids"]  # the tokenizer ends it in EOS
        begun = len(words(shown, add_special_tokens=False)["input_ids"]) if shown else 0
        logits = model(
            input_ids=torch.tensor([words(source)["input_ids"]]),
            decoder_input_ids=torch.tensor([[student.start, *target[:-1]]]),
        ).logits[0]
        return -logits.log_softmax(-1)[range(len(target)), target][begun:]
    prompt, whole = words(source + shown)["input_ids"], words(source + shown + scored)["input_ids"]
    assert whole[: len(prompt)] == prompt
    logits = model(input_ids=torch.tensor([whole])).logits[0]
    wanted = [*whole[1:], eos]
    return -logits.log_softmax(-1)[range(len(whole)), wanted][len(prompt) - 1 :]


def mean_over_rows(parts: list[Tensor]) -> Tensor:
    """The papers' batch mean: over all scored tokens of all rows of one kind."""
    return torch.cat(parts).mean()
