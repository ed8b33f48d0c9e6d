"""What a grid measures: on which rows it trains and is asked, in which precision, and what it says of both."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cotdistill.data.records import Item
from tests.in_process import Done
from tests.in_process import run as call
from tests.models import items, student


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    student("gpt2").save(tmp_path / "base")
    write("rows.jsonl", items(8))
    write_questions("asked.jsonl", items(3))


def write(name: str, rows: list[Item]) -> None:
    Path(name).write_text("".join(item.line() + "\n" for item in rows))


def write_questions(name: str, rows: list[Item]) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("".join(item.example().line() + "\n" for item in rows))


def ablate(*options: str, data: str = "asked.jsonl") -> Done:
    return call(
        "ablate",
        "rows.jsonl",
        "--student",
        "base",
        "--data",
        data,
        "--strategies",
        "cot,scott",
        "--batch-size",
        "4",
        "--seeds",
        "0",
        "--jobs",
        "1",
        "--device",
        "cpu",
        "--no-controls",
        "--out",
        "out",
        *options,
    )


def without_counterfactual(rows: list[Item], keep: int) -> list[Item]:
    return [
        item if at < keep else item.model_copy(update={"rationales": tuple(item.kept("factual"))})
        for at, item in enumerate(rows)
    ]


def described() -> dict[str, object]:
    found: dict[str, object] = json.loads(Path("out/ablation.json").read_text())
    return found


@pytest.mark.parametrize("rows", ["common", "own"])
def test_each_arm_is_told_which_rows_it_does_without_and_why(rows: str) -> None:
    write("rows.jsonl", without_counterfactual(items(8), 3))
    planned = ablate("--epochs", "2", "--rows", rows, "--dry-run")
    done = ablate("--epochs", "2", "--rows", rows)
    assert (planned.code, done.code) == (0, 0), planned.err + done.err
    trained = {line["arm"]: line["rows"] for line in map(json.loads, done.out.splitlines()) if "rows" in line}
    steps = {line["arm"]: line["steps"] for line in map(json.loads, done.out.splitlines()) if "steps" in line}
    page = Path("out/report.md").read_text()
    for text in (planned.err, done.err):
        assert "scott: 3 of 8 rows; left out: no kept counterfactual rationale (5)" in text
    if rows == "common":
        why = "no kept counterfactual rationale, needed by scott (5)"
        assert trained == {"cot": 3, "scott": 3}
        assert steps == {"cot": 2, "scott": 2}
        for text in (planned.err, done.err):
            assert f"cot: 3 of 8 rows; left out: {why}" in text
            assert "--rows own gives each" in text
        assert f"| cot | 8 | 8 | 3 | {why} |" in page
    else:
        assert trained == {"cot": 8, "scott": 3}
        assert steps == {"cot": 4, "scott": 2}
        assert "| cot | 8 | 8 | 8 | none |" in page
        assert "on the rows that it can use itself" in page
    assert call("verify", "out").code == 0


def test_two_chains_a_question_leave_the_budget_of_examples_equal() -> None:
    twice = [item.model_copy(update={"rationales": item.rationales * 2}) for item in items(8)]
    write("rows.jsonl", twice)
    done = ablate("--epochs", "2", "--strategies", "cot,answer-only", "--dry-run")
    assert done.code == 0, done.err
    steps = {
        line.split()[0]: line.split()[3] for line in done.err.splitlines() if line.startswith(("cot ", "answer-only "))
    }
    assert steps == {"cot": "8", "answer-only": "8"}


def test_questions_among_the_training_rows_are_said_and_stand_in_the_report() -> None:
    write_questions("new.jsonl", items(12)[8:])
    done = ablate("--steps", "1", "--data", "new.jsonl")
    assert done.code == 0, done.err
    assert "asked: 100.0 % of the questions are also in the training rows" in done.err
    shared = {name: one["exact"] for name, one in described()["rows"]["overlap"].items()}  # type: ignore[index]
    assert shared["asked"] == 1.0 > shared["new"]
    assert "| all arms | asked | 100.0 |" in Path("out/report.md").read_text()


def hub(splits: dict[str, list[int]]) -> str:
    """A local copy of a data set of the hub."""
    for split, numbers in splits.items():
        path = Path("gsm8k") / f"{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "".join(
                json.dumps({"question": f"What is {n} plus 1?", "answer": f"So it is. #### {n + 1}"}) + "\n"
                for n in numbers
            )
        )
    return f"hf:{Path('gsm8k').resolve()}"


@pytest.mark.parametrize(
    ("splits", "options", "asked"),
    [
        ({"train": [1, 2], "test": [3, 4], "validation": [5]}, (), "test"),
        ({"train": [1, 2], "validation": [5]}, (), "validation"),
        ({"train": [1, 2], "test": [3, 4]}, ("--split", "train"), "train"),
    ],
    ids=["test", "validation", "named"],
)
def test_a_data_set_is_evaluated_on_its_test_or_validation_split(
    splits: dict[str, list[int]], options: tuple[str, ...], asked: str
) -> None:
    name = hub(splits)
    done = ablate("--steps", "1", "--strategies", "cot", "--keep-students", "all", *options, data=name)
    assert done.code == 0, done.err
    line = json.loads(done.out.splitlines()[-1])
    assert list(line["sets"]) == [f"gsm8k-{asked}"]
    assert line["sets"][f"gsm8k-{asked}"]["n"] == len(splits[asked])
    alone = call("evaluate", str(next(Path("out/runs").iterdir())), "--data", name, "--device", "cpu", *options)
    assert json.loads(alone.out)["set"] == f"gsm8k-{asked}"


def test_a_data_set_with_nothing_but_training_rows_is_refused() -> None:
    done = ablate("--steps", "1", data=hub({"train": [1, 2]}))
    assert done.code == 2
    (line,) = done.errors
    assert line.endswith("has no test or validation split, only train: name one with --split")


def test_a_second_grid_in_a_process_reads_the_questions_anew() -> None:
    for rows in (items(2), items(3)):
        write_questions("asked.jsonl", rows)
        done = ablate("--steps", "1", "--strategies", "cot", "--overwrite")
        assert done.code == 0, done.err
        (cell,) = [line for line in map(json.loads, done.out.splitlines()) if line["arm"] == "cot"]
        assert cell["sets"]["asked"]["n"] == len(rows)


def test_students_are_asked_in_the_precision_that_was_chosen() -> None:
    done = ablate("--steps", "1", "--strategies", "cot", "--dtype", "bfloat16")
    assert done.code == 0, done.err
    run = next(Path("out/runs").iterdir())
    before = (run / "predictions" / "asked.jsonl").read_bytes()
    assert (
        call(
            "evaluate", str(run), "--data", "asked.jsonl", "--device", "cpu", "--dtype", "bfloat16", "--no-calibrate"
        ).code
        == 0
    )
    assert (run / "predictions" / "asked.jsonl").read_bytes() == before  # the same settings: nothing is asked anew


def test_two_students_of_one_folder_name_have_their_own_word_scores() -> None:
    for at, family in (("a", "gpt2"), ("b", "llama")):
        student(family).save(Path(at) / "same")
    done = ablate(
        "--steps",
        "1",
        "--strategies",
        "cot",
        "--key-tokens",
        "1",
        "--key-by",
        "gradient-input",
        "--student",
        "a/same,b/same",
    )
    assert done.code == 0, done.err
    made = sorted(Path("out/scores").iterdir())
    assert len(made) == 2
    assert len({path.read_bytes() for path in made}) == 2
    assert call("verify", "out").code == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_question_rows_that_are_not_there_are_found_before_anything_is_done(options: tuple[str, ...]) -> None:
    done = ablate("--steps", "1", *options, data="nosuch.jsonl")
    assert done.code == 3
    assert done.errors == ['error: nosuch.jsonl: no such file (did you mean "rows.jsonl"?); check the path']
    assert not Path("out").exists()


def test_two_sets_of_one_name_are_refused() -> None:
    write_questions("other/asked.jsonl", items(2))
    done = ablate("--steps", "1", "--data", "other/asked.jsonl")
    assert done.code == 2
    assert done.errors == ["error: --data: two sets are named asked; name one differently with NAME=FILE"]
    named = ablate("--steps", "1", "--strategies", "cot", "--data", "other=other/asked.jsonl")
    assert named.code == 0, named.err
    assert list(json.loads(named.out.splitlines()[-1])["sets"]) == ["asked", "other"]


@pytest.mark.parametrize("damage", ["predictions", "card", "weights and predictions", "record", "gone"])
def test_a_finished_cell_that_was_damaged_is_said_and_made_again(damage: str) -> None:
    options = ("--steps", "1", "--strategies", "cot", "--keep-students", "all")
    assert ablate(*options).code == 0
    run = next(Path("out/runs").iterdir())
    before = {
        path: path.read_bytes()
        for path in (run / "predictions" / "asked.jsonl", run / "run.json", run / "student" / "model.safetensors")
    }
    predictions, card, weights = before
    if "predictions" in damage:
        predictions.write_text(predictions.read_text().replace('"generated":', '"generated":1', 1))
    if damage == "card":
        card.write_text(card.read_text().replace('"steps": 1', '"steps": 2'))
    if "weights" in damage:
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    if damage == "record":
        cell = next(path for path in Path("out/cells").iterdir() if '"cell": "cot/seed-0"' in path.read_text())
        cell.write_text(cell.read_text().replace('"right": ', '"right": 1'))
    if damage == "gone":
        shutil.rmtree(run)
    done = ablate(*options)
    assert done.code == 0, done.err
    assert (
        "is damaged; its result is computed again" in done.err
        if damage == "record"
        else ("changed since the cell was run; running it again" in done.err)
    )
    assert {path: path.read_bytes() for path in before} == before
    assert call("verify", "out").code == 0
    assert "changed since" not in ablate(*options).err
