"""Joins items of two sides by their ids, or by a digest of the question where ids differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cotdistill.data.cells import cell
from cotdistill.errors import DataError, UsageError
from cotdistill.outcomes.scored import Scored, canonical
from cotdistill.outcomes.sides import Run, Side

By = Literal["id", "question"]
Key = Callable[[Scored], str | None]
Table = Mapping[str, Scored]
ENOUGH = 0.95  # share of the larger side from which on ids are taken to identify items


@dataclass(frozen=True)
class Joined:
    """Items that two sides share: outcomes [seeds, items] of both, and each item's task and cluster.

    `unjoined`: {side: the items that are not in every run of both}. `share`: joined items in those of the larger side.
    """

    name: str
    baseline: str
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    ids: tuple[str, ...]
    tasks: tuple[str, ...]
    clusters: tuple[str, ...] | None
    by: By
    share: float
    unjoined: Mapping[str, Sequence[str]]

    def of_task(self, task: str) -> Joined:
        """The items of one task."""
        places = [at for at, name in enumerate(self.tasks) if name == task]
        clusters = self.clusters and tuple(self.clusters[at] for at in places)
        ids = tuple(self.ids[at] for at in places)
        return Joined(
            self.name,
            self.baseline,
            self.a[:, places],
            self.b[:, places],
            ids,
            (task,) * len(ids),
            clusters,
            self.by,
            self.share,
            {},
        )


def join(side: Side, baseline: Side, by: By | None, least: float, cluster: str | None) -> Joined:
    """The items of both, on the key that joins them: ids where these name the same questions, else the questions.

    Of tasks that one side alone has (a set it also answered with --score choices), the items are left unjoined, and
    no part of what must join.

    Raises `DataError` where fewer than `least` of the larger side's items join, or fewer than two; `UsageError` for a
    cluster that the items do not name.
    """
    both = side, baseline
    side, baseline = _of_common_tasks(side, baseline), _of_common_tasks(baseline, side)
    keys = {
        candidate: _key(side, baseline, candidate, by is not None)
        for candidate in ((by,) if by else ("id", "question"))
    }
    tried = {
        candidate: [[_table(run, key) for run in each.runs] for each in (side, baseline)]
        for candidate, key in keys.items()
    }
    size = max(len(run) for each in (side, baseline) for run in each.runs)
    shares = {candidate: len(_shared(*tables)) / size for candidate, tables in tried.items()}
    conflict = _conflict(*tried["id"]) if by is None else None
    if conflict is not None:
        shares["id"] = 0.0
    best: By = "id" if shares.get("id", 0.0) >= ENOUGH else max(shares, key=lambda candidate: shares[candidate])
    left, right = tried[best]
    shared = sorted(_shared(left, right))
    _refuse(side, baseline, best, shares[best], len(shared), least, conflict)
    return Joined(
        side.name,
        baseline.name,
        _grid(left, shared),
        _grid(right, shared),
        tuple(shared),
        tuple(left[0][key].task or right[0][key].task or "" for key in shared),
        None if cluster is None else tuple(_cluster(left[0][key], right[0][key], cluster) for key in shared),
        best,
        shares[best],
        {each_side.name: _left_over(each_side.runs, keys[best], shared) for each_side in both},
    )


def _of_common_tasks(side: Side, other: Side) -> Side:
    """A side without the tasks that the other does not have; unchanged where they have none in common."""
    common = {*side.tasks} & {*other.tasks}
    if not common:
        return side
    runs = tuple([outcome for outcome in run if outcome.task is None or outcome.task in common] for run in side.runs)
    return replace(side, runs=runs)


def _key(side: Side, baseline: Side, by: By, told: bool) -> Key:
    """The key of an item. Tasks are part of an id where both sides name them, unless `--by id` was given
    and each side has a single task."""
    with_task = bool(side.tasks and baseline.tasks) and not (told and len(side.tasks) == len(baseline.tasks) == 1)

    def key(outcome: Scored) -> str | None:
        if by == "question":
            return outcome.asked
        return f"{outcome.task}/{outcome.id}" if with_task and outcome.task and outcome.id is not None else outcome.id

    return key


def _table(run: Run, key: Key) -> Table:
    """Items by key; a key shared by two items joins neither."""
    by_key: dict[str, Scored] = {}
    twice: set[str] = set()
    for outcome in run:
        name = key(outcome)
        if name is not None and name in by_key:
            twice.add(name)
        elif name is not None:
            by_key[name] = outcome
    return {name: outcome for name, outcome in by_key.items() if name not in twice}


def _shared(left: Sequence[Table], right: Sequence[Table]) -> set[str]:
    return set.intersection(*(set(table) for table in (*left, *right)))


def _conflict(left: Sequence[Table], right: Sequence[Table]) -> str | None:
    """An id for which the two sides have different questions."""
    for key in left[0].keys() & right[0].keys():
        questions = left[0][key].asked, right[0][key].asked
        if None not in questions and questions[0] != questions[1]:
            return key
    return None


def _refuse(side: Side, baseline: Side, by: By, share: float, shared: int, least: float, conflict: str | None) -> None:
    what = f"{side.name} against {baseline.name}"
    if side.tasks and baseline.tasks and not {*side.tasks} & {*baseline.tasks} and share < least:
        raise DataError(
            f"{what}: mixed tasks, {', '.join(side.tasks[:3])} against {', '.join(baseline.tasks[:3])}; "
            "compare results on the same questions"
        )
    if conflict is not None and share < least:
        raise DataError(
            f"{what}: id {conflict!r} is another question on each side, and only {share:.0%} of the questions join; "
            "compare results on the same questions, or trust the ids with --join id"
        )
    if shared < 2 or share < least:
        raise DataError(
            f"{what}: only {shared} items ({share:.0%} of the larger side) join by {by}, "
            f"{'and a comparison needs two' if share >= least else f'under --min-join {least:g}'}; "
            f"name files on the same items{f', or accept it with --min-join {share:.2f}' if shared > 1 else ''}"
        )


def _grid(tables: Sequence[Table], keys: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[table[key].value for key in keys] for table in tables], dtype=float)


def _left_over(runs: Sequence[Run], key: Key, shared: Sequence[str]) -> list[str]:
    """Ids, or the beginnings of questions, of unjoined items."""
    joined = set(shared)
    names = [
        outcome.id or (outcome.question or "")[:80] for run in runs for outcome in run if key(outcome) not in joined
    ]
    return list(dict.fromkeys(names))


def _cluster(left: Scored, right: Scored, field: str) -> str:
    for outcome in (left, right):
        try:
            return canonical(cell(outcome.fields, field, tuple(field.split("."))))
        except ValueError:
            continue
    known = sorted({*map(str, left.fields), *map(str, right.fields)})
    raise UsageError(f"--cluster {field}: item {left.id or right.id!r} has no such field; there are {', '.join(known)}")
