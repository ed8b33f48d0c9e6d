"""The words: the embedded teacher's prompts, shipped demonstrations, templates of one's own, what fits, dry
runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import ElicitConfig
from cotdistill.data.questions import read_examples
from cotdistill.data.records import Example
from cotdistill.data.tasks import load_examples
from cotdistill.demo.corpora import HINTED, UNHINTED, lettered
from cotdistill.eliciting import elicit
from cotdistill.errors import UsageError
from cotdistill.teachers.filters import leaks, loops
from cotdistill.teachers.prompts import PromptTemplate, Shot
from cotdistill.teachers.shots import FOLDER, KINDS, TASKS, choose_shots
from tests.models import student

DRILL = Example(id="1", question="Where is a drill?", choices=("shed", "pond"), answer="shed", task="t")
FISH = Example(id="2", question="Fish fly.", choices=("true", "false"), answer="false", task="creak")
SHOT = Shot("Where is a spoon?\nAnswer Choices:\n(a) drawer\n(b) sky", "Spoons lie in drawers.", "drawer")


@pytest.mark.parametrize(("hint", "template"), [("gold", HINTED), ("", HINTED), (None, UNHINTED)])
def test_without_demonstrations_the_prompt_is_the_embedded_teachers(hint: str | None, template: str) -> None:
    for example in load_examples("demo", limit=20):
        answer = example.answer if hint == "gold" else hint
        expected = template.format(
            question=example.question, choices=lettered(example.choices or ()), answer=answer, rationale="\0"
        ).split(" \0")[0]
        assert PromptTemplate().render(example, answer) == expected


def test_scotts_prompt_with_a_demonstration() -> None:
    assert PromptTemplate().render(DRILL, "shed", [SHOT]) == (
        "Q: Where is a spoon?\nAnswer Choices:\n(a) drawer\n(b) sky\n"
        "A: The answer is drawer. Spoons lie in drawers.\n\n"
        "Q: Where is a drill?\nAnswer Choices:\n(a) shed\n(b) pond\nA: The answer is shed."
    )
    assert PromptTemplate().render(DRILL, None, [SHOT]) == (
        "Q: Where is a spoon?\nAnswer Choices:\n(a) drawer\n(b) sky\n"
        "A: Spoons lie in drawers. So the answer is drawer.\n\n"
        "Q: Where is a drill?\nAnswer Choices:\n(a) shed\n(b) pond\nA:"
    )


def test_statements_are_true_or_false() -> None:
    assert PromptTemplate().render(FISH, "false") == "Q: Fish fly.\nA: The statement is false."


def test_chat_prompts_ask_in_words() -> None:
    asked = PromptTemplate(name="chat").render(DRILL, None, [SHOT])
    assert 'So the answer is X."' in asked
    assert asked.startswith("Here is how such questions are explained.\n\nQuestion: Where is a spoon?")
    told = PromptTemplate(name="chat").render(DRILL, "shed")
    assert told.startswith("Question: Where is a drill?")
    assert "The answer is shed. Explain" in told


def test_a_template_of_ones_own_is_strict(tmp_path: Path) -> None:
    mine = tmp_path / "mine.j2"
    mine.write_text("{{ task }}: {{ question }}{% for c in choices %} {{ c }}{% endfor %}")
    assert PromptTemplate(mine).render(DRILL) == "t: Where is a drill? shed pond"
    mine.write_text("{{ qestion }}")
    with pytest.raises(UsageError, match=r"mine\.j2: 'qestion' is undefined; available: text, question"):
        PromptTemplate(mine).render(DRILL)
    mine.write_text("a\n{% if %}")
    with pytest.raises(UsageError, match=r"mine\.j2:2: "):
        PromptTemplate(mine)
    with pytest.raises(UsageError, match=r"none\.j2: No such file"):
        PromptTemplate(tmp_path / "none.j2")


def test_templates_cannot_reach_into_python(tmp_path: Path) -> None:
    mine = tmp_path / "mine.j2"
    mine.write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(UsageError):
        PromptTemplate(mine).render(DRILL)


@pytest.mark.parametrize("name", sorted({*TASKS.values(), *KINDS.values()}))
def test_our_demonstrations_are_sound(name: str) -> None:
    rows = read_examples(FOLDER / f"{name}.jsonl")
    assert len(rows) >= 5
    for row in rows:
        assert row.rationale
        assert not leaks(row, row.rationale)
        assert not loops(row.rationale)
        assert "\n\n" not in row.rationale


def test_shots_are_drawn_by_seed_from_rows_with_rationales_and_never_the_row_itself() -> None:
    train = load_examples("demo", limit=40)
    shots = choose_shots(3, train, lambda: train, seed=0)
    for row in train:
        shown = shots.of(row)
        assert len(shown) == 3
        assert row.text() not in {shot.text for shot in shown}
    assert shots == choose_shots(3, train, lambda: train, seed=0)
    assert shots != choose_shots(3, train, lambda: train, seed=1)
    assert {row.task for row in train} == {"kinds", "clocks"}
    assert shots.of(train[0]) != shots.of(train[1]), "each task shows its own"


def test_rows_without_rationales_get_our_own_and_too_few_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    bare = [DRILL]
    assert len(choose_shots(2, bare, lambda: bare, 0).of(DRILL)) == 2
    assert len(choose_shots(30, bare, lambda: bare, 0).of(DRILL)) == 7
    assert "--shots 30: only 7 demonstrations are to be had" in capsys.readouterr().err
    assert len(choose_shots(None, bare, lambda: bare, 0).of(DRILL)) == 7
    assert choose_shots(None, load_examples("demo", limit=2), list, 0).count == 0, "the world needs none"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teacher")
    student("llama", width=16, layers=1).save(place)
    return place


def config(folder: Path, **changes: Any) -> ElicitConfig:
    options = {"teacher": str(folder), "limit": 4, "device": "cpu", "hint": "gold", "keep": "all", "max_new_tokens": 16}
    return ElicitConfig.build(None, **{**options, **changes})


def test_fewer_shots_than_asked_are_said_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elicit(config(folder, shots=12), dry_run=True)
    said = capsys.readouterr()
    assert "of 12 demonstrations fit the teacher's context of 512 tokens" in said.err
    assert said.err.count("demonstrations fit") == 1
    dry = json.loads(said.out)["dry_run"]
    assert 0 < dry["prompt"].count("\n\n") < 12
    assert dry["prompt_tokens"] / dry["calls"] + 16 <= 512


def test_a_dry_run_loads_no_weights_and_asks_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("no weights in a dry run")

    monkeypatch.setattr("cotdistill.teachers.huggingface.load_configured", refused)
    elicit(config(folder, counterfactual=True, price_in=1.0, price_out=1000.0), dry_run=True)
    said = capsys.readouterr()
    dry = json.loads(said.out)["dry_run"]
    assert (dry["rows"], dry["calls"], dry["completion_tokens_at_most"]) == (4, 8, 8 * 16)
    assert dry["cost_at_most"] == pytest.approx((dry["prompt_tokens"] + 1000 * 128) / 1e6)
    assert "Where would you find a balloon?" in dry["prompt"]
    assert dry["prompt"] in said.err
    assert "at most $0.128" in said.err
