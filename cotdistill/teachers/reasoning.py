"""Reasoning teachers: thoughts and answer are split by the markers of model families and the user's own."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.answers import thoughts
from cotdistill.answers.thoughts import MARKERS, parse_marker
from cotdistill.console import warn_once


def split_reasoning(text: str, own: Sequence[str] = ()) -> tuple[str | None, str]:
    """(the thoughts, the text outside them); None where there are none, "" as text where they never ended.

    `own`: further markers, each "OPEN CLOSE". Warns once about an unknown marker in the rest.
    """
    markers = (*MARKERS, *map(parse_marker, own))
    thoughts_text, rest = thoughts.split_thoughts(text, markers)
    if unknown := thoughts.unknown_marker(rest, markers):
        warn_once(
            f"{unknown!r} looks like an unknown thinking marker and stays in the rationales; "
            "--reasoning-marker 'OPEN CLOSE' drops the text between the two"
        )
    return thoughts_text, rest
