"""Every reader on damaged files: what is read, or one line and an exit code of the contract, never a bug of ours."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cotdistill.config import AblateConfig, DistillConfig, ElicitConfig, EvaluateConfig
from cotdistill.data.columns import Columns
from cotdistill.data.importers import read_recordings
from cotdistill.data.journal import Journal, finished_rows
from cotdistill.data.records import Example, digest
from cotdistill.data.rows import read_items
from cotdistill.data.runcard import RunCard, read_card
from cotdistill.data.tasks import load_examples
from cotdistill.errors import CotdistillError, Exit
from cotdistill.evaluation.faithfulness import ProbedQuestion
from cotdistill.evaluation.inputs import read_elsewhere
from cotdistill.evaluation.metrics import Prediction
from cotdistill.evaluation.store import Store
from cotdistill.evaluation.stored import read_predictions, read_probes
from cotdistill.grid.cells import CellStore
from cotdistill.strategies.description import dump_strategy, load_strategy
from cotdistill.strategies.registry import create
from cotdistill.strategies.scores import from_sidecar
from cotdistill.teachers.filters import item_of
from cotdistill.teachers.recorded import from_recordings, from_row
from tests.models import items

INPUTS = 200  # of each reader
CONTRACT = {Exit.USAGE, Exit.BAD_DATA, Exit.NOTHING_LEFT, Exit.UNAVAILABLE}
ITEMS = items(4)
EXAMPLES = [item.example() for item in ITEMS]
DEEP = 3000

# What a value of a JSON document is replaced with.
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**30,
    -0.0,
    1.5,
    "",
    " ",
    "a",
    "\u2028",
    "\x00",
    [],
    {},
    [[]],
    ["a"],
    {"a": 1},
    [None],
    [1],
    "1",
    "NaN",
    "9" * 5000,
    {"text": None},
    [{"role": "user"}],
)
# What is put between bytes.
BYTES = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\ud83d",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"9" * 5000,
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b"PAR1",
    b"\x1f\x8b",
    b"!!python/object:os.system",
    b"&a [*a, *a]",
    b"\t",
    b"|",
    b"%",
    b"\xff\xfe",
)


def spoilt(content: bytes, draw: random.Random) -> bytes:
    """A document with one to three faults: in its bytes, its lines, or the values of its JSON."""
    for _ in range(draw.randint(1, 3)):
        content = draw.choice((bytes_spoilt, lines_spoilt, value_spoilt, value_spoilt))(content, draw)
    return content


def bytes_spoilt(content: bytes, draw: random.Random) -> bytes:
    at = draw.randint(0, len(content))
    to = min(len(content), at + draw.choice((0, 0, 1, 1, 5, 40)))
    return draw.choice(
        (
            content[:at] + draw.choice(BYTES) + content[to:],
            content[:at],
            content[:at] + content[to:],
            content[:at] + bytes([draw.randrange(256)]) + content[to:],
            gzip.compress(content)[: at + 1],
        )
    )


def lines_spoilt(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    made = {
        "twice": lines[:at] + [lines[at]] * 2 + lines[at + 1 :],
        "gone": lines[:at] + lines[at + 1 :],
        "swapped": lines[at:] + lines[:at],
        "blank": [*lines[:at], b"", *lines[at:]],
    }
    return b"\n".join(made[draw.choice(list(made))])


def value_spoilt(content: bytes, draw: random.Random) -> bytes:
    """One value of one line, or of a whole document, replaced, dropped or given another name."""
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    for where in (slice(at, at + 1), slice(0, len(lines))):
        try:
            value = json.loads(b"\n".join(lines[where]))
        except (ValueError, RecursionError):
            continue
        lines[where] = [json.dumps(changed(value, draw)).encode("utf-8", "surrogatepass")]
        return b"\n".join(lines)
    return content


def changed(value: Any, draw: random.Random) -> Any:
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        made = dict(value) if isinstance(value, dict) else list(value)
        key = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        kind = draw.random()
        if kind < 0.1:
            del made[key]
        elif kind < 0.2 and isinstance(made, dict):
            made[draw.choice(("zzz", "idd", key + "s", "end", "id"))] = made.pop(key)
        else:
            made[key] = changed(made[key], draw)
        return made
    return draw.choice(VALUES)


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(folder: Path) -> bytes:
    path = folder / "seed.parquet"
    pq.write_table(pa.table({"question": ["a", "b"], "choices": [["x", "y"], ["x", "z"]], "answer": ["x", "z"]}), path)
    return path.read_bytes()


def used(examples: list[Example]) -> None:
    """What commands do with questions: digests, prompts, rows, UTF-8."""
    digest(examples)
    for example in examples:
        made = item_of(example, from_row(example))
        (example.line() + example.text() + made.line()).encode()
        json.dumps(made.model_dump(mode="json"), allow_nan=False)


def questions(columns: str | None = None) -> Callable[[Path], None]:
    return lambda path: used(load_examples(str(path), columns=columns))


def elicited(path: Path) -> None:
    used([item.example() for item in read_items(path)])


def recordings(columns: str | None = None) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        found = read_recordings(path, Columns.parse(columns) if columns else None)
        for rationales in from_recordings(EXAMPLES, found, ElicitConfig(counterfactual=True)):
            made = [one.model_dump(mode="json") for one in rationales]
            json.dumps(made, allow_nan=False, ensure_ascii=False).encode()

    return read


def stored(path: Path) -> None:
    Store(path, Prediction, "s").read()


def card(path: Path) -> None:
    load_strategy(read_card(path.parent).strategy, str(path.parent))


def scores(path: Path) -> None:
    from_sidecar(path, "random")


def journal(path: Path) -> None:
    Journal(path.with_name(path.name.removesuffix(".partial")))


def cells(path: Path) -> None:
    store = CellStore(path.parents[1])
    store.records()
    store.finished(path.stem)
    store.explain("cot/seed-0", {"a": 1})


def use_elsewhere(path: Path) -> None:
    read_elsewhere(str(path), EXAMPLES)


def use_predictions(path: Path) -> None:
    read_predictions(path)


def use_probes(path: Path) -> None:
    read_probes(path)


def use_finished(path: Path) -> None:
    finished_rows(path)


def config(cls: Any) -> Callable[[Path], None]:
    return lambda path: cls.build(path)


ASKED = [{"role": "user", "content": EXAMPLES[0].question}, {"role": "assistant", "content": "The answer is shed."}]
PREDICTION = Prediction(
    id="a",
    task="t",
    question="q",
    choices=None,
    gold="x",
    rationale="r",
    output="x",
    answer="x",
    verdict="right",
    finished=True,
    generated=1,
    forwarded=1,
)
PROBED = ProbedQuestion(id="a", probes={"swapped": None})
CARD = RunCard(
    key="k",
    strategy=dump_strategy(create("scott")),
    student={"name": "demo", "family": "gpt2", "parameters": 1, "digest": "d"},
    data={
        "source": "s",
        "digest": "d",
        "rows": 1,
        "samples": 1,
        "left_out": {},
        "dropped": {},
        "trained_on": 1,
        "world": None,
    },
    config=DistillConfig().model_dump(mode="json"),
    counts={"learned_tokens": {}, "input_tokens": 1},
    trained={"steps": 1, "processes": 1, "best_step": None, "dev_accuracy": None},
    versions={"torch": "2"},
)
TABLE = b'id,question,choices,answer\n1,Which?,a|b,b\n2,"Who,\nthen?",,x\n3,What?,"[""a"", ""b""]",0\n'
MAP = "question=m.0.content,choices=c,answer=k,id=i"
MAPPED = lines(*({"i": at, "m": [{"content": "q"}], "c": {"A": "x", "B": "y"}, "k": "B"} for at in range(3)))

READERS: dict[str, tuple[str, bytes, Callable[[Path], None]]] = {
    "question rows": (
        "q.jsonl",
        lines(*(json.loads(example.line()) for example in EXAMPLES), {"question": "q", "answer": 1.5, "mine": [1]}),
        questions(),
    ),
    "an array": ("q.json", json.dumps([json.loads(example.line()) for example in EXAMPLES]).encode(), questions()),
    "a table": ("q.csv", TABLE, questions()),
    "mapped rows": ("q.jsonl", MAPPED, questions(MAP)),
    "elicited rows": ("e.jsonl", lines(*(json.loads(item.line()) for item in ITEMS)), elicited),
    "elicited rows as questions": ("e.jsonl", lines(*(json.loads(item.line()) for item in ITEMS)), questions()),
    "recordings": (
        "r.jsonl",
        lines(
            *({"id": e.id, "teacher": "t", "samples": [{"text": f"So. The answer is {e.answer}."}]} for e in EXAMPLES)
        ),
        recordings(),
    ),
    "chats": ("r.jsonl", lines({"messages": ASKED, "id": 1}, {"messages": ASKED[::-1] + ASKED}), recordings()),
    "batches": (
        "r.jsonl",
        lines(
            {
                "custom_id": EXAMPLES[0].id,
                "response": {
                    "body": {"choices": [{"message": {"content": "So."}}], "output": [{"content": [{"text": "So."}]}]}
                },
            }
        ),
        recordings(),
    ),
    "lm-eval samples": (
        "r.jsonl",
        lines({"doc": {"id": EXAMPLES[0].id, "q": EXAMPLES[0].question}, "resps": [["So."]]}),
        recordings(),
    ),
    "SCOTT's rows": (
        "r.jsonl",
        lines(*({"id": e.id, "answer": e.answer, "question": e.question, "explanation": ["So."]} for e in EXAMPLES)),
        recordings(),
    ),
    "mapped recordings": ("r.jsonl", lines({"i": EXAMPLES[0].id, "t": ["So."]}), recordings("id=i,text=t")),
    "texts by place": (
        "train_CoT_0.json",
        json.dumps([f"So the answer is {e.answer}." for e in EXAMPLES], indent=1).encode(),
        recordings(),
    ),
    "predictions from elsewhere": (
        "p.jsonl",
        lines(*({"id": e.id, "text": "So.", "samples": ["a", {"text": "b"}]} for e in EXAMPLES)),
        use_elsewhere,
    ),
    "predictions": ("p.jsonl", lines({"settings": "s"}) + PREDICTION.model_dump_json().encode() + b"\n", stored),
    "predictions of a grid": (
        "p.jsonl",
        lines({"settings": "s"}) + PREDICTION.model_dump_json().encode() + b"\n",
        use_predictions,
    ),
    "probes": ("p.jsonl", lines({"settings": "s"}) + PROBED.model_dump_json().encode() + b"\n", use_probes),
    "run cards": ("run.json", CARD.model_dump_json(indent=1).encode(), card),
    "score files": ("s.jsonl", lines({"by": "random"}, {"rationale": "d", "scores": [0.5, 1]}), scores),
    "journals": (
        "j.jsonl.partial",
        lines(
            {"key": "k", "id": "a", "failed": "no"},
            {"key": "l", "id": "a", "rationale": ITEMS[0].rationales[0].model_dump(mode="json"), "tokens": [1, 2]},
        ),
        journal,
    ),
    "finished rows": ("f.jsonl", lines(*(json.loads(item.line()) for item in ITEMS)), use_finished),
    "cells": (
        "cells/0123456789abcdef.json",
        json.dumps(
            {"key": "0123456789abcdef", "name": "cot/seed-0", "definition": {"a": {"b": 1}}, "record": {"arm": "cot"}}
        ).encode(),
        cells,
    ),
}
CONFIGS = {"elicit": ElicitConfig, "distill": DistillConfig, "evaluate": EvaluateConfig, "ablate": AblateConfig}
for name, cls in CONFIGS.items():
    given = {key: value for key, value in cls().model_dump(mode="json").items() if value is not None}
    READERS[f"{name} configs"] = ("c.yaml", yaml.safe_dump(given).encode() + b"# a comment\n", config(cls))
    READERS[f"{name} configs as JSON"] = ("c.yaml", json.dumps(given).encode(), config(cls))


def faults(name: str, folder: Path, seed: int, count: int) -> dict[str, bytes]:
    """{what escaped, or was not one line: the input} of one reader."""
    file, content, read = READERS[name]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    read(path)  # the sound document is read
    draw, found = random.Random(f"{name} {seed}"), {}
    for _ in range(count):
        made = spoilt(content, draw)
        path.write_bytes(made)
        try:
            read(path)
        except CotdistillError as error:
            if error.code not in CONTRACT or "\n" in str(error) or not str(error).strip():
                found[f"{error.code} {error}"] = made
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
            found[f"{type(error).__name__} at {where}: {error}"[:200]] = made
    return found


@pytest.mark.parametrize("name", READERS)
def test_no_damaged_file_is_a_bug_of_ours(name: str, tmp_path: Path) -> None:
    assert faults(name, tmp_path, 0, INPUTS) == {}


def test_damaged_parquet(tmp_path: Path) -> None:
    READERS["parquet"] = ("q.parquet", parquet(tmp_path), questions())
    assert faults("parquet", tmp_path, 0, INPUTS) == {}


def test_at_least_five_thousand_inputs() -> None:
    assert INPUTS * len(READERS) >= 5000
