"""Which rows can be chosen from (`--select`), and how many are; by what they are ranked: `training.selection`.

Two choices are no rankings. `right` leaves out rationales that ended in another answer than they were to support, which
matters for rows elicited with --keep all (OpenThoughts, arXiv 2506.04178, finds that such a filter does not help).
`wrong` takes the teacher's rationales that ended in a wrong answer, which `distill` otherwise leaves out, and learns
them with that answer; rows without one are left out (such rationales cost hardly anything, arXiv 2502.07374).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cotdistill.data.records import Item
from cotdistill.errors import NothingLeft
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.join import unusable

RANDOM = "random"
RANKED = ("rsr", "nll", "length", RANDOM)  # of these --select-share is kept


def candidates(items: Sequence[Item], strategy: Strategy, select: str | None) -> list[Item]:
    """The rows to choose from, without loading a student. Under `right` their wrong rationales are gone; rows that the
    strategy cannot use count for no share. Raises `NothingLeft` where a filter leaves none."""
    if select is None:
        return list(items)
    if select == "right":
        items = [_only_right(item) for item in items]
    if select == "wrong":
        items = [changed for item in items if (changed := _first_wrong(item)) is not None]
    without = unusable(items, strategy)
    left = [item for item in items if item.id not in without]
    if not left:
        raise NothingLeft(f"no row is left by --select {select}; elicit more, or train without it")
    return left


def kept_count(rows: int, select: str | None, share: float) -> int:
    """How many of so many candidates are trained on; at least one."""
    return max(1, round(share * rows)) if select in RANKED else rows


def not_chosen(items: Sequence[Item], chosen: Sequence[Item], strategy: Strategy, select: str) -> Counter[str]:
    """How many rows are not trained on, by reason: those that the strategy cannot use, and the others."""
    left_out = Counter(unusable(items, strategy).values())
    left_out[f"not chosen by --select {select}"] = len(items) - len(chosen) - left_out.total()
    return left_out


def _only_right(item: Item) -> Item:
    # `correct` is null where nothing had to be read: the teacher was told the answer. It is also null where nothing
    # could be read, but such a rationale has no answer, and the join leaves it out.
    return item.model_copy(update={"rationales": tuple(r for r in item.rationales if r.correct is not False)})


def _first_wrong(item: Item) -> Item | None:
    """The row with the first rationale whose answer is wrong, and that answer as its own."""
    for rationale in item.rationales:
        if rationale.kind == "factual" and rationale.label == "wrong" and rationale.answer is not None:
            kept = rationale.model_copy(update={"label": "keep"})
            return item.model_copy(update={"answer": rationale.answer, "rationales": (kept,)})
    return None
