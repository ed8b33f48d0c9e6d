"""`ablate --track`: every cell once, as a run of one group, with what it was and what came out; then the comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.data.files import json_digest
from cotdistill.errors import Unavailable, UsageError
from cotdistill.grid.tracking import Tracking, curves, numbers
from cotdistill.training.accelerators import check_trackers
from tests import grids
from tests.in_process import run

PLUGIN = """
import json
from accelerate.tracking import GeneralTracker
from cotdistill.plugins import tracker


class Told(GeneralTracker):
    name, requires_logging_directory, tracker = "told", False, None

    def __init__(self, folder):
        super().__init__()
        self.file = folder.parent / "all.jsonl"

    def write(self, **line):
        with self.file.open("a") as lines:
            lines.write(json.dumps(line) + "\\n")

    def store_init_configuration(self, values):
        print("a tracker that talks")
        self.write(params=values)

    def log(self, values, step=None, **kwargs):
        self.write(step=step, values=values)

    def log_table(self, table_name, columns, data):
        self.write(table=table_name, columns=columns, data=data)


@tracker("told")
def told(folder):
    folder.mkdir(parents=True)
    return Told(folder)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def flags(folder: Path, *more: str) -> list[str]:
    id_, shift = grids.question_files(folder)
    asked = ["--strategies", "cot,post-cot", "--seeds", "0", "--no-controls", "--limit", "8", "--steps", "2"]
    where = ["--train", "demo", "--teacher", "demo", "--jobs", "1", "--device", "cpu", "--out", str(folder / "grid")]
    return ["ablate", *asked, *where, "--data", id_, "--data", shift, *more]


def test_a_plug_in_and_tensorboard_are_told_of_each_cell_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "told.py").write_text(PLUGIN)
    assert run(*flags(tmp_path)).code == 0  # what is finished is told of, too, and is not done again
    ran = {path.name for path in (tmp_path / "grid" / "cells").iterdir()}
    tracked = flags(tmp_path, "--track", "tensorboard,told", "--plugin", str(tmp_path / "told.py"))
    done = run(*tracked)
    assert done.code == 0, done.err
    cells = [json.loads(line) for line in done.out.splitlines()]  # stdout is for results, whatever trackers print
    assert {path.name for path in (tmp_path / "grid" / "cells").iterdir()} == ran
    track = tmp_path / "grid" / "track"
    told = lines(track / "told" / "all.jsonl")
    assert sorted(one["params"]["arm"] for one in told if "params" in one and "arm" in one["params"]) == sorted(
        cell["arm"] for cell in cells
    )
    results = [one["values"] for one in told if one.get("step", 0) is None]
    accuracies = [cell["sets"]["id"]["accuracy"] for cell in cells]
    assert sorted(one["id/accuracy"] for one in results if "id/accuracy" in one) == sorted(accuracies)
    (table,) = (one for one in told if "table" in one)
    compared = lines(tmp_path / "grid" / "comparisons.jsonl")
    at = table["columns"].index("difference")
    assert [row[at] for row in table["data"]] == [one["difference"] for one in compared]

    events = EventAccumulator(str(track / "tensorboard" / "cot-seed-0"))
    events.Reload()
    losses = lines(next((tmp_path / "grid" / "runs").glob("cot-*/metrics.jsonl")))
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([one["loss"] for one in losses])
    (accuracy,) = events.Scalars("id/accuracy")
    cell = next(cell for cell in cells if cell["cell"] == "cot/seed-0")
    assert accuracy.value == pytest.approx(cell["sets"]["id"]["accuracy"])

    before = {path: path.read_bytes() for path in track.rglob("*") if path.is_file()}
    assert run(*tracked).code == 0
    assert {path: path.read_bytes() for path in track.rglob("*") if path.is_file()} == before


def record(**changes: Any) -> dict[str, Any]:
    sets = {"id": {"accuracy": 0.5, "predictions": "runs/a/predictions/id.jsonl"}}
    return {"cell": "cot/seed-0", "arm": "cot", "key": "k", "sets": sets, **changes}


