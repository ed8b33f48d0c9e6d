"""Where a completion ends: at a blank line, found in the text, not by one token id."""

from __future__ import annotations

import re

BLANK_LINE = re.compile(r"\n[ \t]*\n")


def has_blank_line(text: str) -> bool:
    """Whether a text contains a blank line."""
    return BLANK_LINE.search(text) is not None


def up_to_blank_line(text: str) -> tuple[str, bool]:
    """The text before its first blank line, and whether there was one."""
    match = BLANK_LINE.search(text)
    return (text[: match.start()], True) if match else (text, False)
