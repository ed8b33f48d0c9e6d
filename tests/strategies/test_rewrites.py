"""Rewrites keep what they must keep, are reproducible from (seed, id), and differ from the text they rewrite."""

from __future__ import annotations

from collections import Counter
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.data.records import Example
from cotdistill.strategies.forms import Draft, FillContext, Tokens
from cotdistill.strategies.rewrites import PLACEHOLDER, keep_key, keep_random, mask, permute
from cotdistill.strategies.units import sentences

TEXTS = st.lists(st.text("abcdef.,'", min_size=1, max_size=8), min_size=1, max_size=30).map(" ".join)
LONG = "A drill is a tool. A tool is found in the workshop. So it must be there, of course."


def draft(text: str, row: str = "row-1", answer: str = "workshop") -> Draft:
    return Draft(Example(id=row, question="Where?", choices=None, answer=answer), text, answer)


def context(seed: int = 0, scores: list[float] | None = None) -> FillContext:
    return FillContext(
        seed, lambda text: tuple(range(len(text.split()))), None if scores is None else lambda row, text, answer: scores
    )


@given(TEXTS, st.integers(0, 99))
def test_permuting_words_keeps_their_multiset(text: str, seed: int) -> None:
    assert Counter(str(permute("word")(draft(text), context(seed))).split()) == Counter(text.split())


def test_permuting_differs_from_the_text_and_is_reproducible() -> None:
    first, again = (permute("word")(draft(LONG), context()) for _ in range(2))
    assert first == again
    assert first != LONG
    assert permute("word")(draft(LONG, "row-2"), context()) != first
    assert permute("word")(draft(LONG), context(1)) != first


def test_permuting_sentences_keeps_each_whole() -> None:
    found = [str(permute("sentence")(draft(LONG), context(seed))) for seed in range(8)]
    assert all(sorted(sentences(text)) == sorted(sentences(LONG)) for text in found)
    assert len(set(found)) > 1


def test_permuting_tokens_gives_ids() -> None:
    found = permute("token")(draft(LONG), context())
    assert isinstance(found, Tokens)
    assert sorted(found.ids) == list(range(len(LONG.split())))
    assert found.ids != tuple(range(len(LONG.split())))


@given(TEXTS, st.floats(0, 1))
def test_masking_replaces_the_floor_of_the_ratio(text: str, ratio: float) -> None:
    words = str(mask(ratio)(draft(text), context())).split()
    assert len(words) == len(text.split())
    assert words.count(PLACEHOLDER) == floor(ratio * len(words))
    assert all(new in (old, PLACEHOLDER) for new, old in zip(words, text.split(), strict=True))


def test_masking_nothing_is_the_text_and_masking_all_keeps_no_word() -> None:
    assert mask(0)(draft(LONG), context()) == LONG
    assert set(str(mask(1)(draft(LONG), context())).split()) == {PLACEHOLDER}
    with pytest.raises(ValueError, match="between 0 and 1"):
        mask(1.5)


def test_key_words_keep_their_order_and_all_of_them_are_the_text() -> None:
    words = LONG.split()
    scores = [0.0] * len(words)
    scores[9], scores[3], scores[1] = 3.0, 2.0, 2.0
    assert keep_key(2)(draft(LONG), context(scores=scores)) == "drill in"  # the tie goes to the earlier word
    assert keep_key(len(words))(draft(LONG), context(scores=scores)) == LONG
    assert keep_key(2, exclude_label=True)(draft("the workshop it is"), context(scores=[1, 9, 2, 3])) == "it is"


@given(TEXTS, st.integers(1, 40))
def test_random_words_are_the_size_matched_control(text: str, k: int) -> None:
    words = text.split()
    key = str(keep_key(k)(draft(text), context(scores=[float(len(word)) for word in words]))).split()
    random = str(keep_random(k)(draft(text), context())).split()
    assert len(key) == len(random) == min(k, len(words))
    at = -1
    for word in random:  # a subsequence of the text
        at = words.index(word, at + 1)
