"""Data sets of the Hugging Face hub, through the `datasets` library.

`hf:NAME` knows the data sets of the table below; any other is read with `--map`. NAME may be the path of a local
copy: its last part then names the data set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.config.common import BadRows
from cotdistill.console import console
from cotdistill.data.bad_rows import STOP
from cotdistill.data.columns import Columns, columns_named
from cotdistill.data.network import unreachable_hub
from cotdistill.data.questions import PendingRow, made_of, mapped, own
from cotdistill.data.records import Example
from cotdistill.errors import Unavailable, UsageError, did_you_mean

SourceRow = Mapping[str, Any]
PREFIX = "hf:"
_LETTERED = re.compile(r"\(([A-Z])\)\s*")
_CALCULATOR = re.compile(r"<<.*?>>")


def _gsm8k(row: SourceRow) -> dict[str, Any]:
    """The solution ends in "#### 72" and holds the calculator's notes, "<<48/2=24>>"."""
    solution, _, answer = str(row["answer"]).partition("####")
    return {
        "question": row["question"],
        "answer": answer.strip().replace(",", ""),
        "solution": _CALCULATOR.sub("", solution).strip(),
    }


def _aqua(row: SourceRow) -> dict[str, Any]:
    """Options are written "A)21"."""
    return {**row, "options": [str(option).partition(")")[2].strip() for option in row["options"]]}


def _options_in_question(question: str) -> tuple[str, list[str] | None]:
    """ "Which one? (A) this (B) that", or the same below "Options:", as question and choices."""
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


def _quarel(row: SourceRow) -> dict[str, Any]:
    question, choices = _options_in_question(str(row["question"]))
    return {**row, "question": question, "choices": choices}


def _bbh(row: SourceRow) -> dict[str, Any]:
    question, choices = _options_in_question(str(row["input"]))
    return {"question": question, "choices": choices, "answer": str(row["target"]).strip()}


@dataclass(frozen=True)
class Adapter:
    """How one data set of the hub is read. `config`: its default configuration. `answered`: the split to evaluate on,
    where the test split's answers are not published."""

    repo: str
    columns: Columns
    config: str | None = None
    prepare: Callable[[SourceRow], SourceRow] | None = None
    answered: str | None = None


def columns_of(
    question: str, answer: str, choices: str = "", labels: str = "", id: str = "", rationale: str = ""
) -> Columns:
    """Columns by their plain names; "Body+Question" joins two."""
    parts: dict[str, str] = {
        "question": question,
        "answer": answer,
        "choices": choices,
        "labels": labels,
        "id": id,
        "rationale": rationale,
    }
    given: dict[str, Any] = {part: columns_named(*names.split("+")) for part, names in parts.items() if names}
    return Columns(**given)


LISTED = columns_of("question", "answerKey", "choices.text", "choices.label", "id")
ADAPTERS: dict[str, Adapter] = {
    "commonsense_qa": Adapter("tau/commonsense_qa", LISTED, answered="validation"),
    "openbookqa": Adapter(
        "allenai/openbookqa", columns_of("question_stem", "answerKey", "choices.text", "choices.label", "id"), "main"
    ),
    "ai2_arc": Adapter("allenai/ai2_arc", LISTED, "ARC-Challenge"),
    "qasc": Adapter(
        "allenai/qasc",
        columns_of("question", "answerKey", "choices.text", "choices.label", "id", "combinedfact"),
        answered="validation",
    ),
    "strategy_qa": Adapter("ChilleD/StrategyQA", columns_of("question", "answer", id="qid", rationale="facts")),
    "creak": Adapter(
        "amydeng2000/CREAK", columns_of("sentence", "label", id="ex_id", rationale="explanation"), answered="validation"
    ),
    "gsm8k": Adapter("openai/gsm8k", columns_of("question", "answer", rationale="solution"), "main", _gsm8k),
    "svamp": Adapter("ChilleD/SVAMP", columns_of("Body+Question", "Answer", id="ID", rationale="Equation")),
    "aqua_rat": Adapter(
        "deepmind/aqua_rat", columns_of("question", "correct", "options", rationale="rationale"), "raw", _aqua
    ),
    "quarel": Adapter(
        "community-datasets/quarel", columns_of("question", "answer_index", "choices", id="id"), prepare=_quarel
    ),
    "bbh": Adapter("lukaemon/bbh", columns_of("question", "answer", "choices"), None, _bbh),
}
ALIASES = {
    "commonsenseqa": "commonsense_qa",
    "strategyqa": "strategy_qa",
    "arc": "ai2_arc",
    "aqua": "aqua_rat",
    "big_bench_hard": "bbh",
    "bigbench_hard": "bbh",
}


