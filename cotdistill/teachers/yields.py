"""The yield of an `elicit` run: how much can be learned from, of what quality, at what cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.table import Table

from cotdistill.console import say, show
from cotdistill.data.records import KINDS, Item, Label, Rationale, RationaleKind
from cotdistill.plugins.kinds import check

LABELS: tuple[Label, ...] = ("keep", "wrong", "unparsed", "leaked", "repeated", "truncated")
MILLION = 1_000_000


@dataclass(frozen=True)
class Bill:
    """Tokens of this run, and money where prices (dollars per million tokens) are given."""

    prompt_tokens: int
    completion_tokens: int
    price_in: float | None = None
    price_out: float | None = None

    @classmethod
    def of(cls, tokens: Iterable[tuple[int, int]], price_in: float | None, price_out: float | None) -> Bill:
        """The sum over calls, each (prompt tokens, completion tokens)."""
        spent = list(tokens)
        prompt, completion = (sum(counts) for counts in zip(*spent, strict=True)) if spent else (0, 0)
        return cls(prompt, completion, price_in, price_out)

    def __str__(self) -> str:
        cost = money(self.prompt_tokens, self.completion_tokens, self.price_in, self.price_out)
        return f"{self.prompt_tokens} prompt and {self.completion_tokens} completion tokens" + (
            f", {dollars(cost)}" if cost is not None else ""
        )


def money(tokens_in: int, tokens_out: int, price_in: float | None, price_out: float | None) -> float | None:
    """Dollars; None where no price is given."""
    if price_in is None and price_out is None:
        return None
    return (tokens_in * (price_in or 0) + tokens_out * (price_out or 0)) / MILLION


def dollars(cost: float) -> str:
    """$12.34, and below a dollar $0.0012."""
    return f"${cost:.2f}" if cost >= 1 else f"${cost:.4f}"


@dataclass
class Quality:
    """What was counted of the rationales of one kind that have a text."""

    rationales: int = 0
    words: int = 0
    naming: int = 0  # they hold the words of their answer
    checked: int = 0  # a checker has read them
    supporting: int = 0  # and says that they end at their answer

    def count(self, item: Item, rationale: Rationale) -> None:
        """Count one more."""
        verdict = supported(item, rationale)
        self.rationales += 1
        self.words += len(rationale.text.split())
        self.naming += names_answer(rationale)
        self.checked += verdict is not None
        self.supporting += bool(verdict)

    def cells(self) -> tuple[str, str, str]:
        """Words, share that names its answer, share that supports it."""
        share = f"{self.supporting / self.checked:.1%}" if self.checked else "-"
        return f"{self.words / self.rationales:.1f}", f"{self.naming / self.rationales:.1%}", share


class Yield:
    """Labels and quality by kind of rows as they pass; no row is held."""

    def __init__(self) -> None:
        self.rows = 0
        self.labels: dict[RationaleKind, Counter[Label]] = {kind: Counter() for kind in KINDS}
        self.quality = {kind: Quality() for kind in KINDS}

    @property
    def usable(self) -> bool:
        """Whether any rationale can be learned from."""
        return any(counts["keep"] for counts in self.labels.values())

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """The rows, each counted as it passes."""
        for item in items:
            self.rows += 1
            for rationale in item.rationales:
                self.labels[rationale.kind][rationale.label] += 1
                if rationale.text:
                    self.quality[rationale.kind].count(item, rationale)
            yield item

    def show(self, failed: int, bill: Bill | None) -> None:
        """The tables, on stderr."""
        labels = Table("rationales", "elicited", *LABELS, title="Yield")
        for kind, counts in self.labels.items():
            if counts:
                labels.add_row(kind, str(counts.total()), *(str(counts[label]) for label in LABELS))
        quality = Table("rationales", "words", "name their answer", "support it (checker)", title="Quality")
        for kind, found in self.quality.items():
            if found.rationales:
                quality.add_row(kind, *found.cells())
        show(labels, quality)
        say(
            f"{self.rows} rows"
            + (f", {failed} calls failed" if failed else "")
            + (f"; {bill}" if bill and bill.completion_tokens else "")
        )


def names_answer(rationale: Rationale) -> bool:
    """Whether a rationale holds the words of its answer (leakage: a student may copy instead of reason)."""
    answer, text = (rationale.answer or "").strip(), rationale.text
    if not answer:
        return False
    if not (text.isascii() and answer.isascii()):
        return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE) is not None
    answer, text = answer.lower(), f" {text.lower()} "  # an expression for each answer takes longer to make than to use
    at = text.find(answer)
    while at > 0:
        if not (_is_of_a_word(text[at - 1]) or _is_of_a_word(text[at + len(answer)])):
            return True
        at = text.find(answer, at + 1)
    return False


def _is_of_a_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def supported(item: Item, rationale: Rationale) -> bool | None:
    """Whether its last step ends at its answer, by the checker of its task; None where there is none."""
    verdict = check(item.question, item.choices, rationale.text)
    return None if verdict is None else verdict.supports is not None and verdict.supports == rationale.answer
