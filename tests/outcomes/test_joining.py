"""Which items of two sides are compared."""

from __future__ import annotations

import pytest

from cotdistill.errors import DataError
from cotdistill.outcomes.joining import join
from cotdistill.outcomes.scored import Scored
from cotdistill.outcomes.sides import Side


def side(name: str, **tasks: str) -> Side:
    """A side of one run: of each task, the items that are named by its letters, all right."""
    run = [Scored(letter, 1.0, task, f"question {letter}") for task, letters in tasks.items() for letter in letters]
    return Side(name, (name,), (run,))


def test_a_set_that_one_side_alone_answered_is_left_unjoined() -> None:
    both, fewer = side("both", id="abcd", choices="abcd"), side("fewer", id="abcd")
    for left, right in ((both, fewer), (fewer, both)):
        joined = join(left, right, None, 0.95, None)
        assert joined.ids == ("id/a", "id/b", "id/c", "id/d")
        assert (joined.by, joined.share) == ("id", 1.0)
        assert joined.unjoined == {"both": ["a", "b", "c", "d"], "fewer": []}


def test_items_of_a_common_set_must_join() -> None:
    with pytest.raises(DataError, match=r"only 2 items \(50% of the larger side\) join"):
        join(side("more", id="abcd", other="xy"), side("fewer", id="ab"), None, 0.95, None)


def test_one_item_is_no_comparison() -> None:
    with pytest.raises(
        DataError, match=r"only 1 items \(100% of the larger side\) join by id, and a comparison needs two"
    ):
        join(side("one", id="a"), side("two", id="a"), None, 0.95, None)


def test_sets_without_a_common_one_are_refused() -> None:
    with pytest.raises(DataError, match="mixed tasks, id against other"):
        join(side("one", id="abcd"), side("two", other="wxyz"), None, 0.95, None)
