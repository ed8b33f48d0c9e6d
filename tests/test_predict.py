"""`predict`: a trained student answers questions without gold answers, as `evaluate` has it answer them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import DistillConfig, EvaluateConfig, PredictConfig
from cotdistill.data.records import Item, Question
from cotdistill.distilling import distill_items
from cotdistill.evaluating import evaluate
from cotdistill.evaluation.asked_student import AskedStudent
from cotdistill.predicting import predict
from cotdistill.strategies.registry import create
from cotdistill.students.load import load_student
from tests.in_process import run
from tests.models import items, student

ROWS = items(8)
QUIET = ("--device", "cpu", "--quiet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of three strategies on eight rows, and the questions with and without their answers."""
    folder = tmp_path_factory.mktemp("runs")
    student("gpt2", width=64).save(folder / "base")
    (folder / "rows.jsonl").write_text("".join(row.line() + "\n" for row in ROWS))
    for name in ("cot", "cascod", "post-cot"):
        config = DistillConfig(
            strategy=name,
            student=str(folder / "base"),
            steps=120,
            batch_size=8,
            lr=3e-3,
            out=folder / name,
            device="cpu",
        )
        distill_items(config, create(name), ROWS, str(folder / "rows.jsonl"))
    (folder / "gold.jsonl").write_text("".join(row.example().line() + "\n" for row in ROWS))
    (folder / "asked.jsonl").write_text(asked_lines(ROWS))
    return folder


def asked_lines(rows: Sequence[Item]) -> str:
    return "".join(json.dumps({"id": r.id, "question": r.question, "choices": r.choices}) + "\n" for r in rows)


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy to write into."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["cot", "cascod", "post-cot"])
def test_a_student_answers_as_it_does_under_evaluation(runs: Path, name: str) -> None:
    done = run("predict", str(runs / name), *QUIET, stdin=asked_lines(ROWS))
    assert done.code == 0, done.err
    found = lines(done.out)
    config = EvaluateConfig.build(None, data=[f"asked={runs / 'gold.jsonl'}"], device="cpu")
    (record,) = evaluate(config, [str(runs / name)])
    stored = lines((runs / name / "predictions/asked.jsonl").read_text())[1:]
    for field in ("id", "rationale", "output", "answer", "finished"):
        assert [one[field] for one in found] == [one[field] for one in stored]
    assert all(0 < one["confidence"] <= 1 for one in found)
    assert record["accuracy"] == 1.0
    # The answers become predictions once gold answers are there.
    (runs / "answers.jsonl").write_text(done.out)
    (judged,) = evaluate(EvaluateConfig(data=(str(runs / "gold.jsonl"),)), [str(runs / "answers.jsonl")])
    assert judged["accuracy"] == 1.0


