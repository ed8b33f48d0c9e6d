"""On-policy distillation: a share of each step's examples is written by the student and scored by the teacher.

    L = (1 - s) E_rows[nll] + s w E_{y ~ student}[ mean_n D(P_T(. | x, y_<n), P_S(. | x, y_<n)) ]    GKD, Algorithm 1

Paper: On-Policy Distillation of Language Models (GKD), arXiv 2306.13649; s is `--on-policy`, w its weight, D one of
`training.kd`. No gradient flows through the sampling. Differs: the rows' examples keep their strategy's loss (GKD
learns D on them too: `--kd`), s is a share of each step's examples and not a chance per step, and means run over the
optimizer step. What is scored is every learned token of a form, also the connectors that a walk inserts: a divergence
asks what comes next after the student's own words, not which word came.

Null controls (arXiv 2608.31046) keep the student's texts and take the teacher's part away: what they gain, being
on-policy gains without a teacher.

    constant     in the place of -D an advantage of -1 on each sampled token: + w log P_S(y_n | x, y_<n)
    other-row    P_T of the next example of the step that the student wrote, at the same place of the same form
    uniform      P_T = 1 / V

Nothing but the step number is state here either: which examples, and every token, are drawn from (seed, step, id).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

import numpy as np
import torch
from torch import Tensor

from cotdistill.config import DistillConfig
from cotdistill.console import warn_once
from cotdistill.data.distributions import vocabulary_digest
from cotdistill.errors import UsageError
from cotdistill.seeds import rng
from cotdistill.strategies.forms import Form, Strategy
from cotdistill.students.encode import TokenTree
from cotdistill.students.forwards import replaced
from cotdistill.students.load import config_of, load_configured, load_tokenizer
from cotdistill.students.places import locate, teacher_model
from cotdistill.students.student import Student
from cotdistill.training import objective
from cotdistill.training.batches import micro_batches, step_trees
from cotdistill.training.kd import Divergence, WholeSignal
from cotdistill.training.memory import default_budget
from cotdistill.training.packed_attention import PACKED, using_attention

ELSEWHERE = ("openai:", "recorded:")  # teachers that are no model in this process


@dataclass(frozen=True)
class Written:
    """An example in the student's own words: token trees of its strategy's forms, weights not yet coefs."""

    trees: list[TokenTree]
    tokens: int  # that the student generated
    finished: bool  # it ended every slot by itself


# (student, step, [(place in the step, sample)]) -> None for an example that the student could not write in its context
Write = Callable[[Student, int, Sequence[tuple[int, int]]], list[Written | None]]


@dataclass(frozen=True)
class Scores:
    """What a teacher says of the student's texts of one step; `states` [M, D] without a head [V, D] are logits, none at
    all a uniform distribution."""

    divergence: Divergence
    weight: float
    size: int  # of the vocabulary
    states: Tensor | None = None
    head: Tensor | None = None
    bias: Tensor | None = None

    def signal(self, trees: Sequence[TokenTree], device: torch.device) -> WholeSignal | None:
        """The teacher's side of a micro-batch."""
        none = [np.full(len(tree.tokens), -1, np.int32) if tree.scored is None else tree.scored for tree in trees]
        scored, coef = np.concatenate(none), np.concatenate([tree.weights for tree in trees])
        (rows,) = np.nonzero(scored >= 0)
        if not len(rows):
            return None
        at = torch.from_numpy(scored[rows].astype(np.int64)).to(device)
        return WholeSignal(
            torch.from_numpy(rows).to(device),
            torch.from_numpy((self.weight * coef[rows]).astype(np.float32)).to(device),
            self.divergence,
            self.size,
            None if self.states is None else self.states[at],
            self.head,
            self.bias,
        )


@dataclass(frozen=True)
class Lesson:
    """What one optimizer step learns from. `scores`: of the student's own texts; `said`: for the metrics."""

    trees: list[TokenTree]
    scores: Scores | None = None
    said: Mapping[str, int] | None = None


