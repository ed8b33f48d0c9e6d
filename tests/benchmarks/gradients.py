"""The distance of the fast path's gradient from a reference nobody could doubt."""

from __future__ import annotations

from typing import Any

import torch

from cotdistill.data.records import Item
from cotdistill.students.student import Student
from cotdistill.training.batches import micro_batches, step_trees
from cotdistill.training.cpu_kernels import CpuKernels
from cotdistill.training.objective import can_pack, collate, head_is_linear, loss
from cotdistill.training.packed_attention import PACKED, using_attention
from tests.benchmarks.workload import encoded


def gradient_distance(student: Student, strategy: str, rows: list[Item], **params: Any) -> float:
    """|fast - reference| / |reference| over all trained weights: one step's gradient, one sequence at a time, full
    logits.
    """
    model = student.model.eval()
    reference = encoded(student, strategy, rows, "none", **params)
    for tree in step_trees(reference.samples, reference.forms):
        coef = torch.from_numpy(tree.weights)
        ids = torch.from_numpy(tree.ids).long()[None]
        if tree.source is None:
            logits = model(input_ids=ids).logits[0]
        else:
            logits = model(input_ids=torch.from_numpy(tree.source).long()[None], decoder_input_ids=ids).logits[0]
        chosen = logits.log_softmax(-1)[torch.from_numpy(tree.positions).long(), torch.from_numpy(tree.tokens).long()]
        (coef * -chosen).sum().backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    model.zero_grad()
    fast = encoded(student, strategy, rows, **params)
    assert head_is_linear(student)
    batches = micro_batches(step_trees(fast.samples, fast.forms), 1024, can_pack(student))
    kernels = CpuKernels(loss=True, layers=True, vocabulary=True)
    products = kernels.products(model, batches)
    packed = using_attention(model, PACKED if can_pack(student) else None)
    with kernels.inside(model), packed:
        for batch in batches:
            loss(student, collate(student, batch, can_pack(student)), products=products)[0].backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    return float((found - wanted).norm() / wanted.norm())
