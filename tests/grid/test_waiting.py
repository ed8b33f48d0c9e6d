"""Which cell of a grid is queued next, and that nothing is looked at again before what it waits for is there."""

from __future__ import annotations

from cotdistill.grid.arms import Arm
from cotdistill.grid.waiting import Waiting, Wanted
from cotdistill.strategies.grids import Variant

COT, POST, SCOTT = (Arm(Variant(name)) for name in ("cot", "post-cot", "scott"))


def taken(waiting: Waiting) -> list[Wanted]:
    return list(iter(waiting.next, None))


def test_cells_come_in_their_order_once_what_they_wait_for_is_there() -> None:
    missing = {"a", "b"}
    needs = {POST.label: "a", SCOTT.label: "b"}
    cells: list[Wanted] = [(arm, seed, ()) for seed in (0, 1) for arm in (POST, COT, SCOTT)]
    waiting = Waiting(cells, lambda arm, seed: needs[arm.label] if needs.get(arm.label) in missing else None)
    assert taken(waiting) == [cells[1], cells[4]]
    assert taken(waiting) == []
    missing.clear()
    waiting.release("b")
    waiting.release("a")
    assert taken(waiting) == [cells[0], cells[2], cells[3], cells[5]]


def test_what_will_not_come_is_lost_to_those_that_need_it() -> None:
    missing = {"scores"}
    cells: list[Wanted] = [(COT, 0, ()), (POST, 0, ())]
    waiting = Waiting(cells, lambda arm, seed: next(iter(missing), None))
    assert taken(waiting) == []
    missing.clear()
    assert waiting.release("scores", lambda arm: arm == POST) == [cells[1]]
    assert taken(waiting) == [cells[0]]


def test_a_cell_that_is_taken_back_waits_with_the_others() -> None:
    missing: set[int] = set()
    cells: list[Wanted] = [(COT, seed, ()) for seed in (0, 1)]
    waiting = Waiting(cells, lambda arm, seed: "student" if seed in missing else None)
    assert waiting.next() == cells[0]
    missing.add(0)
    waiting.again()
    assert waiting.next() == cells[1]
    missing.clear()
    waiting.release("student")
    assert taken(waiting) == [cells[0]]


def test_a_thousand_cells_are_looked_at_a_few_times_each() -> None:
    """Each of 500 begins when its own is done; all of those are taken first."""
    looked, done = [0], set[int]()

    def blocker(arm: Arm, seed: int) -> int | None:
        looked[0] += 1
        return seed if arm == POST and seed not in done else None

    waiting = Waiting([(arm, seed, ()) for arm in (POST, COT) for seed in range(500)], blocker)
    first = taken(waiting)
    for _, seed, _ in first:
        done.add(seed)
        waiting.release(seed)
        assert taken(waiting) == [(POST, seed, ())]
    assert looked[0] == 1500
