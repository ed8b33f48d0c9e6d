"""What a student says to a question whose answer is not known, and the file that holds such lines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from cotdistill.answers.answers import read_answer, same_answer
from cotdistill.data.files import regular_file, write_text
from cotdistill.data.logs import DAMAGE, append, end_last_line, read_lines
from cotdistill.data.records import Question, Record
from cotdistill.decoding.walk import Walked
from cotdistill.errors import UsageError
from cotdistill.evaluation.asked_student import ScoredChoices
from cotdistill.evaluation.metrics import options
from cotdistill.evaluation.samples import majority
from cotdistill.statistics.calibration import choice_confidence, token_confidence


class Response(Record):
    """One line of `predict`. `output` is the answer slot as generated, `answer` what is read in it (null: nothing).

    `confidence`: the probability of the answer among its choices, of a free answer per token, of a vote its share of
    the samples. `votes`: samples by the answer they gave. `key`: the run, the settings and the question.
    """

    id: str
    rationale: str | None
    answer: str | None
    output: str | None
    finished: bool
    confidence: float | None = Field(default=None, exclude_if=lambda value: value is None)
    votes: dict[str, int] | None = Field(default=None, exclude_if=lambda value: value is None)
    key: str


def response(
    question: Question, walked: Walked, scored: ScoredChoices | None, key: str, by_likelihood: bool
) -> Response:
    """What was walked; `by_likelihood`: the answer is the likeliest choice, not what was generated."""
    texts = options(question.choices, question.kind_of_answer)
    output = walked.answer
    if by_likelihood:
        output = texts[scored.likeliest] if texts and scored else None
    answer = _read(question, output)
    return Response(
        id=question.id,
        rationale=walked.rationale,
        answer=answer,
        output=output,
        finished=walked.finished,
        confidence=_confidence(answer, texts, scored),
        key=key,
    )


def voted(question: Question, samples: Sequence[Walked], key: str) -> Response:
    """The answer that most samples gave, with the first sample that gave it; `votes` in the order drawn.

    Source: Wang et al. (2023), Self-consistency, arXiv 2203.11171.
    """
    answers = [_read(question, one.answer) for one in samples]
    choices, kind = question.choices, question.kind_of_answer
    won = majority(answers, choices, kind)
    votes: dict[str, int] = {}
    for answer in answers:
        if answer is not None:
            same = next((one for one in votes if same_answer(one, answer, choices, kind)), answer)
            votes[same] = votes.get(same, 0) + 1
    shown = samples[answers.index(won)] if won is not None else samples[0]
    return Response(
        id=question.id,
        rationale=shown.rationale,
        answer=won,
        output=shown.answer,
        finished=shown.finished,
        confidence=None if won is None else votes[won] / len(samples),
        votes=votes,
        key=key,
    )


def _read(question: Question, output: str | None) -> str | None:
    return None if output is None else read_answer(output, question.choices, question.kind_of_answer)


def _confidence(answer: str | None, texts: tuple[str, ...] | None, scored: ScoredChoices | None) -> float | None:
    if scored is None or answer is None:
        return None
    if texts is None:
        return token_confidence(*scored.likelihoods[0])
    return choice_confidence([total for total, _ in scored.likelihoods], texts.index(answer))


class ResponseFile:
    """The file of --out and its journal FILE.partial; without a file nothing is kept.

    A finished file is a journal, too: the same command, with more questions, asks only the new ones.
    """

    def __init__(self, out: Path | None, repair: bool, overwrite: bool) -> None:
        self.file = None if out is None else regular_file(out)
        self.out, self.repair, self.overwrite = out, repair, overwrite

    @property
    def _journal(self) -> Path | None:
        return None if self.file is None else self.file.with_name(self.file.name + ".partial")

    def refuse_losing(self, keys: Mapping[str, str]) -> None:
        """Raise `UsageError` where the file holds what is not among the responses to be written (id -> key)."""
        if self.file is None or self.overwrite or not self.file.exists():
            return
        if not _holds_responses(self.file):
            raise UsageError(
                f"{self.out} was not written by this command; choose another --out, or replace it with --overwrite"
            )
        lost = [one.id for one in self._finished() if keys.get(one.id) != one.key]
        if lost:
            raise UsageError(
                f"{self.out} holds {len(lost)} responses that this command would not produce, such as {lost[0]!r}; "
                "choose another --out, or replace it with --overwrite"
            )

    def read(self) -> dict[str, Response]:
        """The responses there are by key, finished and unfinished."""
        if self.file is None or self._journal is None:
            return {}
        found = self._finished() if self.file.exists() and _holds_responses(self.file) else []
        if self._journal.exists():
            found += read_lines(self._journal, Response.model_validate_json, self.repair)
        return {one.key: one for one in found}

    def add(self, responses: Sequence[Response]) -> None:
        """Journal finished responses; they are on the disk when this returns."""
        if self._journal is not None and responses:
            append(self._journal, [one.model_dump_json().encode() for one in responses])

    def finish(self, responses: Sequence[Response]) -> None:
        """Write all of them, in the order given, and drop the journal."""
        if self.out is None:
            return
        write_text(self.out, "".join(one.model_dump_json() + "\n" for one in responses))
        if self._journal is not None and self._journal.exists():
            os.unlink(self._journal)

    def _finished(self) -> list[Response]:
        assert self.file is not None
        if self.file.read_bytes()[-1:] not in (b"", b"\n"):
            end_last_line(self.file, Response.model_validate_json)
        return read_lines(self.file, Response.model_validate_json, self.repair)


def _holds_responses(file: Path) -> bool:
    """Whether a file holds responses, be they damaged in part; an empty one holds nothing to lose."""
    lines = [line for line in file.read_bytes().split(b"\n") if line.strip()]
    return not lines or any(map(_is_response, lines))


def _is_response(line: bytes) -> bool:
    try:
        Response.model_validate_json(line)
    except DAMAGE:
        return False
    return True
