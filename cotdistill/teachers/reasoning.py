"""Reasoning teachers think before they answer: thoughts and answer apart, by the families' markers and one's own."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.console import warn_once
from cotdistill.errors import UsageError
from cotdistill.evaluation import thoughts
from cotdistill.evaluation.thoughts import MARKERS, Marker


def split_thoughts(text: str, own: Sequence[str] = ()) -> tuple[str | None, str]:
    """(the thoughts, the text outside them); None where there are none, "" as text where they never ended.

    `own`: further markers, each "OPEN CLOSE". What is left and looks like a marker is said once.
    """
    markers = (*MARKERS, *map(parse_marker, own))
    found, rest = thoughts.split_thoughts(text, markers)
    if unknown := thoughts.unknown_marker(rest, markers):
        warn_once(f"{unknown!r} looks like a marker of thoughts that is not known here and stays in the rationales; "
                  "--reasoning-marker 'OPEN CLOSE' drops what stands between the two")
    return found, rest


def parse_marker(text: str) -> Marker:
    """A marker given as "OPEN CLOSE". Raises `UsageError` for anything but two words."""
    words = text.split()
    if len(words) != 2 or words[0] == words[1]:
        raise UsageError(f"--reasoning-marker takes 'OPEN CLOSE', two different words, not {text!r}")
    return Marker(words[0], words[1])