@dataclass(frozen=True)
class OnPolicy:
    """`write` gives the student's texts, `teacher` scores them; None under a control that asks no teacher."""

    config: DistillConfig
    write: Write
    teacher: Student | None
    size: int  # of the vocabulary

    def chosen(self, step: int, examples: int) -> list[int]:
        """The places, of a step's `examples`, whose texts the student writes: over all steps exactly the share."""
        assert self.config.on_policy is not None
        each = Fraction(str(self.config.on_policy)) * examples
        count = floor((step + 1) * each) - floor(step * each)
        return sorted(rng(self.config.seed, "on-policy-rows", step).sample(range(examples), count))

    def lesson(
        self, student: Student, step: int, indices: Sequence[int], rows: Sequence[list[TokenTree]], forms: list[Form]
    ) -> Lesson:
        """A step's examples, some of them in the student's own words. `rows`: the trees of the samples `indices`."""
        places = self.chosen(step, len(indices))
        written = self.write(student, step, [(place, indices[place]) for place in places])
        own = {place: one for place, one in zip(places, written, strict=True) if one is not None}
        examples = [own[place].trees if place in own else trees for place, trees in enumerate(rows)]
        trees = step_trees(examples, forms)
        owners = [place if place in own else None for place, each in enumerate(examples) for _ in each]
        said = {
            "examples": len(own),
            "tokens": sum(one.tokens for one in own.values()),
            "finished": sum(one.finished for one in own.values()),
            "positions": sum(tree.size for one in own.values() for tree in one.trees),
            "learned": sum(len(tree.tokens) for one in own.values() for tree in one.trees),
        }
        if self.config.on_policy_signal == "constant":
            weight = self.config.on_policy_weight
            return Lesson(
                [
                    tree if owner is None else replace(tree, weights=-weight * tree.weights)
                    for tree, owner in zip(trees, owners, strict=True)
                ],
                None,
                said,
            )
        trees, count = _numbered(trees, owners)
        scores = self._scores([tree for tree in trees if tree.scored is not None], count)
        if self.config.on_policy_signal == "other-row":
            trees = of_another_row(trees, owners)
        return Lesson(trees, scores, said)

    def _scores(self, trees: list[TokenTree], count: int) -> Scores:
        divergence = Divergence.parse(self.config.on_policy_divergence)
        none = Scores(divergence, self.config.on_policy_weight, self.size)
        if self.teacher is None or not trees:
            return none
        states, head, bias = target_states(self.teacher, trees, count)
        return replace(none, states=states, head=head, bias=bias)


def _numbered(trees: Sequence[TokenTree], owners: Sequence[int | None]) -> tuple[list[TokenTree], int]:
    """The trees, those with an owner with a row of the scores for each target; and how many rows that makes."""
    numbered, count = [], 0
    for tree, owner in zip(trees, owners, strict=True):
        if owner is not None:
            tree = replace(tree, scored=np.arange(count, count + len(tree.tokens), dtype=np.int32))
            count += len(tree.tokens)
        numbered.append(tree)
    return numbered, count


def of_another_row(trees: Sequence[TokenTree], owners: Sequence[int | None]) -> list[TokenTree]:
    """Each owner's targets with the scores of the next owner's: the n-th of a form with the n-th, from the first on
    again where there are fewer."""
    order = sorted({owner for owner in owners if owner is not None})
    rows: dict[tuple[int, int], list[int]] = {}  # by owner and form, in the order of the text
    for tree, owner in zip(trees, owners, strict=True):
        if owner is not None and tree.scored is not None:
            for form, row in zip(tree.forms.tolist(), tree.scored.tolist(), strict=True):
                rows.setdefault((owner, form), []).append(row)
    swapped = []
    for tree, owner in zip(trees, owners, strict=True):
        if owner is not None and tree.scored is not None:
            scored, begun = tree.scored.copy(), dict.fromkeys(tree.forms.tolist(), 0)
            after = order[order.index(owner) + 1 :] + order[: order.index(owner)]
            for at, form in enumerate(tree.forms.tolist()):
                others = next((rows[other, form] for other in after if (other, form) in rows), None)
                if others is not None:
                    scored[at] = others[begun[form] % len(others)]
                begun[form] += 1
            tree = replace(tree, scored=scored)
        swapped.append(tree)
    return swapped


