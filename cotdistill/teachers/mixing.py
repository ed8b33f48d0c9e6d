"""A file holds the rationales of one set of settings, unless told otherwise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from cotdistill.data.journal import SERVED, Journal
from cotdistill.data.records import Rationale
from cotdistill.errors import UsageError
from cotdistill.teachers.calls import Call


def refuse_mixing(journal: Journal, calls: Sequence[Call], keys: Collection[str], teacher: str, mix: bool) -> None:
    """Raise `UsageError`, saying what changed, where the file holds rationales that no call asks for.

    `mix` allows other settings beside these; rows that are not asked about would be lost, and that is never allowed.
    """
    others = [entry for key, entry in journal.entries.items() if key not in keys and entry.rationale is not None]
    if not others:
        return
    rows = {call.example.id for call in calls}
    strange = [entry for entry in others if entry.id not in rows]
    if strange:
        raise UsageError(
            f"{journal.out} holds rationales of {len({entry.id for entry in strange})} rows "
            f"that this command does not ask about, such as {strange[0].id!r}; choose another "
            "--out, or drop them with --overwrite"
        )
    if mix:
        return
    raise UsageError(
        f"{journal.out} was elicited with other settings "
        f"({_changes(others[0].rationale, calls, teacher)}); "
        "choose another --out, pass --mix to keep both in its rows, or --overwrite to drop the old ones"
    )


def _changes(old: Rationale | None, calls: Sequence[Call], teacher: str) -> str:
    """`lambda 0.3 -> 0.5`, for a rationale of the file and the call nearest to it."""
    assert old is not None
    new = next((call for call in calls if call.kind == old.kind), calls[0])
    before: dict[str, Any] = {"kind": old.kind, "teacher": old.teacher, **old.decoding}
    after: dict[str, Any] = {"kind": new.kind, "teacher": teacher, **new.decoding}
    names = [name for name in dict.fromkeys([*before, *after]) if name not in ("sample", SERVED)]
    changed = [
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return ", ".join(changed) or "other prompts: template, demonstrations, seed or question texts"
