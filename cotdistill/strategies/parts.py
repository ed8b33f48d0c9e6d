"""What the parts of any strategy's forms count in its loss: weights of their tokens, or shares of the form's loss.

    weigh   rationale=0.5+answer=2      every token of the rationale counts half, of the answer twice
            rationale@0-50=1+rationale@50-100=0     only the first half of the rationale's tokens is learned
            prompt=0.1                  the tokens of the prompt are learned too (decoder-only students)
    shares  rationale=0.3+answer=0.7    the form's loss is 0.3 * mean over the rationale + 0.7 * mean over the answer

Parts: prompt, rationale, answer, text (the connectors between them). A weight multiplies the part's own, so that what
a form only shows stays shown; the prompt has none of its own and takes the weight as it is. With shares, connectors
count with the slot behind them, and the stop token with the last.

Papers: Distilling the Essence, arXiv 2512.21002 (parts and truncation); the shares are what SCOTT's and EDIT's public
code call alpha.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from cotdistill.errors import UsageError
from cotdistill.strategies.forms import Form, Part, Strategy

PARTS = ("prompt", "rationale", "answer", "text")
_WEIGHT = re.compile(r"(?P<part>[a-z]+)(?:@(?P<first>[\d.]+)-(?P<last>[\d.]+))?=(?P<weight>-?[\d.]+(?:e-?\d+)?)")


def weighed(strategy: Strategy, text: str) -> Strategy:
    """`strategy` with the weights of `text`; `UsageError` where that is none, `ValueError` where it leaves a form
    nothing to learn, or changes nothing."""
    weights = [_weight(entry, "weigh") for entry in text.split("+")]
    forms = tuple(_weighed(form, weights) for form in strategy.forms)
    for form in forms:
        if form.share > 0 and not form.source_weight and not any(_learned(part) for part in form.target):
            raise ValueError(f"weigh={text} leaves its form {form.name!r} nothing to learn")
    if forms == strategy.forms:
        raise ValueError(f"weigh={text} changes none of its parts")
    return replace(strategy, forms=forms)


def shared(strategy: Strategy, text: str) -> Strategy:
    """`strategy` with the loss of each form divided among its parts as `text` says.

    `UsageError` where that is none, `ValueError` where no form learns both rationale and answer.
    A form of both is learned as several, one per part, over the same sequence (which is computed
    once); it stays itself in the plan, with share 0.
    """
    shares = {part: share for part, _, share in (_weight(entry, "shares") for entry in text.split("+"))}
    if "@" in text or set(shares) - {"rationale", "answer"}:
        raise UsageError(f"shares={text}: shares are those of rationale and answer")
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise UsageError(f"shares={text}: must be >= 0 and sum to 1, not {sum(shares.values()):g}")
    forms = [made for form in strategy.forms for made in _divided(form, shares)]
    if len(forms) == len(strategy.forms):
        raise ValueError(f"shares={text}: no form of it learns both rationale and answer")
    return replace(strategy, forms=tuple(forms))


Weight = tuple[str, tuple[float, float] | None, float]  # part, the fraction of its tokens (None: all), weight


def _weight(entry: str, name: str) -> Weight:
    match = _WEIGHT.fullmatch(entry.strip())
    if match is None or match["part"] not in PARTS:
        raise UsageError(f"{name}: {entry!r} is not PART=WEIGHT or PART@0-50=WEIGHT, with a part of {', '.join(PARTS)}")
    if match["first"] is None:
        return match["part"], None, float(match["weight"])
    first, last = float(match["first"]) / 100, float(match["last"]) / 100
    if not 0 <= first < last <= 1:
        raise UsageError(f"{name}: {entry!r}: a fraction is written @0-50, in percent, the smaller first")
    return match["part"], (first, last), float(match["weight"])


def _weighed(form: Form, weights: Sequence[Weight]) -> Form:
    source = form.source_weight
    target = list(form.target)
    for name, fraction, weight in weights:
        if name == "prompt":
            if fraction is not None:
                raise UsageError("weigh: a fraction is one of a part that is learned, not of the prompt")
            source = weight
        for at, part in enumerate(target):
            if (part.slot or "text") != name:
                continue
            if fraction is None:
                target[at] = replace(part, weight=part.weight * weight)
            else:
                target[at] = replace(part, fractions=(*part.fractions, (*fraction, weight)))
    return replace(form, target=tuple(target), source_weight=source)


def _learned(part: Part) -> bool:
    return part.weight != 0 and any(part.weights(100))


def _divided(form: Form, shares: dict[str, float]) -> list[Form]:
    owners = _owners(form)
    learned = {owner for owner, part in zip(owners, form.target, strict=True) if part.weight != 0}
    if form.share == 0 or len(learned) < 2:
        return [form]
    made = []
    for name in dict.fromkeys(owners):
        if not shares.get(name):
            continue
        target = tuple(
            part if owner == name else replace(part, weight=0.0)
            for owner, part in zip(owners, form.target, strict=True)
        )
        made.append(replace(form, name=f"{form.name}-{name}", target=target, share=form.share * shares[name]))
    return [replace(form, share=0.0), *made]


def _owners(form: Form) -> list[str]:
    """The slot that each part counts with: its own, a connector's the one behind it."""
    owners: list[str] = []
    last = next((part.slot for part in reversed(form.target) if part.slot), None)
    behind: str | None = last
    for part in reversed(form.target):
        behind = part.slot or behind
        owners.insert(0, str(behind))
    return owners
