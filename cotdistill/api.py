"""The commands as Python functions: the same options by the same names, objects with rows and figures in return.

A face of the pipelines, as `cli` is. Options are those of the command (`cotdistill COMMAND --help`) with underscores;
lists are lists, `--lambda` and `--for` are `lambda_` and `for_`, `config` names a YAML file, `quiet` keeps a call's
notes, tables and bars from stderr. Failures raise the `CotdistillError` whose text the command line prints.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cotdistill.boundary import use_plugins
from cotdistill.config import (
    AblateConfig,
    CompareConfig,
    Config,
    DistillConfig,
    ElicitConfig,
    EvaluateConfig,
    PredictConfig,
    PushConfig,
)
from cotdistill.console import silence, warn
from cotdistill.data.files import JsonObject, write_text
from cotdistill.data.json_rows import json_lines
from cotdistill.data.logs import parse_object, whole_lines
from cotdistill.errors import DataError, Partial, Unavailable, UsageError

if TYPE_CHECKING:
    import pandas

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Result:
    """What a function returns: `rows` as the command prints or writes them; `path`: the file or folder they are in."""

    rows: list[JsonObject]
    path: Path | None = None

    def __iter__(self) -> Iterator[JsonObject]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a table, a nested object a column for each of its fields ("calibration.ece").

        Raises `Unavailable` where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise Unavailable("to_pandas needs pandas; install it with: pip install pandas") from None
        return pandas.json_normalize(self.rows)


@dataclass(frozen=True)
class Rows(Result):
    """Elicited rows. `failed`: why some have no rationale, None where none failed."""

    failed: str | None = None

    @property
    def figures(self) -> JsonObject:
        """How many rows and rationales there are, and how many rationales bear each label."""
        labels: dict[str, int] = {}
        for row in self.rows:
            for rationale in row["rationales"]:
                labels[rationale["label"]] = labels.get(rationale["label"], 0) + 1
        return {"rows": len(self.rows), "rationales": sum(labels.values()), "labels": labels}


@dataclass(frozen=True)
class Run(Result):
    """A trained student at `path`: its rows are the training log, its figures what `distill` prints."""

    figures: JsonObject = field(default_factory=dict)

    def predict(self, data: Any, **options: Any) -> Predictions:
        """`predict` with this run."""
        return predict(self, data, **options)

    def evaluate(self, **options: Any) -> Evaluation:
        """`evaluate` of this run."""
        return evaluate(self, **options)


@dataclass(frozen=True)
class Predictions(Result):
    """A student's responses in the order of the questions."""

    @property
    def figures(self) -> JsonObject:
        """How many there are, how many have an answer, and how many ended within the token limit."""
        return {
            "n": len(self.rows),
            "answered": sum(row["answer"] is not None for row in self.rows),
            "finished": sum(row["finished"] for row in self.rows),
        }


@dataclass(frozen=True)
class Evaluation(Result):
    """One row for each run and set; `figures` is the same list."""

    @property
    def figures(self) -> list[JsonObject]:
        """The objects that `evaluate` prints."""
        return self.rows


@dataclass(frozen=True)
class Ablation(Result):
    """One row for each cell; `figures`: the comparisons with the baseline. `path`: the folder of the report."""

    @property
    def figures(self) -> list[JsonObject]:
        """The rows of comparisons.jsonl; none where no comparison was made."""
        file = (self.path or Path()) / "comparisons.jsonl"
        return _records(file) if file.is_file() else []


@dataclass(frozen=True)
class Comparison(Result):
    """One row for each pair of sides, then for each task; `figures` is the same list."""

    @property
    def figures(self) -> list[JsonObject]:
        """The objects that `compare` prints."""
        return self.rows


def elicit(data: Any = None, **options: Any) -> Rows:
    """Elicit rationales from a teacher; `data`: a name as `--data` takes it, or question rows.

    Without `out` the rows are kept in memory only. Where calls failed, the rows are returned all the same.
    """
    from cotdistill.eliciting import elicit as run_elicit

    with _workspace() as folder:
        given = {} if data is None else {"data": _source(data, folder / "questions.jsonl")}
        config = _config(ElicitConfig, {**given, **options})
        to = config.out or folder / "rows.jsonl"
        failed = None
        try:
            run_elicit(config.model_copy(update={"out": to}))
        except Partial as partial:
            failed = str(partial)
            warn(failed)
        return Rows(_records(to), config.out, failed)


def distill(rows: Any, **options: Any) -> Run:
    """Train a student on elicited rows: a file, the result of `elicit`, or rows as plain objects."""
    from cotdistill.distilling import distill as run_distill

    with _workspace() as folder:
        config = _config(DistillConfig, options)
        summary = run_distill(config, _source(rows, folder / "rows.jsonl"))
    assert summary is not None  # no dry run
    return _run(Path(summary["run"]), summary)


