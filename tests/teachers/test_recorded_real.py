"""The recorded teacher on real teacher chains: every row comes through, judged by our own scorer."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import ElicitConfig
from cotdistill.eliciting import elicit
from tests.real import data

CHAINS = [
    "bbh_shared.test.code-davinci-002",
    "commonsenseqa.train.llama3-70b-L3",
    "commonsenseqa.train.palm-540b",
    "last_letter_concatenation.train.mentor-kd-gpt-3.5-turbo",
    "openbookqa.train.gpt-4o-0shot-nogold",
    "openbookqa.train.gpt-4o-L3",
    "strategyqa.train.gpt-4o-L3",
    "strategyqa.train.mentor-kd-gpt-3.5-turbo",
    "svamp.train.gpt-4o-L3",
]


def rows_of(chains: str, tmp_path: Path, **settings: Any) -> list[dict[str, Any]]:
    questions = data("normalised/" + ".".join(chains.split(".")[:2]) + ".jsonl")
    out = tmp_path / "rows.jsonl"
    teacher = f"recorded:{data(f'teacher/{chains}.jsonl')}"
    elicit(ElicitConfig.build(None, data=str(questions), teacher=teacher, out=out, **settings))
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("chains", CHAINS)
def test_every_chain_comes_through_once(chains: str, tmp_path: Path) -> None:
    recorded = [json.loads(line) for line in data(f"teacher/{chains}.jsonl").read_text().splitlines()]
    rows = rows_of(chains, tmp_path, limit=1200)
    assert len(rows) == len({row["id"] for row in rows}) >= 350
    ids = {row["id"] for row in rows}
    expected = {row["id"]: len(row["samples"]) for row in recorded if row["id"] in ids}
    found = {row["id"]: len(row["rationales"]) for row in rows if row["rationales"]}
    assert found == {row: count for row, count in expected.items() if count}


@pytest.mark.parametrize(
    ("chains", "task", "right"),
    [("commonsenseqa.train.palm-540b", None, 0.761), ("bbh_shared.test.code-davinci-002", "date_understanding", 0.872)],
)
def test_the_published_figures(chains: str, task: str | None, right: float, tmp_path: Path) -> None:
    verdicts = Counter(
        rationale["correct"]
        for row in rows_of(chains, tmp_path)
        if task in (None, row["task"])
        for rationale in row["rationales"]
    )
    assert verdicts[True] / verdicts.total() == pytest.approx(right, abs=0.01)


def test_wrong_chains_are_counterfactuals_where_those_are_wanted(tmp_path: Path) -> None:
    rows = rows_of("openbookqa.train.gpt-4o-0shot-nogold", tmp_path, for_="scott")
    argued = [
        (row["answer"], rationale)
        for row in rows
        for rationale in row["rationales"]
        if rationale["kind"] == "counterfactual"
    ]
    assert len(argued) > 200
    assert all(rationale["answer"] != gold and rationale["correct"] for gold, rationale in argued)