@torch.no_grad()
def target_states(teacher: Student, trees: list[TokenTree], count: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """What the teacher's head [V, D] makes the logits of the scored targets from: states [count, D], head and bias.

    Where a model's logits are more than a linear head's they are kept themselves, [count, V], and there is no head.
    """
    packed, model = objective.can_pack(teacher), teacher.model
    linear = objective.head_is_linear(teacher)
    if not linear:
        warn_once(f"--teacher: {type(model).__name__}'s head is not linear; its logits are kept, which takes memory")
    head = model.get_output_embeddings()
    kept: list[tuple[Tensor, Tensor]] = []
    with using_attention(model, PACKED if packed else None):
        for some in micro_batches(trees, default_budget(teacher.device, model), packed):
            batch = objective.collate(teacher, some, packed)
            at = np.concatenate([tree.scored for tree in some if tree.scored is not None]).astype(np.int64)
            with replaced({head: lambda hidden: hidden}) if linear else objective.selected_head(model, batch.kept):
                states = model(**batch.inputs, use_cache=False).logits
            states = states.reshape(-1, states.shape[-1])
            kept.append((torch.from_numpy(at).to(states.device), states[batch.kept] if linear else states))
    first = kept[0][1]
    states = first.new_empty(count, first.shape[-1])
    for rows, some_states in kept:
        states[rows] = some_states
    return (states, head.weight, head.bias) if linear else (states, None, None)


def teacher_of(config: DistillConfig) -> Student | None:
    """The teacher's model; None where a control asks none."""
    if config.scored_by is None:
        return None
    teacher = load_configured(teacher_model(config.scored_by), config)
    teacher.model.requires_grad_(False)
    return teacher


def check_on_policy(config: DistillConfig, strategy: Strategy, processes: int | None = None) -> None:
    """Complain, before any weight is loaded, about what cannot be learned on-policy. `processes`: that will train
    together; None: as many as were launched."""
    if config.on_policy is None:
        return
    Divergence.parse(config.on_policy_divergence, option="--on-policy-divergence")
    if config.teacher is None:
        raise UsageError("--on-policy needs a model that scores what the student writes; name it with --teacher")
    if config.teacher.startswith(ELSEWHERE) or config.teacher == "rows":
        raise UsageError(
            f"--on-policy: {config.teacher} cannot score what the student writes; --teacher must be a local model or a "
            "hub name"
        )
    if (processes or int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise UsageError("--on-policy trains in one process: start it without a launcher, or with --gpus-per-cell 1")
    if any(form.denominator == "count" for form in strategy.learned_forms()):
        raise UsageError(
            f"--on-policy: {strategy.name} also unlearns tokens, which has no meaning for the student's own"
        )
    if strategy.progressive:
        raise UsageError(f"--on-policy: what {strategy.name} learns changes from pass to pass; omit one of the two")
    if config.on_policy_signal == "other-row" and Fraction(str(config.on_policy)) * config.batch_size < 2:
        raise UsageError(
            f"--on-policy-signal other-row needs two examples a step, and {config.on_policy:g} of {config.batch_size} "
            "are fewer; raise --on-policy or --batch-size"
        )
    _check_models(config.student, config.teacher, config.trust_remote_code)


def _check_models(student: str, teacher: str, trusted: bool) -> None:
    name = teacher_model(teacher)
    for option, shown, model in (("--student", student, student), ("--teacher", teacher, name)):
        if config_of(model, trusted).is_encoder_decoder:
            raise UsageError(f"--on-policy: {option} {shown} is an encoder-decoder; it takes decoder-only models")
    words = [load_tokenizer(locate(model), model, trusted).get_vocab() for model in (student, name)]
    if vocabulary_digest(words[0]) != vocabulary_digest(words[1]):
        raise UsageError(
            f"--on-policy: {student} has another vocabulary than the teacher {teacher}; use a student of the "
            "teacher's family"
        )
