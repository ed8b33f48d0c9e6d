"""Thoughts and answer apart."""

from __future__ import annotations

import pytest

from cotdistill.teachers.reasoning import split_thoughts


@pytest.mark.parametrize(("text", "thoughts", "answer"), [
    ("<think>\nHm.\n</think>\n\nSo the answer is yes.", "Hm.", "So the answer is yes."),
    ("Hm.</think>So the answer is yes.", "Hm.", "So the answer is yes."),  # the template opened the tag
    ("<think>Hm, cut of", "Hm, cut of", ""),
    ("So the answer is yes.", None, "So the answer is yes."),
    ("", None, ""),
])
def test_split(text: str, thoughts: str | None, answer: str) -> None:
    assert split_thoughts(text) == (thoughts, answer)
