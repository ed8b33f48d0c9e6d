"""Data sets of the Hugging Face hub, CSV and Parquet files, through the `datasets` library.

`hf:NAME` knows the data sets of the table below; any other, and any file, is read with `--map`. NAME may be
the path of a local copy: its last part then says which data set it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.console import console
from cotdistill.data.columns import OWN, Columns, example_of
from cotdistill.data.records import Example
from cotdistill.errors import DataError, Unavailable, UsageError, did_you_mean

Row = Mapping[str, Any]
PREFIX = "hf:"
BUILDERS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_LETTERED = re.compile(r"\(([A-Z])\)\s*")
_CALCULATOR = re.compile(r"<<.*?>>")


def _gsm8k(row: Row) -> dict[str, Any]:
    """The solution ends in "#### 72" and holds the calculator's notes, "<<48/2=24>>"."""
    solution, _, answer = str(row["answer"]).partition("####")
    return {"question": row["question"], "answer": answer.strip().replace(",", ""),
            "solution": _CALCULATOR.sub("", solution).strip()}


def _aqua(row: Row) -> dict[str, Any]:
    """Options are written "A)21"."""
    return {**row, "options": [str(option).partition(")")[2].strip() for option in row["options"]]}


def _options_in_question(question: str) -> tuple[str, list[str] | None]:
    """"Which one? (A) this (B) that", or the same below "Options:", as question and choices."""
    text, marker, listed = question.partition("Options:")
    if not marker:
        first = _LETTERED.search(question)
        if first is None:
            return question.strip(), None
        text, listed = question[: first.start()], question[first.start() :]
    choices = [part.strip().strip(";,") for part in _LETTERED.split(listed)[2::2]]
    if not choices:  # "Options:\n- Yes\n- No"
        choices = [line.strip()[2:].strip() for line in listed.splitlines() if line.strip().startswith("- ")]
    return text.strip(), choices or None


def _quarel(row: Row) -> dict[str, Any]:
    question, choices = _options_in_question(str(row["question"]))
    return {**row, "question": question, "choices": choices}


def _bbh(row: Row) -> dict[str, Any]:
    question, choices = _options_in_question(str(row["input"]))
    return {"question": question, "choices": choices, "answer": str(row["target"]).strip()}


@dataclass(frozen=True)
class Adapter:
    """How one data set of the hub is read. `config`: its default configuration."""

    repo: str
    columns: Columns
    config: str | None = None
    prepare: Callable[[Row], Row] | None = None


LISTED = Columns("question", "answerKey", "choices.text", "choices.label", "id")
ADAPTERS: dict[str, Adapter] = {
    "commonsense_qa": Adapter("tau/commonsense_qa", LISTED),
    "openbookqa": Adapter("allenai/openbookqa", Columns("question_stem", "answerKey", "choices.text",
                                                        "choices.label", "id"), "main"),
    "ai2_arc": Adapter("allenai/ai2_arc", LISTED, "ARC-Challenge"),
    "qasc": Adapter("allenai/qasc", Columns("question", "answerKey", "choices.text", "choices.label", "id",
                                            "combinedfact")),
    "strategy_qa": Adapter("ChilleD/StrategyQA", Columns("question", "answer", id="qid", rationale="facts")),
    "creak": Adapter("amydeng2000/CREAK", Columns("sentence", "label", id="ex_id", rationale="explanation")),
    "gsm8k": Adapter("openai/gsm8k", Columns("question", "answer", rationale="solution"), "main", _gsm8k),
    "svamp": Adapter("ChilleD/SVAMP", Columns("Body+Question", "Answer", id="ID", rationale="Equation")),
    "aqua_rat": Adapter("deepmind/aqua_rat", Columns("question", "correct", "options", rationale="rationale"),
                        "raw", _aqua),
    "quarel": Adapter("community-datasets/quarel", Columns("question", "answer_index", "choices", id="id"),
                      prepare=_quarel),
    "bbh": Adapter("lukaemon/bbh", Columns("question", "answer", "choices"), None, _bbh),
}
ALIASES = {"commonsenseqa": "commonsense_qa", "strategyqa": "strategy_qa", "arc": "ai2_arc",
           "aqua": "aqua_rat",
           "big_bench_hard": "bbh", "bigbench_hard": "bbh"}


def load_hub(name: str, split: str | None, columns: Columns | None) -> list[Example]:
    """The rows of `hf:NAME` or `hf:NAME:CONFIG`, in the data set's own order.

    Raises `UsageError` for a data set that is not in the table and has no --map, `Unavailable` where it
    cannot be loaded, `DataError` for a row that does not fit.
    """
    place, _, config = name.removeprefix(PREFIX).partition(":")
    task = re.sub(r"\W+", "_", Path(place).name.lower())
    task = ALIASES.get(task, task)
    adapter = ADAPTERS.get(task)
    if adapter is None and columns is None:
        raise UsageError(f"--data {name}: not one of the known data sets{did_you_mean(task, ADAPTERS)} "
                         f"({', '.join(ADAPTERS)}); say what its columns are with --map "
                         f"question=...,answer=...")
    repo = adapter.repo if adapter is not None and "/" not in place else place
    config = config or (adapter.config if adapter and not Path(place).is_dir() else None) or ""
    split = split or ("test" if task == "bbh" else "train")
    rows = _load(repo, name, split, config or None)
    prepare = adapter.prepare if adapter is not None and columns is None else None
    chosen = columns or (adapter.columns if adapter else OWN)
    task = config if task == "bbh" and config else task
    return [example_of(prepare(row) if prepare else row, chosen, task, split, name, number)
            for number, row in enumerate(rows)]


def load_table(file: Path, split: str | None, columns: Columns | None) -> list[Example]:
    """The rows of a CSV or Parquet file; without --map its columns have our own names."""
    options: dict[str, Any] = {"sep": "\t"} if file.suffix == ".tsv" else {}
    if not file.is_file():
        raise DataError.at(str(file), None, "no such file", "check the path")
    rows = list(_load(BUILDERS[file.suffix], str(file), "train", None, data_files=str(file), **options))
    chosen = columns or OWN
    if columns is None and rows:
        optional = [name for name in ("id", "choices", "rationale") if name not in rows[0]]
        chosen = Columns(OWN.question, OWN.answer, **{name: None if name in optional else name
                                                      for name in ("id", "choices", "rationale")})
    # The first line of a CSV file names its columns.
    first = 0 if file.suffix == ".parquet" else 2
    return [example_of(row, chosen, file.name.split(".")[0], split, str(file), number)
            for number, row in enumerate(rows, start=first)]


def is_table(name: str) -> bool:
    """Whether a file is read through `datasets` (JSON lines are not: our reader's errors name the line)."""
    return Path(name).suffix in BUILDERS


def _load(repo: str, name: str, split: str, config: str | None, **options: Any) -> Iterator[Row]:
    import datasets

    if not console.is_terminal:
        datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(repo, config, split=split, **options)
    except Exception as error:  # datasets raises whatever its readers and the network raise
        said = " ".join(str(error).split())[:300] or type(error).__name__
        if "data_files" in options:
            raise DataError.at(name, None, f"cannot be read: {said}", "correct the file") from None
        raise Unavailable(f"cannot load {name} (split {split}): {said}") from None
    yield from loaded
