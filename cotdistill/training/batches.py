"""The pure planner: which examples make a step, which trees a micro-batch, and every target's coef."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from cotdistill.seeds import rng
from cotdistill.strategies.forms import Form
from cotdistill.students.encode import TokenTree


@lru_cache(maxsize=2)  # a step touches at most a few epochs; shuffling anew each step would grow with the data
def epoch_order(size: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The order of examples in one epoch; depends on (seed, epoch) only, so resuming needs no state."""
    order = list(range(size))
    rng(seed, "order", epoch).shuffle(order)
    return tuple(order)


def step_indices(size: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The examples of optimizer step `step` (from 0): slices of the endless sequence of epochs."""
    places = range(step * batch_size, (step + 1) * batch_size)
    return [epoch_order(size, seed, at // size)[at % size] for at in places]


def step_trees(samples: Sequence[Sequence[TokenTree]], forms: Sequence[Form]) -> list[TokenTree]:
    """The trees of one optimizer step, whose weights w are turned into coefs.

    coef = share * w / (sum of w, or count of w, of that form in the whole step). The denominators belong to the step,
    not to the micro-batch: the loss does not depend on how trees are grouped.
    """
    trees = [tree for sample in samples for tree in sample]
    total = np.zeros(len(forms), np.float64)
    counted = np.array([form.denominator == "count" for form in forms])
    for tree in trees:
        np.add.at(total, tree.forms, np.where(counted[tree.forms], 1.0, tree.weights))
    share = np.array([form.share for form in forms], np.float64)
    scale = np.divide(share, total, out=np.zeros_like(share), where=total != 0)
    return [replace(tree, weights=(scale[tree.forms] * tree.weights).astype(np.float32)) for tree in trees]


def micro_batches(
    trees: Sequence[TokenTree], token_budget: int, packed: bool = False, processes: int = 1
) -> list[list[TokenTree]]:
    """A step's trees cut into micro-batches of at most `token_budget` positions; a longer tree is alone in its own."""
    return _balanced(trees, token_budget, processes) if packed else _sorted(trees, token_budget)


def for_rank(batches: list[list[TokenTree]], rank: int, processes: int) -> Iterator[list[TokenTree]]:
    """This rank's micro-batches; all ranks run the same number, missing ones repeat a tree with coef 0."""
    for turn in range(-(-len(batches) // processes)):
        at = turn * processes + rank
        if at < len(batches):
            yield batches[at]
        else:
            tree = min(batches[-1], key=lambda tree: tree.size)
            yield [replace(tree, weights=np.zeros_like(tree.weights))]


def _balanced(trees: Sequence[TokenTree], token_budget: int, processes: int) -> list[list[TokenTree]]:
    """Packing needs no padding: as few micro-batches as fit, filled evenly, longest trees first."""
    longest_first = sorted(trees, key=lambda tree: -tree.size)
    count = -(-sum(tree.size for tree in trees) // token_budget)
    while True:
        count = min(-(-count // processes) * processes, len(trees))
        batches: list[list[TokenTree]] = [[] for _ in range(count)]
        loads = [0] * count
        for tree in longest_first:
            at = loads.index(min(loads))
            batches[at].append(tree)
            loads[at] += tree.size
        if count == len(trees) or max(loads) <= max(token_budget, longest_first[0].size):
            return batches
        count += 1


def _sorted(trees: Sequence[TokenTree], token_budget: int) -> list[list[TokenTree]]:
    """Padded trees: sorted by length, cut where rows x longest would exceed the budget."""

    def lengths(tree: TokenTree) -> tuple[int, int]:
        return (0 if tree.source is None else len(tree.source), len(tree.ids))

    batches: list[list[TokenTree]] = []
    longest = (0, 0)
    for tree in sorted(trees, key=lengths, reverse=True):
        source, target = lengths(tree)
        grown = (max(longest[0], source), max(longest[1], target))
        if batches and (len(batches[-1]) + 1) * sum(grown) <= token_budget:
            batches[-1].append(tree)
            longest = grown
        else:
            batches.append([tree])
            longest = (source, target)
    return batches
