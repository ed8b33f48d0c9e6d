"""Text without tokens in a student's tokenizer: counted, and shown by character: a student cannot tell it apart."""

from __future__ import annotations

from collections.abc import Iterable

from cotdistill.students.encode import EncodedSet
from cotdistill.students.tokens import SegmentTokenizer

SHOWN = 20  # characters named in a message


def unknown_tokens(data: EncodedSet, tokens: SegmentTokenizer) -> tuple[int, int]:
    """(unknown tokens, all tokens) that the student reads in one pass, encoder inputs included."""
    inputs = [ids for trees in data.samples for tree in trees for ids in (tree.ids, tree.source) if ids is not None]
    total = sum(map(len, inputs))
    return (0 if tokens.unknown is None else sum(int((ids == tokens.unknown).sum()) for ids in inputs)), total


def unknown_characters(texts: Iterable[str], tokens: SegmentTokenizer) -> str:
    """The characters without a token, the commonest first, for people to read; empty where there are none."""
    if tokens.unknown is None:
        return ""
    counts: dict[str, int] = {}
    for text in texts:
        for character in text:
            counts[character] = counts.get(character, 0) + 1
    shown = [
        unknown
        for unknown in sorted(counts, key=lambda unknown: -counts[unknown])
        if not unknown.isspace() and tokens.unknown in tokens.segment(unknown)
    ]
    return " ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