def evaluate(runs: Any, data: Any = None, **options: Any) -> Evaluation:
    """Evaluate runs, models or prediction files on question sets; `runs`: one of them or several."""
    from cotdistill.evaluating import evaluate as run_evaluate

    with _workspace() as folder:
        sets = data if isinstance(data, list | tuple) and not _are_rows(data) else [] if data is None else [data]
        named = [_source(one, folder / f"set-{at}.jsonl") for at, one in enumerate(sets)]
        config = _config(EvaluateConfig, {**({"data": named} if named else {}), **options})
        return Evaluation(list(run_evaluate(config, [] if runs is None else _several(runs, folder))), config.html)


def predict(run: Any, data: Any, **options: Any) -> Predictions:
    """Answer questions with a run or a model (None: `model` behind a server); `data`: a name as `--data` takes it, or
    question rows."""
    from cotdistill.predicting import predict as run_predict
    from cotdistill.predicting import prompts

    with _workspace() as folder:
        config = _config(PredictConfig, {"data": _source(data, folder / "questions.jsonl"), **options})
        name = _name(config.model if run is None else run)
        if config.prompts:
            return Predictions(list(prompts(config, name)))
        return Predictions([one.model_dump(mode="json") for one in run_predict(config, name)], config.out)


def ablate(rows: Any = None, **options: Any) -> Ablation:
    """Compare strategies on the same rows in a grid of cells; a failed cell is a row with its `error`."""
    from cotdistill.ablating import ablate as run_ablate

    with _workspace() as folder:
        config = _config(AblateConfig, options)
        source = None if rows is None else _source(rows, folder / "rows.jsonl")
        return Ablation(list(run_ablate(config, source)), config.out or Path("runs") / "ablation")


def compare(*sides: Any, **options: Any) -> Comparison:
    """Paired statistics between result files of any origin, as `cotdistill compare A B [C ...]`."""
    from cotdistill.comparing import compare as run_compare

    with _workspace() as folder:
        config = _config(CompareConfig, options)
        return Comparison(list(run_compare(config, _several(sides, folder))), config.out)


def push(run: Any, repo: str, dry_run: bool = False, **options: Any) -> Result:
    """Send a run to the Hugging Face hub, private unless `public`; one row: repository, files, commit."""
    from cotdistill.pushing import push as run_push

    config = _config(PushConfig, {"repo": repo, **options})
    return Result([run_push(config, _name(run), dry_run)])


def load(path: str | Path) -> Result:
    """What a command left at a path: a run, an ablation's folder, or a file of rows or of predictions.

    Raises `DataError` where there is none of these.
    """
    place = Path(path)
    if (place / "run.json").is_file():
        from cotdistill.data.runcard import read_card

        card = read_card(place)
        return _run(place, {"run": str(place), "strategy": card.strategy["name"], "key": card.key, **card.trained})
    if (place / "cells.jsonl").is_file():
        return Ablation(_records(place / "cells.jsonl"), place)
    if place.is_dir():
        raise DataError.at(
            str(place),
            None,
            "holds neither a run nor an ablation",
            "name a folder made by distill or ablate, or a file of rows",
        )
    rows = _records(place)
    kind = Rows if rows and "rationales" in rows[0] else Predictions if rows and "output" in rows[0] else Result
    return kind(rows, place)


def _config(kind: type[C], options: Mapping[str, Any]) -> C:
    """A command's config. Paths, tuples and results are given as the command line gives them."""
    given = {name: _plain(value) for name, value in options.items() if name not in ("config", "quiet")}
    file = options.get("config")
    silence(bool(options.get("quiet", False)))
    config = kind.build(None if file is None else Path(file), **given)
    use_plugins(config)
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value.path) if isinstance(value, Result) and value.path is not None else value


def _source(value: Any, aside: Path) -> str:
    """A name as it is; a result by its file; rows are written to `aside`."""
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Result) and value.path is not None:
        return str(value.path)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a pandas DataFrame
        value = json.loads(value.to_json(orient="records"))
    if not isinstance(value, Iterable):
        raise UsageError(f"rows are a file, a result, a DataFrame or a list of objects, not {type(value).__name__}")
    write_text(aside, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in value))
    return str(aside)


def _are_rows(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(one, Mapping) for one in value)


def _several(value: Any, folder: Path) -> list[str]:
    """Runs or files, named one by one."""
    listed = value if isinstance(value, list | tuple) and not _are_rows(value) else [value]
    return [_source(one, folder / f"predictions-{at}.jsonl") for at, one in enumerate(listed)]


def _name(run: Any) -> str:
    return str(run.path if isinstance(run, Result) else run)


def _run(place: Path, summary: JsonObject) -> Run:
    """A run with its training log; steps that a kill repeated are there twice."""
    log = place / "metrics.jsonl"
    return Run([parse_object(line) for line in whole_lines(log)] if log.is_file() else [], place, summary)


def _records(file: Path) -> list[JsonObject]:
    return [row for _, row in json_lines(file)]


def _workspace() -> _Folder:
    return _Folder(prefix="cotdistill-")


class _Folder(tempfile.TemporaryDirectory[str]):
    """A temporary folder, as a path."""

    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__())
