"""One token of a server's reply, with what it might have said in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What a server says of one token that it generated: the token (its text, or its id), and the likeliest tokens at
    its place with their log probabilities, in descending order."""

    token: str | int
    top: tuple[tuple[str | int, float], ...]
