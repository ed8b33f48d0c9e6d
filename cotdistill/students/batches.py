"""The pure planner: which examples make an optimizer step, which rows a micro-batch, and every target's coef."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotdistill.seeds import rng
from cotdistill.strategies.forms import Form
from cotdistill.students.encode import Encoded


@dataclass(frozen=True)
class Row:
    """One token tree of an optimizer step with the final coef [N] of each of its targets."""

    tree: Encoded
    coef: NDArray[np.float32]


def epoch_order(size: int, seed: int, epoch: int) -> list[int]:
    """The order of examples in one epoch; depends on (seed, epoch) only, so resuming needs no state."""
    order = list(range(size))
    rng(seed, "order", epoch).shuffle(order)
    return order


def step_indices(size: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The examples of optimizer step `step` (from 0): consecutive slices of the endless sequence of epochs."""
    first = step * batch_size
    epochs = {at // size for at in range(first, first + batch_size)}
    orders = {epoch: epoch_order(size, seed, epoch) for epoch in epochs}
    return [orders[at // size][at % size] for at in range(first, first + batch_size)]


def step_rows(samples: Sequence[Sequence[Encoded]], forms: Sequence[Form]) -> list[Row]:
    """Rows of one optimizer step. coef = share * w / (sum of w, or count of w, of that form in the whole step).

    The denominators belong to the step, not to the micro-batch: the loss does not depend on how rows are split.
    """
    trees = [tree for sample in samples for tree in sample]
    total = np.zeros(len(forms), np.float64)
    for tree in trees:
        counted = np.array([f.denominator == "count" for f in forms])[tree.forms]
        np.add.at(total, tree.forms, np.where(counted, 1.0, tree.weights))
    share = np.array([form.share for form in forms], np.float64)
    scale = np.divide(share, total, out=np.zeros_like(share), where=total != 0)
    return [Row(tree, (scale[tree.forms] * tree.weights).astype(np.float32)) for tree in trees]


def micro_batches(rows: Sequence[Row], token_budget: int) -> list[list[Row]]:
    """Rows sorted by length and cut where rows x longest would exceed the budget; a longer row stands alone."""

    def size(row: Row) -> tuple[int, int]:
        return (0 if row.tree.source is None else len(row.tree.source), len(row.tree.ids))

    batches: list[list[Row]] = []
    longest = (0, 0)
    for row in sorted(rows, key=size, reverse=True):
        source, target = size(row)
        grown = (max(longest[0], source), max(longest[1], target))
        if batches and (len(batches[-1]) + 1) * sum(grown) <= token_budget:
            batches[-1].append(row)
            longest = grown
        else:
            batches.append([row])
            longest = (source, target)
    return batches


def for_rank(batches: list[list[Row]], rank: int, processes: int) -> Iterator[list[Row]]:
    """This rank's micro-batches; all ranks run the same number, short ones repeat a batch with coef 0."""
    rounds = -(-len(batches) // processes)
    for turn in range(rounds):
        at = turn * processes + rank
        if at < len(batches):
            yield batches[at]
        else:
            yield [Row(row.tree, np.zeros_like(row.coef)) for row in batches[-1]]
