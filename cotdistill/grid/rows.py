"""The rows an ablation trains on: one file per teacher decoding; the same questions for every arm, or each arm's own.

    DIR/rows/greedy.jsonl       rationales as elicited, or the rows that were given
    DIR/rows/contrastive.jsonl  the same questions, decoded otherwise
    DIR/rows/mixed-1234.jsonl   a file that is mixed in, where a control changes the mixture
    DIR/rows/common.json        the ids every arm can use (or each arm's own), and those held out for the sweep

What an arm trains on follows from these files and the seed alone (`rows_of_arm`), so `verify` can make it again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cotdistill.data.controls import Control, controlled
from cotdistill.data.files import write_json
from cotdistill.data.mixture import mixed
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.errors import NothingLeft, UsageError
from cotdistill.grid.arms import Arm
from cotdistill.grid.axes import Setting, values_of
from cotdistill.seeds import rng
from cotdistill.strategies.join import join, unusable

HELD_OUT = 0.1  # share of the rows, where a sweep needs a dev split and there is none
MATCHED = 0.2  # how far lengths may differ, as a share of the longer one


@dataclass(frozen=True)
class GridRows:
    """Elicited rows by decoding, and which of them count.

    `common`: the ids that every arm can use. `own`: {arm: the ids it can use}, where each arm has its own
    (`--rows own`), else empty. `folder`: DIR/rows, once it is written.
    """

    by_decoding: Mapping[str, list[Item]]
    common: frozenset[str]
    held_out: frozenset[str]
    own: Mapping[str, frozenset[str]] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False)

    def dev(self) -> list[Item]:
        """The held-out rows."""
        return [item for item in next(iter(self.by_decoding.values())) if item.id in self.held_out]

    def ids(self, arm: str) -> frozenset[str]:
        """What the arm with that label may train on, before its share is drawn."""
        return self.own[arm] if self.own else self.common


def rows_file(out: Path, decoding: str) -> Path:
    """The file of one decoding's rows."""
    return out / "rows" / f"{decoding}.jsonl"


def read_rows(out: Path, decodings: Sequence[str]) -> GridRows:
    """Read the rows that a grid has written."""
    chosen = json.loads((out / "rows" / "common.json").read_text(encoding="utf-8"))
    return GridRows(
        {decoding: read_items(rows_file(out, decoding)) for decoding in decodings},
        frozenset(chosen["common"]),
        frozenset(chosen["held_out"]),
        {arm: frozenset(ids) for arm, ids in chosen.get("own", {}).items()},
        out / "rows",
    )


def write_rows(out: Path, rows: GridRows) -> None:
    """DIR/rows/common.json, ids in the order of the rows."""
    order = [item.id for item in next(iter(rows.by_decoding.values()))]
    own = {arm: [row for row in order if row in ids] for arm, ids in rows.own.items()}
    write_json(
        out / "rows" / "common.json",
        {
            "common": [row for row in order if row in rows.common],
            "held_out": sorted(rows.held_out),
            **({"own": own} if own else {}),
        },
    )


def rows_of_arm(rows: GridRows, arm: Arm, seed: int) -> list[Item]:
    """What the run of an arm is given, by whose digest it is known."""
    return rows_of(rows, arm.label, arm.decoding, arm.control, arm.size, seed, arm.training)


def learned_rows(rows: GridRows, arm: Arm, mix: Sequence[str], seed: int) -> list[Item]:
    """What an arm learns, once its run has made the mixture; that of a control is made before."""
    own = rows_of_arm(rows, arm, seed)
    return own if arm.control else mixed(own, mix, seed)


def rows_of(
    rows: GridRows, label: str, decoding: str, control: Control | None, size: float, seed: int, training: Setting = ()
) -> list[Item]:
    """The rows that count for an arm, its share of them (nested, drawn from (seed, id)), then its control: of all that
    it learns, so a mixture is made here already."""
    ids = rows.ids(label)
    items = [item for item in rows.by_decoding[decoding] if item.id in ids]
    if size < 1:
        order = sorted(items, key=lambda item: (rng(seed, "train-size", item.id).random(), item.id))
        drawn = {item.id for item in order[: max(1, round(size * len(items)))]}
        items = [item for item in items if item.id in drawn]
    if control is None:
        return items
    return controlled(mixed(items, values_of(training).get("mix", ()), seed, rows.folder), control, seed)


