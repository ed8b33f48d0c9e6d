"""On-policy training: the loss on the same samples against GKD's formula written plainly, and its null controls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cotdistill.config import DistillConfig
from cotdistill.decoding.own_words import OwnWords
from cotdistill.strategies.registry import create
from cotdistill.students.encode import TokenTree
from cotdistill.students.student import Student
from cotdistill.training import objective
from cotdistill.training.on_policy import Lesson, OnPolicy, of_another_row
from cotdistill.training.packed_attention import PACKED, using_attention
from cotdistill.training.train import Loop
from cotdistill.training.training_set import TrainingRows
from tests import models
from tests.models import items
from tests.training.learning import distance, flat_gradient

ROWS = items(6)


def student(family: str, **changes: Any) -> Student:
    """One that has opinions: a fresh model's distributions are so flat that all divergences are nearly 0."""
    made = models.student(family, tie_word_embeddings=False, **changes)
    with torch.no_grad():
        made.model.get_output_embeddings().weight *= 25
    return made


def settings(**given: Any) -> DistillConfig:
    plain = {"steps": 3, "batch_size": 4, "device": "cpu", "on_policy": 0.5, "on_policy_tokens": 12, "seed": 3}
    return DistillConfig.model_validate({**plain, "teacher": "big", **given})


def on_policy(pupil: Student, teacher: Student | None, config: DistillConfig, strategy: str) -> tuple[OnPolicy, Any]:
    made = create(strategy)
    rows = TrainingRows(config, made, ROWS, pupil)
    learned = rows.training_set()
    write = OwnWords(
        pupil.encoder("text", None, "chain"),
        made,
        learned.data.ids,
        rows.slots(learned),
        config.seed,
        config.on_policy_tokens,
        config.on_policy_signal == "constant",
    )
    return OnPolicy(config, write, teacher, len(pupil.tokenizer)), learned.data


def lesson_of(
    pupil: Student, teacher: Student | None, config: DistillConfig, strategy: str = "cascod"
) -> tuple[Lesson, Any]:
    policy, data = on_policy(pupil, teacher, config, strategy)
    return policy.lesson(pupil, 0, [0, 1, 2, 3], data.samples[:4], data.forms), data


def learned(pupil: Student, lesson: Lesson, plain: bool = False) -> tuple[float, Tensor]:
    """Loss and gradient as the loop has them."""
    packed = not plain and objective.head_is_linear(pupil) and objective.can_pack(pupil)
    pupil.model.zero_grad()
    with using_attention(pupil.model, PACKED if packed else None):
        tellers = [] if lesson.scores is None else [lesson.scores]
        total, each = objective.loss(pupil, objective.collate(pupil, lesson.trees, packed, tellers), plain=plain)
        total.backward()
    assert float(each.sum()) == pytest.approx(float(total.detach()), rel=1e-4)
    return float(total.detach()), flat_gradient(pupil)


def logits_of(model: Any, tree: TokenTree) -> Tensor:
    """Of each target of a chain, from the model and the ids alone."""
    assert tree.is_chain
    return model(input_ids=torch.tensor([tree.ids.tolist()])).logits[0][tree.positions.tolist()].double()


def plainly(pupil: Student, teacher: Student, lesson: Lesson, how: str, weight: float) -> tuple[float, Tensor]:
    """GKD written out: coef * nll of rows, coef * weight * D(teacher, student) of the student's own texts."""
    pupil.model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for tree in lesson.trees:
        q = logits_of(pupil.model, tree).softmax(-1)
        coef = torch.tensor(tree.weights).double()
        if tree.scored is None:
            total = total - (coef * q[range(len(q)), tree.tokens.tolist()].log()).sum()
            continue
        p = logits_of(teacher.model, tree).softmax(-1).detach()
        beta = float(how.partition(":")[2] or 0.5)
        m = beta * p + (1 - beta) * q
        value = {
            "kl": (p * (p / q).log()).sum(-1),
            "reverse-kl": (q * (q / p).log()).sum(-1),
            "jsd": (beta * p * (p / m).log() + (1 - beta) * q * (q / m).log()).sum(-1),
        }[how.partition(":")[0]]
        total = total + weight * (coef * value).sum()
    total.backward()
    return float(total.detach()), flat_gradient(pupil)


@pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])
@pytest.mark.parametrize("how", ["kl", "reverse-kl", "jsd:0.3"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_loss_and_gradient_are_gkds(family: str, how: str, plain: bool) -> None:
    pupil, teacher = student(family), student(family, width=48, seed=1)
    lesson, _ = lesson_of(pupil, teacher, settings(on_policy_divergence=how, on_policy_weight=0.7))
    assert lesson.said is not None
    assert lesson.said["examples"] == 2
    loss, gradient = learned(pupil, lesson, plain)
    expected, slope = plainly(pupil, teacher, lesson, how, 0.7)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert distance(gradient, slope) < 1e-3


def test_wrong_variants_differ() -> None:
    """The other direction, a teacher that reads other texts, and the rows' loss on the student's own texts as well."""
    pupil, teacher = student("gpt2"), student("gpt2", width=48, seed=1)
    lesson, _ = lesson_of(pupil, teacher, settings(on_policy=1.0))
    _, right = learned(pupil, lesson)
    assert lesson.scores is not None
    assert lesson.scores.states is not None
    forward = lesson_of(pupil, teacher, settings(on_policy=1.0, on_policy_divergence="kl"))[0]
    shifted = Lesson(
        lesson.trees, type(lesson.scores)(**{**vars(lesson.scores), "states": lesson.scores.states.roll(1, 0)})
    )
    both = Lesson([replace(tree, scored=None) for tree in lesson.trees])
    for wrong in (forward, shifted, both):
        assert distance(learned(pupil, wrong)[1], right) > 0.05  # the parity test allows 0.001


def test_the_student_writes_its_own_share_and_every_form() -> None:
    pupil = student("gpt2")
    for strategy in ("cot", "cascod", "post-cot", "step-by-step", "scott"):
        config = settings(on_policy=1.0, on_policy_signal="uniform")
        lesson, data = lesson_of(pupil, None, config, strategy)
        assert {form for tree in lesson.trees for form in tree.forms.tolist()} == set(range(len(data.forms)))
        rows = {tuple(tree.ids.tolist()) for sample in data.samples for tree in sample}
        assert not rows & {tuple(tree.ids.tolist()) for tree in lesson.trees}, strategy
        assert all(tree.scored is not None for tree in lesson.trees)
        again, _ = lesson_of(pupil, None, config, strategy)
        assert [tree.ids.tolist() for tree in again.trees] == [tree.ids.tolist() for tree in lesson.trees]


def test_the_share_is_exact_over_the_steps() -> None:
    policy = OnPolicy(settings(on_policy=0.3, batch_size=5), lambda *_: [], None, 1)
    chosen = [policy.chosen(step, 5) for step in range(40)]
    assert sum(map(len, chosen)) == 60
    assert {len(places) for places in chosen} == {1, 2}
    assert {place for places in chosen for place in places} == set(range(5))


def test_a_constant_advantage_unlearns_what_was_sampled() -> None:
    """And only that: no connector, which the walk inserts; its sum is the formula's."""
    pupil = student("gpt2")
    lesson, _ = lesson_of(pupil, None, settings(on_policy=1.0, on_policy_signal="constant"), "cot")
    assert lesson.scores is None
    assert all((tree.weights < 0).all() for tree in lesson.trees)
    whole, _ = lesson_of(pupil, None, settings(on_policy=1.0, on_policy_signal="uniform"), "cot")
    assert sum(len(tree.tokens) for tree in lesson.trees) < sum(len(tree.tokens) for tree in whole.trees)
    nll = [
        -logits_of(pupil.model, tree).log_softmax(-1)[range(len(tree.tokens)), tree.tokens.tolist()]
        for tree in lesson.trees
    ]
    assert learned(pupil, lesson)[0] == pytest.approx(-float(torch.cat(nll).mean().detach()), rel=1e-4)


def test_a_uniform_teacher_asks_for_entropy() -> None:
    """KL(q, 1 / V) = log V - H(q)."""
    pupil = student("gpt2")
    lesson, _ = lesson_of(pupil, None, settings(on_policy=1.0, on_policy_signal="uniform"), "cot")
    q = torch.cat([logits_of(pupil.model, tree).log_softmax(-1) for tree in lesson.trees])
    expected = np.log(len(pupil.tokenizer)) + float((q.exp() * q).sum(-1).mean().detach())
    assert learned(pupil, lesson)[0] == pytest.approx(expected, rel=1e-3)


def test_another_row_is_never_the_own_one() -> None:
    def tree(rows: list[int], forms: list[int]) -> TokenTree:
        some = np.array(rows, np.int32)
        return TokenTree(some, some, some, some, np.array(forms, np.int32), some.astype(np.float32), None, None, some)

    trees = [tree([0, 1, 2], [0, 0, 1]), tree([3, 4], [0, 1]), tree([5, 6, 7, 8], [0, 0, 0, 1])]
    swapped = [one.scored.tolist() for one in of_another_row(trees, [0, 2, 5]) if one.scored is not None]
    assert swapped == [[3, 3, 4], [5, 8], [0, 1, 0, 2]]
    pupil, teacher = student("gpt2"), student("gpt2", width=48, seed=1)
    right, _ = lesson_of(pupil, teacher, settings())
    other, _ = lesson_of(pupil, teacher, settings(on_policy_signal="other-row"))
    assert learned(pupil, right)[0] != pytest.approx(learned(pupil, other)[0], rel=1e-4)


def test_resuming_is_exact(tmp_path: Path) -> None:
    """Stopped after a step and taken up again: the same metrics and weights, bit for bit, with dropout."""
    teacher = student("gpt2", width=48, seed=1)

    def trained(folder: Path, stop: int | None) -> Student:
        pupil = student("gpt2")
        for module in pupil.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
        config = settings(checkpoint_every=1, lr=1e-2)
        policy, data = on_policy(pupil, teacher, config, "cascod")
        if stop is not None:
            Loop(pupil, data, config, folder, on_policy=policy).advance(stop)
        else:
            Loop(pupil, data, config, folder, on_policy=policy).run()
        return pupil

    whole = trained(tmp_path / "whole", None)
    trained(tmp_path / "broken", 1)
    again = trained(tmp_path / "broken", None)
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() == (tmp_path / "broken" / "metrics.jsonl").read_bytes()
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
