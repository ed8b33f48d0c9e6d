"""`cotdistill compare`: result files of any origin in, paired statistics of every pair of sides out.

sides       each side's runs (seeds, epochs) read from whatever wrote them
joining     items brought together by id or by question; what does not join is counted and listed
statistics  of all items and of each task: difference, interval, tests, what could have been seen
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cotdistill.config import CompareConfig
from cotdistill.console import warn
from cotdistill.data.files import JsonObject, check_file, check_folder
from cotdistill.data.tasks import evaluation_splits, load_examples
from cotdistill.errors import UsageError, did_you_mean
from cotdistill.outcomes.files import How
from cotdistill.outcomes.joining import Joined, join
from cotdistill.outcomes.plain import HowToRead
from cotdistill.outcomes.sides import Side, read_sides
from cotdistill.report.page import may_replace
from cotdistill.statistics.comparison import Comparison, adjust
from cotdistill.statistics.comparison import compare as compare_outcomes
from cotdistill.statistics.significance import holm, mcnemar_exact, permutation_test

WRITTEN = {"comparisons.jsonl", "report.html", "figures", "tables"}  # in --out; a grid has these and more


@dataclass(frozen=True)
class Compared:
    """A pair of sides on some of its items. `exact`: the test's name and p, of the runs as they are."""

    joined: Joined
    task: str | None
    found: Comparison
    exact: tuple[str, float]


def compare(config: CompareConfig, named: Sequence[str]) -> Iterator[JsonObject]:
    """One record for each pair of sides, then one for each task of a pair that has several; writes what is asked for.

    Raises `UsageError` and `DataError` as reading and joining do; nothing is written then.
    """
    check_outputs(config)
    sides = read_sides(named, how(config))
    by = None if config.join == "auto" else config.join
    pairs = [join(a, b, by, config.min_join, config.cluster) for a, b in pairs_of(config, sides)]
    for pair in pairs:
        tell_unjoined(pair)
    whole = [compared(pair, None, config.seed) for pair in pairs]
    tasks = [
        compared(pair.of_task(task), task, config.seed)
        for pair in pairs
        for task in dict.fromkeys(pair.tasks)
        if len(set(pair.tasks)) > 1 and comparable(pair.of_task(task))
    ]
    records = [*family(whole, config), *family(tasks, config)]
    yield from records
    write_outputs(config, sides, pairs, records)


def how(config: CompareConfig) -> How:
    """Which outcomes are read; gold answers by id."""
    gold = {
        one.id: one
        for spec in config.data
        for split in ([config.split] if config.split else evaluation_splits(spec))
        for one in load_examples(spec, split, config.limit, config.data_seed, config.map, config)
    }
    return How(HowToRead(config.metric, gold, config.extractor), config.filter)


def pairs_of(config: CompareConfig, sides: Sequence[Side]) -> list[tuple[Side, Side]]:
    """(side, what it is compared with)."""
    if config.all_pairs:
        return [(b, a) for a, b in itertools.combinations(sides, 2)]
    names = [side.name for side in sides]
    if config.baseline is not None and config.baseline not in names:
        raise UsageError(
            f"--baseline {config.baseline}: the sides are {', '.join(names)}{did_you_mean(config.baseline, names)}"
        )
    base = sides[names.index(config.baseline or names[0])]
    return [(side, base) for side in sides if side is not base]


def comparable(pair: Joined) -> bool:
    """Whether a task has enough items, and clusters, for an interval."""
    return len(pair.ids) > 1 and (pair.clusters is None or len(set(pair.clusters)) > 1)


def compared(pair: Joined, task: str | None, seed: int) -> Compared:
    """The statistics of one pair."""
    if pair.clusters is not None and len(set(pair.clusters)) < 2:
        raise UsageError(
            f"--cluster: all {len(pair.ids)} items are of one cluster; name a field that tells groups apart"
        )
    found = compare_outcomes(pair.name, pair.baseline, pair.a, pair.b, pair.ids, clusters=pair.clusters)
    return Compared(pair, task, found, exact_test(pair, seed))


def exact_test(pair: Joined, seed: int) -> tuple[str, float]:
    """McNemar's exact test of two single runs with outcomes 0 and 1, else a permutation test of the items' means over
    seeds, or of the clusters: both take the runs as they are."""
    outcomes = np.concatenate([pair.a, pair.b])
    if len(outcomes) == 2 and pair.clusters is None and np.isin(outcomes, (0, 1)).all():
        return "McNemar", mcnemar_exact(pair.a[0], pair.b[0]).p
    return "permutation", permutation_test(pair.a.mean(axis=0), pair.b.mean(axis=0), seed, clusters=pair.clusters)


def family(made: Sequence[Compared], config: CompareConfig) -> list[JsonObject]:
    """Records of comparisons that are one family for Holm's correction."""
    exact = holm([one.exact[1] for one in made])
    return [
        as_record(one, found, p, config)
        for one, found, p in zip(made, adjust([one.found for one in made]), exact, strict=True)
    ]


def as_record(one: Compared, found: Comparison, exact_holm: float, config: CompareConfig) -> JsonObject:
    """One line of what `compare` prints."""
    pair, (test, p) = one.joined, one.exact
    return {
        "name": found.name,
        "baseline": found.baseline,
        "task": one.task,
        **found.figures(),
        "exact": {"test": test, "p": p, "p_holm": exact_holm},
        "paired": {
            "better": float((pair.a.mean(axis=0) > pair.b.mean(axis=0)).mean()),
            "equal": float((pair.a.mean(axis=0) == pair.b.mean(axis=0)).mean()),
            "worse": float((pair.a.mean(axis=0) < pair.b.mean(axis=0)).mean()),
        },
        "cluster": None if pair.clusters is None else {"field": config.cluster, "clusters": len(set(pair.clusters))},
        "joined_by": pair.by,
        "joined": pair.share,
        "unjoined": dict(pair.unjoined),
    }


def tell_unjoined(pair: Joined) -> None:
    """A warning for each side that has items which do not join."""
    for name, ids in pair.unjoined.items():
        if ids:
            more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            warn(f"{len(ids)} items of {name} do not join: {', '.join(ids[:3])}{more}")


def check_outputs(config: CompareConfig) -> None:
    """Complain now about an output that could not be written later, or that is not ours to replace."""
    if config.html is not None:
        check_file(config.html)
        if not config.overwrite and not may_replace(config.html):
            raise UsageError(
                f"--html {config.html} holds something this command did not write; name another file, or replace it "
                "with --overwrite"
            )
    if config.out is not None:
        check_folder(config.out)
        others = {path.name for path in config.out.iterdir()} - WRITTEN if config.out.is_dir() else set()
        if others and not config.overwrite:
            raise UsageError(
                f"{config.out} contains files that this command did not write, such as {min(others)!r}; choose another "
                "--out, or pass --overwrite"
            )


def write_outputs(
    config: CompareConfig, sides: Sequence[Side], pairs: Sequence[Joined], records: Sequence[JsonObject]
) -> None:
    """The page, and the directory of tables and figures, where they are asked for."""
    if config.html is None and config.out is None:
        return
    from cotdistill.report.compared import write_page

    write_page(config.html, config.out, [(side.name, side.paths) for side in sides], records)
