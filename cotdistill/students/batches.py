"""The pure planner: which examples make a step, which rows a micro-batch, and every target's coef."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

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

    @property
    def tokens(self) -> int:
        """Input positions: those of the decoder, and of the encoder where there is one."""
        return len(self.tree.ids) + (0 if self.tree.source is None else len(self.tree.source))


@lru_cache(
    maxsize=2
)  # a step touches at most a few epochs; shuffling anew each step would grow with the data
def epoch_order(size: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The order of examples in one epoch; depends on (seed, epoch) only, so resuming needs no state."""
    order = list(range(size))
    rng(seed, "order", epoch).shuffle(order)
    return tuple(order)


def step_indices(size: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The examples of optimizer step `step` (from 0): slices of the endless sequence of epochs."""
    places = range(step * batch_size, (step + 1) * batch_size)
    return [epoch_order(size, seed, at // size)[at % size] for at in places]


def step_rows(samples: Sequence[Sequence[Encoded]], forms: Sequence[Form]) -> list[Row]:
    """Rows of one optimizer step. coef = share * w / (sum of w, or count of w, of that form in the whole
    step).

    The denominators belong to the step, not to the micro-batch: the loss does not depend on how rows are
    split.
    """
    trees = [tree for sample in samples for tree in sample]
    total = np.zeros(len(forms), np.float64)
    counted = np.array([form.denominator == "count" for form in forms])
    for tree in trees:
        np.add.at(total, tree.forms, np.where(counted[tree.forms], 1.0, tree.weights))
    share = np.array([form.share for form in forms], np.float64)
    scale = np.divide(share, total, out=np.zeros_like(share), where=total != 0)
    return [Row(tree, (scale[tree.forms] * tree.weights).astype(np.float32)) for tree in trees]


def micro_batches(
    rows: Sequence[Row], token_budget: int, packed: bool = False, processes: int = 1
) -> list[list[Row]]:
    """The rows of a step cut into micro-batches of at most `token_budget` positions; a longer row stands
    alone.
    """
    return _balanced(rows, token_budget, processes) if packed else _sorted(rows, token_budget)


def for_rank(batches: list[list[Row]], rank: int, processes: int) -> Iterator[list[Row]]:
    """This rank's micro-batches; all ranks run the same number, missing ones repeat a row with coef 0."""
    for turn in range(-(-len(batches) // processes)):
        at = turn * processes + rank
        if at < len(batches):
            yield batches[at]
        else:
            row = min(batches[-1], key=lambda row: row.tokens)
            yield [Row(row.tree, np.zeros_like(row.coef))]


def _balanced(rows: Sequence[Row], token_budget: int, processes: int) -> list[list[Row]]:
    """Packed rows have no padding: as few micro-batches as fit, filled evenly, longest rows first."""
    longest_first = sorted(rows, key=lambda row: -row.tokens)
    count = -(-sum(row.tokens for row in rows) // token_budget)
    while True:
        count = min(-(-count // processes) * processes, len(rows))
        batches: list[list[Row]] = [[] for _ in range(count)]
        loads = [0] * count
        for row in longest_first:
            at = loads.index(min(loads))
            batches[at].append(row)
            loads[at] += row.tokens
        if count == len(rows) or max(loads) <= max(token_budget, longest_first[0].tokens):
            return batches
        count += 1


def _sorted(rows: Sequence[Row], token_budget: int) -> list[list[Row]]:
    """Padded rows: sorted by length, cut where rows x longest would exceed the budget."""

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
