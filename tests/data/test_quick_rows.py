"""Elicited rows are read in one step; what that step refuses is read again by the one that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cotdistill.data import rows
from cotdistill.data.records import Item, compact
from cotdistill.errors import DataError
from tests.benchmarks.workload import items

GOOD = items(1)[0].model_copy(update={"id": "a"}).line()


def having(decoding: str) -> str:
    assert '"decoding": {}' in GOOD
    return GOOD.replace('"decoding": {}', f'"decoding": {{"sample": {decoding}}}', 1)


LINES = {
    "as written": GOOD,
    "field twice": GOOD[:-1] + ', "id": "b"}',
    "spelling of numbers": having("[0.50, 1e400, 0.1234567890123456789, -0, NaN, -Infinity]"),
    "long number": having("9" * 60),
    "number too long": having("9" * 6000),
    "leading zero": having("01"),
    "deep": having("[" * 300 + "]" * 300),
    "too deep": having("[" * 3000 + "]" * 3000),
    "half an emoji": having(r'"\ud83d"'),
    "emoji": having(r'"\ud83d\ude00"'),
    "zero": having(r'"\u0000"'),
    "control character": having('"\t"'),
    "Unicode's line end": having('"\u2028"'),
    "not UTF-8": having('"\udce4"'),
    "unknown field": GOOD[:-1] + ', "qestion": "b"}',
    "missing field": GOOD.replace('"task": "bench", ', ""),
    "wrong type": GOOD.replace('"finished": true', '"finished": 1'),
    "no id": GOOD.replace('"id": "a"', '"id": ""'),
    "carriage return": GOOD + "\r",
    "two rows in one line": GOOD + "\r" + GOOD.replace('"id": "a"', '"id": "b"'),
    "twice": GOOD + "\n" + GOOD,
    "more behind it": GOOD + " x",
    "cut off": GOOD[:-9],
    "array": f"[{GOOD}]",
    "blank": "  \n" + GOOD,
    "end": GOOD + '\n{"end": {"rows": 1, "failed": 0}}',
    "end with a blank": GOOD + '\n {"end": {"rows": 2, "failed": 0}}',
}


def read(path: Path) -> Any:
    try:
        return [(item.line(), item.model_fields_set) for item in rows.read_items(path)]
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("text", LINES.values(), ids=LINES.keys())
def test_one_step_gives_what_two_give(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes((text + "\n").encode("utf-8", "surrogateescape"))
    quick = read(path)
    monkeypatch.setattr(rows, "_quick_item", lambda line: None)
    assert quick == read(path)


def test_the_one_step_is_taken() -> None:
    assert rows._quick_item(GOOD) == Item.model_validate_json(GOOD)
    assert rows._quick_item(GOOD[:-1]) is None


def test_rows_with_the_same_fields_share_the_set_of_them() -> None:
    one, other, fewer = (compact(Item.model_validate_json(line)) for line in (GOOD, GOOD, GOOD[:-1] + ', "extra": {}}'))
    assert one.model_fields_set is other.model_fields_set
    assert one.model_fields_set is not fewer.model_fields_set
    assert one.line() == GOOD
    changed = one.model_copy(update={"extra": {}})
    assert changed.model_fields_set == fewer.model_fields_set
    assert "extra" not in one.model_fields_set
