"""A cell: one arm with one seed, trained and evaluated once; and where finished cells are kept.

A cell's key is the digest of all that defines its result. The same command does only what is missing; where a
definition has changed, `explain` says how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cotdistill.config import DistillConfig
from cotdistill.console import warn_once
from cotdistill.data.files import JsonObject, json_digest, write_json
from cotdistill.grid.arms import Arm
from cotdistill.grid.axes import Swept, said


@dataclass(frozen=True)
class Cell:
    """`definition`: everything that decides the result, by name; every value is plain data."""

    arm: Arm
    seed: int
    swept: Swept  # a candidate of the sweep, or the one that was chosen
    purpose: str  # "compare", or "sweep": judged on dev rows only
    settings: DistillConfig
    reasons: Mapping[str, str]  # {option: where its value comes from} of the options that were not given
    definition: Mapping[str, Any]
    order: int = 0  # among the candidates of a sweep: the first of equals is chosen
    start: Cell | None = None  # whose student it begins from

    @cached_property
    def key(self) -> str:
        """Digest of the definition."""
        return json_digest(self.definition)

    def run(self, out: Path) -> Path:
        """Its run directory, as distill names it."""
        return run_folder(out, self.arm, self.definition["training"])

    @property
    def name(self) -> str:
        """`cot/seed-0`: what reports call the cell."""
        return cell_name(self.arm, self.seed, self.swept, self.purpose)


def run_folder(out: Path, arm: Arm, training: Mapping[str, Any]) -> Path:
    """The directory of a run, as distill names it."""
    return out / "runs" / f"{arm.variant.strategy}-{json_digest(training)[:8]}"


def cell_name(arm: Arm, seed: int, swept: Swept, purpose: str) -> str:
    """What reports call a cell; candidates of a sweep carry their values."""
    return "/".join([arm.label, f"seed-{seed}", *(said(swept) if purpose == "sweep" else [])])


def answered(record: JsonObject) -> Iterator[tuple[str, int | None, JsonObject]]:
    """(set, budget of thought, its figures) of all that a cell answered; None: as much thought as it likes."""
    for name, figures in record.get("sets", {}).items():
        yield name, None, figures
    for budget, sets in record.get("budgets", {}).items():
        for name, figures in sets.items():
            yield name, int(budget), figures


class CellStore:
    """DIR/cells/KEY.json, one file per finished or failed cell, or reference row."""

    def __init__(self, out: Path) -> None:
        self.folder = out / "cells"
        self._by_name: dict[str, list[dict[str, Any]]] | None = None  # for `explain`; read once

    def finished(self, key: str, diverged: bool = False) -> JsonObject | None:
        """The record of a finished cell; None where it is missing or failed.

        `diverged`: also that of a cell that diverged, as it would diverge again.
        """
        stored = self.stored(key)
        if stored is None or ("error" in stored["record"] and not (diverged and stored["record"].get("diverged"))):
            return None
        record: JsonObject = stored["record"]
        return record

    def stored(self, key: str) -> dict[str, Any] | None:
        """The stored content for a key, if it is whole: {key, name, definition, record, digest}."""
        content = self._read(self.folder / f"{key[:16]}.json")
        return content if content and content["key"] == key else None

    def records(self) -> list[JsonObject]:
        """Every stored record of a cell, those of earlier grids in this directory included."""
        stored = [self._read(path) for path in sorted(self.folder.glob("*.json"))]
        return [content["record"] for content in stored if content is not None and "arm" in content["record"]]

    def put(self, name: str, definition: Mapping[str, Any], record: JsonObject) -> None:
        """Store a record; a failed cell is tried again next time."""
        key, self._by_name = json_digest(definition), None
        write_json(
            self.folder / f"{key[:16]}.json",
            {"key": key, "name": name, "definition": definition, "record": record, "digest": json_digest(record)},
        )

    def explain(self, name: str, definition: Mapping[str, Any]) -> str:
        """Why a cell has to be run, or that it is done."""
        key = json_digest(definition)
        if self.finished(key) is not None:
            return f"{name}: done ({key[:8]})"
        others = self._named().get(name, [])
        if not others:
            return f"{name}: to be run, it is new"
        failed = next((stored for stored in others if stored["key"] == key), None)
        if failed is not None:
            return f"{name}: to be run again, it failed: {failed['record'].get('error')}"
        nearest = min(
            (changes(stored["definition"], definition) for stored in others), key=lambda differences: len(differences)
        )
        return f"{name}: to be run, {'; '.join(nearest)}"

    def _named(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that is stored, by name."""
        if self._by_name is None:
            self._by_name = {}
            for path in sorted(self.folder.glob("*.json")):
                if (stored := self._read(path)) is not None:
                    self._by_name.setdefault(stored["name"], []).append(stored)
        return self._by_name

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            return None  # never written
        except (ValueError, RecursionError):
            content = {}
        if not _is_whole(content):
            warn_once(f"{path} is damaged; its result is computed again")
            return None
        return content


def _is_whole(content: object) -> bool:
    """Whether a file's content is an undamaged cell."""
    return (
        isinstance(content, dict)
        and all(isinstance(content.get(part), str) for part in ("key", "name", "digest"))
        and all(isinstance(content.get(part), dict) for part in ("definition", "record"))
        and json_digest(content["record"]) == content["digest"]
        and json_digest(content["definition"]) == content["key"]
    )


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two definitions: `lr was 0.002, is 0.001`."""
    differences: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            differences += changes(before, after, f"{prefix}{name}.")
        else:
            differences.append(f"{prefix}{name} was {_short(before)}, is {_short(after)}")
    return differences


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
