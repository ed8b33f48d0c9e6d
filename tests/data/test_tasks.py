"""Question rows from everywhere: the hub's own formats as small local copies, tables, mapped columns, the
world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from cotdistill.data.hub import ADAPTERS
from cotdistill.data.tasks import load_examples
from cotdistill.errors import DataError, Unavailable, UsageError

SQUARE = {"label": ["A", "B", "C"], "text": ["one", "two", "three"]}
# (rows as the hub has them, (question, choices, answer, rationale) of the first)
COPIES: dict[str, tuple[dict[str, Any], tuple[str, tuple[str, ...] | None, str, str | None]]] = {
    "commonsense_qa": (
        {"id": "a1", "question": "How many?", "question_concept": "many", "choices": SQUARE, "answerKey": "B"},
        ("How many?", ("one", "two", "three"), "two", None),
    ),
    "openbookqa": (
        {"id": "7-980", "question_stem": "The sun is", "choices": SQUARE, "answerKey": "C"},
        ("The sun is", ("one", "two", "three"), "three", None),
    ),
    "ai2_arc": (
        {
            "id": "Mercury_1",
            "question": "Which?",
            "choices": {"text": ["3", "1"], "label": ["1", "2"]},
            "answerKey": "1",
        },
        ("Which?", ("3", "1"), "3", None),
    ),
    "qasc": (
        {
            "id": "q",
            "question": "What?",
            "choices": SQUARE,
            "answerKey": "A",
            "fact1": "x",
            "fact2": "y",
            "combinedfact": "x so y",
            "formatted_question": "What? (A) one",
        },
        ("What?", ("one", "two", "three"), "one", "x so y"),
    ),
    "strategy_qa": (
        {
            "qid": "s",
            "term": "t",
            "description": "d",
            "question": "Is it?",
            "answer": False,
            "facts": ["First.", "Second."],
            "decomposition": ["?"],
        },
        ("Is it?", ("yes", "no"), "no", "First. Second."),
    ),
    "creak": (
        {"ex_id": "train_0", "sentence": "Fish fly.", "explanation": "They swim.", "label": "false", "entity": "Fish"},
        ("Fish fly.", ("true", "false"), "false", "They swim."),
    ),
    "gsm8k": (
        {"question": "How many clips?", "answer": "She sold 48/2 = <<48/2=24>>24 clips.\n#### 1,024"},
        ("How many clips?", None, "1024", "She sold 48/2 = 24 clips."),
    ),
    "svamp": (
        {
            "ID": "chal-1",
            "Body": "There are 2 cats.",
            "Question": "How many?",
            "Equation": "( 2.0 )",
            "Answer": "2",
            "Type": "x",
        },
        ("There are 2 cats. How many?", None, "2", "( 2.0 )"),
    ),
    "aqua_rat": (
        {"question": "What is x?", "options": ["A)21", "B)21.5", "C)22"], "rationale": "It is so.", "correct": "B"},
        ("What is x?", ("21", "21.5", "22"), "21.5", "It is so."),
    ),
    "quarel": (
        {
            "id": "QuaRel_1",
            "answer_index": 1,
            "logical_forms": ["x"],
            "question": "Where did it go further? (A) on ice (B) on mud",
        },
        ("Where did it go further?", ("on ice", "on mud"), "on mud", None),
    ),
    "bbh": (
        {"input": "Which date?\nOptions:\n(A) 01/01/2020\n(B) 02/02/2020", "target": "(B)"},
        ("Which date?", ("01/01/2020", "02/02/2020"), "02/02/2020", None),
    ),
}


def copy_of(name: str, folder: Path, split: str = "train", rows: list[dict[str, Any]] | None = None) -> Path:
    place = folder / name
    (place / "data").mkdir(parents=True, exist_ok=True)
    made = datasets.Dataset.from_list(rows or [COPIES[name][0]])
    made.to_parquet(place / "data" / f"{split}-00000-of-00001.parquet")
    return place


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_every_adapter_has_its_copy() -> None:
    assert set(COPIES) == set(ADAPTERS)


@pytest.mark.parametrize("name", COPIES)
def test_the_hubs_own_formats(name: str, tmp_path: Path) -> None:
    split = "test" if name == "bbh" else "train"
    [row] = load_examples(f"hf:{copy_of(name, tmp_path, split)}")
    assert (row.question, row.choices, row.answer, row.rationale) == COPIES[name][1]
    assert (row.task, row.split) == (name, split)
    assert row.id


@pytest.mark.parametrize(
    ("given", "choices", "answer"),
    [
        ({"input": "not ( True ) is", "target": "False"}, ("True", "False"), "False"),
        ({"input": "Is it plausible?", "target": "no"}, ("yes", "no"), "no"),
        ({"input": "Sort: b a", "target": "a b"}, None, "a b"),
        ({"input": "How would he?\nOptions:\n- Yes\n- No", "target": "Yes"}, ("Yes", "No"), "Yes"),
    ],
)
def test_kinds_of_bbh_tasks(
    given: dict[str, Any], choices: tuple[str, ...] | None, answer: str, tmp_path: Path
) -> None:
    [row] = load_examples(f"hf:{copy_of('bbh', tmp_path, 'test', [given])}")
    assert (row.choices, row.answer) == (choices, answer)


def test_a_split_and_a_limit(tmp_path: Path) -> None:
    rows = [{**COPIES["commonsense_qa"][0], "id": f"v{at}"} for at in range(5)]
    place = copy_of("commonsense_qa", tmp_path)
    copy_of("commonsense_qa", tmp_path, "validation", rows)
    assert [row.id for row in load_examples(f"hf:{place}", "validation", 2)] == ["v0", "v1"]


def test_a_hidden_answer_is_refused_with_its_row(tmp_path: Path) -> None:
    place = copy_of("commonsense_qa", tmp_path, rows=[{**COPIES["commonsense_qa"][0], "answerKey": ""}])
    with pytest.raises(DataError, match=":0: field 'answer' is empty"):
        load_examples(f"hf:{place}")


def test_an_unknown_data_set_asks_for_a_map(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'did you mean "openbookqa"\?.*--map'):
        load_examples("hf:openbokqa")
    with pytest.raises(UsageError, match="--data hf:: name a data set"):
        load_examples("hf:")
    place = copy_of("openbookqa", tmp_path).rename(tmp_path / "mine")
    mapped = "question=question_stem,choices=choices.text,labels=choices.label,answer=answerKey"
    [row] = load_examples(f"hf:{place}", columns=mapped)
    assert (row.answer, row.id, row.task) == ("three", "mine-train-00000", "mine")


def test_a_data_set_that_cannot_be_loaded_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    with pytest.raises(Unavailable, match="cannot load hf:"):
        load_examples(f"hf:{tmp_path / 'gsm8k'}")


def test_csv_with_our_own_columns(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(
        'id,question,choices,answer\n1,Which?,one|two,two\n2,"Who, then?","[""a"", ""b|c""]",b|c\n3,Free?,,x\n'
    )
    rows = load_examples(str(file))
    assert [(row.id, row.choices, row.answer) for row in rows] == [
        ("1", ("one", "two"), "two"),
        ("2", ("a", "b|c"), "b|c"),
        ("3", None, "x"),
    ]
    assert rows[0].task == "mine"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_mapped_columns_in_files(suffix: str, tmp_path: Path) -> None:
    rows = [{"stem": "Which?", "options": "one|two", "key": "B"}, {"stem": "What?", "options": "x|y", "key": "x"}]
    file = tmp_path / f"mine.{suffix}"
    if suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        made = datasets.Dataset.from_list(rows)
        (made.to_parquet if suffix == "parquet" else made.to_csv)(file)
    found = load_examples(str(file), columns="question=stem,choices=options,answer=key")
    assert [(row.question, row.answer) for row in found] == [("Which?", "two"), ("What?", "x")]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("question=stem,answr=key", r'a row has no field \'answr\' \(did you mean "answer"\?\)'),
        ("question=stem", "needs a column for answer"),
        ("question", "takes NAME=COLUMN"),
    ],
)
def test_a_wrong_map_is_a_usage_error(columns: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        load_examples(str(tmp_path / "x.jsonl"), columns=columns)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"stem": "q", "key": "a"}, "no column 'options'"),
        ({"stem": "q", "options": ["a", "b"], "key": 2}, "index 2 is out of range for 2"),
        ({"stem": "q", "options": ["a", "b"], "key": "z"}, "gold answer 'z' is not among"),
        ({"stem": "q", "options": "[a", "key": "a"}, "not a JSON list"),
    ],
)
def test_a_row_that_does_not_fit_names_its_line(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    good = {"stem": "q", "options": ["a", "b"], "key": 0}
    file.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=rf"mine\.jsonl:2: .*{said}"):
        load_examples(str(file), columns="question=stem,choices=options,answer=key")


def test_the_embedded_world() -> None:
    assert len(load_examples("demo", limit=3)) == 3
    assert {row.task for row in load_examples("demo:stow", "new", 5)} == {"stow"}
    with pytest.raises(UsageError, match=r'no split \'trian\'.*did you mean "train"'):
        load_examples("demo", "trian")


def test_a_split_of_a_file_is_what_its_rows_say(tmp_path: Path) -> None:
    row = {"question": "q", "choices": None, "answer": "a"}
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({**row, "id": name, "split": name}) + "\n" for name in ("train", "dev")))
    assert [row.id for row in load_examples(str(file), "dev")] == ["dev"]
    with pytest.raises(UsageError, match="has no such split"):
        load_examples(str(file), "test")
