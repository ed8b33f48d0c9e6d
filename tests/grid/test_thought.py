"""A grid under budgets of thought: the same students asked again, their curve, claims about budgets, and verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotdistill.evaluation.stored import read_predictions
from cotdistill.report.ablation import read_json_lines
from cotdistill.report.comparison import Results, judge_claims
from cotdistill.report.thought import thought_figures
from cotdistill.strategies.studies import Claim
from cotdistill.verify import changed_metrics, differences
from tests.grids import run
from tests.report.test_comparison import cell


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("thought")
    evaluate = {"think_budgets": (6, 2), "score": "choices"}
    return folder / "grid", run(
        folder, seeds=(0,), strategies=("cot", "answer-only"), controls=False, evaluate=evaluate
    )


def test_each_student_is_asked_again_under_every_budget(grid: tuple[Path, list[dict[str, Any]]]) -> None:
    out, records = grid
    by_arm = {record["arm"]: record for record in records}
    assert list(by_arm["cot"]["budgets"]) == ["2", "6"]
    written = [by_arm["cot"]["budgets"][budget]["shift"]["generated_per_question"] for budget in ("2", "6")]
    assert written[0] < written[1] < by_arm["cot"]["sets"]["shift"]["generated_per_question"]
    assert [arm for arm, record in by_arm.items() if "budgets" in record] == ["cot"]  # no other has a thought to cut
    assert Path(by_arm["cot"]["budgets"]["2"]["id"]["predictions"]).name == "id.choices.think-2.jsonl"
    assert (out / "figures" / "thought-shift.svg").is_file()
    table = (out / "report.md").read_text().split("## Accuracy over a budget of thought")[1].split("##")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines() if "cot" in line]
    assert rows == [["cot", "2"], ["cot", "6"], ["cot", "none"]]


def test_figures_under_a_budget_are_verified(grid: tuple[Path, list[dict[str, Any]]]) -> None:
    out, _ = grid
    counts = {"files": 0, "rows": 0, "cells": 0, "numbers": 0}
    assert list(differences(out, counts)) == []
    whole = sum(len(record["sets"]) for record in read_json_lines(out / "cells.jsonl"))
    assert counts["numbers"] > 10 * (whole + 2 * 2)
    records = read_json_lines(out / "cells.jsonl")
    record = next(record for record in records if "budgets" in record)
    figures = record["budgets"]["2"]["id"]
    file, accuracy = figures["predictions"], figures["accuracy"]
    figures["accuracy"] = 2.0
    where = "cot/seed-0 on id at 2 tokens of thought"
    assert [*changed_metrics(read_predictions(out / file), figures, where, counts)] == [
        f"cells.jsonl: {where}: accuracy is {accuracy} by {file}, not 2.0"
    ]


def test_a_claim_may_compare_budgets_of_one_arm(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    records = []
    for seed in range(3):
        record = cell(tmp_path, "cot", seed, draw.random(200) < 0.8)
        for budget, skill in ((4, 0.3), (8, 0.8)):
            under = cell(tmp_path, f"cot-{budget}", seed, draw.random(200) < skill)
            record.setdefault("budgets", {})[str(budget)] = under["sets"]  # type: ignore[attr-defined]
        records.append(record)
    results = Results(tmp_path, records)
    claims = [
        Claim("more thought is better", "cot", "cot", "higher", "accuracy@8", against="accuracy@4"),
        Claim("half of it is as good", "cot", "cot", "as good", "accuracy@4", against="accuracy"),
        Claim("a budget nobody asked for", "cot", "cot", "higher", "accuracy@9", against="accuracy"),
    ]
    more, half, none = judge_claims(results, claims, "in")
    assert (more["verdict"], half["verdict"], none["verdict"]) == ("holds", "does not hold", "not tested")
    assert more["sentence"].startswith("cot after 8 tokens is ")
    assert "cot after 4 tokens" in more["sentence"]
    assert (more["measure"], more["against"], more["name"]) == ("accuracy@8", "accuracy@4", "cot")


def test_runs_have_a_curve_from_two_budgets_on() -> None:
    def record(budget: int | None, accuracy: float) -> dict[str, Any]:
        about = {} if budget is None else {"think_budget": budget}
        return {"set": "id", "name": "run", "accuracy": accuracy, "interval": [accuracy - 0.1, accuracy + 0.1], **about}

    assert thought_figures([record(None, 0.5), record(4, 0.3)]) == []
    (figure,) = thought_figures([record(4, 0.3), record(8, 0.6)])
    assert figure.name == "thought-id"
    assert "tokens of thought" in json.dumps(figure.svg)
