"""The rows an ablation trains on: one file a teacher decoding, the same questions for every arm.

    DIR/rows/greedy.jsonl       rationales as elicited, or the rows that were given
    DIR/rows/contrastive.jsonl  the same questions, decoded otherwise
    DIR/rows/common.json        the ids every arm can use, and those held out for choosing a learning rate

What an arm trains on follows from these files and the seed alone (`training_rows`), so `verify` can make it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cotdistill.data.controls import controlled
from cotdistill.data.files import write_json
from cotdistill.data.records import Item
from cotdistill.data.rows import read_items
from cotdistill.errors import NothingLeft, UsageError
from cotdistill.grid.arms import Arm
from cotdistill.seeds import rng
from cotdistill.strategies.grids import Variant
from cotdistill.strategies.join import join

HELD_OUT = 0.1  # of the rows, where a sweep needs a dev split and there is none
MATCHED = 0.2  # how far lengths may differ, of the longer one


@dataclass(frozen=True)
class Rows:
    """Elicited rows by decoding, and which of them count."""

    by_decoding: Mapping[str, list[Item]]
    common: frozenset[str]
    held_out: frozenset[str]

    def dev(self) -> list[Item]:
        """The held-out rows."""
        return [item for item in next(iter(self.by_decoding.values())) if item.id in self.held_out]


def rows_file(out: Path, decoding: str) -> Path:
    """Where the rows of one decoding lie."""
    return out / "rows" / f"{decoding}.jsonl"


def read_rows(out: Path, decodings: Sequence[str]) -> Rows:
    """Rows as a grid keeps them."""
    chosen = json.loads((out / "rows" / "common.json").read_text(encoding="utf-8"))
    return Rows({decoding: read_items(rows_file(out, decoding)) for decoding in decodings},
                frozenset(chosen["common"]), frozenset(chosen["held_out"]))


def training_rows(rows: Rows, arm: Arm, seed: int) -> list[Item]:
    """What one arm trains on: common rows, its share of them (nested, drawn from (seed, id)), then its control."""
    items = [item for item in rows.by_decoding[arm.decoding] if item.id in rows.common]
    if arm.size < 1:
        order = sorted(items, key=lambda item: (rng(seed, "train-size", item.id).random(), item.id))
        kept = {item.id for item in order[: max(1, round(arm.size * len(items)))]}
        items = [item for item in items if item.id in kept]
    return controlled(items, arm.control, seed) if arm.control else items


def write_common(out: Path, by_decoding: Mapping[str, list[Item]], variants: Iterable[Variant], match_lengths: bool,
                 hold_out: bool, seed: int) -> Rows:
    """Choose the rows that count and write their ids: all arms share them."""
    ids = common_ids(by_decoding, variants)
    if match_lengths:
        ids = [row for row in ids if _lengths_match(row, by_decoding)]
        if not ids:
            raise NothingLeft("--match-lengths: no question has rationales of similar length under every decoding")
    order = sorted(ids, key=lambda row: (rng(seed, "held-out", row).random(), row))
    held_out = set(order[: max(1, round(HELD_OUT * len(ids)))]) if hold_out else set()
    common = [row for row in ids if row not in held_out]
    if not common:
        raise NothingLeft("no row is left to train on; give more rows")
    write_json(out / "rows" / "common.json", {"common": common, "held_out": sorted(held_out)})
    return Rows(by_decoding, frozenset(common), frozenset(held_out))


def common_ids(by_decoding: Mapping[str, list[Item]], variants: Iterable[Variant]) -> list[str]:
    """The ids of rows that every variant can use under every decoding, in the order of the rows."""
    usable: set[str] | None = None
    for items in by_decoding.values():
        for variant in variants:
            mine = {sample.id for sample in join(items, variant.made)[0]}
            usable = mine if usable is None else usable & mine
    first = next(iter(by_decoding.values()))
    ids = [item.id for item in first if usable is None or item.id in usable]
    if not ids:
        raise NothingLeft("no row can be used by every strategy of the grid; see the yield table of elicit")
    return ids


def of_decoding(items: Sequence[Item], decoding: str) -> list[Item]:
    """Given rows, only with the rationales that were decoded so."""
    kept = [item.model_copy(update={"rationales": tuple(
        r for r in item.rationales if r.decoding.get("decode", "recorded") == decoding)}) for item in items]
    if not any(item.rationales for item in kept):
        known = sorted({str(r.decoding.get("decode")) for item in items for r in item.rationales})
        raise UsageError(f"--teacher-decoding {decoding}: none of the given rationales was decoded so, only "
                         f"{', '.join(known)}; leave ROWS away and name a --teacher to elicit them")
    return kept


def mean_words(items: Sequence[Item]) -> float:
    """Words of a kept factual rationale, on average."""
    lengths = [len(rationale.text.split()) for item in items for rationale in item.kept("factual")]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _lengths_match(row: str, by_decoding: Mapping[str, list[Item]]) -> bool:
    lengths = []
    for items in by_decoding.values():
        found = next(item for item in items if item.id == row)
        lengths.append(len(found.kept("factual")[0].text.split()))
    return max(lengths) - min(lengths) <= MATCHED * max(lengths)
