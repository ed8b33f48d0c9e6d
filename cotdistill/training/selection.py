"""Which rows a student trains on (`--select`): ranked under the student as it is before training, or drawn at random.

A row's score is that of its kept factual rationales as `cot` would train them (question -> rationale, answer), whatever
the strategy: every arm of a grid is given the same rows. With nll_k = -log p(t_k | t_<k, question) and rank_k = 1 + the
number of tokens more likely than t_k, over the K target tokens of the row's rationales:

    rsr     sum_k min(rank_k, 100) / sum_k nll_k     the rank-surprisal ratio of Yang et al. (arXiv 2601.14249): tokens
            that are improbable, so there is something to learn, and yet near the top, so the student can follow
    nll     sum_k nll_k / K                           the baseline of that paper: what the student finds likely
    length  K                                         short chains suit small students (arXiv 2502.12143)
    random  a draw from (data seed, id)               the size-matched control

The lowest count as best. `--select-share` of the candidates (`strategies.candidates`) are kept, in their order.

What differs from the paper: its authors' code (UmeanNever/RankSurprisalRatio @2675c01) chooses one of several
trajectories for each question, here whole rows are chosen, with all their rationales; there a chat template, here the
form of `cot`. Clipping at 100 and the quotient of sums, not the mean of quotients, are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from cotdistill.config import TrainingOptions
from cotdistill.data.records import Item
from cotdistill.seeds import rng
from cotdistill.strategies.candidates import RANDOM, RANKED, candidates, kept_count
from cotdistill.strategies.forms import FillContext, Form, Strategy, learn
from cotdistill.strategies.join import join
from cotdistill.students.encode import TokenTree
from cotdistill.students.student import Student
from cotdistill.training.objective import collate, selected_head

RANK_LIMIT = 100  # ranks above count as this one
RANKING = Strategy(
    "ranking",
    "what rows are ranked by: the form of cot",
    (Form("ranked", "{question}\nReason:", (learn(" {rationale}"), learn(" So the answer is"), learn(" {answer}"))),),
    plan=("ranked",),
)


@dataclass(frozen=True)
class ChosenRows:
    """The rows that a strategy trains on, in their order, of `left`, those that could be chosen; `scores`: {id: score},
    of a ranked choice and without the rows that the student cannot score."""

    kept: list[Item]
    left: list[Item]
    scores: Mapping[str, float]


def selected(
    items: Sequence[Item], strategy: Strategy, options: TrainingOptions, seed: int, student: Student
) -> list[Item]:
    """The rows that a strategy trains on, in their order. `student`: untrained; `seed`: of the data."""
    return choice(items, strategy, options, seed, student).kept


def choice(
    items: Sequence[Item], strategy: Strategy, options: TrainingOptions, seed: int, student: Student
) -> ChosenRows:
    """The same with what it was made by."""
    left = candidates(items, strategy, options.select)
    if options.select not in RANKED:
        return ChosenRows(left, left, {})
    scores = _scores(left, options, seed, student)
    # A row without a score (too long for the student, no factual rationale) is the last to be taken.
    ranked = sorted(left, key=lambda item: (scores.get(item.id, float("inf")), item.id))
    best = {item.id for item in ranked[: kept_count(len(left), options.select, options.select_share)]}
    return ChosenRows([item for item in left if item.id in best], left, scores)


def _scores(items: Sequence[Item], options: TrainingOptions, seed: int, student: Student) -> Mapping[str, float]:
    if options.select == RANDOM:
        return {item.id: rng(seed, "select", item.id).random() for item in items}
    tokens = token_scores(items, options, student)
    if options.select == "length":
        return {row: len(nll) for row, (nll, _) in tokens.items()}
    if options.select == "nll":
        return {row: float(nll.mean()) for row, (nll, _) in tokens.items()}
    return {row: rank_surprisal_ratio(nll, ranks) for row, (nll, ranks) in tokens.items()}


def rank_surprisal_ratio(nll: Tensor, ranks: Tensor) -> float:
    """sum_k min(rank_k, 100) / sum_k nll_k of one row's tokens, both [K]; ranks count from 1."""
    return float(ranks.clamp(max=RANK_LIMIT).sum() / nll.sum().clamp(min=1e-12))


def token_scores(items: Sequence[Item], options: TrainingOptions, student: Student) -> dict[str, tuple[Tensor, Tensor]]:
    """{row: (nll in nats [K], rank from 1 [K])} of its factual rationales' target tokens under the student, float64 on
    the CPU; rows that are too long for the student are missing."""
    usable = [item for item in items if item.kept("factual")]
    if not usable:
        return {}
    encoder = student.encoder(options.answers, options.max_length, "none")
    data = encoder.encode(join(usable, RANKING)[0], RANKING, FillContext(0, student.tokens.segment))
    by_row: dict[str, list[tuple[Tensor, Tensor]]] = {}
    trees = [(row, tree) for row, sample in zip(data.ids, data.samples, strict=True) for tree in sample]
    waiting = iter(sorted(trees, key=lambda pair: pair[1].size))
    was_training = student.model.training
    student.model.eval()
    while batch := list(islice(waiting, options.batch_size)):
        for (row, _), score in zip(batch, _batch_scores(student, [tree for _, tree in batch]), strict=True):
            by_row.setdefault(row, []).append(score)
    student.model.train(was_training)
    return {
        row: (torch.cat([nll for nll, _ in parts]), torch.cat([ranks for _, ranks in parts]))
        for row, parts in by_row.items()
    }


@torch.no_grad()
def _batch_scores(student: Student, trees: Sequence[TokenTree]) -> list[tuple[Tensor, Tensor]]:
    """(nll, ranks) of each tree's targets. N targets in all, V tokens of the vocabulary."""
    batch = collate(student, trees)
    with selected_head(student.model, batch.kept):  # logits of the N targets only
        logits = student.model(**batch.inputs, use_cache=False).logits
    logits = logits.reshape(-1, logits.shape[-1]).float()  # [N V]
    chosen = logits.gather(1, batch.tokens[:, None])  # [N 1]
    nll = (logits.logsumexp(-1) - chosen[:, 0]).double().cpu()
    ranks = (1 + (logits > chosen).sum(-1)).double().cpu()
    sizes = [len(tree.tokens) for tree in trees]
    return list(zip(nll.split(sizes), ranks.split(sizes), strict=True))
