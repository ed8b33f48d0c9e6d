"""From elicited items to a strategy's training samples: one `Sample` per row of the join.

An item with several rationales expands: factual x counterfactual pairs by index, the shorter side cycled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cotdistill.data.records import Example, Item, RationaleKind
from cotdistill.errors import DataError, NothingLeft
from cotdistill.strategies.forms import Draft, Strategy


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of the join: a draft for each kind of rationale that the strategy reads."""

    id: str
    drafts: dict[RationaleKind, Draft]


def join(items: Sequence[Item], strategy: Strategy) -> tuple[list[Sample], Counter[str]]:
    """Samples in the order of the items, and how many items were left out, by reason."""
    sides = _sides(strategy)
    left_out: Counter[str] = Counter()
    samples: list[Sample] = []
    for item in items:
        example = item.example()
        drafts = {kind: _drafts(item, example, kind, reads) for kind, reads in sides.items()}
        if (why := _missing(drafts)) is not None:
            left_out[why] += 1
            continue
        width = max(map(len, drafts.values()))
        samples += [
            _sample(item.id, {kind: side[at % len(side)] for kind, side in drafts.items()}) for at in range(width)
        ]
    if not samples:
        _explain_nothing(items, strategy, list(sides))
    return samples, left_out


def unusable(items: Sequence[Item], strategy: Strategy) -> dict[str, str]:
    """{id: why} of the items that a strategy cannot train on."""
    sides = _sides(strategy)
    whys = {
        item.id: _missing({kind: _drafts(item, example, kind, reads) for kind, reads in sides.items()})
        for item in items
        for example in [item.example()]
    }
    return {id_: why for id_, why in whys.items() if why is not None}


def _sides(strategy: Strategy) -> dict[RationaleKind, bool]:
    """The kinds of rationale that a strategy reads, and whether it reads their text."""
    needs = strategy.needs()
    return {kind: (kind, "rationale") in needs for kind in sorted({kind for kind, _ in needs}, reverse=True)}


def _missing(drafts: Mapping[RationaleKind, Sequence[Draft]]) -> str | None:
    return next((f"no kept {kind} rationale" for kind, side in drafts.items() if not side), None)


def _sample(row: str, drafts: dict[RationaleKind, Draft]) -> Sample:
    """Each draft refers to the one of the other kind, if there is one."""
    duals = {kind: next((other for of, other in drafts.items() if of != kind), None) for kind in drafts}
    return Sample(row, {kind: replace(draft, dual=duals[kind]) for kind, draft in drafts.items()})


def _drafts(item: Item, example: Example, kind: RationaleKind, with_rationale: bool) -> list[Draft]:
    if kind == "factual" and not with_rationale:
        return [Draft(example, "", item.answer)]
    # The factual answer is the gold one; a counterfactual row's is the wrong answer its rationale argues for.
    return [
        Draft(example, rationale.text, item.answer if kind == "factual" else rationale.answer, at, kind)
        for at, rationale in enumerate(item.kept(kind))
        if rationale.text.strip() and rationale.answer is not None
    ]


def _explain_nothing(items: Sequence[Item], strategy: Strategy, kinds: Sequence[RationaleKind]) -> None:
    for kind in kinds:
        if not any(rationale.kind == kind for item in items for rationale in item.rationales):
            raise DataError(
                f"rows: the strategy {strategy.name!r} needs {kind} rationales and none of the "
                f"{len(items)} rows has one; elicit them with: cotdistill elicit --for {strategy.name}"
            )
    labels = Counter(r.label for item in items for r in item.rationales)
    raise NothingLeft(
        f"none of {len(items)} rows can be used by {strategy.name!r}; labels of their rationales: "
        f"{dict(labels)}; see the yield table of elicit, or elicit with --keep all"
    )
