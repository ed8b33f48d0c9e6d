"""Reasoning teachers think before they answer: thoughts and answer apart."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


def split_thoughts(text: str) -> tuple[str | None, str]:
    """(what stands in <think> tags, what follows them); None where there are none.

    Chat templates may open the tag in the prompt, so that only its end is generated; a generation cut off
    while thinking has no answer.
    """
    before, closed, after = text.partition(CLOSE)
    if closed:
        return before.rpartition(OPEN)[2].strip(), after.strip()
    if text.lstrip().startswith(OPEN):
        return text.lstrip().removeprefix(OPEN).strip(), ""
    return None, text
