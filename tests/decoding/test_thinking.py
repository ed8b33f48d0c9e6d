"""Rationales between thinking markers: what is learned, what is asked and read back, and a budget that closes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotdistill.decoding.decode import Choice
from cotdistill.decoding.walk import Walked, WalkSession, walk
from cotdistill.errors import UsageError
from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.testing import check_strategy
from tests.decoding.test_walk import Writer, encoder_of
from tests.in_process import run
from tests.models import items, student

OWN = {"think": "own"}


class Thinker(Writer):
    """Its texts end where it writes the closing marker, too."""

    def _next(self, session: WalkSession) -> Choice:
        tokens, before = session.encoder.tokens, len(self.texts)
        choice = super()._next(session)
        closed = tokens.text([*session.ids, choice.token]).endswith("</think>")
        spent = session.slot == "rationale" and len(session.ids) + 1 == session.think_budget
        if len(self.texts) == before and (closed or spent):
            self.texts.pop(0)
        return choice


def thought(texts: list[str], name: str = "cot", **options: object) -> tuple[Walked, WalkSession]:
    writer = Thinker(list(texts))
    found = walk(writer, encoder_of(), create(name, OWN), [items(1)[0].example()], **options)[0]  # type: ignore[arg-type]
    return found, writer.sessions[-1]


@pytest.mark.parametrize("name", ["cot", "scott", "cascod", "post-cot", "mt-cot", "edit-krsl"])
def test_markers_stand_around_every_rationale(name: str) -> None:
    plain, marked = create(name), create(name, OWN)
    for form, other in zip(plain.forms, marked.forms, strict=True):
        texts = [form.source, *(part.text for part in form.target)]
        others = [other.source, *(part.text for part in other.target)]
        assert "".join(others) == "".join(texts).replace(" {rationale}", " <think> {rationale} </think>")
    pupil = student("llama")
    check_strategy(marked, pupil.tokenizer)


def test_markers_are_learned_where_the_rationale_is() -> None:
    encoder, strategy = encoder_of(), create("cot", OWN)
    data = encoder.encode(join(items(1), strategy)[0], strategy, FillContext(0, encoder.tokens.segment))
    (tree,) = data.samples[0]
    text = encoder.tokens.text(tree.tokens.tolist())
    rationale = items(1)[0].kept("factual")[0].text
    assert text.strip().startswith(f"<think> {rationale} </think> So the answer is")


def test_what_is_between_the_markers_is_read_back() -> None:
    found, session = thought([" A drill is a tool. </think>", " workshop"])
    assert (found.rationale, found.answer, found.finished) == ("A drill is a tool.", "workshop", True)
    text = session.encoder.tokens.text(session.context)
    assert text.count("</think>") == 1


@pytest.mark.parametrize("connectors", ["forced", "free"])
def test_a_budget_closes_the_thoughts(connectors: str) -> None:
    texts = [" A drill is a tool. A tool is found in the workshop.", " workshop"]
    found, session = thought(texts, think_budget=5, connectors=connectors)
    tokens = session.encoder.tokens
    assert found.rationale == tokens.text(tokens.segment(texts[0])[:5]).strip()
    assert (found.answer, found.finished, found.unprompted) == ("workshop", True, False)
    assert f"{found.rationale} </think> So the answer is workshop" in tokens.text(session.context)
    longer, _ = thought(texts, think_budget=500)
    assert longer.rationale == texts[0].strip()


def test_the_answer_has_no_budget() -> None:
    found, _ = thought([" A </think>", " workshop in the long garden behind the house"], think_budget=2)
    assert found.answer == "workshop in the long garden behind the house"


@pytest.mark.parametrize(
    ("name", "markers", "message"),
    [
        ("cot", "<think>", r"is not OPEN\+CLOSE"),
        ("cot", "+</think>", r"is not OPEN\+CLOSE"),
        ("cot", "{a}+b", r"is not OPEN\+CLOSE"),
        ("answer-only", "own", "writes no rationale"),
    ],
)
def test_bad_markers_are_refused(name: str, markers: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create(name, {"think": markers})


def test_accuracy_over_the_budget(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "base")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(row.line() + "\n" for row in items(6)))
    options = ("--student", str(tmp_path / "base"), "--steps", "2", "--device", "cpu", "--max-unknown", "1")
    trained = run("distill", str(rows), "--think", "[T]+[/T]", *options, "-o", str(tmp_path / "run"))
    assert trained.code == 0, trained.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["strategy"]["params"]["think"] == "[T]+[/T]"
    asked = ("evaluate", str(tmp_path / "run"), "--data", str(rows), "--no-calibrate", "--device", "cpu")
    done = run(*asked, "--think-budgets", "8,2", "--html", str(tmp_path / "page.html"))
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["think_budget"] for record in records] == [2, 8]
    assert records[0]["generated_per_question"] < records[1]["generated_per_question"]
    assert "2 tokens of thought" in done.err
    assert "8 tokens of thought" in (tmp_path / "page.html").read_text()
    alone = run(*asked, "--think-budget", "8")
    assert json.loads(alone.out) == {
        **records[1],
        **{key: json.loads(alone.out)[key] for key in ("seconds_per_question",)},
    }
    plain = run(*asked)
    assert "think_budget" not in json.loads(plain.out)
    files = {path.name for path in (tmp_path / "run" / "predictions").glob("*.jsonl")}
    assert {"rows.jsonl", "rows.think-2.jsonl", "rows.think-8.jsonl"} <= files
