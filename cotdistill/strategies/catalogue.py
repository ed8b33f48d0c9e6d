"""The registry as `cotdistill strategies` shows it."""

from __future__ import annotations

from typing import Any

from cotdistill.errors import UsageError
from cotdistill.strategies.description import dump_strategy
from cotdistill.strategies.registry import create, entries


def catalogue() -> list[dict[str, Any]]:
    """One record per strategy; a broken plug-in is listed with its reason."""
    listed: list[dict[str, Any]] = []
    for entry in entries():
        if entry.value is None:
            listed.append({"name": entry.name, "origin": entry.origin, "broken": entry.broken})
            continue
        try:
            strategy = create(entry.name)
        except UsageError as error:
            listed.append({"name": entry.name, "origin": entry.origin, "broken": str(error)})
            continue
        needs = [
            f"{kind} {' and '.join(slot for k, slot in sorted(strategy.needs()) if k == kind)}"
            for kind in ("factual", "counterfactual")
            if kind in {k for k, _ in strategy.needs()}
        ]
        listed.append({"about": entry.about, "needs": needs, **dump_strategy(strategy)})
    return listed