def test_a_tracker_that_fails_stops_nothing_and_is_told_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def fails(tracker: str, told: Any, root: Path) -> None:
        calls.append(told.name)
        if len(calls) == 1:
            raise ConnectionError("no route")

    monkeypatch.setattr("cotdistill.grid.tracking.tell", fails)
    first = Tracking(["wandb"], tmp_path)
    first.cell(record())
    first.cell(record(key="other"))  # not asked again: each time-out would cost a cell's time
    assert calls == ["cot/seed-0"]
    assert "--track wandb: no route" in capsys.readouterr().err
    Tracking(["wandb"], tmp_path).cell(record())
    Tracking(["wandb"], tmp_path).cell(record())
    assert calls == ["cot/seed-0"] * 2


def test_cells_that_failed_are_not_told_of_and_other_results_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("cotdistill.grid.tracking.tell", lambda tracker, one, root: told.append(one))
    tracking = Tracking(["mlflow"], tmp_path)
    tracking.cell({"cell": "cot/seed-0", "arm": "cot", "error": "it diverged"})
    assert told == []
    tracking.cell(record())
    tracking.cell(record(key=json_digest("other")))
    assert len({one.id for one in told}) == 2
    assert {one.group for one in told} == {tmp_path.name}


def test_numbers_and_curves_are_what_is_stored(tmp_path: Path) -> None:
    sets = {"id": {"accuracy": 0.5, "interval": [0.4, 0.6], "shifted": True, "calibration": {"ece": 0.1}, "x": "y"}}
    assert dict(numbers(sets)) == {
        "id/accuracy": 0.5,
        "id/interval.low": 0.4,
        "id/interval.high": 0.6,
        "id/calibration.ece": 0.1,
    }
    logged = [{"step": 1, "loss": 2.0, "losses": {"cot": 2.5}, "lr": 0.1}, {"step": 1, "dev_accuracy": 0.3}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in logged))
    assert list(curves(tmp_path / "metrics.jsonl")) == [
        (1, {"loss": 2.0, "lr": 0.1, "losses/cot": 2.5}),
        (1, {"dev_accuracy": 0.3}),
    ]
    assert list(curves(tmp_path / "none.jsonl")) == []


def test_trackers_are_checked_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotdistill.training.accelerators.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"cotdistill\[mlflow\]"):
        check_trackers(["mlflow"])
    with pytest.raises(UsageError, match="unknown tracker"):
        check_trackers(["wandbb"])
    done = run(*flags(tmp_path, "--track", "mlflow"))
    assert done.code == 6
    assert not (tmp_path / "grid").exists()


@pytest.mark.slow
def test_mlflow_has_each_cell_once_and_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/store")
    mlflow.set_tracking_uri(f"file:{tmp_path}/store")
    tracked = flags(tmp_path, "--track", "mlflow")
    done = run(*tracked)
    assert done.code == 0, done.err
    assert "--track mlflow" not in done.err  # what a tracker could not take is said there
    cells = [json.loads(line) for line in done.out.splitlines()]
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("grid").experiment_id
    told = {one.info.run_name: one for one in client.search_runs([experiment])}
    assert len(told) == len(cells) + 1
    for cell in cells:
        of = told[cell["cell"]].data
        assert of.params["arm"] == cell["arm"]
        assert of.metrics["id.accuracy"] == pytest.approx(cell["sets"]["id"]["accuracy"])
        curve = tmp_path / "grid" / Path(cell["sets"]["id"]["predictions"]).parents[1] / "metrics.jsonl"
        losses = lines(curve) if curve.exists() else []  # what was not trained has none
        logged = client.get_metric_history(told[cell["cell"]].info.run_id, "loss")
        assert [one.value for one in logged] == pytest.approx([line["loss"] for line in losses])
    (comparison,) = (one for name, one in told.items() if name not in {cell["cell"] for cell in cells})
    table = json.loads(next((tmp_path / "store").rglob(f"{comparison.info.run_id}/artifacts/*.json")).read_text())
    at = table["columns"].index("difference")
    compared = lines(tmp_path / "grid" / "comparisons.jsonl")
    told_of = [row[at] for row in table["data"]]  # its JSON has ten digits
    assert told_of == pytest.approx([one["difference"] for one in compared], abs=1e-9)
    assert run(*tracked).code == 0
    assert len(client.search_runs([experiment])) == len(told)
