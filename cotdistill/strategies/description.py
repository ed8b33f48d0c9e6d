"""A strategy as plain data for the run card, and back: a run is decoded without the plug-in that defined it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cotdistill.errors import DataError
from cotdistill.strategies.forms import Form, Part, Strategy


def dump_strategy(strategy: Strategy) -> dict[str, Any]:
    """Name, paper, parameters, plans and forms; of a plug-in's strategy also the digest of its code."""
    forms = [
        {
            "name": f.name,
            "source": f.source,
            "target": [[p.text, p.weight, *([p.fractions] if p.fractions else [])] for p in f.target],
            "share": f.share,
            "kind": f.kind,
            "eos": f.eos,
            "denominator": f.denominator,
            **({"source_weight": f.source_weight} if f.source_weight else {}),
        }
        for f in strategy.forms
    ]
    return {
        "name": strategy.name,
        "paper": strategy.paper,
        "params": dict(strategy.params),
        "plan": list(strategy.plan),
        "explain": None if strategy.explain is None else list(strategy.explain),
        "forms": forms,
        **({} if strategy.code is None else {"code": strategy.code}),
    }


def load_strategy(described: Mapping[str, Any], run: str) -> Strategy:
    """The strategy of the card of `run`, for decoding (its fill is no longer needed).

    Raises `DataError` where the card describes no strategy.
    """
    try:
        return _strategy(described)
    except ValueError as error:
        raise DataError.at(f"{run}/run.json", None, f"damaged: {error}", "remove it and distill again") from None


def _strategy(described: Mapping[str, Any]) -> Strategy:
    forms = tuple(
        Form(**{**form, "target": tuple(_part(*part) for part in form["target"])}) for form in described["forms"]
    )
    explain = described["explain"]
    return Strategy(
        described["name"],
        described["paper"],
        forms,
        tuple(described["plan"]),
        None if explain is None else tuple(explain),
        params=described["params"],
        code=described.get("code"),
    )


def _part(text: str, weight: float, fractions: Sequence[Sequence[float]] = ()) -> Part:
    return Part(text, weight, fractions=tuple((first, last, factor) for first, last, factor in fractions))
