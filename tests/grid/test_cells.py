"""The store of cells: what is done, what is not, and why."""

from __future__ import annotations

from pathlib import Path

from cotdistill.data.files import json_digest
from cotdistill.grid.cells import CellStore, changes

BEFORE = {"training": {"config": {"lr": 0.002, "steps": 10}, "rows": "aa"}, "evaluation": {"sets": {"in": "s1"}}}
AFTER = {"training": {"config": {"lr": 0.001, "steps": 10}, "rows": "aa"}, "evaluation": {"sets": {"in": "s1"}}}


def test_a_change_is_named_by_its_place() -> None:
    assert changes(BEFORE, AFTER) == ["training.config.lr was 0.002, is 0.001"]
    assert changes(BEFORE, {**BEFORE, "plugin": "x"}) == ['plugin was null, is "x"']
    assert changes(BEFORE, BEFORE) == []


def test_only_finished_cells_count_as_done(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    assert store.finished(json_digest(BEFORE)) is None
    store.put("cot/seed-0", BEFORE, {"cell": "cot/seed-0", "arm": "cot", "error": "boom"})
    assert store.finished(json_digest(BEFORE)) is None
    assert store.explain("cot/seed-0", BEFORE) == "cot/seed-0: to be run again, it failed: boom"
    store.put("cot/seed-0", BEFORE, {"cell": "cot/seed-0", "arm": "cot", "rows": 3})
    assert store.finished(json_digest(BEFORE)) == {"cell": "cot/seed-0", "arm": "cot", "rows": 3}
    assert store.explain("cot/seed-0", BEFORE).startswith("cot/seed-0: done (")


def test_explain_names_the_nearest_definition(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    far = {**BEFORE, "training": {"config": {"lr": 0.1, "steps": 99}, "rows": "bb"}}
    store.put("cot/seed-0", far, {"cell": "cot/seed-0", "arm": "cot"})
    store.put("cot/seed-0", BEFORE, {"cell": "cot/seed-0", "arm": "cot"})
    assert store.explain("cot/seed-0", AFTER) == "cot/seed-0: to be run, training.config.lr was 0.002, is 0.001"
    assert store.explain("cot/seed-1", AFTER) == "cot/seed-1: to be run, it is new"


def test_a_damaged_record_is_as_good_as_none(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    store.put("cot/seed-0", BEFORE, {"cell": "cot/seed-0", "arm": "cot"})
    next((tmp_path / "cells").glob("*.json")).write_text('{"key": "')
    assert store.finished(json_digest(BEFORE)) is None
    assert store.records() == []
