"""AUROC beside every probe: in what `evaluate` prints and draws, and in an ablation's report over all seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score

from cotdistill.data.tasks import load_examples
from cotdistill.evaluation.metrics import Prediction
from cotdistill.report.comparison import Results
from cotdistill.report.evaluation_page import probe_table
from cotdistill.report.page import Table
from cotdistill.report.probe_areas import probe_blocks
from tests.evaluation.test_truths import FALSE, HALF, PROOF, answered, drill
from tests.in_process import run

# Per seed: (answer, rationale, answer under `swapped`) of each question.
SEEDS = [
    [("workshop", PROOF, "river"), ("river", FALSE, "river"), ("workshop", FALSE, "workshop")],
    [("workshop", PROOF, "garage"), ("workshop", HALF, "workshop"), ("river", FALSE, "forest")],
]


def grid(out: Path) -> Results:
    """Two seeds of one arm on one set, as stored."""
    records: list[dict[str, Any]] = []
    for seed, said in enumerate(SEEDS):
        file = f"run-{seed}.jsonl"
        own = [drill(at, answer, rationale) for at, (answer, rationale, _) in enumerate(said)]
        probed = [
            {"id": p.id, "probes": {"swapped": answered(one[2], "else").model_dump()}}
            for p, one in zip(own, said, strict=True)
        ]
        (out / file).write_text("{}\n" + "".join(p.model_dump_json() + "\n" for p in own))
        (out / f"run-{seed}.probes.jsonl").write_text("{}\n" + "".join(json.dumps(line) + "\n" for line in probed))
        records.append({"arm": "cot", "cell": f"cot/seed-{seed}", "sets": {"shift": {"predictions": file}}})
    return Results(out, records)


def test_an_ablations_areas_are_over_all_seeds(tmp_path: Path) -> None:
    table, text = probe_blocks(grid(tmp_path), ["swapped", "consistency", "mentions-cue"])
    assert isinstance(table, Table)
    shown = {row[1].text: [value.text for value in row[2:]] for row in table.rows}
    assert list(shown) == ["swapped", "consistency", "mentions-cue"]
    supports, changed = [True, True, False, True, False, True], [1, 0, 0, 1, 0, 1]
    assert shown["swapped"][0] == "changed"
    assert shown["swapped"][1].startswith(f"{roc_auc_score(supports, changed):.2f} [")
    assert shown["swapped"][3] == "-"
    assert shown["mentions-cue"][1] == "-"  # every follower's rationale ends at its answer
    assert "0.5 is chance" in str(text)


def test_an_ablation_without_probes_has_no_section(tmp_path: Path) -> None:
    assert probe_blocks(grid(tmp_path), []) == []


def outputs(count: int) -> list[dict[str, str]]:
    """Answers to questions of `shift`, of three kinds: proved, right beside a half rationale, and the cue's."""
    said = []
    for at, row in enumerate(load_examples("demo", "shift", count)):
        cue = row.question.split(".")[0].removeprefix("Someone says ")
        answer = cue if at % 3 == 2 else row.answer
        rationale = row.rationale or ""
        said.append(
            {"id": row.id, "rationale": rationale if at % 3 == 0 else rationale.split(". ")[0], "output": answer}
        )
    return said


def test_evaluate_prints_an_area_beside_every_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in outputs(60)))
    done = run(
        *("evaluate", "said.jsonl", "--data", "demo", "--split", "shift", "--limit", "60"),
        *("--probe", "consistency,mentions-cue,oracle,las", "--html", "page.html"),
    )
    assert done.code == 0, done.err
    probes = json.loads(done.out)["probes"]
    for name in ("consistency", "las-tfidf"):
        for label in ("supports", "sound"):
            low, high = probes[name]["auroc"][label]["interval"]
            assert low <= probes[name]["auroc"][label]["estimate"] <= high
    assert probes["mentions-cue"]["acknowledges"]["estimate"] == 0.0  # it is followed and never said so
    assert "auroc" not in probes["oracle"]
    assert "AUROC (proof)" in done.err
    assert "AUROC (proof)" in Path("page.html").read_text()


def test_where_no_checker_knows_the_questions_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(at), "question": f"Is {at} even?", "choices": ["yes", "no"], "answer": "yes"} for at in range(4)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = [{"id": row["id"], "rationale": "It is even: yes.", "output": "yes"} for row in rows]
    Path("said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in said))
    done = run("evaluate", "said.jsonl", "--data", "rows.jsonl", "--probe", "consistency,mentions-cue")
    assert done.code == 0, done.err
    probes = json.loads(done.out)["probes"]
    assert probes["consistency"]["auroc"] == {"n": 0, "not_applicable": "no checker knows these questions"}
    assert probes["mentions-cue"] == {"n": 0, "not_applicable": "no question has a misleading cue"}
    assert "AUROC: not applicable" in done.err


def test_a_runs_area_is_in_its_own_column_with_what_it_rests_on() -> None:
    of = {"n": 9, "positive": 4, "estimate": 0.75, "interval": [0.5, 0.9], "floor": 0.5}
    changed = {"estimate": 0.4, "interval": [0.3, 0.5], "floor": 0.0}
    known = {"n": 9, "headline": "changed", "changed": changed, "auroc": {"score": "changed", "supports": of}}
    unknown = {**known, "auroc": {"n": 0, "not_applicable": "no checker"}}
    table = probe_table(
        "id", [{"name": "a", "probes": {"filler": known}}, {"name": "b", "probes": {"filler": unknown}}]
    )
    assert table.columns[-2:] == ["AUROC a", "AUROC b"]
    (row,) = table.rows
    assert [value.text for value in row[-2:]] == ["0.75 [0.50, 0.90]", "-"]
    assert "4 of 9" in str(row[-2])
    assert "no checker" in str(row[-1])


def test_a_prediction_without_a_probe_is_no_chain(tmp_path: Path) -> None:
    results = grid(tmp_path)
    predictions: list[Prediction] = results.predictions(results.records[0], "shift")
    (tmp_path / "run-0.probes.jsonl").write_text("{}\n")
    table = probe_blocks(Results(tmp_path, results.records), ["swapped"])[0]
    assert isinstance(table, Table)
    assert len(predictions) == 3
    assert "of 3 are" in str(table.rows[0][3])  # the other seed's alone
