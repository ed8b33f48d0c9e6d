"""The distance of the fast path's gradient from a reference nobody could doubt."""

from __future__ import annotations

from typing import Any

import torch

from cotdistill.data.records import Item
from cotdistill.students.attention import PACKED, using_attention
from cotdistill.students.batches import micro_batches, step_rows
from cotdistill.students.embedding import rows_added
from cotdistill.students.families import Student
from cotdistill.students.loss import Scratch
from cotdistill.students.matmul import linear_layers
from tests.benchmarks.workload import encoded


def gradient_distance(student: Student, strategy: str, rows: list[Item], **params: Any) -> float:
    """|fast - reference| / |reference| over all weights: one step's gradient, one sequence at a time, full
    logits.
    """
    model = student.model.eval()
    reference = encoded(student, strategy, rows, "none", **params)
    for row in step_rows(reference.samples, reference.forms):
        tree, coef = row.tree, torch.from_numpy(row.coef)
        ids = torch.from_numpy(tree.ids).long()[None]
        if tree.source is None:
            logits = model(input_ids=ids).logits[0]
        else:
            logits = model(
                input_ids=torch.from_numpy(tree.source).long()[None], decoder_input_ids=ids
            ).logits[0]
        chosen = logits.log_softmax(-1)[
            torch.from_numpy(tree.positions).long(), torch.from_numpy(tree.tokens).long()
        ]
        (coef * -chosen).sum().backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    fast = encoded(student, strategy, rows, **params)
    assert student.head_is_linear
    batches = micro_batches(step_rows(fast.samples, fast.forms), 1024, student.can_pack)
    scratch = Scratch.of(model, batches)
    packed = using_attention(model, PACKED if student.can_pack else None)
    with rows_added(model), linear_layers(model), packed:
        for batch in batches:
            student.loss(student.collate(batch, student.can_pack), scratch=scratch)[0].backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    return float((found - wanted).norm() / wanted.norm())
