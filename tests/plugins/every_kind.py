"""A plug-in with one thing of every kind but a checker, for the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from cotdistill.config import ElicitConfig
from cotdistill.evaluation.probes import Case, Intervention
from cotdistill.plugins import data_set, extractor, probe, strategy, teacher, tracker
from cotdistill.strategies.forms import Form, Strategy, learn
from cotdistill.teachers.calls import Call
from cotdistill.teachers.plugin import TextTeacher


@strategy("reasoned")
def reasoned() -> Strategy:
    """The rationale, then the answer."""
    form = Form("reasoned", "{question}\nReason:", (learn(" {rationale}"), learn(" So:"), learn(" {answer}")))
    return Strategy("reasoned", "a test", (form,), plan=("reasoned",))


@data_set("colours", evaluated=("test",))
def colours(split: str, seed: int) -> Iterator[dict[str, Any]]:
    """Which colour a thing has."""
    for thing, colour in (("sky", "blue"), ("grass", "green"), ("snow", "white"), ("coal", "black")):
        question = f"Which colour has the {thing}?" if split == "train" else f"What is the colour of the {thing}?"
        yield {"question": question, "choices": ["blue", "green", "white", "black"], "answer": colour}


class Parrot(TextTeacher):
    """Explains the gold answer, whatever it is asked."""

    name = "parrot-1"

    def answer(self, call: Call) -> str:
        print("a plug-in may print")
        return f"Everybody says {call.example.answer}. So the answer is {call.example.answer}."


@teacher("parrot")
def parrot(config: ElicitConfig) -> Parrot:
    return Parrot()


@probe("first-word")
def first_word(case: Case) -> Intervention | None:
    """Only the first word of the rationale."""
    return Intervention(case.own.split()[0]) if case.own and case.own.strip() else None


@extractor("first-choice")
def first_choice(output: str, choices: tuple[str, ...] | None, kind: str) -> str | None:
    """The first choice whatever was said."""
    return choices[0] if choices else None


class Lines(GeneralTracker):
    """One JSON line per log."""

    name, requires_logging_directory = "lines", False

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    @property
    def tracker(self) -> Path:
        return self.file

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        with self.file.open("a") as lines:
            lines.write(json.dumps({"step": step, **values}) + "\n")


@tracker("lines")
def lines(folder: Path) -> Lines:
    return Lines(folder / "curves.jsonl")
