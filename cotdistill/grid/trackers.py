"""How each tracker is told of a finished run of a group: its parameters, curves, results and table, in one go.

A run is told of once it is finished, from what is stored: so nothing is lost or doubled where a grid is interrupted,
and workers that train side by side need no tracker. Each tracker keeps what it is told where it always does (W&B and
Trackio: their account or folder, MLflow: MLFLOW_TRACKING_URI); tensorboard's files are under the grid's `track/`.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from cotdistill.data.files import remove
from cotdistill.escaping import markdown
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import TRACKERS
from cotdistill.training.accelerators import tracker_of

PROJECT = "cotdistill"
TABLE = "comparison"
MLFLOW_BATCH = 100  # parameters in one call; it takes 1000 metrics
MLFLOW_LONGEST = 6000  # characters of a parameter


@dataclass(frozen=True)
class Tracked:
    """One run. `id`: the same for the same results, whenever told. `curves`: (optimizer step, values)."""

    group: str
    name: str
    id: str
    params: Mapping[str, str]
    results: Mapping[str, float]
    curves: Sequence[tuple[int, Mapping[str, float]]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | float | int | None]] = field(default=())

    def folder(self, root: Path) -> Path:
        """A folder of its own under `root`, whatever its name holds."""
        return root / re.sub(r"[^\w.=+-]+", "-", self.name)


def tell(tracker: str, run: Tracked, root: Path) -> None:
    """Tell a tracker of a run; files, where it writes any here, are under `root`/TRACKER. Raises what the tracker
    raises."""
    with redirect_stdout(sys.stderr):  # stdout is for results
        if tracker in TELLING:
            TELLING[tracker](run, root / tracker)
        else:
            _plugin(tracker, run, root / tracker)


def _tensorboard(run: Tracked, root: Path) -> None:
    folder = run.folder(root)
    remove(folder)
    with import_module("torch.utils.tensorboard").SummaryWriter(str(folder)) as writer:
        for step, values in run.curves:
            for name, value in values.items():
                writer.add_scalar(name, value, step)
        if run.rows:
            writer.add_text(TABLE, _as_markdown(run))
        writer.add_hparams(dict(run.params), dict(run.results), run_name=".")  # its table of runs


def _wandb(run: Tracked, root: Path) -> None:
    wandb = import_module("wandb")
    root.mkdir(parents=True, exist_ok=True)
    told = wandb.init(
        project=PROJECT,
        group=run.group,
        name=run.name,
        id=run.id,
        resume="allow",
        config=dict(run.params),
        dir=str(root),
        settings=wandb.Settings(silent=True),
    )
    for step, values in run.curves:
        told.log(dict(values), step=step)
    if run.rows:
        told.log({TABLE: wandb.Table(columns=list(run.columns), data=[list(row) for row in run.rows])})
    told.summary.update(dict(run.results))
    told.finish()


def _trackio(run: Tracked, root: Path) -> None:
    trackio = import_module("trackio")
    told = trackio.init(
        project=PROJECT, name=f"{run.group}/{run.name}", group=run.group, config=dict(run.params), embed=False
    )
    for step, values in run.curves:
        told.log(dict(values), step=step)
    if run.results:
        told.log(dict(run.results))
    if run.rows:
        frame = import_module("pandas").DataFrame([list(row) for row in run.rows], columns=list(run.columns))
        told.log({TABLE: trackio.Table(dataframe=frame)})
    told.finish()


def _mlflow(run: Tracked, root: Path) -> None:
    mlflow = import_module("mlflow")
    entities, client = import_module("mlflow.entities"), mlflow.MlflowClient()
    known = client.get_experiment_by_name(run.group)
    experiment = client.create_experiment(run.group) if known is None else known.experiment_id
    mark = f"{PROJECT}.id"
    if client.search_runs([experiment], f"tags.`{mark}` = '{run.id}' and attributes.status = 'FINISHED'"):
        return
    told = client.create_run(experiment, run_name=run.name, tags={mark: run.id}).info.run_id
    now = int(1000 * time.time())
    metrics = [  # neither what it refuses in a name, nor a slash: its file store makes folders of them
        entities.Metric(re.sub(r"[^\w\-. ]", ".", name), value, now, step)
        for step, values in [*run.curves, (0, run.results)]
        for name, value in values.items()
    ]
    params = [entities.Param(name, value[:MLFLOW_LONGEST]) for name, value in run.params.items()]
    try:
        for part in _parts(params):
            client.log_batch(told, params=part)
        for part in _parts(metrics):
            client.log_batch(told, metrics=part)
        if run.rows:
            columns = {name: [row[at] for row in run.rows] for at, name in enumerate(run.columns)}
            client.log_table(told, columns, f"{TABLE}.json")
    except Exception:
        client.set_terminated(told, "FAILED")
        raise
    client.set_terminated(told)


def _plugin(name: str, run: Tracked, root: Path) -> None:
    folder = run.folder(root)
    remove(folder)
    with plugin_code(f"tracker {name!r} of {TRACKERS.get(name).origin}"):
        told: Any = tracker_of(name, folder)
        told.start()
        told.store_init_configuration(dict(run.params))
        for step, values in run.curves:
            told.log(dict(values), step=step)
        if run.results:
            told.log(dict(run.results))
        if run.rows and hasattr(told, "log_table"):
            told.log_table(TABLE, columns=list(run.columns), data=[list(row) for row in run.rows])
        told.finish()


TELLING: dict[str, Callable[[Tracked, Path], None]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
    "mlflow": _mlflow,
}


def _as_markdown(run: Tracked) -> str:
    lines = [[_shown(cell) for cell in line] for line in (run.columns, *run.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]])


def _shown(cell: str | float | int | None) -> str:
    return markdown("" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell))


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(values), MLFLOW_BATCH):
        yield values[at : at + MLFLOW_BATCH]