def load_hub(name: str, split: str | None, columns: Columns | None, bad: BadRows = STOP) -> list[Example]:
    """The rows of `hf:NAME` or `hf:NAME:CONFIG`, in the data set's own order.

    Raises `UsageError` for a data set that is not in the table and has no --map, `Unavailable` where it
    cannot be loaded, `DataError` for a row that does not fit.
    """
    task, adapter, repo, config = _identify(name)
    if adapter is None and columns is None:
        raise UsageError(
            f"--data {name}: not one of the known data sets{did_you_mean(task, ADAPTERS)} "
            f"({', '.join(ADAPTERS)}); name its columns with --map "
            f"question=...,answer=..."
        )
    split = split or ("test" if task == "bbh" else "train")
    rows = _load(repo, name, split, config)
    prepare = adapter.prepare if adapter is not None and columns is None else None
    chosen = columns or (adapter.columns if adapter is not None else None)
    task = config if task == "bbh" and config else task
    convert = mapped(chosen, task, split) if chosen is not None else own(task, name)

    def prepared(row: SourceRow, number: int, place: str) -> PendingRow:
        try:
            return convert(prepare(row) if prepare else row, number, place)
        except KeyError as error:
            raise ValueError(f"no column {error}") from None

    return made_of(enumerate(rows), prepared, name, Example, 0 if columns is None else columns.first, bad)


def held_out_split(name: str, test: bool = True) -> str:
    """The split of `hf:NAME` that no training rows come from: to evaluate on (`test`), or to choose by.

    The test split where its answers are published, else the validation split; to choose by, the validation split
    only. Raises `UsageError` where there is none.
    """
    _, adapter, repo, config = _identify(name)
    splits = _splits(repo, name, config)
    preferred = [
        *([adapter.answered] if adapter is not None and adapter.answered else []),
        *(["test"] if test else []),
        "validation",
        "valid",
        "val",
        "dev",
    ]
    for split in preferred:
        if split in splits:
            return split
    wanted = "test or validation" if test else "validation"
    raise UsageError(
        f"{name} has no {wanted} split, only {', '.join(splits)}: "
        + ("name one with --split" if test else "give its rows as a file")
    )


def _identify(name: str) -> tuple[str, Adapter | None, str, str | None]:
    """(task, adapter, repository or folder, configuration) of `hf:NAME`."""
    place, _, config = name.removeprefix(PREFIX).partition(":")
    if not place:
        raise UsageError(f"--data {name}: name a data set, such as hf:gsm8k")
    task = re.sub(r"\W+", "_", Path(place).name.lower())
    task = ALIASES.get(task, task)
    adapter = ADAPTERS.get(task)
    repo = adapter.repo if adapter is not None and "/" not in place else place
    return task, adapter, repo, config or (adapter.config if adapter and not Path(place).is_dir() else None) or None


def _splits(repo: str, name: str, config: str | None) -> list[str]:
    import datasets

    try:
        return [str(split) for split in datasets.get_dataset_split_names(repo, config)]
    except Exception as error:  # datasets raises whatever its readers and the network raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise Unavailable(f"cannot load {name}: {reason}") from None


def _load(repo: str, name: str, split: str, config: str | None) -> Iterator[SourceRow]:
    import datasets

    if not console.is_terminal:
        datasets.disable_progress_bars()
    # A hub that cannot be reached is not asked again: a data set in the cache still loads.
    why = None if Path(repo).exists() else unreachable_hub()
    try:
        loaded = datasets.load_dataset(repo, config, split=split)
    except Exception as error:  # datasets raises whatever its readers and the network raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise Unavailable(
            f"cannot load {name} (split {split}): {f'not in the local cache, and {why}' if why else reason}"
        ) from None
    yield from loaded