def choose(
    by_decoding: Mapping[str, list[Item]],
    arms: Sequence[Arm],
    match_lengths: bool,
    hold_out: bool,
    own: bool,
    seed: int,
) -> GridRows:
    """The rows that count. `own`: for each arm those that it can use itself, under every decoding; else the same for
    all. `NothingLeft` where none are left."""
    for variant in {arm.variant.label: arm.variant for arm in arms}.values():
        for items in by_decoding.values():
            join(items, variant.made)  # raises where an arm can use no row at all
    lost = _lost_by_variant(by_decoding, arms)
    order = [item.id for item in next(iter(by_decoding.values()))]
    if match_lengths:
        lengths = [_lengths(items) for items in by_decoding.values()]
        order = [row for row in order if _match([of.get(row, 0) for of in lengths])]
        if not order:
            raise NothingLeft("--match-lengths: no question has rationales of similar length under every decoding")
    common = [row for row in order if not any(row in why for why in lost.values())]
    if not common and not own:
        raise NothingLeft(
            "no row can be used by every strategy of the grid; see the yield table of elicit, or give "
            "each arm the rows that it can use with --rows own"
        )
    drawn = sorted(order if own else common, key=lambda row: (rng(seed, "held-out", row).random(), row))
    held_out = frozenset(drawn[: max(1, round(HELD_OUT * len(drawn)))]) if hold_out else frozenset()
    counts = frozenset(common) - held_out
    mine = {arm.label: frozenset(order) - held_out - lost[arm.variant.label].keys() for arm in arms} if own else {}
    if not all(mine.values()) if own else not counts:
        raise NothingLeft("no row is left to train on; give more rows")
    return GridRows(by_decoding, counts, held_out, mine)


def usage(rows: GridRows, arms: Sequence[Arm]) -> dict[str, dict[str, Any]]:
    """{arm: how many rows it can use and trains on (before its share is drawn), and why it cannot use the others}."""
    lost = _lost_by_variant(rows.by_decoding, arms)
    order = [item.id for item in next(iter(rows.by_decoding.values()))]
    by_arm = {}
    for arm in arms:
        own, mine = lost[arm.variant.label], rows.ids(arm.label)
        why = Counter(own.values())
        for row in order:
            if row not in own and row not in mine:
                why[_why_not(row, rows, lost)] += 1
        by_arm[arm.label] = {
            "rows": len(order),
            "can_use": len(order) - len(own),
            "trains_on": len(mine),
            "why": dict(why),
        }
    return by_arm


def _why_not(row: str, rows: GridRows, lost: Mapping[str, Mapping[str, str]]) -> str:
    """Why a row is left out although the arm itself can use it."""
    if row in rows.held_out:
        return "held out for the sweep"
    blocked = {label: why[row] for label, why in lost.items() if row in why}
    if rows.own or not blocked:
        return "lengths differ between decodings"
    return f"{' and '.join(dict.fromkeys(blocked.values()))}, needed by {', '.join(blocked)}"


def _lost_by_variant(by_decoding: Mapping[str, list[Item]], arms: Sequence[Arm]) -> dict[str, dict[str, str]]:
    """{variant: {id: why}} of the rows that a variant cannot use under some decoding."""
    lost: dict[str, dict[str, str]] = {}
    for variant in {arm.variant.label: arm.variant for arm in arms}.values():
        lost[variant.label] = {}
        for items in by_decoding.values():
            lost[variant.label] |= unusable(items, variant.made)
    return lost


def of_decoding(items: Sequence[Item], decoding: str) -> list[Item]:
    """Given rows with only the rationales of this decoding."""
    decoded = [
        item.model_copy(
            update={"rationales": tuple(r for r in item.rationales if r.decoding.get("decode", "recorded") == decoding)}
        )
        for item in items
    ]
    if not any(item.rationales for item in decoded):
        known = sorted({str(r.decoding.get("decode")) for item in items for r in item.rationales})
        raise UsageError(
            f"--teacher-decoding {decoding}: none of the given rationales was decoded this way, only "
            f"{', '.join(known)}; omit ROWS and give a --teacher to elicit them"
        )
    return decoded


def mean_words(items: Sequence[Item]) -> float:
    """Words of a kept factual rationale, on average."""
    lengths = [len(rationale.text.split()) for item in items for rationale in item.kept("factual")]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _lengths(items: Sequence[Item]) -> dict[str, int]:
    """{id: words of the first kept factual rationale}, of the rows that have one."""
    return {item.id: len(rationales[0].text.split()) for item in items if (rationales := item.kept("factual"))}


def _match(lengths: Sequence[int]) -> bool:
    return max(lengths) - min(lengths) <= MATCHED * max(lengths)
