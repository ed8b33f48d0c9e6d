"""Everything that can be named, as `cotdistill plugins` shows it."""

from __future__ import annotations

from typing import Any

from cotdistill.plugins import kinds  # noqa: F401  (defines the registries)
from cotdistill.plugins.registry import registries


def listing() -> list[dict[str, Any]]:
    """One record per name, kind by kind; a broken plug-in is listed with its reason."""
    listed: list[dict[str, Any]] = []
    for registry in registries:
        entries = registry.entries()
        listed += [
            {"kind": registry.kind, "name": name, "about": "", "origin": "built in"} for name in registry.reserved
        ]
        for entry in entries:
            origin = "built in" if entry.code is None and entry.broken is None else entry.origin
            record = {"kind": registry.kind, "name": entry.name, "about": entry.about, "origin": origin}
            listed.append(record if entry.broken is None else {**record, "broken": entry.broken})
    return listed
