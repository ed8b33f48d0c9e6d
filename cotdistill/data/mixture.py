"""Mixtures of rationales (`--mix long.jsonl:0.3,short.jsonl:0.7`): each question's come from one source, by shares.

Small students learn better from a mixture of long and short chains, or of a large and a small teacher's, than from
either (arXiv 2502.12143). A source is named by

    a file      elicited rows of its own
    rows        the command's own rows
    anything    those of the command's own rationales whose teacher, or whose row's field `tag`, is of that name

A question that several sources have is drawn from one of them. As many questions are taken as the shares allow, so one
of the sources is used up; which questions these are depends on (data seed, id) alone, not on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path

from cotdistill.data.files import file_digest, json_digest
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.errors import DataError, NothingLeft, UsageError
from cotdistill.seeds import rng

OWN = "rows"


def mixed(items: Sequence[Item], mix: Sequence[str], seed: int, copies: Path | None = None) -> list[Item]:
    """The rows that `--mix` takes, in the order of their sources; all of `items` where nothing is mixed. `copies`: the
    folder of a grid's own copies of the files.

    Raises `UsageError` for shares that do not sum to one and for a source that is not there, `NothingLeft` where
    nothing can be taken.
    """
    if not mix:
        return list(items)
    shares = parse_mix(mix)
    sources = {name: _source(name, items, copies) for name in shares}
    _check_same_questions(sources)
    taken = draw(shares, {name: list(rows) for name, rows in sources.items()}, seed)
    if not taken:
        raise NothingLeft(f"--mix {','.join(mix)}: the sources have too few rows for these shares")
    return [sources[name][row] for name, rows in sources.items() for row in rows if taken.get(row) == name]


def mix_digest(mix: Sequence[str]) -> str | None:
    """Digest of the files that are mixed in; None where there are none."""
    files = mixed_files(mix)
    return json_digest({str(file): file_digest(file) for file in files}) if files else None


def mixed_files(mix: Sequence[str]) -> list[Path]:
    """The sources that are files."""
    return [Path(name) for name in parse_mix(mix) if Path(name).is_file()] if mix else []


def takes_own(mix: Sequence[str]) -> bool:
    """Whether any of the command's own rows is learned."""
    return not mix or len(mixed_files(mix)) < len(mix)


def copy_of(name: str, folder: Path) -> Path:
    """Where a grid keeps its copy of a file that is mixed in."""
    return folder / f"mixed-{json_digest(name)[:8]}.jsonl"


def parse_mix(mix: Sequence[str]) -> dict[str, float]:
    """{source: share} of `NAME:SHARE` texts."""
    shares: dict[str, float] = {}
    for text in mix:
        name, colon, share = text.rpartition(":")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not (name and colon and 0 < value <= 1):
            raise UsageError(f"--mix {text}: is not NAME:SHARE with a share above 0 and at most 1")
        if name in shares:
            raise UsageError(f"--mix {text}: {name} is named twice")
        shares[name] = value
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise UsageError(f"--mix {','.join(mix)}: shares must sum to 1, not {sum(shares.values()):g}")
    return shares


def draw(shares: Mapping[str, float], having: Mapping[str, Sequence[str]], seed: int) -> dict[str, str]:
    """{question: the source it is taken from}. `having`: the ids that each source has.

    Questions are given out one by one, those of fewest sources first, each to the source that lags most behind its
    share; then every source gives its first ones, in drawn order, as many as the one that is used up allows.
    """
    by_question: dict[str, list[str]] = {}
    for name, rows in having.items():
        for row in rows:
            by_question.setdefault(row, []).append(name)
    given: dict[str, list[str]] = {name: [] for name in shares}
    for row in sorted(by_question, key=lambda row: (len(by_question[row]), rng(seed, "mix", row).random(), row)):
        lagging = min(by_question[row], key=lambda name: (len(given[name]) / shares[name], name))
        given[lagging].append(row)
    total = floor(min(len(rows) / shares[name] for name, rows in given.items()) + 1e-9)
    chosen: dict[str, str] = {}
    for name, rows in given.items():
        drawn = sorted(rows, key=lambda row: (rng(seed, "mix", row).random(), row))
        chosen |= dict.fromkeys(drawn[: round(shares[name] * total)], name)
    return chosen


def _source(name: str, items: Sequence[Item], copies: Path | None) -> dict[str, Item]:
    if copies is not None and (copy := copy_of(name, copies)).is_file():
        return {item.id: item for item in read_items(copy)}
    if Path(name).is_file():
        return {item.id: item for item in read_items(name)}
    if name == OWN:
        return {item.id: item for item in items}
    found: dict[str, Item] = {}
    for item in items:
        tagged = (item.extra or {}).get("tag") == name
        mine = tuple(one for one in item.rationales if tagged or one.teacher == name)
        if mine:
            found[item.id] = item.model_copy(update={"rationales": mine})
    if not found:
        known = sorted({one.teacher for item in items for one in item.rationales})[:5]
        raise UsageError(f"--mix {name}: neither a file nor a teacher or tag of the rows; teachers: {', '.join(known)}")
    return found


def _check_same_questions(sources: Mapping[str, Mapping[str, Item]]) -> None:
    """Raises `DataError` where one id means two questions."""
    known: dict[str, tuple[str, str]] = {}
    for name, rows in sources.items():
        for row, item in rows.items():
            question, source = known.setdefault(row, (item.question, name))
            if question != item.question:
                raise DataError(f"--mix: the row {row!r} is another question in {name} than in {source}; rename one")
