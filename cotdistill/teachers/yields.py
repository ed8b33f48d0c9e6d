"""The yield of an `elicit` run: how much can be learned from, of what quality, at what cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from cotdistill.config import ElicitConfig
from cotdistill.console import say, show
from cotdistill.data.records import Item, Label, Rationale
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
    def of(cls, tokens: Iterable[tuple[int, int]], config: ElicitConfig) -> Bill:
        """The sum over calls, each (prompt tokens, completion tokens)."""
        spent = list(tokens)
        return cls(
            sum(prompt for prompt, _ in spent),
            sum(completion for _, completion in spent),
            config.price_in,
            config.price_out,
        )

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


def yield_tables(items: Sequence[Item], failed: int, bill: Bill | None) -> None:
    """Labels and quality by kind, on stderr."""
    labels = Table("rationales", "elicited", *LABELS, title="Yield")
    for kind in ("factual", "counterfactual"):
        pairs = [(item, rationale) for item in items for rationale in item.rationales if rationale.kind == kind]
        if not pairs:
            continue
        counts = Counter(rationale.label for _, rationale in pairs)
        labels.add_row(kind, str(len(pairs)), *(str(counts[label]) for label in LABELS))
    quality = Table("rationales", "words", "name their answer", "support it (checker)", title="Quality")
    for kind in ("factual", "counterfactual"):
        pairs = [
            (item, rationale)
            for item in items
            for rationale in item.rationales
            if rationale.kind == kind and rationale.text
        ]
        if pairs:
            quality.add_row(kind, *_quality(pairs))
    show(labels, quality)
    say(
        f"{len(items)} rows"
        + (f", {failed} calls failed" if failed else "")
        + (f"; {bill}" if bill and bill.completion_tokens else "")
    )


def names_answer(rationale: Rationale) -> bool:
    """Whether a rationale holds the words of its answer (leakage: a student may copy instead of reason)."""
    answer = (rationale.answer or "").strip()
    return bool(answer) and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", rationale.text, re.IGNORECASE) is not None


def supported(item: Item, rationale: Rationale) -> bool | None:
    """Whether its last step ends at its answer, by the checker of its task; None where there is none."""
    verdict = check(item.question, item.choices, rationale.text)
    return None if verdict is None else verdict.supports is not None and verdict.supports == rationale.answer


def _quality(found: Sequence[tuple[Item, Rationale]]) -> tuple[str, str, str]:
    words = sum(len(rationale.text.split()) for _, rationale in found) / len(found)
    naming = sum(names_answer(rationale) for _, rationale in found) / len(found)
    checked = [verdict for pair in found if (verdict := supported(*pair)) is not None]
    share = f"{sum(checked) / len(checked):.1%}" if checked else "-"
    return f"{words:.1f}", f"{naming:.1%}", share
