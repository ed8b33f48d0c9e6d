"""Stored answers: resumed, never mixed, never torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.data.records import Example
from cotdistill.errors import DataError
from cotdistill.evaluation.faithfulness import Explained
from cotdistill.evaluation.store import Store

EXAMPLES = [Example(id=f"q{at}", question="?", choices=None, answer="1", task="t") for at in range(7)]


def made(asked: list[Example]) -> list[Explained]:
    return [Explained(id=example.id, rationale="because") for example in asked]


def fill(store: Store[Explained], examples: list[Example], offline: bool = False) -> list[Explained]:
    done = {one.id for one in store.read()}
    return store.complete(examples, done.__contains__, made, 2, offline, lambda: {"flops_per_token": 3.0})


def test_only_what_is_missing_is_made_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    whole, part = (Store(tmp_path / name, Explained, "s") for name in ("whole.jsonl", "part.jsonl"))
    fill(whole, EXAMPLES)
    fill(part, EXAMPLES[:4])
    text = part.path.read_text()
    part.path.write_text(text[:-10])  # a kill tears the last line
    assert [one.id for one in fill(part, EXAMPLES)] == ["q3", "q4", "q5", "q6"]
    assert part.path.read_bytes() == whole.path.read_bytes()
    assert fill(part, EXAMPLES) == []
    assert part.header()["flops_per_token"] == 3.0


def test_offline_nothing_is_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.jsonl", Explained, "s")
    fill(store, EXAMPLES[:5])
    with pytest.raises(DataError, match="2 of 7"):
        fill(store, EXAMPLES, offline=True)
    assert fill(store, EXAMPLES[:5], offline=True) == []


def test_other_settings_are_set_aside_not_mixed_and_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    fill(Store(path, Explained, "before"), EXAMPLES[:3])
    before = path.read_bytes()
    other = Store(path, Explained, "after")
    assert other.read() == []
    fill(other, EXAMPLES)
    assert len(other.read()) == 7
    assert (tmp_path / "s.jsonl.before").read_bytes() == before


def test_seconds_lie_beside_the_answers(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.jsonl", Explained, "s")
    assert store.seconds_per_question() is None
    fill(store, EXAMPLES)
    assert store.seconds_per_question() is not None
    assert "seconds" not in store.path.read_text()


def test_line_separators_inside_a_text_end_no_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.jsonl", Explained, "s")
    store.append([Explained(id="a", rationale="one\u2028two\u0085three\x0bfour")], {}, 0.1)
    assert [one.rationale for one in store.read()] == ["one\u2028two\u0085three\x0bfour"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.jsonl", Explained, "s")
    fill(store, EXAMPLES)
    store.path.write_text(store.path.read_text().replace('"rationale"', '"rational"', 1))
    with pytest.raises(DataError, match="damaged"):
        store.read()
