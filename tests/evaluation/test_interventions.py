"""What becomes of a rationale."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cotdistill.evaluation.interventions import corrupt, fill, mistake, shuffle_words, truncate


@given(st.lists(st.integers(0, 9), max_size=40), st.floats(0, 1), st.integers(0, 9))
def test_corrupt_replaces_floor_of_the_ratio_and_keeps_the_length(ids: list[int], ratio: float, seed: int) -> None:
    found = corrupt(ids, ratio, range(100, 200), Random(seed))
    assert len(found) == len(ids)
    assert sum(a != b for a, b in zip(ids, found, strict=True)) == int(ratio * len(ids))
    assert found == corrupt(ids, ratio, range(100, 200), Random(seed))


def test_corrupt_rounds_down() -> None:
    assert sum(token >= 100 for token in corrupt([1, 2, 3], 0.5, [100], Random(0))) == 1  # round() would give 2


def test_truncate_and_fill_by_tokens() -> None:
    assert truncate([1, 2, 3, 4, 5], 0.5) == [1, 2]
    assert truncate([1, 2, 3], 0.0) == []
    assert truncate([1, 2, 3], 1.0) == [1, 2, 3]
    assert fill([1, 2, 3], [7, 8]) == [7, 8, 7]


def test_permute_keeps_the_words() -> None:
    text = "one two three four five six seven"
    assert Counter(shuffle_words(text, Random(1)).split()) == Counter(text.split())
    assert shuffle_words(text, Random(1)) != text


def test_a_mistake_replaces_a_choice_wherever_it_stands_as_a_word() -> None:
    text = "A barn is near. The Barnyard is not the barn. It is the barn."
    made = mistake(text, ("barn", "kitchen"), "choice", Random(0))
    assert made == ("A kitchen is near. The Barnyard is not the kitchen. It is the kitchen.", "kitchen")


def test_a_mistaken_number_is_not_part_of_a_longer_one() -> None:
    text = "1 plus 10 is 11, not 1.5, and 1 stays."
    for seed in range(30):
        made = mistake(text, None, "number", Random(seed))
        assert made is not None
        if "1.5" in made[0] and " 10 " in made[0] and " 11," in made[0]:  # the 1 was drawn
            assert made[0].startswith(made[1] + " plus")
            assert made[0].endswith(f"and {made[1]} stays.")
            break
    else:
        raise AssertionError("never drew the 1")


def test_a_mistake_in_decimals_keeps_their_places() -> None:
    made = mistake("It costs 3.05 in all.", None, "number", Random(3))
    assert made is not None
    assert made[1] != "3.05"
    assert len(made[1].partition(".")[2]) == 2


def test_nothing_to_get_wrong_is_none() -> None:
    assert mistake("It is kept there.", ("barn", "kitchen"), "choice", Random(0)) is None