def test_a_gold_answer_in_the_rows_changes_nothing(runs: Path) -> None:
    without = run("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), *QUIET)
    gold = [{**row, "answer": row["choices"][0]} for row in lines((runs / "gold.jsonl").read_text())]
    (runs / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    other = run("predict", str(runs / "cot"), "--data", str(runs / "other.jsonl"), *QUIET)
    plain = [{k: v for k, v in one.items() if k != "key"} for one in lines(without.out)]
    assert plain == [{k: v for k, v in one.items() if k != "key"} for one in lines(other.out)]


def test_an_interrupted_command_goes_on_where_it_was(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = runs / "whole.jsonl", runs / "answers.jsonl"
    command = ("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), "--batch-size", "1", *QUIET)
    assert run(*command, "-o", str(whole)).code == 0
    answer, asked = AskedStudent.answer, []

    def interrupted(self: AskedStudent, questions: Sequence[Question], batch_size: int | None = None) -> Any:
        asked.append([question.id for question in questions])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return answer(self, questions, batch_size)

    monkeypatch.setattr(AskedStudent, "answer", interrupted)
    assert run(*command, "-o", str(out)).code == 130
    assert not out.exists()
    assert len((runs / "answers.jsonl.partial").read_text().splitlines()) == 4
    done = run(*command, "-o", str(out))
    assert (done.code, done.out) == (0, "")
    assert asked[3:] == [["row-4", "row-5"], ["row-6", "row-7"]]
    assert out.read_bytes() == whole.read_bytes()
    assert not (runs / "answers.jsonl.partial").exists()
    # More questions: only the new ones are asked. The same again: nothing is, and no model is loaded.
    more = [*ROWS, *(row.model_copy(update={"id": f"new-{row.id}"}) for row in ROWS[:1])]
    (runs / "asked.jsonl").write_text(asked_lines(more))
    assert run(*command, "-o", str(out)).code == 0
    assert asked[5:] == [["new-row-0"]]
    shutil.rmtree(runs / "cot/student")
    (runs / "cot/student").mkdir()
    assert run(*command, "-o", str(out)).code == 0
    assert len(lines(out.read_text())) == 9


def test_a_file_that_would_lose_something_is_not_replaced(runs: Path) -> None:
    out = runs / "answers.jsonl"
    command = ("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), "-o", str(out), *QUIET)
    assert run(*command).code == 0
    before = out.read_bytes()
    done = run(*command, "--max-new-tokens", "40")
    assert done.code == 2
    assert "holds 8 responses that this command would not produce" in done.errors[0]
    assert out.read_bytes() == before
    assert run(*command, "--max-new-tokens", "40", "--overwrite").code == 0
    out.write_text("my notes\n")
    done = run(*command)
    assert (done.code, out.read_text()) == (2, "my notes\n")
    assert "was not written by this command" in done.errors[0]


def test_samples_vote(runs: Path) -> None:
    options = ("--samples", "5", "--temperature", "3", "--data", str(runs / "asked.jsonl"), *QUIET)
    one = run("predict", str(runs / "cot"), *options, "--batch-size", "3")
    other = run("predict", str(runs / "cot"), *options, "--batch-size", "16")
    assert one.out == other.out
    found = lines(one.out)
    for line in found:
        parsed = sum(line["votes"].values())
        assert parsed <= 5
        if line["answer"] is not None:
            assert line["votes"][line["answer"]] == max(line["votes"].values())
            assert line["confidence"] == line["votes"][line["answer"]] / 5


@pytest.mark.parametrize("name", ["cot", "cascod", "post-cot"])
def test_printed_prompts_are_what_the_student_is_given(runs: Path, name: str) -> None:
    done = run("predict", str(runs / name), "--prompts", "--data", str(runs / "asked.jsonl"), *QUIET)
    assert done.code == 0, done.err
    shown = lines(done.out)
    model = load_student(str(runs / name / "student"))
    answered = {one.id: one for one in predict(config_of(runs), str(runs / name))}
    strategy = create(name)
    forms = {form.name: form for form in strategy.forms}
    for row, line in zip(ROWS, shown, strict=True):
        first = line["steps"][0]
        ids = model.encoder().prompt(forms[strategy.plan[0]], row.example(), {})[1]
        assert first["prompt"] == model.tokens.text(ids)
        steps = {step["fills"]: step for step in line["steps"]}
        assert steps["answer"]["stop"][-1] == "<|end|>"
        if name != "post-cot":
            filled = steps["answer"]["prompt"].replace("{rationale}", answered[row.id].rationale or "")
            (asked,) = AskedStudent(lambda: model, strategy, "text", config_of(runs)).walk([row.example()])
            assert asked.asked is not None
            assert filled == model.tokens.text(asked.asked.ids)


def config_of(runs: Path) -> PredictConfig:
    return PredictConfig(data=str(runs / "asked.jsonl"), device="cpu")


def test_a_row_is_out_before_the_next_batch_is_asked(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = AskedStudent.answer, []

    def counted(self: AskedStudent, questions: Sequence[Question], batch_size: int | None = None) -> Any:
        asked.append(len(questions))
        return answer(self, questions, batch_size)

    monkeypatch.setattr(AskedStudent, "answer", counted)
    stream: Iterator[Any] = predict(config_of(runs).model_copy(update={"batch_size": 1}), str(runs / "cot"))
    assert next(stream).id == "row-0"
    assert asked == [2]
    assert [one.id for one in stream] == [f"row-{at}" for at in range(1, 8)]
    assert asked == [2, 2, 2, 2]


def test_a_plain_model_is_asked_by_a_named_strategy(runs: Path) -> None:
    command = ("predict", str(runs / "base"), "--data", str(runs / "asked.jsonl"), "--max-new-tokens", "4", *QUIET)
    assert "give its strategy, e.g. --strategy cot" in run(*command).errors[0]
    done = run(*command, "--strategy", "cot")
    assert done.code == 0, done.err
    assert [line["id"] for line in lines(done.out)] == [row.id for row in ROWS]


def test_columns_are_mapped_without_an_answer(runs: Path) -> None:
    (runs / "table.csv").write_text('stem,A,B\n"Where would you find a drill?",workshop,kitchen\n')
    command = ("predict", str(runs / "cot"), "--data", str(runs / "table.csv"), "--prompts", *QUIET)
    done = run(*command, "--map", "question=stem,choices=A+B")
    assert done.code == 0, done.err
    assert "(a) workshop\n(b) kitchen" in lines(done.out)[0]["steps"][0]["prompt"]
    assert "--map needs a column for question" in run(*command, "--map", "choices=A+B").errors[0]


@pytest.mark.parametrize(
    ("data", "says", "code"),
    [
        ('{"id": "a"}\n', "the field 'question' is missing", 3),
        ('{"id": "a", "question": "Where?"}\n{"id": "a", "question": "Who?"}\n', "duplicate id 'a'", 3),
        ('{"id": "a", "question": "Where?", "choices": ["x"]}\n', "needs at least two", 3),
        ("", "contains no rows", 3),
    ],
)
def test_bad_rows_are_named(runs: Path, data: str, says: str, code: int) -> None:
    (runs / "bad.jsonl").write_text(data)
    done = run("predict", str(runs / "cot"), "--data", str(runs / "bad.jsonl"), *QUIET)
    assert (done.code, done.out) == (code, "")
    assert says in done.errors[0]


def test_a_run_whose_student_was_not_kept_says_how_to_get_it(runs: Path) -> None:
    shutil.rmtree(runs / "cot/student")
    done = run("predict", str(runs / "cot"), "--data", str(runs / "asked.jsonl"), *QUIET)
    assert (done.code, done.out) == (6, "")
    assert "the student of this run was not kept; train it again with: cotdistill distill" in done.errors[0]
    done = run("predict", str(runs / "gold.jsonl"), "--data", str(runs / "asked.jsonl"), *QUIET)
    assert (done.code, "is a file, not a run or a model" in done.errors[0]) == (2, True)
