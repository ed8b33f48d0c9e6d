"""Where a completion ends: at a blank line, looked for in the text and not by one token id."""

from __future__ import annotations

import re

BLANK_LINE = re.compile(r"\n[ \t]*\n")


def has_blank_line(text: str) -> bool:
    """Whether a blank line stands in a text."""
    return BLANK_LINE.search(text) is not None


def up_to_blank_line(text: str) -> tuple[str, bool]:
    """The text before its first blank line, and whether there was one."""
    found = BLANK_LINE.search(text)
    return (text[: found.start()], True) if found else (text, False)
