"""Labelling of a teacher's text: rationale and answer split, and judged by our own scorer.

Rows are never dropped: the label says what `distill` leaves out, and why.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from cotdistill.answers.answers import EXPLICIT, extract, judge, states
from cotdistill.data.records import KINDS, Example, Item, Label, Rationale, RationaleKind

LOOPS = 3  # a sentence, or a closing run of words, repeated this often in a row
LONGEST_LOOP = 30  # words


def labelled_rationale(
    example: Example,
    kind: RationaleKind,
    supports: str,
    text: str,
    *,
    teacher: str,
    decoding: Mapping[str, Any],
    prompt: str | None = None,
    finished: bool = True,
    thoughts: str | None = None,
) -> Rationale:
    """The rationale in a generation, with the answer it states; labelled as if it were the only one.

    Without a hint the answer is the parsed one. A hinted rationale argues for `supports`: only an explicit
    statement of another answer makes it wrong, since it need not state the answer it was given. `thoughts`,
    where they are wanted, are the rationale and `text` only states the answer.
    """
    extracted = extract(text, example.choices, example.kind_of_answer)
    parsed = extracted.answer
    if hinted(decoding) and extracted.rule not in EXPLICIT:
        parsed = None
    verdict = judge(parsed, supports, example.choices, example.kind_of_answer)
    # An answer sentence without a rationale before it stays: a rationale may follow, and the label says so.
    words = (extracted.rationale if parsed is not None else "") or text.strip()
    rationale = Rationale(
        kind=kind,
        text=thoughts.strip() if thoughts else words,
        answer=supports if hinted(decoding) else parsed,
        correct=None if verdict == "unparsed" else verdict == "right",
        label="keep",
        teacher=teacher,
        decoding=dict(decoding),
        prompt=prompt,
        finished=finished,
    )
    return relabel(example, [rationale])[0]


def relabel(
    example: Example, rationales: Sequence[Rationale], keep_all: Container[RationaleKind] = ()
) -> list[Rationale]:
    """All rationales of one question with their labels; of the kinds in `keep_all` wrong ones are kept, too.

    The second of two equal ones is `repeated`, even if they are to support different answers: words
    that fit both support neither.
    """
    return among([_as(rationale, _label(example, rationale)) for rationale in rationales], keep_all)


def among(rationales: Iterable[Rationale], keep_all: Container[RationaleKind] = ()) -> list[Rationale]:
    """`relabel` of rationales that have the labels that each has by itself."""
    labelled: list[Rationale] = []
    seen: set[str] = set()
    for rationale in rationales:
        words = " ".join(rationale.text.lower().split())
        label = "repeated" if rationale.label == "keep" and words in seen else rationale.label
        seen.add(words)
        if rationale.kind in keep_all and rationale.text and rationale.answer is not None:
            label = "keep"
        labelled.append(_as(rationale, label))
    return labelled


def item_of(example: Example, rationales: Sequence[Rationale], keep_all: Container[RationaleKind] = ()) -> Item:
    """The elicited row, its rationales labelled; wrong ones of the kinds in `keep_all` are kept."""
    return Item.of(example, relabel(example, rationales, keep_all))


def kept_whole(keep: str, only: RationaleKind | None) -> tuple[RationaleKind, ...]:
    """The kinds that `--keep all` is about: with `--only`, those beside it keep the labels they have."""
    kinds = KINDS if only is None else (only,)
    return kinds if keep == "all" else ()


def hinted(decoding: Mapping[str, Any]) -> bool:
    """Whether the teacher was told which answer to explain."""
    return str(decoding.get("hint", "none")) != "none"


def loops(text: str) -> bool:
    """Whether a text loops: it ends in the same words three times, or repeats a sentence as often."""
    words = text.lower().split()
    for size in range(1, min(LONGEST_LOOP, len(words) // LOOPS) + 1):
        if words[-size * LOOPS :] == words[-size:] * LOOPS:
            return True
    sentences = [" ".join(s.split()) for s in re.split(r"(?<=[.!?])\s+|\n+", text.lower()) if len(s.split()) > 3]
    return any(sentences.count(sentence) >= LOOPS for sentence in set(sentences))


def leaks(example: Example, text: str) -> bool:
    """Whether a rationale still contains a finished answer sentence, at which a student would stop."""
    return states(text, example.choices, example.kind_of_answer)


def _as(rationale: Rationale, label: Label) -> Rationale:
    return rationale if rationale.label == label else rationale.model_copy(update={"label": label})


def _label(example: Example, rationale: Rationale) -> Label:
    if not rationale.finished:
        return "truncated"
    if not rationale.text or rationale.answer is None:
        return "unparsed"
    if rationale.correct is False:
        return "wrong"
    if leaks(example, rationale.text):
        return "leaked"
    return "repeated" if loops(rationale.text) else "keep"
